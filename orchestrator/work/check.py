"""Have restic check one repository; what it finds is an outcome, not an accident."""

from __future__ import annotations

from jobs.failure import Failure, FailureKind
from jobs.history import CheckResult, Outcome, RunState
from jobs.plan import Step
from jobs.policy import Policy
from orchestrator.work import repositories
from orchestrator.work.tools import Tools, remove_tree


def work(run: str, step: Step, _policy: Policy, tools: Tools) -> Outcome:
    """Check the repository of `step`, reading the share of its data that the step says."""
    of = repositories.existing(tools, step.tenant, step.vault)
    scratch, watch = tools.folder("scratch", run), tools.watch("check")
    try:
        found = tools.engine.check(of, read_data=step.read_data, scratch=scratch, watch=watch, stop=tools.stop)
    finally:
        remove_tree(scratch)
    result = CheckResult(read_data=step.read_data, errors=found.errors, findings=found.findings)
    if not found.errors:
        return Outcome(state=RunState.SUCCEEDED, result=result, usage=found.usage)
    message = f"check {of.address.label}: restic found {found.errors} errors; the first: {found.findings[0]}"
    failure = Failure(kind=FailureKind.REPOSITORY_DAMAGED, message=message)
    return Outcome(state=RunState.FAILED, failure=failure, result=result, usage=found.usage)

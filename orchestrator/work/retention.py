"""Remove the recovery points that a policy does not keep, at one vault: decide, remove, list again."""

from __future__ import annotations

from collections.abc import Iterable
from zoneinfo import ZoneInfo

from jobs.history import Outcome, RetentionResult, RunState
from jobs.plan import Step
from jobs.policy import Policy
from jobs.retention import Decision, decide
from jobs.snapshot import Snapshot
from orchestrator.work import repositories
from orchestrator.work.tools import Tools
from targets.ports import Access


def preview(step: Step, policy: Policy, tools: Tools) -> Decision:
    """What would be kept and removed at the step's vault, each with its reason. Changes nothing."""
    of = repositories.existing(tools, step.tenant, step.vault)
    return _decide(step, policy, tools, repositories.ours(tools, of, policy.name))


def work(_run: str, step: Step, policy: Policy, tools: Tools) -> Outcome:
    """Forget what the retention does not keep and prune the data that nobody needs; the listing afterwards must agree."""
    of = repositories.existing(tools, step.tenant, step.vault)
    listed = repositories.ours(tools, of, policy.name)
    decision = _decide(step, policy, tools, listed)
    usage = _remove(decision, of, tools)
    gone = {snapshot.id for snapshot in decision.forget}
    left = tuple(snapshot for snapshot in listed if snapshot.id not in gone)
    repositories.note_points(tools, (step.tenant, step.site, step.vault), policy.name, left)
    removed = tuple(snapshot.id for snapshot in decision.forget if snapshot.content == "data")
    result = RetentionResult(kept=len(decision.keep), removed=removed)
    return Outcome(state=RunState.SUCCEEDED, result=result, usage=usage)

"""Walk a plan: write the intent, do the step, write the outcome. It makes no choices: those are in the plan and in tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from secrets import token_bytes
from typing import Final

from jobs.failure import Failure, FailureKind
from jobs.history import Job, Outcome, Owner, RunRecord, RunState
from jobs.plan import Plan, Step, StepKey
from jobs.policy import Policy, PolicyName
from orchestrator.clock import run_id
from orchestrator.work import backup, check, replicate, restore_test, retention
from orchestrator.work.repositories import access
from orchestrator.work.tools import Tools
from targets.errors import TargetError

Work = Callable[[str, Step, Policy, Tools], Outcome]

WORK: Final[Mapping[Job, Work]] = {
    Job.BACKUP: backup.work,
    Job.REPLICATE: replicate.work,
    Job.CHECK: check.work,
    Job.RESTORE_TEST: restore_test.work,
    Job.RETENTION: retention.work,
}

_GOOD: Final = frozenset({RunState.SUCCEEDED, RunState.PARTIAL})
# After these, restic had no chance to remove its lock; the lock's process is known dead, because it was our child.
_LEAVES_A_LOCK: Final = frozenset({FailureKind.KILLED, FailureKind.DEADLINE, FailureKind.NO_PROGRESS})


@dataclass(frozen=True, kw_only=True, slots=True)
class Announcements:
    """Who is told when a step begins and ends (the terminal, a log)."""

    begins: Callable[[Step, str], None]
    ended: Callable[[RunRecord], None]


def execute(
    plan: Plan, policies: Mapping[PolicyName, Policy], tools: Tools, owner: Owner, tell: Announcements
) -> tuple[RunRecord, ...]:
    """Run every step in order; a step whose predecessor did not succeed ends as blocked, on record.

    Raises LedgerError when the ledger cannot be written, and BUSY when another run holds what a lone step needs.
    """
    done: dict[StepKey, RunRecord] = {}
    for step in plan.steps:
        blocker = next((done[key] for key in step.after if done[key].state not in _GOOD), None)
        if blocker is not None:
            record = _blocked(step, blocker, tools, owner)
        elif tools.stop.is_set():
            break
        else:
            record = _attempt(step, policies[step.policy], tools, owner, tell)
        done[step.key] = record
        tell.ended(record)
    return tuple(done.values())


def _attempt(step: Step, policy: Policy, tools: Tools, owner: Owner, tell: Announcements) -> RunRecord:
    intent = _record(step, tools, owner, RunState.RUNNING)
    tools.ledger.claim(intent)
    tell.begins(step, intent.id)
    try:
        outcome = WORK[step.job](intent.id, step, policy, tools)
    except TargetError as error:
        outcome = _failed(error.failure)
        _take_back_the_lock(error.failure, step, tools)
    except BaseException as error:
        tools.ledger.finish(intent.id, owner, _crashed(error), tools.clock.now())
        raise
    tools.ledger.finish(intent.id, owner, outcome, tools.clock.now())
    return tools.ledger.run(intent.id)


def _record(step: Step, tools: Tools, owner: Owner, state: RunState) -> RunRecord:
    now = tools.clock.now()
    return RunRecord(
        id=run_id(now, token_bytes(4)),
        job=step.job,
        tenant=step.tenant,
        policy=step.policy,
        site=step.site,
        vault=step.vault,
        source_vault=step.source_vault,
        settings_hash=step.settings_hash,
        state=state,
        owner=owner,
        started_at=now,
        tool=tools.engine.tool,
    )


def _blocked(step: Step, blocker: RunRecord, tools: Tools, owner: Owner) -> RunRecord:
    from dataclasses import replace

    intent = _record(step, tools, owner, RunState.BLOCKED)
    note = f"blocked by {blocker.job} {blocker.policy} ({blocker.id}), which ended {blocker.state}"
    record = replace(intent, finished_at=intent.started_at, note=note)
    tools.ledger.record(record)
    return record


def _failed(failure: Failure) -> Outcome:
    ended = RunState.INTERRUPTED if failure.kind is FailureKind.CANCELLED else RunState.FAILED
    return Outcome(state=ended, failure=failure)


def _crashed(error: BaseException) -> Outcome:
    message = f"Tandem itself failed: {type(error).__name__}: {error}"
    return Outcome(state=RunState.FAILED, failure=Failure(kind=FailureKind.TOOL_FAILED, message=message))


def _take_back_the_lock(failure: Failure, step: Step, tools: Tools) -> None:
    if failure.kind in _LEAVES_A_LOCK:
        for vault in filter(None, (step.vault, step.source_vault)):
            tools.engine.unlock(access(tools, step.tenant, vault), stop=tools.stop)

"""Walk a plan: write the intent, do the step, write the outcome. The choices are in the plan and in tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from jobs import claim
from jobs.failure import Failure, FailureKind
from jobs.history import Job, Outcome, Owner, RunRecord, RunState
from jobs.lock import told
from jobs.plan import Plan, Skip, Step, StepKey
from jobs.policy import Policy, PolicyName, SiteName
from orchestrator import fault
from orchestrator.clock import new_run_id
from orchestrator.ledger.ledger import Busy, LedgerError
from orchestrator.work import audit, backup, check, locks, replicate, repositories, restore_test, retention
from orchestrator.work.tools import Tools
from targets.errors import TargetError
from targets.process import children

# A run's id, its step, policy and tools in; an outcome out, or a TargetError.
Work = Callable[[str, Step, Policy, Tools], Outcome]

WORK: Final[Mapping[Job, Work]] = {
    Job.BACKUP: backup.work,
    Job.REPLICATE: replicate.work,
    Job.AUDIT: audit.work,
    Job.CHECK: check.work,
    Job.RESTORE_TEST: restore_test.work,
    Job.RETENTION: retention.work,
}

# What is done also where there is no restic.
WITHOUT_RESTIC: Final = frozenset({Job.AUDIT, Job.REPORT})
_GOOD: Final = frozenset({RunState.SUCCEEDED, RunState.PARTIAL})
# After these, restic may have had no chance to remove its lock.
_MAY_LEAVE_A_LOCK: Final = frozenset(
    {
        FailureKind.CANCELLED,
        FailureKind.DEADLINE,
        FailureKind.DISK_FULL,
        FailureKind.KILLED,
        FailureKind.NO_PROGRESS,
        FailureKind.SOURCE_COMMAND_FAILED,
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Announcements:
    """Who is told when a run begins, ends, and by which fault of ours (the terminal, a log)."""

    begins: Callable[[RunRecord], None]
    ended: Callable[[RunRecord], None]
    crashed: Callable[[Exception], None]  # Tandem's own fault, told before the run's end


# A run that began, its outcome and when it ended in: all of it on record when this returns. Raises LedgerError.
Finish = Callable[[RunRecord, Outcome, datetime], None]


def execute(
    plan: Plan,
    policies: Mapping[PolicyName, Policy],
    tools: Tools,
    owner: Owner,
    tell: Announcements,
    *,
    note: str = "",
) -> tuple[RunRecord, ...]:
    """Run every step in order, with `note` on its record; give a record of each, in the same order.

    A step whose predecessor did not succeed ends as blocked, and so does what a stop left over. What another process
    holds does too, unless it was all that was asked for. Raises LedgerError.
    """
    done: dict[StepKey, RunRecord] = {}
    for step in plan.steps:
        begun = intent(step, tools.clock.now(), owner, tool=tool_of(step.job, tools), note=note)
        why_not = _why_not(step, done, tools)
        if why_not:
            done[step.key] = _blocked(replace(begun, note=why_not), tools, tell)
            continue
        try:
            done[step.key] = attempt(begun, bound(step, policies[step.policy], tools), tools, tell)
        except Busy as busy:
            if len(plan.steps) == 1:
                raise
            done[step.key] = _blocked(replace(begun, failure=busy.failure), tools, tell)
    return tuple(done.values())


def _why_not(step: Step, done: Mapping[StepKey, RunRecord], tools: Tools) -> str:
    if tools.stop.is_set():
        return "not started: interrupted"
    blocker = next((done[key] for key in step.after if done[key].state not in _GOOD), None)
    if blocker is None:
        return ""
    return f"blocked by {blocker.job} {blocker.policy} ({blocker.id}), which ended {blocker.state}"


def record_refusals(
    refused: Iterable[Skip], policies: Mapping[PolicyName, Policy], at: SiteName | None, tools: Tools, owner: Owner
) -> None:
    """Put on record what was asked for in vain, once for each of the policy's places at a site or at all.

    Raises LedgerError.
    """
    for skip in refused:
        policy = policies[skip.policy]
        for site, vault in (place for place in policy.places if at in {None, place[0]}):
            step = Step(
                job=skip.job,
                policy=policy.name,
                tenant=policy.tenant,
                site=site,
                vault=vault,
                settings_hash=policy.settings_hash,
            )
            now = tools.clock.now()
            begun = intent(step, now, owner, tool=tool_of(step.job, tools), note=skip.reason.words)
            tools.ledger.record(replace(begun, state=RunState.SKIPPED, finished_at=begun.started_at))


def bound(step: Step, policy: Policy, tools: Tools) -> Callable[[str], Outcome]:
    """A step's work, in want of nothing but its run's id."""
    return lambda run: WORK[step.job](run, step, policy, tools)


def tool_of(job: Job, tools: Tools) -> str:
    """Which restic goes on record with a run of this job; none where it has no part. Raises TargetError."""
    return "" if job in WITHOUT_RESTIC else tools.engine.tool


def intent(step: Step, now: datetime, owner: Owner, *, tool: str, slot: str | None = None, note: str = "") -> RunRecord:
    """The row that is written before anything is done."""
    return RunRecord(
        id=new_run_id(now),
        job=step.job,
        tenant=step.tenant,
        policy=step.policy,
        site=step.site,
        vault=step.vault,
        source_vault=step.source_vault,
        settings_hash=step.settings_hash,
        state=RunState.RUNNING,
        owner=owner,
        started_at=now,
        note=note,
        tool=tool,
        slot=slot,
    )


def attempt(
    begun: RunRecord,
    work: Callable[[str], Outcome],
    tools: Tools,
    tell: Announcements,
    finish: Finish | None = None,
) -> RunRecord:
    """Claim, work, record. Raises Busy before anything is done, and LedgerError; a person's second Ctrl-C is recorded.

    What fails by our own fault fails alone: the other steps of a plan are other tenants' backups.
    """
    with children() as waited_for:
        return _attempt(begun, work, tools, tell, finish or _finish(tools), waited_for)


def _attempt(
    begun: RunRecord,
    work: Callable[[str], Outcome],
    tools: Tools,
    tell: Announcements,
    record: Finish,
    waited_for: Collection[int],
) -> RunRecord:
    wanted = claim.repositories(begun)
    lost = [known for place, known in tools.lost.items() if known is not None and place in wanted]
    tools.ledger.claim(begun, slot=begun.slot, lost=lost)
    tell.begins(begun)
    try:
        with tools.own_files():
            renamed = repositories.renamed(tools, wanted)
            outcome = _despite_the_dead(begun, work, tools)
            outcome = replace(outcome, note="; ".join(filter(None, (renamed, outcome.note))))
    except TargetError as error:
        outcome = _failed(error.failure)
        _take_back_the_lock(outcome, begun, tools, waited_for)
    except BaseException as error:  # also a second Ctrl-C: whatever ends a run is on its record before it goes on
        outcome = _crashed(error)
        if isinstance(error, LedgerError) or not isinstance(error, Exception):
            record(begun, outcome, tools.clock.now())
            _take_back_the_lock(outcome, begun, tools, waited_for)
            raise
        tell.crashed(error)
    now = tools.clock.now()
    outcome = replace(outcome, note=outcome.note or begun.note)
    record(begun, outcome, now)
    ended = replace(
        begun,
        state=outcome.state,
        finished_at=now,
        failure=outcome.failure,
        note=outcome.note,
        result=outcome.result,
        usage=outcome.usage,
    )
    tell.ended(ended)
    return ended


def _finish(tools: Tools) -> Finish:
    return lambda begun, outcome, now: tools.ledger.finish(begun.id, begun.owner, outcome, now)


def _blocked(begun: RunRecord, tools: Tools, tell: Announcements) -> RunRecord:
    """Put on record that a step did not start, and why."""
    record = replace(begun, state=RunState.BLOCKED, finished_at=begun.started_at)
    tools.ledger.record(record)
    tell.ended(record)
    return record


def _failed(failure: Failure) -> Outcome:
    state = RunState.INTERRUPTED if failure.kind is FailureKind.CANCELLED else RunState.FAILED
    return Outcome(state=state, failure=failure)


def _crashed(error: BaseException) -> Outcome:
    failure = getattr(error, "failure", None)
    if isinstance(failure, Failure):
        return Outcome(state=RunState.FAILED, failure=failure)
    if isinstance(error, KeyboardInterrupt):
        return _failed(Failure(kind=FailureKind.CANCELLED, message="interrupted, without waiting for restic to end"))
    message = f"Tandem itself failed: {fault.words(error)}"
    return Outcome(state=RunState.FAILED, failure=Failure(kind=FailureKind.INTERNAL, message=message))


def _despite_the_dead(begun: RunRecord, work: Callable[[str], Outcome], tools: Tools) -> Outcome:
    """Do the work; where locks refuse it, once more without those of the dead. Whose others are is in the failure.

    A line that was cut in the middle of a run, for one, leaves a lock that nobody could remove.
    """
    try:
        return work(begun.id)
    except TargetError as error:
        if error.kind is not FailureKind.REPOSITORY_LOCKED:
            raise
        cleared = locks.clear(tools, claim.repositories(begun), f"because it refused {_named(begun)}")
        if holders := [each for each in cleared.left if begun.job in each.blocks]:
            message = " ".join(map(told, holders))
            raise TargetError(error.operation, error.target, error.kind, message) from error
    outcome = work(begun.id)
    return replace(outcome, note="; ".join(filter(None, (outcome.note, cleared.words))))


def _take_back_the_lock(outcome: Outcome, record: RunRecord, tools: Tools, waited_for: Collection[int]) -> None:
    """Where our restic was killed its lock is left, and would block the next check or prune.

    `waited_for` are the children of this run's time, by their process ids: also another run's, which is ours as well.
    """
    if outcome.failure is None or outcome.failure.kind not in _MAY_LEAVE_A_LOCK:
        return
    # Where the vault is away, or the ledger takes no record of it, whoever is refused by the lock removes it.
    with suppress(TargetError, LedgerError):
        reason = f"because the restic of {_named(record)} was ended"
        locks.clear(tools, claim.repositories(record), reason, ended={record.id: waited_for})


def _named(run: RunRecord) -> str:
    return f"{run.job} {run.policy} (run {run.id})"

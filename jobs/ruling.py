"""What a slot's own circumstances say of it: that it ends, or waits, or is ready for its turn.

Rules in their order; the first that answers decides. Who may start of those that are ready is another question
(jobs/turns.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from jobs.facts import Facts, age, could_start, ends_at, ready_from, still_to_come
from jobs.history import OF_REPOSITORY, CheckResult, Job, RunRecord
from jobs.moves import Closing, Wait
from jobs.plan import NeverBackedUp
from jobs.planner import CYCLE, why_no_retention
from jobs.policy import Policy
from jobs.proof import reads_at_least
from jobs.reporting import Reporting
from jobs.retry import LONGEST_PAUSE
from jobs.slot import GOOD, OPEN, Slot, SlotState, Why, WhyKind

Rank = tuple[datetime, int, datetime, str]

# Known so much later than due, it was nobody's hold that kept it: Tandem did not run.
_PUNCTUAL: Final = timedelta(minutes=1)
# Without a promise: as urgent as if a day were promised, so that it comes behind what is, but not for ever.
_NO_OBJECTIVE: Final = timedelta(hours=24)
_NOW: Final = "; now: "

# Waits that name what stood in the way: such a slot was blocked by it, and did not merely miss its time.
_NAMED: Final = frozenset({WhyKind.HELD, WhyKind.LOCKED, WhyKind.AFTER, WhyKind.LIMIT})

# How a slot ends that had its attempts, by how the last of them ended.
_ATTEMPTED: Final[Mapping[WhyKind, SlotState]] = MappingProxyType(
    {
        **dict.fromkeys(WhyKind, SlotState.FAILED),
        WhyKind.LOCKED: SlotState.BLOCKED,
        WhyKind.HELD: SlotState.BLOCKED,
        WhyKind.CUT_OFF: SlotState.INTERRUPTED,
    }
)


@dataclass(frozen=True, slots=True)
class Ready:
    """A slot that may start as far as it itself goes: how urgent it is, and since when it could have started."""

    slot: Slot
    policy: Policy | Reporting
    rank: Rank
    since: datetime


def rule(slot: Slot, facts: Facts, now: datetime) -> Closing | Wait | Ready:
    """The one answer to a slot that is due."""
    if slot.job is Job.REPORT:
        return _rule_report(slot, facts, now)
    policy = facts.policies.get(slot.policy)
    if policy is None or not _is_held_by(policy, slot):
        return _close(slot, SlotState.SKIPPED, WhyKind.POLICY_GONE, "the settings no longer hold it")
    for each in _RULES:
        answer = each(slot, policy, facts, now)
        if answer is not None:
            return answer
    return Ready(slot, policy, _rank(slot, policy, facts), _ready_since(slot, policy, facts))


def _rule_report(slot: Slot, facts: Facts, now: datetime) -> Closing | Wait | Ready:
    """Each is of a period of its own: no other stands for it. The one that is due first is made first."""
    reporting = facts.reports.get(slot.policy)
    if reporting is None or slot.tenant != reporting.owner:
        return _close(slot, SlotState.SKIPPED, WhyKind.POLICY_GONE, "the settings no longer hold it")
    answer = _not_yet(slot, reporting, facts, now) or _too_late(slot, reporting, facts, now)
    answer = answer or _paused(slot, reporting, facts, now)
    rank = (slot.due + _NO_OBJECTIVE, ORDER[slot.job], slot.due, slot.id)
    return answer or Ready(slot, reporting, rank, max(slot.due, slot.known_at, slot.retry_at or slot.due))


def _is_held_by(policy: Policy, slot: Slot) -> bool:
    """Whether the settings as they are still have such a job there."""
    is_first = slot.vault == policy.vault and slot.site == policy.site
    is_replica = slot.vault == policy.replica and slot.site == policy.replica_site
    if slot.tenant != policy.tenant or not (is_first or is_replica):
        return False
    if slot.job is Job.BACKUP:
        return is_first
    if slot.job is Job.REPLICATE:
        return is_replica and slot.source_vault == policy.vault
    held = slot.job is not Job.RETENTION or policy.retention is not None
    return held and (slot.after is not Job.REPLICATE or policy.replica is not None)


# --- the rules, in their order -----------------------------------------------------------------------------------


def _not_yet(slot: Slot, _policy: Policy | Reporting, _facts: Facts, now: datetime) -> Wait | None:
    if slot.due <= now:
        return None
    return _wait(slot, Why(kind=WhyKind.NOT_YET, text=f"it is due at {_moment(slot.due)}"), slot.due)


def _superseded(slot: Slot, policy: Policy, facts: Facts, now: datetime) -> Closing | Wait | None:
    newest = facts.newest(slot.line_key)
    if newest is None or newest.id == slot.id or age(newest) < age(slot):
        return None
    if slot.after is not None and newest.after is not None:
        return _chained_superseded(slot, policy, facts, now)
    # It will not run either: coalesced would say that somebody does the work.
    if newest.state is SlotState.DUE and _is_too_late(newest, now):
        return _too_late_for(slot, f"its successor was due at {_moment(newest.due)}")
    stands = f"{newest.id} stands for it"
    # What failed or was kept from running must not vanish behind a newer one: that would hide a whole series.
    if slot.attempts or _was_held(slot):
        return _too_late_for(slot, stands)
    late = "Tandem did not run when it was due; " if _was_not_known(slot) else ""
    return _coalesced(slot, late + stands, newest)


def _chained_superseded(slot: Slot, policy: Policy, facts: Facts, now: datetime) -> Closing | Wait | None:
    """One whose own turn is yet to come does nobody's work. One that could start takes this one's place in the queue.

    It stands for it only when it runs: until then the older one keeps the place, so that who never gets a turn within
    an interval still gets one.
    """
    if ready_from(slot, policy, facts) is None:
        return None
    newer = (each for each in facts.chained(slot.line_key) if age(each) > age(slot))
    newest = max((each for each in newer if could_start(each, policy, facts, now)), key=age, default=None)
    if newest is None:
        return None
    if not facts.runs(newest):
        kind = slot.why.kind if slot.why is not None and slot.why.kind in {*_NAMED, WhyKind.WINDOW} else WhyKind.NEWER
        return _wait(slot, Why(kind=kind, text=f"{newest.id} stands for it once it starts", other=newest.id))
    if slot.attempts:
        return _too_late_for(slot, f"{newest.id} stands for it")
    return _coalesced(slot, f"{newest.id} stands for it", newest)


def _too_late(slot: Slot, policy: Policy | Reporting, facts: Facts, now: datetime) -> Closing | None:
    ends = slot.until if isinstance(policy, Reporting) else ends_at(slot, policy, facts)
    if ends is None or now < ends:
        return None
    successor = None if isinstance(policy, Reporting) else still_to_come(slot, policy, facts, now)
    if successor is None:
        return _too_late_for(slot, f"it could start until {_moment(ends)}")
    if not _was_not_known(successor):
        return None  # nobody else does its work yet
    words = f"Tandem did not run in its time; {successor.id} stands for it"
    if slot.attempts or _was_held(slot):
        return _too_late_for(slot, words)
    return _coalesced(slot, words, successor)


def _paused(slot: Slot, _policy: Policy | Reporting, _facts: Facts, now: datetime) -> Wait | None:
    """A pause that is longer than any is a clock that was set back: it is over."""
    if slot.retry_at is None or not now < slot.retry_at <= now + LONGEST_PAUSE:
        return None
    return Wait(slot=slot, why=slot.why or Why(kind=WhyKind.RETRY, text="it is tried again"), until=slot.retry_at)


def _chained(slot: Slot, policy: Policy, facts: Facts, _now: datetime) -> Closing | Wait | None:
    other = facts.awaited(slot, policy)
    if other is None:
        return None
    fate = facts.fate(other)
    # Without an end of its own it would wait for ever for a row that nobody will write.
    if fate is None and slot.until is None:
        return _close(slot, SlotState.BLOCKED, WhyKind.AFTER, f"{other} is not on record", other)
    if fate is None or fate[0] in OPEN:
        words = "is not on record" if fate is None else f"has not ended yet ({fate[0]})"
        return _wait(slot, Why(kind=WhyKind.AFTER, text=f"{other} {words}", other=other))
    if fate[0] in GOOD:
        return None
    if fate[0] is SlotState.COALESCED:
        return _close(slot, SlotState.COALESCED, WhyKind.AFTER, f"a newer slot stands for {other}", other)
    return _close(slot, SlotState.BLOCKED, WhyKind.AFTER, f"{other} ended as {fate[0]}", other)


def _window(slot: Slot, policy: Policy, _facts: Facts, now: datetime) -> Wait | None:
    if policy.window is None or policy.window.is_open(now, policy.zone):
        return None
    opens = policy.window.opens_after(now, policy.zone)
    return _wait(slot, Why(kind=WhyKind.WINDOW, text=f"its window opens at {_moment(opens)}"), opens)


def _nothing_may_go(slot: Slot, policy: Policy, facts: Facts, _now: datetime) -> Closing | None:
    """A retention that waits for no slot judges the last backup by itself."""
    if slot.job is not Job.RETENTION or slot.after is not None:
        return None
    last = facts.last_backups.get(slot.policy)
    reason = why_no_retention(policy, last)
    if reason is None:
        return None
    if isinstance(reason, NeverBackedUp):
        return _close(slot, SlotState.SKIPPED, WhyKind.NOTHING_TO_DO, reason.words)
    return _close(slot, SlotState.BLOCKED, WhyKind.AFTER, reason.words, last.id if last else "")


def _proven_already(slot: Slot, policy: Policy, facts: Facts, _now: datetime) -> Closing | None:
    if slot.job not in OF_REPOSITORY:
        return None
    for run in facts.proofs.get((slot.job, (slot.tenant, slot.vault)), {}).values():
        # Begun before it was due, a proof says nothing of what was stored or damaged since.
        if run.started_at >= slot.due and run.slot != slot.id and _read_enough(run, policy):
            words = f"the {run.job} of {run.policy} (run {run.id}) covers the same repository"
            return _close(slot, SlotState.COALESCED, WhyKind.SAME_REPOSITORY, words, run.id)
    return None


_RULES: Final[tuple[Callable[[Slot, Policy, Facts, datetime], Closing | Wait | None], ...]] = (
    _not_yet,
    _superseded,
    _too_late,
    _paused,
    _chained,
    _window,
    _nothing_may_go,
    _proven_already,
)


def _read_enough(run: RunRecord, policy: Policy) -> bool:
    """An audit reads everything, always."""
    if run.job is Job.AUDIT:
        return True
    return isinstance(run.result, CheckResult) and reads_at_least(run.result.read_data, policy.read_data)


# --- what they answer --------------------------------------------------------------------------------------------


def _is_too_late(slot: Slot, now: datetime) -> bool:
    return slot.until is not None and now >= slot.until


def _was_not_known(slot: Slot) -> bool:
    return slot.known_at - slot.due > _PUNCTUAL


def _was_held(slot: Slot) -> bool:
    return slot.why is not None and slot.why.kind in _NAMED


def _too_late_for(slot: Slot, words: str) -> Closing:
    """The end of a slot that did not come to its end by itself, as what kept it says."""
    if slot.attempts:
        last = slot.why or Why(kind=WhyKind.RAN, text=f"run {slot.run} did not succeed")
        kind = last.kind if last.kind in _NAMED else WhyKind.RAN
        text = f"{last.text.partition(_NOW)[0]}; {words}"
        return _close(slot, _ATTEMPTED[last.kind], kind, text, slot.run or "")
    if slot.why is not None and _was_held(slot):
        return _close(slot, SlotState.BLOCKED, slot.why.kind, f"{slot.why.text}; {words}", slot.why.other)
    if _was_not_known(slot):
        return _close(slot, SlotState.MISSED, WhyKind.NOT_RUNNING, f"Tandem did not run when it was due; {words}")
    before = f"{slot.why.text}; " if slot.why is not None else ""
    return _close(slot, SlotState.MISSED, WhyKind.TOO_LATE, before + words)


def _coalesced(slot: Slot, words: str, newer: Slot) -> Closing:
    """A newer one stands for it. That it waited for its window is kept: nothing else kept it, and nobody starves."""
    if slot.why is not None and slot.why.kind is WhyKind.WINDOW:
        return _close(slot, SlotState.COALESCED, WhyKind.WINDOW, f"{slot.why.text}; {words}", newer.id)
    return _close(slot, SlotState.COALESCED, WhyKind.NEWER, words, newer.id)


def _close(slot: Slot, state: SlotState, kind: WhyKind, text: str, other: str = "") -> Closing:
    return Closing(slot=slot, state=state, why=Why(kind=kind, text=text, other=other))


def _wait(slot: Slot, why: Why, until: datetime | None = None) -> Wait:
    return Wait(slot=slot, why=still(slot, why), until=until)


def still(slot: Slot, why: Why) -> Why:
    """Why a slot waits now. How its last attempt ended is kept before that: it decides how the slot ends."""
    if not slot.attempts or slot.why is None:
        return why
    last = slot.why.text.partition(_NOW)[0]
    return Why(kind=slot.why.kind, text=f"{last}{_NOW}{why.text}", other=why.other or slot.why.other)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


# --- how urgent --------------------------------------------------------------------------------------------------

_PROMISES: Final[Mapping[Job, Callable[[Policy], timedelta | None]]] = MappingProxyType(
    {
        Job.BACKUP: lambda policy: policy.objectives.rpo,
        Job.REPLICATE: lambda policy: policy.objectives.replica_lag,
        Job.AUDIT: lambda policy: policy.objectives.audit_age,
        Job.CHECK: lambda policy: policy.objectives.check_age,
        Job.RESTORE_TEST: lambda policy: policy.objectives.restore_test_age,
        Job.RETENTION: lambda _: None,
    }
)
# Who is waited for comes before who waits; a report waits for nobody.
ORDER: Final[Mapping[Job, int]] = MappingProxyType({job: place for place, job in enumerate((*CYCLE, Job.REPORT))})


def _rank(slot: Slot, policy: Policy, facts: Facts) -> Rank:
    """When its objective is missed, then what is worth most. What never went well is missed since it was due."""
    promised = _PROMISES[slot.job](policy)
    if promised is None:
        missed = slot.due + _NO_OBJECTIVE
    else:
        ended = [run.finished_at for run in _that_count(slot, facts) if run.finished_at is not None]
        missed = max(ended) + promised if ended else slot.due
    return (missed, ORDER[slot.job], slot.due, slot.id)


def _that_count(slot: Slot, facts: Facts) -> list[RunRecord]:
    """The runs that count for its objective: of a repository's proof whoever's it was, else its line's own."""
    if slot.job in OF_REPOSITORY:
        return [*facts.proofs.get((slot.job, (slot.tenant, slot.vault)), {}).values()]
    run = facts.good.get(slot.line_key)
    return [] if run is None else [run]


def _ready_since(slot: Slot, policy: Policy, facts: Facts) -> datetime:
    """Since when nothing but others' runs kept it, or one in whose place it is; a window's opening is not counted."""
    before = [each for each in facts.chained(slot.line_key) if age(each) < age(slot)]
    behind = [each for each in before if ready_from(each, policy, facts) is not None]
    return min(_alone_since(each, policy, facts) for each in (slot, *behind))


def _alone_since(slot: Slot, policy: Policy, facts: Facts) -> datetime:
    other = facts.awaited(slot, policy)
    fate = facts.fate(other) if other is not None else None
    moments = (slot.due, slot.known_at, slot.retry_at, fate[1] if fate is not None else None)
    return max(moment for moment in moments if moment is not None)

"""Conditions that last: raised when they begin, cleared when they end, told once each.

Whatever a single slot's end does not show is found here, from what the ledger knows: that backups go well while
retention does not, that an objective is missed because nothing happened, that a lock keeps refusing, that a line never
gets its turn, that a disk will be full within the week. Keys are made of names only, so that a condition keeps its key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from jobs.claim import HOLDS, LOCKING, repositories
from jobs.event import SEVERITIES, Event, Severity, Topic
from jobs.growth import ENOUGH, Growth
from jobs.history import Job, RunRecord
from jobs.integrity import Assessment
from jobs.lock import STALE_AFTER, by_a_lock, shows_it_gone
from jobs.notice import Notice, NoticeState
from jobs.policy import PolicyName, TenantName, VaultName
from jobs.quantity import counted, duration, size
from jobs.reporting import called
from jobs.slot import FINAL, Line, Slot, SlotState, WhyKind
from jobs.verdict import Control, ControlName, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """One condition that holds. `key` tells it from every other; `raised_at` is when it was first seen."""

    key: str
    topic: Topic
    severity: Severity
    tenant: TenantName | None = None
    policy: PolicyName | None = None
    subject: str
    text: str
    raised_at: datetime


LineKey = tuple[PolicyName, Job, VaultName]


@dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """A disk that Tandem writes to, as people know it, what is free there, and how fast it fills."""

    name: str
    free: int
    growth: Growth


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What is known when conditions are looked for.

    `slots` are the recent ones, in any order; `good` the newest run of each line that ended well; `refused` recent runs
    that a lock of restic refused; `since` when each policy was first known; `clock_doubt` why no clock is believed, and
    `behind` how far the record is ahead of one that is.
    """

    lines: Sequence[Line] = ()
    slots: Sequence[Slot] = ()
    good: Mapping[LineKey, RunRecord] = field(default_factory=dict)
    refused: Sequence[RunRecord] = ()
    assessments: Sequence[Assessment] = ()
    since: Mapping[PolicyName, datetime] = field(default_factory=dict)
    disks: Sequence[Disk] = ()
    notices: Sequence[Notice] = ()
    clock_doubt: str = ""
    behind: str = ""


def conditions(known: Known, now: datetime) -> tuple[Alarm, ...]:
    """Every condition that holds now, by key; each once."""
    found = {alarm.key: alarm for rule in _RULES for alarm in rule(known, now)}
    return tuple(found[key] for key in sorted(found))


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What has begun and what has ended since the ledger was last told, and what there is to tell of it."""

    raised: tuple[Alarm, ...] = ()
    cleared: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()


def difference(standing: Iterable[Alarm], holding: Iterable[Alarm], now: datetime) -> Difference:
    """Alarms that stand on record against the conditions that hold; one that goes on is left alone."""
    before = {alarm.key: alarm for alarm in standing}
    after = {alarm.key: alarm for alarm in holding}
    raised = tuple(replace(after[key], raised_at=now) for key in sorted(after.keys() - before.keys()))
    cleared = tuple(sorted(before.keys() - after.keys()))
    ended = tuple(_recovered(before[key], now) for key in cleared)
    return Difference(raised=raised, cleared=cleared, events=(*map(_told, raised), *ended))


def _told(alarm: Alarm) -> Event:
    return Event(
        at=alarm.raised_at,
        topic=alarm.topic,
        severity=alarm.severity,
        tenant=alarm.tenant,
        policy=alarm.policy,
        subject=alarm.subject,
        text=alarm.text,
        key=alarm.key,
    )


def _recovered(alarm: Alarm, now: datetime) -> Event:
    # The clock may have been set back since it was raised.
    lasted = duration(max(timedelta(), now - alarm.raised_at))
    return replace(
        _told(alarm),
        at=now,
        topic=Topic.RECOVERED,
        severity=SEVERITIES[Topic.RECOVERED],
        text=f"Well again after {lasted}. It had been: {alarm.text}",
    )


REFUSED: Final = "settings"  # the key of the alarm below; whoever reads the settings raises and clears it


def settings_refused(why: str, now: datetime) -> Alarm:
    """The settings as they stand are not followed: all goes on by the old ones, and the next start would fail."""
    text = f"The settings are refused, and the old ones stay in force: {why}. Next: tandem config validate"
    return _of_service(Topic.SETTINGS_REFUSED, REFUSED, "settings", text, now)


def reminder(alarm: Alarm, now: datetime) -> Event:
    """That it lasts."""
    return replace(_told(alarm), at=now, text=f"{alarm.text} (since {alarm.raised_at:%Y-%m-%d %H:%M} UTC)")


# --- the rules: each gives the alarms of one kind ---------------------------------------------------------------------

# What may be dead for weeks beside green backups: two of them any lock keeps out, the copy has an end of its own.
_SERVING: Final = (Job.RETENTION, Job.CHECK, Job.REPLICATE)
_STOOD_FOR: Final = frozenset({WhyKind.NEWER, WhyKind.WINDOW})  # why a slot is coalesced, where its line goes on
_IN_VAIN: Final = frozenset({SlotState.FAILED, SlotState.BLOCKED, SlotState.MISSED, SlotState.INTERRUPTED})
_DEAD_AFTER: Final = 2  # due moments in vain: two whole periods without a success
_NO_CHANCE: Final = frozenset({WhyKind.SAME_REPOSITORY, WhyKind.WINDOW})  # why a slot is coalesced and nobody starves
_PASSED_OVER: Final = frozenset({SlotState.COALESCED, SlotState.MISSED})
_STARVED_AFTER: Final = 3
_PUNCTUAL: Final = timedelta(minutes=1)  # known so much later than due: Tandem did not run, which is told by itself
_UNPROVEN_AFTER: Final = timedelta(days=1)  # where no objective says how long a proof may take
_UNDELIVERED_AFTER: Final = timedelta(hours=1)  # by then five attempts have failed (jobs/notice.py)
_REFUSALS: Final = 3


def _retention_dead(known: Known, now: datetime) -> Iterator[Alarm]:
    """Backups green, retention or copies dead: the newest due moments were all in vain, and the backups were not."""
    backups = _newest_good_backups(known)
    for line, slots in _in_force(known):
        # Those that a newer one stands for were neither good nor in vain: they do not end a series.
        own = [slot for slot in slots if not _is_stood_for(slot, _STOOD_FOR)]
        vain = _newest(own, _IN_VAIN, since=known.good.get(line.key))
        backup = backups.get(line.policy)
        if line.job not in _SERVING or len(vain) < _DEAD_AFTER or backup is None:
            continue
        oldest, newest = vain[-1], vain[0]
        if (backup.finished_at or backup.started_at) >= oldest.due:
            why = newest.why.text if newest.why else newest.state.value
            since = duration(max(timedelta(), now - oldest.due))
            text = (
                f"Backups go well, but {line.job} in vault {line.vault} has not succeeded at "
                f"{counted(len(vain), 'due moment')} in a row, since {since}; the last: {why}. {_advice(newest)}"
            )
            yield _of_line(line, Topic.RETENTION_DEAD, "dead", text, now)


def _advice(slot: Slot) -> str:
    held = slot.why is not None and slot.why.kind in {WhyKind.LOCKED, WhyKind.HELD}
    return "Next: tandem locks" if held else f"Next: tandem slots {slot.policy}"


def _starved(known: Known, now: datetime) -> Iterator[Alarm]:
    """A line that never gets its turn: its newest due moments were all passed over, and no open one stands for them."""
    for line, slots in _in_force(known):
        passed = _newest([slot for slot in slots if _had_a_chance(slot)], _PASSED_OVER, since=None)
        if len(passed) >= _STARVED_AFTER and not _is_stood_for_by_an_open_one(slots):
            text = (
                f"The last {counted(len(passed), 'due moment')} of {line.job} in vault {line.vault} ended without a "
                f"run of their own; the last: {passed[0].why.text if passed[0].why else passed[0].state}. "
                "Next: tandem slots; give it more time, a wider window, or higher [limits]"
            )
            yield _of_line(line, Topic.MISSED, "starved", text, now)


def _had_a_chance(slot: Slot) -> bool:
    """Whether it counts that it was passed over: Tandem ran, no other run proved the same, its window was open."""
    return slot.known_at - slot.due <= _PUNCTUAL and not _is_stood_for(slot, _NO_CHANCE)


def _is_stood_for(slot: Slot, kinds: frozenset[WhyKind]) -> bool:
    return slot.state is SlotState.COALESCED and slot.why is not None and slot.why.kind in kinds


def _is_stood_for_by_an_open_one(closed: Sequence[Slot]) -> bool:
    """Whether the newest refers to one that is not among the closed ones, which are the newest of the line."""
    newest = closed[0]
    stands = newest.why.other if newest.why is not None and newest.state is SlotState.COALESCED else ""
    return bool(stands) and all(slot.id != stands for slot in closed)


def _in_force(known: Known) -> Iterator[tuple[Line, list[Slot]]]:
    """Each line in force with its closed slots, the newest first; also those of earlier texts of the settings."""
    slots: dict[LineKey, list[Slot]] = defaultdict(list)
    for slot in known.slots:
        if slot.state in FINAL and slot.state is not SlotState.SKIPPED:
            slots[slot.line_key].append(slot)
    for line in known.lines:
        if line.until is None:
            yield line, sorted(slots[line.key], key=lambda slot: (slot.due, slot.id), reverse=True)


def _newest(slots: Sequence[Slot], states: frozenset[SlotState], since: RunRecord | None) -> list[Slot]:
    """The newest slots as long as they ended so; a run that went well afterwards, by hand too, ends the series."""
    found: list[Slot] = []
    for slot in slots:
        is_over = since is not None and (since.finished_at or since.started_at) >= (slot.closed_at or slot.due)
        if slot.state not in states or is_over:
            break
        found.append(slot)
    return found


def _newest_good_backups(known: Known) -> dict[PolicyName, RunRecord]:
    """Of each policy, wherever its primary is: what a replica's retention removes came from there."""
    backups = [run for run in known.good.values() if run.job is Job.BACKUP]
    return {run.policy: run for run in sorted(backups, key=lambda run: run.started_at)}


def _of_line(line: Line, topic: Topic, what: str, text: str, now: datetime) -> Alarm:
    return Alarm(
        key=f"{what}/{line.policy}/{line.job}/{line.vault}",
        topic=topic,
        severity=SEVERITIES[topic],
        tenant=line.tenant,
        policy=line.policy,
        subject=f"{line.job} {called(line.policy, line.site)}",
        text=text,
        raised_at=now,
    )


_CONTROLS: Final[Mapping[ControlName, str]] = MappingProxyType(
    {
        ControlName.RECOVERY_POINT: "the newest recovery point's age",
        ControlName.REPLICA_LAG: "the replica's lag",
        ControlName.PARITY: "the parity of the two sites",
        ControlName.AUDIT: "the age of the last clean audit",
        ControlName.CHECK: "the age of the last clean check",
        ControlName.RESTORE_TEST: "the age of the last clean restore test",
        ControlName.RESTORE_TIME: "the time that a restore takes",
    }
)


def _objectives(known: Known, now: datetime) -> Iterator[Alarm]:
    """A control that is missed, at once."""
    for judged in known.assessments:
        for control in judged.controls:
            if control.verdict is Verdict.MISSED:
                figures = _figures(control.measured, control.objective)
                text = f"Missed: {_CONTROLS[control.name]}{figures}. Next: tandem status"
                yield _of_place(judged, f"objective/{judged.policy}/{judged.vault}/{control.name}", text, now)


def _unproven(known: Known, now: datetime) -> Iterator[Alarm]:
    """What was never proven is red, once it had the time to be: that of its objective, or a day. One for each place."""
    for judged in known.assessments:
        had = now - known.since.get(judged.policy, datetime.min.replace(tzinfo=now.tzinfo))
        never = [
            _CONTROLS[control.name]
            for control in judged.controls
            if control.verdict is Verdict.NOT_PROVEN and had > _time_to_prove(judged, control)
        ]
        if never:
            text = f"Not proven, so it counts as missed: {', '.join(never)}. Next: tandem status"
            yield _of_place(judged, f"unproven/{judged.policy}/{judged.vault}", text, now)


def _time_to_prove(judged: Assessment, control: Control) -> timedelta:
    """How long it may be without proof. How long a restore takes is proven whenever a restore test is due."""
    by = judged.control(ControlName.RESTORE_TEST) if control.name is ControlName.RESTORE_TIME else control
    return (by.objective if by is not None else None) or _UNPROVEN_AFTER


def _figures(measured: timedelta | None, objective: timedelta | None) -> str:
    if measured is None or objective is None or measured <= objective:
        return ""
    return f" is {duration(measured)}, and {duration(objective)} is promised"


def _of_place(judged: Assessment, key: str, text: str, now: datetime) -> Alarm:
    return Alarm(
        key=key,
        topic=Topic.OBJECTIVE_MISSED,
        severity=SEVERITIES[Topic.OBJECTIVE_MISSED],
        tenant=judged.tenant,
        policy=judged.policy,
        subject=f"{judged.policy} at {judged.site}",
        text=text,
        raised_at=now,
    )


def _locks(known: Known, now: datetime) -> Iterator[Alarm]:
    """A lock that goes on refusing: longer than any living restic holds one unseen, or again and again."""
    refused: dict[tuple[TenantName, VaultName], list[RunRecord]] = defaultdict(list)
    proofs: dict[tuple[TenantName, VaultName], list[RunRecord]] = defaultdict(list)
    for run in known.good.values():
        for repository in repositories(run) if HOLDS[run.job] in LOCKING else ():
            proofs[repository].append(run)
    for run in known.refused:
        if by_a_lock(run) and not any(shows_it_gone(run, good) for good in proofs[run.tenant, run.vault]):
            refused[run.tenant, run.vault].append(run)
    for (tenant, vault), runs in refused.items():
        first, last = (choose(runs, key=lambda run: (run.started_at, run.id)) for choose in (min, max))
        if len(runs) >= _REFUSALS or now - first.started_at > STALE_AFTER:
            said = last.failure.message if last.failure else ""
            yield Alarm(
                key=f"lock/{tenant}/{vault}",
                topic=Topic.LOCK_STALE,
                severity=SEVERITIES[Topic.LOCK_STALE],
                tenant=tenant,
                subject=f"repository {tenant}@{vault}",
                text=f"A lock has refused {counted(len(runs), 'run')}, the last {last.job} {last.policy}: {said}. "
                "Next: tandem locks",
                raised_at=now,
            )


def _disks(known: Known, now: datetime) -> Iterator[Alarm]:
    for disk in known.disks:
        lasts = disk.growth.lasts(disk.free)
        if disk.free <= 0 or (lasts is not None and lasts < ENOUGH):
            left = f", which lasts {duration(lasts)} at the growth seen" if lasts is not None else ""
            text = f"{disk.name} has {size(disk.free)} left{left}. Next: make room, or keep fewer recovery points"
            yield _of_service(Topic.DISK_FILLING, f"disk/{disk.name}", disk.name, text, now)


def _deliveries(known: Known, now: datetime) -> Iterator[Alarm]:
    """A channel that does not take what it is told. Other channels hear of it, and `status` shows it."""
    accepted: dict[str, datetime] = {}
    for notice in known.notices:
        if notice.delivered_at is not None:
            accepted[notice.channel] = max(notice.delivered_at, accepted.get(notice.channel, notice.delivered_at))
    waiting: dict[str, list[Notice]] = defaultdict(list)
    for notice in known.notices:
        if notice.attempts and _is_undelivered(notice, accepted.get(notice.channel), now):
            waiting[notice.channel].append(notice)
    for channel, notices in waiting.items():
        oldest = min(notices, key=lambda notice: notice.made_at)
        said = next((notice.error for notice in notices if notice.error), "no reason was given")
        text = (
            f"{counted(len(notices), 'notice')} could not be delivered to {channel}, the oldest for "
            f"{duration(now - oldest.made_at)}: {said}. Next: check [notify.{channel}] and its server"
        )
        yield _of_service(Topic.DELIVERY_FAILED, f"delivery/{channel}", f"notify {channel}", text, now)


def _is_undelivered(notice: Notice, accepted: datetime | None, now: datetime) -> bool:
    """What was given up shows no recovery: only that the channel has accepted something since does."""
    if notice.state is NoticeState.GIVEN_UP:
        return accepted is None or accepted < notice.next_at
    return notice.state is NoticeState.PENDING and now - notice.made_at > _UNDELIVERED_AFTER


def _clock(known: Known, now: datetime) -> Iterator[Alarm]:
    if known.clock_doubt:
        text = f"The clock is not believed: {known.clock_doubt}"
        yield _of_service(Topic.CLOCK_STEPPED, "clock", "clock", text, now)
    if known.behind:
        text = f"{known.behind[0].upper()}{known.behind[1:]}."
        yield _of_service(Topic.CLOCK_STEPPED, "clock/behind", "clock", text, now)


def _of_service(topic: Topic, key: str, subject: str, text: str, now: datetime) -> Alarm:
    return Alarm(key=key, topic=topic, severity=SEVERITIES[topic], subject=subject, text=text, raised_at=now)


_RULES: Final[tuple[Callable[[Known, datetime], Iterator[Alarm]], ...]] = (
    _retention_dead,
    _starved,
    _objectives,
    _unproven,
    _locks,
    _disks,
    _deliveries,
    _clock,
)

"""What is due, and when: lines made of policies, slots made of lines, each moment once, under the text then valid.

In the order in which a scheduler does it: `births` of the lines in force up to now, written down; then `changes`
against the settings, whose slots are written before its lines. What was due before an edit was noticed is so the old
line's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from jobs.history import Job
from jobs.policy import Policy, SiteName, Timetable, VaultName
from jobs.reporting import NOWHERE, Reporting
from jobs.schedule import Schedule, next_after, occurrences, splay, wall_key
from jobs.slot import Line, Slot, slot_id

_Place = tuple[SiteName, VaultName]

# A wall clock is at most 12 hours behind UTC, and jumps by a day at most: an older name comes in no zone any more.
_COMES_AGAIN: Final = timedelta(hours=36)
_AHEAD: Final = timedelta(hours=14)  # a wall clock is at most so far ahead of UTC
_REMEMBERED: Final = 1 << 16

# Which schedule of the timetable is a job's, and at which of its policy's places the job is done.
_SCHEDULES: Final[Mapping[Job, Callable[[Timetable], Schedule | None]]] = MappingProxyType(
    {
        Job.BACKUP: lambda timetable: timetable.backup,
        Job.REPLICATE: lambda timetable: timetable.replicate,
        Job.AUDIT: lambda timetable: timetable.audit,
        Job.CHECK: lambda timetable: timetable.check,
        Job.RESTORE_TEST: lambda timetable: timetable.restore_test,
        Job.RETENTION: lambda timetable: timetable.retention,
    }
)
_PLACES: Final[Mapping[Job, Callable[[Policy], tuple[_Place, ...]]]] = MappingProxyType(
    {
        Job.BACKUP: lambda policy: policy.places[:1],
        Job.REPLICATE: lambda policy: policy.places[1:],
        Job.AUDIT: lambda policy: policy.places,
        Job.CHECK: lambda policy: policy.places,
        Job.RESTORE_TEST: lambda policy: policy.places,
        Job.RETENTION: lambda policy: policy.places if policy.retention is not None else (),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """What an edit of the settings does: lines end (by id, at what instant), others begin.

    `slots` and `cursors` are what ended lines still owe: moments that have come while their splay has not passed.
    """

    ended: tuple[tuple[int, datetime], ...] = ()
    begun: tuple[Line, ...] = ()
    slots: tuple[Slot, ...] = ()
    cursors: Mapping[int, datetime]


@dataclass(frozen=True, kw_only=True, slots=True)
class Births:
    """What a line made due: its slots in order, its cursor from now on, and when it is due next (None: never again).

    `more`: the limit cut it short, and there is more to be born now.
    """

    slots: tuple[Slot, ...]
    cursor: datetime
    next_due: datetime | None
    more: bool = False


@dataclass(frozen=True, slots=True)
class _Moment:
    """An occurrence, and when it is due."""

    at: datetime
    key: str
    due: datetime


def lines_of(policy: Policy | Reporting, since: datetime) -> tuple[Line, ...]:
    """A line for each job that the timetable schedules, at each place where it is done. Their ids are 0."""
    if isinstance(policy, Reporting):
        return (_report_line(policy, since),)
    return tuple(
        line
        for job in _SCHEDULES
        for place in _PLACES[job](policy)
        if (line := _line(policy, job, place, since)) is not None
    )


def _line(policy: Policy, job: Job, place: _Place, since: datetime) -> Line | None:
    after = _after(policy, job, place)
    schedule = policy.timetable.backup if after else _SCHEDULES[job](policy.timetable)
    if schedule is None:
        return None
    return Line(
        policy=policy.name,
        tenant=policy.tenant,
        job=job,
        site=place[0],
        vault=place[1],
        source_vault=policy.vault if job is Job.REPLICATE else None,
        schedule=schedule,
        after=after,
        zone=policy.zone,
        splay=policy.splay,
        catch_up=policy.catch_up,
        settings_hash=policy.settings_hash,
        since=since,
        cursor=since,
    )


def _report_line(reporting: Reporting, since: datetime) -> Line:
    return Line(
        policy=reporting.name,
        tenant=reporting.owner,
        job=Job.REPORT,
        site=NOWHERE[0],
        vault=NOWHERE[1],
        schedule=reporting.schedule,
        zone=reporting.zone,
        catch_up=reporting.catch_up,
        settings_hash=reporting.settings_hash,
        since=since,
        cursor=since,
    )


def _after(policy: Policy, job: Job, place: _Place) -> Job | None:
    """What a chained job waits for. Nothing is removed, and nothing is looked at in the replica, before the copy."""
    schedule = _SCHEDULES[job](policy.timetable)
    if schedule is None or schedule.after is None:
        return None
    copied = policy.timetable.replicate
    is_copied = policy.replica is not None and copied is not None and copied.after is not None
    needs_copy = job is Job.RETENTION or (place[1] == policy.replica and job is not Job.REPLICATE)
    return Job.REPLICATE if is_copied and needs_copy else Job.BACKUP


def changes(in_force: Iterable[Line], policies: Iterable[Policy | Reporting], now: datetime) -> Changes:
    """What to do so that exactly the lines of these policies (and reports) are in force. Twice the same: nothing."""
    wanted = {line.key: line for policy in policies for line in lines_of(policy, now)}
    ended: list[tuple[int, datetime]] = []
    slots: list[Slot] = []
    cursors: dict[int, datetime] = {}
    kept = set()
    for line in in_force:
        new = wanted.get(line.key)
        if new is not None and _is_same(line, new):
            kept.add(line.key)
            continue
        owed = _births(line, line.cursor, now, lambda coming: coming.at <= now)
        slots += owed.slots
        if owed.cursor != line.cursor:
            cursors[line.id] = owed.cursor
        until = max(now, owed.cursor)
        ended.append((line.id, until))
        if new is not None:
            taken = _taken(replace(line, cursor=owed.cursor), until)
            wanted[line.key] = replace(new, since=until, cursor=until, taken=taken)
    begun = tuple(line for key, line in wanted.items() if key not in kept)
    return Changes(ended=tuple(ended), begun=begun, slots=tuple(slots), cursors=cursors)


def _is_same(line: Line, new: Line) -> bool:
    return replace(line, id=0, since=new.since, cursor=new.cursor, until=None, taken=()) == new


def _taken(old: Line, now: datetime) -> tuple[str, ...]:
    """The names that a new line's moments may come by again, in another zone: half past two there, an hour later.

    Those of lines before the old one are handed on for as long as they may come.
    """
    begin = max(old.since, old.cursor - _COMES_AGAIN - _AHEAD)
    names = {each.key for each in occurrences(old.schedule, old.zone, begin, old.cursor)}.union(old.taken)
    oldest = wall_key(now - _COMES_AGAIN)
    return tuple(sorted(name for name in names if name > oldest and name[0] == oldest[0]))


def births(line: Line, now: datetime, *, since: datetime | None = None, limit: int = 5000) -> Births:
    """The slots that have become due since the cursor of a line in force (or `since`), at most so many.

    A clock that was set back makes none: nothing is due before the cursor.
    """
    return _births(line, since or line.cursor, now, lambda coming: coming.due <= now, limit=limit)


def _births(
    line: Line, cursor: datetime, now: datetime, is_to_be: Callable[[_Moment], bool], *, limit: int | None = None
) -> Births:
    slots: list[Slot] = []
    coming = _coming(line, cursor)
    while coming is not None and is_to_be(coming):
        if len(slots) == limit:
            return Births(slots=tuple(slots), cursor=cursor, next_due=coming.due, more=True)
        following = _coming(line, coming.at)
        slots.append(_slot(line, coming, following, now))
        cursor, coming = coming.at, following
    return Births(slots=tuple(slots), cursor=cursor, next_due=None if coming is None else coming.due)


def next_due(line: Line) -> datetime | None:
    """When the next slot of a line in force is due; None when never again."""
    coming = _coming(line, line.cursor)
    return None if coming is None else coming.due


def _coming(line: Line, after: datetime) -> _Moment | None:
    """The line's first moment later than this one that has no slot of its name yet."""
    coming = _moment(line.schedule, line.zone, _identity(line), line.splay, after)
    while coming is not None and coming.key in line.taken:
        coming = _moment(line.schedule, line.zone, _identity(line), line.splay, coming.at)
    return coming


def _identity(line: Line) -> str:
    """By what the splay is drawn: a backup and what waits for it are due at the same moment."""
    chained = line.job is Job.BACKUP or line.after is not None
    return line.policy if chained else f"{line.policy}/{line.job}"


@lru_cache(maxsize=_REMEMBERED)
def _moment(schedule: Schedule, zone: str, identity: str, most: timedelta, after: datetime) -> _Moment | None:
    """Remembered, because those chained to a line have its moments, and each is the successor of another.

    The splay never reaches the next moment: slots are due in the order of their moments.
    """
    occurrence = next_after(schedule, zone, after)
    if occurrence is None:
        return None
    following = next_after(schedule, zone, occurrence.at) if most else None
    if following is not None:
        most = min(most, following.at - occurrence.at)
    return _Moment(occurrence.at, occurrence.key, occurrence.at + splay(identity, occurrence.key, most))


def _slot(line: Line, coming: _Moment, following: _Moment | None, now: datetime) -> Slot:
    stands_alone = line.job is Job.REPORT  # the next one is of another period: it is no successor
    until = None if following is None or stands_alone else following.due
    if line.catch_up is not None:
        late = coming.due + line.catch_up
        until = late if until is None else min(until, late)
    return Slot(
        id=slot_id(line.policy, line.job, line.vault, coming.key),
        line=line.id,
        policy=line.policy,
        tenant=line.tenant,
        job=line.job,
        site=line.site,
        vault=line.vault,
        source_vault=line.source_vault,
        settings_hash=line.settings_hash,
        key=coming.key,
        nominal=coming.at,
        due=coming.due,
        until=until,
        after=line.after,
        known_at=now,
    )

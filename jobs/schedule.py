"""When a job is due: a schedule's text, and the moments it means, the same for everybody whatever the clock does.

An occurrence depends on nothing but the schedule, the zone and the one before it: neither on when one asks nor on
which machine, so that a restart, a clock step or a second scheduler comes to the same list and the same keys.
jobs/recurrence.py says what can be written. On the nights when the clocks change:

- A fixed hour (daily, weekly, monthly, and cron unless its hour begins with "*") comes once. Of two half past twos it
  is the first. One that the clocks leave out comes by as much later as they jump, under the name of the time that was
  meant; unless a later time of the same schedule comes no later than it: then that one stands for both. So a date that
  a zone leaves out (Apia, 2011-12-30) has no daily moment, while a weekly one that falls on it is not lost.
- "every", and cron with a "*" hour, go by the time that passes: what is in the repeated hour comes twice.

APScheduler's triggers reckon the dates, in a calendar where no clock changes. In a zone of their own they lose a
midnight that does not exist (Cairo, Sao Paulo), and what they find on such a night depends on where they begin.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from itertools import count
from math import ceil
from typing import Final, Literal, Protocol, cast
from zoneinfo import ZoneInfo

from jobs.recurrence import Dates, Rule, read

_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)  # there is no moment before it,
_END: Final = datetime(9999, 1, 1, tzinfo=UTC)  # nor from here on
_BLOCK: Final = 32  # moments reckoned at once, about
_BLOCKS: Final = 4096  # blocks remembered: 1 KB each, at most 24 KB where there is a moment every minute
_MARGINS: Final = (2 * _DAY, _DAY)  # a wall clock is at most 14 hours from UTC, and jumps by a day at most


@dataclass(frozen=True, slots=True)
class Schedule:
    """A rule such as `daily at 01:30`, `weekly on sun at 03:00`, `monthly on 1 at 04:00`, `every 4h`,
    `cron 30 1 * * mon-fri`. `text` is canonical: two spellings of one rule are equal. Raises ValueError.
    """

    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", read(self.text).text)

    @property
    def after(self) -> str | None:
        """The job whose slots these are chained to (`after backup`); None for a schedule with moments of its own."""
        return self.text.removeprefix("after ") if self.text.startswith("after ") else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Occurrence:
    """One due moment. `at` is aware UTC; `key` names it within its schedule: a local wall time for a fixed hour
    (`L2026-10-25T02:30`), so that a night with two half past twos has one of them; else the instant (`U…Z`).
    A schedule's keys are unique, and sort as their moments do.
    """

    at: datetime
    key: str


def occurrences(schedule: Schedule, zone: str, after: datetime, until: datetime) -> Iterator[Occurrence]:
    """The due moments later than `after` and not later than `until`, in order; each once.

    `zone` is an IANA name. Raises ValueError for a schedule that has no moments of its own.
    """
    rule = read(schedule.text)
    if schedule.after:
        raise ValueError(f'"{rule.text}" has no moments of its own: it has those of what it comes after')
    return iter(()) if rule.never else _walk(rule, zone, _seconds(after), _seconds(until))


def next_after(schedule: Schedule, zone: str, after: datetime) -> Occurrence | None:
    """The first due moment later than `after`; None where there will never be one (`cron 0 0 30 2 *`)."""
    return next(occurrences(schedule, zone, after, _END), None)


def wall_key(wall: datetime) -> str:
    """The name of a fixed hour, by what the wall clock shows. Such names sort as the wall times do."""
    return _key("L", _seconds(wall), "")


def never(schedule: Schedule) -> bool:
    """Whether it names only dates that no calendar has (`cron 0 0 30 2 *`)."""
    return read(schedule.text).never


def splay(identity: str, key: str, most: timedelta) -> timedelta:
    """How much later than its moment this one is due: whole seconds, less than `most`, the same on every machine."""
    drawn = int.from_bytes(sha256(f"{identity}|{key}".encode()).digest())
    return timedelta(seconds=drawn % max(most // _SECOND, 1))


# --- when that is --------------------------------------------------------------------------------------------------


class _Trigger(Protocol):
    """What is used of APScheduler's triggers."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None: ...


def _walk(rule: Rule, zone: str, after: int, until: int) -> Iterator[Occurrence]:
    """What is later than one second since the epoch and not later than another."""
    span, end = _span(rule), min(until, _seconds(_END))
    for number in count(max(after // span, 0)):
        if number * span > end:
            return
        instants, walls = _block(rule.text, zone, number)
        for place in range(bisect_right(instants, after), len(instants)):
            if instants[place] > end:
                return
            at = _EPOCH + timedelta(seconds=instants[place])
            yield Occurrence(at=at, key=_key("L", walls[place], "") if walls else _key("U", instants[place], "Z"))


def _span(rule: Rule) -> int:
    """How much time a block covers, in seconds: whole days, with about as many moments as a block should have."""
    return max(_BLOCK * rule.spacing // _DAY, 1) * 86_400


def _key(kind: str, seconds: int, end: str) -> str:
    return f"{kind}{(_EPOCH + timedelta(seconds=seconds)).isoformat()[:16]}{end}"


@lru_cache(maxsize=_BLOCKS)
def _block(text: str, zone: str, number: int) -> tuple[array[int], array[int]]:
    """The instants in one of the pieces into which a rule's time is cut, in seconds since the epoch; for a fixed hour
    also the wall times that they are named by. Blocks have fixed bounds, so that nothing depends on who asks first.
    """
    rule = read(text)
    span = _span(rule)
    first = _EPOCH + timedelta(seconds=number * span)
    last = min(first, _END - timedelta(seconds=span)) + timedelta(seconds=span)
    if rule.every:
        return array("q", map(_seconds, _fires(_interval(rule.every), first, last))), array("q")
    dates = _between(rule.dates, first - _MARGINS[0], last + _MARGINS[1])
    walls = [date + clock for date in dates for clock in rule.times]
    found = (_once if rule.once else _each)(walls, ZoneInfo(zone))
    inside = [(at, wall) for at, wall in found if _seconds(first) <= at < _seconds(last)]
    return array("q", (at for at, _ in inside)), array("q", (wall for _, wall in inside if rule.once))


def _once(walls: Sequence[datetime], zone: ZoneInfo) -> list[tuple[int, int]]:
    """(instant, wall time) of fixed hours: the first of a repeated one, and none that a later one comes up with."""
    found: list[tuple[int, int]] = []
    for wall in reversed(walls):
        at = _instant(wall, zone, 0)
        if not found or at < found[-1][0]:
            found.append((at, _seconds(wall)))
    return found[::-1]


def _each(walls: Sequence[datetime], zone: ZoneInfo) -> list[tuple[int, int]]:
    """(instant, 0) of wall times that come as often as the clock shows them."""
    firsts = {_instant(wall, zone, 0): _instant(wall, zone, 1) for wall in walls}
    return [(at, 0) for at in sorted({*firsts, *(again for first, again in firsts.items() if again > first)})]


def _instant(wall: datetime, zone: ZoneInfo, fold: Literal[0, 1]) -> int:
    """When a wall clock shows it for the first or second time; where it never does, as if it had not jumped yet (0)."""
    return _seconds(wall.replace(tzinfo=zone, fold=fold))


def _seconds(at: datetime) -> int:
    return (at - _EPOCH) // _SECOND


def _between(dates: Dates, first: datetime, last: datetime) -> Iterator[datetime]:
    """Dates, as midnights in UTC, from one on and before another."""
    days = ceil(_BLOCK / dates.share)
    for number in range((first - _EPOCH) // _DAY // days, (last - _EPOCH) // _DAY // days + 1):
        yield from (date for date in _dates(dates, days, number) if first <= date < last)


@lru_cache(maxsize=_BLOCKS)
def _dates(dates: Dates, days: int, number: int) -> tuple[datetime, ...]:
    """Those in one of the pieces, of so many days, into which all time is cut: schedules at any hour share them."""
    first = _EPOCH + number * days * _DAY
    return tuple(_fires(_calendar(dates), first, min(first, _END - days * _DAY) + days * _DAY))


@lru_cache(maxsize=_BLOCKS)
def _calendar(dates: Dates) -> _Trigger:
    from apscheduler.triggers.combining import OrTrigger
    from apscheduler.triggers.cron import CronTrigger

    midnight = {"hour": 0, "minute": 0, "second": 0, "timezone": UTC}
    found = [CronTrigger(month=row[0], day=row[1], day_of_week=row[2], **midnight) for row in dates.rows]
    return cast(_Trigger, OrTrigger(found)) if found else _interval(_DAY)


@lru_cache(maxsize=_BLOCKS)
def _interval(length: timedelta) -> _Trigger:
    from apscheduler.triggers.interval import IntervalTrigger

    seconds = length // _SECOND
    return cast(_Trigger, IntervalTrigger(seconds=seconds, start_date=_EPOCH, end_date=_END, timezone=UTC))


def _fires(trigger: _Trigger, first: datetime, last: datetime) -> Iterator[datetime]:
    """What a trigger finds from one instant on and before another."""
    found = trigger.get_next_fire_time(None, first)
    while found is not None and found < last:
        yield found
        found = _following(trigger, found)


def _following(trigger: _Trigger, previous: datetime) -> datetime | None:
    """What comes after it, a function of it alone. It must grow: APScheduler 3.11.0 stood still on a fold (#1021)."""
    for now in (previous, previous + timedelta(seconds=61)):
        found = trigger.get_next_fire_time(now, now)
        if found is None or found > previous:
            return found
    raise ArithmeticError(f"the trigger {trigger} stands still at {previous:%Y-%m-%dT%H:%M}Z")

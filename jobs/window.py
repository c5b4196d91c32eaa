"""Times of day: when something may start, when a limit holds. A local wall-clock interval that may pass midnight."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

_SECOND: Final = timedelta(seconds=1)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_MOST_HOURS: Final = 3  # that clocks leave out; those who cross the date line leave out a day, and nothing is due in it
_TIME: Final = r"([01]?[0-9]|2[0-3]):([0-5][0-9])"
_WINDOW: Final = re.compile(rf"{_TIME} ?- ?(?:{_TIME}|24:00)")


@dataclass(frozen=True, slots=True)
class Window:
    """`20:00-06:00`: from the first time of day (included) to the second (not). Raises ValueError.

    `text` is canonical. On the night when an hour comes twice it is open, or closed, in both. After the clocks have
    left out an hour, what lies in that hour is told by the old clock: such a window is as long as ever, and whatever
    was due in it, and comes that much later by the new clock, finds it open.
    """

    text: str

    def __post_init__(self) -> None:
        found = _WINDOW.fullmatch(self.text.strip())
        if found is None:
            raise ValueError(f'"{self.text}" is not a window: two times of day, such as "20:00-06:00"')
        first, last = time(int(found[1]), int(found[2])), time(int(found[3] or 0), int(found[4] or 0))
        if first == last:
            raise ValueError(f'"{self.text}" is the whole day, or nothing: leave the window out where any time will do')
        object.__setattr__(self, "text", f"{first:%H:%M}-{last:%H:%M}")

    @property
    def start(self) -> time:
        """When it opens."""
        return _bounds(self.text)[0]

    @property
    def end(self) -> time:
        """When it closes."""
        return _bounds(self.text)[1]

    def is_open(self, now: datetime, zone: str) -> bool:
        """Whether an instant lies in it, by the wall clocks of a zone."""
        if self._holds(now.astimezone(ZoneInfo(zone)).time()):
            return True
        old = _old_clock(now, zone)
        return old is not None and self._holds(old)

    def _holds(self, clock: time) -> bool:
        start, end = _bounds(self.text)
        if start < end:
            return start <= clock < end
        return clock >= start or clock < end

    def opens_after(self, now: datetime, zone: str) -> datetime:
        """The instant (UTC) from which it is open next; `now` itself when it is open."""
        at = now.astimezone(UTC)
        while not self.is_open(at, zone):
            clocks = (at.astimezone(ZoneInfo(zone)).time(), _old_clock(at, zone))
            wait = min(_until(self.start, clock) for clock in clocks if clock is not None)
            at = _unless_changed(at, at + wait, ZoneInfo(zone))
        return at


@lru_cache(maxsize=256)  # asked a million times in a year that is planned ahead
def _bounds(text: str) -> tuple[time, time]:
    return time.fromisoformat(text[:5]), time.fromisoformat(text[6:])


def _old_clock(now: datetime, zone: str) -> time | None:
    """What the clocks would show had they not just left something out; None but for as long after as they left out."""
    left_out = _left_out(zone, now.astimezone(UTC).date())
    if left_out is None or not left_out[0] <= now < left_out[0] + left_out[1]:
        return None
    return (now.astimezone(ZoneInfo(zone)).replace(tzinfo=None) - left_out[1]).time()


@lru_cache(maxsize=4096)
def _left_out(zone: str, day: date) -> tuple[datetime, timedelta] | None:
    """When, about a day (UTC), the clocks leave out some time, and how much; None also where they leave out a day."""
    clock = ZoneInfo(zone)
    hours = [datetime(day.year, day.month, day.day, tzinfo=UTC) + hour * _HOUR for hour in range(-_MOST_HOURS, 25)]
    offsets = [hour.astimezone(clock).utcoffset() or timedelta() for hour in hours]
    for hour, before, after in zip(hours, offsets, offsets[1:], strict=False):
        if timedelta() < after - before <= _MOST_HOURS * _HOUR:
            return _unless_changed(hour, hour + _HOUR, clock), after - before
    return None


def _until(wanted: time, clock: time) -> timedelta:
    """How long a steady clock takes from one time of day to the next such time."""
    return (datetime.combine(date.min, wanted) - datetime.combine(date.min, clock)) % _DAY


def _unless_changed(at: datetime, target: datetime, zone: ZoneInfo) -> datetime:
    """The later instant; or, where the clocks change before it, the one at which they do."""
    steady = at.astimezone(zone).utcoffset()
    if target.astimezone(zone).utcoffset() == steady:
        return target
    whole = at.replace(microsecond=0)  # clocks change on whole seconds
    seconds = range((target - whole) // _SECOND + 1)
    changed = bisect_left(seconds, True, key=lambda s: (whole + s * _SECOND).astimezone(zone).utcoffset() != steady)
    return whole + changed * _SECOND

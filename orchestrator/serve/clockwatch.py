"""Whether the wall clock was set: seen by comparing it with the monotonic clock at every tick."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

_NOTICED: Final = timedelta(seconds=5)  # less is what a busy machine or a slewing time service makes
BELIEVED: Final = timedelta(hours=25)  # a zone's mistake and a lost summer time stay below
LONGEST: Final = timedelta(days=31)  # a step forward by more is for a person to believe
STOOD_SECONDS: Final = 3600.0  # and one by less is believed once it has stood for so long


class ClockWatch:
    """Compares two clocks. A step of more than 25 hours is doubted, and then believed where

    - the clock is back where it should be, or
    - it is nearer than before to the newest moment on record: a machine with a dead clock was set right, or
    - it went forward by no more than a month, and that has stood for an hour: the machine had been suspended.
    """

    def __init__(self, now: datetime, monotonic: float) -> None:
        self._wall, self._monotonic = now, monotonic
        self._doubted = timedelta(0)  # by how much it is off, as last seen, while it is not believed
        self._since = monotonic  # when that was first seen
        self.believed = True

    def look(self, now: datetime, monotonic: float, newest: datetime | None = None) -> timedelta | None:
        """By how much the clock was set since the last look (negative: back), in seconds; None when it was not.

        `newest` is the newest moment on record. One that is not believed is told once, when it is first seen, and
        again when it is.
        """
        expected = self._wall + timedelta(seconds=monotonic - self._monotonic)
        off = now - expected
        if self.believed or abs(off - self._doubted) > _NOTICED:
            self._since = monotonic
        nearer = newest is not None and abs(now - newest) < abs(expected - newest)
        stood = timedelta(0) < off <= LONGEST and monotonic - self._since >= STOOD_SECONDS
        if abs(off) > BELIEVED and not nearer and not stood:
            told, self.believed, self._doubted = self.believed, False, off
            return _whole(off) if told else None
        back = not self.believed
        step = off if stood else off - self._doubted
        self.believed, self._doubted = True, timedelta(0)
        self._wall, self._monotonic = now, monotonic
        return _whole(step) if back or abs(step) > _NOTICED else None


def _whole(step: timedelta) -> timedelta:
    return timedelta(seconds=round(step.total_seconds()))

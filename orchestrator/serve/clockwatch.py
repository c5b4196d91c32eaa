"""Whether the wall clock was set: seen by comparing it with the monotonic clock at every tick."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

_NOTICED: Final = timedelta(seconds=5)  # less is what a busy machine or a slewing time service makes
BELIEVED: Final = timedelta(hours=25)  # a zone's mistake and a lost summer time stay below


class ClockWatch:
    """Compares two clocks. A step of more than 25 hours is not believed until the clock is back where it should be."""

    def __init__(self, now: datetime, monotonic: float) -> None:
        self._wall, self._monotonic = now, monotonic
        self._doubted = timedelta(0)  # by how much it is off, as last seen, while it is not believed
        self.believed = True

    def look(self, now: datetime, monotonic: float) -> timedelta | None:
        """By how much the clock was set since the last look (negative: back), in seconds; None when it was not.

        One that is not believed is told once, when it is first seen, and again when the clock is back.
        """
        off = now - (self._wall + timedelta(seconds=monotonic - self._monotonic))
        if abs(off) > BELIEVED:
            told, self.believed, self._doubted = self.believed, False, off
            return _whole(off) if told else None
        step, back = off - self._doubted, not self.believed
        self.believed, self._doubted = True, timedelta(0)
        self._wall, self._monotonic = now, monotonic
        return _whole(step) if back or abs(step) > _NOTICED else None


def _whole(step: timedelta) -> timedelta:
    return timedelta(seconds=round(step.total_seconds()))

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
        self.believed = True

    def look(self, now: datetime, monotonic: float) -> timedelta | None:
        """By how much the clock was set since the last look (negative: back); None when it was not.

        One that is not believed is told once, when it is first seen, and again when the clock is back.
        """
        step = now - (self._wall + timedelta(seconds=monotonic - self._monotonic))
        if abs(step) > BELIEVED:
            told, self.believed = self.believed, False
            return step if told else None
        back, self.believed = not self.believed, True
        self._wall, self._monotonic = now, monotonic
        return step if back or abs(step) > _NOTICED else None

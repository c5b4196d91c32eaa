"""What time it is believed to be: the wall clock, unless it leapt away from the monotonic clock and the record.

One that is not believed is not waited for. Time goes on from what was believed last, by the monotonic clock: too early
at worst, which makes nothing due that has not come.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from orchestrator.clock import Clock
from targets.ports import Stop

NOTICED: Final = timedelta(seconds=5)  # less is what a busy machine or a slewing time service makes
BELIEVED: Final = timedelta(hours=25)  # a zone's mistake and a lost summer time stay below
LONGEST: Final = timedelta(days=31)  # what nobody vouches for, and is more, is for a person to believe
STOOD_SECONDS: Final = 3600.0  # and what is less is believed once it has stood for so long


class Opinion(StrEnum):
    """What others say of the wall clock."""

    ASKED = "asked"  # nothing yet
    UNKNOWN = "unknown"  # nobody can tell
    KEPT = "kept"  # a time service keeps this machine's clock
    CONFIRMED = "confirmed"  # another machine's clock agrees
    CONTRADICTED = "contradicted"  # another machine's clock does not


class ClockWatch:
    """Compares two clocks, and the record. A leap of more than 25 hours is doubted, and then believed where

    - the clock is back where it should be, or
    - another machine's clock agrees, or a time service keeps it (but not back to before this process began), or
    - nobody can tell, it went forward by no more than a month, and that has stood for an hour.

    `last` is the last sign of life on record of whoever served before.
    """

    def __init__(self, now: datetime, monotonic: float, last: datetime | None = None, *, trusted: bool = False) -> None:
        leapt = last is not None and not trusted and abs(now - last) > BELIEVED
        self._base = (last if leapt and last is not None else now, monotonic)
        self._is_first = last is None
        self._began = None if last is None or last > now else (last, monotonic)  # what it must not go back before
        self._doubted: timedelta | None = None  # by how much it is off, as last seen, while it is not believed
        self._since = monotonic  # when that was first seen
        self._told = False
        self.believed = not leapt

    def expected(self, monotonic: float) -> datetime:
        """What the wall clock should say, had it not been set since it was believed last."""
        return _on(self._base, monotonic)

    def time(self, now: datetime, monotonic: float) -> datetime:
        """What time it is: as the wall clock says, where that is to be believed."""
        expected = self.expected(monotonic)
        return now if abs(now - expected) <= BELIEVED else expected

    def look(self, now: datetime, monotonic: float, said: Opinion = Opinion.UNKNOWN) -> timedelta | None:
        """By how much the clock was set since the last look (negative: back), in seconds; None when it was not.

        One that is not believed is told once, when somebody has been asked, and again when it is.
        """
        off = now - self.expected(monotonic)
        before = self._doubted
        if before is None or abs(off - before) > NOTICED:
            self._since = monotonic
        if abs(off) > BELIEVED and not self._convinces(off, now, monotonic, said):
            self.believed, self._doubted = False, off
            told, self._told = self._told, self._told or said is not Opinion.ASKED
            return _whole(off) if self._told and not told else None
        returned = self._told and before is not None and abs(off) <= BELIEVED
        step = off - before if returned and before is not None else off
        news = self._told or abs(step) > NOTICED
        self.believed, self._doubted, self._told = True, None, False
        self._base = (now, monotonic)
        if not self._is_first:
            self._began = self._began or self._base
        return _whole(step) if news else None

    def may_correct(self, now: datetime, monotonic: float, said: Opinion) -> bool:
        """Whether this is to be believed even where the record is ahead of it, and so wrong.

        The clock of another machine is; a time service is, unless this process itself has lived through what would
        then not have been.
        """
        lived = self._began is not None and now < _on(self._began, monotonic) - NOTICED
        return said is Opinion.CONFIRMED or (said is Opinion.KEPT and not lived)

    def _convinces(self, off: timedelta, now: datetime, monotonic: float, said: Opinion) -> bool:
        if said is Opinion.UNKNOWN:
            return timedelta(0) < off <= LONGEST and monotonic - self._since >= STOOD_SECONDS
        return self.may_correct(now, monotonic, said)


class BelievedClock(Clock):
    """A clock that tells what time it is believed to be. Used by several threads; one of them looks."""

    def __init__(self, clock: Clock, watch: ClockWatch) -> None:
        self._clock, self.watch = clock, watch

    def wall(self) -> datetime:
        """What the machine's clock says, believed or not."""
        return self._clock.now()

    @property
    def is_doubted(self) -> bool:
        wall = self.wall()
        return not self.watch.believed or self.watch.time(wall, self._clock.monotonic()) != wall

    def now(self) -> datetime:
        return self.watch.time(self._clock.now(), self._clock.monotonic())

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def sleep(self, seconds: float, stop: Stop) -> bool:
        return self._clock.sleep(seconds, stop)


def _on(base: tuple[datetime, float], monotonic: float) -> datetime:
    at, then = base
    return at + timedelta(seconds=monotonic - then)


def _whole(step: timedelta) -> timedelta:
    return timedelta(seconds=round(step.total_seconds()))

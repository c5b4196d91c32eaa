"""The only reader of time and the only sleeper: everybody else is told what time it is."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Final

from targets.ports import Stop

_SLICE: Final = 0.1  # seconds: how late a sleeper notices that it is to stop


class Clock:
    """This machine's clocks. A test hands out another that has the same three methods."""

    def now(self) -> datetime:
        """The wall clock, aware and in UTC."""
        return datetime.now(UTC)

    def wall(self) -> datetime:
        """What the machine itself dates things with, whatever `now` takes the time to be."""
        return self.now()

    @property
    def is_doubted(self) -> bool:
        """Whether `wall` is not believed, so that what it dated proves nothing."""
        return False

    def monotonic(self) -> float:
        """Seconds since some moment, never going back; only differences mean something."""
        return time.monotonic()

    def sleep(self, seconds: float, stop: Stop) -> bool:
        """Wait for `seconds`, or until `stop` is set (noticed within 0.1 s). Returns whether the wait was full."""
        end = time.monotonic() + seconds
        while not stop.is_set():
            left = end - time.monotonic()
            if left <= 0:
                return True
            time.sleep(min(left, _SLICE))
        return False


def run_id(now: datetime, noise: bytes) -> str:
    """A run's id: when it began (UTC), its microsecond in hex, then the noise. Fits restic's tags and file names.

    It sorts by time, and so do snapshots that bear it, of whose own time restic keeps whole seconds.
    """
    if now.tzinfo is None:
        raise ValueError("a run's id needs an aware datetime")
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{now.microsecond:05x}{noise.hex()}"


def new_run_id(now: datetime) -> str:
    """A new id such as `20261121T203000Z-1e2404f2a9c1b`; four random bytes tell the runs of one moment apart."""
    return run_id(now, os.urandom(4))

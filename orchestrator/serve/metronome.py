"""One beat a second. APScheduler beats; the waiting side goes on by itself where that one is held up.

APScheduler waits for a moment of the wall clock: set back by an hour, it would stand still for an hour. So it decides
nothing here, and whoever waits for a beat waits by the monotonic clock, a little longer than a beat takes.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

_PATIENCE: Final = 1.25  # beats: after so long without one, the waiter goes on
_BEAT: Final = "beat"
_WHOLE: Final = datetime(2000, 1, 1, tzinfo=UTC)  # beats are on the second, as due moments are


class Metronome:
    """Beats every `seconds` from when it is entered until it is left."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._beaten = threading.Event()
        library = logging.getLogger("apscheduler")  # a beat that it leaves out is made up for; and our log has a form
        library.addHandler(logging.NullHandler())
        library.propagate = False
        self._scheduler = BackgroundScheduler(timezone="UTC")

    def __enter__(self) -> Self:
        self._scheduler.start()
        self._add()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scheduler.shutdown(wait=False)

    def wait(self) -> bool:
        """Wait for the next beat. False where none came in time: the clock was set back, or the machine stood still."""
        beaten = self._beaten.wait(self._seconds * _PATIENCE)
        self._beaten.clear()
        return beaten

    def wake(self) -> None:
        """End somebody's wait now."""
        self._beaten.set()

    def again(self) -> None:
        """Begin to beat anew from the present time: after the clock was set."""
        self._scheduler.remove_job(_BEAT)
        self._add()

    def _add(self) -> None:
        self._scheduler.add_job(
            self._beaten.set,
            IntervalTrigger(seconds=self._seconds, start_date=_WHOLE, timezone="UTC"),
            id=_BEAT,
            misfire_grace_time=None,  # the default drops what is late by a second
            coalesce=True,
            max_instances=1,
        )

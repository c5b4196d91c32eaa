"""Whether the scheduler does its work, for whoever asks: red until it has ticked, and again when it stops to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from jobs.quantity import duration
from orchestrator.clock import Clock

STUCK: Final = 60.0  # seconds without a tick
_HANGS: Final = 300.0  # seconds without a round of what goes round beside the scheduler; or so many of its pauses:
_PAUSES: Final = 3.0

_MACHINE: Final = Clock().monotonic
# Names of troubles that others ask for.
CLOCK: Final = "clock"  # it is not believed
RECORD: Final = "record"  # it is believed, and what is on record is ahead of it

Report = tuple[bool, tuple[str, ...]]  # whether all is well, and every reason why not


class Health:
    """What is wrong right now. Safe to share between threads; the monotonic clock is the caller's.

    But what goes round pauses by the machine's own clock (`machine`), whatever clock all the rest goes by.
    """

    def __init__(self, stuck_after: float = STUCK, machine: Callable[[], float] = _MACHINE) -> None:
        self._lock = threading.Lock()
        self._stuck_after, self._machine = stuck_after, machine
        self._ticked_at: float | None = None
        self._rounds: dict[str, tuple[float, float]] = {}  # when each went round last, and how long it may take
        self._troubles: dict[str, str] = {}

    def ticked(self, monotonic: float) -> None:
        """The scheduler has gone once around."""
        with self._lock:
            self._ticked_at = monotonic

    def went_round(self, what: str, pause: float = 0.0) -> None:
        """What is done again and again beside the scheduler was done, and will be again in so many seconds.

        It may say so in the middle of a long round too.
        """
        with self._lock:
            self._rounds[what] = (self._machine(), max(_HANGS, _PAUSES * pause))

    def trouble(self, key: str, text: str | None) -> bool:
        """Something does not work ("ledger", "the ledger cannot be written: …"); None: it works again.

        Gives whether that is news.
        """
        line = None if text is None else " ".join(text.split())
        with self._lock:
            news = self._troubles.get(key) != line
            if line is None:
                self._troubles.pop(key, None)
            else:
                self._troubles[key] = line
        return news

    def why_not(self, key: str) -> str:
        """What is wrong with this; nothing where it works."""
        with self._lock:
            return self._troubles.get(key, "")

    def holds(self, key: str) -> bool:
        """Whether a trouble of this name is there."""
        with self._lock:
            return key in self._troubles

    def tick_age(self, monotonic: float) -> float | None:
        """Seconds since the last tick; None before the first."""
        with self._lock:
            return None if self._ticked_at is None else max(0.0, monotonic - self._ticked_at)

    def report(self, monotonic: float) -> Report:
        """Whether all is well, and the reasons why not, one sentence each."""
        age = self.tick_age(monotonic)
        with self._lock:
            troubles = [f"{key}: {text}" for key, text in sorted(self._troubles.items())]
            now, rounds = self._machine(), sorted(self._rounds.items())
        ages = {what: now - at for what, (at, may) in rounds if now - at > may}
        troubles[:0] = [f"{what}: stuck, its last round was {_words(age)} ago" for what, age in ages.items()]
        if age is None:
            troubles.insert(0, "scheduler: it has not begun")
        elif age > self._stuck_after:
            troubles.insert(0, f"scheduler: stuck, its last tick was {_words(age)} ago")
        return not troubles, tuple(troubles)

    def well(self, monotonic: Callable[[], float]) -> Callable[[], bool]:
        """A question for others to ask later: whether all is well."""
        return lambda: self.report(monotonic())[0]


def _words(seconds: float) -> str:
    return duration(timedelta(seconds=seconds))

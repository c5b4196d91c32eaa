"""Others are asked about the clock, in a thread of its own: a vault may take long to answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Final

from orchestrator.serve.clockwatch import NOTICED, Opinion

AGAIN_SECONDS: Final = 300.0
_PATIENCE_SECONDS: Final = 120.0  # whoever has not answered by then does not know

Stand = timedelta  # by how much the wall clock is ahead of the monotonic one: the same until it is set

_ZERO: Final = datetime(1970, 1, 1)  # noqa: DTZ001 (only differences of it are taken)


class Inquiry:
    """What was said of the clock as it now stands. Used by one thread."""

    def __init__(self, ask: Callable[[], Opinion], crashed: Callable[[Exception], None]) -> None:
        self._ask, self._crashed = ask, crashed
        self._answers: SimpleQueue[tuple[Stand, Opinion]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stand: Stand | None = None
        self._trusted: Stand | None = None
        self._said = Opinion.ASKED
        self._since = self._next = 0.0

    def trust(self, now: datetime, monotonic: float) -> None:
        """A person says that the clock is right as it stands."""
        self._trusted = _stand(now, monotonic)

    def said(self, now: datetime, monotonic: float) -> Opinion:
        """The answer as far as there is one. Asks anew when the clock was set, and now and then."""
        stand = _stand(now, monotonic)
        if self._trusted is not None and abs(stand - self._trusted) <= NOTICED:
            return Opinion.CONFIRMED
        if self._stand is None or abs(stand - self._stand) > NOTICED:
            self._said, self._since, self._next = Opinion.ASKED, monotonic, monotonic
        self._stand = stand
        self._hear(stand)
        if monotonic >= self._next and (self._thread is None or not self._thread.is_alive()):
            self._next = monotonic + AGAIN_SECONDS
            self._thread = threading.Thread(target=self._go, args=(stand,), name="clock", daemon=True)
            self._thread.start()
        late = self._said is Opinion.ASKED and monotonic - self._since > _PATIENCE_SECONDS
        return Opinion.UNKNOWN if late else self._said

    def forget(self) -> None:
        """Nobody doubts the clock: whoever does so again asks anew."""
        self._stand = None

    def _hear(self, stand: Stand) -> None:
        while True:
            try:
                meant, said = self._answers.get_nowait()
            except Empty:
                return
            if abs(meant - stand) <= NOTICED:
                self._said = said

    def _go(self, stand: Stand) -> None:
        try:
            said = self._ask()
        except Exception as error:  # noqa: BLE001 (a thread's edge: our own fault is told, and nothing is known)
            self._crashed(error)
            said = Opinion.UNKNOWN
        self._answers.put((stand, said))


def _stand(now: datetime, monotonic: float) -> Stand:
    return now.replace(tzinfo=None) - _ZERO - timedelta(seconds=monotonic)

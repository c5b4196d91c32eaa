"""Steps that are done again and again, each in a thread of its own. One that fails is a trouble, and is done again."""

from __future__ import annotations

import threading
from collections.abc import Callable

from orchestrator import fault
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import LedgerError
from targets.errors import TargetError

Step = Callable[[], None]
Pause = Callable[[float], float]  # seconds until the next time, after one that took so many


class Rounds:
    """Goes round from `start` to `stop`."""

    def __init__(
        self, clock: Clock, trouble: Callable[[str, str | None], None], went_round: Callable[[str, float], None]
    ) -> None:
        """`went_round` is told after each step, and in the middle of one, how many seconds of pause are to come."""
        self._clock, self._trouble, self._went_round = clock, trouble, went_round
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def add(self, what: str, step: Step, pause: Pause) -> None:
        """One more that goes round."""
        self._threads.append(threading.Thread(target=self._go_on, args=(what, step, pause), name=what, daemon=True))

    def start(self) -> None:
        """Begin all of them."""
        for thread in self._threads:
            self._went_round(thread.name, 0.0)  # else one that hangs in its first round would never be missed
            thread.start()

    def stop(self, seconds: float) -> None:
        """End them; each is waited for at most so long."""
        self._stop.set()
        for thread in self._threads:
            thread.join(seconds)

    def pause(self, seconds: float) -> bool:
        """Wait in the middle of a step; whether all is to end."""
        self._went_round(threading.current_thread().name, seconds)
        return self._stop.wait(seconds)

    def once(self, what: str, step: Step) -> None:
        """Do a step now; what comes of it is told under that name."""
        try:
            step()
        except (LedgerError, TargetError) as error:
            self._trouble(what, str(error))
        except Exception as error:  # noqa: BLE001 (a thread's edge: our own fault is told, and the rest goes on)
            self._trouble(what, f"Tandem itself failed: {fault.words(error)}")
        else:
            self._trouble(what, None)

    def _go_on(self, what: str, step: Step, pause: Pause) -> None:
        while not self._stop.is_set():
            began = self._clock.monotonic()
            self.once(what, step)
            seconds = pause(self._clock.monotonic() - began)
            self._went_round(what, seconds)
            self._stop.wait(seconds)

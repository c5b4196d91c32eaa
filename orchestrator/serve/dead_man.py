"""The dead man's ping: a watcher elsewhere is called while all is well, so that it raises the alarm when nobody can."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from orchestrator.clock import Clock
from orchestrator.serve.edge import own_fault
from orchestrator.settings.secrets import SecretRef
from reports.metrics import DeadManFacts
from targets.errors import TargetError
from targets.secret import Secret

_WHAT: Final = "the dead man's address"
_AGAIN: Final = 60.0  # seconds until a call that failed is tried again


class DeadMan:
    """Calls one address. `beat` belongs to one thread, and waits for nobody."""

    def __init__(  # noqa: PLR0913 (all but two are keywords)
        self,
        address: str | SecretRef,
        every: timedelta,
        *,
        healthy: Callable[[], bool],
        resolve: Callable[[SecretRef, str], Secret],
        ping: Callable[[Secret | str], None],
        clock: Clock,
        trouble: Callable[[str | None], None] = lambda _text: None,
    ) -> None:
        """`trouble` hears, from another thread, why a call failed, and None of one that did not. Holds no secret.

        `healthy` must not count that trouble: it would keep every further call from being made.
        """
        self._trouble = trouble
        self._address, self._every = address, every.total_seconds()
        self._healthy, self._resolve, self._ping, self._clock = healthy, resolve, ping, clock
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._next = clock.monotonic()
        self._heard_at: datetime | None = None
        self._failures = 0
        self._error = ""

    def beat(self) -> None:
        """Call, if it is time and all is well. One call at a time: a server that hangs is not called again."""
        if self._thread is not None and self._thread.is_alive():
            return
        if self._clock.monotonic() >= self._next and self._healthy():
            self._next = self._clock.monotonic() + self._every
            self._thread = threading.Thread(target=self._call, name="dead man", daemon=True)
            self._thread.start()

    def wait(self, seconds: float) -> None:
        """Let a call under way end, for so long at most."""
        if self._thread is not None:
            self._thread.join(seconds)

    @property
    def facts(self) -> DeadManFacts:
        """How the calls went."""
        with self._lock:
            return DeadManFacts(heard_at=self._heard_at, failures=self._failures)

    @property
    def error(self) -> str:
        """Why the last call failed; empty where it did not. Holds no secret."""
        with self._lock:
            return self._error

    def _call(self) -> None:
        error = self._try()
        with self._lock:
            if error is None:
                self._heard_at, self._error = self._clock.now(), ""
            else:
                self._failures += 1
                self._error = error.failure.message
                self._next = self._clock.monotonic() + min(self._every, _AGAIN)
        self._trouble(None if error is None else error.failure.message)

    def _try(self) -> TargetError | None:
        try:
            address = self._address
            self._ping(address if isinstance(address, str) else self._resolve(address, _WHAT))
        except TargetError as error:
            return error
        except Exception as error:  # noqa: BLE001 (a thread's edge: whatever it was, the call was not made)
            return own_fault("call", _WHAT, error)
        return None

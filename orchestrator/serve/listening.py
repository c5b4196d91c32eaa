"""/metrics and /healthz where the settings say, also when they say another place."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.clock import Clock
from orchestrator.serve.health import Health
from orchestrator.serve.listener import Listener
from orchestrator.serve.voice import Voice
from reports.exposition import Page
from reports.log import Level


class Listening:
    """At most one listener. Used by one thread at a time."""

    def __init__(self, clock: Clock, health: Health, voice: Voice, metrics: Callable[[], Page]) -> None:
        self._clock, self._health, self._voice, self._metrics = clock, health, voice, metrics
        self._listener: Listener | None = None
        self._at: tuple[str, int] | None = None

    def at(self, address: tuple[str, int] | None) -> None:
        """Listen there; None: nowhere. Raises TargetError: another that listens there stops no backup."""
        if address == self._at:
            return
        self.stop()
        if address is None:
            return
        clock, health = self._clock, self._health
        self._listener = Listener(
            address,
            metrics=self._metrics,
            health=lambda: health.report(clock.monotonic()),
            monotonic=clock.monotonic,
        )
        self._listener.start()
        self._at = address
        host, port = self._listener.address
        self._voice.say(Level.INFO, "listening", f"/metrics and /healthz at http://{host}:{port}")

    def stop(self) -> None:
        """Listen no more."""
        listener, self._listener, self._at = self._listener, None, None
        if listener is not None:
            listener.stop()

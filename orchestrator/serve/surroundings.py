"""What goes on beside the loop, each in its own thread: telling people, answering machines, watching conditions."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from jobs.history import Lease
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.serve.health import Health
from orchestrator.serve.voice import Voice
from orchestrator.settings import Settings


class Surroundings:
    """Everything around the daemon, from when it is entered until it is left."""

    def __init__(  # noqa: PLR0913 (what they share, and all are keywords)
        self, settings: Settings, *, ledger: Ledger, clock: Clock, health: Health, voice: Voice, lease: Lease
    ) -> None:
        self._settings = settings
        self._ledger, self._clock, self._health, self._voice, self._lease = ledger, clock, health, voice, lease

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing yet."""

    def settled(self, settings: Settings) -> None:
        """New settings are in force."""
        self._settings = settings

    def beaten(self, status: str) -> None:
        """The loop has gone once around."""

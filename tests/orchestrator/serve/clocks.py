"""A clock that is moved by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from orchestrator.clock import Clock

START: Final = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


class HandClock(Clock):
    """Stands still until it is told to go."""

    def __init__(self) -> None:
        self.at = START
        self.seconds = 100.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    def go(self, by: timedelta) -> None:
        """Let some time pass."""
        self.at += by
        self.seconds += by.total_seconds()

"""Times of day: when something may start, when a limit holds. A local wall-clock interval that may pass midnight."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time


@dataclass(frozen=True, slots=True)
class Window:
    """`20:00-06:00`: from the first time of day (included) to the second (not). Raises ValueError."""

    text: str

    @property
    def start(self) -> time:
        """When it opens."""
        raise NotImplementedError

    @property
    def end(self) -> time:
        """When it closes."""
        raise NotImplementedError

    def is_open(self, now: datetime, zone: str) -> bool:
        """Whether an instant lies in it, by the wall clocks of a zone."""
        raise NotImplementedError

    def opens_after(self, now: datetime, zone: str) -> datetime:
        """The instant (UTC) from which it is open next; `now` itself when it is open."""
        raise NotImplementedError

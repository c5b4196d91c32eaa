"""Whether this place can be believed: something that is always up must be found up, and something that never is, down.

The first is a listener of our own, reached through the real stack; the second a port where nobody listens. One that
is found otherwise says that it is this machine that has changed: no sockets left, a firewall, a proxy that answers all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from jobs.availability.probe import Finding, Probe
from jobs.availability.span import State

_FRESH: Final = 1.0  # seconds for which an answer holds
_PATIENCE: Final = 2.0  # seconds

Look = Callable[[Probe, float], Awaitable[Finding]]


class Witnesses:
    """Asks them at most once a second, however many want to know. Without witnesses, everything is believed."""

    def __init__(self, look: Look, *, up: Iterable[Probe] = (), down: Iterable[Probe] = ()) -> None:
        self._look = look
        self._wanted = [(probe, State.UP) for probe in up] + [(probe, State.DOWN) for probe in down]
        self._asked: asyncio.Task[bool] | None = None
        self._asked_at = 0.0

    async def trusted(self) -> bool:
        """Whether each was found as it is."""
        now = asyncio.get_running_loop().time()
        if self._asked is None or (self._asked.done() and now - self._asked_at > _FRESH):
            self._asked_at = now
            self._asked = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asked)

    async def _ask(self) -> bool:
        found = await asyncio.gather(*(self._look(probe, _PATIENCE) for probe, _ in self._wanted))
        return all(finding.state is state for finding, (_, state) in zip(found, self._wanted, strict=True))

"""A port that takes a connection."""

from __future__ import annotations

from contextlib import suppress

from jobs.availability.probe import Finding, TcpProbe, up
from targets.probes.reach import connected, now, since, within


async def look(probe: TcpProbe, patience: float) -> Finding:
    """Connect once, and let go. `patience` is in seconds, for all of it."""

    async def connect() -> Finding:
        start = now()
        _, writer = await connected(probe.host, probe.port, probe.family)
        found = up(since(start))
        writer.close()
        with suppress(OSError):  # it has answered; how it takes our leave is not the question
            await writer.wait_closed()
        return found

    return await within(patience, connect)

"""Looks at each target when it is due, and hands on what was seen. Whose own fault a failure is, it decides first.

A heap of due times and one timer: nothing here waits for anything else. Times are on a grid, so that a late look does
not make the next one late; what was missed while the process stood still is not caught up, and so is unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from heapq import heapify, heappop, heappush
from typing import Final
from zlib import crc32

from jobs.availability.probe import Finding, Probe
from jobs.availability.sampling import Sample
from jobs.availability.span import SECOND, State, micros
from orchestrator.clock import Clock

STALLED: Final = "prober-stalled"  # this process stood still while it should have looked
VANTAGE_INVALID: Final = "vantage-invalid"  # a witness was wrong: whatever else was seen from here proves nothing
_BEAT: Final = 0.25  # seconds
_STALL: Final = 1.0  # seconds between two beats: whatever failed meanwhile may have been our fault
_STEP: Final = 1.0  # seconds by which wall and steady clock part when somebody sets one

Look = Callable[[Probe, float], Awaitable[Finding]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What is looked at, how often, for how long at most, and how soon again after a failure. Raises ValueError."""

    name: str
    probe: Probe
    every: timedelta
    patience: timedelta
    again: timedelta
    confirm: int = 3

    def __post_init__(self) -> None:
        if not timedelta() < self.patience < self.every:
            raise ValueError(f"{self.name}: a look takes some time, and ends before the next is due")
        if not timedelta() < self.again <= self.every:
            raise ValueError(f"{self.name}: after a failure one looks again at the latest when one would have anyway")
        if self.confirm < 1:
            raise ValueError(f"{self.name}: an outage is confirmed by at least one look")


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One look at a target: the sample for its timeline, what was found, and how late it began (seconds)."""

    target: Target
    sample: Sample
    finding: Finding
    late: float


class Prober:
    """Looks at targets from one place. `look` does one, `trusted` says whether this place can be believed just now."""

    def __init__(
        self,
        targets: Iterable[Target],
        *,
        look: Look,
        trusted: Callable[[], Awaitable[bool]],
        clock: Clock,
        take: Callable[[Seen], None],
    ) -> None:
        self._targets = tuple(targets)
        self._look, self._trusted, self._clock, self._take = look, trusted, clock, take
        self._failing: dict[str, int] = {}  # failures in a row
        self._offsets: dict[str, float] = {}  # wall less steady clock, at each target's last look
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._due: list[tuple[float, int]] = []
        self._beat_at = self._stalled_until = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Look until told to stop; then let go of all that is under way. Raises what `look` and `take` raise."""
        start = self._now()
        self._beat_at = start
        self._due = [(start + _phase(target), index) for index, target in enumerate(self._targets)]
        heapify(self._due)
        try:
            async with asyncio.TaskGroup() as group:
                beat = group.create_task(self._beats())
                dispatch = group.create_task(self._dispatches(group))
                await stop.wait()
                for task in (beat, dispatch, *self._tasks):
                    task.cancel()
        finally:
            self._tasks.clear()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _beats(self) -> None:
        """Know when this process stood still (SIGSTOP, a full machine): the beat after that is late."""
        while True:
            await asyncio.sleep(_BEAT)
            self._note_stall()

    def _note_stall(self) -> None:
        now = self._now()
        if now - self._beat_at > _STALL:
            self._stalled_until = now
        self._beat_at = now

    async def _dispatches(self, group: asyncio.TaskGroup) -> None:
        while True:
            now = self._now()
            while self._due and self._due[0][0] <= now:
                due, index = heappop(self._due)
                task = group.create_task(self._looks(index, due))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            self._wake.clear()
            pause = self._due[0][0] - now if self._due else None
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _looks(self, index: int, due: float) -> None:
        target = self._targets[index]
        start, wall = self._now(), self._clock.now()
        finding = await self._look(target.probe, target.patience.total_seconds())
        took = round((self._now() - start) * SECOND)
        finding = await self._believed(finding, start)
        next_in = self._next_in(target, finding)
        sample = Sample(
            at=micros(wall),
            state=finding.state,
            reason=finding.reason,
            interval=micros(next_in),
            gap=2 * micros(next_in) + micros(target.patience),
            took=took,
            stepped=self._stepped(target.name, wall.timestamp() - start),
        )
        self._take(Seen(target=target, sample=sample, finding=finding, late=start - due))
        heappush(self._due, (_next_on_grid(due, next_in.total_seconds(), self._now()), index))
        self._wake.set()

    async def _believed(self, finding: Finding, start: float) -> Finding:
        """What was found, unless it is this place that cannot see, or this process that stood still."""
        self._note_stall()
        if finding.state is State.DOWN and self._stalled_until > start:
            return Finding(state=State.UNKNOWN, reason=STALLED, detail=finding.reason)
        if not await self._trusted():
            return Finding(state=State.UNKNOWN, reason=VANTAGE_INVALID, detail=finding.reason)
        return finding

    def _next_in(self, target: Target, finding: Finding) -> timedelta:
        """Soon again until a failure is confirmed; then, and else, when it is due."""
        failing = self._failing.get(target.name, 0) + 1 if finding.state is State.DOWN else 0
        self._failing[target.name] = failing
        return target.again if 0 < failing < target.confirm else target.every

    def _stepped(self, name: str, offset: float) -> bool:
        before = self._offsets.get(name, offset)
        self._offsets[name] = offset
        return abs(offset - before) > _STEP


def _phase(target: Target) -> float:
    """Where in its interval a target is first looked at, in seconds: always the same, and spread over all of them."""
    return crc32(target.name.encode()) / 2**32 * target.every.total_seconds()


def _next_on_grid(due: float, step: float, now: float) -> float:
    """The first moment after now that is a whole number of steps after a due one."""
    return due + step * max(1, int((now - due) // step) + 1)

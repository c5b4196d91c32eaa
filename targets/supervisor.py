"""Watches one child from the thread that started it: reads both outputs, holds the limits, counts the cost."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import IO, Final, Protocol

from jobs.history import Usage
from targets import host
from targets.lines import Lines, Tail
from targets.ports import Stop

TICK_SECONDS: Final = 0.2  # how soon a cancel is seen
SAMPLE_SECONDS: Final = 1.0
DRAIN_SECONDS: Final = 0.25  # for a grandchild that still holds a pipe of a child that has ended
SETTLE_SECONDS: Final = 0.5  # between a child's word that it was interrupted and the end of its standard input
MEMORY_GRACE_SECONDS: Final = 5.0  # what holds too much may take still more until it is gone
MOVED_BYTES: Final = 64 << 10  # less reading and writing than this may be retries and timers: no progress
PIECE: Final = 256 << 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """When to end a child that does not end by itself, in seconds; None is never.

    `memory` are the bytes that the child itself may hold resident. `grace_seconds` is what it has between SIGINT and
    SIGKILL: restic needs it to remove its lock; one that holds too much memory has no more than MEMORY_GRACE_SECONDS.
    """

    deadline_seconds: float | None = None
    no_progress_seconds: float | None = None
    memory: int | None = None
    grace_seconds: float = 60.0


class Heard(Enum):
    """What a line told its listener: nothing new, that work goes on, or that waiting longer is of no use."""

    NOTHING = 0
    PROGRESS = 1
    ENOUGH = 2


Listener = Callable[[bytes], Heard]


class Ending(StrEnum):
    """Why a child ended: by itself, or because we ended it."""

    BY_ITSELF = "by itself"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    NO_PROGRESS = "no progress"
    GIVEN_UP = "given up"
    MEMORY = "memory"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a child ended. `code` is its exit status, or minus the signal that killed it."""

    code: int
    ending: Ending
    errors: bytes = field(repr=False)  # the last 64 KiB of its standard error
    usage: Usage


class Channel(Enum):
    """Where a piece came from."""

    OUTPUT = 1
    ERRORS = 2


class Child(Protocol):
    """What is needed of a started process; subprocess.Popen fits."""

    pid: int
    returncode: int

    @property
    def stdout(self) -> IO[bytes] | None:
        """The pipe of its standard output."""
        ...

    @property
    def stderr(self) -> IO[bytes] | None:
        """The pipe of its standard error."""
        ...


class Inlet:
    """What a supervisor asks of the one who feeds a child's standard input (see targets/feed.py)."""

    def is_idle(self) -> bool:
        """Whether the child waits for us, so that it cannot make progress."""
        raise NotImplementedError

    def close(self) -> None:
        """End the child's standard input. Closing twice succeeds."""
        raise NotImplementedError


class Supervisor:
    """Watches one child from the thread that started it: reads both outputs, holds the limits, counts the cost."""

    def __init__(
        self,
        child: Child,
        limits: Limits,
        stop: Stop,
        on_sample: Callable[[int], None] | None,
        inlet: Inlet | None,
    ) -> None:
        self._child, self._limits, self._stop, self._on_sample, self._inlet = child, limits, stop, on_sample, inlet
        self._own_peak = host.peak_memory()
        self._pidfd = os.pidfd_open(child.pid)
        self._selector = selectors.DefaultSelector()
        self._tail = Tail()
        self._ending = Ending.BY_ITSELF
        self._running, self._open = True, 0
        self._received = self._moved = self._peak = 0
        self._started = self._progress_at = self._ticked_at = self._sampled_at = time.monotonic()
        self._kill_at = self._settled_at = float("inf")
        self._selector.register(self._pidfd, selectors.EVENT_READ)
        for stream, channel in ((child.stdout, Channel.OUTPUT), (child.stderr, Channel.ERRORS)):
            if stream is not None:
                self._selector.register(stream, selectors.EVENT_READ, channel)
                self._open += 1

    def pieces(self) -> Iterator[tuple[Channel, bytes]]:
        """What the child writes, until it has ended. The limits are held while this is being read."""
        while self._running:
            yield from self._read(TICK_SECONDS)
            self._judge(time.monotonic())
        # Only our own waiting counts: what the child left in its pipes is read however long a slow reader takes.
        left = DRAIN_SECONDS
        while self._open and left > 0:
            began = time.monotonic()
            ready = list(self._read(left))
            left -= time.monotonic() - began
            yield from ready

    def heed(self, lines: Iterator[bytes], listener: Listener) -> None:
        """Hand lines to a listener and act on what they told it."""
        for line in lines:
            match listener(line):
                case Heard.PROGRESS:
                    self.progress()
                case Heard.ENOUGH:
                    self._interrupt(Ending.GIVEN_UP)
                case Heard.NOTHING:
                    pass

    def progress(self) -> None:
        """Work goes on: the no-progress limit starts anew."""
        self._progress_at = time.monotonic()

    def ended(self) -> Ended:
        """Reap the child, which must have ended, and say how it did."""
        cost = self._reap()
        # The kernel counts as the child's own peak also what we held when we started it, so a peak below ours is
        # not known from there: the last sample is the best there is (0 for a child too short-lived to be sampled).
        peak = cost.ru_maxrss * 1024
        return Ended(
            code=self._child.returncode,
            ending=self._ending,
            errors=self._tail.bytes(),
            usage=Usage(
                seconds=time.monotonic() - self._started,
                cpu_seconds=cost.ru_utime + cost.ru_stime,
                peak_memory=peak if peak > self._own_peak else self._peak,
            ),
        )

    def kill(self) -> None:
        """End the child and its whole group at once, without the grace that lets it tidy up."""
        if self._child.returncode is None:
            self._interrupt(Ending.CANCELLED)
            self._signal(signal.SIGKILL)

    def close(self) -> None:
        """End the child if it still runs, and give everything back."""
        try:
            if self._child.returncode is None:
                self._interrupt(Ending.CANCELLED)
                for _ in self.pieces():
                    pass
        finally:
            if self._child.returncode is None:
                self._signal(signal.SIGKILL)
                self._reap()
            self._selector.close()
            os.close(self._pidfd)
            for stream in filter(None, (self._child.stdout, self._child.stderr)):
                stream.close()

    def _reap(self) -> resource.struct_rusage:
        if self._ending is not Ending.BY_ITSELF:
            self._signal(signal.SIGKILL)  # whoever of its group stayed behind
        _, status, cost = os.wait4(self._child.pid, 0)
        self._child.returncode = os.waitstatus_to_exitcode(status)
        return cost

    def _read(self, timeout: float) -> Iterator[tuple[Channel, bytes]]:
        for key, _ in self._selector.select(timeout):
            # The pidfd, which is readable once the child has ended (pidfd_open(2)).
            if key.data is None:
                self._running = False
                self._selector.unregister(self._pidfd)
            elif piece := os.read(key.fd, PIECE):
                self._received += len(piece)
                if key.data is Channel.ERRORS:
                    self._tail.feed(piece)
                    self._settle()
                handed_over = time.monotonic()
                yield key.data, piece
                # The time that our own listener takes is not the child's.
                self._progress_at += time.monotonic() - handed_over
            else:
                self._selector.unregister(key.fileobj)
                self._open -= 1

    def _judge(self, now: float) -> None:
        """Hold the limits; once they have been broken, hold the grace."""
        if not self._running:
            return
        if now - self._ticked_at >= TICK_SECONDS:
            self._tick(now)
        if self._inlet is not None and self._inlet.is_idle():
            self._progress_at = now
        if self._ending is Ending.BY_ITSELF and (reason := self._reason(now)):
            self._interrupt(reason)
        if now >= self._settled_at and self._inlet is not None:
            self._inlet.close()
        if now >= self._kill_at:
            self._signal(signal.SIGKILL)

    def _reason(self, now: float) -> Ending | None:
        if self._stop.is_set():
            return Ending.CANCELLED
        if _is_over(now - self._started, self._limits.deadline_seconds):
            return Ending.DEADLINE
        if _is_over(now - self._progress_at, self._limits.no_progress_seconds):
            return Ending.NO_PROGRESS
        if self._limits.memory is not None and self._peak > self._limits.memory:
            return Ending.MEMORY
        return None

    def _tick(self, now: float) -> None:
        self._ticked_at = now
        self._peak = max(self._peak, host.peak_memory(self._child.pid))
        # Where nobody listens, only a silent child's figures are asked for: they cost more than reading its lines.
        since = self._sampled_at if self._on_sample else max(self._sampled_at, self._progress_at)
        if now - since >= SAMPLE_SECONDS:
            self._sample(now)

    def _sample(self, now: float) -> None:
        """Take the child's reading and writing, less what came to us: a status line each second is no progress."""
        total = host.io_bytes(self._child.pid)
        moved = total - self._received
        if moved - self._moved >= MOVED_BYTES:
            self._progress_at = now
        # Small steps add up until they count; a sum that fell (a grandchild ended) begins anew.
        if not 0 <= moved - self._moved < MOVED_BYTES:
            self._moved = moved
        self._sampled_at = now
        if self._on_sample is not None:
            self._on_sample(total)

    def _interrupt(self, reason: Ending) -> None:
        if self._ending is Ending.BY_ITSELF:
            self._ending = reason
            most = MEMORY_GRACE_SECONDS if reason is Ending.MEMORY else self._limits.grace_seconds
            self._kill_at = time.monotonic() + min(most, self._limits.grace_seconds)
            self._signal(signal.SIGINT)
            self._signal(signal.SIGCONT)  # a stopped child could not act on it

    def _settle(self) -> None:
        """A child that said something after SIGINT has taken it in: only now may its standard input end.

        restic 0.18 and 0.19 wait for their standard input also when interrupted, and an end that came first
        would make a snapshot of half a stream.
        """
        if self._ending is not Ending.BY_ITSELF:
            self._settled_at = min(self._settled_at, time.monotonic() + SETTLE_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        """Signal the whole session's group. The child is not reaped yet, so its id cannot be another's."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, number)


def converse(supervisor: Supervisor, on_line: Listener, on_error: Listener) -> Ended:
    """Hand each line of both outputs to its listener until the child has ended."""
    ears = {Channel.OUTPUT: (Lines(), on_line), Channel.ERRORS: (Lines(), on_error)}
    for channel, piece in supervisor.pieces():
        lines, listener = ears[channel]
        supervisor.heed(lines.feed(piece), listener)
    for lines, listener in ears.values():
        supervisor.heed(lines.rest(), listener)
    return supervisor.ended()


def _is_over(seconds: float, limit: float | None) -> bool:
    return limit is not None and seconds >= limit

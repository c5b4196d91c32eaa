"""What the tests of `serve` share: clocks that run fast and are set, and a daemon that may be killed.

The daemons are forked from a server that has imported everything, so that a start takes milliseconds, and are composed
by the very function that the command line calls; only their clock is another.
"""

from __future__ import annotations

import http.client
import mmap
import os
import signal
import struct
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Final

import targets.restic.engine
import targets.vaults.local  # noqa: F401 (imported before the fork)
from orchestrator import settings as settings_room
from orchestrator.clock import Clock
from orchestrator.serve import service
from orchestrator.serve.clockwatch import Opinion
from reports.log import EventLog, Form
from targets.ports import Stop
from targets.systemd import Systemd

PATIENCE: Final = 60.0  # seconds
BEAT: Final = 0.05  # seconds of the machine's clock


# --- clocks ----------------------------------------------------------------------------------------------------------


_STATE: Final = struct.Struct("dddd")  # the machine's clock then, ours then, our rate, what the wall clock is off by


class SteeredClock(Clock):
    """Runs at a rate that a test sets, and is set forward and back by it. Every process that is given it sees the same.

    It lives in a small file: two states and which of them holds, so that nobody reads half of one.
    """

    def __init__(self, file: Path, start: datetime) -> None:
        self._file, self._start = file, start
        self._shared: mmap.mmap | None = None

    @classmethod
    def made(cls, file: Path, start: datetime, rate: float = 1.0) -> SteeredClock:
        """A new one that shows `start` now."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(1) + 2 * _STATE.pack(time.monotonic(), 0.0, rate, 0.0))
        return cls(file, start)

    def __getstate__(self) -> tuple[Path, datetime]:
        return self._file, self._start

    def __setstate__(self, state: tuple[Path, datetime]) -> None:
        self.__init__(*state)  # type: ignore[misc]  # (pickled without what it holds open)

    def _memory(self) -> mmap.mmap:
        if self._shared is None:
            with self._file.open("r+b") as file:
                self._shared = mmap.mmap(file.fileno(), 0)
        return self._shared

    def _state(self) -> tuple[float, float, float, float]:
        memory = self._memory()
        found: tuple[float, float, float, float] = _STATE.unpack_from(memory, 1 + memory[0] * _STATE.size)
        return found

    def go(self, rate: float, *, step: timedelta = timedelta(0)) -> None:
        """Run so many times as fast as the machine's clock from now on; `step` is what the wall clock is set by."""
        now, memory = time.monotonic(), self._memory()
        began, shown, before, off = self._state()
        other = 1 - memory[0]
        state = (now, shown + (now - began) * before, rate, off + step.total_seconds())
        _STATE.pack_into(memory, 1 + other * _STATE.size, *state)
        memory[0] = other

    def step(self, by: timedelta) -> None:
        """Set the wall clock forward, or back."""
        self.go(self._state()[2], step=by)

    def vouch(self, said: Opinion) -> None:
        """What others say of it from now on; at first nobody knows."""
        self._file.with_suffix(".said").write_text(said)

    def opinion(self) -> Opinion:
        """What was last said of it."""
        said = self._file.with_suffix(".said")
        return Opinion(said.read_text()) if said.exists() else Opinion.UNKNOWN

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.monotonic() + self._state()[3])

    def monotonic(self) -> float:
        began, shown, rate, _ = self._state()
        return shown + (time.monotonic() - began) * rate

    def sleep(self, seconds: float, stop: Stop) -> bool:
        end = self.monotonic() + seconds
        while not stop.is_set():
            if self.monotonic() >= end:
                return True
            time.sleep(0.01)
        return False


# --- disks -----------------------------------------------------------------------------------------------------------


def fill_up(disk: Path) -> Path:
    """Take all that is free, while others write there too; remove the file to free it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


# --- daemons ---------------------------------------------------------------------------------------------------------


def processes() -> ForkServerContext:
    """Where daemons come from."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _life(settings: Path, clock: SteeredClock, log: Path, standby: bool, trust_clock: bool) -> None:
    """A daemon's whole life."""
    stop, reload = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, lambda *_: reload.set())
    with log.open("ab") as stream:
        terms = service.Terms(
            clock=clock,
            log=EventLog(stream, Form.TEXT).say,
            systemd=Systemd(None),
            version="test",
            stop=stop,
            reload=reload,
            standby=standby,
            trust_clock=trust_clock,
            testify=lambda _settings, _clock: clock.opinion(),
            beat_seconds=BEAT,
        )
        sys.exit(service.serve(settings_room.load(settings), terms))


@dataclass
class Daemon:
    """A `serve` by another clock, in a process of its own; `log` holds what all that ever wrote there said."""

    process: ForkServerProcess
    log: Path

    @property
    def said(self) -> str:
        """Its log."""
        return self.log.read_text() if self.log.exists() else ""

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process.pid is not None
        return self.process.pid

    def kill(self) -> None:
        """kill -9: what it had started is not told."""
        self.process.kill()
        self.process.join(PATIENCE)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def health(self) -> tuple[int, str]:
        """What /healthz answers. Its clock runs fast, and so does its patience with whoever asks: asked again then."""
        address = self.said.rpartition("/healthz at ")[2].split()[0]
        while True:
            try:
                with urllib.request.urlopen(f"{address}/healthz", timeout=PATIENCE) as reply:  # noqa: S310 (our own)
                    return reply.status, reply.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()
            except (http.client.HTTPException, ConnectionError):
                assert self.process.is_alive(), self.said[-3000:]

    def stop(self) -> int:
        """SIGTERM, and how it ended."""
        self.process.terminate()
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, f"it does not end:\n{self.said[-3000:]}"
        return self.process.exitcode


@contextmanager
def serving(
    settings: Path,
    clock: SteeredClock,
    *,
    rate: float | None = None,
    standby: bool = False,
    trust_clock: bool = False,
) -> Iterator[Daemon]:
    """A daemon by that clock, killed and reaped when the block ends. The clock runs at `rate` once it serves."""
    log = settings.with_name("serve.log")
    process = processes().Process(target=_life, args=(settings, clock, log, standby, trust_clock))
    process.start()
    daemon = Daemon(process, log)
    try:
        if rate is not None:
            _until_it_serves(daemon)
            clock.go(rate)
        yield daemon
    finally:
        daemon.kill()
        process.close()


def _until_it_serves(daemon: Daemon) -> None:
    end = time.monotonic() + PATIENCE
    while "serve-started" not in daemon.said:
        assert daemon.process.is_alive(), daemon.said
        assert time.monotonic() < end, "the daemon does not start"
        time.sleep(0.01)

"""A `tandem serve` that runs while its memory and its CPU time are looked at from outside."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.measure import BrokenError

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PATIENCE: Final = 300.0  # seconds
_LOOK: Final = 0.25


def free_port() -> int:
    """One where nothing listens."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """The process, and where it answers."""

    pid: int
    port: int
    log: Path

    @property
    def cpu(self) -> float:
        """Seconds of CPU that it has used, without its children's."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def memory(self) -> int:
        """Bytes that it holds now."""
        return self._status("VmRSS")

    @property
    def peak(self) -> int:
        """The most bytes that it ever held."""
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

    def ask(self, path: str) -> bytes:
        """What it answers, in pieces that are thrown away but for the last kilobyte."""
        tail = b""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=_PATIENCE) as answer:
            while piece := answer.read(1 << 16):
                tail = (tail + piece)[-1024:]
        return tail

    def wait_until_quiet(self, seconds: float = 4.0) -> None:
        """Wait until it answers, and has used next to no CPU for so long. Raises BrokenError."""
        end = time.monotonic() + _PATIENCE
        quiet_since, used = time.monotonic(), self.cpu
        while time.monotonic() < end:
            time.sleep(_LOOK)
            now = self.cpu
            if now - used > 0.05 * _LOOK + 2 / _TICKS:
                quiet_since = time.monotonic()
            used = now
            if time.monotonic() - quiet_since > seconds and self._answers():
                return
        raise BrokenError(f"serve does not come to rest:\n{self.log.read_text(errors='replace')[-4000:]}")

    def _answers(self) -> bool:
        try:
            self.ask("/healthz")
        except OSError:
            return False
        return True


@contextmanager
def serving(argv: list[str], environment: Mapping[str, str], port: int, log: Path) -> Iterator[Serving]:
    """Start it, and stop it cleanly in the end. Raises BrokenError where it ends by itself, or badly."""
    with log.open("wb") as said:
        child = subprocess.Popen(argv, env=dict(environment), stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            yield Serving(pid=child.pid, port=port, log=log)
            if child.poll() is not None:
                raise BrokenError(f"serve ended by itself with {child.returncode}:\n{log.read_text()[-4000:]}")
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(60)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

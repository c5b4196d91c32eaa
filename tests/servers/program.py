"""A server program: started on a free port of 127.0.0.1, ready when it accepts connections, ended with its children."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from tests.servers.lasting import Lasting

LOOPBACK = "127.0.0.1"
_START_SECONDS = 20.0
_ATTEMPTS = 5  # another process may take the free port first


class ServerFailedError(Exception):
    """The program ended, or did not listen in time; the message holds what it wrote."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def program(name: str) -> str | None:
    """The path of a program in this Python's folder, the PATH or the system's own folder, or None."""
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin"])
    return shutil.which(name, path=folders)


class Server(Lasting):
    """A running program that listens on `port`. Use it as a context manager, or call `stop`."""

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        """Start `command(port)`; what it writes goes to a file in `folder`. Raises ServerFailedError."""
        self._log = folder / "server.log"
        for attempt in range(1 if port else _ATTEMPTS):
            self.port = port or free_port()
            self._process = self._started(command(self.port), environment)
            if self._is_ready():
                return
            self.stop()
            if attempt == _ATTEMPTS - 1 or port:
                raise ServerFailedError(f"{command(self.port)}: {self.output()}")

    def _started(self, argv: Sequence[str], environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def _is_ready(self) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex((LOOPBACK, self.port)) == 0:
                    return True
            time.sleep(0.01)
        return False

    def output(self) -> str:
        """What the program wrote so far."""
        return self._log.read_text(errors="replace")

    def stop(self) -> None:
        """End the program and every process it started. Doing it twice is fine."""
        children: list[psutil.Process] = []
        if self._process.poll() is None:
            children = psutil.Process(self._process.pid).children(recursive=True)
            self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for child in children:
            try:
                child.kill()
            except psutil.NoSuchProcess:
                continue

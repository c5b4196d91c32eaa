"""A private PostgreSQL server: its own folder, a unix socket and a free loopback port, gone when the tests are over."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
import pytest

USER: Final = "tandem"
_PATIENCE: Final = 60.0  # seconds
# What a server needs for durability and ours does not: it never outlives the tests.
_HASTY: Final = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=16MB", "autovacuum=off")
_STILL_HASTY: Final = tuple(setting for setting in _HASTY if "commit" not in setting)  # what it says outlives it


@dataclass(frozen=True, kw_only=True, slots=True)
class PostgresqlServer:
    """A server that is up; anybody on this machine may enter as its superuser, and there is nothing in it to see."""

    folder: Path  # holds the socket
    port: int

    def url(self, database: str, *, user: str = USER) -> str:
        """What the ledger is opened with, over the loopback port."""
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.port}/{database}"

    def socket_url(self, database: str) -> str:
        """The same over the unix socket."""
        return f"postgresql+psycopg://{USER}@/{database}?host={self.folder}&port={self.port}"

    def run(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as the superuser, outside of any transaction."""
        with self.connect(database) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        """A connection over the unix socket."""
        return psycopg.connect(host=str(self.folder), port=self.port, user=USER, dbname=database, autocommit=True)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """All its processes stand still, as in a virtual machine that was stopped; its kernel answers still."""
        first = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(first, signal.SIGSTOP)
        everybody = [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]
        try:
            for process in everybody[1:]:
                os.kill(process, signal.SIGSTOP)
            yield
        finally:
            for process in everybody:
                os.kill(process, signal.SIGCONT)

    def new_database(self) -> str:
        """An empty database; its name."""
        name = f"ledger_{secrets.token_hex(4)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE template0")
        return name


def find_programs() -> Path:
    """The folder with initdb and postgres: the newest under /usr/lib/postgresql, else where the PATH has them."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = installed[-1] if installed else shutil.which("initdb")
    if found is None:
        pytest.fail("PostgreSQL's server programs are not installed: install the package postgresql")
    return Path(found).resolve().parent


def _as_nobody() -> list[str]:
    """PostgreSQL refuses to run as root. setpriv becomes the program, so the process id is the server's."""
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []


def _private_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="tandem-pg-", dir="/tmp"))  # a socket's path is 107 bytes at most
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody", "nogroup")
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A server for the block's length."""
    programs, folder = find_programs(), _private_folder()
    try:
        _make(programs, folder / "data")
        with _running(programs, folder, folder / "data") as server:
            yield server
    finally:
        shutil.rmtree(folder)


class Interruptible:
    """A server of one test that is taken away and comes back, at the same address and with all that was committed."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        self._life = ExitStack()
        self._port = _free_port()
        self.start()

    @property
    def up(self) -> PostgresqlServer:
        """The server, while it is up."""
        return self._up

    def start(self) -> None:
        """Bring it back."""
        running = _running(self._programs, self._folder, self._folder / "data", port=self._port, hasty=_STILL_HASTY)
        self._up = self._life.enter_context(running)

    def stop(self) -> None:
        """Take it away in the middle of everything."""
        self._life.close()


@contextmanager
def interruptible_server() -> Iterator[Interruptible]:
    """Such a server for the block's length."""
    programs, folder = find_programs(), _private_folder()
    try:
        _make(programs, folder / "data")
        server = Interruptible(programs, folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _make(programs: Path, data: Path) -> None:
    made = [f"{programs}/initdb", "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
    subprocess.run([*_as_nobody(), *made], check=True, capture_output=True, cwd="/")


@contextmanager
def _running(
    programs: Path, folder: Path, data: Path, *, port: int = 0, hasty: tuple[str, ...] = _HASTY
) -> Iterator[PostgresqlServer]:
    server = PostgresqlServer(folder=folder, port=port or _free_port())
    options = ["-D", str(data), "-k", str(folder), "-h", "127.0.0.1", "-p", str(server.port)]
    for setting in hasty:
        options += ["-c", setting]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*_as_nobody(), f"{programs}/postgres", *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
        )
        try:
            _wait(server, process)
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)  # immediate: nothing in it is worth a checkpoint
            process.wait(timeout=_PATIENCE)


def _wait(server: PostgresqlServer, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            server.run("SELECT 1")
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"PostgreSQL did not start: {(server.folder / 'log').read_text(errors='replace')}")
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """The session's server."""
    with postgresql_server() as server:
        yield server

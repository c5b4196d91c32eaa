"""What other processes do to a ledger in these tests; each function here is a child process's whole life.

The children are forked from a server that has imported everything, so that they start in a few milliseconds and are
killed in the middle of work rather than in the middle of an import.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Final

import orchestrator.ledger.migrations
import orchestrator.ledger.postgresql
import orchestrator.ledger.tables  # noqa: F401 (imported before the fork)
from jobs.failure import FailureKind
from jobs.history import RunRecord
from orchestrator.ledger.ledger import Busy, Ledger, LedgerError
from tests.orchestrator.ledger.build import DONE, NOW, OWNER, later, run

NOBODY: Final = 65534
PATIENCE: Final = 60.0  # seconds


def processes() -> ForkServerContext:
    """Where children come from."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, "alembic.command"])
    return context


@contextmanager
def child(target: Any, *arguments: Any) -> Iterator[tuple[ForkServerProcess, Connection]]:
    """A child that was given a connection and the arguments; killed and reaped when the block ends."""
    ours, theirs = processes().Pipe()
    process = processes().Process(target=target, args=(theirs, *arguments))
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        process.close()
        ours.close()


def hear(connection: Connection) -> Any:
    """What a child says; fails when it says nothing."""
    assert connection.poll(PATIENCE), "the child says nothing"
    return connection.recv()


def claim_each(answer: Connection, url: str, wanted: list[RunRecord], together: Barrier) -> None:
    """Claim runs one after the other, each at the same instant as the other child; say which were granted."""
    with Ledger.open(url, create=True, now=NOW) as ledger:
        granted = []
        for record in wanted:
            together.wait(PATIENCE)
            granted.append(_granted(ledger, record))
        answer.send(granted)


def _granted(ledger: Ledger, record: RunRecord) -> bool:
    try:
        ledger.claim(record)
    except Busy:
        return False
    return True


def create_together(answer: Connection, url: str, together: Barrier) -> None:
    """Create the ledger at the same instant as the other child, and write into it."""
    together.wait(PATIENCE)
    with Ledger.open(url, create=True, now=NOW) as ledger:
        ledger.remember_settings(str(os.getpid()), "", NOW)
    answer.send("done")


def run_after_run(answer: Connection, url: str, effects: str, first: int) -> None:
    """Claim, have an effect, finish, and on to the next, until killed."""
    with Ledger.open(url, create=False, now=NOW) as ledger:
        answer.send("started")
        for number in count(first):
            record = run(number)
            ledger.claim(record)
            Path(effects, record.id).touch()
            ledger.finish(record.id, OWNER, DONE, later(days=1, seconds=number))


def create(answer: Connection, url: str) -> None:
    """Create the ledger."""
    answer.send("started")
    Ledger.open(url, create=True, now=NOW).close()
    answer.send("done")


def as_nobody(answer: Connection, url: str, make: bool, writes: Iterable[RunRecord]) -> None:
    """Open the ledger as a user whom file modes bind, claim, and say how it failed (None: it did not)."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    answer.send(_failure(url, make, writes))


def _failure(url: str, make: bool, writes: Iterable[RunRecord]) -> tuple[FailureKind, str] | None:
    try:
        with Ledger.open(url, create=make, now=NOW) as ledger:
            ledger.open_runs()
            for record in writes:
                ledger.claim(record)
    except LedgerError as error:
        return error.kind, error.failure.message
    return None

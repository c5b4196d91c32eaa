"""What other processes do to a ledger in these tests; each function here is a child process's whole life.

The children are forked from a server that has imported everything, so that they start in a few milliseconds and are
killed in the middle of work rather than in the middle of an import.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import Event
from typing import Any, Final

import orchestrator.ledger.migrations
import orchestrator.ledger.postgresql
import orchestrator.ledger.tables  # noqa: F401 (imported before the fork)
from jobs.failure import FailureKind
from jobs.history import Owner, RunRecord
from jobs.retry import SlotEnd
from jobs.slot import Slot, SlotState
from orchestrator.ledger.ledger import Busy, Ledger, LedgerError, Superseded
from tests.orchestrator.ledger.build import DONE, NOW, OWNER, RAN, happening, later, run, slot

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


# What a child does in one round: it looks at the ledger, and gives back what it will do at the common instant.
Round = Callable[[Ledger, int], Callable[[], object]]


def at_once(answer: Connection, url: str, together: Barrier, rounds: int, act: Round) -> None:
    """Act in each round at the same instant as the other child; say in which rounds it was granted."""
    with Ledger.open(url, create=True, now=NOW) as ledger:
        granted = []
        for number in range(rounds):
            together.wait(PATIENCE)  # the round before is over
            act_now = act(ledger, number)
            together.wait(PATIENCE)
            granted.append(_granted(act_now))
        answer.send(granted)


def _granted(act: Callable[[], object]) -> bool:
    try:
        act()
    except (Busy, Superseded):
        return False
    return True


def claiming(wanted: list[RunRecord], ledger: Ledger, number: int) -> Callable[[], object]:
    """Claim the round's run."""
    return lambda: ledger.claim(wanted[number])


def taking_over(owner: Owner, ledger: Ledger, number: int) -> Callable[[], object]:
    """Take the lease over whoever has it."""
    seen = ledger.lease()
    return lambda: ledger.take_lease(owner, later(seconds=number), over=seen)


def keeping_or_taking_over(owner: Owner, ledger: Ledger, number: int) -> Callable[[], object]:
    """Show life when it is ours, and take over else."""
    seen = ledger.lease()
    if seen is not None and seen.owner == owner:
        return lambda: ledger.beat(seen, later(seconds=number))
    return lambda: ledger.take_lease(owner, later(seconds=number), over=seen)


def bearing(many: int, ledger: Ledger, number: int) -> Callable[[], object]:
    """Write down the round's slots, as every scheduler finds them due."""
    due = [slot(many * number + each) for each in range(many)]
    return lambda: ledger.born(due, {}, [happening(subject=one.id, text=one.id, key="") for one in due])


def tell(answer: Connection, url: str, together: Barrier, name: str, many: int) -> None:
    """Write many events, a few at a time."""
    with Ledger.open(url, create=False, now=NOW) as ledger:
        together.wait(PATIENCE)
        for number in range(0, many, 3):
            ledger.add_events(happening(each, subject=name) for each in range(number, min(number + 3, many)))
    answer.send("done")


def create_together(answer: Connection, url: str, together: Barrier) -> None:
    """Create the ledger at the same instant as the other child, and write into it."""
    together.wait(PATIENCE)
    with Ledger.open(url, create=True, now=NOW) as ledger:
        ledger.remember_settings(str(os.getpid()), "", NOW)
    answer.send("done")


def slot_after_slot(answer: Connection, url: str, effects: str, first: int, linger: bool) -> None:
    """What is due next becomes a slot, is claimed, has an effect and is finished, and on to the next, until killed.

    `linger`: do not get beyond the first effect.
    """
    with Ledger.open(url, create=False, now=NOW) as ledger:
        answer.send("started")
        for number in count(first):
            due = next(iter(ledger.open_slots()), None) or _next_slot(ledger)
            record = run(number, slot=due.id)
            ledger.claim(record)
            Path(effects, record.id).touch()
            if linger:
                Event().wait(PATIENCE)
            ending = SlotEnd(slot=due.id, state=SlotState.SUCCEEDED, why=RAN)
            ledger.finish(
                record.id, OWNER, DONE, later(days=1), slot_end=ending, events=[happening(number, subject=due.id)]
            )


def _next_slot(ledger: Ledger) -> Slot:
    (line,) = ledger.lines_in_force()
    due = slot(round((line.cursor - NOW) / timedelta(hours=1)) + 1, line=line.id)
    ledger.born([due], {line.id: due.nominal})
    return due


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

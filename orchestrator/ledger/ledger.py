"""The ledger: intent before effect, compare-and-set at the end, and nothing that was recorded is ever changed after.

Each theme has a room of its own (runs.py, slots.py, …); this is the door. Moments go in and come out as aware UTC
datetimes. Every method raises LedgerError where the database refuses: LEDGER_READ_ONLY, LEDGER_DAMAGED, DISK_FULL, BUSY
(another process has been writing for ten seconds), LEDGER_MISSING (a server that does not answer), ACCESS_DENIED.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from jobs.failure import FailureKind
from jobs.history import KnownRepository
from orchestrator.ledger.accounts import Accounts
from orchestrator.ledger.alarms import Alarms
from orchestrator.ledger.briefs import Briefs
from orchestrator.ledger.corrections import Corrections
from orchestrator.ledger.events import Events
from orchestrator.ledger.existence import Existence
from orchestrator.ledger.faults import Busy, LedgerError, Superseded
from orchestrator.ledger.glance import Glance
from orchestrator.ledger.leases import Leases
from orchestrator.ledger.outbox import Outbox
from orchestrator.ledger.place import refused, sqlite_path
from orchestrator.ledger.removal import Removal
from orchestrator.ledger.runs import Runs
from orchestrator.ledger.seals import Seals
from orchestrator.ledger.setbacks import Setbacks
from orchestrator.ledger.slots import Slots
from orchestrator.ledger.spans import Spans
from orchestrator.ledger.sqlite import SqliteDatabase

__all__ = ["Busy", "Glance", "KnownRepository", "Ledger", "LedgerError", "Superseded"]


class Ledger(
    Runs,
    Briefs,
    Removal,
    Existence,
    Slots,
    Setbacks,
    Corrections,
    Accounts,
    Seals,
    Spans,
    Events,
    Outbox,
    Alarms,
    Leases,
):
    """What was due, what was done and what came of it, and what is known to exist. Safe to share between threads."""

    @classmethod
    def open(cls, url: str, *, create: bool, now: datetime) -> Self:
        """The ledger at `sqlite:///FILE` or `postgresql+psycopg://…`, upgraded when an earlier Tandem wrote it.

        `create` makes one that is not there (of PostgreSQL: the tables, not the database). Before an upgrade a file is
        copied to FILE.before-REVISION-NOW. Raises LedgerError: LEDGER_MISSING, LEDGER_READ_ONLY, LEDGER_TOO_NEW
        (before anything is touched), LEDGER_DAMAGED, ACCESS_DENIED, DISK_FULL, BUSY.
        """
        path = sqlite_path(url)
        if path is not None:
            return cls(SqliteDatabase.open(path, create=create, now=now))
        if not url.startswith("postgresql+psycopg://"):
            scheme = url.partition(":")[0]  # and no more of it: it may hold a password
            raise refused(FailureKind.LEDGER_MISSING, f"{scheme}:…", "only sqlite:///FILE and postgresql+psycopg://…")
        from orchestrator.ledger.postgresql import PostgresqlDatabase  # SQLAlchemy takes 200 ms: only where it is used

        return cls(PostgresqlDatabase.open(url, create=create))

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of a SQLite ledger; none where it is elsewhere."""
        path = Path(self.label)
        return (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))) if path.is_absolute() else ()

    def close(self) -> None:
        """Give back connections. Closing twice succeeds."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def copy_to(self, path: Path) -> None:
        """Write a copy of one instant of a SQLite ledger to a file, while others use the ledger.

        The copy is one file for its owner only, found sound and on the disk before it takes the name; what bore the
        name before is replaced. Raises LedgerError, of a ledger on PostgreSQL always: pg_dump makes copies of that.
        """
        self._database.copy_to(path)

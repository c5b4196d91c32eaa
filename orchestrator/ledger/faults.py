"""What a database's refusals mean to the operator: a table for each, and one kind of error for everybody else.

LedgerError             the ledger cannot be used, or refuses; `failure` says why and what to do next
├── Busy                another open run is in the way, or another holds the lease; `other` is that run or lease
└── Superseded          what was to be moved is no longer as it was known: a run, a slot, a line, a notice, the lease
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from jobs.failure import Failure, FailureKind
from jobs.history import Lease, RunRecord


class LedgerError(Exception):
    """The ledger cannot be used. Never holds a secret: messages are built from the ledger's label, not from its URL."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.message)

    @property
    def kind(self) -> FailureKind:
        """The failure's kind."""
        return self.failure.kind


class Busy(LedgerError):  # noqa: N818 (what happened, as its callers say it)
    """What was asked for is another's: a claim because of an open run, or the lease. Nothing was written."""

    def __init__(self, failure: Failure, other: RunRecord | Lease) -> None:
        self.other = other
        super().__init__(failure)


class Superseded(LedgerError):  # noqa: N818 (what happened, as its callers say it)
    """What was to be moved is not (any more) as it was known: another process was quicker. Nothing was written."""


# https://www.sqlite.org/rescode.html: the low byte of an extended code is its primary code.
_SQLITE: Final[Mapping[int, FailureKind]] = MappingProxyType(
    {
        sqlite3.SQLITE_PERM: FailureKind.LEDGER_READ_ONLY,
        sqlite3.SQLITE_AUTH: FailureKind.LEDGER_READ_ONLY,
        sqlite3.SQLITE_READONLY: FailureKind.LEDGER_READ_ONLY,
        sqlite3.SQLITE_CANTOPEN: FailureKind.LEDGER_READ_ONLY,  # the file is there: its folder refuses -wal and -shm
        sqlite3.SQLITE_BUSY: FailureKind.BUSY,
        sqlite3.SQLITE_LOCKED: FailureKind.BUSY,
        sqlite3.SQLITE_FULL: FailureKind.DISK_FULL,
        sqlite3.SQLITE_IOERR: FailureKind.LEDGER_DAMAGED,
        sqlite3.SQLITE_CORRUPT: FailureKind.LEDGER_DAMAGED,
        sqlite3.SQLITE_NOTADB: FailureKind.LEDGER_DAMAGED,
    }
)
# A full disk under the -wal and -shm files is told as an I/O error of these kinds.
_SQLITE_EXTENDED: Final[Mapping[int, FailureKind]] = MappingProxyType(
    {
        sqlite3.SQLITE_IOERR_SHMSIZE: FailureKind.DISK_FULL,
        sqlite3.SQLITE_IOERR_SHMOPEN: FailureKind.DISK_FULL,
        sqlite3.SQLITE_IOERR_SHMMAP: FailureKind.DISK_FULL,
    }
)

_FILE_SYSTEM: Final[Mapping[int, FailureKind]] = MappingProxyType(
    {
        errno.EACCES: FailureKind.LEDGER_READ_ONLY,
        errno.EPERM: FailureKind.LEDGER_READ_ONLY,
        errno.EROFS: FailureKind.LEDGER_READ_ONLY,
        errno.ENOTDIR: FailureKind.LEDGER_MISSING,
        errno.ENOSPC: FailureKind.DISK_FULL,
        errno.EDQUOT: FailureKind.DISK_FULL,
    }
)

# psycopg's names for a server that was not reached, or said nothing.
_UNREACHED: Final = frozenset({"OperationalError", "ConnectionTimeout"})

# https://www.postgresql.org/docs/current/errcodes-appendix.html: whole codes first, then classes (two characters).
_POSTGRESQL: Final[Mapping[str, FailureKind]] = MappingProxyType(
    {
        "3D000": FailureKind.LEDGER_MISSING,  # there is no such database
        "42501": FailureKind.LEDGER_READ_ONLY,  # no privilege
        "25006": FailureKind.LEDGER_READ_ONLY,  # a standby's transactions only read
        "53100": FailureKind.DISK_FULL,
        "55P03": FailureKind.BUSY,  # our lock_timeout has passed
        "40": FailureKind.BUSY,  # rolled back for another's sake: a deadlock, a serialization
        "28": FailureKind.ACCESS_DENIED,  # another password, or pg_hba.conf refuses
        "08": FailureKind.LEDGER_MISSING,  # the connection broke
        "53": FailureKind.BUSY,  # too many connections, no memory
        "57": FailureKind.LEDGER_MISSING,  # the server stops or starts, or a statement took too long
        "58": FailureKind.LEDGER_DAMAGED,  # an error of the system outside PostgreSQL: input and output
        "XX": FailureKind.LEDGER_DAMAGED,  # PostgreSQL's own fault, or data or index corrupted
    }
)


def failure(cause: BaseException, doing: str, label: str) -> Failure | None:
    """What a driver's error means, or None when it is a mistake of ours that must not be dressed up."""
    kind = _kind(cause)
    if kind is None:
        return None
    words = (getattr(cause, "strerror", None) or str(cause)).strip().splitlines()
    return Failure(kind=kind, message=f"{doing} the ledger {label}: {words[0] if words else type(cause).__name__}")


def _kind(cause: BaseException) -> FailureKind | None:
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0)
        return _SQLITE_EXTENDED.get(code) or _SQLITE.get(code & 0xFF)
    if isinstance(cause, OSError):
        return _FILE_SYSTEM.get(cause.errno or 0)
    if not hasattr(cause, "sqlstate"):
        return None
    state = cause.sqlstate  # None: the server was never reached, or the connection broke
    if state is None:
        return FailureKind.LEDGER_MISSING if type(cause).__name__ in _UNREACHED else None
    return _POSTGRESQL.get(state) or _POSTGRESQL.get(state[:2])


@contextmanager
def told(doing: str, label: str) -> Iterator[None]:
    """Turn what SQLite and the file system raise into a LedgerError; `doing` is a verb ("open", "write")."""
    try:
        yield
    except (sqlite3.Error, OSError) as cause:
        meaning = failure(cause, doing, label)
        if meaning is None:
            raise
        raise LedgerError(meaning) from cause

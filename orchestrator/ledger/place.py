"""Where a ledger is and how old it is, found out quickly and before anything touches it."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Final

from jobs.failure import Failure, FailureKind
from orchestrator.ledger.faults import LedgerError, told

REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005")  # of migrations/versions, oldest first
HEAD: Final = REVISIONS[-1]
BUSY_TIMEOUT: Final = 10.0  # seconds that one process waits for another's write

_SQLITE: Final = "sqlite:///"


def refused(kind: FailureKind, label: str, message: str) -> LedgerError:
    """The error for a ledger that cannot be opened."""
    return LedgerError(Failure(kind=kind, message=f"open the ledger {label}: {message}"))


def sqlite_path(url: str) -> Path | None:
    """The file that `sqlite:///FILE` names (four slashes for an absolute path), or None for any other URL."""
    name = url.removeprefix(_SQLITE)
    if name == url:
        return None
    if not name or name.startswith(":"):
        raise refused(FailureKind.LEDGER_MISSING, url, "it must be a file, because it must outlive this process")
    return Path(name)


def exists(path: Path) -> bool:
    """Whether there is anything at the path. Raises PermissionError where Path.exists() of some Pythons says no."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def sqlite_connection(path: Path) -> sqlite3.Connection:
    """A connection to a file that exists; its transactions are begun by hand. Raises sqlite3.Error.

    It never creates: a ledger that vanished is not replaced by an empty one. It may write, also where it only reads:
    a connection that may not would leave -wal and -shm lying about.
    """
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
    )


def sqlite_revision(path: Path) -> str | None:
    """The file's revision, or None when it is an empty database.

    Raises LedgerError: LEDGER_MISSING, LEDGER_DAMAGED (also for a database that is not a ledger), LEDGER_READ_ONLY.
    """
    with told("open", str(path)):
        if not exists(path):
            raise refused(FailureKind.LEDGER_MISSING, str(path), "there is no such file")
        with closing(sqlite_connection(path)) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            if not has_revision(names, str(path)):
                return None
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            return None if found is None else str(found[0])


def has_revision(tables: Collection[str], label: str) -> bool:
    """Whether a database's tables are a ledger's. None at all: it is empty. Others: it belongs to somebody else."""
    if "alembic_version" in tables:
        return True
    if tables:
        raise refused(FailureKind.LEDGER_DAMAGED, label, "it is a database, but not a ledger of Tandem")
    return False


def is_current(revision: str | None, label: str, *, create: bool) -> bool:
    """Whether this version can use the ledger as it is; False when it must be made or upgraded first.

    Raises LedgerError: LEDGER_MISSING when it is empty and may not be created, LEDGER_TOO_NEW.
    """
    if revision is None:
        if not create:
            raise refused(FailureKind.LEDGER_MISSING, label, "nothing was ever written to it")
        return False
    if revision not in REVISIONS:
        message = f"its revision is {revision}, and this version of Tandem knows {HEAD} at most"
        raise refused(FailureKind.LEDGER_TOO_NEW, label, message)
    return revision == HEAD

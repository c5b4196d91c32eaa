"""The ledger as one SQLite file: made whole or not at all, one connection, every commit on the disk before it counts.

Checkpoints happen only when the last connection closes (wal_autocheckpoint=0): SQLite before 3.51.3 can damage a file
when one connection checkpoints while another writes (https://www.sqlite.org/wal.html), and Debian 12 has 3.40.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Final, Self

from jobs.failure import Failure, FailureKind
from orchestrator.ledger.database import Row, Values
from orchestrator.ledger.faults import LedgerError, told
from orchestrator.ledger.place import HEAD, exists, is_current, sqlite_connection, sqlite_revision

PRAGMAS: Final = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # NORMAL may lose the last commits with the power: an effect without its intent
    "PRAGMA foreign_keys=ON",
    "PRAGMA wal_autocheckpoint=0",
    "PRAGMA journal_size_limit=67108864",  # bytes
)
_SCHEMA: Final = Path(__file__).with_name("schema.sql")
_WAL_LIMIT: Final = 4 << 20  # bytes of -wal at which a long-lived process gives its connection back once


class SqliteTransaction:
    """Statements on one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, values: Values) -> list[Row]:
        """What a query finds, by column name."""
        return list(self.each(sql, values))

    def each(self, sql: str, values: Values) -> Iterator[Row]:
        """The same, one at a time: a hundred thousand rows are never in memory together."""
        with closing(self._connection.execute(sql, values)) as cursor:
            names = [column[0] for column in cursor.description]
            for row in cursor:
                yield dict(zip(names, row, strict=True))

    def change(self, sql: str, values: Values) -> int:
        """How many rows a statement changed."""
        return self._connection.execute(sql, values).rowcount

    def change_each(self, sql: str, values: Iterable[Values]) -> None:
        """Run a statement once for each set of values."""
        self._connection.executemany(sql, values)


class SqliteDatabase:
    """A ledger's file. Threads take turns on its one connection; processes wait for each other's writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal = path.with_name(f"{path.name}-wal")
        self._turn = RLock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # which one was opened, whatever its name leads to by now

    @classmethod
    def open(cls, path: Path, *, create: bool, now: datetime) -> Self:
        """The file, made or upgraded to this version when it must be. Raises LedgerError as Ledger.open says."""
        label = str(path)
        with told("open", label):
            missing = not exists(path)
        if missing and create:
            _make(path)
        if not is_current(sqlite_revision(path), label, create=create):
            _upgrade(path, now)
        return cls(path)

    @property
    def label(self) -> str:
        """The file."""
        return str(self._path)

    def reading(self, doing: str) -> AbstractContextManager[SqliteTransaction]:
        """A transaction that only reads, and never waits for a writer."""
        return self._transaction("BEGIN", doing)

    def writing(self, doing: str) -> AbstractContextManager[SqliteTransaction]:
        """A transaction that writes: SQLite lets one at a time do so, and the others wait up to ten seconds."""
        return self._transaction("BEGIN IMMEDIATE", doing)

    deciding = writing

    @contextmanager
    def _transaction(self, begin: str, doing: str) -> Iterator[SqliteTransaction]:
        with self._turn, told(doing, self.label):
            connection = self._connected()
            self._check_the_file()
            connection.execute(begin)
            try:
                yield SqliteTransaction(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            self._rest()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path)
        return self._connection

    def _check_the_file(self) -> None:
        """A file that is removed goes on to be written, and everything in it is gone in the end."""
        found = _identity(self._path)
        self._file = self._file or found
        if found is None or found != self._file:
            what = "is not there any more" if found is None else "was replaced by another file"
            message = f"use the ledger {self._path}: it {what} while it was in use; put it back, or start anew"
            raise LedgerError(Failure(kind=FailureKind.LEDGER_MISSING, message=message))

    def _rest(self) -> None:
        with suppress(FileNotFoundError):
            if self._wal.stat().st_size > _WAL_LIMIT:
                self.close()

    def copy_to(self, path: Path) -> None:
        """Write a copy of one instant to a file. It takes the name once it is found sound and is on the disk."""
        with told("copy", self.label):
            if exists(path) and path.samefile(self._path):
                raise ValueError(f"{path} is the ledger itself, and no place for a copy of it")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _half(path) as half:
                _copy_of_one_instant(self._path, half)
                half.replace(path)
            _sync(path.parent)  # or a power cut may bring the former file back

    def close(self) -> None:
        """Give back the connection; the next transaction opens another."""
        with self._turn, told("close", self.label):
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file stands at a path: its device and inode."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def connect(path: Path) -> sqlite3.Connection:
    """A connection whose commits last. Raises sqlite3.Error."""
    connection = sqlite_connection(path)
    try:
        for pragma in PRAGMAS:
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def _make(path: Path) -> None:
    """Make the ledger beside its place and link it there: nobody opens half of one, and none replaces another."""
    with told("create", str(path)):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _half(path) as half:
            _build(half)
            with suppress(FileExistsError):  # another process was quicker, and its ledger is as good
                path.hardlink_to(half)


@contextmanager
def _half(path: Path) -> Iterator[Path]:
    """An empty file beside a place, in which to make what belongs there; what is left of it in the end is removed."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mode 0600, and so are -wal and -shm
    os.close(handle)
    half = Path(name)
    try:
        yield half
    finally:
        for leftover in (half, *(half.with_name(f"{half.name}{end}") for end in ("-wal", "-shm", "-journal"))):
            leftover.unlink(missing_ok=True)


def _build(path: Path) -> None:
    """All tables at once: the migrations would build the same, and take alembic and half a second for it."""
    with closing(connect(path)) as connection:
        # The transaction is in the script: executescript ends any that is open before it begins.
        connection.executescript(f"BEGIN; {_SCHEMA.read_text(encoding='utf-8')} COMMIT;")


def _upgrade(path: Path, now: datetime) -> None:
    """Bring an existing file to this version, with a copy of what it was beside it."""
    kept = path.with_name(f"{path.name}.before-{HEAD}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
    with told("upgrade", str(path)):
        _migrate(path, keep=kept)


def _migrate(path: Path, keep: Path) -> None:
    from orchestrator.ledger.upgrade import upgrade_sqlite  # SQLAlchemy and alembic: only now

    upgrade_sqlite(lambda: connect(path), str(path), lambda: copy(path, keep))


def copy(path: Path, to: Path) -> None:
    """A consistent copy of a ledger that others may be using, readable by its owner only. Raises sqlite3.Error."""
    to.touch(mode=0o600, exist_ok=False)
    with closing(sqlite_connection(path)) as connection:
        connection.execute("VACUUM INTO ?", (str(to),))


def _copy_of_one_instant(path: Path, to: Path) -> None:
    """Copy a ledger that others are writing, by SQLite's own way to do so, and ask SQLite whether the copy is sound."""
    with closing(sqlite_connection(path)) as live, closing(sqlite_connection(to)) as copied:
        live.backup(copied)  # all pages in one step: of one instant, and nobody has to wait for it
        copied.execute("PRAGMA journal_mode=DELETE")  # so that it is one file, also once somebody has opened it
        found = [words for (words,) in copied.execute("PRAGMA integrity_check")]
    if found != ["ok"]:
        message = f"copy the ledger {path}: the copy is damaged, so the ledger may be: {found[0]}"
        raise LedgerError(Failure(kind=FailureKind.LEDGER_DAMAGED, message=message))
    _sync(to)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

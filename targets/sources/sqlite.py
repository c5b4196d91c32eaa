"""A SQLite database as a source: copied whole and consistent while others write to it; nothing is created beside it.

The copy is made by SQLite's backup API (https://www.sqlite.org/backup.html) below one read transaction, so that it is
the database as it was at one moment and never starts over because somebody wrote. A database in WAL mode that nobody
has open is the one exception: reading it would leave `-wal` and `-shm` files behind, so it is read as immutable, and
the copy counts only if the database was at rest before and after.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from jobs.failure import FailureKind
from jobs.manifest import shown
from targets.errors import TargetError
from targets.ports import Progress, Stop, Watch

PATIENCE: Final = 30.0  # seconds to wait for a lock before the backup is given up

_MAGIC: Final = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html#the_database_header
_WRITE_VERSION: Final = 18  # the header's byte that is 2 in WAL mode
_WAL: Final = 2
_DRAFT: Final = ".sqlite.draft"
_PAGES: Final = 1024  # copied between two looks at `stop`
_LOCK_WAIT: Final = 0.2  # seconds SQLite waits for a lock between two looks at `stop`
_TRIES_AT_REST: Final = 3
_FINDINGS: Final = 10  # lines of SQLite's check that are told

# SQLite's primary result codes (https://www.sqlite.org/rescode.html); what is not here is SOURCE_UNREADABLE.
_KINDS: Final[Mapping[int, FailureKind]] = MappingProxyType(
    {
        sqlite3.SQLITE_NOTADB: FailureKind.SOURCE_DAMAGED,
        sqlite3.SQLITE_CORRUPT: FailureKind.SOURCE_DAMAGED,
        sqlite3.SQLITE_FULL: FailureKind.DISK_FULL,
        sqlite3.SQLITE_INTERRUPT: FailureKind.CANCELLED,
    }
)
_FULL: Final = frozenset((ENOSPC, EDQUOT))
_LOCKED: Final = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))


def copy(database: Path, into: Path, *, stop: Stop, watch: Watch, patience: float = PATIENCE) -> None:
    """Copy the database to the file `into` (mode 0600; folders are made), replacing what is there.

    The copy is checked (quick_check) and comes into place whole or not at all. `patience` in seconds.
    Raises TargetError: SOURCE_MISSING, SOURCE_DAMAGED, SOURCE_UNREADABLE (locked for long, no permission), DISK_FULL,
    CANCELLED.
    """
    draft = into.with_name(_DRAFT)
    with _told(database):
        into.parent.mkdir(parents=True, exist_ok=True)
        try:
            _draft(database, draft, _Patience(database, stop, patience), watch)
            found = _check(draft, "quick_check")
            if found:
                raise _error(database, FailureKind.SOURCE_DAMAGED, found)
            draft.replace(into)
        finally:
            draft.unlink(missing_ok=True)


def verify(database: Path) -> str | None:
    """SQLite's full check of a restored copy that nobody writes to: None when it is sound, else what was found."""
    if not database.is_file():
        return "the database is not there"
    try:
        return _check(database, "integrity_check")
    except sqlite3.Error as error:
        return str(error)


class _Patience:
    """When to give up."""

    def __init__(self, database: Path, stop: Stop, seconds: float) -> None:
        self._database, self._stop, self._seconds = database, stop, seconds
        self._deadline = time.monotonic() + seconds

    def ask(self) -> None:
        """Raise TargetError when it is time to stop."""
        if self._stop.is_set():
            raise _error(self._database, FailureKind.CANCELLED, "asked to stop")

    def ask_about_lock(self, error: sqlite3.Error) -> None:
        """Raise TargetError when it is time to stop, or when the lock has been there for too long."""
        self.ask()
        if time.monotonic() >= self._deadline:
            words = f"another program has kept it locked for {self._seconds:g} s; let that one end, then run again"
            raise _error(self._database, FailureKind.SOURCE_UNREADABLE, words) from error


def _draft(database: Path, draft: Path, patience: _Patience, watch: Watch) -> None:
    _header(database)
    for _ in range(_TRIES_AT_REST):
        before = _rest(database)
        if before is None:
            break
        _copy(f"{_uri(database)}&immutable=1", draft, patience, watch)
        if _rest(database) == before:
            return
    _copy(_uri(database), draft, patience, watch)


def _header(database: Path) -> bytes:
    """The first bytes of what is, or will be taken for, a database."""
    if not database.is_file():
        missing = not database.exists()
        kind = FailureKind.SOURCE_MISSING if missing else FailureKind.SOURCE_DAMAGED
        raise _error(database, kind, "not there" if missing else "not a file")
    if _is_in_use(database):
        return _MAGIC  # SQLite will tell; and its locks in this very process would not survive our close()
    with database.open("rb") as file:
        header = file.read(100)
    if not header.startswith(_MAGIC):
        raise _error(database, FailureKind.SOURCE_DAMAGED, "not a SQLite database" if header else "an empty file")
    return header


def _is_in_use(database: Path) -> bool:
    return any(database.with_name(database.name + end).exists() for end in ("-wal", "-journal"))


def _rest(database: Path) -> tuple[int, ...] | None:
    """What tells whether anybody wrote; None when somebody has it open, or it is not in WAL mode."""
    if _is_in_use(database):
        return None
    header = _header(database)
    found = database.stat()
    if _is_in_use(database) or header[_WRITE_VERSION : _WRITE_VERSION + 1] != bytes((_WAL,)):
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _copy(uri: str, draft: Path, patience: _Patience, watch: Watch) -> None:
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)
    with closing(_open(uri)) as source, closing(_open(_uri(draft, mode="rw"))) as copied:
        copied.execute("PRAGMA journal_mode = OFF")  # a draft that fails is thrown away
        copied.execute("PRAGMA synchronous = OFF")
        _pin(source, patience)
        (size,) = source.execute("PRAGMA page_size").fetchone()

        def progress(_status: int, remaining: int, total: int) -> None:
            watch(Progress(bytes_done=(total - remaining) * size, bytes_total=total * size, files_total=1))
            patience.ask()

        source.backup(copied, pages=_PAGES, progress=progress)


def _pin(source: sqlite3.Connection, patience: _Patience) -> None:
    """Begin a read transaction that lasts until the connection is closed."""
    source.execute("BEGIN")
    while True:
        patience.ask()
        try:
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            if _code(error) not in _LOCKED:
                raise
            patience.ask_about_lock(error)
        else:
            return


def _check(database: Path, pragma: str) -> str | None:
    with closing(_open(f"{_uri(database)}&immutable=1")) as connection:
        try:
            rows = connection.execute(f"PRAGMA {pragma}({_FINDINGS})").fetchall()
        except sqlite3.DatabaseError as error:
            return str(error)
    found = [str(row[0]) for row in rows]
    return None if found == ["ok"] else "; ".join(line.strip() for line in found)


def _open(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=_LOCK_WAIT, isolation_level=None)


def _uri(database: Path, mode: str = "ro") -> str:
    return f"file:{quote(bytes(database))}?mode={mode}"


def _code(error: sqlite3.Error) -> int:
    """The primary result code; an error of Python's own module has none."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


@contextmanager
def _told(database: Path) -> Iterator[None]:
    """Errors of SQLite and of the file system as TargetErrors."""
    try:
        yield
    except sqlite3.Error as error:
        kind = _KINDS.get(_code(error), FailureKind.SOURCE_UNREADABLE)
        raise _error(database, kind, str(error)) from error
    except FileNotFoundError as error:
        raise _error(database, FailureKind.SOURCE_MISSING, "not there any more") from error
    except OSError as error:
        kind = FailureKind.DISK_FULL if error.errno in _FULL else FailureKind.SOURCE_UNREADABLE
        raise _error(database, kind, str(error.strerror)) from error


def _error(database: Path, kind: FailureKind, what: str) -> TargetError:
    return TargetError("copy", f"database {shown(str(database))}", kind, what)

"""Who is at work with a ledger's file, found out without changing a byte of it: it may be damaged, and all there is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from jobs.history import Owner
from orchestrator.ledger.codec import owner_of

_OWNERS: Final = "SELECT owner_host, owner_boot, owner_pid, owner_started FROM"
# Of any version: the lease came later than the runs.
_HOLDERS: Final = (f"{_OWNERS} run WHERE state = 'running'", f"{_OWNERS} lease WHERE owner_host IS NOT NULL")


def holders(path: Path) -> tuple[Owner, ...]:
    """The owners of what is open in the file, alive or dead; none where it cannot be read.

    Read-only: a connection that may write would tidy up a -wal file that it cannot use, and with it what is in there.
    """
    return tuple(_holders(path))


def _holders(path: Path) -> Iterator[Owner]:
    for statement in _HOLDERS:
        with suppress(sqlite3.Error), closing(_opened(path)) as connection:
            connection.row_factory = sqlite3.Row
            yield from [owner_of(dict(row)) for row in connection.execute(statement)]


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)

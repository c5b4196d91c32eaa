"""The seam between the ledger's statements and the databases that run them.

Statements are SQL that SQLite and PostgreSQL both know, with `:name` for values, each written once. On SQLite they go
straight to the standard library's driver, because a command that has nothing to do should not spend 300 ms of its
second on importing an ORM; on PostgreSQL they go through SQLAlchemy. The schema itself is SQLModel's (tables.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

Row = Mapping[str, Any]
Values = Mapping[str, Any]


class Transaction(Protocol):
    """One transaction's statements. Leaving its block commits; leaving it by an exception rolls back."""

    def rows(self, sql: str, values: Values) -> list[Row]:
        """What a query finds, by column name."""
        ...

    def each(self, sql: str, values: Values) -> Iterator[Row]:
        """The same, one at a time, for what is large; others wait for their turn until the last one was taken."""
        ...

    def change(self, sql: str, values: Values) -> int:
        """How many rows a statement changed."""
        ...

    def change_each(self, sql: str, values: Iterable[Values]) -> None:
        """Run a statement once for each set of values."""
        ...


class Database(Protocol):
    """A database that holds a ledger. `doing` is a verb for the error text; every block may raise LedgerError."""

    @property
    def label(self) -> str:
        """What people are shown: a file, or a server and its database. Never a password."""
        ...

    def reading(self, doing: str) -> AbstractContextManager[Transaction]:
        """A transaction that only reads, and never waits for a writer."""
        ...

    def writing(self, doing: str) -> AbstractContextManager[Transaction]:
        """A transaction that writes."""
        ...

    def deciding(self, doing: str) -> AbstractContextManager[Transaction]:
        """A transaction that writes what it decides from what it reads: only one at a time, over all processes."""
        ...

    def copy_to(self, path: Path) -> None:
        """Write a copy of one instant to a file, in one piece or not at all."""
        ...

    def close(self) -> None:
        """Give back connections. Closing twice succeeds."""
        ...

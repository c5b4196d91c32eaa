"""What every room of the ledger stands on: a database, asking it, and the few pieces that statements are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, TypeVar

from jobs.failure import Failure, FailureKind
from orchestrator.ledger.codec import UnreadableRowError
from orchestrator.ledger.database import Database, Row, Transaction, Values
from orchestrator.ledger.faults import LedgerError, Superseded

_T = TypeVar("_T")
_TERM: Final = "SELECT term FROM lease WHERE id = 1"


class Room:
    """One theme's questions and changes. All rooms of a ledger share its database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._term: int | None = None  # of the lease that was taken through this ledger, until it is let go

    @property
    def label(self) -> str:
        """What people are shown: a file, or a server and its database. Never a password."""
        return self._database.label

    def _still_decides(self, transaction: Transaction) -> None:
        """Refuse what is decided under a lease that is another's by now: its holder stood still, and does not know it.

        For deciding transactions: the lease is taken in one, too. Raises Superseded. A process that never took the
        lease, such as a person's command, is not asked.
        """
        if self._term is not None and transaction.rows(_TERM, {}) != [{"term": self._term}]:
            message = f"write the ledger {self.label}: the lease of term {self._term} is another's by now"
            raise Superseded(Failure(kind=FailureKind.BUSY, message=message))

    def _ask(self, statement: str, values: Values, reader: Callable[[Row], _T]) -> tuple[_T, ...]:
        with self._database.reading("read") as transaction:
            rows = transaction.rows(statement, values)
        return self._read(rows, reader)  # not before: others wait for their turn on the connection

    def _read(self, rows: Iterable[Row], reader: Callable[[Row], _T]) -> tuple[_T, ...]:
        try:
            return tuple(reader(row) for row in rows)
        except UnreadableRowError as cause:
            message = f"read the ledger {self.label}: {cause}"
            raise LedgerError(Failure(kind=FailureKind.LEDGER_DAMAGED, message=message)) from cause


def where(filters: Mapping[str, str], wanted: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The condition that those of the filters make that are wanted (not None), and its values."""
    values = {name: value for name, value in wanted.items() if value is not None}
    return " AND ".join(filters[name] for name in values) or "1 = 1", values


def among(column: str, wanted: Iterable[StrEnum] | None) -> str:
    """One more condition: a column holds one of these; None: whatever it holds."""
    if wanted is None:
        return ""
    # In the statement itself, for they are our own words; among none is NULL, which nothing equals.
    return f" AND {column} IN ({', '.join(repr(each.value) for each in wanted) or 'NULL'})"


def at_most(limit: int | None) -> str:
    """How a query ends that wants no more rows than so many."""
    return "" if limit is None else f" LIMIT {limit:d}"


def insertion(table: str, row: Values) -> str:
    """The statement that inserts such a row."""
    columns = ", ".join(row)
    return f"INSERT INTO {table} ({columns}) VALUES ({', '.join(f':{column}' for column in row)})"  # noqa: S608 (constants)


def insert(transaction: Transaction, table: str, row: Values) -> None:
    """Insert one row."""
    transaction.change(insertion(table, row), row)


def insert_each(transaction: Transaction, table: str, rows: list[dict[str, Any]], ending: str = "") -> None:
    """Insert rows of the same columns; `ending` says what becomes of one that is there already."""
    if rows:
        transaction.change_each(insertion(table, rows[0]) + ending, rows)

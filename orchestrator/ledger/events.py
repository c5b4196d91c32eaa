"""Events in the order in which they came to be known: whoever read up to a number never finds one below it later.

A database hands out numbers when rows are inserted and shows the rows when they are committed; were two to insert at
once, the later number could be seen before the earlier one, and a reader that remembers how far it read would lose
that. So every transaction that writes events is a `deciding` one: only one at a time on SQLite as on PostgreSQL, whose
advisory lock is taken before the first number is drawn and given back after the commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from jobs.event import Event, Topic
from orchestrator.ledger.codec import micros_or_none
from orchestrator.ledger.database import Transaction
from orchestrator.ledger.room import Room, among, at_most, insert_each, where
from orchestrator.ledger.rows import event_of, event_row

_FILTERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "after": "id > :after",
        "since": "at >= :since",
        "until": "at < :until",
        "tenant": "tenant = :tenant",
    }
)


def write(transaction: Transaction, events: Iterable[Event]) -> None:
    """Append events. The transaction must be a deciding one."""
    insert_each(transaction, "event", [event_row(event) for event in events])


class Events(Room):
    """What happened that somebody may want to be told."""

    def add_events(self, events: Iterable[Event]) -> None:
        """Append events, in this order. The ledger numbers them: their own `id` is not read."""
        with self._database.deciding("write") as transaction:
            write(transaction, events)

    def events(
        self,
        after: int = 0,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        topics: Iterable[Topic] | None = None,
        tenant: str | None = None,
        limit: int | None = None,
    ) -> tuple[Event, ...]:
        """Events in order, from the one after number `after`, that happened at `since` or later and before `until`."""
        wanted = {"after": after, "since": micros_or_none(since), "until": micros_or_none(until), "tenant": tenant}
        condition, values = where(_FILTERS, wanted)
        condition += among("topic", topics)
        statement = f"SELECT * FROM event WHERE {condition} ORDER BY id{at_most(limit)}"  # noqa: S608 (constants)
        return self._ask(statement, values, event_of)

    def newest_event(self) -> int:
        """The number of the last event that is on record; 0 before the first."""
        (number,) = self._ask("SELECT coalesce(max(id), 0) AS newest FROM event", {}, lambda row: int(row["newest"]))
        return number

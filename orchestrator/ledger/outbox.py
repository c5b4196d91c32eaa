"""The outbox: notices of events, each event once, and what became of each notice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from jobs.event import Event
from jobs.failure import Failure, FailureKind
from jobs.notice import Notice, NoticeState
from orchestrator.ledger import events as outcry
from orchestrator.ledger.codec import escape, micros, micros_or_none
from orchestrator.ledger.database import Transaction
from orchestrator.ledger.faults import Superseded
from orchestrator.ledger.room import Room, insert_each, where
from orchestrator.ledger.rows import notice_of, notice_row

_TOLD: Final = "SELECT told_until FROM outbox"
_FILTERS: Final[Mapping[str, str]] = MappingProxyType(
    {"since": "made_at >= :since", "until": "made_at < :until", "key": '"key" = :key'}
)


class Outbox(Room):
    """What is to be told, and what was."""

    def told_until(self) -> int:
        """The number of the last event that notices were made from; 0 before the first."""
        return max(self._ask(_TOLD, {}, lambda row: int(row["told_until"])), default=0)

    def queue(self, notices: Iterable[Notice], told_until: int, *, seen: int | None = None) -> None:
        """Put notices into the outbox, and remember up to which event they tell, both or neither.

        `seen` is what `told_until()` said before they were made. Raises Superseded when another process has told
        further since (without `seen`: further than `told_until`), so that nothing is told twice.
        """
        rows = [notice_row(notice) for notice in notices]
        with self._database.deciding("write") as transaction:
            self._still_decides(transaction)
            told = _told(transaction)
            if told > told_until or seen not in {None, told}:
                message = f"queue notices up to event {told_until}: another process has told up to event {told}"
                raise Superseded(Failure(kind=FailureKind.BUSY, message=message))
            insert_each(transaction, "notice", rows)
            transaction.change("UPDATE outbox SET told_until = :told WHERE id = 1", {"told": told_until})

    def pending_notices(self, now: datetime) -> tuple[Notice, ...]:
        """The notices whose next attempt is due, the longest due first."""
        statement = "SELECT * FROM notice WHERE state = 'pending' AND next_at <= :now ORDER BY next_at, id"
        return self._ask(statement, {"now": micros(now)}, notice_of)

    def settle(
        self, notice: int, state: NoticeState, attempts: int, next_at: datetime, error: str, now: datetime
    ) -> None:
        """Record what an attempt to deliver came to. Raises Superseded when the notice is no longer pending."""
        row = {
            "id": notice,
            "state": state.value,
            "attempts": attempts,
            "next_at": micros(next_at),
            "error": escape(error),
            "delivered_at": micros(now) if state is NoticeState.DELIVERED else None,
        }
        sets = ", ".join(f"{column} = :{column}" for column in row if column != "id")
        statement = f"UPDATE notice SET {sets} WHERE id = :id AND state = 'pending'"  # noqa: S608 (column names)
        with self._database.writing("write") as transaction:
            if transaction.change(statement, row) != 1:
                message = f"settle notice {notice}: it is not pending (any more)"
                raise Superseded(Failure(kind=FailureKind.BUSY, message=message))

    def settle_each(self, settled: Iterable[Notice], events: Iterable[Event] = ()) -> None:
        """Record what deliveries came to, and events that follow from it, in one transaction.

        Of each notice its state, attempts, next attempt, error and delivery are written; of one that is no longer
        pending, nothing.
        """
        columns = ("id", "state", "attempts", "next_at", "error", "delivered_at")
        told = [{"id": notice.id, **notice_row(notice)} for notice in settled]
        rows = [{column: row[column] for column in columns} for row in told]
        sets = ", ".join(f"{column} = :{column}" for column in columns if column != "id")
        statement = f"UPDATE notice SET {sets} WHERE id = :id AND state = 'pending'"  # noqa: S608 (column names)
        with self._database.deciding("write") as transaction:
            transaction.change_each(statement, rows)
            outcry.write(transaction, events)

    def notices(
        self, since: datetime | None = None, until: datetime | None = None, key: str | None = None
    ) -> tuple[Notice, ...]:
        """The notices made at `since` or later and before `until`, and of one key if asked so, in their order."""
        wanted = {"since": micros_or_none(since), "until": micros_or_none(until), "key": key}
        condition, values = where(_FILTERS, wanted)
        return self._ask(f"SELECT * FROM notice WHERE {condition} ORDER BY id", values, notice_of)  # noqa: S608 (constants)


def _told(transaction: Transaction) -> int:
    """Up to where it was told, of a row that is there from then on."""
    found = transaction.rows(_TOLD, {})
    if not found:
        transaction.change("INSERT INTO outbox (id, told_until) VALUES (1, 0)", {})
    return int(found[0]["told_until"]) if found else 0

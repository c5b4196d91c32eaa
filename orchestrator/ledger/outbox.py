"""The outbox: notices of events, each event once, and what became of each notice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from jobs.event import Event
from jobs.failure import Failure, FailureKind
from jobs.notice import Deliveries, Notice
from orchestrator.ledger import events as outcry
from orchestrator.ledger.codec import micros, micros_or_none, span
from orchestrator.ledger.database import Row, Transaction
from orchestrator.ledger.faults import Superseded
from orchestrator.ledger.room import Room, insert_each, where
from orchestrator.ledger.rows import notice_of, notice_row

_TOLD: Final = "SELECT told_until FROM outbox"


def _count(condition: str) -> str:
    return f"count(CASE WHEN {condition} THEN 1 END)"


_FILTERS: Final[Mapping[str, str]] = MappingProxyType(
    {"since": "made_at >= :since", "until": "made_at < :until", "key": '"key" = :key'}
)
_REACH: Final = timedelta(days=31)  # what waits is given up after three days, and later only where nobody tried
_ENDED: Final = "CASE state WHEN 'delivered' THEN delivered_at WHEN 'given-up' THEN next_at END"
_DELIVERED: Final = "state = 'delivered' AND ended <= :until"
_DELIVERIES: Final = f"""
SELECT channel, {_count("made_at >= :since")} AS made, {_count("made_at < :since")} AS carried,
 {_count(f"{_DELIVERED} AND late = 0")} AS at_once, {_count(f"{_DELIVERED} AND late = 1")} AS late,
 {_count("state = 'given-up' AND ended <= :until")} AS given_up, {_count("ended IS NULL OR ended > :until")} AS waiting,
 max(CASE WHEN {_DELIVERED} AND late = 1 THEN ended - made_at END) AS longest
FROM (SELECT channel, made_at, state, {_ENDED} AS ended, CASE WHEN error <> '' OR attempts > 0 THEN 1 ELSE 0 END AS late
 FROM notice WHERE made_at >= :reach AND made_at < :until{{whose}}) AS told
WHERE made_at >= :since OR ended IS NULL OR ended > :since GROUP BY channel ORDER BY channel
"""  # noqa: S608 (constants)
_TROUBLED: Final = """
SELECT DISTINCT channel FROM notice AS lost WHERE (state = 'pending' AND error <> '') OR (state = 'given-up' AND
 NOT EXISTS (SELECT 1 FROM notice WHERE channel = lost.channel AND delivered_at >= lost.next_at))
"""


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

    def deliveries(self, since: datetime, until: datetime, *, tenant: str | None = None) -> tuple[Deliveries, ...]:
        """What had become of the notices of a time by its end, channel by channel; of one tenant's if asked so.

        What is delivered or given up later changes nothing, so that a past figure stays.
        """
        values = {"since": micros(since), "until": micros(until), "reach": micros(since - _REACH)}
        if tenant is None:
            return self._ask(_DELIVERIES.format(whose=""), values, _deliveries_of)
        return self._ask(
            _DELIVERIES.format(whose=" AND tenant = :tenant"), {**values, "tenant": tenant}, _deliveries_of
        )

    def troubled_channels(self) -> frozenset[str]:
        """The channels that did not accept what they were sent last, as far as notices tell."""
        return frozenset(self._ask(_TROUBLED, {}, lambda row: str(row["channel"])))


def _deliveries_of(row: Row) -> Deliveries:
    figures = ("made", "carried", "at_once", "late", "given_up", "waiting")
    longest = None if row["longest"] is None else max(span(0), span(row["longest"]))
    return Deliveries(channel=row["channel"], longest=longest, **{name: int(row[name]) for name in figures})


def _told(transaction: Transaction) -> int:
    """Up to where it was told, of a row that is there from then on."""
    found = transaction.rows(_TOLD, {})
    if not found:
        transaction.change("INSERT INTO outbox (id, told_until) VALUES (1, 0)", {})
    return int(found[0]["told_until"]) if found else 0

"""Alarms: each condition once while it lasts, from when it was first seen."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from jobs.event import Event
from orchestrator.ledger import events as outcry
from orchestrator.ledger.codec import escape, micros
from orchestrator.ledger.room import Room, insert_each
from orchestrator.ledger.rows import alarm_of, alarm_row

if TYPE_CHECKING:
    from jobs.alarm import Alarm


class Alarms(Room):
    """Conditions that hold, and since when."""

    def alarms(self) -> tuple[Alarm, ...]:
        """The alarms that stand, in the order in which they were raised."""
        return self._ask("SELECT * FROM alarm WHERE cleared_at IS NULL ORDER BY raised_at, id", {}, alarm_of)

    def set_alarms(
        self, raised: Iterable[Alarm], cleared: Iterable[str], now: datetime, events: Iterable[Event] = ()
    ) -> None:
        """Clear alarms by their keys, raise others, and write what is to be told of it, all in one transaction.

        One that stands already stays as it was first raised; one that does not stand is cleared without complaint.
        """
        over = [{"key": escape(key), "now": micros(now)} for key in cleared]
        with self._database.deciding("write") as transaction:
            self._still_decides(transaction)
            transaction.change_each("UPDATE alarm SET cleared_at = :now WHERE key = :key AND cleared_at IS NULL", over)
            insert_each(
                transaction,
                "alarm",
                [alarm_row(alarm) for alarm in raised],
                " ON CONFLICT (key) WHERE cleared_at IS NULL DO NOTHING",
            )
            outcry.write(transaction, events)

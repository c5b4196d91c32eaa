"""Rows that are older than the settings keep any are removed, some at a time, and never one that a report still needs.

What a report of any time from `before` on is made of stays: the runs that it judges (all since the last that settled a
job, however long ago that was), what restore points stand on that were there at `before` or later, whatever is open,
every line, and all settings. Slots go only where they are sealed, which is where they add up, and their sums stay (see
seals.py). Each step is a transaction of its own, whole in itself: who is cut off in between has removed a little less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from jobs.notice import DIGEST
from jobs.slot import SlotState
from jobs.tally import Sum, SumKind
from orchestrator.ledger.codec import micros, moment
from orchestrator.ledger.database import Transaction
from orchestrator.ledger.glance import Glances
from orchestrator.ledger.seals import of_line, put_sum

_OLDEST: Final = "SELECT min(due) AS due FROM slot WHERE due >= :since"
_OF_A_DAY: Final = (
    "SELECT slot.line FROM slot JOIN slot_sum ON slot_sum.line = slot.line AND slot_sum.kind = 'sealed'"
    " WHERE due >= :since AND due < :until AND nominal < slot_sum.until"
    " GROUP BY slot.line ORDER BY slot.line LIMIT :most"
)
_SLOTS: Final = "slot WHERE line = :line AND nominal < :until"
_RUNS: Final = (
    "SELECT id, started_at FROM run WHERE started_at < :before AND finished_at < :before"
    " AND (started_at, id) > (:started_at, :id)"
    " AND (slot IS NULL OR NOT EXISTS (SELECT 1 FROM slot WHERE slot.id = run.slot))"
    " AND NOT EXISTS (SELECT 1 FROM recovery_point WHERE recovery_point.run = run.id)"
    " ORDER BY started_at, id LIMIT :most"
)
_POINTS: Final = (
    "SELECT id FROM recovery_point WHERE gone_at < :before AND NOT EXISTS (SELECT 1 FROM recovery_point AS other"
    " WHERE other.origin = recovery_point.origin AND (other.gone_at IS NULL OR other.gone_at >= :before))"
    " ORDER BY gone_at LIMIT :most"
)
_EVENTS: Final = (
    "SELECT id FROM event WHERE at < :before AND id <= (SELECT max(told_until) FROM outbox) ORDER BY at LIMIT :most"
)
_SETTLED: Final = "made_at < :before AND state <> 'pending' AND coalesce(delivered_at, next_at) < :before"
_NOTICES: Final = (
    f'SELECT id FROM notice WHERE {_SETTLED} AND id NOT IN (SELECT max(id) FROM notice WHERE "key" = :digest'  # noqa: S608 (constants)
    " GROUP BY channel) ORDER BY made_at LIMIT :most"
)
_BODIES: Final = f"SELECT id FROM notice WHERE {_SETTLED} AND body <> '' ORDER BY made_at LIMIT :most"  # noqa: S608 (constants)


class Removal(Glances):
    """What is no longer kept. All of it may raise Superseded: the lease that this ledger took is another's by now."""

    def first_slots_due(self, since: datetime) -> datetime | None:
        """When the first slot is due of those that are due at a moment or later; None where there is none."""
        rows = self._ask(_OLDEST, {"since": micros(since)}, lambda row: row["due"])
        return None if rows[0] is None else moment(rows[0])

    def remove_slots(self, since: datetime, until: datetime, most: int) -> int:
        """Remove the sealed slots of moments before `until`, of some of the lines that have slots due in this time.

        Gives how many; 0: there is none left.
        """
        values = {"since": micros(since), "until": micros(until), "most": most}
        with self._database.deciding("write") as transaction:
            self._still_decides(transaction)
            lines = [int(row["line"]) for row in transaction.rows(_OF_A_DAY, values)]
            return sum(_remove_slots(transaction, line, until) for line in lines)

    def remove_runs(
        self, before: datetime, kept: frozenset[str], after: tuple[int, str], most: int
    ) -> tuple[int, tuple[int, str] | None]:
        """Remove ended runs that nothing refers to, but for those that are kept, from one in their order on.

        Gives how many, and where to go on; None: there is none left. The first of all is after (-1, "").
        """
        values = {"before": micros(before), "started_at": after[0], "id": after[1], "most": most}
        with self._database.deciding("write") as transaction:
            self._still_decides(transaction)
            found = transaction.rows(_RUNS, values)
            old = [row["id"] for row in found if row["id"] not in kept]
            _delete(transaction, "run", old)
        return len(old), (found[-1]["started_at"], found[-1]["id"]) if found else None

    def remove_points(self, before: datetime, most: int) -> int:
        """Remove restore points that were gone everywhere by then."""
        return self._remove("recovery_point", _POINTS, {"before": micros(before), "most": most})

    def remove_events(self, before: datetime, most: int) -> int:
        """Remove events of which notices were made."""
        return self._remove("event", _EVENTS, {"before": micros(before), "most": most})

    def remove_notices(self, before: datetime, most: int) -> int:
        """Remove notices that were delivered or given up, but for each channel's last digest: the next begins there."""
        return self._remove("notice", _NOTICES, {"before": micros(before), "most": most, "digest": DIGEST})

    def empty_notices(self, before: datetime, most: int) -> int:
        """Remove the bodies of such notices, and leave what became of them."""
        with self._database.deciding("write") as transaction:
            self._still_decides(transaction)
            found = transaction.rows(_BODIES, {"before": micros(before), "most": most})
            transaction.change_each("UPDATE notice SET body = '' WHERE id = :id", found)
        return len(found)

    def _remove(self, table: str, which: str, values: Mapping[str, Any]) -> int:
        with self._database.deciding("write") as transaction:
            self._still_decides(transaction)
            found = [row["id"] for row in transaction.rows(which, values)]
            _delete(transaction, table, found)
        return len(found)


def _delete(transaction: Transaction, table: str, ids: Iterable[object]) -> None:
    transaction.change_each(f"DELETE FROM {table} WHERE id = :id", [{"id": each} for each in ids])  # noqa: S608 (constants)


def _remove_slots(transaction: Transaction, line: int, until: datetime) -> int:
    """Move a line's first slots into the sum of what was removed; the seal, which the removal breaks, is as it was."""
    sums = of_line(transaction, line)
    sealed, before = sums.sealed[line], sums.removed.get(line)
    end = min(until, sealed.until)
    values = {"line": line, "until": micros(end)}
    counted = dict(before.states) if before else {}
    many = 0
    for row in transaction.rows(f"SELECT state, count(*) AS many FROM {_SLOTS} GROUP BY state", values):  # noqa: S608 (constants)
        counted[SlotState(row["state"])] = counted.get(SlotState(row["state"]), 0) + int(row["many"])
        many += int(row["many"])
    transaction.change(f"DELETE FROM {_SLOTS}", values)  # noqa: S608 (constants)
    end = end if before is None else max(end, before.until)
    put_sum(transaction, SumKind.REMOVED, Sum(line=line, until=end, states=counted))
    put_sum(transaction, SumKind.SEALED, sealed)
    return many

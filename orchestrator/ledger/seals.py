"""Sums that stand for slots: of those that were counted twice and added up, and of those that were removed since.

A line's seal says how many of its slots, of all moments before one, ended in which state. It is made of the rows, slot
by slot against the schedule, in the transaction that writes it; where one is missing or one too many there is none. It
holds for as long as nobody touches those rows or their line: triggers of the database remove the seal then, whoever it
was, and the line is counted row by row again. So a look at all that ever was costs what the lines are many, and fails
where it failed before. What triggers do not see (a file that was edited by other means, a damaged page) `reseal` finds:
it counts the rows again, a part of the lines each day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from jobs.slot import FINAL, Line, SlotState
from jobs.tally import Sum, SumKind, Sums, seal
from orchestrator.ledger.codec import Row, micros, moment
from orchestrator.ledger.database import Transaction
from orchestrator.ledger.room import Room, insertion
from orchestrator.ledger.rows import line_of

_STATES: Final = tuple(state for state in SlotState if state in FINAL)
_SUMS: Final = "SELECT * FROM slot_sum"
_OF_LINE: Final = "SELECT * FROM slot_sum WHERE line = :line"
_UNSEALED: Final = (
    "SELECT line.* FROM line LEFT JOIN slot_sum ON slot_sum.line = line.id AND slot_sum.kind = 'sealed'"
    " WHERE line.id > :after AND (slot_sum.until IS NULL OR slot_sum.until < :bound) ORDER BY line.id LIMIT :most"
)
_ROWS: Final = "SELECT id, state, nominal FROM slot WHERE line = :line AND nominal >= :begin AND nominal < :bound"
_COUNT: Final = (
    "SELECT state, count(*) AS many FROM slot WHERE line = :line AND nominal >= :begin AND nominal < :until"
    " GROUP BY state"
)
_SEALED: Final = (
    "SELECT line FROM slot_sum WHERE kind = 'sealed' AND line > :after AND line % :parts = :part"
    " ORDER BY line LIMIT :most"
)
_DROP: Final = "DELETE FROM slot_sum WHERE line = :line AND kind = :kind"


class Seals(Room):
    """What is known of slots without counting them."""

    def seal(self, bound: datetime, after: int, most: int) -> int | None:
        """Seal the next lines after number `after`, at most so many, up to a moment; gives the last one's number.

        None: there are no more.

        Raises Superseded when the lease that this ledger took is another's by now.
        """
        with self._database.deciding("write") as transaction:
            self._still_decides(transaction)
            values = {"after": after, "bound": micros(bound), "most": most}
            lines = self._read(transaction.rows(_UNSEALED, values), line_of)
            for line in lines:
                _seal(transaction, line, bound)
        return lines[-1].id if lines else None

    def reseal(self, part: int, parts: int, after: int, most: int) -> tuple[int | None, tuple[int, ...]]:
        """Count the rows of sealed lines again: the next ones after number `after` of the lines of this part.

        Gives the last line's number (None: no more), and the lines whose rows are not as they were: they have no seal
        any more.
        """
        values = {"after": after, "most": most, "part": part, "parts": parts}
        with self._database.deciding("write") as transaction:
            self._still_decides(transaction)
            lines = [int(row["line"]) for row in transaction.rows(_SEALED, values)]
            broken = tuple(line for line in lines if not _holds(transaction, line))
            transaction.change_each(_DROP, [{"line": line, "kind": SumKind.SEALED.value} for line in broken])
        return (lines[-1] if lines else None), broken


def sums_of(rows: Iterable[Row]) -> Sums:
    """The sums of the lines that rows of `slot_sum` are about."""
    found: dict[str, dict[int, Sum]] = {kind.value: {} for kind in SumKind}
    for row in rows:
        states = {state: many for state in _STATES if (many := row[state.value])}
        found[row["kind"]][row["line"]] = Sum(line=row["line"], until=moment(row["until"]), states=states)
    return Sums(sealed=found[SumKind.SEALED.value], removed=found[SumKind.REMOVED.value])


def all_sums(transaction: Transaction) -> Sums:
    """Every line's."""
    return sums_of(transaction.rows(_SUMS, {}))


def put_sum(transaction: Transaction, kind: SumKind, counted: Sum) -> None:
    """Write a line's sum in the place of the one before."""
    transaction.change(_DROP, {"line": counted.line, "kind": kind.value})
    row = {"line": counted.line, "kind": kind.value, "until": micros(counted.until)}
    row |= {state.value: counted.states.get(state, 0) for state in _STATES}
    transaction.change(insertion("slot_sum", row), row)


def of_line(transaction: Transaction, line: int) -> Sums:
    """One line's."""
    return sums_of(transaction.rows(_OF_LINE, {"line": line}))


def _seal(transaction: Transaction, line: Line, bound: datetime) -> None:
    before = of_line(transaction, line.id).of(line, None)
    values = {"line": line.id, "begin": micros(before.until) if before else 0, "bound": micros(_end(line, bound))}
    rows = transaction.rows(_ROWS, values)
    sealed = seal(line, before, ((row["id"], SlotState(row["state"]), moment(row["nominal"])) for row in rows), bound)
    if sealed is not None:
        put_sum(transaction, SumKind.SEALED, sealed)


def _end(line: Line, bound: datetime) -> datetime:
    """All of an ended line's rows are looked at, wherever they are."""
    return bound if line.until is None or line.until >= bound else datetime.max.replace(tzinfo=bound.tzinfo)


def _holds(transaction: Transaction, line: int) -> bool:
    sums = of_line(transaction, line)
    sealed, removed = sums.sealed.get(line), sums.removed.get(line)
    if sealed is None:
        return True
    begin = micros(removed.until) if removed else 0
    rows = transaction.rows(_COUNT, {"line": line, "begin": begin, "until": micros(sealed.until)})
    counted: dict[SlotState, int] = dict(removed.states) if removed else {}
    for row in rows:
        state = SlotState(row["state"])
        counted[state] = counted.get(state, 0) + int(row["many"])
    return _some(counted) == _some(sealed.states)


def _some(states: Mapping[SlotState, int]) -> dict[SlotState, int]:
    return {state: many for state, many in states.items() if many}

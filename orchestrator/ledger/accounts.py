"""What slots are counted from, twice: all of one instant, so that whoever writes meanwhile makes no difference."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from jobs.history import Job
from jobs.slot import Line, Slot, SlotState
from jobs.tally import Sums
from orchestrator.ledger.codec import micros, micros_or_none
from orchestrator.ledger.database import Row, Transaction
from orchestrator.ledger.room import Room, among
from orchestrator.ledger.rows import line_of, slot_of
from orchestrator.ledger.seals import all_sums

_T = TypeVar("_T")

_LINES: Final = "SELECT * FROM line ORDER BY id"
# The cast is for PostgreSQL, which cannot tell of what type a value is that is only compared with NULL.
_STATE: Final = (  # as it was then: what ended later was still due, or running where one of its runs was under way
    "CASE WHEN CAST(:as_of AS BIGINT) IS NULL OR closed_at <= :as_of THEN slot.state WHEN EXISTS (SELECT 1 FROM run"
    " WHERE run.slot = slot.id AND started_at <= :as_of AND (finished_at IS NULL OR finished_at > :as_of))"
    " THEN 'running' ELSE 'due' END"
)
_ALL: Final = f"SELECT id, job, {_STATE} AS state FROM slot WHERE line = :line"  # noqa: S608 (constants)
_OF_A_TIME: Final = f"{_ALL} AND nominal >= :since AND nominal < :until"
# From one line that has slots to the next, and those that are not there.
_STRAY_LINES: Final = (
    "WITH RECURSIVE of (line) AS (SELECT min(line) FROM slot UNION ALL"
    " SELECT (SELECT min(line) FROM slot WHERE slot.line > of.line) FROM of WHERE of.line IS NOT NULL)"
    " SELECT line FROM of WHERE line IS NOT NULL AND line NOT IN (SELECT id FROM line)"
)
_STRAYS: Final = (
    f"SELECT id, policy, tenant, job, {_STATE} AS state FROM slot WHERE line IN ({_STRAY_LINES})"  # noqa: S608 (constants)
    " AND nominal >= :since AND nominal < :until ORDER BY id"
)
_ENDED: Final = (
    "SELECT * FROM slot WHERE due >= :since AND due < :last AND nominal >= :since AND nominal < :until"
    " AND closed_at <= :as_of"
)
_JOBS: Final = {job.value: job for job in Job}  # half a million are looked up: an enum takes its time
_STATES: Final = {state.value: state for state in SlotState}
_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9999, 1, 1, tzinfo=UTC)


class Instant:
    """What the ledger holds at one instant. Bounds are of moments: at `since` or later, and before `until`."""

    def __init__(
        self, transaction: Transaction, read: Callable[[Iterable[Row], Callable[[Row], Any]], tuple[Any, ...]]
    ) -> None:
        self._transaction = transaction
        self._read = read

    def lines(self) -> tuple[Line, ...]:
        """Every line that ever was in force, in the order in which they came to be."""
        return self._read(self._transaction.rows(_LINES, {}), line_of)

    def sums(self) -> Sums:
        """What stands for slots that need not be counted."""
        return all_sums(self._transaction)

    def entries(
        self, line: Line, since: datetime | None, until: datetime | None, as_of: datetime | None = None
    ) -> Iterator[tuple[str, Job, SlotState]]:
        """A line's slots: id, job, and the state that each is in, or was in at `as_of`."""
        values: dict[str, Any] = {"line": line.id, "as_of": micros_or_none(as_of)}
        if since is None and until is None:
            return map(_entry, self._transaction.rows(_ALL, values))
        return map(_entry, self._transaction.rows(_OF_A_TIME, {**values, **_bounds(since, until)}))

    def strays(
        self,
        since: datetime | None,
        until: datetime | None,
        as_of: datetime | None = None,
        *,
        tenant: str | None = None,
        policies: Collection[str] = (),
    ) -> Iterator[tuple[str, Job, SlotState]]:
        """Slots whose line is not there: there are none, unless somebody else wrote into the database."""
        found = self._transaction.rows(_STRAYS, {"as_of": micros_or_none(as_of), **_bounds(since, until)})
        return (
            _entry(row)
            for row in found
            if tenant in {None, row["tenant"]} and (not policies or row["policy"] in policies)
        )

    def ended(
        self, states: Iterable[SlotState], since: datetime, until: datetime, as_of: datetime, lines: Iterable[Line]
    ) -> tuple[Slot, ...]:
        """The slots of these lines that had ended in one of these states by then, the earliest due first."""
        known = {line.id: line for line in lines}
        last = until + max((line.splay for line in known.values()), default=until - until)
        values = {"as_of": micros(as_of), "last": micros(last), **_bounds(since, until)}
        statement = f"{_ENDED}{among('state', states)} ORDER BY due, id"
        rows = self._transaction.rows(statement, values)
        return self._read((row for row in rows if row["line"] in known), slot_of)


class Accounts(Room):
    """What was due, to be counted."""

    @contextmanager
    def at_one_instant(self) -> Iterator[Instant]:
        """Ask several things of one and the same instant. The threads of this process wait for each other meanwhile."""
        with self._database.reading("read") as transaction:
            yield Instant(transaction, self._read)


def _bounds(since: datetime | None, until: datetime | None) -> Mapping[str, int]:
    return {"since": micros(since or _FIRST), "until": micros(until or _LAST)}


def _entry(row: Row) -> tuple[str, Job, SlotState]:
    return row["id"], _JOBS[row["job"]], _STATES[row["state"]]

"""Lines and slots: each due moment a row once, and each row moved only from the state it is known to be in.

A slot's state changes in deciding transactions alone, one at a time over all processes, so that what is read in one
still holds when it is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from jobs.event import Event
from jobs.failure import Failure, FailureKind
from jobs.history import Job
from jobs.policy import PolicyName
from jobs.retry import SlotEnd
from jobs.slot import FINAL, SLOT_TRANSITIONS, Line, Slot, SlotState, Why
from orchestrator.ledger import events as outcry
from orchestrator.ledger.codec import micros, micros_or_none, moment
from orchestrator.ledger.database import Row, Transaction
from orchestrator.ledger.faults import Superseded
from orchestrator.ledger.room import Room, among, at_most, insert_each, where
from orchestrator.ledger.rows import line_of, line_row, slot_of, slot_row, why_row

if TYPE_CHECKING:
    from jobs.dispatch import Closing

_OPEN: Final = "SELECT * FROM slot WHERE closed_at IS NULL ORDER BY due, id"  # as the partial index has it
_IN_FORCE: Final = "SELECT * FROM line WHERE until IS NULL ORDER BY policy, job, vault"
_WHY: Final = "why_kind = :why_kind, why_text = :why_text, why_other = :why_other"
_START: Final = (
    "UPDATE slot SET state = 'running', run = :run, attempts = attempts + 1, retry_at = NULL,"
    " why_kind = NULL, why_text = NULL, why_other = NULL WHERE id = :id AND state = 'due'"
)
_END: Final = (
    f"UPDATE slot SET state = :state, {_WHY}, retry_at = :retry_at, closed_at = :closed_at"  # noqa: S608 (constants)
    " WHERE id = :id AND state = 'running' AND run = :run"
)
_CLOSE: Final = (
    f"UPDATE slot SET state = :state, {_WHY}, retry_at = NULL, closed_at = :closed_at"  # noqa: S608 (constants)
    " WHERE id = :id AND state = 'due'"
)
_WAIT: Final = f"UPDATE slot SET {_WHY} WHERE id = :id AND state = 'due'"  # noqa: S608 (constants)
_CLOSED: Final = "closed_at IS NOT NULL AND state <> 'skipped' ORDER BY due DESC, id DESC LIMIT"
_TAIL: Final = f"SELECT * FROM slot WHERE policy = :policy AND job = :job AND vault = :vault AND {_CLOSED} :each"  # noqa: S608 (constants)
_AILING: Final = (
    "SELECT * FROM line WHERE id > :after AND id <= :last AND until IS NULL AND (SELECT state FROM slot"  # noqa: S608 (constants)
    " WHERE slot.policy = line.policy AND slot.job = line.job AND slot.vault = line.vault"
    f" AND why_kind <> 'same-repository' AND {_CLOSED} 1)"
    " NOT IN ('succeeded', 'partial') ORDER BY id"
)
_FILTERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tenant": "tenant = :tenant",
        "policy": "policy = :policy",
        "job": "job = :job",
        "since": "due >= :since",
        "until": "due < :until",
    }
)
_LINES_AT_ONCE: Final = 1000  # looked at in one question, while others wait
_AT_ONCE: Final = 500  # ids in one question; SQLite takes 32,766 values, and older ones 999


class Slots(Room):
    """What was due, and what became of it."""

    # --- lines --------------------------------------------------------------------------------------------------------

    def lines_in_force(self) -> tuple[Line, ...]:
        """The lines that make slots now, by policy, job and vault."""
        with self._database.reading("read") as transaction:  # tens of thousands, at a start: one after the other
            return self._read(transaction.each(_IN_FORCE, {}), line_of)

    def lines(self) -> tuple[Line, ...]:
        """Every line that ever was in force, in the order in which they came to be."""
        return self._ask("SELECT * FROM line ORDER BY id", {}, line_of)

    def put_lines(self, ended: Iterable[tuple[int, datetime]], begun: Iterable[Line]) -> tuple[Line, ...]:
        """End lines (number, when) and begin others, all or nothing; returns those with their numbers.

        Raises Superseded when one to be ended is not in force, or another one is in force in the place of one begun.
        """
        over = {number: micros(at) for number, at in ended}
        begun = tuple(begun)
        keys = {line.key for line in begun}
        if len(keys) < len(begun) or any(line.until is not None for line in begun):
            raise ValueError("of each policy's job at a vault one line can begin, and it has no end yet")
        with self._database.deciding("write") as transaction:
            self._still_decides(transaction)
            standing = {line.id: line for line in self._read(transaction.rows(_IN_FORCE, {}), line_of)}
            if not over.keys() <= standing.keys():
                raise _other_settings(f"line {min(over.keys() - standing.keys())} is not in force")
            taken = {line.key for number, line in standing.items() if number not in over}
            if not keys.isdisjoint(taken):
                raise _other_settings(f"a line of {' '.join(min(keys & taken))} is in force already")
            transaction.change_each(
                "UPDATE line SET until = :until WHERE id = :id",
                [{"id": number, "until": at} for number, at in over.items()],
            )
            insert_each(transaction, "line", [line_row(line) for line in begun])
            made = {line.key: line for line in self._read(transaction.rows(_IN_FORCE, {}), line_of)}
        return tuple(made[line.key] for line in begun)

    # --- slots --------------------------------------------------------------------------------------------------------

    def born(self, slots: Iterable[Slot], cursors: Mapping[int, datetime], events: Iterable[Event] = ()) -> None:
        """Write down due moments, and how far each line's were (its number: the newest), all in one transaction.

        A slot that is there already stays as it is, and an event is not written whose subject or key is such a slot's
        id, or the key of a line (`POLICY/JOB/VAULT`) of which none of the slots is new. A cursor never goes back.
        """
        slots, events = tuple(slots), tuple(events)
        with self._database.deciding("write") as transaction:
            self._still_decides(transaction)
            news = _of_new_slots(transaction, slots, events) if events else ()
            insert_each(transaction, "slot", [slot_row(slot) for slot in slots], " ON CONFLICT (id) DO NOTHING")
            transaction.change_each(
                "UPDATE line SET cursor = :cursor WHERE id = :id AND cursor < :cursor",
                [{"id": line, "cursor": micros(cursor)} for line, cursor in cursors.items()],
            )
            outcry.write(transaction, news)

    def open_slots(self) -> tuple[Slot, ...]:
        """The slots that are due or running, the longest due first."""
        return self._ask(_OPEN, {}, slot_of)

    def slot(self, slot_id: str) -> Slot | None:
        """One slot by its id."""
        return next(iter(self._ask("SELECT * FROM slot WHERE id = :id", {"id": slot_id}, slot_of)), None)

    def slots(  # noqa: PLR0913 (each is one filter, and all are keywords)
        self,
        *,
        policy: str | None = None,
        tenant: str | None = None,
        job: Job | None = None,
        states: Iterable[SlotState] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> tuple[Slot, ...]:
        """Slots, the newest due first, that were due at `since` or later and before `until`."""
        wanted = {
            "policy": policy,
            "tenant": tenant,
            "job": None if job is None else job.value,
            "since": micros_or_none(since),
            "until": micros_or_none(until),
        }
        condition, values = where(_FILTERS, wanted)
        condition += among("state", states)
        statement = f"SELECT * FROM slot WHERE {condition} ORDER BY due DESC, id DESC{at_most(limit)}"  # noqa: S608 (constants)
        return self._ask(statement, values, slot_of)

    def ailing(self, each: int) -> Iterator[tuple[tuple[Line, ...], tuple[Slot, ...]]]:
        """The lines in force whose newest closed slot did not end well, and the newest closed slots of each of them.

        `each` at most, the newest first, those of the line's former settings included; skipped slots count for nothing,
        and a check that another one stood for is neither good nor bad. Some lines at a time, and others get their turn.
        """
        newest = self._newest_line()
        for after in range(0, newest, _LINES_AT_ONCE):
            with self._database.reading("read") as transaction:
                lines = transaction.rows(_AILING, {"after": after, "last": after + _LINES_AT_ONCE})
                keys = [{name: line[name] for name in ("policy", "job", "vault")} for line in lines]
                found = [row for key in keys for row in transaction.rows(_TAIL, {**key, "each": each})]
            if lines:
                yield self._read(lines, line_of), self._read(found, slot_of)

    def _newest_line(self) -> int:
        (number,) = self._ask("SELECT coalesce(max(id), 0) AS newest FROM line", {}, lambda row: int(row["newest"]))
        return number

    def policies_since(self) -> Mapping[PolicyName, datetime]:
        """When each policy first had a line."""
        statement = "SELECT policy, min(since) AS since FROM line GROUP BY policy"
        return dict(self._ask(statement, {}, lambda row: (PolicyName(row["policy"]), moment(row["since"]))))

    def slot_counts(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        tenant: str | None = None,
        policy: str | None = None,
        job: Job | None = None,
    ) -> Mapping[SlotState, int]:
        """How many slots of each state were due at `since` or later and before `until`; states of none too."""
        wanted = {
            "since": micros_or_none(since),
            "until": micros_or_none(until),
            "tenant": tenant,
            "policy": policy,
            "job": None if job is None else job.value,
        }
        condition, values = where(_FILTERS, wanted)
        statement = f"SELECT state, count(*) AS many FROM slot WHERE {condition} GROUP BY state"  # noqa: S608 (constants)
        found = self._ask(statement, values, lambda row: (SlotState(row["state"]), int(row["many"])))
        return MappingProxyType({**dict.fromkeys(SlotState, 0), **dict(found)})

    def close_slots(self, closings: Iterable[Closing], now: datetime, events: Iterable[Event] = ()) -> None:
        """End slots without a run. Raises Superseded when one of them is not due (any more): none is ended then."""
        closings = tuple(closings)
        for closing in closings:
            if closing.state not in SLOT_TRANSITIONS[SlotState.DUE] & FINAL:
                raise ValueError(f"slot {closing.slot.id} cannot end as {closing.state} without a run")
        rows = [
            {"id": closing.slot.id, "state": closing.state.value, "closed_at": micros(now), **why_row(closing.why)}
            for closing in closings
        ]
        with self._database.deciding("write") as transaction:
            self._still_decides(transaction)
            # One question for all: a statement that is run for many rows does not say which of them it did not change.
            due = {
                row["id"]
                for row in transaction.rows("SELECT id FROM slot WHERE closed_at IS NULL AND state = 'due'", {})
            }
            for row in rows:
                if row["id"] not in due:
                    raise not_in_state(transaction, row["id"], SlotState.DUE)
                due.remove(row["id"])
            transaction.change_each(_CLOSE, rows)
            outcry.write(transaction, events)

    def wait_slots(self, waits: Mapping[str, Why]) -> None:
        """Note why slots wait. One that is not due is left alone; where nothing is new, nothing is written."""
        rows = {slot_id: {"id": slot_id, **why_row(why)} for slot_id, why in waits.items()}
        question = "SELECT id, why_kind, why_text, why_other FROM slot WHERE closed_at IS NULL AND state = 'due'"
        with self._database.reading("read") as transaction:
            due = transaction.rows(question, {})
        changed = [rows[row["id"]] for row in due if row["id"] in rows and rows[row["id"]] != row]
        if changed:
            with self._database.writing("write") as transaction:
                transaction.change_each(_WAIT, changed)


def start(transaction: Transaction, slot_id: str, run: str) -> None:
    """Move a due slot to running, as one more attempt. Raises Superseded when it is not due."""
    if transaction.change(_START, {"id": slot_id, "run": run}) != 1:
        raise not_in_state(transaction, slot_id, SlotState.DUE)


def end(transaction: Transaction, ending: SlotEnd, run: str, now: datetime) -> None:
    """Close a running slot as its run's end has it, or make it due again.

    Raises Superseded when it is not running, or is another run's.
    """
    if ending.state not in SLOT_TRANSITIONS[SlotState.RUNNING]:
        raise ValueError(f"slot {ending.slot} is running and cannot become {ending.state}")
    again = ending.state is SlotState.DUE
    row = {
        "id": ending.slot,
        "run": run,
        "state": ending.state.value,
        **why_row(ending.why),
        "retry_at": micros_or_none(ending.retry_at) if again else None,
        "closed_at": None if again else micros(now),
    }
    if transaction.change(_END, row) != 1:
        raise not_in_state(transaction, ending.slot, SlotState.RUNNING, f" in run {run}")


def not_in_state(transaction: Transaction, slot_id: str, wanted: SlotState, of: str = "") -> Superseded:
    """The error for a slot that is not (any more) in the state from which it was to be moved."""
    found = transaction.rows("SELECT state, run FROM slot WHERE id = :id", {"id": slot_id})
    message = f"move slot {slot_id}: it is {_stands(found)}, not {wanted}{of}, so nothing was recorded"
    return Superseded(Failure(kind=FailureKind.BUSY, message=message))


def _stands(found: list[Row]) -> str:
    if not found:
        return "not in the ledger"
    return f"{found[0]['state']} in run {found[0]['run']}" if found[0]["run"] else str(found[0]["state"])


def _other_settings(what: str) -> Superseded:
    message = f"put settings in force: {what}; another process was quicker"
    return Superseded(Failure(kind=FailureKind.BUSY, message=message))


def _of_new_slots(transaction: Transaction, slots: Collection[Slot], events: Iterable[Event]) -> tuple[Event, ...]:
    """The events but for those of slots that are there already."""
    known = _known(transaction, [slot.id for slot in slots])
    old = {slot.id for slot in slots} & known
    fresh = {"/".join(slot.line_key) for slot in slots if slot.id not in known}
    old |= {"/".join(slot.line_key) for slot in slots} - fresh
    return tuple(event for event in events if event.subject not in old and event.key not in old)


def _known(transaction: Transaction, ids: list[str]) -> set[str]:
    found: set[str] = set()
    for first in range(0, len(ids), _AT_ONCE):
        part = {f"id{number}": slot_id for number, slot_id in enumerate(ids[first : first + _AT_ONCE])}
        names = ", ".join(f":{name}" for name in part)
        found |= {row["id"] for row in transaction.rows(f"SELECT id FROM slot WHERE id IN ({names})", part)}  # noqa: S608 (names)
    return found

"""Runs: intent before effect, one at a time of its kind, and an end that its owner alone may write.

A run that is an attempt at a slot moves its slot with it, in the same transaction: a slot is running while its run is
open, and never longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from jobs import retry
from jobs.claim import Repository, busy, conflict, repositories
from jobs.event import SEVERITIES, Event, Topic, of_slot
from jobs.failure import Failure, FailureKind
from jobs.history import NOBODY, TRANSITIONS, Job, KnownRepository, Outcome, Owner, Result, RunRecord, RunState
from jobs.reporting import called
from jobs.retry import SlotEnd
from jobs.slot import FINAL, Slot
from orchestrator.ledger import events as outcry
from orchestrator.ledger import slots
from orchestrator.ledger.codec import micros, micros_or_none, outcome_row, owner_row, run_of, run_row
from orchestrator.ledger.database import Row, Transaction, Values
from orchestrator.ledger.existence import forget
from orchestrator.ledger.faults import Busy, Superseded
from orchestrator.ledger.room import Room, among, at_most, insert, where
from orchestrator.ledger.rows import slot_of

_OPEN: Final = "SELECT * FROM run WHERE state = 'running' ORDER BY started_at, id"
_SLOT_OF: Final = "SELECT * FROM slot WHERE closed_at IS NULL AND state = 'running' AND run = :run"
_EARLIER: Final = (
    "SELECT * FROM run WHERE slot = (SELECT slot FROM run WHERE id = :run) AND id <> :run ORDER BY started_at, id"
)
_FILTERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tenant": "tenant = :tenant",
        "policy": "policy = :policy",
        "job": "job = :job",
        "vault": "vault = :vault",
        "slot": "slot = :slot",
        "since": "started_at >= :since",
        "until": "started_at < :until",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _End:
    """How an open run ends; `owner` None: whoever's it is."""

    run: str
    owner: Owner | None
    outcome: Outcome
    at: datetime


class Runs(Room):
    """What was intended, and what came of it."""

    def claim(self, record: RunRecord, slot: str | None = None, *, lost: Iterable[KnownRepository] = ()) -> None:
        """Write down a running run, unless an open one is in its way. Once this returns, its effects may begin.

        With a slot (or one in the record) the run is an attempt at it, and the slot is running from then on. The `lost`
        repositories are forgotten with it: until one is made anew, their place is this run's alone. Raises
        Busy, whose message names the run in the way, and Superseded when the slot is not due: nothing is written then.
        """
        if record.state is not RunState.RUNNING:
            raise ValueError(f"only a running run can be claimed, and {record.id} is {record.state}")
        if slot is not None:
            record = replace(record, slot=slot)
        with self._database.deciding("write") as transaction:
            self._still_decides(transaction)
            for known in lost:
                forget(transaction, known, record.started_at)
            open_runs = self._read(transaction.rows(_OPEN, {}), run_of)
            other = conflict(open_runs, record, unmade=_unmade(transaction, record))
            if other is not None:
                raise Busy(busy(other, record), other)
            if record.slot is not None:
                slots.start(transaction, record.slot, record.id)
            insert(transaction, "run", run_row(record))

    def finish(
        self,
        run_id: str,
        owner: Owner,
        outcome: Outcome,
        now: datetime,
        *,
        slot_end: SlotEnd | None = None,
        events: Iterable[Event] = (),
    ) -> None:
        """Record how an open run ended, with its slot and what is to be told of it.

        Without `slot_end` a running slot of its becomes what jobs/retry.py says. Raises Superseded when the run is not
        open under this owner, or `slot_end` is not of its slot: nothing is recorded then.
        """
        self._end(_End(run=run_id, owner=owner, outcome=outcome, at=now), slot_end, events)

    def resolve(
        self,
        run_id: str,
        outcome: Outcome,
        now: datetime,
        *,
        slot_end: SlotEnd | None = None,
        events: Iterable[Event] = (),
    ) -> None:
        """Record what recovery found out about a dead owner's open run, as `finish` does. Raises Superseded."""
        self._end(_End(run=run_id, owner=None, outcome=outcome, at=now), slot_end, events)

    def set_out(self, run_id: str, intended: Result, now: datetime) -> None:
        """Write down on an open run what it is about to do; it stays where the run ends without a result.

        Raises Superseded when the run is not open: then nothing may be done any more.
        """
        outcome = Outcome(state=RunState.RUNNING, result=intended)
        row = {"id": run_id, "result": outcome_row(outcome, now)["result"]}
        statement = "UPDATE run SET result = :result WHERE id = :id AND state = 'running'"
        with self._database.writing("write") as transaction:
            if transaction.change(statement, row) != 1:
                raise _superseded(run_id, transaction.rows("SELECT state FROM run WHERE id = :id", row))

    def give_up(self, run_id: str, now: datetime, note: str) -> None:
        """End an open run as interrupted because a person says that nothing of it is at work any more.

        For runs of hosts whose processes cannot be seen from here. It is told as an event. Raises Superseded when the
        run is not open (any more).
        """
        end = _End(run=run_id, owner=None, outcome=Outcome(state=RunState.INTERRUPTED, note=note), at=now)
        with self._database.deciding("write") as transaction:
            found = self._read(transaction.rows("SELECT * FROM run WHERE id = :id", {"id": run_id}), run_of)
            _write_end(transaction, end)
            news = [_given_up(record, now, note) for record in found]
            for slot, ending in self._decided(transaction, end):
                slots.end(transaction, ending, run_id, now)
                news += [of_slot(slot, ending.state, ending.why, now)] if ending.state in FINAL else []
            outcry.write(transaction, news)

    def disown(self) -> None:
        """Make every open run one of a dead owner, whose host and start stay told; recovery then resolves each.

        For a ledger that came back from a backup, and for that alone: whoever was at work when it was stored is not
        at work for this one.
        """
        with self._database.writing("write") as transaction:
            transaction.change("UPDATE run SET owner_pid = :nobody WHERE state = 'running'", {"nobody": NOBODY})

    def _end(self, end: _End, ending: SlotEnd | None, events: Iterable[Event]) -> None:
        with self._database.deciding("write") as transaction:
            _write_end(transaction, end)
            for each in [ending] if ending else [decided for _, decided in self._decided(transaction, end)]:
                slots.end(transaction, each, end.run, end.at)
            outcry.write(transaction, events)

    def _decided(self, transaction: Transaction, end: _End) -> list[tuple[Slot, SlotEnd]]:
        """The slot that is running in a run, if any, and what becomes of it where nobody said so."""
        running = self._read(transaction.rows(_SLOT_OF, {"run": end.run}), slot_of)
        before = self._read(transaction.rows(_EARLIER, {"run": end.run}), run_of) if running else ()
        return [(slot, retry.slot_end(slot, end.outcome, end.run, end.at, before)) for slot in running]

    def record(self, record: RunRecord) -> None:
        """Write down a run that is already over (skipped, blocked). Without `finished_at` it ended when it started."""
        if record.state is RunState.RUNNING:
            raise ValueError(f"run {record.id} is running: claim it")
        ended = micros(record.finished_at or record.started_at)
        with self._database.writing("write") as transaction:
            insert(transaction, "run", {**run_row(record), "finished_at": ended})

    def open_runs(self) -> tuple[RunRecord, ...]:
        """The runs that have not ended, oldest first."""
        return self._ask(_OPEN, {}, run_of)

    def run(self, run_id: str) -> RunRecord | None:
        """One run by its id."""
        return next(iter(self._ask("SELECT * FROM run WHERE id = :id", {"id": run_id}, run_of)), None)

    def runs(  # noqa: PLR0913 (each is one filter, and all are keywords)
        self,
        *,
        tenant: str | None = None,
        policy: str | None = None,
        job: Job | None = None,
        vault: str | None = None,
        slot: str | None = None,
        states: Iterable[RunState] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> tuple[RunRecord, ...]:
        """Runs, newest first, that started at `since` or later and before `until`."""
        wanted = {
            "tenant": tenant,
            "policy": policy,
            "job": None if job is None else job.value,
            "vault": vault,
            "slot": slot,
            "since": micros_or_none(since),
            "until": micros_or_none(until),
        }
        condition, values = where(_FILTERS, wanted)
        condition += among("state", states)
        statement = f"SELECT * FROM run WHERE {condition} ORDER BY started_at DESC, id DESC{at_most(limit)}"  # noqa: S608 (constants)
        return self._ask(statement, values, run_of)

    def last(
        self, policy: str, job: Job, vault: str | None = None, states: Iterable[RunState] | None = None
    ) -> RunRecord | None:
        """The newest run of a policy's job (at a vault, in one of some states)."""
        return next(iter(self.runs(policy=policy, job=job, vault=vault, states=states, limit=1)), None)


def _unmade(transaction: Transaction, record: RunRecord) -> frozenset[Repository]:
    """Of the repositories that a run works on, those that nobody has seen yet."""
    rows = transaction.rows("SELECT vault FROM repository WHERE tenant = :tenant", {"tenant": record.tenant})
    made = {row["vault"] for row in rows}
    return frozenset(each for each in repositories(record) if each[1] not in made)


def _write_end(transaction: Transaction, end: _End) -> None:
    if end.outcome.state not in TRANSITIONS[RunState.RUNNING]:
        raise ValueError(f"a running run cannot become {end.outcome.state}")
    row = outcome_row(end.outcome, end.at)
    if end.outcome.result is None:
        del row["result"]  # what it had set out to do stays on record
    owner: Values = {} if end.owner is None else owner_row(end.owner)
    sets = ", ".join(f"{column} = :{column}" for column in row)
    # Compare-and-set: what recovery resolved meanwhile, because it took us for dead, is not written over.
    mine = "".join(f" AND {column} = :{column}" for column in owner)
    statement = f"UPDATE run SET {sets} WHERE id = :id AND state = 'running'{mine}"  # noqa: S608 (column names)
    if transaction.change(statement, {"id": end.run, **row, **owner}) != 1:
        raise _superseded(end.run, transaction.rows("SELECT state FROM run WHERE id = :id", {"id": end.run}))


def _superseded(run_id: str, found: list[Row]) -> Superseded:
    state = found[0]["state"] if found else "not there"
    stands = "open under another owner" if state == RunState.RUNNING else state
    message = f"end run {run_id}: in the ledger it is {stands}, so what this process found out is not recorded"
    return Superseded(Failure(kind=FailureKind.BUSY, message=message))


def _given_up(record: RunRecord, now: datetime, note: str) -> Event:
    who = f"process {record.owner.pid} on {record.owner.host}"
    return Event(
        at=now,
        topic=Topic.RUN_GIVEN_UP,
        severity=SEVERITIES[Topic.RUN_GIVEN_UP],
        tenant=record.tenant,
        policy=record.policy,
        subject=f"{record.job} {called(record.policy, record.site)}",
        text=f"Run {record.id}, which {who} began at {record.started_at:%Y-%m-%d %H:%M} UTC, was given up: {note}",
        key="/".join((record.policy, record.job, record.vault)),
    )

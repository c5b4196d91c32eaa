"""The open slots and what they wait for, in memory, so that a quiet second asks the ledger nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from jobs.dispatch import Concurrency, Moves, Situation, dispatch, over, related_ids
from jobs.history import OF_REPOSITORY, Job, RunRecord, RunState
from jobs.policy import Policy, PolicyName, VaultName
from jobs.reporting import Reporting
from jobs.slot import OPEN, Slot, SlotState
from orchestrator.ledger.ledger import Ledger
from targets.host import is_alive

Good = dict[tuple[PolicyName, Job, VaultName], RunRecord]

_GOOD_RUNS: Final = (RunState.SUCCEEDED, RunState.PARTIAL)
_OF_POLICY: Final = tuple(job for job in Job if job not in OF_REPOSITORY)
_FINISHED: Final = (*_GOOD_RUNS, RunState.FAILED, RunState.INTERRUPTED)  # what was blocked or skipped was no attempt
# How long until everything is looked at again: people's own runs end without telling us.
_AGAIN: Final = timedelta(seconds=30)


class Board:
    """What dispatch looks at. Used by one thread."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._open: dict[str, Slot] = {}
        self._closed: dict[str, Slot] = {}  # of those that open ones wait for
        self._good: dict[PolicyName, Good] = {}  # of the policies that have open slots
        self._proofs: Good = {}  # of all: an audit or a check speaks for every policy of its repository
        self._last_backups: dict[PolicyName, RunRecord] = {}
        self._look_at: datetime | None = None
        self._looked: tuple[set[str], datetime] | None = None  # when last, and what was under way then
        self._stale = True
        self.load()

    def load(self) -> None:
        """Copy everything anew. Raises LedgerError."""
        self._open = {slot.id: slot for slot in self._ledger.open_slots()}
        self._closed = {}
        self._good = {}
        self._last_backups = {}
        self._proofs = dict(self._ledger.last_runs(_GOOD_RUNS, sorted(OF_REPOSITORY)))
        self._look_at = None
        self._looked = None
        self._stale = False

    def add(self, slots: Iterable[Slot]) -> None:
        """New slots, that are on record."""
        for slot in slots:
            self._open.setdefault(slot.id, slot)
            self._look_at = None

    def refresh(self, slot_id: str) -> None:
        """Copy one slot anew: its run has begun or ended. Raises LedgerError."""
        slot = self._ledger.slot(slot_id)
        if slot is not None:
            self._put(slot)
            self._look_at = None

    def done(self, record: RunRecord) -> None:
        """A run has ended. It is on record: of a policy that is not remembered it will be read when it is asked for."""
        self._look_at = None
        known = self._proofs if record.job in OF_REPOSITORY else self._good.get(record.policy)
        if known is not None and record.state in _GOOD_RUNS:
            known[record.policy, record.job, record.vault] = record
        if record.policy in self._good and record.job is Job.BACKUP and record.state in _FINISHED:
            self._last_backups[record.policy] = record

    def _remember(self, policies: set[PolicyName]) -> Good:
        """The newest good runs of these policies, and every audit and check. Others are forgotten: they are many."""
        unknown = policies - self._good.keys()
        good = self._ledger.last_runs(_GOOD_RUNS, _OF_POLICY, policies=unknown) if unknown else {}
        backups = self._ledger.last_runs(_FINISHED, (Job.BACKUP,), policies=unknown).values() if unknown else ()
        self._good = {policy: self._good.get(policy, {}) for policy in policies}
        for place, run in good.items():
            self._good[run.policy][place] = run
        self._last_backups = {policy: run for policy, run in self._last_backups.items() if policy in policies}
        self._last_backups |= {run.policy: run for run in sorted(backups, key=_began)}
        return {**self._proofs, **{place: run for theirs in self._good.values() for place, run in theirs.items()}}

    def _put(self, slot: Slot) -> None:
        if slot.state in OPEN:
            self._open[slot.id] = slot
        else:
            self._open.pop(slot.id, None)
            self._closed[slot.id] = slot

    def __len__(self) -> int:
        return len(self._open)

    def is_stale(self) -> None:
        """The ledger may hold something else by now: copy everything anew before the next look."""
        self._stale = True
        self._look_at = None

    def look_again(self) -> None:
        """Something else changed that may let a slot start."""
        self._look_at = None

    def is_to_be_looked_at(self, now: datetime) -> bool:
        """Whether dispatch may come to another answer than the last time."""
        return self._stale or (bool(self._open) and (self._look_at is None or now >= self._look_at))

    def moves(
        self,
        policies: Mapping[PolicyName, Policy],
        limits: Concurrency,
        begun: Iterable[RunRecord],
        now: datetime,
        *,
        reports: Iterable[Reporting] = (),
    ) -> Moves:
        """What is to be done now. `begun` are runs that may not be on record yet. Raises LedgerError."""
        slots, known = self._situation(policies, limits, begun, now, reports)
        made = dispatch(slots, known, now)
        known_moments = [wait.until for wait in made.waits if wait.until is not None]
        self._look_at = min([now + _AGAIN, *known_moments])
        return made

    def over(
        self,
        policies: Mapping[PolicyName, Policy],
        limits: Concurrency,
        begun: Iterable[RunRecord],
        now: datetime,
        *,
        reports: Iterable[Reporting] = (),
        of: Collection[PolicyName],
    ) -> Moves:
        """What ends at once, of these policies (or reports), of which all that is due is here. Raises LedgerError."""
        slots, known = self._situation(policies, limits, begun, now, reports, of)
        return Moves(closings=over(slots, known, now))

    def _situation(
        self,
        policies: Mapping[PolicyName, Policy],
        limits: Concurrency,
        begun: Iterable[RunRecord],
        now: datetime,
        reports: Iterable[Reporting],
        of: Collection[PolicyName] | None = None,
    ) -> tuple[tuple[Slot, ...], Situation]:
        """The open slots, of some policies or of all, and what is to be known of them."""
        if self._stale:
            self.load()
        # The ledger's word comes last: where both know a run, its row is what others go by.
        under_way = {run.slot or run.id: run for run in (*begun, *self._ledger.open_runs())}
        for run in under_way.values():
            if run.slot in self._open:
                self._open[run.slot] = replace(self._open[run.slot], state=SlotState.RUNNING)
        self._learn_of_ends(under_way.keys())
        self._learn_of_others({run.id for run in under_way.values()}, now)
        slots = tuple(slot for slot in self._open.values() if of is None or slot.policy in of)
        return slots, Situation(
            policies=policies,
            related=self._related(slots, policies),
            under_way=tuple(under_way.values()),
            good=self._remember({slot.policy for slot in slots}),
            last_backups=self._last_backups,
            limits=limits,
            reports={reporting.name: reporting for reporting in reports},
            dead=tuple(run.id for run in under_way.values() if is_alive(run.owner) is False),
        )

    def _learn_of_ends(self, under_way: Collection[str]) -> None:
        """A run that another process began ends without telling us, or is given up by a person."""
        for slot in tuple(self._open.values()):
            if slot.state is SlotState.RUNNING and slot.id not in under_way:
                self.refresh(slot.id)

    def _learn_of_others(self, under_way: set[str], now: datetime) -> None:
        """What people ran themselves counts as much, whatever became of it: a retention goes by the last backup."""
        was_under_way, looked_at = self._looked or (set(), now)
        over = (self._ledger.run(run) for run in was_under_way - under_way)
        since = self._ledger.runs(states=_FINISHED, since=looked_at)
        for run in sorted((run for run in (*over, *since) if run is not None), key=_began):
            self.done(run)
        self._looked = (under_way, now)

    def _related(self, slots: Iterable[Slot], policies: Mapping[PolicyName, Policy]) -> dict[str, Slot]:
        wanted = {each for slot in slots for each in related_ids(slot, policies)}
        self._closed = {known: slot for known, slot in self._closed.items() if known in wanted}
        for missing in wanted - self._open.keys() - self._closed.keys():
            slot = self._ledger.slot(missing)
            if slot is not None:
                self._closed[missing] = slot
        return {known: slot for known, slot in (*self._open.items(), *self._closed.items()) if known in wanted}

    def carried_out(self, moves: Moves, now: datetime) -> None:
        """The closings and waits are on record."""
        for closing in moves.closings:
            self._put(replace(closing.slot, state=closing.state, why=closing.why, closed_at=now))
        for wait in moves.waits:
            if wait.why != wait.slot.why:
                self._open[wait.slot.id] = replace(wait.slot, why=wait.why)


def _began(run: RunRecord) -> tuple[datetime, str]:
    """The order that the ledger has them in."""
    return run.started_at, run.id

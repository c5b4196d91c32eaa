"""The open slots and what they wait for, in memory, so that a quiet second asks the ledger nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from jobs.dispatch import Concurrency, Moves, Situation, dispatch, related_ids
from jobs.history import Job, RunRecord, RunState
from jobs.policy import Policy, PolicyName, VaultName
from jobs.slot import OPEN, Slot, SlotState
from orchestrator.ledger.ledger import Ledger

Good = dict[tuple[PolicyName, Job, VaultName], RunRecord]

_GOOD_RUNS: Final = (RunState.SUCCEEDED, RunState.PARTIAL)
_FINISHED: Final = (*_GOOD_RUNS, RunState.FAILED, RunState.INTERRUPTED)  # what was blocked or skipped was no attempt
# How long until everything is looked at again: people's own runs end without telling us.
_AGAIN: Final = timedelta(seconds=30)


class Board:
    """What dispatch looks at. Used by one thread."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._open: dict[str, Slot] = {}
        self._closed: dict[str, Slot] = {}  # of those that open ones wait for
        self._good: Good = {}
        self._last_backups: dict[PolicyName, RunRecord] = {}
        self._look_at: datetime | None = None
        self._stale = True
        self.load()

    def load(self) -> None:
        """Copy everything anew. Raises LedgerError."""
        self._open = {slot.id: slot for slot in self._ledger.open_slots()}
        self._closed = {}
        self._good = dict(self._ledger.last_runs(_GOOD_RUNS))
        backups = self._ledger.last_runs(_FINISHED, (Job.BACKUP,)).values()
        self._last_backups = {run.policy: run for run in sorted(backups, key=_began)}
        self._look_at = None
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
        """A run has ended."""
        self._look_at = None
        if record.state in _GOOD_RUNS:
            self._good[record.policy, record.job, record.vault] = record
        if record.job is Job.BACKUP and record.state in _FINISHED:
            self._last_backups[record.policy] = record

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
        waiting = any(slot.state is SlotState.DUE for slot in self._open.values())
        return self._stale or (waiting and (self._look_at is None or now >= self._look_at))

    def moves(
        self, policies: Mapping[PolicyName, Policy], limits: Concurrency, begun: Iterable[RunRecord], now: datetime
    ) -> Moves:
        """What is to be done now. `begun` are runs that may not be on record yet. Raises LedgerError."""
        if self._stale:
            self.load()
        under_way = {run.slot or run.id: run for run in (*begun, *self._ledger.open_runs())}
        for run in under_way.values():
            if run.slot in self._open:
                self._open[run.slot] = replace(self._open[run.slot], state=SlotState.RUNNING)
        slots = tuple(self._open.values())
        known = Situation(
            policies=policies,
            related=self._related(slots, policies),
            under_way=tuple(under_way.values()),
            good=self._good,
            last_backups=self._last_backups,
            limits=limits,
        )
        made = dispatch(slots, known, now)
        known_moments = [wait.until for wait in made.waits if wait.until is not None]
        self._look_at = min([now + _AGAIN, *known_moments])
        return made

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
            self._open[wait.slot.id] = replace(wait.slot, why=wait.why)


def _began(run: RunRecord) -> datetime:
    return run.started_at

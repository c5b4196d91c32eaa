"""What rules ask about other slots and runs: fates, newest slots, and the time of what comes after another.

What is chained to another's end has as long to start from that end as it would have had from its due moment: however
long the other takes, its own time does not begin before its turn can come.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from jobs.claim import Repository
from jobs.history import OF_REPOSITORY, Job, RunRecord
from jobs.policy import Policy, PolicyName, VaultName
from jobs.reporting import Reporting
from jobs.slot import FINAL, GOOD, OPEN, Slot, SlotState, slot_id

LineKey = tuple[PolicyName, Job, VaultName]


class Facts:
    """What rules ask about other slots and runs, each in constant time. Grows as slots come and runs end."""

    def __init__(
        self,
        policies: Mapping[PolicyName, Policy],
        good: Mapping[LineKey, RunRecord],
        last_backups: Mapping[PolicyName, RunRecord],
        reports: Mapping[PolicyName, Reporting] | None = None,
    ) -> None:
        self.policies = policies
        self.reports = reports or {}
        self.good: dict[LineKey, RunRecord] = {}
        self.proofs: dict[tuple[Job, Repository], dict[PolicyName, RunRecord]] = {}  # audits and checks
        self.last_backups = dict(last_backups)
        self._newest: dict[LineKey, Slot] = {}
        self._chained: dict[LineKey, dict[str, Slot]] = {}  # the open ones that come after another job's
        self._line_of: dict[str, LineKey] = {}  # of these
        self._running: set[str] = set()  # of these, what began since
        self._awaited: dict[str, str | None] = {}  # what each waits for: asked a dozen times in its life
        self._fates: dict[str, tuple[SlotState, datetime | None]] = {}
        for run in good.values():
            self.went_well(run)

    def went_well(self, run: RunRecord) -> None:
        """The newest succeeded or partial run of its line."""
        self.good[run.policy, run.job, run.vault] = run
        if run.job in OF_REPOSITORY:
            self.proofs.setdefault((run.job, (run.tenant, run.vault)), {})[run.policy] = run

    def is_there(self, slot: Slot, now: datetime) -> None:
        """A slot, open or closed, as it stands."""
        self._fates[slot.id] = (slot.state, slot.closed_at)
        newest = self._newest.get(slot.line_key)
        # One that is still to come stands for nobody yet.
        if slot.state in OPEN and slot.due <= now and (newest is None or age(newest) < age(slot)):
            self._newest[slot.line_key] = slot
        if slot.state in OPEN and slot.after is not None:
            self._chained.setdefault(slot.line_key, {})[slot.id] = slot
            self._line_of[slot.id] = slot.line_key

    def begins(self, slot: Slot) -> bool:
        """A slot that is there runs from now on. Whether others of its line are open, for which it stands."""
        if slot.id in self._line_of:
            self._running.add(slot.id)
        return self.has_older(slot)

    def has_older(self, slot: Slot) -> bool:
        """Whether older ones of a chained slot's line are open: they may have stood back for it."""
        return any(age(each) < age(slot) for each in self.chained(slot.line_key))

    def ended(self, slot_id: str, state: SlotState, at: datetime) -> None:
        """A slot that is there has ended since."""
        if slot_id in self._fates:
            self._fates[slot_id] = (state, at)
        line = self._line_of.pop(slot_id, None) if state in FINAL else None
        if line is not None:
            del self._chained[line][slot_id]
            self._running.discard(slot_id)

    def forget(self, slot_id: str) -> None:
        """Nobody will ask for this slot any more."""
        self._fates.pop(slot_id, None)
        self._awaited.pop(slot_id, None)

    def newest(self, line: LineKey) -> Slot | None:
        """Of a line's slots that were open, the newest that is due."""
        return self._newest.get(line)

    def chained(self, line: LineKey) -> tuple[Slot, ...]:
        """A line's open slots that come after another job's."""
        return tuple(self._chained.get(line, {}).values())

    def runs(self, slot: Slot) -> bool:
        """Whether a chained slot runs, by its row or since it began."""
        return slot.state is SlotState.RUNNING or slot.id in self._running

    def awaited(self, slot: Slot, policy: Policy) -> str | None:
        """The id of the slot that this one has to wait for; None where it waits for none."""
        if slot.after is None:
            return None
        if slot.id not in self._awaited:
            self._awaited[slot.id] = awaited(slot, policy)
        return self._awaited[slot.id]

    def fate(self, slot_id: str) -> tuple[SlotState, datetime | None] | None:
        """In which state a slot is, and since when it is closed; None where it is not known."""
        return self._fates.get(slot_id)


def age(slot: Slot) -> tuple[datetime, str]:
    return slot.nominal, slot.id


def awaited(slot: Slot, policy: Policy) -> str | None:
    """The id of the slot that this one has to wait for; None where it waits for none."""
    if slot.after is None:
        return None
    vault = policy.replica if slot.after is Job.REPLICATE else slot.source_vault or policy.vault
    return None if vault is None else slot_id(slot.policy, slot.after, vault, slot.key)


# --- the time of what comes after another ------------------------------------------------------------------------


def ends_at(slot: Slot, policy: Policy, facts: Facts) -> datetime | None:
    """From when on it is too late to start. What comes after another has as long from that one's end as from its due.

    None while that one is open, and where it ended badly: then so does this one.
    """
    other = facts.awaited(slot, policy)
    if other is None or slot.until is None or facts.fate(other) is None:
        return slot.until
    since = ready_from(slot, policy, facts)
    return None if since is None else slot.until + (since - slot.due)


def ready_from(slot: Slot, policy: Policy, facts: Facts) -> datetime | None:
    """Since when what it waited for is there; None: it is not."""
    other = facts.awaited(slot, policy)
    fate = None if other is None else facts.fate(other)
    return None if fate is None or fate[0] not in GOOD else max(slot.due, fate[1] or slot.due)


def still_to_come(slot: Slot, policy: Policy, facts: Facts, now: datetime) -> Slot | None:
    """The newest of its line, where that waits for another's end, so that it cannot stand for this one yet."""
    since = ready_from(slot, policy, facts)
    newest = max((each for each in facts.chained(slot.line_key) if each.due <= now), key=age, default=slot)
    if since is None or age(newest) <= age(slot):
        return None
    if policy.catch_up is not None and now >= since + policy.catch_up:
        return None
    other = facts.awaited(newest, policy)
    fate = None if other is None else facts.fate(other)
    return newest if fate is not None and fate[0] in OPEN else None


def could_start(slot: Slot, policy: Policy, facts: Facts, now: datetime) -> bool:
    """Whether it runs, or may as far as what it waits for goes."""
    if facts.runs(slot):
        return True
    if slot.due > now or ready_from(slot, policy, facts) is None:
        return False
    ends = ends_at(slot, policy, facts)
    return ends is None or now < ends or still_to_come(slot, policy, facts, now) is not None


def turning_points(slot: Slot, policy: Policy, facts: Facts) -> tuple[datetime, ...]:
    """When time alone may change the answer to a chained slot: as long as what it waits for stays as it is."""
    ends, since = ends_at(slot, policy, facts), ready_from(slot, policy, facts)
    late = None if since is None or policy.catch_up is None else since + policy.catch_up
    return tuple(moment for moment in (ends, late) if moment is not None)

"""What dispatch is told and what it answers, as values: every open slot closes, starts, or waits, with its reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from jobs.history import Job, RunRecord
from jobs.plan import Step
from jobs.policy import Policy, PolicyName, VaultName
from jobs.reporting import Reporting
from jobs.slot import Slot, SlotState, Why


@dataclass(frozen=True, kw_only=True, slots=True)
class Concurrency:
    """How many runs may be under way at once: in all, and at one site, in one vault, from one host. None: no limit.

    A copy counts in both its vaults. A backup alone counts from a host, the one whose files it reads. Reports count
    in none of these: there is one of them at a time.
    """

    runs: int = 2
    per_site: int | None = None
    per_vault: int | None = None
    per_host: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Closing:
    """A slot that ends without a run (of its own, now)."""

    slot: Slot
    state: SlotState
    why: Why


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """A slot that starts now."""

    slot: Slot
    step: Step


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """A slot that waits, for what, and until when at least, where that is known."""

    slot: Slot
    why: Why
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Moves:
    """Every open slot is in exactly one of the three, or running already. `starts` are in the order of urgency."""

    closings: tuple[Closing, ...] = ()
    starts: tuple[Start, ...] = ()
    waits: tuple[Wait, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """What is known when slots are dispatched.

    `related` holds the slots that open ones wait for (by id, also when closed), `under_way` every open run, also a
    person's, `good` the newest succeeded or partial run of each policy's job at each vault, `last_backups` each
    policy's newest finished backup, however it ended: after a bad one nothing is removed. `dead` are the ids of those
    under way that nobody is at any more, though it is not known yet what became of them.
    """

    policies: Mapping[PolicyName, Policy]
    related: Mapping[str, Slot]
    under_way: Sequence[RunRecord]
    good: Mapping[tuple[PolicyName, Job, VaultName], RunRecord]
    last_backups: Mapping[PolicyName, RunRecord]
    limits: Concurrency
    reports: Mapping[PolicyName, Reporting] = field(default_factory=dict)
    dead: Collection[str] = ()

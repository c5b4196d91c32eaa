"""What becomes of every open slot now: closed, started, or waiting, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from jobs.history import Job, RunRecord
from jobs.plan import Step
from jobs.policy import Policy, PolicyName, VaultName
from jobs.slot import Slot, SlotState, Why


@dataclass(frozen=True, kw_only=True, slots=True)
class Concurrency:
    """How many runs may be under way at once: in all, and at one site, in one vault, from one host. None: no limit."""

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
    """Every open slot is in exactly one of the three, or running already."""

    closings: tuple[Closing, ...] = ()
    starts: tuple[Start, ...] = ()
    waits: tuple[Wait, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """What is known when slots are dispatched.

    `related` holds the slots that open ones wait for (by id, also when closed), `under_way` every open run, also a
    person's, `good` the newest succeeded or partial run of each policy's job at each vault.
    """

    policies: Mapping[PolicyName, Policy]
    related: Mapping[str, Slot]
    under_way: Sequence[RunRecord]
    good: Mapping[tuple[PolicyName, Job, VaultName], RunRecord]
    limits: Concurrency


def dispatch(slots: Sequence[Slot], known: Situation, now: datetime) -> Moves:
    """Answer every open slot once."""
    raise NotImplementedError

"""A slot is one moment at which a policy's job was due. It ends in exactly one named state, with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from jobs.history import Job, RunState
from jobs.policy import PolicyName, SiteName, TenantName, VaultName
from jobs.schedule import Schedule


class SlotState(StrEnum):
    """`due` and `running` are open; every other state is final."""

    DUE = "due"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    MISSED = "missed"  # nothing ran in its stead, in time
    COALESCED = "coalesced"  # a newer slot's run, or another's of the same repository, stands for it
    SKIPPED = "skipped"  # there was nothing to do, or its policy is gone
    BLOCKED = "blocked"  # something named kept it from starting
    INTERRUPTED = "interrupted"  # it was cut off, and was not taken up again in time


OPEN: Final = frozenset({SlotState.DUE, SlotState.RUNNING})
GOOD: Final = frozenset({SlotState.SUCCEEDED, SlotState.PARTIAL})
FINAL: Final = frozenset(SlotState) - OPEN

SLOT_TRANSITIONS: Final[Mapping[SlotState, frozenset[SlotState]]] = MappingProxyType(
    {
        SlotState.DUE: frozenset(SlotState) - {SlotState.DUE, SlotState.SUCCEEDED, SlotState.PARTIAL},
        SlotState.RUNNING: frozenset(SlotState) - {SlotState.RUNNING, SlotState.MISSED, SlotState.COALESCED},
        **{state: frozenset() for state in FINAL},
    }
)

# How a run's end closes its slot, where no further attempt is to come.
ENDS: Final[Mapping[RunState, SlotState]] = MappingProxyType(
    {
        RunState.SUCCEEDED: SlotState.SUCCEEDED,
        RunState.PARTIAL: SlotState.PARTIAL,
        RunState.FAILED: SlotState.FAILED,
        RunState.BLOCKED: SlotState.BLOCKED,
        RunState.SKIPPED: SlotState.SKIPPED,
        RunState.INTERRUPTED: SlotState.INTERRUPTED,
    }
)


class WhyKind(StrEnum):
    """Why a slot ended as it did, or still waits."""

    RAN = "ran"  # a run of its own ended so: `other` names it
    NEWER = "newer"  # a newer slot of its line: `other` names it
    SAME_REPOSITORY = "same-repository"  # a check of the same repository: `other` names that run
    TOO_LATE = "too-late"  # its time to start had passed
    NOT_RUNNING = "not-running"  # Tandem did not run when it was due
    AFTER = "after"  # what it has to wait for: `other` names that slot
    HELD = "held"  # a run holds the repository: `other` names it
    LOCKED = "locked"  # a lock of restic holds the repository
    LIMIT = "limit"  # as many runs as are allowed are under way
    WINDOW = "window"  # outside its window nothing starts; also where a newer slot (`other`) stands for it since
    RETRY = "retry"  # it failed, and will be tried again
    CUT_OFF = "cut-off"  # its run was cut off, and it will be taken up again
    NOT_YET = "not-yet"  # it is on record, but due later: its splay, or a clock that was set back
    NOTHING_TO_DO = "nothing-to-do"  # as the planner says
    POLICY_GONE = "policy-gone"  # the settings no longer hold it
    CLOCK = "clock"  # a clock that was wrong made it: it was never due; or it made what was to stand for it


@dataclass(frozen=True, kw_only=True, slots=True)
class Why:
    """A reason: its kind, a sentence for people, and what it refers to (a run's or a slot's id)."""

    kind: WhyKind
    text: str
    other: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """What makes slots: one job of one policy at one vault, under one text of the settings, from one instant on.

    `since` and `until` bound when it was in force (until None: still); `cursor` is the newest moment that was made a
    slot, or `since`. `taken` are names that slots of earlier lines have, and that come again in another zone: they are
    not made again. A line whose schedule is another's (`after`) has that one's moments and waits for its slots. One
    that ended before its cursor was made by a clock that was ahead: what it made in between is void.
    """

    id: int = 0  # the ledger's; 0 before it is there
    policy: PolicyName
    tenant: TenantName
    job: Job
    site: SiteName
    vault: VaultName
    source_vault: VaultName | None = None
    schedule: Schedule
    after: Job | None = None
    zone: str
    splay: timedelta = timedelta(0)
    catch_up: timedelta | None = None
    settings_hash: str
    since: datetime
    cursor: datetime
    until: datetime | None = None
    taken: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[PolicyName, Job, VaultName]:
        """What it is known by: of each there is at most one line in force."""
        return (self.policy, self.job, self.vault)


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """One due moment of a line. `nominal` is the schedule's moment, `due` that with the splay added.

    `until` is when it is too late to start: its successor is due then. What comes `after` another has as long from that
    one's end as it has here from `due` (jobs/facts.py). `known_at` is when the row was written: later
    than `due` when Tandem did not run. `run` is its last run, `attempts` how many there were.
    """

    id: str  # POLICY/JOB/VAULT/KEY; of one that is void POLICY/JOB/VAULT/KEY~LINE
    line: int
    policy: PolicyName
    tenant: TenantName
    job: Job
    site: SiteName
    vault: VaultName
    source_vault: VaultName | None = None
    settings_hash: str
    key: str
    nominal: datetime
    due: datetime
    until: datetime | None
    after: Job | None = None
    known_at: datetime
    state: SlotState = SlotState.DUE
    why: Why | None = None  # of an open one: why it waits, as last decided
    run: str | None = None
    attempts: int = 0
    retry_at: datetime | None = None
    closed_at: datetime | None = None

    @property
    def line_key(self) -> tuple[PolicyName, Job, VaultName]:
        """The line it belongs to, whatever the text of the settings was."""
        return (self.policy, self.job, self.vault)


def slot_id(policy: PolicyName, job: Job, vault: VaultName, key: str) -> str:
    """The name by which a due moment exists once, however often it is found to be due."""
    return f"{policy}/{job}/{vault}/{key}"


def void_mark(line: int) -> str:
    """What is added to the key and the id of a slot that was never due: its moment's own slot has the plain name."""
    return f"~{line}"

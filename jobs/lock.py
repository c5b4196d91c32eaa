"""What a lock that restic left in a repository stands for: a living process, a dead one, or nobody knows.

restic writes who it is into its lock, and replaces the lock every five minutes while it lives. It knows no boot and no
process namespace, so "there is no such process" proves a death only where every process of the machine can be seen,
or where the ledger knows that the run which made the lock is over. Host names are taken to be unique, as restic does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from jobs.claim import HOLDS, Hold, repositories
from jobs.history import Job, RunRecord
from jobs.policy import TenantName, VaultName
from jobs.quantity import duration

# https://github.com/restic/restic/blob/master/internal/repository/lock.go: refreshInterval and StaleLockTimeout
REFRESHED_EVERY: Final = timedelta(minutes=5)
STALE_AFTER: Final = timedelta(minutes=30)
_SLACK: Final = timedelta(milliseconds=100)  # the kernel tells a process's start in hundredths of a second


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """One lock file of a repository. `time` None: it cannot be read, so restic will let nobody pass."""

    id: str  # the file's name
    time: datetime | None  # when it was written, or last refreshed, by the clock of `host`
    exclusive: bool
    host: str
    user: str
    pid: int  # as its own process namespace counts


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A living process whose id, in its own process namespace, is that of a lock."""

    pid: int  # here
    name: str
    started_at: datetime
    is_restic: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Here:
    """Who looks. `sees_all`: every process of this machine, those in containers too, can be seen from here."""

    host: str
    sees_all: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Tie:
    """A run that worked on the repository when the lock was written. `over`: it has ended, or its owner is dead."""

    run: RunRecord
    over: bool


class LockKind(StrEnum):
    """Dead and orphaned are proven, and may be removed. The others never are by us."""

    LIVE = "live"  # its process runs here
    DEAD = "dead"  # its process is gone
    ORPHANED = "orphaned"  # another process has its id by now, or its run is known to have ended
    FOREIGN = "foreign"  # another host's: nothing about it can be proven here
    UNPROVEN = "unproven"  # this host's by name, but what became of its process cannot be seen


REMOVABLE: Final = frozenset({LockKind.DEAD, LockKind.ORPHANED})

ADVICE: Final[Mapping[LockKind, str]] = MappingProxyType(
    {
        LockKind.LIVE: "Leave it: its restic is at work.",
        LockKind.DEAD: "Remove it with: tandem locks --remove",
        LockKind.ORPHANED: "Remove it with: tandem locks --remove",
        LockKind.FOREIGN: "Ask on that host whether its restic still runs; if not, run there: restic unlock",
        LockKind.UNPROVEN: "Look where it was made (in a container?); where no restic is at work: restic unlock",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A lock with what is known of it. `why` is one sentence that names the proof, or what is missing for one."""

    tenant: TenantName
    vault: VaultName
    lock: Lock
    kind: LockKind
    why: str
    ties: tuple[Tie, ...] = ()  # the runs that may have made it
    age: timedelta | None = None

    @property
    def removable(self) -> bool:
        """Whether its maker is proven to be gone."""
        return self.kind in REMOVABLE

    @property
    def in_the_way(self) -> bool:
        """Whether it blocks others without anybody being known to be at work."""
        return self.kind is not LockKind.LIVE

    @property
    def stale(self) -> bool:
        """Whether restic itself would call it so."""
        return self.age is not None and self.age > STALE_AFTER

    @property
    def blocks(self) -> frozenset[Job]:
        """The jobs that restic refuses while it is there."""
        return blocked_by(self.lock)


def blocked_by(lock: Lock) -> frozenset[Job]:
    """An exclusive lock, or one that cannot be read, is in everybody's way; a shared one in that of exclusive jobs."""
    return frozenset(job for job, hold in HOLDS.items() if lock.exclusive or hold is Hold.EXCLUSIVE)


def made_by(lock: Lock, tenant: TenantName, vault: VaultName, runs: Iterable[RunRecord]) -> tuple[RunRecord, ...]:
    """The runs during which the lock was written, oldest first: on the same repository, whose span holds its time."""
    when = lock.time
    if when is None:
        return ()
    return tuple(
        sorted(
            (run for run in runs if (tenant, vault) in repositories(run) and _spans(run, when)),
            key=lambda run: (run.started_at, run.id),
        )
    )


def _spans(run: RunRecord, when: datetime) -> bool:
    return run.started_at <= when and (run.finished_at is None or when <= run.finished_at)


def classify(lock: Lock, here: Here, seen: Sequence[Seen], ties: Sequence[Tie], now: datetime) -> tuple[LockKind, str]:
    """What the lock stands for, and the sentence that says why."""
    if lock.time is None:
        return LockKind.UNPROVEN, "the lock file cannot be read"
    if lock.host != here.host:
        return LockKind.FOREIGN, f"made on host {lock.host}, which cannot be seen from here; {refreshed(lock, now)}"
    over = bool(ties) and all(tie.over for tie in ties)
    for rule in (_by_a_restic, _by_another_program, _by_nobody):
        if answer := rule(lock, seen, here.sees_all, over):
            return answer
    return LockKind.UNPROVEN, f"no process {lock.pid} can be seen, but not every process of {lock.host} can be"


_Answer = tuple[LockKind, str] | None
_ENDED: Final = "the run that made it is over"


def _by_a_restic(lock: Lock, seen: Sequence[Seen], _sees_all: bool, over: bool) -> _Answer:
    """A restic that is older than the lock made it. A younger one did not, unless the clock was set forward since."""
    restics = [process for process in seen if process.is_restic]
    if not restics:
        return None
    if any(_is_older(process, lock) for process in restics):
        return LockKind.LIVE, f"restic runs as process {lock.pid}"
    told = f"process {lock.pid} is a restic by now that started after the lock was made"
    return (LockKind.ORPHANED, f"{told}, and {_ENDED}") if over else (LockKind.UNPROVEN, f"{told}, by today's clock")


def _by_another_program(lock: Lock, seen: Sequence[Seen], sees_all: bool, over: bool) -> _Answer:
    """What is older than the lock had its id when the lock was made: then it was made in another namespace."""
    if not seen:
        return None
    process = min(seen, key=lambda each: each.started_at)
    told = f"process {lock.pid} is {process.name or 'another program'} by now"
    if over:
        return LockKind.ORPHANED, f"{told}, and {_ENDED}"
    if _is_older(process, lock):
        return LockKind.UNPROVEN, f"process {lock.pid} is {process.name}, and was when the lock was made: not its maker"
    return (LockKind.ORPHANED, told) if sees_all else (LockKind.UNPROVEN, f"{told}, as far as can be seen from here")


def _by_nobody(lock: Lock, seen: Sequence[Seen], sees_all: bool, over: bool) -> _Answer:
    if seen or not (sees_all or over):
        return None
    return LockKind.DEAD, f"there is no process {lock.pid}" + (f", and {_ENDED}" if over else "")


def _is_older(process: Seen, lock: Lock) -> bool:
    return lock.time is not None and process.started_at <= lock.time + _SLACK


def refreshed(lock: Lock, now: datetime) -> str:
    """Whether somebody still refreshes it, by its age."""
    age = age_of(lock, now)
    if age is None:
        return "nobody knows since when"
    if age > STALE_AFTER:
        return f"not refreshed for {duration(age)}: restic itself would call it stale"
    if age > REFRESHED_EVERY + timedelta(minutes=1):
        return f"not refreshed for {duration(age)}; a living restic does so every {duration(REFRESHED_EVERY)}"
    return f"written or refreshed {duration(age)} ago: it may well be at work"


def age_of(lock: Lock, now: datetime) -> timedelta | None:
    """How long ago it was written or refreshed; never negative, for clocks differ."""
    return None if lock.time is None else max(timedelta(), now - lock.time)


def judge(
    place: tuple[TenantName, VaultName],
    lock: Lock,
    here: Here,
    seen: Sequence[Seen],
    ties: Sequence[Tie],
    now: datetime,
) -> Judged:
    """A lock of a repository with its class, its reason, its age and who made it."""
    kind, why = classify(lock, here, seen, ties, now)
    tenant, vault = place
    return Judged(tenant=tenant, vault=vault, lock=lock, kind=kind, why=why, ties=tuple(ties), age=age_of(lock, now))

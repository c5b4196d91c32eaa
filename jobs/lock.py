"""What a lock that restic left in a repository stands for: a living process, a dead one, or nobody knows.

restic writes who it is into its lock, and replaces the lock every five minutes while it lives. It knows no boot and no
process namespace, so "there is no such process" proves a death only where every process of the machine can be seen,
or where the run which made the lock is known to be over: by us who waited for its restic, whose process id the lock
names, or by the ledger once a living restic would have refreshed it; until then somebody's in a container of the same
host name looks no different.
Host names are taken to be unique otherwise, as restic does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from jobs.claim import HOLDS, LOCKING, Hold, repositories
from jobs.failure import FailureKind
from jobs.history import Job, RetentionResult, RunRecord, RunState
from jobs.policy import TenantName, VaultName
from jobs.quantity import duration

# https://github.com/restic/restic/blob/master/internal/repository/lock.go: refreshInterval and StaleLockTimeout
REFRESHED_EVERY: Final = timedelta(minutes=5)
STALE_AFTER: Final = timedelta(minutes=30)
_UNREFRESHED: Final = REFRESHED_EVERY + timedelta(minutes=1)  # older: no restic that lives and is well holds it
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
    """A run that worked on the repository when the lock was written.

    `over`: it has ended, or its owner is dead. `ended`: its restic was our own child, and we waited for its end.
    """

    run: RunRecord
    over: bool
    ended: bool = False


def tie(run: RunRecord, lock: Lock, *, over: bool, waited_for: Collection[int] = ()) -> Tie:
    """The tie of a run to a lock, whose maker is proven to be the run's only where it was a child that it waited for.

    That a run was under way when the lock was written says nothing of somebody else's restic.
    """
    return Tie(run=run, over=over, ended=over and lock.pid in waited_for)


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
    refused = LOCKING if lock.exclusive else {Hold.EXCLUSIVE}
    return frozenset(job for job, hold in HOLDS.items() if hold in refused)


def made_by(lock: Lock, tenant: TenantName, vault: VaultName, runs: Iterable[RunRecord]) -> tuple[RunRecord, ...]:
    """The runs during which the lock was written, oldest first: on the same repository, whose span holds its time.

    Of those that take locks: an audit makes none, and its end says nothing of one.
    """
    when = lock.time
    if when is None:
        return ()
    return tuple(
        sorted(
            (
                run
                for run in runs
                if HOLDS[run.job] in LOCKING and (tenant, vault) in repositories(run) and _spans(run, when)
            ),
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
    is_old = here.sees_all or now - lock.time > _UNREFRESHED
    over = bool(ties) and all(tie.ended or (tie.over and is_old) for tie in ties)
    for rule in (_by_a_restic, _by_another_program, _by_nobody):
        if answer := rule(lock, seen, here.sees_all, over):
            return answer
    told = f"no process {lock.pid} can be seen, but not every process of {lock.host} can be"
    return LockKind.UNPROVEN, told if is_old else f"{told}; {refreshed(lock, now)}"


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
    elder = next((each for each in seen if _is_older(each, lock) and (not over or each.pid == lock.pid)), None)
    if elder is not None:  # in our own namespace it might be a restic by another name
        return LockKind.UNPROVEN, f"process {lock.pid} is {elder.name}, and was when the lock was made: not its maker"
    if over:
        return LockKind.ORPHANED, f"{told}, and {_ENDED}"
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
    if age > _UNREFRESHED:
        return f"not refreshed for {duration(age)}; a living restic does so every {duration(REFRESHED_EVERY)}"
    return f"written or refreshed {duration(age)} ago: it may well be at work"


def told(judged: Judged) -> str:
    """Who holds it, since when, and what to do about it: for the words of whatever it refused."""
    lock, place, advice = judged.lock, f"{judged.tenant}@{judged.vault}", ADVICE[judged.kind]
    if lock.time is None:
        return f"lock {lock.id[:8]} of {place} is {judged.kind}: {judged.why}. {advice}"
    held = "exclusively" if lock.exclusive else "beside others"
    maker = f"PID {lock.pid} on {lock.host} by {lock.user}"
    # a foreign one's reason tells its age already
    age = "" if judged.age is None or judged.kind is LockKind.FOREIGN else f"; {duration(judged.age)} old"
    return f"{place} is locked {held} by {maker} ({judged.kind}: {judged.why}{age}). {advice}"


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


def undated(judged: Judged) -> Judged:
    """The same while the clock is not believed: every proof of a death compares dates."""
    if not judged.removable:
        return judged
    why = f"{judged.why}; but the clock is not believed, and dates prove nothing until it is"
    return replace(judged, kind=LockKind.UNPROVEN, why=why)


def shows_it_gone(refused: RunRecord, good: RunRecord) -> bool:
    """Whether a good run in the same repository could not have been, were the lock still there that refused another.

    Beside a shared lock everything goes but what needs the repository for itself. A retention that removed nothing
    took no lock; where it is the refused one's own line, it is taken for well all the same.
    """
    if good.started_at < refused.started_at:
        return False
    is_its_own = (good.policy, good.job, good.vault) == (refused.policy, refused.job, refused.vault)
    if HOLDS[refused.job] is Hold.SHARED or is_its_own:
        return True
    idle = isinstance(good.result, RetentionResult) and not good.result.removed
    return HOLDS[good.job] is Hold.EXCLUSIVE and not idle


def by_a_lock(run: RunRecord) -> bool:
    """Whether a lock of restic refused this run."""
    return (
        run.state in {RunState.FAILED, RunState.BLOCKED}
        and run.failure is not None
        and run.failure.kind is FailureKind.REPOSITORY_LOCKED
    )

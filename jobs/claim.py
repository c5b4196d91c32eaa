"""Which runs may be open at the same time: one of each policy's job, and restic's own rule for each repository.

restic takes a shared lock to back up, copy and restore, and an exclusive one to check, forget and prune:
https://restic.readthedocs.io/en/stable/100_references.html#locks. Deciding it here first means that a refusal names the
run that is in the way, and that no lock of a living process is ever met by surprise. An audit has no password to take a
lock with. It is held back here alone: beside a prune nobody could tell what was removed from what was lost, and a
second audit of the same files would only take the disk from the first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol

from jobs.failure import Failure, FailureKind
from jobs.history import Job, RunRecord, RunState
from jobs.policy import PolicyName, TenantName, VaultName

Repository = tuple[TenantName, VaultName]


class Hold(StrEnum):
    """How a job holds the repositories that it works on."""

    SHARED = "shared"
    READING = "reading"  # beside those who share it, and not beside another of its like
    EXCLUSIVE = "exclusive"
    NONE = "none"  # it works on none


HOLDS: Final[Mapping[Job, Hold]] = MappingProxyType(
    {
        Job.BACKUP: Hold.SHARED,
        Job.REPLICATE: Hold.SHARED,
        Job.AUDIT: Hold.READING,
        Job.CHECK: Hold.EXCLUSIVE,
        Job.RESTORE_TEST: Hold.SHARED,
        Job.RETENTION: Hold.EXCLUSIVE,
        Job.RESTORE: Hold.SHARED,
        Job.REPORT: Hold.NONE,
    }
)

# Which holds a hold cannot be beside.
AGAINST: Final[Mapping[Hold, tuple[Hold, ...]]] = MappingProxyType(
    {
        Hold.SHARED: (Hold.EXCLUSIVE,),
        Hold.READING: (Hold.EXCLUSIVE, Hold.READING),
        Hold.EXCLUSIVE: (Hold.EXCLUSIVE, Hold.SHARED, Hold.READING),
        Hold.NONE: (),
    }
)

# Which of them restic locks the repository for.
LOCKING: Final = frozenset({Hold.SHARED, Hold.EXCLUSIVE})


class Work(Protocol):
    """What is asked about here: a run, or a slot that would become one."""

    @property
    def id(self) -> str:
        """What people call it by."""

    @property
    def policy(self) -> PolicyName:
        """Whose it is."""

    @property
    def job(self) -> Job:
        """What it does."""

    @property
    def tenant(self) -> TenantName:
        """Whose repositories it works on."""

    @property
    def vault(self) -> VaultName:
        """Where it acts."""

    @property
    def source_vault(self) -> VaultName | None:
        """Where a copy comes from."""


def repositories(run: Work) -> frozenset[Repository]:
    """The repositories that a run works on: a copy holds both the one it reads and the one it writes."""
    return frozenset(_held(run))


def _held(run: Work) -> tuple[Repository, ...]:
    if HOLDS[run.job] is Hold.NONE:
        return ()
    one = (run.tenant, run.vault)
    return (one,) if run.source_vault is None else (one, (run.tenant, run.source_vault))


def clash(one: Work, other: Work) -> bool:
    """Whether the two may not be open at the same time. Symmetrical; says nothing about their states.

    People restore beside each other, each to a place of their own; of any other job a policy has one run at a time.
    """
    if (one.policy, one.job) == (other.policy, other.job) and one.job is not Job.RESTORE:
        return True
    apart = HOLDS[other.job] in AGAINST[HOLDS[one.job]]
    return apart and not repositories(one).isdisjoint(repositories(other))


def conflict(
    open_runs: Iterable[RunRecord], wanted: RunRecord, *, unmade: Collection[Repository] = ()
) -> RunRecord | None:
    """The longest-running of the open runs that `wanted` may not run beside, or None when it may start.

    A repository that is still `unmade` is one run's alone: two that both make it leave one that neither can read.
    """
    in_the_way = [
        run
        for run in open_runs
        if run.state is RunState.RUNNING
        and (clash(run, wanted) or not repositories(run).isdisjoint(repositories(wanted) & frozenset(unmade)))
    ]
    return min(in_the_way, key=_age, default=None)


def _age(run: RunRecord) -> tuple[datetime, str]:
    return (run.started_at, run.id)


def busy(other: RunRecord, wanted: RunRecord) -> Failure:
    """Why `wanted` may not start, naming the run that is in the way."""
    message = (
        f"{wanted.job} {wanted.policy} cannot start beside {other.job} {other.policy} (run {other.id}), which process "
        f"{other.owner.pid} on {other.owner.host} has been running since {other.started_at:%Y-%m-%d %H:%M:%S} UTC"
    )
    return Failure(kind=FailureKind.BUSY, message=message)


class Holders:
    """Who holds what. Says in constant time what `conflict` would find by looking at each of them."""

    def __init__(self) -> None:
        self._by_job: dict[tuple[PolicyName, Job], dict[int, Work]] = {}
        self._by_repository: dict[tuple[Repository, Hold], dict[int, Work]] = {}

    def add(self, work: Work) -> None:
        """It holds from now on; of several in the way, the one that was added first is named."""
        if work.job is not Job.RESTORE:
            self._by_job.setdefault((work.policy, work.job), {})[id(work)] = work
        for repository in _held(work):
            self._by_repository.setdefault((repository, HOLDS[work.job]), {})[id(work)] = work

    def remove(self, work: Work) -> None:
        """It holds nothing any more. It must be the object that was added."""
        if work.job is not Job.RESTORE:
            del self._by_job[work.policy, work.job][id(work)]
        for repository in _held(work):
            del self._by_repository[repository, HOLDS[work.job]][id(work)]

    def in_the_way(self, wanted: Work) -> Work | None:
        """One that `wanted` may not run beside, or None when it may start."""
        same = self._by_job.get((wanted.policy, wanted.job)) if wanted.job is not Job.RESTORE else None
        if same:
            return next(iter(same.values()))
        for repository in _held(wanted):
            for hold in AGAINST[HOLDS[wanted.job]]:
                held = self._by_repository.get((repository, hold))
                if held:
                    return next(iter(held.values()))
        return None

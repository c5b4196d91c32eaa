"""Which runs may be open at the same time: one of each policy's job, and restic's own rule for each repository.

restic takes a shared lock to back up, copy and restore, and an exclusive one to check, forget and prune:
https://restic.readthedocs.io/en/stable/100_references.html#locks. Deciding it here first means that a refusal names the
run that is in the way, and that no lock of a living process is ever met by surprise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from jobs.failure import Failure, FailureKind
from jobs.history import Job, RunRecord, RunState
from jobs.policy import TenantName, VaultName


class Hold(StrEnum):
    """How a job holds the repositories that it works on."""

    SHARED = "shared"
    EXCLUSIVE = "exclusive"


HOLDS: Final[Mapping[Job, Hold]] = MappingProxyType(
    {
        Job.BACKUP: Hold.SHARED,
        Job.REPLICATE: Hold.SHARED,
        Job.CHECK: Hold.EXCLUSIVE,
        Job.RESTORE_TEST: Hold.SHARED,
        Job.RETENTION: Hold.EXCLUSIVE,
        Job.RESTORE: Hold.SHARED,
    }
)


def repositories(run: RunRecord) -> frozenset[tuple[TenantName, VaultName]]:
    """The repositories that a run works on: a copy holds both the one it reads and the one it writes."""
    vaults = (run.vault,) if run.source_vault is None else (run.vault, run.source_vault)
    return frozenset((run.tenant, vault) for vault in vaults)


def clash(one: RunRecord, other: RunRecord) -> bool:
    """Whether the two may not be open at the same time. Symmetrical; says nothing about their states.

    People restore beside each other, each to a place of their own; of any other job a policy has one run at a time.
    """
    if (one.policy, one.job) == (other.policy, other.job) and one.job is not Job.RESTORE:
        return True
    alone = Hold.EXCLUSIVE in {HOLDS[one.job], HOLDS[other.job]}
    return alone and not repositories(one).isdisjoint(repositories(other))


def conflict(open_runs: Iterable[RunRecord], wanted: RunRecord) -> RunRecord | None:
    """The longest-running of the open runs that `wanted` may not run beside, or None when it may start."""
    in_the_way = [run for run in open_runs if run.state is RunState.RUNNING and clash(run, wanted)]
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

"""A ledger with a long past: half a year of daily cycles of eight policies at two sites, all in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count, islice
from pathlib import Path
from typing import Final

from jobs.history import (
    BackupResult,
    CheckResult,
    Job,
    Owner,
    RecoveryPoint,
    ReplicateResult,
    RestoreTestResult,
    Result,
    RetentionResult,
    RunRecord,
    RunState,
    Usage,
)
from jobs.policy import PolicyName, SiteName, TenantName, VaultName
from orchestrator.ledger.codec import point_row, run_row
from orchestrator.ledger.database import Values
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.sqlite import SqliteDatabase

POLICIES: Final = 8
_KEPT_DAYS: Final = 60  # recovery points older than this are noted as gone
_TENANT: Final = TenantName("tenant")
_OWNER: Final = Owner(host="bench", boot="0" * 36, pid=1, started="1")
_PRIMARY: Final = (SiteName("primary"), VaultName("primary"))
_SECONDARY: Final = (SiteName("secondary"), VaultName("secondary"))
_JOBS: Final[tuple[tuple[Job, tuple[SiteName, VaultName], Result], ...]] = (
    (Job.BACKUP, _PRIMARY, BackupResult(files=20_000, bytes=1 << 30)),
    (Job.REPLICATE, _SECONDARY, ReplicateResult(copied=2)),
    (Job.CHECK, _PRIMARY, CheckResult(read_data="100%")),
    (Job.CHECK, _SECONDARY, CheckResult(read_data="100%")),
    (Job.RESTORE_TEST, _PRIMARY, RestoreTestResult(files_compared=20_000, bytes_compared=1 << 30)),
    (Job.RESTORE_TEST, _SECONDARY, RestoreTestResult(files_compared=20_000, bytes_compared=1 << 30)),
    (Job.RETENTION, _PRIMARY, RetentionResult(kept=30)),
    (Job.RETENTION, _SECONDARY, RetentionResult(kept=30)),
)


def write(ledger: Path, *, runs: int) -> None:
    """Make a ledger that holds so many runs that have ended, and the recovery points of its backups."""
    now = datetime.now(UTC)
    Ledger.open(f"sqlite:///{ledger}", create=True, now=now).close()
    database = SqliteDatabase.open(ledger, create=False, now=now)
    records = tuple(islice(_records(now), runs))
    points = [point for record in records if record.job is Job.BACKUP for point in _points(record, now)]
    with database.writing("write") as transaction:
        rows = [{**run_row(record), "finished_at": run_row(record)["started_at"]} for record in records]
        transaction.change_each(_insertion("run", rows[0]), rows)
        rows = [dict(point_row(point)) for point in points]
        transaction.change_each(_insertion("recovery_point", rows[0]), rows)
    database.close()


def _insertion(table: str, row: Values) -> str:
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})"  # noqa: S608 (column names)


def _records(now: datetime) -> Iterator[RunRecord]:
    """Newest day first, without end."""
    for day in count():
        for policy in range(POLICIES):
            for place, (job, (site, vault), found) in enumerate(_JOBS):
                began = now - timedelta(days=day, hours=1) + timedelta(minutes=place)
                yield _record(f"{day:05}-{policy}-{place}", job, f"policy-{policy:02}", (site, vault), began, found)


def _record(
    name: str, job: Job, policy: str, at: tuple[SiteName, VaultName], began: datetime, found: Result
) -> RunRecord:
    return RunRecord(
        id=name,
        job=job,
        tenant=_TENANT,
        policy=PolicyName(policy),
        site=at[0],
        vault=at[1],
        settings_hash="0" * 64,
        state=RunState.SUCCEEDED,
        owner=_OWNER,
        started_at=began,
        finished_at=began,
        result=found,
        usage=Usage(seconds=8.5, cpu_seconds=12.5, peak_memory=200 << 20),
        tool="restic 0.14.0",
    )


def _points(backup: RunRecord, now: datetime) -> Iterator[RecoveryPoint]:
    origin = sha256(backup.id.encode()).hexdigest()
    for site, vault in (_PRIMARY, _SECONDARY):
        gone = backup.started_at < now - timedelta(days=_KEPT_DAYS)
        yield RecoveryPoint(
            snapshot=origin if vault == "primary" else sha256(origin.encode()).hexdigest(),
            origin=origin,
            tenant=_TENANT,
            policy=backup.policy,
            site=site,
            vault=vault,
            run=backup.id,
            time=backup.started_at,
            tree=sha256(b"tree").hexdigest(),
            seen_at=backup.started_at,
            gone_at=now if gone else None,
        )

"""What happened, as values: runs, their states and allowed transitions, what each kind of run found out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from jobs.failure import Failure
from jobs.policy import PolicyName, SiteName, TenantName, VaultName


class Job(StrEnum):
    """The verbs that leave a run behind."""

    BACKUP = "backup"
    REPLICATE = "replicate"
    AUDIT = "audit"
    CHECK = "check"
    RESTORE_TEST = "restore-test"
    RETENTION = "retention"
    RESTORE = "restore"
    REPORT = "report"


# Made for one policy, they speak for every policy of the tenant in that vault: what they look at is the repository.
OF_REPOSITORY: Final = frozenset({Job.AUDIT, Job.CHECK})


class RunState(StrEnum):
    """`running` is the only open state; all others are final, but for what recovery may still find out."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"
    BLOCKED = "blocked"
    INTERRUPTED = "interrupted"


TRANSITIONS: Final[Mapping[RunState, frozenset[RunState]]] = MappingProxyType(
    {
        RunState.RUNNING: frozenset(
            {RunState.SUCCEEDED, RunState.PARTIAL, RunState.FAILED, RunState.BLOCKED, RunState.INTERRUPTED}
        ),
        RunState.SUCCEEDED: frozenset(),
        RunState.PARTIAL: frozenset(),
        RunState.FAILED: frozenset(),
        RunState.SKIPPED: frozenset(),
        RunState.BLOCKED: frozenset(),
        RunState.INTERRUPTED: frozenset(),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupResult:
    """What a backup stored. Bytes and counts are those of the manifest, which we took ourselves."""

    kind: Literal["backup"] = "backup"
    snapshot: str = ""
    manifest_snapshot: str = ""
    snapshot_time: datetime | None = None
    files: int = 0
    bytes: int = 0
    bytes_hashed: int = 0  # read again by us, because new or changed since the manifest before
    bytes_added: int = 0  # what restic stored anew of the source, after deduplication and before compression
    changed: tuple[str, ...] = ()  # changed while being backed up (the first hundred names)
    changed_count: int = 0
    unreadable: tuple[str, ...] = ()  # the first hundred names
    unreadable_count: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicateResult:
    """What a copy brought over, and the parity of the two sites afterwards.

    `copied` and `already_there` count recovery points; `missing_after` and `differing` count snapshots, manifests too.
    """

    kind: Literal["replicate"] = "replicate"
    copied: int = 0
    already_there: int = 0
    missing_after: int = 0
    differing: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditResult:
    """What reading every stored file found, without the tenant's password: each is named by the SHA-256 of its bytes.

    `control` is whether a bit that was flipped in a scratch copy of one of them was seen; without that it is invalid.
    """

    kind: Literal["audit"] = "audit"
    files: int = 0  # that were read, sound and damaged
    bytes: int = 0
    damaged: int = 0  # whose bytes are not what their names say, that could not be read, or that are missing
    findings: tuple[str, ...] = ()  # the first hundred of these, each beginning with the file's name
    vanished: int = 0  # listed and then gone, or still being written: somebody was at work there, which is no damage
    passed_over: int = 0  # other names than a repository's: left-overs of cut writes, and strangers
    control: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """restic's own check: errors it counted, and what share of the data it was told to read."""

    kind: Literal["check"] = "check"
    read_data: str = "none"
    errors: int = 0
    findings: tuple[str, ...] = ()  # the first hundred lines


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoreTestResult:
    """One snapshot restored to scratch and compared with the manifest taken at the source."""

    kind: Literal["restore-test"] = "restore-test"
    snapshot: str = ""
    snapshot_time: datetime | None = None
    files_compared: int = 0
    bytes_compared: int = 0
    differences: int = 0
    findings: tuple[str, ...] = ()  # the first hundred differences, in words
    changed: int = 0  # files that were changing while backed up: present, but their bytes prove nothing
    not_compared: int = 0  # sockets, devices and pipes
    seconds: float = 0.0  # of the restore alone; what RTO is compared with


@dataclass(frozen=True, kw_only=True, slots=True)
class RetentionResult:
    """How many recovery points were kept and removed; `removed` names the snapshots of data, not of manifests.

    `intended` alone is on record of a retention that is under way or broke off: what it had set out to remove.
    """

    kind: Literal["retention"] = "retention"
    kept: int = 0
    removed: tuple[str, ...] = ()
    intended: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoreResult:
    """What a person's restore brought back, and where to."""

    kind: Literal["restore"] = "restore"
    snapshot: str = ""
    snapshot_time: datetime | None = None
    target: str = ""
    files: int = 0
    bytes: int = 0
    overwritten: int = 0
    verified: int = 0  # files whose SHA-256 was found equal to the manifest's


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportFile:
    """A file as it was written: whoever holds it can see that it is the one on record."""

    name: str
    bytes: int
    sha256: str  # 64 hex digits


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportResult:
    """The report of a period, as files in a folder. `kept` are the names that older ones of the same name have now."""

    kind: Literal["report"] = "report"
    period: str = ""
    folder: str = ""
    files: tuple[ReportFile, ...] = ()
    kept: tuple[str, ...] = ()


Result = (
    BackupResult
    | ReplicateResult
    | AuditResult
    | CheckResult
    | RestoreTestResult
    | RetentionResult
    | RestoreResult
    | ReportResult
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What the tool processes of one run needed, summed (CPU) or at most (memory)."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0  # bytes


NOBODY: Final = 0  # the process id of an owner who is gone for certain: no process of ours has it


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """Who runs it: enough to tell a dead owner from a living one, also after a reboot or a reused process id."""

    host: str
    boot: str  # of the kernel, and which of its process namespaces the process id counts in
    pid: int
    started: str  # the process's start time, in the kernel's clock ticks


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """Who may make slots and start runs. `term` grows with every owner, `beat` with every sign of life of one."""

    owner: Owner
    term: int
    beat: int
    taken_at: datetime
    beaten_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One attempt, as the ledger remembers it. `vault` is where it acted; `source_vault` where a copy came from."""

    id: str
    job: Job
    tenant: TenantName
    policy: PolicyName
    site: SiteName
    vault: VaultName
    source_vault: VaultName | None = None
    settings_hash: str
    state: RunState
    owner: Owner
    started_at: datetime
    finished_at: datetime | None = None
    failure: Failure | None = None
    note: str = ""
    result: Result | None = None
    usage: Usage = field(default_factory=Usage)
    tool: str = ""  # "restic 0.14.0"
    slot: str | None = None  # the slot it is an attempt at; None when a person asked


@dataclass(frozen=True, kw_only=True, slots=True)
class RecoveryPoint:
    """A data snapshot that was seen in a vault. `gone_at` is when a listing first lacked it."""

    snapshot: str
    origin: str
    tenant: TenantName
    policy: PolicyName
    site: SiteName
    vault: VaultName
    run: str
    time: datetime
    tree: str
    seen_at: datetime  # first seen there: a copy's moment of arrival
    gone_at: datetime | None = None
    complete: bool = True  # False when its backup was partial


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownRepository:
    """A repository that was seen: what its `config` file hashed to, so that no other one is ever taken for it."""

    tenant: TenantName
    vault: VaultName
    config_sha256: str
    first_seen_at: datetime

    @property
    def key(self) -> tuple[TenantName, VaultName]:
        """What it is known by: one tenant has one repository in one vault."""
        return (self.tenant, self.vault)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a step ended; what the executor writes into the ledger."""

    state: RunState
    failure: Failure | None = None
    note: str = ""
    result: Result | None = None
    usage: Usage = field(default_factory=Usage)

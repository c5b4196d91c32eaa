"""What the operator promised, as values: tenants, sources, retention, objectives, policies. Valid from birth."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import NewType

from jobs.schedule import Schedule
from jobs.window import Window

TenantName = NewType("TenantName", str)
VaultName = NewType("VaultName", str)
SiteName = NewType("SiteName", str)
PolicyName = NewType("PolicyName", str)


@dataclass(frozen=True, kw_only=True, slots=True)
class Paths:
    """Files and folders of this machine. `exclude` holds restic's exclude patterns (see jobs/patterns.py)."""

    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    one_file_system: bool = False

    def __post_init__(self) -> None:
        if not self.paths or not all(path.startswith("/") for path in self.paths):
            raise ValueError("a source needs at least one path, and every path must be absolute")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sqlite:
    """A SQLite database, copied through SQLite's backup API so that a live one is consistent."""

    path: str

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise ValueError("the database's path must be absolute")


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """What a command writes to standard output, stored as `/filename`. Exit status 0 alone is success."""

    command: tuple[str, ...]
    filename: str

    def __post_init__(self) -> None:
        if not self.command:
            raise ValueError("the command is empty")
        if not self.filename or "/" in self.filename or self.filename in {".", ".."}:
            raise ValueError("filename must be a plain name without a slash")


@dataclass(frozen=True, kw_only=True, slots=True)
class Own:
    """Tandem's own ledger and settings files, so that a lost orchestrator can be brought back. No secret is in it."""


Source = Paths | Sqlite | Command | Own


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """How many recovery points to keep, by restic's buckets; `minimum` is never gone below, whatever the rest says."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    minimum: int = 3

    def __post_init__(self) -> None:
        counts = (self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly)
        if min(counts) < 0 or self.minimum < 1:
            raise ValueError("counts are 0 or more, and the minimum is 1 or more")
        if not any(counts):
            raise ValueError("a retention that keeps nothing would delete every recovery point")


@dataclass(frozen=True, kw_only=True, slots=True)
class Objectives:
    """What is promised. None means nothing was promised, and the report says so."""

    rpo: timedelta | None = None
    rto: timedelta | None = None
    replica_lag: timedelta | None = None
    audit_age: timedelta | None = None
    check_age: timedelta | None = None
    restore_test_age: timedelta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Timetable:
    """When each job is due by itself. None: only by hand. `after backup`: whenever the backup is, and after it."""

    backup: Schedule | None = None
    replicate: Schedule | None = None
    audit: Schedule | None = None
    check: Schedule | None = None
    restore_test: Schedule | None = None
    retention: Schedule | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """One tenant's source, where it is kept, and what is promised of it."""

    name: PolicyName
    tenant: TenantName
    source: Source
    vault: VaultName
    site: SiteName
    replica: VaultName | None = None
    replica_site: SiteName | None = None
    retention: Retention | None = None
    objectives: Objectives = field(default_factory=Objectives)
    read_data: str = "100%"  # share of pack data that `check` reads: "none", "100%", "10%", "1/4", "500M"
    timetable: Timetable = field(default_factory=Timetable)
    zone: str = "UTC"  # IANA name: the wall clocks that timetable and window mean
    window: Window | None = None  # outside it nothing of this policy starts by itself
    splay: timedelta = timedelta(0)
    catch_up: timedelta | None = None  # how late a slot may start; None: until its successor is due
    settings_hash: str = ""  # SHA-256 of the policy's effective settings, so that a past figure can name its rule

    def __post_init__(self) -> None:
        if (self.replica is None) != (self.replica_site is None):
            raise ValueError("a replica needs a vault and that vault's site")
        if self.replica == self.vault:
            raise ValueError("the replica must be in another vault")

    @property
    def is_audited(self) -> bool:
        """Whether its copies are to be audited: it says when, or how long ago it may be."""
        return self.timetable.audit is not None or self.objectives.audit_age is not None

    @property
    def places(self) -> tuple[tuple[SiteName, VaultName], ...]:
        """Where the policy's recovery points must be: (site, vault), the primary first."""
        first = ((self.site, self.vault),)
        if self.replica is None or self.replica_site is None:
            return first
        return (*first, (self.replica_site, self.replica))

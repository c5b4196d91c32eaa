"""The tables of settings.toml: every key, its kind, its built-in default. What takes two tables is in rules.py.

Policies and their defaults have one shape, all of it optional: what is required is judged after inheritance.
Paths are absolute by the time they are validated (paths.py).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from pydantic import ConfigDict, Field
from pydantic import model_validator as after_all

from orchestrator.settings.fields import (
    AtLeastOne,
    Copying,
    Count,
    Duration,
    Filename,
    Flag,
    Language,
    LocalPath,
    Memory,
    Name,
    OnlyTrue,
    Share,
    Text,
    Texts,
    Zone,
)
from orchestrator.settings.moments import Hours, Moment, Moments, Pause
from orchestrator.settings.references import Reference, State, Table
from orchestrator.settings.unattended import LedgerTable, NotifyTable, ReportTable, ServeTable
from orchestrator.settings.vaults import VaultTable


class ServiceTable(Table):
    """The service as a whole."""

    name: Text = Field(description="Who runs the service, as reports call it")
    timezone: Zone = Field(default="UTC", description="IANA zone of days and months in reports")
    language: Language = Field(default="en", description="Language of reports")
    state: State = Field(
        default="sqlite:///var/tandem.db",
        description="The ledger: sqlite:///FILE, postgresql+psycopg://… without a password, or a secret reference",
    )
    workdir: LocalPath = Field(default="var", description="Folder for caches, scratch space and reports")
    host: Text | None = Field(default=None, description="Host name written into snapshots; this machine's when absent")
    restic: Text = Field(default="restic", description="The restic program: a name on PATH, or a path")


class LimitsTable(Table):
    """How many runs at once, how much memory for one, and when one is given up."""

    runs: AtLeastOne = Field(default=2, description="Most runs that `serve` has under way at once")
    runs_per_site: AtLeastOne | None = Field(default=None, description="Most of them at one site")
    runs_per_vault: AtLeastOne | None = Field(default=None, description="Most of them in one vault")
    runs_per_host: AtLeastOne | None = Field(default=None, description="Most of them from one host")
    memory: Memory | None = Field(
        default=None,
        description="Memory that one restic tries to do with (GOMEMLIMIT); beyond half as much again it is ended",
    )
    gentle: Flag = Field(default=False, description="restic gives way to others in CPU and disk (nice 10, ionice)")

    deadline: Duration = Field(default=timedelta(hours=24), description="Longest time for one run of restic")
    no_progress: Duration = Field(
        default=timedelta(minutes=30), description="Longest time for one run of restic without progress"
    )

    @after_all(mode="after")
    def _in_order(self) -> LimitsTable:
        if {"deadline", "no_progress"} <= self.model_fields_set and self.no_progress > self.deadline:
            raise ValueError("no_progress is longer than deadline, so it would never be reached")
        return self


class SiteTable(Table):
    """A data center."""

    title: Text = Field(description="The site's name in reports")


class TenantTable(Table):
    """An administration whose data is kept under its own password."""

    title: Text = Field(description="The tenant's name in reports")
    password: Reference = Field(description="The password of the tenant's repositories, by reference")


class SqliteTable(Table):
    """A SQLite database."""

    path: LocalPath = Field(description="The database's file")


class CommandTable(Table):
    """A command whose output is stored."""

    run: Texts = Field(description="The program and its arguments; no shell in between")
    filename: Filename = Field(description="The name its output is stored under")


_SOURCES: Final = ("paths", "sqlite", "command", "tandem")


class SourceTable(Table):
    """What is backed up. Exactly one of paths, sqlite, command, tandem."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [kind]} for kind in _SOURCES]})

    paths: Annotated[tuple[LocalPath, ...], Field(min_length=1)] | None = Field(
        default=None, description="Files and folders"
    )
    exclude: tuple[Text, ...] = Field(default=(), description="restic's exclude patterns; only with paths")
    one_file_system: Flag = Field(default=False, description="Stay on the file systems of the paths; only with paths")
    sqlite: SqliteTable | None = Field(default=None, description="A SQLite database, also while it is written to")
    command: CommandTable | None = Field(default=None, description="A command's output")
    tandem: OnlyTrue | None = Field(default=None, description="Tandem itself: its ledger and its settings files")

    @after_all(mode="after")
    def _one_kind(self) -> SourceTable:
        kinds = self.model_fields_set & {*_SOURCES}
        if len(kinds) != 1:
            raise ValueError(f"must have exactly one of {', '.join(_SOURCES)}")
        if kinds != {"paths"} and (idle := self.model_fields_set - kinds):
            raise ValueError(f"{' and '.join(sorted(idle))} can only stand beside paths")
        return self


class RetentionTable(Table):
    """How many recovery points to keep."""

    last: Count = Field(default=0, description="The newest n")
    hourly: Count = Field(default=0, description="The newest of each of n hours")
    daily: Count = Field(default=0, description="The newest of each of n days")
    weekly: Count = Field(default=0, description="The newest of each of n weeks")
    monthly: Count = Field(default=0, description="The newest of each of n months")
    yearly: Count = Field(default=0, description="The newest of each of n years")
    minimum: Annotated[int, Field(strict=True, ge=1)] = Field(
        default=3, description="Never fewer than this, whatever the rest says"
    )


class ReplicateTable(Table):
    """The second copy."""

    to: Text | None = Field(default=None, description="The vault of the second copy, at another site")
    mode: Copying = Field(default="copy", description="How: restic copy")
    schedule: Moment | None = Field(
        default=None, description='When: "after backup" (so too when absent), or moments of its own'
    )


class VerifyTable(Table):
    """How the copies are proven."""

    read_data: Share = Field(
        default="100%",
        description='Share of the data that a check reads: "none", "100%", "10%", "1/4" or a size such as "500M"',
    )
    audit: Moment | None = Field(
        default=None, description="When every stored file is read and compared with its name; absent: only by hand"
    )
    check: Moment | None = Field(default=None, description="When the copies are checked; absent: only by hand")
    restore_test: Moment | None = Field(default=None, description="When restores are tested; absent: only by hand")


class ObjectivesTable(Table):
    """What is promised. Absent means not promised."""

    rpo: Duration | None = Field(default=None, description="Most age of the newest recovery point")
    rto: Duration | None = Field(default=None, description="Most time for a restore")
    replica_lag: Duration | None = Field(
        default=None, description="Most time until a recovery point is at the second site too"
    )
    audit_age: Duration | None = Field(default=None, description="Most time since the last audit")
    check_age: Duration | None = Field(default=None, description="Most time since the last check")
    restore_test_age: Duration | None = Field(default=None, description="Most time since the last restore test")


class PolicyDefaultsTable(Table):
    """What policies inherit; tables are merged key by key."""

    tenant: Text | None = Field(default=None, description="Whose data it is")
    vault: Text | None = Field(default=None, description="The vault of the first copy")
    schedule: Moments | None = Field(default=None, description="When the backup is due; absent: only by hand")
    timezone: Zone | None = Field(default=None, description="IANA zone of the schedules and the window; the service's")
    window: Hours | None = Field(default=None, description="Times of day outside which nothing starts by itself")
    splay: Pause = Field(
        default=timedelta(0), description="Each due moment is put off by up to this, always by the same for it"
    )
    catch_up: Duration | None = Field(
        default=None, description="How late a job may still start; absent: until it is due again"
    )
    retention: RetentionTable | None = Field(
        default=None, description="How many recovery points to keep; absent keeps all"
    )
    retention_schedule: Moment | None = Field(
        default=None,
        description='When retention is applied: "after backup" (so too when absent), or moments of its own',
    )
    replicate: ReplicateTable | None = Field(default=None, description="The second copy; absent makes none")
    verify: VerifyTable = Field(default=VerifyTable(), description="How the copies are proven")
    objectives: ObjectivesTable = Field(default=ObjectivesTable(), description="What is promised")

    @property
    def replica(self) -> str | None:
        """The vault of the second copy."""
        return None if self.replicate is None else self.replicate.to


class PolicyTable(PolicyDefaultsTable):
    """One tenant's source, where it is kept, and what is promised of it."""

    source: SourceTable | None = Field(default=None, description="What is backed up")


class DefaultsTable(Table):
    """Defaults, by what they are for."""

    policy: PolicyDefaultsTable = Field(default=PolicyDefaultsTable(), description="Inherited by every policy")


class SettingsTable(Table):
    """Tandem's settings."""

    include: tuple[Text, ...] = Field(
        default=(), description="More settings files: names or patterns relative to this file"
    )
    service: ServiceTable
    limits: LimitsTable = LimitsTable()
    sites: dict[Name, SiteTable] = Field(default_factory=dict)
    tenants: dict[Name, TenantTable] = Field(default_factory=dict)
    vaults: dict[Name, VaultTable] = Field(default_factory=dict)
    defaults: DefaultsTable = DefaultsTable()
    policies: dict[Name, PolicyTable] = Field(default_factory=dict)
    ledger: LedgerTable = LedgerTable()
    serve: ServeTable = ServeTable()
    notify: dict[Name, NotifyTable] = Field(default_factory=dict)
    reports: dict[Name, ReportTable] = Field(default_factory=dict)

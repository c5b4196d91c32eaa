"""The tables of settings.toml: every key, its kind, its built-in default. What takes two tables is in rules.py.

Policies and their defaults have one shape, all of it optional: what is required is judged after inheritance.
Paths are absolute by the time they are validated (paths.py).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field
from pydantic import model_validator as after_all

from orchestrator.settings.fields import (
    AtLeastOne,
    Bucket,
    Copying,
    Count,
    Duration,
    Endpoint,
    Filename,
    Flag,
    Host,
    Language,
    LocalPath,
    Memory,
    Name,
    OnlyTrue,
    Prefix,
    Rate,
    ServerPath,
    Share,
    Text,
    Texts,
    User,
    WebAddress,
    Zone,
)
from orchestrator.settings.moments import Hours, Moment, Moments, Pause
from orchestrator.settings.references import KeyFile, Reference, State, Table
from orchestrator.settings.unattended import NotifyTable, ServeTable


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


class LimitTable(Table):
    """How much of the link a vault may use, and when."""

    upload: Rate | None = Field(default=None, description="Most bytes a second towards the vault")
    download: Rate | None = Field(default=None, description="Most bytes a second from the vault")
    between: Hours | None = Field(
        default=None, description="Times of day between which the limit holds; absent: always"
    )

    @after_all(mode="after")
    def _limits_something(self) -> LimitTable:
        if self.between is not None and self.upload is None and self.download is None:
            raise ValueError("between alone limits nothing; add upload or download")
        return self


class AnyVaultTable(Table):
    """What every vault has."""

    site: Text = Field(description="The site the vault stands at")
    limit: LimitTable = Field(default=LimitTable(), description="How much of the link the vault may use")


class LocalTable(AnyVaultTable):
    """A folder of this machine."""

    kind: Literal["local"]
    path: LocalPath = Field(description="The folder that holds the repositories")


class SftpTable(AnyVaultTable):
    """A folder of another machine, over SSH."""

    kind: Literal["sftp"]
    host: Host = Field(description="The server's name or address")
    port: Annotated[int, Field(strict=True, ge=1, le=65_535)] = Field(default=22, description="The server's SSH port")
    user: User = Field(description="The user to log in as")
    path: ServerPath = Field(
        description="The folder on the server; relative to the user's home unless it begins with a slash"
    )
    identity: KeyFile = Field(description="The private key to log in with")
    known_hosts: LocalPath = Field(description="The file with the server's host key; it is always verified")


class S3Table(AnyVaultTable):
    """A bucket, or a part of one, of an S3 server."""

    kind: Literal["s3"]
    endpoint: Endpoint = Field(description="The server: https://HOST[:PORT]")
    bucket: Bucket = Field(description="The bucket; it must exist")
    prefix: Prefix = Field(default="", description="Path inside the bucket")
    region: Text = Field(default="us-east-1", description="The region to sign requests for")
    credentials: Reference = Field(description="The text ACCESS_KEY:SECRET_KEY, by reference")


class RestTable(AnyVaultTable):
    """A restic REST server."""

    kind: Literal["rest"]
    url: WebAddress = Field(description="The server: https://HOST[:PORT][/PATH]")
    credentials: Reference | None = Field(default=None, description="The text USER:PASSWORD, by reference")
    ca: LocalPath | None = Field(default=None, description="Certificates to trust instead of the system's (PEM)")

    @after_all(mode="after")
    def _certificates_only_with_tls(self) -> RestTable:
        if self.ca is not None and not self.url.startswith("https:"):
            raise ValueError("ca has no meaning unless url begins with https:")
        return self


VaultTable = Annotated[LocalTable | SftpTable | S3Table | RestTable, Field(discriminator="kind")]


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
    check: Moment | None = Field(default=None, description="When the copies are checked; absent: only by hand")
    restore_test: Moment | None = Field(default=None, description="When restores are tested; absent: only by hand")


class ObjectivesTable(Table):
    """What is promised. Absent means not promised."""

    rpo: Duration | None = Field(default=None, description="Most age of the newest recovery point")
    rto: Duration | None = Field(default=None, description="Most time for a restore")
    replica_lag: Duration | None = Field(
        default=None, description="Most time until a recovery point is at the second site too"
    )
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
    serve: ServeTable = ServeTable()
    notify: dict[Name, NotifyTable] = Field(default_factory=dict)

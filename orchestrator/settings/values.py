"""The settings as the rest of Tandem sees them: complete, checked, absolute, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar
from zoneinfo import ZoneInfo

from jobs.dispatch import Concurrency
from jobs.event import Topic
from jobs.policy import Policy, SiteName, TenantName, VaultName
from jobs.reporting import Reporting
from jobs.schedule import Schedule
from jobs.window import Window
from orchestrator.settings.secrets import SecretRef


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """The service as a whole. `state` is the ledger's URL or where that is; `host` is None for this machine's name."""

    name: str
    zone: ZoneInfo
    language: str
    state: str | SecretRef
    workdir: Path
    host: str | None
    restic: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """When one run of restic is given up, how many there are at once, and what one may take.

    `memory` is in bytes, None for no limit; `gentle` lets restic give way to others in CPU and disk.
    """

    deadline: timedelta
    no_progress: timedelta
    concurrency: Concurrency = field(default_factory=Concurrency)
    memory: int | None = None
    gentle: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A data center."""

    name: SiteName
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Tenant:
    """An administration whose data is kept under its own password."""

    name: TenantName
    title: str
    password: SecretRef


@dataclass(frozen=True, kw_only=True, slots=True)
class AnyVaultSettings:
    """What every vault has. Limits are bytes a second, None for no limit; they hold while `limit_between` is open."""

    kind: ClassVar[str]
    name: VaultName
    site: SiteName
    limit_upload: int | None = None
    limit_download: int | None = None
    limit_between: Window | None = None  # by the service's wall clocks; None: always


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalVaultSettings(AnyVaultSettings):
    """A folder of this machine."""

    kind: ClassVar[str] = "local"
    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class SftpVaultSettings(AnyVaultSettings):
    """A folder of another machine. A `path` without a slash at its start is below the user's home there."""

    kind: ClassVar[str] = "sftp"
    host: str
    port: int
    user: str
    path: str
    identity: Path  # a private key; see secrets.require_private
    known_hosts: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class S3VaultSettings(AnyVaultSettings):
    """A bucket, or the part of it below `prefix`. `credentials` lead to ACCESS_KEY:SECRET_KEY."""

    kind: ClassVar[str] = "s3"
    endpoint: str
    bucket: str
    prefix: str
    region: str
    credentials: SecretRef


@dataclass(frozen=True, kw_only=True, slots=True)
class RestVaultSettings(AnyVaultSettings):
    """A restic REST server; no slash ends `url`. `credentials` lead to USER:PASSWORD; `ca` is a PEM file."""

    kind: ClassVar[str] = "rest"
    url: str
    credentials: SecretRef | None = None
    ca: Path | None = None


VaultSettings = LocalVaultSettings | SftpVaultSettings | S3VaultSettings | RestVaultSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Serve:
    """What `tandem serve` listens at, writes, and whom it tells that it lives. None: not at all.

    `listen` is host and port (0: a free one); `log` is "text", "json" or "journal", None for what suits the place.
    """

    listen: tuple[str, int] | None = None
    textfile: Path | None = None
    dead_man: str | SecretRef | None = None
    dead_man_every: timedelta = timedelta(minutes=5)
    log: str | None = None
    shutdown_grace: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """Who is told of what. `tenants` None: of all, and of what belongs to none. `digest` has moments of its own."""

    name: str
    urls: tuple[str | SecretRef, ...]
    on: frozenset[Topic]
    tenants: frozenset[TenantName] | None = None
    repeat: timedelta = timedelta(hours=24)
    digest: Schedule | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Everything the operator said. `file` and what it `included` are absolute; `policies` are in the written order.

    `reports` are those that are made by themselves; none is called like a policy.
    """

    file: Path
    service: Service
    limits: Limits
    sites: Mapping[SiteName, Site]
    tenants: Mapping[TenantName, Tenant]
    vaults: Mapping[VaultName, VaultSettings]
    policies: tuple[Policy, ...]
    keep: timedelta = timedelta(days=3660)  # records of what was due, done and told
    serve: Serve = Serve()
    notify: tuple[Channel, ...] = ()
    reports: tuple[Reporting, ...] = ()
    included: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for name in ("sites", "tenants", "vaults"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def scheduled(self) -> tuple[Policy | Reporting, ...]:
        """Whatever slots and runs can be of."""
        return (*self.policies, *self.reports)

"""The settings as the rest of Tandem sees them: complete, checked, absolute, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar
from zoneinfo import ZoneInfo

from jobs.policy import Policy, SiteName, TenantName, VaultName
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
    """When one run of restic is given up."""

    deadline: timedelta
    no_progress: timedelta


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
    """What every vault has. Limits are bytes a second, None for no limit."""

    kind: ClassVar[str]
    name: VaultName
    site: SiteName
    limit_upload: int | None = None
    limit_download: int | None = None


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
class Settings:
    """Everything the operator said. `file` is absolute; `policies` are in the order in which they were written."""

    file: Path
    service: Service
    limits: Limits
    sites: Mapping[SiteName, Site]
    tenants: Mapping[TenantName, Tenant]
    vaults: Mapping[VaultName, VaultSettings]
    policies: tuple[Policy, ...]

    def __post_init__(self) -> None:
        for name in ("sites", "tenants", "vaults"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

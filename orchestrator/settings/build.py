"""From validated tables to the settings' values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypedDict
from zoneinfo import ZoneInfo

from jobs.policy import (
    Command,
    Objectives,
    Paths,
    Policy,
    PolicyName,
    Retention,
    SiteName,
    Source,
    Sqlite,
    TenantName,
    VaultName,
)
from orchestrator.settings import model, values
from orchestrator.settings.fingerprint import fingerprint
from orchestrator.settings.inherit import effective
from orchestrator.settings.secrets import SecretCommand, SecretEnvironment, SecretFile, SecretRef


def build(file: Path, table: model.SettingsTable) -> values.Settings:
    """The settings' values; the table has passed every rule."""
    vaults = {VaultName(name): vault_of(name, vault) for name, vault in table.vaults.items()}
    defaults = table.defaults.policy
    return values.Settings(
        file=file.absolute(),
        service=_service(table.service),
        limits=values.Limits(deadline=table.limits.deadline, no_progress=table.limits.no_progress),
        sites={
            SiteName(name): values.Site(name=SiteName(name), title=site.title) for name, site in table.sites.items()
        },
        tenants={TenantName(name): _tenant(name, tenant) for name, tenant in table.tenants.items()},
        vaults=vaults,
        policies=tuple(_policy(name, effective(policy, defaults), vaults) for name, policy in table.policies.items()),
    )


def vault_of(name: str, table: model.VaultTable) -> values.VaultSettings:
    """A vault's values."""
    place = _Place(
        name=VaultName(name),
        site=SiteName(table.site),
        limit_upload=table.limit.upload,
        limit_download=table.limit.download,
    )
    match table:
        case model.LocalTable():
            return values.LocalVaultSettings(**place, path=Path(table.path))
        case model.SftpTable():
            return _sftp(place, table)
        case model.S3Table():
            return _s3(place, table)
        case model.RestTable():
            return _rest(place, table)


def reference(table: model.SecretTable) -> SecretRef:
    """Where a secret is."""
    if table.file is not None:
        return SecretFile(path=Path(table.file))
    if table.env is not None:
        return SecretEnvironment(variable=table.env)
    return SecretCommand(command=table.command or ())


def retention_of(table: model.RetentionTable | None) -> Retention | None:
    """A policy's retention. Raises ValueError when it would keep nothing."""
    return None if table is None else Retention(**dict(table))


def _service(table: model.ServiceTable) -> values.Service:
    return values.Service(
        name=table.name,
        zone=ZoneInfo(table.timezone),
        language=table.language,
        state=table.state if isinstance(table.state, str) else reference(table.state),
        workdir=Path(table.workdir),
        host=table.host,
        restic=table.restic,
    )


def _tenant(name: str, table: model.TenantTable) -> values.Tenant:
    return values.Tenant(name=TenantName(name), title=table.title, password=reference(table.password))


class _Place(TypedDict):
    """What every vault has."""

    name: VaultName
    site: SiteName
    limit_upload: int | None
    limit_download: int | None


def _sftp(place: _Place, table: model.SftpTable) -> values.SftpVaultSettings:
    return values.SftpVaultSettings(
        **place,
        host=table.host,
        port=table.port,
        user=table.user,
        path=table.path,
        identity=Path(table.identity.file),
        known_hosts=Path(table.known_hosts),
    )


def _s3(place: _Place, table: model.S3Table) -> values.S3VaultSettings:
    return values.S3VaultSettings(
        **place,
        endpoint=table.endpoint,
        bucket=table.bucket,
        prefix=table.prefix,
        region=table.region,
        credentials=reference(table.credentials),
    )


def _rest(place: _Place, table: model.RestTable) -> values.RestVaultSettings:
    return values.RestVaultSettings(
        **place,
        url=table.url,
        credentials=None if table.credentials is None else reference(table.credentials),
        ca=None if table.ca is None else Path(table.ca),
    )


def _policy(name: str, table: model.PolicyTable, vaults: Mapping[VaultName, values.VaultSettings]) -> Policy:
    """A policy's values; rules.py has made sure that what is required is there."""
    vault, replica = VaultName(table.vault or ""), table.replicate and table.replicate.to
    policy = Policy(
        name=PolicyName(name),
        tenant=TenantName(table.tenant or ""),
        source=_source(table.source or model.SourceTable()),
        vault=vault,
        site=vaults[vault].site,
        replica=VaultName(replica) if replica else None,
        replica_site=vaults[VaultName(replica)].site if replica else None,
        retention=retention_of(table.retention),
        objectives=Objectives(**dict(table.objectives)),
        read_data=table.verify.read_data,
    )
    return replace(policy, settings_hash=fingerprint(policy))


def _source(table: model.SourceTable) -> Source:
    if table.sqlite is not None:
        return Sqlite(path=table.sqlite.path)
    if table.command is not None:
        return Command(command=table.command.run, filename=table.command.filename)
    return Paths(paths=table.paths or (), exclude=table.exclude, one_file_system=table.one_file_system)

"""From validated tables to the settings' values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TypedDict
from zoneinfo import ZoneInfo

from jobs.dispatch import Concurrency
from jobs.period import PeriodKind
from jobs.policy import (
    Command,
    Objectives,
    Own,
    Paths,
    Policy,
    PolicyName,
    Retention,
    SiteName,
    Source,
    Sqlite,
    TenantName,
    Timetable,
    VaultName,
)
from jobs.reporting import Form, Reporting, ReportKind
from jobs.window import Window
from orchestrator.settings import model, unattended, values
from orchestrator.settings.fingerprint import fingerprint, report_fingerprint
from orchestrator.settings.references import SecretTable
from orchestrator.settings.secrets import SecretCommand, SecretEnvironment, SecretFile, SecretRef
from orchestrator.settings.vaults import LocalTable, RestTable, S3Table, SftpTable, VaultTable


def build(file: Path, table: model.SettingsTable, policies: Mapping[str, model.PolicyTable]) -> values.Settings:
    """The settings' values; the tables have passed every rule, and the policies have what they inherit."""
    vaults = {VaultName(name): vault_of(name, vault) for name, vault in table.vaults.items()}
    return values.Settings(
        file=file.absolute(),
        service=_service(table.service),
        limits=_limits(table.limits),
        sites={
            SiteName(name): values.Site(name=SiteName(name), title=site.title) for name, site in table.sites.items()
        },
        tenants={TenantName(name): _tenant(name, tenant) for name, tenant in table.tenants.items()},
        vaults=vaults,
        policies=tuple(_policy(name, policy, table.service.timezone, vaults) for name, policy in policies.items()),
        keep=table.ledger.keep,
        serve=_serve(table.serve),
        notify=tuple(_channel(name, channel) for name, channel in table.notify.items()),
        reports=tuple(_reporting(name, report, table.service.timezone) for name, report in table.reports.items()),
    )


def vault_of(name: str, table: VaultTable) -> values.VaultSettings:
    """A vault's values."""
    place = _Place(
        name=VaultName(name),
        site=SiteName(table.site),
        limit_upload=table.limit.upload,
        limit_download=table.limit.download,
        limit_between=table.limit.between,
    )
    match table:
        case LocalTable():
            return values.LocalVaultSettings(**place, path=Path(table.path))
        case SftpTable():
            return _sftp(place, table)
        case S3Table():
            return _s3(place, table)
        case RestTable():
            return _rest(place, table)


def reference(table: SecretTable) -> SecretRef:
    """Where a secret is."""
    if table.file is not None:
        return SecretFile(path=Path(table.file))
    if table.env is not None:
        return SecretEnvironment(variable=table.env)
    return SecretCommand(command=table.command or ())


@lru_cache(maxsize=1024)  # as other values below: thousands of policies promise the same few things
def retention_of(table: model.RetentionTable | None) -> Retention | None:
    """A policy's retention. Raises ValueError when it would keep nothing."""
    return None if table is None else Retention(**dict(table))


def _text_or_reference(said: str | SecretTable) -> str | SecretRef:
    return said if isinstance(said, str) else reference(said)


def _limits(table: model.LimitsTable) -> values.Limits:
    at_once = Concurrency(
        runs=table.runs,
        per_site=table.runs_per_site,
        per_vault=table.runs_per_vault,
        per_host=table.runs_per_host,
    )
    return values.Limits(
        deadline=table.deadline,
        no_progress=table.no_progress,
        concurrency=at_once,
        memory=table.memory,
        gentle=table.gentle,
    )


def _serve(table: unattended.ServeTable) -> values.Serve:
    return values.Serve(
        listen=table.listen,
        textfile=None if table.textfile is None else Path(table.textfile),
        dead_man=None if table.dead_man is None else _text_or_reference(table.dead_man),
        dead_man_every=table.dead_man_every,
        log=table.log,
        shutdown_grace=table.shutdown_grace,
    )


def _channel(name: str, table: unattended.NotifyTable) -> values.Channel:
    return values.Channel(
        name=name,
        urls=tuple(map(_text_or_reference, table.urls)),
        on=frozenset(table.on),
        tenants=None if table.tenants is None else frozenset(map(TenantName, table.tenants)),
        repeat=table.repeat,
        digest=table.digest,
    )


def _reporting(name: str, table: unattended.ReportTable, zone: str) -> Reporting:
    reporting = Reporting(
        name=PolicyName(name),
        subject=ReportKind(table.kind),
        schedule=table.schedule,
        zone=table.timezone or zone,
        period=PeriodKind(table.period),
        tenant=None if table.tenant is None else TenantName(table.tenant),
        forms=tuple(map(Form, table.formats)),
        folder=table.folder,
        catch_up=table.catch_up,
    )
    return replace(reporting, settings_hash=report_fingerprint(reporting))


def _service(table: model.ServiceTable) -> values.Service:
    return values.Service(
        name=table.name,
        zone=ZoneInfo(table.timezone),
        language=table.language,
        state=_text_or_reference(table.state),
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
    limit_between: Window | None


def _sftp(place: _Place, table: SftpTable) -> values.SftpVaultSettings:
    return values.SftpVaultSettings(
        **place,
        host=table.host,
        port=table.port,
        user=table.user,
        path=table.path,
        identity=Path(table.identity.file),
        known_hosts=Path(table.known_hosts),
    )


def _s3(place: _Place, table: S3Table) -> values.S3VaultSettings:
    return values.S3VaultSettings(
        **place,
        endpoint=table.endpoint,
        bucket=table.bucket,
        prefix=table.prefix,
        region=table.region,
        credentials=reference(table.credentials),
    )


def _rest(place: _Place, table: RestTable) -> values.RestVaultSettings:
    return values.RestVaultSettings(
        **place,
        url=table.url,
        credentials=None if table.credentials is None else reference(table.credentials),
        ca=None if table.ca is None else Path(table.ca),
    )


def _policy(name: str, table: model.PolicyTable, zone: str, vaults: Mapping[VaultName, values.VaultSettings]) -> Policy:
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
        objectives=_objectives(table.objectives),
        read_data=table.verify.read_data,
        timetable=_timetable(table),
        zone=table.timezone or zone,
        window=table.window,
        splay=table.splay,
        catch_up=table.catch_up,
    )
    return replace(policy, settings_hash=fingerprint(policy))


@lru_cache(maxsize=1024)
def _objectives(table: model.ObjectivesTable) -> Objectives:
    return Objectives(**dict(table))


def _timetable(table: model.PolicyTable) -> Timetable:
    """When each job is due; inherit.py has filled in what follows the backup by itself."""
    return Timetable(
        backup=table.schedule,
        replicate=None if table.replicate is None else table.replicate.schedule,
        audit=table.verify.audit,
        check=table.verify.check,
        restore_test=table.verify.restore_test,
        retention=None if table.retention is None else table.retention_schedule,
    )


def _source(table: model.SourceTable) -> Source:
    if table.tandem:
        return Own()
    if table.sqlite is not None:
        return Sqlite(path=table.sqlite.path)
    if table.command is not None:
        return Command(command=table.command.run, filename=table.command.filename)
    return Paths(paths=table.paths or (), exclude=table.exclude, one_file_system=table.one_file_system)

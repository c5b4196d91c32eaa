"""The composition root: settings in, concrete adapters out. Nobody else knows which class serves which kind.

Adapters are imported where they are made: `tandem status` needs an address from here, and no restic.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, cast

from jobs.failure import FailureKind
from jobs.policy import TenantName, VaultName
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.settings import (
    LocalVaultSettings,
    RestVaultSettings,
    S3VaultSettings,
    Settings,
    SftpVaultSettings,
    VaultSettings,
)
from orchestrator.settings.secrets import (
    SecretEnvironment,
    SecretFile,
    SecretRef,
    references,
    require_private,
    resolve,
    resolve_pair,
)
from targets.errors import TargetError
from targets.secret import Secret

if TYPE_CHECKING:
    from orchestrator.work.tools import Tools
    from targets.ports import BackupEngine, Stop, Vault, Watch

_SECRET_COMMAND_TIMEOUT: Final = 60.0  # seconds: long enough for a person to unlock a password store


def tools(
    settings: Settings,
    ledger: Ledger,
    *,
    stop: Stop,
    watch: Callable[[str], Watch],
    clock: Clock | None = None,
    needs_restic: bool = True,
) -> Tools:
    """Everything one command needs to work; `clock` None: this machine's.

    Raises TargetError when restic is missing or too old; unless it `needs_restic`, only once it is used.
    """
    from orchestrator.work.tools import Tools
    from targets.process import Limits
    from targets.restic.engine import Restic

    workdir, caches = settings.service.workdir, _cache(settings.service.workdir)
    limits = Limits(
        deadline_seconds=settings.limits.deadline.total_seconds(),
        no_progress_seconds=settings.limits.no_progress.total_seconds(),
    )
    memory, gentle = settings.limits.memory, settings.limits.gentle
    clock = clock or Clock()

    def find() -> BackupEngine:
        return Restic.find(settings.service.restic, cache=caches, limits=limits, gentle=gentle, memory=memory)

    return Tools(
        engine=find() if needs_restic else cast("BackupEngine", _Later(find)),
        vaults=Vaults(settings, clock.now),
        password=_Passwords(settings),
        ledger=ledger,
        clock=clock,
        stop=stop,
        watch=watch,
        workdir=workdir,
        own=(workdir, *ledger.files),
        zone=settings.service.zone,
        limits=limits,
        withheld=frozenset(_secret_variables(settings)),
        settings_files=tuple(_settings_files(settings)),
        host=settings.service.host or platform.node(),
    )


class _Later:
    """restic, looked for when something is first asked of it: what needs none is done where there is none."""

    def __init__(self, find: Callable[[], BackupEngine]) -> None:
        self._find = cache(find)

    def __getattr__(self, name: str) -> object:
        return getattr(self._find(), name)


def _cache(workdir: Path) -> Path:
    """The folder of restic's cache. Raises TargetError TARGET_UNWRITABLE."""
    cache = workdir / "cache"
    try:
        workdir.mkdir(mode=0o700, parents=True, exist_ok=True)  # of its own: what parents=True makes is open to all
        cache.mkdir(mode=0o700, exist_ok=True)  # else `restic check` complains, and goes without
    except OSError as cause:
        message = f"{cause.strerror or cause}; [service] workdir must be a folder that can be written"
        raise TargetError("make", str(cache), FailureKind.TARGET_UNWRITABLE, message) from cause
    return cache


def _secret_variables(settings: Settings) -> Iterator[str]:
    """The environment variables that any secret of the settings is kept in, whoever's it is."""
    return (reference.variable for reference in _references(settings) if isinstance(reference, SecretEnvironment))


def _references(settings: Settings) -> Iterator[SecretRef]:
    """Every secret of the settings; a policy has none, and there may be thousands of them."""
    return references((settings.service, settings.tenants, settings.vaults, settings.serve, settings.notify))


def _settings_files(settings: Settings) -> Iterator[Path]:
    """The settings file and what it includes, but for what holds a secret as well: that is never copied anywhere."""
    secret = {reference.path.resolve() for reference in _references(settings) if isinstance(reference, SecretFile)}
    secret |= {
        identity.resolve() for vault in settings.vaults.values() if (identity := getattr(vault, "identity", None))
    }
    return (file for file in (settings.file, *settings.included) if file.resolve() not in secret)


def ledger_url(settings: Settings) -> str:
    """The ledger's address; a secret one is resolved here. Raises TargetError SECRET_UNAVAILABLE."""
    state = settings.service.state
    return state if isinstance(state, str) else secret(state, "the ledger's address").reveal()


def vaults(settings: Settings) -> Mapping[VaultName, Vault]:
    """The vaults alone. Asking for one raises TargetError where its secrets are not to be had."""
    return Vaults(settings, Clock().now)


def restic(settings: Settings) -> tuple[str, tuple[str, ...]]:
    """The installed restic's name and version, and what it cannot do yet. Raises TargetError; makes no folder."""
    from targets.process import Limits
    from targets.restic.engine import Restic
    from targets.restic.versions import Feature, can

    cache = settings.service.workdir / "cache"
    found = Restic.find(settings.service.restic, cache=cache, limits=Limits(deadline_seconds=60.0))
    return found.tool, tuple(feature.value for feature in Feature if not can(found.version, feature))


def secret(reference: SecretRef, name: str) -> Secret:
    """What a reference leads to; `name` says what it is for. Raises TargetError SECRET_UNAVAILABLE."""
    return resolve(reference, name, environment=os.environ, run=_output_of)


def _output_of(command: tuple[str, ...]) -> str:
    from targets.process import capture

    done = capture(command, environment=dict(os.environ), timeout=_SECRET_COMMAND_TIMEOUT)
    if done.code != 0:  # what it wrote until then may be half a secret, or an error's text
        raise TargetError("run", command[0], FailureKind.SECRET_UNAVAILABLE, f"it ended with exit status {done.code}")
    try:
        return done.stdout.decode()
    except UnicodeDecodeError:  # not the cause: it holds what was written, and so the secret
        message = "what it wrote is not UTF-8"
    raise TargetError("run", command[0], FailureKind.SECRET_UNAVAILABLE, message)


class _Rates(TypedDict):
    """What restic may send and receive, in bytes a second."""

    limit_upload: int | None
    limit_download: int | None


_NO_LIMIT: Final = _Rates(limit_upload=None, limit_download=None)


class _Passwords:
    """Each tenant's password, fetched once and only when it is needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[TenantName, Secret] = {}

    def __call__(self, tenant: TenantName) -> Secret:
        if tenant not in self._known:
            reference = self._settings.tenants[tenant].password
            self._known[tenant] = secret(reference, f"the password of tenant {tenant}")
        return self._known[tenant]


class Vaults(Mapping[VaultName, "Vault"]):
    """The vaults by name, each made on first use: one that a command does not touch cannot fail it.

    A limit that holds at times only is asked for by the time of asking; restic keeps it until it ends.
    """

    def __init__(self, settings: Settings, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._now = now
        self._made: dict[tuple[VaultName, bool], Vault] = {}

    def __getitem__(self, name: VaultName) -> Vault:
        vault, service = self._settings.vaults[name], self._settings.service
        between = vault.limit_between
        holds = between is None or between.is_open(self._now(), service.zone.key)
        if (name, holds) not in self._made:
            self._made[name, holds] = _vault(vault, service.workdir, _rates(vault) if holds else _NO_LIMIT)
        return self._made[name, holds]

    def __iter__(self) -> Iterator[VaultName]:
        return iter(self._settings.vaults)

    def __len__(self) -> int:
        return len(self._settings.vaults)


def _rates(vault: VaultSettings) -> _Rates:
    return _Rates(limit_upload=vault.limit_upload, limit_download=vault.limit_download)


def _vault(vault: VaultSettings, workdir: Path, limits: _Rates) -> Vault:
    """The adapter of a vault's kind; its library is imported only now, because S3's alone costs 0.2 s."""
    match vault:
        case LocalVaultSettings():
            from targets.vaults.local import LocalVault

            return LocalVault(vault.name, vault.path, **limits)
        case SftpVaultSettings():
            from targets.vaults.sftp import SftpVault

            require_private(vault.identity, f"the key of vault {vault.name}")
            return SftpVault(
                vault.name,
                vault.host,
                vault.port,
                vault.user,
                vault.path,
                vault.identity,
                vault.known_hosts,
                workdir,
                **limits,
            )
        case S3VaultSettings():
            from targets.vaults.s3 import S3Vault

            key, secret = _pair(vault.credentials, vault.name)
            return S3Vault(vault.name, vault.endpoint, vault.bucket, vault.prefix, vault.region, key, secret, **limits)
        case RestVaultSettings():
            from targets.vaults.rest import RestVault

            if vault.credentials is None:
                return RestVault(vault.name, vault.url, None, None, vault.ca, **limits)
            user, password = _pair(vault.credentials, vault.name)
            return RestVault(vault.name, vault.url, user.reveal(), password, vault.ca, **limits)


def _pair(reference: SecretRef, vault: VaultName) -> tuple[Secret, Secret]:
    return resolve_pair(reference, f"the credentials of vault {vault}", environment=os.environ, run=_output_of)

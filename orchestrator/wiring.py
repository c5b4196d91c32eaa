"""The composition root: settings in, concrete adapters out. Nobody else knows which class serves which kind.

Adapters are imported where they are made: `tandem status` needs an address from here, and no restic.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

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
from orchestrator.settings.secrets import SecretEnvironment, SecretRef, require_private, resolve, resolve_pair
from targets.errors import TargetError
from targets.secret import Secret

if TYPE_CHECKING:
    from orchestrator.work.tools import Tools
    from targets.ports import Stop, Vault, Watch

_SECRET_COMMAND_TIMEOUT: Final = 60.0  # seconds: long enough for a person to unlock a password store


def tools(settings: Settings, ledger: Ledger, *, stop: Stop, watch: Callable[[str], Watch]) -> Tools:
    """Everything one command needs to work. Raises TargetError when restic is missing or too old."""
    from orchestrator.work.tools import Tools
    from targets.process import Limits
    from targets.restic.engine import Restic

    workdir = settings.service.workdir
    cache = workdir / "cache"
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)  # else `restic check` complains, and goes without
    except OSError as cause:
        message = f"{cause.strerror or cause}; [service] workdir must be a folder that can be written"
        raise TargetError("make", str(cache), FailureKind.TARGET_UNWRITABLE, message) from cause
    limits = Limits(
        deadline_seconds=settings.limits.deadline.total_seconds(),
        no_progress_seconds=settings.limits.no_progress.total_seconds(),
    )
    return Tools(
        engine=Restic.find(settings.service.restic, cache=cache, limits=limits),
        vaults=_Vaults(settings),
        password=_Passwords(settings),
        ledger=ledger,
        clock=Clock(),
        stop=stop,
        watch=watch,
        workdir=workdir,
        own=(workdir, *ledger.files),
        zone=settings.service.zone,
        limits=limits,
        withheld=frozenset(_secret_variables(settings)),
        host=settings.service.host or platform.node(),
    )


def _secret_variables(settings: Settings) -> Iterator[str]:
    """The environment variables that any secret of the settings is kept in, whoever's it is."""
    references = [tenant.password for tenant in settings.tenants.values()]
    references += [ref for vault in settings.vaults.values() if (ref := getattr(vault, "credentials", None))]
    references += [settings.service.state] if not isinstance(settings.service.state, str) else []
    return (reference.variable for reference in references if isinstance(reference, SecretEnvironment))


def ledger_url(settings: Settings) -> str:
    """The ledger's address; a secret one is resolved here. Raises TargetError SECRET_UNAVAILABLE."""
    state = settings.service.state
    return state if isinstance(state, str) else _secret(state, "the ledger's address").reveal()


def _secret(reference: SecretRef, name: str) -> Secret:
    return resolve(reference, name, environment=os.environ, run=_output_of)


def _output_of(command: tuple[str, ...]) -> str:
    from targets.process import capture

    done = capture(command, environment=dict(os.environ), timeout=_SECRET_COMMAND_TIMEOUT)
    if done.code != 0:  # what it wrote until then may be half a secret, or an error's text
        raise TargetError("run", command[0], FailureKind.SECRET_UNAVAILABLE, f"it ended with exit status {done.code}")
    return done.stdout.decode()


class _Rates(TypedDict):
    """What restic may send and receive, in bytes a second."""

    limit_upload: int | None
    limit_download: int | None


class _Passwords:
    """Each tenant's password, fetched once and only when it is needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[TenantName, Secret] = {}

    def __call__(self, tenant: TenantName) -> Secret:
        if tenant not in self._known:
            reference = self._settings.tenants[tenant].password
            self._known[tenant] = _secret(reference, f"the password of tenant {tenant}")
        return self._known[tenant]


class _Vaults(Mapping[VaultName, "Vault"]):
    """The vaults by name, each made on first use: one that a command does not touch cannot fail it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[VaultName, Vault] = {}

    def __getitem__(self, name: VaultName) -> Vault:
        if name not in self._made:
            self._made[name] = _vault(self._settings.vaults[name], self._settings.service.workdir)
        return self._made[name]

    def __iter__(self) -> Iterator[VaultName]:
        return iter(self._settings.vaults)

    def __len__(self) -> int:
        return len(self._settings.vaults)


def _vault(vault: VaultSettings, workdir: Path) -> Vault:
    """The adapter of a vault's kind; its library is imported only now, because S3's alone costs 0.2 s."""
    limits = _Rates(limit_upload=vault.limit_upload, limit_download=vault.limit_download)
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

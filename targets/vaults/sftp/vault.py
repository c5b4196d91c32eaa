"""The vault itself: where it is, who is let in, and how restic and Tandem's own store reach it."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import Path

from targets.ports import RepositoryAddress
from targets.secret import Secret
from targets.vaults.layout import plain_name
from targets.vaults.sftp.sshconfig import SshHost, install
from targets.vaults.sftp.store import SftpStore


@dataclass(frozen=True, slots=True)
class SftpVault:
    """Repositories below `path` on a host (relative: below the user's home). Keys only, no password, no agent.

    `known_hosts` alone says which host keys are right; without an `identity` only a host that asks for none lets us in.
    `workdir` gets a folder `ssh` that restic needs. The limits are bytes a second.
    """

    name: str
    host: str
    port: int
    user: str
    path: str
    identity: Path | None
    known_hosts: Path
    workdir: Path
    limit_upload: int | None = None
    limit_download: int | None = None

    def address(self, tenant: str) -> RepositoryAddress:
        """How restic reaches the tenant's repository. Raises TargetError as sshconfig.install does."""
        host = self._host()
        return RepositoryAddress(
            label=f"{tenant}@{self.name}",
            url=Secret(f"sftp:{host.alias}:{posixpath.join(self.path, plain_name(tenant))}"),
            path_first=(install(self.workdir, self.name, host),),
            limit_upload=self.limit_upload,
            limit_download=self.limit_download,
        )

    def store(self, tenant: str) -> SftpStore:
        """The files of the tenant's repository; connects on first use."""
        return SftpStore(self.name, self._host(), self.path, plain_name(tenant))

    def _host(self) -> SshHost:
        return SshHost(
            alias=f"tandem-{plain_name(self.name)}",
            host=self.host,
            port=self.port,
            user=self.user,
            identity=self.identity,
            known_hosts=self.known_hosts,
        )

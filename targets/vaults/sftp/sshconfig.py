"""The `ssh` that restic finds first in its PATH: a script that knows every sftp vault by its alias, and no ~/.ssh.

restic's own option for another ssh (`-o sftp.command`) would hold for both repositories of a `copy`. So all vaults
share one folder, and `ssh` takes the settings of the alias, which restic names as its first argument
(https://github.com/restic/restic, internal/backend/sftp: `ssh HOST -s sftp`).
"""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from jobs.failure import FailureKind
from targets.errors import TargetError

# https://man.openbsd.org/ssh_config. Nothing may ask a person, nothing may come from an agent or the user's own files,
# nothing may be learned (UpdateHostKeys), and a line that went dead ends the backup within a minute or so.
_CONFIG = """\
Host {alias}
    HostName {host}
    Port {port}
    User {user}
    IdentityFile {identity}
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {known_hosts}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    UpdateHostKeys no
    PreferredAuthentications publickey
    BatchMode yes
    Ciphers ^aes128-gcm@openssh.com
    Compression no
    ControlMaster no
    ControlPath none
    ForwardAgent no
    ConnectTimeout 15
    ServerAliveInterval 15
    ServerAliveCountMax 4
    LogLevel ERROR
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class SshHost:
    """One host under its alias. Without an identity nobody is let in: no key is looked for elsewhere."""

    alias: str
    host: str
    port: int
    user: str
    identity: Path | None
    known_hosts: Path

    def config(self) -> str:
        """This host's part of an ssh_config."""
        return _CONFIG.format(
            alias=self.alias,
            host=self.host.replace("%", "%%"),
            port=self.port,
            user=self.user,
            identity="none" if self.identity is None else _quoted(self.identity),
            known_hosts=_quoted(self.known_hosts),
        )


def install(workdir: Path, vault: str, host: SshHost) -> Path:
    """Write the script and the host's settings where they are not yet as they should be; gives the folder for PATH.

    Several processes may do this at the same time. Raises TargetError: TOOL_MISSING without an ssh program, DISK_FULL
    or ACCESS_DENIED when `workdir` cannot be written to.
    """
    ssh = shutil.which("ssh")
    if ssh is None:
        message = "restic needs the program ssh: install the OpenSSH client"
        raise TargetError("open", f"vault {vault}", FailureKind.TOOL_MISSING, message)
    folder = workdir.absolute() / "ssh"
    hosts = folder / "hosts"
    script = f'#!/bin/sh\nexec {shlex.quote(ssh)} -F {shlex.quote(str(hosts))}/"$1" "$@"\n'
    try:
        hosts.mkdir(mode=0o700, parents=True, exist_ok=True)
        _put(hosts / host.alias, host.config(), mode=0o600)
        _put(folder / "ssh", script, mode=0o700)
    except OSError as error:
        kind = FailureKind.DISK_FULL if error.errno == errno.ENOSPC else FailureKind.ACCESS_DENIED
        raise TargetError("open", f"vault {vault}", kind, f"cannot write ssh's settings: {error}") from error
    return folder


def _put(path: Path, text: str, *, mode: int) -> None:
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(temporary).chmod(mode)
    Path(temporary).replace(path)


def _quoted(path: Path) -> str:
    """In quotes because of spaces, and with % doubled because ssh expands %h and the like in file names."""
    return '"{}"'.format(str(path.absolute()).replace("%", "%%"))

"""OpenSSH's server with its own host key, letting in one key as the user who runs the tests."""

from __future__ import annotations

import getpass
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.servers.lasting import Lasting
from tests.servers.program import LOOPBACK, Server, program

_CONFIG = """\
ListenAddress {address}
HostKey "{folder}/host_key"
AuthorizedKeysFile "{folder}/authorized_keys"
PidFile none
UsePAM {pam}
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
Subsystem sftp internal-sftp
MaxStartups 100
LogLevel INFO
"""


def make_key(path: Path, *, kind: str = "ed25519") -> Path:
    """A new private key without a passphrase, with its public half beside it as `….pub`."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def public_half(private: Path) -> str:
    """The public half of a key, as "type base64"."""
    return " ".join(Path(f"{private}.pub").read_text().split()[:2])


def write_known_hosts(path: Path, *hosts: tuple[int, Path]) -> Path:
    """A known_hosts file that names (port on 127.0.0.1, private host key) pairs."""
    path.write_text("".join(f"[{LOOPBACK}]:{port} {public_half(key)}\n" for port, key in hosts))
    return path


@dataclass(frozen=True, kw_only=True, slots=True)
class SshdFiles:
    """What lies in the server's folder."""

    folder: Path

    @property
    def host_key(self) -> Path:
        """The server's private key."""
        return self.folder / "host_key"

    @property
    def user_key(self) -> Path:
        """The private key of the one who is let in."""
        return self.folder / "user_key"


class Sshd(Lasting):
    """A running sshd. `user` and `identity` are let in; `known_hosts` names this server's key at its port."""

    host = LOOPBACK

    def __init__(self, folder: Path) -> None:
        """Start it; its files go into `folder`, which is made. Raises ServerFailedError."""
        folder.mkdir(parents=True, exist_ok=True)
        self.files = SshdFiles(folder=folder)
        self.user = getpass.getuser()
        self.identity = make_key(self.files.user_key)
        make_key(self.files.host_key)
        (folder / "authorized_keys").write_text(public_half(self.identity) + "\n")
        self._config = folder / "sshd_config"
        self._config.write_text(_CONFIG.format(address=LOOPBACK, folder=folder, pam=_pam(self.user)))
        self._sshd = _sshd()
        self._forgive()
        self.start()

    def start(self, port: int | None = None) -> None:
        """Start (again), on `port` when it is given."""
        self._server = Server(self._command, self.files.folder, port=port)
        self.port = self._server.port
        self.known_hosts = write_known_hosts(self.files.folder / "known_hosts", (self.port, self.files.host_key))

    def stop(self) -> None:
        """End the server and the sessions it holds."""
        self._server.stop()

    def _command(self, port: int) -> list[str]:
        return [self._sshd, "-D", "-e", "-f", str(self._config), "-p", str(port)]

    def _forgive(self) -> None:
        """Newer servers (9.8) shut out an address after a refused key; tests offer wrong keys on purpose."""
        line = "PerSourcePenalties no"
        asked = [self._sshd, "-t", "-f", str(self._config), "-o", line.replace(" ", "=")]
        if subprocess.run(asked, check=False, capture_output=True).returncode == 0:
            self._config.write_text(f"{self._config.read_text()}{line}\n")


def _pam(user: str) -> str:
    """ "yes" for an account whose password is locked, as root's is on some systems: only PAM lets its key in."""
    if os.geteuid() != 0:
        return "no"  # shadow(5) is not ours to read, so sshd sees no lock either
    lines = [line.split(":") for line in Path("/etc/shadow").read_text().splitlines()]
    return "yes" if any(name == user and locked.startswith("!") for name, locked, *_ in lines) else "no"


def _sshd() -> str:
    path = program("sshd")  # sshd wants to be started by its whole path
    if path is None:
        raise FileNotFoundError("sshd is not installed (Debian, Ubuntu: openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    return path

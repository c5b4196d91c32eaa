"""A connection that was verified before anything was sent: the host's key stands in our own known_hosts file."""

from __future__ import annotations

import logging
import socket
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.vaults.sftp.sshconfig import SshHost

if TYPE_CHECKING:  # paramiko takes a fifth of a second to import: only who connects pays for it
    from paramiko import PKey, SFTPClient, Transport
    from paramiko.hostkeys import HostKeyEntry

_SSH_PORT: Final = 22  # the one port that known_hosts does not name
_CONNECT_SECONDS: Final = 15
_ANSWER_SECONDS: Final = 60  # silence of the server after which a call fails
_KEEPALIVE_SECONDS: Final = 15
_CIPHER: Final = "aes128-gcm@openssh.com"  # several times faster than paramiko's first choice, AES-CTR with a MAC
_KEY_OF_SIGNATURE: Final = {"rsa-sha2-512": "ssh-rsa", "rsa-sha2-256": "ssh-rsa"}  # RFC 8332: one key, three names

# paramiko prints to standard error what nobody handles; its errors reach the user as TargetError instead.
_SILENT: Final = logging.NullHandler()


def ssh_errors() -> tuple[type[Exception], ...]:
    """What paramiko raises when a connection or a call fails."""
    from paramiko import SSHException

    return (OSError, EOFError, SSHException)


def hang_up(client: SFTPClient) -> None:
    """Close the connection under a client; saying goodbye over one that is dead fails, and that is fine."""
    channel = client.get_channel()
    with suppress(*ssh_errors()):
        client.close()
    if channel is not None:
        with suppress(*ssh_errors()):
            channel.get_transport().close()


def _refusal(vault: str, kind: FailureKind, message: str) -> TargetError:
    return TargetError("connect to", f"vault {vault}", kind, message)


def is_alive(client: SFTPClient) -> bool:
    """Whether the connection under a client is still open, as far as this side knows."""
    channel = client.get_channel()
    return channel is not None and not channel.closed and channel.get_transport().is_active()


def connect(vault: str, host: SshHost) -> SFTPClient:
    """A verified, authenticated connection. Raises TargetError, and one of `ssh_errors` for the caller to tell."""
    from paramiko import SFTPClient, Transport

    logging.getLogger("paramiko").addHandler(_SILENT)
    known = _known_keys(host)
    with ExitStack() as undo:
        plain = socket.create_connection((host.host, host.port), timeout=_CONNECT_SECONDS)
        undo.callback(plain.close)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = Transport(plain)
        undo.callback(transport.close)
        _prefer(transport, known)
        transport.start_client(timeout=_CONNECT_SECONDS)
        _verify(vault, host, transport.get_remote_server_key(), known)
        _log_in(vault, host, transport)
        transport.set_keepalive(_KEEPALIVE_SECONDS)
        client = SFTPClient.from_transport(transport)
        if client is None or (channel := client.get_channel()) is None:
            raise EOFError("the server closed the channel")
        channel.settimeout(_ANSWER_SECONDS)
        undo.pop_all()
    return client


def _known_keys(host: SshHost) -> list[PKey]:
    """The host's keys in known_hosts. A file that is not there knows nobody; a line without a key says nothing."""
    from paramiko import HostKeys

    name = host.host if host.port == _SSH_PORT else f"[{host.host}]:{host.port}"
    known: list[PKey] = []
    for line in _lines_of(host.known_hosts):
        entry = _entry_of(line)
        if entry is not None and entry.hostnames and entry.key is not None:
            alone = HostKeys()
            for pattern in entry.hostnames:
                alone.add(pattern, entry.key.get_name(), entry.key)
            known += [entry.key] if alone.lookup(name) else []
    return known


def _lines_of(known_hosts: Path) -> list[str]:
    try:
        return known_hosts.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _entry_of(line: str) -> HostKeyEntry | None:
    """A line's host and key. None for comments, broken lines, and what begins with @ (authorities, revoked keys)."""
    from paramiko import SSHException
    from paramiko.hostkeys import HostKeyEntry, InvalidHostKey

    try:
        return HostKeyEntry.from_line(line.strip())
    except (InvalidHostKey, SSHException, ValueError, IndexError):
        return None


def _prefer(transport: Transport, known: list[PKey]) -> None:
    """Ask for the fast cipher, and for a host key of a type we can compare: a host may have several."""
    types = {key.get_name() for key in known}
    options = transport.get_security_options()
    options.ciphers = sorted(options.ciphers, key=lambda name: name != _CIPHER)
    options.key_types = sorted(options.key_types, key=lambda name: _KEY_OF_SIGNATURE.get(name, name) not in types)


def _verify(vault: str, host: SshHost, shown: PKey, known: list[PKey]) -> None:
    if shown in known:
        return
    seen = f"{host.host} port {host.port} shows the {shown.get_name()} key {shown.fingerprint}"
    expected = [key.fingerprint for key in known if key.get_name() == shown.get_name()]
    if expected:
        message = f"{seen}, but {host.known_hosts} says {' or '.join(expected)}"
        raise _refusal(vault, FailureKind.HOST_KEY_CHANGED, message)
    raise _refusal(vault, FailureKind.HOST_KEY_UNKNOWN, f"{seen}, which is not in {host.known_hosts}")


def _log_in(vault: str, host: SshHost, transport: Transport) -> None:
    if host.identity is None:
        transport.auth_none(host.user)
    else:
        transport.auth_publickey(host.user, _key(vault, host.identity))
    if not transport.is_authenticated():
        message = f"{host.host} wants more than the key of {host.user}"
        raise _refusal(vault, FailureKind.ACCESS_DENIED, message)


def _key(vault: str, identity: Path) -> PKey:
    from paramiko import PKey, SSHException
    from paramiko.pkey import UnknownKeyType

    try:
        return PKey.from_path(identity)
    except (OSError, ValueError, TypeError, SSHException, UnknownKeyType) as error:
        message = f"the key {identity} cannot be used (not there, not a private key, or behind a passphrase)"
        raise _refusal(vault, FailureKind.SECRET_UNAVAILABLE, message) from error

"""A vault on another machine, over SFTP: nothing is sent before the host's key was found in the known_hosts file."""

from __future__ import annotations

import errno
import logging
import posixpath
import secrets
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.ports import FileKind, FileRef, RepositoryAddress, StoredFile
from targets.secret import Secret
from targets.vaults.layout import CONFIG, PIECE, path_of, plain_name, ref_at
from targets.vaults.sshconfig import SshHost, install

if TYPE_CHECKING:  # paramiko takes a fifth of a second to import: only who connects pays for it
    from paramiko import PKey, SFTPAttributes, SFTPClient, SFTPFile, Transport

_SSH_PORT: Final = 22  # the one port that known_hosts does not name
_CONNECT_SECONDS: Final = 15
_ANSWER_SECONDS: Final = 60  # silence of the server after which a call fails
_KEEPALIVE_SECONDS: Final = 15
_CIPHER: Final = "aes128-gcm@openssh.com"  # several times faster than paramiko's first choice, AES-CTR with a MAC
_KEY_OF_SIGNATURE: Final = {"rsa-sha2-512": "ssh-rsa", "rsa-sha2-256": "ssh-rsa"}  # RFC 8332: one key, three names

# Bytes asked for ahead of the reader. paramiko keeps them in memory, so this bounds it; more hides longer distances.
_WINDOW: Final = 8 * PIECE

_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600

# paramiko prints to standard error what nobody handles; its errors reach the user as TargetError instead.
_SILENT: Final = logging.NullHandler()


@dataclass(frozen=True, slots=True)
class SftpVault:
    """Repositories below `path` on a host (relative: below the user's home). Keys only, no password, no agent.

    `known_hosts` alone says which host keys are right. `workdir` gets a folder `ssh` that restic needs. The limits are
    bytes a second.
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
        host = SshHost(
            alias=f"tandem-{plain_name(self.name)}",
            host=self.host,
            port=self.port,
            user=self.user,
            identity=self.identity,
            known_hosts=self.known_hosts,
        )
        return RepositoryAddress(
            label=f"{tenant}@{self.name}",
            url=Secret(f"sftp:{host.alias}:{posixpath.join(self.path, plain_name(tenant))}"),
            path_first=(install(self.workdir, self.name, host),),
            limit_upload=self.limit_upload,
            limit_download=self.limit_download,
        )

    def store(self, tenant: str) -> SftpStore:
        """The files of the tenant's repository; connects on first use."""
        return SftpStore(self, plain_name(tenant))


class SftpStore:
    """The files of one repository on another machine. Threads may share it: each call borrows a connection of its own.

    A connection is lent again only after a call that went well, so that no answer is ever taken for another's.
    """

    def __init__(self, vault: SftpVault, tenant: str) -> None:
        self._vault = vault
        self._root = posixpath.join(vault.path, tenant)
        self._idle: list[SFTPClient] = []
        self._lock = threading.Lock()

    def files(self, kind: FileKind) -> Iterator[StoredFile]:
        """See targets.ports.Store."""
        if kind is FileKind.CONFIG:
            size = self.size(CONFIG)
            return iter(() if size is None else (StoredFile(CONFIG, size),))
        return self._listed(kind)

    def size(self, ref: FileRef) -> int | None:
        """See targets.ports.Store."""
        path = self._path(ref)
        with self._client() as client, self._told("look at", path):
            try:
                return client.stat(path).st_size
            except FileNotFoundError:
                self._require_parent(client)
                return None

    def read(self, ref: FileRef) -> Iterator[bytes]:
        """See targets.ports.Store."""
        path = self._path(ref)
        with self._client() as client, self._told("read", path):
            try:
                file = client.open(path, "rb")
            except FileNotFoundError as error:
                self._require_parent(client)
                raise self._error("read", FailureKind.REPOSITORY_MISSING, f"{path} is not there") from error
            yield from _pieces_of(file)
            file.close()

    def write(self, ref: FileRef, pieces: Iterable[bytes]) -> None:
        """See targets.ports.Store."""
        path = self._path(ref)
        temporary = f"{path}-tmp-{secrets.token_hex(8)}"
        with self._client() as client:
            try:
                self._fill(client, temporary, pieces)
                with self._told("write", path):
                    client.posix_rename(temporary, path)
            except BaseException as error:
                full = _is_vague(error) and _is_full(client, self._vault.path)
                with suppress(OSError, EOFError, _ssh_exception()):
                    client.remove(temporary)
                if full:
                    raise self._error("write", FailureKind.DISK_FULL, f"{path}: no space left on its disk") from error
                raise

    def delete(self, ref: FileRef) -> None:
        """See targets.ports.Store."""
        path = self._path(ref)
        with self._client() as client, self._told("delete", path):
            try:
                client.remove(path)
            except FileNotFoundError:
                self._require_parent(client)

    def close(self) -> None:
        """See targets.ports.Store."""
        with self._lock:
            idle, self._idle = self._idle, []
        for client in idle:
            _hang_up(client)

    def _path(self, ref: FileRef) -> str:
        return f"{self._root}/{path_of(ref)}"

    def _listed(self, kind: FileKind) -> Iterator[StoredFile]:
        folders = [kind.value]
        if kind is FileKind.DATA:
            folders = [f"{kind.value}/{entry.filename}" for entry in self._entries(kind.value)]
        for folder in folders:
            for entry in self._entries(folder):
                ref = ref_at(f"{folder}/{entry.filename}")
                if ref is not None:
                    yield StoredFile(ref, entry.st_size or 0)

    def _entries(self, folder: str) -> list[SFTPAttributes]:
        """What a folder below the repository's root holds; nothing when it is not there or no folder."""
        path = f"{self._root}/{folder}"
        with self._client() as client, self._told("list", path):
            try:
                # A few requests ahead: a folder of packs comes in three round trips however many names it holds.
                return list(client.listdir_iter(path, read_aheads=8))
            except FileNotFoundError:
                self._require_parent(client)
                return []

    def _fill(self, client: SFTPClient, temporary: str, pieces: Iterable[bytes]) -> None:
        """Write a new file, made durable. Only our own calls are told as the vault's, not what `pieces` raises."""
        with self._told("write", temporary):
            file = self._create(client, temporary)
            file.chmod(_FILE_MODE)
            file.set_pipelined(True)
        first = b""
        for piece in pieces:
            first = first or piece[:1]
            with self._told("write", temporary):
                file.write(piece)
        with self._told("write", temporary):
            _settle(file, first)
            _make_durable(client, file)
            file.close()

    def _create(self, client: SFTPClient, path: str) -> SFTPFile:
        try:
            return client.open(path, "wx")
        except FileNotFoundError:
            self._make_folders(client, posixpath.dirname(path))
            return client.open(path, "wx")

    def _make_folders(self, client: SFTPClient, last: str) -> None:
        """Make the folders from the vault's own down to `last`; the one that the vault lies in must be there."""
        folder = self._vault.path
        self._require_parent(client)
        for name in ("", *posixpath.relpath(last, folder).split("/")):
            folder = posixpath.join(folder, name) if name else folder
            try:
                client.mkdir(folder, _FOLDER_MODE)
            except OSError as error:
                if error.errno not in {None, errno.EEXIST}:  # OpenSSH answers a bare "Failure" when it exists
                    raise

    def _require_parent(self, client: SFTPClient) -> None:
        parent = posixpath.dirname(self._vault.path.rstrip("/")) or "."
        try:
            client.stat(parent)
        except FileNotFoundError as error:
            message = f"the folder {parent} is not there on {self._vault.host}; is its disk mounted?"
            raise self._error("open", FailureKind.VAULT_UNREACHABLE, message) from error

    @contextmanager
    def _client(self) -> Iterator[SFTPClient]:
        with self._lock:
            client = self._idle.pop() if self._idle else None
        if client is None:
            with self._told("connect to", f"{self._vault.host} port {self._vault.port}"):
                client = _connect(self._vault)
        try:
            yield client
        except BaseException:
            _hang_up(client)
            raise
        with self._lock:
            self._idle.append(client)

    def _error(self, operation: str, kind: FailureKind, message: str) -> TargetError:
        return _error(self._vault, operation, kind, message)

    @contextmanager
    def _told(self, operation: str, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, _ssh_exception()) as error:
            raise self._error(operation, _kind_of(error), f"{what}: {error or 'the connection was cut'}") from error


def _error(vault: SftpVault, operation: str, kind: FailureKind, message: str) -> TargetError:
    return TargetError(operation, f"vault {vault.name}", kind, message)


def _ssh_exception() -> type[Exception]:
    from paramiko import SSHException

    return SSHException


def _kind_of(error: Exception) -> FailureKind:
    from paramiko import AuthenticationException

    refused = isinstance(error, AuthenticationException | PermissionError)
    return FailureKind.ACCESS_DENIED if refused else FailureKind.VAULT_UNREACHABLE


def _pieces_of(file: SFTPFile) -> Iterator[bytes]:
    """The file's bytes as its size was when it was opened, a window of them asked for at once. Raises OSError."""
    size = file.stat().st_size or 0
    for start in range(0, size, _WINDOW):
        spans = [(at, min(PIECE, size - at)) for at in range(start, min(start + _WINDOW, size), PIECE)]
        for (at, length), piece in zip(spans, file.readv(spans), strict=True):
            if len(piece) != length:
                raise EOFError(f"the file ends after {at + len(piece)} of {size} bytes")
            yield piece


def _settle(file: SFTPFile, first: bytes) -> None:
    """Wait for the server's answer to every write. Raises OSError when one of them was refused.

    paramiko drops the answers that are still on their way when a pipelined file is closed: a disk that fills up near
    the file's end would go unseen. A write that is not pipelined collects them all; so write the first byte once more.
    """
    file.set_pipelined(False)
    if first:
        file.seek(0)
        file.write(first)


def _make_durable(client: SFTPClient, file: SFTPFile) -> None:
    """fsync at the server where it can (https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL, 4.5)."""
    from paramiko.sftp import CMD_EXTENDED

    protocol: Any = client  # paramiko has no public call for extended requests
    handle: Any = file
    try:
        protocol._request(CMD_EXTENDED, "fsync@openssh.com", handle.handle)
    except OSError as error:
        if "unsupported" not in str(error).lower():
            raise


def _is_vague(error: BaseException) -> bool:
    """Whether the server said no more than "Failure", which is what OpenSSH says of a full disk."""
    return isinstance(error, TargetError) and type(error.__cause__) is OSError and error.__cause__.errno is None


def _is_full(client: SFTPClient, path: str) -> bool:
    """Whether the file system has less than one piece left; False when the server cannot tell.

    https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL, 4.4: integers of 64 bits, of which the second is the size of a
    block and the fifth the number of blocks that are free to us.
    """
    from paramiko.sftp import CMD_EXTENDED

    protocol: Any = client
    try:
        _, answer = protocol._request(CMD_EXTENDED, "statvfs@openssh.com", path)
    except (OSError, EOFError, _ssh_exception()):
        return False
    numbers = [answer.get_int64() for _ in range(5)]
    return bool(numbers[1] * numbers[4] < PIECE)


def _hang_up(client: SFTPClient) -> None:
    channel = client.get_channel()
    client.close()
    if channel is not None:
        channel.get_transport().close()


def _connect(vault: SftpVault) -> SFTPClient:
    """A verified, authenticated connection. Raises TargetError, and OSError or SSHException for the caller to tell."""
    from paramiko import SFTPClient, Transport

    logging.getLogger("paramiko").addHandler(_SILENT)
    known = _known_keys(vault)
    with ExitStack() as undo:
        plain = socket.create_connection((vault.host, vault.port), timeout=_CONNECT_SECONDS)
        undo.callback(plain.close)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = Transport(plain)
        undo.callback(transport.close)
        _prefer(transport, known)
        transport.start_client(timeout=_CONNECT_SECONDS)
        _verify(vault, transport.get_remote_server_key(), known)
        _log_in(vault, transport)
        transport.set_keepalive(_KEEPALIVE_SECONDS)
        client = SFTPClient.from_transport(transport)
        if client is None or (channel := client.get_channel()) is None:
            raise EOFError("the server closed the channel")
        channel.settimeout(_ANSWER_SECONDS)
        undo.pop_all()
    return client


def _known_keys(vault: SftpVault) -> Mapping[str, PKey]:
    """The host's keys in known_hosts, by key type. A file that is not there knows nobody."""
    from paramiko import HostKeys
    from paramiko.hostkeys import InvalidHostKey

    name = vault.host if vault.port == _SSH_PORT else f"[{vault.host}]:{vault.port}"
    try:
        return HostKeys(str(vault.known_hosts)).lookup(name) or {}
    except FileNotFoundError:
        return {}
    except InvalidHostKey as error:
        message = f"{vault.known_hosts} holds a line that is no key: {error}"
        raise _error(vault, "connect to", FailureKind.HOST_KEY_UNKNOWN, message) from error


def _prefer(transport: Transport, known: Mapping[str, PKey]) -> None:
    """Ask for the fast cipher, and for a host key of a type we can compare: a host may have several."""
    options = transport.get_security_options()
    options.ciphers = sorted(options.ciphers, key=lambda name: name != _CIPHER)
    options.key_types = sorted(options.key_types, key=lambda name: _KEY_OF_SIGNATURE.get(name, name) not in known)


def _verify(vault: SftpVault, shown: PKey, known: Mapping[str, PKey]) -> None:
    expected = known.get(shown.get_name())
    if expected == shown:
        return
    seen = f"{vault.host} port {vault.port} shows the {shown.get_name()} key {shown.fingerprint}"
    if expected is None:
        kind, message = FailureKind.HOST_KEY_UNKNOWN, f"{seen}, which is not in {vault.known_hosts}"
    else:
        kind, message = FailureKind.HOST_KEY_CHANGED, f"{seen}, but {vault.known_hosts} says {expected.fingerprint}"
    raise _error(vault, "connect to", kind, message)


def _log_in(vault: SftpVault, transport: Transport) -> None:
    if vault.identity is None:
        transport.auth_none(vault.user)
    else:
        transport.auth_publickey(vault.user, _key(vault, vault.identity))
    if not transport.is_authenticated():
        message = f"{vault.host} wants more than the key of {vault.user}"
        raise _error(vault, "connect to", FailureKind.ACCESS_DENIED, message)


def _key(vault: SftpVault, identity: Path) -> PKey:
    from paramiko import PKey, SSHException
    from paramiko.pkey import UnknownKeyType

    try:
        return PKey.from_path(identity)
    except (OSError, ValueError, TypeError, SSHException, UnknownKeyType) as error:
        message = f"the key {identity} cannot be used (not there, not a private key, or behind a passphrase)"
        raise _error(vault, "connect to", FailureKind.SECRET_UNAVAILABLE, message) from error

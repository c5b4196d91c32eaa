"""The files of one repository over SFTP: written under a transient name, made durable, then renamed into place."""

from __future__ import annotations

import errno
import posixpath
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.ports import FileKind, FileRef, StoredFile, unnoticed
from targets.vaults.layout import CONFIG, PIECE, path_of, ref_at
from targets.vaults.sftp.connection import connect, hang_up, is_alive, ssh_errors
from targets.vaults.sftp.sshconfig import SshHost
from targets.vaults.sftp.transfer import Writer, free_space, pieces_of

if TYPE_CHECKING:
    from paramiko import SFTPAttributes, SFTPClient, SFTPFile

_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600


class SftpStore:
    """The files of one repository on another machine. Threads may share it: each call borrows a connection of its own.

    A connection is lent again only after a call that went well, so that no answer is ever taken for another's.
    """

    def __init__(self, vault: str, host: SshHost, path: str, tenant: str) -> None:
        self._vault = vault
        self._host = host
        self._path = path
        self._root = posixpath.join(path, tenant)
        self._idle: list[SFTPClient] = []
        self._lock = threading.Lock()

    def files(self, kind: FileKind, stray: Callable[[str], None] = unnoticed) -> Iterator[StoredFile]:
        """See targets.ports.Store."""
        if kind is FileKind.CONFIG:
            size = self.size(CONFIG)
            return iter(() if size is None else (StoredFile(CONFIG, size),))
        return self._listed(kind, stray)

    def size(self, ref: FileRef) -> int | None:
        """See targets.ports.Store."""
        path = self._place(ref)
        with self._client() as client, self._told("look at", path):
            try:
                return client.stat(path).st_size
            except FileNotFoundError:
                self._require_parent(client)
                return None

    def read(self, ref: FileRef) -> Iterator[bytes]:
        """See targets.ports.Store."""
        path = self._place(ref)
        with self._client() as client, self._told("read", path):
            try:
                file = client.open(path, "rb")
            except FileNotFoundError as error:
                self._require_parent(client)
                raise self._error("read", FailureKind.REPOSITORY_MISSING, f"{path} is not there") from error
            yield from pieces_of(client, file)
            file.close()

    def write(self, ref: FileRef, pieces: Iterable[bytes]) -> None:
        """See targets.ports.Store."""
        path = self._place(ref)
        temporary = f"{path}-tmp-{secrets.token_hex(8)}"
        with self._client() as client:
            try:
                self._fill(client, temporary, pieces)
                with self._told("write", path):
                    client.posix_rename(temporary, path)
            except BaseException as error:
                full = _is_vague(error) and self._is_full(client)
                with suppress(*ssh_errors()):
                    client.remove(temporary)
                if full:
                    raise self._error("write", FailureKind.DISK_FULL, f"{path}: no space left on its disk") from error
                raise

    def delete(self, ref: FileRef) -> None:
        """See targets.ports.Store."""
        path = self._place(ref)
        with self._client() as client, self._told("delete", path):
            try:
                client.remove(path)
            except FileNotFoundError:
                self._require_parent(client)

    def free(self) -> int | None:
        """See targets.ports.Store."""
        with self._client() as client, self._told("look at", self._path):
            self._require_parent(client)
            parent = posixpath.dirname(self._path.rstrip("/")) or "."
            there = free_space(client, self._path)  # the vault's folder may be a disk of its own, or not yet be there
            return free_space(client, parent) if there is None else there

    def is_bare(self) -> bool:
        """See targets.ports.Store."""
        with self._client() as client, self._told("list", self._path):
            try:
                return not client.listdir(self._path)
            except FileNotFoundError:
                self._require_parent(client)
                return True

    def clock(self, fresh: FileRef) -> datetime | None:
        """See targets.ports.Store."""
        path = self._place(fresh)
        with self._client() as client, self._told("look at", path):
            written = client.stat(path).st_mtime
            return None if written is None else datetime.fromtimestamp(written, UTC)

    def close(self) -> None:
        """See targets.ports.Store."""
        with self._lock:
            idle, self._idle = self._idle, []
        for client in idle:
            hang_up(client)

    def _place(self, ref: FileRef) -> str:
        return f"{self._root}/{path_of(ref)}"

    def _listed(self, kind: FileKind, stray: Callable[[str], None]) -> Iterator[StoredFile]:
        folders = [kind.value]
        if kind is FileKind.DATA:
            folders = [f"{kind.value}/{entry.filename}" for entry in self._entries(kind.value)]
        for folder in folders:
            for entry in self._entries(folder):
                ref = ref_at(f"{folder}/{entry.filename}")
                if ref is None:
                    stray(entry.filename)
                else:
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
            writer = Writer(client, file)
        for piece in pieces:
            with self._told("write", temporary):
                writer.write(piece)
        with self._told("write", temporary):
            writer.finish()

    def _create(self, client: SFTPClient, path: str) -> SFTPFile:
        try:
            return client.open(path, "wx")
        except FileNotFoundError:
            self._make_folders(client, posixpath.dirname(path))
            return client.open(path, "wx")

    def _make_folders(self, client: SFTPClient, last: str) -> None:
        """Make the folders from the vault's own down to `last`; the one that the vault lies in must be there."""
        self._require_parent(client)
        folder = self._path
        for name in ("", *posixpath.relpath(last, folder).split("/")):
            folder = posixpath.join(folder, name) if name else folder
            try:
                client.mkdir(folder, _FOLDER_MODE)
            except OSError as error:
                if error.errno not in {None, errno.EEXIST}:  # OpenSSH answers a bare "Failure" when it exists
                    raise

    def _require_parent(self, client: SFTPClient) -> None:
        parent = posixpath.dirname(self._path.rstrip("/")) or "."
        try:
            client.stat(parent)
        except FileNotFoundError as error:
            message = f"the folder {parent} is not there on {self._host.host}; is its disk mounted?"
            raise self._error("open", FailureKind.VAULT_UNREACHABLE, message) from error

    def _is_full(self, client: SFTPClient) -> bool:
        with suppress(*ssh_errors()):
            free = free_space(client, self._path)
            return free is not None and free < PIECE
        return False

    @contextmanager
    def _client(self) -> Iterator[SFTPClient]:
        client = self._lent()
        try:
            yield client
        except BaseException:
            hang_up(client)
            raise
        with self._lock:
            self._idle.append(client)

    def _lent(self) -> SFTPClient:
        """A connection that waits and still lives, or a new one."""
        while True:
            with self._lock:
                client = self._idle.pop() if self._idle else None
            if client is None:
                with self._told("connect to", f"{self._host.host} port {self._host.port}"):
                    return connect(self._vault, self._host)
            if is_alive(client):
                return client
            hang_up(client)

    def _error(self, operation: str, kind: FailureKind, message: str) -> TargetError:
        return TargetError(operation, f"vault {self._vault}", kind, message)

    @contextmanager
    def _told(self, operation: str, what: str) -> Iterator[None]:
        try:
            yield
        except ssh_errors() as error:
            words = str(error) or "the connection was cut"
            raise self._error(operation, _kind_of(error), f"{what}: {words}") from error


def _kind_of(error: Exception) -> FailureKind:
    from paramiko import AuthenticationException

    refused = isinstance(error, AuthenticationException | PermissionError)
    return FailureKind.ACCESS_DENIED if refused else FailureKind.VAULT_UNREACHABLE


def _is_vague(error: BaseException) -> bool:
    """Whether the server said no more than "Failure", which is what OpenSSH says of a full disk."""
    return isinstance(error, TargetError) and type(error.__cause__) is OSError and error.__cause__.errno is None

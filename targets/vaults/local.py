"""A vault in a folder of this machine: every file is written beside its place, made durable, then renamed into it."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.host import free_space
from targets.ports import FileKind, FileRef, RepositoryAddress, StoredFile, unnoticed
from targets.secret import Secret
from targets.vaults.layout import CONFIG, PIECE, path_of, plain_name, ref_at

_FOLDER_MODE: Final = 0o700  # files get 0600 from tempfile.mkstemp

_KIND_OF: Final[Mapping[int | None, FailureKind]] = MappingProxyType(
    {
        errno.ENOSPC: FailureKind.DISK_FULL,
        errno.EDQUOT: FailureKind.DISK_FULL,
        errno.EFBIG: FailureKind.DISK_FULL,
        errno.EACCES: FailureKind.ACCESS_DENIED,
        errno.EPERM: FailureKind.ACCESS_DENIED,
        errno.EROFS: FailureKind.ACCESS_DENIED,
    }
)


@dataclass(frozen=True, slots=True)
class LocalVault:
    """Repositories below `path`, one folder for each tenant. `limit_upload`, `limit_download`: bytes a second.

    `path` itself is made on first use; the folder it lies in must be there, so that nothing is ever written below the
    mount point of a disk that is not mounted.
    """

    name: str
    path: Path
    limit_upload: int | None = None
    limit_download: int | None = None

    def address(self, tenant: str) -> RepositoryAddress:
        """How restic reaches the tenant's repository. Raises TargetError(VAULT_UNREACHABLE), for restic would
        make every missing folder itself."""
        require_parent(self)
        return RepositoryAddress(
            label=f"{tenant}@{self.name}",
            url=Secret(f"local:{self.path.absolute() / plain_name(tenant)}"),
            limit_upload=self.limit_upload,
            limit_download=self.limit_download,
        )

    def store(self, tenant: str) -> LocalStore:
        """The files of the tenant's repository."""
        return LocalStore(self, plain_name(tenant))


def require_parent(vault: LocalVault) -> None:
    """Raise TargetError(VAULT_UNREACHABLE) when the folder in which the vault lies is not there."""
    parent = vault.path.absolute().parent
    if not parent.is_dir():
        message = f"the folder {parent} is not there; is its disk mounted?"
        raise TargetError("open", f"vault {vault.name}", FailureKind.VAULT_UNREACHABLE, message)


class LocalStore:
    """The files of one repository on this machine. Holds nothing open between calls; threads may share it."""

    def __init__(self, vault: LocalVault, tenant: str) -> None:
        self._vault = vault
        self._root = vault.path.absolute() / tenant

    def files(self, kind: FileKind, stray: Callable[[str], None] = unnoticed) -> Iterator[StoredFile]:
        """See targets.ports.Store."""
        if kind is FileKind.CONFIG:
            size = self.size(CONFIG)
            return iter(() if size is None else (StoredFile(CONFIG, size),))
        folder = self._root / kind.value
        folders = self._fan(folder, stray) if kind is FileKind.DATA else iter((folder,))
        return (stored for each in folders for stored in self._in_folder(each, stray))

    def _fan(self, folder: Path, stray: Callable[[str], None]) -> Iterator[Path]:
        """The folders below `data`; whatever else lies there is a stranger."""
        for entry in self._entries(folder):
            with self._told("list", folder):
                if entry.is_dir():
                    yield folder / entry.name
                else:
                    stray(entry.name)

    def size(self, ref: FileRef) -> int | None:
        """See targets.ports.Store."""
        path = self._path(ref)
        with self._told("look at", path):
            try:
                return path.stat().st_size
            except (FileNotFoundError, NotADirectoryError):
                require_parent(self._vault)
                return None

    def read(self, ref: FileRef) -> Iterator[bytes]:
        """See targets.ports.Store."""
        path = self._path(ref)
        with self._told("read", path):
            try:
                file = path.open("rb", buffering=0)
            except FileNotFoundError as error:
                require_parent(self._vault)
                raise self._error("read", FailureKind.REPOSITORY_MISSING, f"{path} is not there") from error
            with file:
                while piece := file.read(PIECE):
                    yield piece

    def write(self, ref: FileRef, pieces: Iterable[bytes]) -> None:
        """See targets.ports.Store."""
        path = self._path(ref)
        with self._told("write", path):
            self._make(path.parent)
            descriptor, temporary = tempfile.mkstemp(prefix=f"{path.name}-tmp-", dir=path.parent)
        try:
            self._fill(descriptor, path, pieces)
            with self._told("write", path):
                Path(temporary).replace(path)
                _make_durable(path.parent)
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink(missing_ok=True)
            raise

    def delete(self, ref: FileRef) -> None:
        """See targets.ports.Store."""
        path = self._path(ref)
        with self._told("delete", path):
            try:
                path.unlink()
            except FileNotFoundError:
                require_parent(self._vault)

    def free(self) -> int | None:
        """See targets.ports.Store."""
        require_parent(self._vault)
        with self._told("look at", self._root):
            return free_space(self._root)

    def is_bare(self) -> bool:
        """See targets.ports.Store."""
        require_parent(self._vault)
        return not self._entries(self._vault.path.absolute())

    def clock(self, fresh: FileRef) -> datetime | None:
        """See targets.ports.Store. A folder may be another machine's (NFS): what counts is the file system's clock."""
        path = self._path(fresh)
        with self._told("look at", path):
            return datetime.fromtimestamp(path.stat().st_mtime, UTC)

    def close(self) -> None:
        """See targets.ports.Store."""

    def _path(self, ref: FileRef) -> Path:
        return self._root / path_of(ref)

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        with self._told("list", folder):
            try:
                with os.scandir(folder) as entries:
                    return list(entries)
            except (FileNotFoundError, NotADirectoryError):
                require_parent(self._vault)
                return []

    def _in_folder(self, folder: Path, stray: Callable[[str], None]) -> Iterator[StoredFile]:
        below_root = folder.relative_to(self._root).as_posix()
        for entry in self._entries(folder):
            ref = ref_at(f"{below_root}/{entry.name}")
            if ref is None:
                stray(entry.name)
                continue
            with self._told("list", folder):
                try:
                    yield StoredFile(ref, entry.stat().st_size)
                except FileNotFoundError:  # deleted since, or a link to nowhere
                    if os.path.lexists(entry.path):
                        stray(entry.name)

    def _make(self, folder: Path) -> None:
        """Make a folder and those above it up to the vault's own, each durable in the one above."""
        if folder.is_dir():
            return
        if folder == self._vault.path.absolute():
            require_parent(self._vault)
        else:
            self._make(folder.parent)
        folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        _make_durable(folder.parent)

    def _fill(self, descriptor: int, path: Path, pieces: Iterable[bytes]) -> None:
        # Plain descriptors, because closing a buffered file may write, and fail, once more. Only our own calls are
        # told as the vault's errors: what `pieces` raises is somebody else's.
        try:
            for piece in pieces:
                with self._told("write", path):
                    _write_whole(descriptor, piece)
            with self._told("write", path):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _error(self, operation: str, kind: FailureKind, message: str) -> TargetError:
        return TargetError(operation, f"vault {self._vault.name}", kind, message)

    @contextmanager
    def _told(self, operation: str, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind = _KIND_OF.get(error.errno, FailureKind.VAULT_UNREACHABLE)
            raise self._error(operation, kind, f"{path}: {error.strerror or error}") from error


def _write_whole(descriptor: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _make_durable(folder: Path) -> None:
    """A new name in a folder outlives a power cut only after the folder itself is synced (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""What the orchestrator may ask of the outside world, as Protocols and the values that cross them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from jobs.history import Usage
from jobs.lock import Lock
from jobs.snapshot import Snapshot
from targets.secret import Secret


class FileKind(StrEnum):
    """The folders of a restic repository; `config` is a single file that bears its kind's name.

    https://restic.readthedocs.io/en/stable/100_references.html#repository-layout
    """

    CONFIG = "config"
    KEYS = "keys"
    SNAPSHOTS = "snapshots"
    INDEX = "index"
    DATA = "data"
    LOCKS = "locks"


@dataclass(frozen=True, slots=True, order=True)
class FileRef:
    """One file of a repository. `name` is 64 hex digits, but for `config`, whose name is `config`."""

    kind: FileKind
    name: str


@dataclass(frozen=True, slots=True, order=True)
class StoredFile:
    """A file that a store listed, with its size in bytes."""

    ref: FileRef
    size: int


def unnoticed(_name: str) -> None:
    """For names in a repository that nobody asks about."""


class Store(Protocol):
    """The files of one repository, without restic and without its password.

    Every method raises TargetError: VAULT_UNREACHABLE, ACCESS_DENIED, BUCKET_MISSING, HOST_KEY_UNKNOWN,
    HOST_KEY_CHANGED, DISK_FULL, or REPOSITORY_MISSING where a file that was asked for is not there.
    """

    def files(self, kind: FileKind, stray: Callable[[str], None] = unnoticed) -> Iterator[StoredFile]:
        """The files of one kind, in no order. A folder that is not there holds none.

        Other names that lie among them, transient or foreign, are left out; each is told to `stray`.
        """
        ...

    def size(self, ref: FileRef) -> int | None:
        """The file's size in bytes, or None when it is not there."""
        ...

    def read(self, ref: FileRef) -> Iterator[bytes]:
        """The file's bytes in pieces of at most 1 MiB."""
        ...

    def write(self, ref: FileRef, pieces: Iterable[bytes]) -> None:
        """Store a file whole or not at all: a reader never sees half of it. An existing file is replaced."""
        ...

    def delete(self, ref: FileRef) -> None:
        """Remove a file; removing one that is not there succeeds."""
        ...

    def free(self) -> int | None:
        """Bytes that may still be written there; None where the vault does not tell."""
        ...

    def is_bare(self) -> bool | None:
        """Whether the vault itself holds nothing at all, of nobody, or is not there; None where it does not tell.

        So looks the mount point of a disk that is away.
        """
        ...

    def clock(self, fresh: FileRef) -> datetime | None:
        """What the vault's own clock says just after `fresh` was written, to the second; None where it tells none."""
        ...

    def close(self) -> None:
        """Give back connections. Closing twice succeeds."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class RepositoryAddress:
    """How restic reaches one repository; the password is not part of it.

    `url` may hold credentials (rest) and is handed to restic through a file descriptor, never argv.
    `label` is what people are shown ("minfopra@secondary").
    `environment` is added to restic's; `path_first` are folders that go first in its PATH (see vaults/sftp.py).
    """

    label: str
    url: Secret
    environment: Mapping[str, Secret] = field(default_factory=lambda: MappingProxyType({}))
    options: tuple[str, ...] = ()  # each becomes `-o OPTION`
    path_first: tuple[Path, ...] = ()
    limit_upload: int | None = None  # bytes a second
    limit_download: int | None = None  # bytes a second


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """A repository and the password that opens it."""

    address: RepositoryAddress
    password: Secret


class Vault(Protocol):
    """A storage place at one site, in which each tenant has one repository below its own name."""

    @property
    def name(self) -> str:
        """The vault's name in the settings."""
        ...

    def address(self, tenant: str) -> RepositoryAddress:
        """How restic reaches the tenant's repository."""
        ...

    def store(self, tenant: str) -> Store:
        """The files of the tenant's repository."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a long step is. A total of None is not known (yet)."""

    bytes_done: int = 0
    bytes_total: int | None = None
    files_done: int = 0
    files_total: int | None = None
    current: str = ""


Watch = Callable[[Progress], None]


def unwatched(_progress: Progress) -> None:
    """A listener for work whose progress nobody is shown."""


class Stop(Protocol):
    """Asked often by whatever takes long; threading.Event fits."""

    def is_set(self) -> bool:
        """Whether to end now."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupRequest:
    """What restic is to store. `paths` are absolute, or relative to `directory` when that is given."""

    paths: tuple[str, ...]
    tags: tuple[str, ...]
    host: str
    time: datetime
    exclude: tuple[str, ...] = ()
    one_file_system: bool = False
    directory: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """What one `restic backup` left: the snapshot's id (8 hex digits in restic 0.14, 64 later), and what it cost."""

    snapshot: str
    files: int
    bytes: int
    bytes_added: int
    unreadable: tuple[str, ...] = ()  # paths restic could not read; the snapshot exists all the same (partial)
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What `restic check` found. Errors are a finding, not an exception."""

    errors: int
    findings: tuple[str, ...]
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """What `restic restore` said: `errors` are lines that name what it could not restore."""

    errors: tuple[str, ...] = ()
    usage: Usage = field(default_factory=Usage)


class StdinBackup(Protocol):
    """A `restic backup --stdin` that already runs and waits: it derives its key while others work."""

    def write(self, piece: bytes) -> None:
        """Hand over bytes; blocks while restic is busy."""
        ...

    def finish(self) -> Stored:
        """End the stream and wait for the snapshot. Raises TargetError."""
        ...

    def abort(self) -> None:
        """End restic without a snapshot. Calling it after `finish` does nothing."""
        ...


class BackupEngine(Protocol):
    """restic, or something that can stand in for it. Every method raises TargetError."""

    @property
    def tool(self) -> str:
        """Name and version, such as "restic 0.14.0"."""
        ...

    def init(self, to: Access, *, like: Access | None = None) -> None:
        """Create the repository, with the chunker parameters of `like` so that copies deduplicate."""
        ...

    def backup(self, to: Access, request: BackupRequest, *, watch: Watch, stop: Stop) -> Stored:
        """Store paths as one snapshot."""
        ...

    def backup_stdin(self, to: Access, filename: str, tags: tuple[str, ...], host: str, *, stop: Stop) -> StdinBackup:
        """Start storing a stream as `/filename` in a snapshot of its own."""
        ...

    def snapshots(self, of: Access, *, tags: tuple[str, ...] = (), stop: Stop) -> tuple[Snapshot, ...]:
        """The repository's snapshots that bear all of `tags`, oldest first."""
        ...

    def copy(self, source: Access, to: Access, snapshots: tuple[str, ...], *, watch: Watch, stop: Stop) -> Usage:
        """Copy snapshots by id; those already there are left alone."""
        ...

    def check(self, of: Access, *, read_data: str, scratch: Path | None = None, watch: Watch, stop: Stop) -> Checked:
        """restic's check; `read_data` is "none", "100%", "10%", "1/4" or a size such as "500M".

        `scratch` is where it keeps a cache of its own, which a killed restic leaves behind.
        """
        ...

    def restore(
        self, of: Access, snapshot: str, target: Path, *, include: tuple[str, ...] = (), watch: Watch, stop: Stop
    ) -> Restored:
        """Restore a snapshot (or only what matches restic's include patterns) below `target`."""
        ...

    def dump(self, of: Access, snapshot: str, path: str, *, stop: Stop) -> Iterator[bytes]:
        """One file of a snapshot, in pieces; raises when restic fails, also after the last piece."""
        ...

    def forget(self, of: Access, snapshots: tuple[str, ...], *, prune: bool, watch: Watch, stop: Stop) -> Usage:
        """Remove snapshots by id, and with `prune` the data that nobody needs any more."""
        ...

    def locks(self, of: Access, *, stop: Stop) -> tuple[Lock, ...]:
        """The repository's locks, oldest first, those that cannot be read at the end. Takes none itself."""
        ...

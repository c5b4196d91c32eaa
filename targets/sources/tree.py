"""Files and folders as a source: walked and hashed while restic reads them, and looked at once more afterwards.

Nothing but regular files and folders is ever opened. What restic leaves out is left out the same way (see walk.py);
but for restic's own cache, should it lie inside the source: that is for the caller to exclude.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from errno import EINVAL, ELOOP
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final

from jobs import manifest, patterns
from jobs.failure import FailureKind
from jobs.manifest import Identity, Kind
from jobs.policy import Paths
from targets.errors import TargetError
from targets.ports import Progress, Stop, Watch
from targets.sources.walk import Walk, clean, open_

# The kernel stamps files with the time of its last tick: up to 10 ms ago at 100 ticks a second, so a change made just
# after `started_ns` may bear a time just before it. Twice that is safe, and marks hardly a file for nothing.
CLOCK_SLACK_NS: Final = 20_000_000
# A file system that keeps whole seconds only (or two, as FAT does) rounds down: seen by a time without a fraction.
COARSE_SLACK_NS: Final = 2_000_000_000

_AFTER_ALL: Final = chr(0x10FFFF)
_BUFFER: Final = 1 << 20
_ENTRIES_BETWEEN_WATCHES: Final = 256
_BYTES_BETWEEN_WATCHES: Final = 16 << 20
_KINDS: Final[Mapping[int, Kind]] = MappingProxyType(
    {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink"}
)


def ignore(_path: str) -> None:
    """Do nothing about a path."""


def require(source: Paths) -> None:
    """Make sure that every path is there, and is not excluded by the source's own patterns.

    Raises TargetError: SOURCE_MISSING names all that are missing; SOURCE_UNREADABLE where it cannot be told.
    """
    excluded = _excluded(source)
    missing = [path for path in source.paths if not _is_there(path)]
    if missing:
        raise _error(missing, FailureKind.SOURCE_MISSING, "not there")
    swallowed = [path for path in source.paths if excluded(clean(path))]
    if swallowed:
        raise _error(swallowed, FailureKind.SOURCE_MISSING, "left out by the source's own exclude patterns")


def _is_there(path: str) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _error([path], FailureKind.SOURCE_UNREADABLE, str(error.strerror)) from error
    return True


def _error(paths: list[str], kind: FailureKind, what: str) -> TargetError:
    names = ", ".join(manifest.shown(path) for path in paths)
    return TargetError("read", f"source {names}", kind, what)


def _excluded(source: Paths) -> Callable[[str], bool]:
    return patterns.compile(source.exclude)


def scan(
    source: Paths,
    previous: Iterable[bytes],
    *,
    stop: Stop,
    watch: Watch,
    root: Path | None = None,
    vanished: Callable[[str], None] = ignore,
) -> Iterator[bytes]:
    """The source's manifest lines (jobs/manifest.py), in order, each file hashed as it comes.

    `previous` holds the lines of the manifest before: the SHA-256 of a file whose size, mode, owner, mtime, ctime,
    inode and device are unchanged is taken over, unless it was marked. It is read to its end, so that a Reader
    verifies it. `root` is a folder that stands for `/` (a restored tree): it is scanned whole, without excludes.
    `vanished` is called with what was listed and then gone. `watch` counts what is read: bytes_done are bytes hashed.
    Raises TargetError: SOURCE_MISSING (not with `root`), CANCELLED; ManifestError from `previous`.
    """
    if root is None:
        require(source)
    hashing, before = _Hashing(stop, watch), _Previous(previous)
    for path, place, found, mark in Walk(source, root, vanished).entries():
        hashing.seen(path)
        kind = kind_of(found)
        head = manifest.head(kind, path, identity(found))
        if kind == "file" and not mark:
            known = before.find(path)
            line = known if manifest.proves(known, head) else hashing.line(head, place, found)
        else:
            line = _plain(kind, head, place, mark)
        if line:
            yield line
        else:
            vanished(path)
    before.drain()
    hashing.tell("")


def sweep(lines: Iterable[bytes], *, started_ns: int, stop: Stop) -> Iterator[bytes]:
    """The lines of a scan, looked at again after restic has ended: what is not marked was the same all the time.

    An entry is marked as changed when it differs from its line now, or when its ctime is not before `started_ns`
    (nanoseconds of the wall clock, read before restic and the scan began): whatever is done to a file moves its ctime
    to now, and nobody can set it. What is gone, or of another type now, bears both marks. Two things escape it: a wall
    clock that was set back during the run, and pages written through a memory map that were dirty before it began.
    Raises TargetError (CANCELLED).
    """
    for line in lines:
        if stop.is_set():
            raise _cancelled()
        path = manifest.path_of(line)
        try:
            found = os.lstat(path)
        except OSError:
            yield line if manifest.is_unreadable(line) else manifest.marked(line, gone=True)
            continue
        kind = kind_of(found)
        same = manifest.told_by(line, manifest.head(kind, path, identity(found))) and _is_older(found, started_ns)
        if same or manifest.is_unreadable(line):
            yield line
        else:
            yield manifest.marked(line, gone=not manifest.is_of(line, kind))


def _is_older(found: os.stat_result, started_ns: int) -> bool:
    ctime = found.st_ctime_ns
    return ctime < started_ns - (CLOCK_SLACK_NS if ctime % 1_000_000_000 else COARSE_SLACK_NS)


def kind_of(found: os.stat_result) -> Kind:
    """The manifest's word for a file's type."""
    return _KINDS.get(stat.S_IFMT(found.st_mode), "other")


def identity(found: os.stat_result) -> Identity:
    """The numbers by which a file is known again."""
    return Identity(
        found.st_size if stat.S_ISREG(found.st_mode) else 0,
        stat.S_IMODE(found.st_mode),
        found.st_uid,
        found.st_gid,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_ino,
        found.st_dev,
    )


def _plain(kind: Kind, head: bytes, place: str, mark: bytes) -> bytes | None:
    """The line of what has no bytes to hash, or whose bytes cannot be had. None when it is gone."""
    if kind != "symlink" or mark:
        return manifest.line(head, marks=mark)
    try:
        return manifest.line(head, link=os.readlink(place))  # noqa: PTH115 (pathlib would tidy the link up)
    except FileNotFoundError:
        return None
    except OSError as error:
        return manifest.line(head, marks=manifest.CHANGED if error.errno == EINVAL else manifest.UNREADABLE)


class _Previous:
    """The manifest before, read forward beside the walk."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._files = filter(manifest.is_file, lines)
        self._line, self._key = b"", ""

    def find(self, path: str) -> bytes:
        """The file's line, or nothing. Paths must be asked for in order."""
        key = manifest.order(path)
        while self._key < key:
            self._line = next(self._files, b"")
            self._key = manifest.order(manifest.path_of(self._line)) if self._line else _AFTER_ALL
        return self._line if self._key == key else b""

    def drain(self) -> None:
        """Read it to its end, so that damage anywhere in it is noticed."""
        deque(self._files, maxlen=0)


class _Hashing:
    """Reads files through one buffer, asks whether to stop, and tells how far it is."""

    def __init__(self, stop: Stop, watch: Watch) -> None:
        self._stop, self._watch = stop, watch
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._entries = self._bytes = self._told_entries = self._told_bytes = 0

    def seen(self, path: str) -> None:
        """Count an entry."""
        if self._stop.is_set():
            raise _cancelled()
        self._entries += 1
        if self._entries - self._told_entries >= _ENTRIES_BETWEEN_WATCHES:
            self.tell(path)

    def tell(self, path: str) -> None:
        """Say how far it is."""
        self._told_entries, self._told_bytes = self._entries, self._bytes
        self._watch(Progress(bytes_done=self._bytes, files_done=self._entries, current=manifest.shown(path)))

    def line(self, head: bytes, place: str, found: os.stat_result) -> bytes | None:
        """The line of a file with its SHA-256, or with the mark that says why it has none; None when it is gone."""
        try:
            file = open_(place)
        except FileNotFoundError:
            return None
        except OSError as error:
            return manifest.line(head, marks=manifest.CHANGED if error.errno == ELOOP else manifest.UNREADABLE)
        try:
            before = identity(found)
            digest = self._digest(file, found.st_size, place) if identity(os.fstat(file)) == before else None
            same = digest is not None and identity(os.fstat(file)) == before
            return manifest.line(head, sha256=digest) if same else manifest.line(head, marks=manifest.CHANGED)
        except OSError:
            return manifest.line(head, marks=manifest.UNREADABLE)
        finally:
            os.close(file)

    def _digest(self, file: int, size: int, place: str) -> str:
        """The SHA-256 of the file's first `size` bytes; whoever made it longer or shorter has moved its mtime."""
        done = os.readv(file, [self._buffer])
        digest, total = sha256(self._view[:done]), done
        while done and total < size:
            self._pause(place, done)
            done = os.readv(file, [self._buffer])
            digest.update(self._view[:done])
            total += done
        self._bytes += done
        return digest.hexdigest()

    def _pause(self, place: str, done: int) -> None:
        if self._stop.is_set():
            raise _cancelled()
        self._bytes += done
        if self._bytes - self._told_bytes >= _BYTES_BETWEEN_WATCHES:
            self.tell(place)


def _cancelled() -> TargetError:
    return TargetError("read", "source", FailureKind.CANCELLED, "asked to stop")

"""Files into a folder, each whole or not at all; what stood there under the same name is kept under a numbered one."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from jobs.failure import FailureKind
from jobs.history import ReportFile
from targets.errors import TargetError

_MODE: Final = 0o640  # whoever reads reports is let in by the group
_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT))
# What systems answer that have no second names for a file (FAT, some shares).
_NO_LINKS: Final = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK))


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What is there now: the files with their hashes, and the names that older ones were given."""

    files: tuple[ReportFile, ...]
    kept: tuple[str, ...]


def publish(folder: Path, contents: Mapping[str, bytes]) -> Published:
    """Put files into a folder that is there. No name ever shows half a file, nor is an older one lost.

    The folder is not made: one that is missing may be a disk that is not mounted. All are written before the first
    takes its name. Raises TargetError FOLDER_UNAVAILABLE or DISK_FULL; then every name shows what it showed before.
    One caller at a time may write files of these names.
    """
    fresh = {name: content for name, content in contents.items() if not _is_there(folder / name, content)}
    with _told(folder), _beside(folder, fresh) as beside:
        kept = tuple(_kept(folder / name) for name in fresh if os.path.lexists(folder / name))
        for name, path in beside.items():
            path.replace(folder / name)
        _settle(folder)
    return Published(files=tuple(_file(name, content) for name, content in contents.items()), kept=kept)


def _file(name: str, content: bytes) -> ReportFile:
    return ReportFile(name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _is_there(path: Path, content: bytes) -> bool:
    try:
        return not path.is_symlink() and path.read_bytes() == content
    except OSError:  # whatever it is, it is not the same; writing tells what is wrong
        return False


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = FailureKind.DISK_FULL if error.errno in _FULL else FailureKind.FOLDER_UNAVAILABLE
        raise TargetError("write a report into", str(folder), kind, error.strerror or str(error)) from error


@contextmanager
def _beside(folder: Path, contents: Mapping[str, bytes]) -> Iterator[Mapping[str, Path]]:
    """The files under names that nobody looks at, safely on the disk; those that are still so called are removed."""
    beside = {name: folder / f".{name}.part" for name in contents}
    try:
        for name, path in beside.items():
            _write(path, contents[name])
        yield beside
    finally:
        for path in beside.values():
            with suppress(OSError):  # it has its name by now, or the folder is gone
                path.unlink()


def _write(path: Path, content: bytes) -> None:
    """One that a killed process left is written over. Where files have no modes (FAT), it has what all have."""
    with suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    with os.fdopen(descriptor, "wb") as file:
        try:
            os.fchmod(descriptor, _MODE)
        except OSError as error:
            if error.errno != errno.EPERM:
                raise
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _kept(path: Path) -> str:
    """Give what is there a second, numbered name: the first free one."""
    for number in count(1):
        older = path.with_name(f"{path.stem}.{number}{path.suffix}")
        if not os.path.lexists(older):
            break
        if older.exists() and older.samefile(path):  # a process that was killed had come so far
            return older.name
    try:
        os.link(path, older, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _kept_without_links(path, older, number)
    return older.name


def _kept_without_links(path: Path, older: Path, number: int) -> str:
    """Copy it: until the new one has its name, the old one must not lose it. What is no file of ours is moved away."""
    if not stat.S_ISREG(path.lstat().st_mode):
        path.rename(older)
        return older.name
    content = path.read_bytes()
    before = path.with_name(f"{path.stem}.{number - 1}{path.suffix}")
    if _is_there(before, content):  # a process that was killed, or refused, had come so far
        return before.name
    with _beside(path.parent, {older.name: content}) as beside:
        beside[older.name].replace(older)
    return older.name


def _settle(folder: Path) -> None:
    """The names too are on the disk; some shares know no such thing, and have done it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
            raise
    finally:
        os.close(descriptor)

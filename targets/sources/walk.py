"""Everything at and below some paths, in the manifest's order, with nothing held but the names on the way down.

No symbolic link is followed below a path that was named. What restic would leave out is left out the same way (its
versions 0.14 to 0.19 agree): what an exclude pattern matches, and with `one_file_system` what lies on another device,
but for the mount point itself, which is an empty folder.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from errno import ELOOP, ENOTDIR
from pathlib import Path
from typing import Final

from jobs import manifest, patterns
from jobs.policy import Paths

UNKNOWN: Final = os.stat_result((0,) * os.stat_result.n_fields)  # stands for the lstat of what cannot be looked at
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # never waits, should it now be a pipe


def clean(path: str) -> str:
    """The path as restic stores it: without `.`, `..`, doubled and trailing slashes, by its letters alone."""
    return "/" + os.path.normpath(path).lstrip("/")


def open_(place: str, more: int = 0) -> int:
    """Open for reading without leaving a trace in atime, where the kernel lets us (the owner and root)."""
    try:
        return os.open(place, _FLAGS | more | os.O_NOATIME)
    except PermissionError:
        return os.open(place, _FLAGS | more)


class Walk:
    """What lies at and below the paths, in the manifest's order: path, place on disk, lstat, and a mark or nothing."""

    def __init__(self, source: Paths, root: Path | None, vanished: Callable[[str], None]) -> None:
        targets = {clean(path) for path in source.paths}
        self._passages = {above for path in targets for above in _above(path)}
        self._tops = sorted((path for path in targets if not targets & set(_above(path))), key=manifest.order)
        self._targets = frozenset(targets)
        self._prefix = str(root).rstrip("/") if root else ""
        self._excluded = patterns.compile(() if root else source.exclude)
        self._one_file_system = source.one_file_system and root is None
        self._vanished = vanished

    def entries(self) -> Iterator[tuple[str, str, os.stat_result, bytes]]:
        """Depth first. `/` itself is no entry, as in restic. The lstat of what cannot be looked at is all zeros."""
        levels = [_Level(paths=iter(self._tops))]
        while levels:
            level = levels[-1]
            path = next(level.paths, None)
            if path is None:
                levels.pop()
                continue
            if self._excluded(path):
                continue
            place = self._prefix + path
            found = self._look(path, place)
            if found is None or not self._is_wanted(path, found, level):
                continue
            names, mark = _names(place) if stat.S_ISDIR(found.st_mode) else ((), _mark(found))
            if names is None:
                self._vanished(path)
                continue
            if path != "/":
                yield path, place, found, mark
            if names:
                levels.append(self._below(path, found, level, names))

    def _look(self, path: str, place: str) -> os.stat_result | None:
        try:
            return os.lstat(place)
        except FileNotFoundError:
            if path not in self._targets or not self._prefix:
                self._vanished(path)
            return None
        except OSError:
            return UNKNOWN

    def _is_wanted(self, path: str, found: os.stat_result, level: _Level) -> bool:
        """restic's rule for one file system: what is on the device of the nearest path that was named, and, of what is
        not, the folders whose parent is: mount points.
        """
        if not self._one_file_system or path in self._passages or path in self._targets:
            return True
        return found.st_dev == level.device or (stat.S_ISDIR(found.st_mode) and level.is_on_device)

    def _below(self, path: str, found: os.stat_result, level: _Level, names: Iterable[str]) -> _Level:
        device = found.st_dev if path in self._targets else level.device
        base = path.rstrip("/") + "/"
        return _Level(paths=map(base.__add__, names), device=device, is_on_device=found.st_dev == device)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Level:
    """A folder on the way down: what is still to come in it, and the device that is to be kept to."""

    paths: Iterator[str]
    device: int = -1
    is_on_device: bool = True


def _above(path: str) -> Iterator[str]:
    """The folders above a path, up to and with `/`."""
    while path != "/":
        path = path.rpartition("/")[0] or "/"
        yield path


def _mark(found: os.stat_result) -> bytes:
    return manifest.UNREADABLE if found is UNKNOWN else b""


def _names(place: str) -> tuple[list[str] | None, bytes]:
    """The sorted names in a folder, and a mark where they cannot be had; None when the folder is gone."""
    try:
        folder = open_(place, os.O_DIRECTORY)
    except FileNotFoundError:
        return None, b""
    except OSError as error:
        return [], manifest.CHANGED if error.errno in (ENOTDIR, ELOOP) else manifest.UNREADABLE
    try:
        return sorted(os.listdir(folder)), b""  # noqa: PTH208 (a descriptor: pathlib knows none)
    except OSError:
        return [], manifest.UNREADABLE
    finally:
        os.close(folder)

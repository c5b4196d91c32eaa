"""What this machine holds that is worth a backup: its mounts, the databases that run, the database files on it.

Mounts come from /proc/self/mountinfo (proc(5)), because it alone tells what is a bind mount of something else.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from targets.host import programs

MOUNTS: Final = Path("/proc/self/mountinfo")
FILE_SYSTEMS: Final = Path("/proc/filesystems")

# Kinds without a disk of their own (`nodev`) that hold people's data all the same.
_KEPT_ELSEWHERE: Final = frozenset(
    {"zfs", "nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "9p", "virtiofs", "tmpfs", "lustre", "ocfs2"}
)
# Kinds on a disk that hold nothing of anybody's: images of packages and of installation media.
_IMAGES: Final = frozenset({"squashfs", "erofs", "iso9660", "udf", "cramfs"})
# Below these nothing lasts, or the next installation makes it again; the last two only as a whole.
_PASSING: Final = tuple(map(Path, ("/proc", "/sys", "/dev", "/run", "/boot", "/snap")))
_SCRATCH: Final = frozenset(map(Path, ("/tmp", "/var/tmp")))  # noqa: S108 (nothing is written there)
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A file system that people's data may lie on, and where it is seen. `device` is what two mounts of one share."""

    path: Path
    kind: str
    device: str
    source: str
    read_only: bool = False


def mounts() -> tuple[Mount, ...]:
    """The mounts that people's data may lie on, by their path. Those that we may not look at are left out."""
    nodev = _nodev()
    lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    found = {mount.path: mount for mount in map(_mount, lines) if _is_real(mount, nodev)}
    return tuple(found[path] for path in sorted(found))


def _nodev() -> frozenset[str]:
    rows = FILE_SYSTEMS.read_text(encoding="ascii", errors="replace").splitlines()
    return frozenset(row.split()[1] for row in rows if row.startswith("nodev"))


def _mount(line: str) -> Mount:
    """`27 1 254:0 / /srv rw,relatime shared:1 - ext4 /dev/vda rw`: optional fields end with a dash."""
    place, _, what = line.partition(" - ")
    fields, kind = place.split(), what.split()
    return Mount(
        path=Path(_plain(fields[4])),
        kind=kind[0],
        device=f"{fields[2]} {_plain(fields[3])}",
        source=_plain(kind[1]),
        read_only="ro" in fields[5].split(","),
    )


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)


def _is_real(mount: Mount, nodev: frozenset[str]) -> bool:
    kept = mount.kind not in nodev or mount.kind in _KEPT_ELSEWHERE or mount.kind.startswith("fuse.")
    if mount.path == Path("/"):
        return True
    if not kept or mount.kind in _IMAGES or (mount.kind == "tmpfs" and mount.read_only):
        return False
    passing = mount.path in _SCRATCH or any(mount.path.is_relative_to(place) for place in _PASSING)
    return not passing and _is_folder(mount.path)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


# Process name → what people call it.
_SERVERS: Final = {
    "postgres": "PostgreSQL",
    "postmaster": "PostgreSQL",
    "mysqld": "MySQL",
    "mariadbd": "MariaDB",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseServer:
    """A database that runs here. `data` None or no `ports`: we may not know (another user's process)."""

    kind: str
    pid: int
    data: Path | None
    ports: tuple[int, ...]


def database_servers() -> tuple[DatabaseServer, ...]:
    """The databases that run on this machine, each once. Both PostgreSQL and MariaDB work in their data folder."""
    return tuple(
        DatabaseServer(kind=_SERVERS[program.name], pid=program.pid, data=program.folder, ports=program.ports)
        for program in programs(frozenset(_SERVERS))
    )


_ENDINGS: Final = (".db", ".sqlite", ".sqlite3", ".db3")
_HEADER: Final = b"SQLite format 3\x00"  # https://www.sqlite.org/fileformat.html, 1.3
_SKIPPED: Final = frozenset({"proc", "sys", "dev", "run", "node_modules", "__pycache__", "overlay2", "lost+found"})
_DEEPEST: Final = 8  # folders below a place: what lies deeper is a program's own


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Database files, and whether the search got through to the end."""

    files: tuple[Path, ...]
    complete: bool


def sqlite_files(places: Iterable[Path], without: Iterable[Path], seconds: float) -> Found:
    """SQLite databases below some places on their own file systems, but not below `without`; for so long at most."""
    end = time.monotonic() + seconds
    avoided = frozenset(map(str, without))
    files: set[Path] = set()
    for place in places:
        for path in _walk(str(place), avoided, _DEEPEST, _device(str(place))):
            if time.monotonic() > end:
                return Found(files=tuple(sorted(files)), complete=False)
            if path is not None and _is_sqlite(path):
                files.add(Path(path))
    return Found(files=tuple(sorted(files)), complete=True)


def _device(path: str) -> int:
    try:
        return Path(path).stat().st_dev
    except OSError:
        return 0


def _walk(folder: str, avoided: frozenset[str], depth: int, device: int) -> Iterator[str | None]:
    """Files that may be databases by their names; None for each folder, so that somebody can look at the time."""
    yield None
    if folder in avoided or depth < 0:
        return
    try:
        with os.scandir(folder) as entries:
            inside = list(entries)  # whole, so that no folder is held open while one looks below it
    except OSError:  # not there, or not ours to see: what we cannot see we cannot back up either
        return
    for entry in inside:
        if entry.is_symlink():
            continue
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in _SKIPPED and not entry.name.startswith(".cache") and _device(entry.path) == device:
                yield from _walk(entry.path, avoided, depth - 1, device)
        elif entry.name.endswith(_ENDINGS):
            yield entry.path


def _is_sqlite(path: str) -> bool:
    try:
        with Path(path).open("rb", buffering=0) as file:
            return file.read(len(_HEADER)) == _HEADER
    except OSError:
        return False

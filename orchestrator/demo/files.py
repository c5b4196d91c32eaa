"""The ministry's career files: thousands of real files found on this machine, and made-up scans that fill the rest."""

from __future__ import annotations

import os
import random
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# Python's own library and the installed packages are the only thousands of real files that every machine has.
_FOUND: Final = {"library": "stdlib", "packages": "purelib", "binaries": "platlib"}
_LEFT_OUT: Final = frozenset({"__pycache__", "site-packages", "dist-packages", "node_modules"})
_LARGEST: Final = 4_000_000  # bytes: one huge library would crowd out the many
_YEARS: Final = range(1998, 2027)


def found(limit: int) -> Iterator[tuple[Path, Path]]:
    """(file, where it goes) of at most `limit` regular files, in the same order each time."""
    seen: set[Path] = set()
    for shelf, name in _FOUND.items():
        root = Path(sysconfig.get_path(name)).resolve()
        if root in seen:
            continue
        seen.add(root)
        for path in _regular_files(root):
            if limit == 0:
                return
            limit -= 1
            yield path, Path(shelf) / path.relative_to(root)


def _regular_files(root: Path) -> Iterator[Path]:
    for folder, below, names in os.walk(root):
        below[:] = sorted(set(below) - _LEFT_OUT)
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file() or not os.access(path, os.R_OK):
                continue
            if path.stat().st_size <= _LARGEST:
                yield path


def make(folder: Path, *, files: int, size: int, seed: int) -> None:
    """Fill a new folder with at least `files` files of at least `size` bytes in all."""
    written = count = 0
    for path, place in found(files * 9 // 10):
        target = folder / "archive" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        shutil.copystat(path, target)
        written += path.stat().st_size
        count += 1
    chance = random.Random(seed)
    for number in range(files - count):
        written += _write_notice(folder, number, chance)
    number = 0
    while written < size:
        written += write_scan(folder, number, chance)
        number += 1


def _write_notice(folder: Path, number: int, chance: random.Random) -> int:
    """One short letter; they make up the number where a machine has few files."""
    path = folder / "notices" / str(chance.choice(_YEARS)) / f"notice {number:05}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"Notice {number:05}: step {chance.randint(1, 9)}, index {chance.randint(200, 1400)}"] * chance.randint(
        3, 40
    )
    return path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_scan(folder: Path, number: int, chance: random.Random) -> int:
    """One scanned dossier: 1.5 to 4 MB that no compression makes smaller, as scans are. Returns its bytes."""
    path = folder / "scans" / str(_YEARS[number % len(_YEARS)]) / f"dossier-{number:05}.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.write_bytes(b"II*\0" + chance.randbytes(chance.randint(1_500_000, 4_000_000)))


def change(folder: Path, *, seed: int, share: float = 0.02) -> None:
    """A working day: of all but the scans, a share is edited, deleted, renamed; a few new scans come in."""
    chance = random.Random(seed)
    paths = sorted(
        path for path in folder.rglob("*") if path.is_file() and "scans" not in path.relative_to(folder).parts
    )
    chosen = chance.sample(paths, max(4, int(len(paths) * share)))
    for number, path in enumerate(chosen):
        _ACTS[number % len(_ACTS)](path, seed)
    scans = len(list((folder / "scans").rglob("*.tif")))
    for number in range(scans, scans + 3):
        write_scan(folder, number, chance)


def _edit(path: Path, seed: int) -> None:
    path.chmod(0o644)
    with path.open("ab") as file:
        file.write(f"\nreviewed in round {seed}\n".encode())


def _add(path: Path, seed: int) -> None:
    path.with_name(f"{path.stem} (decision {seed}).txt").write_text(f"Decision on {path.name}\n", encoding="utf-8")


def _delete(path: Path, _seed: int) -> None:
    path.unlink()


def _rename(path: Path, seed: int) -> None:
    path.rename(path.with_name(f"{path.stem} - filed {seed}{path.suffix}"))


_ACTS: Final = (_edit, _edit, _add, _delete, _rename)

"""Damage done on purpose to a copy of a repository, as a dying disk does it: one bit, and nobody is told."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final

# A pack ends with its header's length, little-endian; the header holds 41 bytes for each (compressed) blob and 32 more.
# https://restic.readthedocs.io/en/stable/100_references.html#pack-format
_LENGTH: Final = struct.Struct("<I")
_ENTRY, _OVERHEAD = 41, 32


def damage(repository: Path) -> Path:
    """Flip one bit in the middle of a data pack of a local repository, and give the pack. Size and times stay.

    It is the pack with the largest blobs among the large ones: it holds scans, which every later snapshot needs too.
    """
    packs = sorted(path for path in (repository / "data").glob("*/*") if path.is_file())
    if not packs:
        raise ValueError(f"{repository} holds no data to damage")
    largest = max(path.stat().st_size for path in packs)
    chosen = max((path for path in packs if path.stat().st_size * 2 >= largest), key=_mean_blob)
    _flip_bit(chosen, chosen.stat().st_size // 2)
    return chosen


def _mean_blob(pack: Path) -> float:
    """Bytes in one blob of the pack, on average."""
    with pack.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(-_LENGTH.size, os.SEEK_END)
        header: int = _LENGTH.unpack(file.read(_LENGTH.size))[0]
    return size / max(1, (header - _OVERHEAD) // _ENTRY)


def _flip_bit(path: Path, offset: int) -> None:
    before = path.stat()
    path.chmod(0o600)  # restic's files are read-only
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1]))
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

"""All that the demonstration works on, made or found on any machine in seconds and never downloaded."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.demo import files, pensions, records

TENANTS: Final = ("minfopra", "chu-yaounde")

_SEED: Final = 20261121


@dataclass(frozen=True, kw_only=True, slots=True)
class Amount:
    """How much there is: files (links count as files), and bytes."""

    files: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """How much is made at least: career files and their bytes, pensioners, patients (three files each)."""

    files: int
    bytes: int
    pensioners: int
    patients: int


FULL: Final = Scale(files=4_800, bytes=318_000_000, pensioners=100_000, patients=400)


def make_sources(folder: Path, scale: Scale = FULL) -> Amount:
    """Both tenants' data in a new folder; in full at least 5,000 files and 300 MiB, in some three seconds."""
    ministry, hospital = (folder / tenant for tenant in TENANTS)
    files.make(ministry / "career-files", files=scale.files, size=scale.bytes, seed=_SEED)
    pensions.make(ministry / "pensions.db", pensioners=scale.pensioners, seed=_SEED)
    records.make(hospital / "records", patients=scale.patients, seed=_SEED)
    return measure(folder)


def change_sources(folder: Path, round_number: int) -> Amount:
    """Some two of a hundred files edited, added, deleted, renamed; the database is its writer's. `round_number` ≥ 1."""
    ministry, hospital = (folder / tenant for tenant in TENANTS)
    files.change(ministry / "career-files", seed=round_number)
    records.change(hospital / "records", seed=round_number)
    return measure(folder)


def make_secrets(folder: Path, tenants: Iterable[str] = TENANTS) -> None:
    """A random throw-away password for each tenant, in a file that only its owner can read."""
    folder.mkdir(mode=0o700, parents=True)
    for tenant in tenants:
        handle = os.open(folder / f"{tenant}.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"{secrets.token_urlsafe(18)}\n")


def measure(folder: Path) -> Amount:
    """How much a folder holds."""
    sizes = [path.lstat().st_size for path in folder.rglob("*") if path.is_symlink() or path.is_file()]
    return Amount(files=len(sizes), bytes=sum(sizes))

"""Repositories to work on: two empty ones for each test."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from targets.ports import Access, BackupRequest, RepositoryAddress
from targets.process import Limits
from targets.restic.engine import Restic
from targets.secret import Secret
from tests.bare_restic import PASSWORD, BareRestic
from tests.repositories import prepare

LIMITS = Limits(deadline_seconds=120, no_progress_seconds=60, grace_seconds=20)
NOON = datetime(2026, 11, 2, 12, 30, 15, tzinfo=UTC)
RESPECTFUL = "setpriv --bounding-set=-dac_override,-dac_read_search"


def access(repository: Path, *, upload: int | None = None) -> Access:
    """A local repository; `upload` slows it down to so many bytes a second."""
    address = RepositoryAddress(label=f"t@{repository.name}", url=Secret(str(repository)), limit_upload=upload)
    return Access(address=address, password=Secret(PASSWORD))


def request(
    *paths: Path | str, tags: tuple[str, ...] = ("tandem", "run=1"), directory: Path | None = None
) -> BackupRequest:
    """A backup of these paths."""
    return BackupRequest(paths=tuple(map(str, paths)), tags=tags, host="h", time=NOON, directory=directory)


def write_noise(path: Path, size: int) -> Path:
    """A file that neither compresses nor deduplicates."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(path.name).randbytes(size))
    return path


def children() -> list[psutil.Process]:
    """The restics that run below us."""
    return [child for child in psutil.Process().children(recursive=True) if "restic" in child.name()]


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """Two repositories that share their chunker parameters, and a source."""

    restic: Restic
    primary: Path
    secondary: Path
    source: Path
    stop: threading.Event

    def bare(self, repository: Path) -> BareRestic:
        """The repository, seen without Tandem."""
        return BareRestic(program=Path(self.restic.program), repository=repository)

    def locks(self) -> list[str]:
        """What lies in the locks' folder of the primary."""
        return [lock.name for lock in (self.primary / "locks").iterdir()]

    def ids(self, repository: Path | None = None) -> tuple[str, ...]:
        """The ids of all snapshots."""
        return tuple(one.id for one in self.restic.snapshots(access(repository or self.primary), stop=self.stop))


@pytest.fixture(scope="session")
def installed(restic_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Restic:
    """The restic at hand."""
    return Restic.find(str(restic_program), cache=tmp_path_factory.mktemp("cache"), limits=LIMITS)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both repositories and the source."""
    folder = tmp_path_factory.mktemp("made")
    write_noise(folder / "source" / "big", 3_000_000)
    write_noise(folder / "source" / "sub" / "small.txt", 100)
    for name in ("primary", "secondary"):
        prepare(folder / name, PASSWORD)
    return folder


@pytest.fixture
def site(installed: Restic, made: Path, tmp_path: Path) -> Iterator[Site]:
    """Both repositories, empty, for one test."""
    for name in ("primary", "secondary", "source"):
        shutil.copytree(made / name, tmp_path / name)
    yield Site(
        restic=installed,
        primary=tmp_path / "primary",
        secondary=tmp_path / "secondary",
        source=tmp_path / "source",
        stop=threading.Event(),
    )
    assert not children(), "a restic was left behind"


@pytest.fixture
def respectful(site: Site, tmp_path: Path) -> Restic:
    """A restic whom file modes bind, also where the tests run as root: it lacks the capability to override them."""
    if os.geteuid() != 0:
        return site.restic
    program = tmp_path / "restic"
    program.write_text(f'#!/bin/sh\nexec {RESPECTFUL} {shlex.quote(site.restic.program)} "$@"\n')
    program.chmod(0o755)
    return replace(site.restic, program=str(program))

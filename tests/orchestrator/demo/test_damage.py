"""One flipped bit in a copy is what restic finds in the copy, and only there; checked with real restic."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from orchestrator.demo import files
from orchestrator.demo.damage import damage
from tests.repositories import prepare

PASSWORD = "thirteen"


@pytest.fixture
def repository(tmp_path: Path, restic_program: Path) -> Path:
    """Two snapshots, a changed day apart, of scans and small files."""
    files.make(tmp_path / "career-files", files=200, size=45_000_000, seed=5)
    path = prepare(tmp_path / "repository", PASSWORD)
    restic(restic_program, path, "backup", str(tmp_path / "career-files"))
    files.change(tmp_path / "career-files", seed=1, share=0.2)
    restic(restic_program, path, "backup", str(tmp_path / "career-files"))
    return path


def restic(program: Path, repository: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"RESTIC_PASSWORD": PASSWORD, "RESTIC_REPOSITORY": str(repository)}
    return subprocess.run([program, *words], env=environment, capture_output=True, text=True, check=check)


def test_restic_finds_the_bit_in_the_copy_and_not_in_the_original(
    repository: Path, restic_program: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(repository, copy)
    damage(copy)
    assert restic(restic_program, repository, "check", "--read-data").returncode == 0
    assert restic(restic_program, copy, "check", "--read-data", check=False).returncode != 0
    restored = restic(restic_program, copy, "restore", "latest", "--target", str(tmp_path / "out"), check=False)
    assert restored.returncode != 0, "the damage does not touch the newest snapshot"


def test_only_one_bit_of_one_file_differs(repository: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(repository, copy)
    pack = damage(copy)
    original = repository / pack.relative_to(copy)
    assert stat_of(pack) == stat_of(original)
    pairs = zip(pack.read_bytes(), original.read_bytes(), strict=True)
    assert sum((one ^ other).bit_count() for one, other in pairs) == 1
    same = [path for path in repository.rglob("*") if path.is_file() and path != original]
    assert all((copy / path.relative_to(repository)).read_bytes() == path.read_bytes() for path in same)


def stat_of(path: Path) -> tuple[int, int, int]:
    seen = path.stat()
    return seen.st_size, seen.st_mode, seen.st_mtime_ns


def test_nothing_to_damage_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no data"):
        damage(tmp_path)

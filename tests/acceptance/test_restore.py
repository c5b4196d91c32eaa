"""A person restores: the right point, the right files, from either site, and never over what is there unasked."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.acceptance.operator import Operator


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, restic_program: Path) -> Operator:
    """An operator with two recovery points at both sites, the older one with `a.txt` as "first"."""
    operator = Operator(folder=tmp_path_factory.mktemp("kept"), restic=restic_program).with_repositories()
    assert operator.tandem("backup", "files").code == 0
    time.sleep(1.1)  # restic keeps whole seconds, and the two points must differ
    operator.write("a.txt", "second\n")
    assert operator.tandem("backup", "files").code == 0
    assert operator.tandem("replicate", "files").code == 0
    return operator


def placed(target: Path, operator: Operator, name: str) -> Path:
    """Where a file of the source lands below a target."""
    return target / str(operator.source).lstrip("/") / name


@pytest.mark.parametrize("site", ["primary", "secondary"])
def test_the_newest_point_comes_back_whole_and_verified(kept: Operator, tmp_path: Path, site: str) -> None:
    done = kept.tandem("--json", "restore", "files", "--to", str(tmp_path / "out"), "--from", site)
    assert done.code == 0, done.err
    assert placed(tmp_path / "out", kept, "a.txt").read_text() == "second\n"
    for name in ("deep/er/b.bin", "deep/c.txt"):
        back, there = placed(tmp_path / "out", kept, name), kept.source / name
        assert back.read_bytes() == there.read_bytes()
        assert back.stat().st_mtime_ns == there.stat().st_mtime_ns
    assert done.json["sections"][0]["tables"][0]["rows"][0]["found"]["value"]["verified"] == 3
    assert not list((tmp_path / "out").glob(".tandem*"))


def test_an_older_point_by_snapshot_and_by_time(kept: Operator, tmp_path: Path) -> None:
    older, newer = kept.snapshots("primary")
    by_id = kept.tandem("restore", "files", "--to", str(tmp_path / "id"), "--snapshot", older["short_id"])
    assert by_id.code == 0, by_id.err
    assert placed(tmp_path / "id", kept, "a.txt").read_text() == "first\n"
    by_time = kept.tandem("restore", "files", "--to", str(tmp_path / "at"), "--at", older["time"][:19] + "+00:00")
    assert by_time.code == 0, by_time.err
    assert placed(tmp_path / "at", kept, "a.txt").read_text() == "first\n"
    assert newer["time"] > older["time"]


def test_only_what_the_patterns_name(kept: Operator, tmp_path: Path) -> None:
    done = kept.tandem("restore", "files", "--to", str(tmp_path), "--path", "*.txt")
    assert done.code == 0, done.err
    found = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert found == ["a.txt", "c.txt"]


def test_nothing_is_written_over_what_is_there(kept: Operator, tmp_path: Path) -> None:
    mine = placed(tmp_path, kept, "a.txt")
    mine.parent.mkdir(parents=True)
    mine.write_text("mine\n")
    refused = kept.tandem("restore", "files", "--to", str(tmp_path))
    assert refused.code == 4
    assert "a.txt" in refused.err
    assert "--overwrite" in refused.out
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]
    assert mine.read_text() == "mine\n"


def test_with_overwrite_it_is_replaced_and_all_else_stays(kept: Operator, tmp_path: Path) -> None:
    mine, other = placed(tmp_path, kept, "a.txt"), placed(tmp_path, kept, "deep/other.txt")
    other.parent.mkdir(parents=True)
    mine.write_text("mine\n")
    other.write_text("other\n")
    assert kept.tandem("restore", "files", "--to", str(tmp_path), "--overwrite").code == 0
    assert mine.read_text() == "second\n"
    assert other.read_text() == "other\n"


def test_a_link_in_the_target_is_not_followed(kept: Operator, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "out"
    top = target / str(kept.source).lstrip("/").split("/")[0]
    target.mkdir()
    top.symlink_to(outside)
    done = kept.tandem("restore", "files", "--to", str(target))
    assert done.code == 4, done.out
    assert not list(outside.iterdir())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--at", "2001-01-01"), 4, "oldest recovery point is after"),
        (("--snapshot", "ffffffff"), 4, "0 recovery points begin with"),
        (("--path", "*.nothing"), 4, "matches"),
        (("--at", "soon"), 2, "is no time"),
        (("--from", "primry"), 2, "did you mean 'primary'"),
    ],
)
def test_asking_for_what_is_not_there(
    kept: Operator, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    done = kept.tandem("restore", "files", "--to", str(tmp_path / "out"), *words)
    assert done.code == code
    assert said in done.err
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_what_would_come_back(kept: Operator, tmp_path: Path) -> None:
    done = kept.tandem("--json", "restore", "files", "--to", str(tmp_path / "out"), "--dry-run")
    assert done.code == 0
    assert done.json["facts"]["files"]["value"] == 3
    assert not (tmp_path / "out").exists()


@pytest.mark.as_root
def test_owners_and_modes_come_back(kept: Operator, tmp_path: Path) -> None:
    odd = kept.write("odd.txt", "odd\n")
    os.chown(odd, 12345, 54321)
    odd.chmod(0o4751)
    assert kept.tandem("backup", "files").code == 0
    assert kept.tandem("restore", "files", "--to", str(tmp_path), "--path", "odd.txt").code == 0
    back = placed(tmp_path, kept, "odd.txt").stat()
    assert (back.st_uid, back.st_gid, back.st_mode & 0o7777) == (12345, 54321, 0o4751)

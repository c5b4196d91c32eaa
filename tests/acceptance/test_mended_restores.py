"""Restores to a target that is not as one would wish: closed, with old journals or links; and nothing to compare."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from jobs.failure import FailureKind
from jobs.history import RunState
from tests.acceptance.faults import done, leftovers, runs
from tests.acceptance.operator import Operator
from tests.acceptance.test_faults_source import Bound


@contextmanager
def _closed(folder: Path) -> Iterator[None]:
    folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(0o755)


def _kind(operator: Operator) -> FailureKind:
    failure = runs(operator)[0].failure
    assert failure is not None
    return failure.kind


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


def test_what_is_read_only_is_proven_restored_and_swept_away_by_an_ordinary_user(
    tmp_path: Path, restic_program: Path
) -> None:
    operator = Bound(folder=tmp_path / "operator", restic=restic_program)
    shutil.rmtree(operator.source / "deep")
    (operator.source / "a.txt").unlink()
    only = operator.write("closed/in/only.txt", "read me\n")
    only.chmod(0o444)
    out = tmp_path / "out"
    with _closed(only.parent.parent), _closed(only.parent):
        done(operator, "backup", "files")
        done(operator, "test-restore", "files", "--site", "primary")
        assert leftovers(operator) == []
        done(operator, "restore", "files", "--to", str(out / "whole"))
        beside = out / "beside" / str(operator.source).lstrip("/")
        beside.mkdir(parents=True)
        done(operator, "restore", "files", "--to", str(out / "beside"))
    for closed in out.rglob("closed"):
        assert (closed.stat().st_mode & 0o777, (closed / "in").stat().st_mode & 0o777) == (0o555, 0o555)
        assert (closed / "in" / "only.txt").read_text() == "read me\n"
        closed.chmod(0o755)
        (closed / "in").chmod(0o755)
    assert len(list(out.rglob("only.txt"))) == 2
    assert leftovers(operator, out) == []


def test_a_left_over_journal_is_in_the_way_of_a_database(operator: Operator, tmp_path: Path) -> None:
    policy = '[policies.ledger]\nsource = {{ sqlite = {{ path = "live.db" }} }}\n'
    operator.write_settings(operator.settings + policy)
    live = operator.folder / "live.db"
    with closing(sqlite3.connect(live)) as database:
        database.execute("CREATE TABLE entry (amount INTEGER)")
    done(operator, "backup", "ledger")
    place = tmp_path / "out" / str(live).lstrip("/")
    place.parent.mkdir(parents=True)
    journals = {f"live.db{ending}" for ending in ("-wal", "-shm", "-journal")}
    for name in journals:
        place.with_name(name).write_text("another database's")
    refused = operator.tandem("restore", "ledger", "--to", str(tmp_path / "out"))
    assert (refused.code, _kind(operator)) == (4, FailureKind.NOT_EMPTY)
    assert "live.db-wal" in refused.err
    assert _files(tmp_path / "out") == journals
    replaced = operator.tandem("--json", "restore", "ledger", "--to", str(tmp_path / "out"), "--overwrite")
    assert replaced.code == 0, replaced.err
    assert runs(operator)[0].result.overwritten == 3  # type: ignore[union-attr]  # (a restore's result has it)
    assert _files(tmp_path / "out") == {"live.db"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, restic_program: Path) -> Operator:
    """An operator with one recovery point, which holds a link and an empty folder too. Nobody changes its source."""
    operator = Operator(folder=tmp_path_factory.mktemp("mended"), restic=restic_program).with_repositories()
    (operator.source / "link").symlink_to("a.txt")
    (operator.source / "empty").mkdir()
    done(operator, "backup", "files")
    return operator


def _below(target: Path, operator: Operator) -> Path:
    place = target / str(operator.source).lstrip("/")
    place.mkdir(parents=True)
    return place


def test_a_file_in_place_of_a_folder_is_told_before_anything_is_moved(kept: Operator, tmp_path: Path) -> None:
    place = _below(tmp_path, kept)
    (place / "deep").write_text("mine\n")
    refused = kept.tandem("restore", "files", "--to", str(tmp_path))
    assert (refused.code, _kind(kept)) == (4, FailureKind.NOT_EMPTY)
    assert _files(tmp_path) == {"deep"}
    only_below = kept.tandem("restore", "files", "--to", str(tmp_path), "--path", "c.txt")
    assert (only_below.code, _kind(kept)) == (4, FailureKind.NOT_EMPTY)
    assert _files(tmp_path) == {"deep"}
    done(kept, "restore", "files", "--to", str(tmp_path), "--overwrite")
    assert runs(kept)[0].result.overwritten == 1  # type: ignore[union-attr]  # (a restore's result has it)
    assert (place / "deep/c.txt").read_text() == "third\n"


@pytest.mark.parametrize("name", ["deep", "a.txt"])
def test_a_link_for_a_folder_and_a_full_folder_for_a_file_are_never_replaced(
    kept: Operator, tmp_path: Path, name: str
) -> None:
    place = _below(tmp_path / "out", kept)
    outside = tmp_path / "outside"
    outside.mkdir()
    if name == "deep":
        (place / name).symlink_to(outside)
    else:
        (place / name / "mine").mkdir(parents=True)
    refused = kept.tandem("restore", "files", "--to", str(tmp_path / "out"), "--overwrite")
    assert (refused.code, _kind(kept)) == (4, FailureKind.TARGET_UNWRITABLE)
    assert name in refused.err
    assert [path.name for path in place.iterdir()] == [name]
    assert list(outside.iterdir()) == []


def test_a_target_that_cannot_be_written_is_told_with_its_own_advice(kept: Operator, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("no folder")
    refused = kept.tandem("restore", "files", "--to", str(target))
    assert (refused.code, _kind(kept)) == (4, FailureKind.TARGET_UNWRITABLE)
    assert "nothing was moved" in refused.err
    said = " ".join(refused.out.split())
    assert "credentials" not in said
    assert "choose another folder" in said


@pytest.mark.parametrize("name", ["link", "empty"])
def test_a_link_or_an_empty_folder_alone_can_be_restored(kept: Operator, tmp_path: Path, name: str) -> None:
    done(kept, "restore", "files", "--to", str(tmp_path), "--path", name)
    back = tmp_path / str(kept.source).lstrip("/") / name
    assert back.is_symlink() if name == "link" else back.is_dir()


def test_a_restore_test_without_a_file_does_not_look_like_proof(operator: Operator) -> None:
    shutil.rmtree(operator.source)
    (operator.source / "empty").mkdir(parents=True)
    done(operator, "backup", "files")
    tested = operator.tandem("test-restore", "files", "--site", "primary")
    assert tested.code == 3, tested.err
    newest = runs(operator)[0]
    assert newest.state is RunState.PARTIAL
    assert "nothing was proven" in tested.out + tested.err

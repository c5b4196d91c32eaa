"""The disk is full in the middle of a job: said by name, put on record, nothing lost; with room again, it succeeds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jobs.failure import FailureKind
from jobs.history import Job, RunState
from tests.acceptance import faults
from tests.acceptance.faults import (
    assert_sound,
    done,
    fill,
    gate,
    leftovers,
    points,
    runs,
    small_disk,
    unhooked,
)
from tests.acceptance.operator import Ended, Operator

pytestmark = pytest.mark.as_root

LEDGER = "ledger/tandem.db"


def _enlarge(place: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)


def _says_that_the_disk_is_full(ended: Ended) -> None:
    assert ended.code == 4, ended.err
    words = ended.out + ended.err
    assert "no space left on device" in words.lower(), words
    assert "Free space there" in words, words


def _is_on_record(operator: Operator, job: Job, file: str = "tandem.db") -> None:
    newest = runs(operator, file)[0]
    assert newest.failure is not None
    assert (newest.job, newest.state, newest.failure.kind) == (job, RunState.FAILED, FailureKind.DISK_FULL)


def test_the_vault_is_full_in_the_middle_of_a_backup(operator: Operator) -> None:
    faults.noise(operator.source / "large", 12)
    with small_disk(operator.folder / "primary", 8) as disk:
        failed = operator.tandem("backup", "files")
        _says_that_the_disk_is_full(failed)
        assert "minfopra@primary" in failed.out + failed.err
        _is_on_record(operator, Job.BACKUP)
        assert operator.locks("primary") == []
        assert leftovers(operator) == []
        _enlarge(disk)
        done(operator, "backup", "files")
        assert len(operator.snapshots("primary")) == 1
        assert_sound(operator, "primary")


def test_the_second_vault_is_full_in_the_middle_of_a_copy(settled: Operator) -> None:
    with small_disk(settled.folder / "secondary", 11) as disk:
        failed = settled.tandem("replicate", "files")
        _says_that_the_disk_is_full(failed)
        assert "minfopra@secondary" in failed.out + failed.err
        _is_on_record(settled, Job.REPLICATE)
        assert settled.locks("secondary") + settled.locks("primary") == []
        assert len(settled.snapshots("secondary")) == 1
        _enlarge(disk)
        done(settled, "replicate", "files")
        assert len(settled.snapshots("secondary")) == 2
        assert_sound(settled, "secondary")


def test_the_target_is_full_in_the_middle_of_a_restore(settled: Operator) -> None:
    words = ("restore", "files", "--to", str(settled.folder / "back"))
    with small_disk(settled.folder / "back", 96) as disk:
        (disk / "mine").write_text("stays")
        failed = _filled_while_restic_waits(settled, disk, *words)
        _says_that_the_disk_is_full(failed)
        _is_on_record(settled, Job.RESTORE)
        assert [path.name for path in disk.iterdir()] == ["mine"]
        done(settled, *words)
        assert list(disk.rglob("source/big/stays"))
        assert (disk / "mine").read_text() == "stays"
    assert settled.locks("primary") == []


def test_a_restore_that_cannot_fit_is_refused_before_anything_is_written(settled: Operator) -> None:
    with small_disk(settled.folder / "back", 8) as disk:
        refused = settled.tandem("restore", "files", "--to", str(disk))
        assert refused.code == 4
        assert "needs 8," in refused.err
        assert "are free" in refused.err
        _is_on_record(settled, Job.RESTORE)
        assert list(disk.iterdir()) == []


def test_the_scratch_is_full_in_the_middle_of_a_restore_test(settled: Operator) -> None:
    words = ("test-restore", "files", "--site", "primary")
    with small_disk(settled.folder / "work" / "scratch", 96) as disk:
        failed = _filled_while_restic_waits(settled, disk, *words)
        _says_that_the_disk_is_full(failed)
        _is_on_record(settled, Job.RESTORE_TEST)
        assert list(disk.iterdir()) == []
        done(settled, *words)
    assert settled.locks("primary") == []


def _filled_while_restic_waits(operator: Operator, disk: Path, *words: str) -> Ended:
    """There was room when the restore began, and when it goes on somebody has taken all but 2 MiB."""
    waits = gate(operator, " restore ")
    process = operator.start(*words)
    waits.wait()
    ballast = fill(disk, leave=2 * faults.MIB)
    waits.open()
    failed = Ended(*faults.ended(process))
    ballast.unlink()
    unhooked(operator)
    assert "failed: restore minfopra@primary" in failed.err, failed.err
    return failed


def test_the_scratch_of_the_comparison_is_full(settled: Operator) -> None:
    """restic has restored everything; it is Tandem that finds no room for what it scans."""
    words = ("test-restore", "files", "--site", "primary")
    with small_disk(settled.folder / "work" / "scratch", 96) as disk:
        waits = gate(settled, " restore ", after=True)
        process = settled.start(*words)
        waits.wait()
        ballast = fill(disk)
        waits.open()
        failed = Ended(*faults.ended(process))
        _says_that_the_disk_is_full(failed)
        _is_on_record(settled, Job.RESTORE_TEST)
        ballast.unlink()
        assert list(disk.iterdir()) == []
        unhooked(settled)
        done(settled, *words)


def test_the_scratch_of_the_manifest_is_full(settled: Operator) -> None:
    for number in range(400):
        settled.write(f"many/{number:0200}", "")
    with small_disk(settled.folder / "work" / "manifests", 1) as disk:
        ballast = fill(disk, leave=64 << 10)
        failed = settled.tandem("backup", "files")
        _says_that_the_disk_is_full(failed)
        assert str(settled.folder / "work") in failed.out + failed.err
        _is_on_record(settled, Job.BACKUP)
        assert settled.locks("primary") == []
        assert leftovers(settled) == []
        ballast.unlink()
        done(settled, "backup", "files")
        assert points(settled, "primary")[-1].complete
        done(settled, "test-restore", "files", "--site", "primary")
    assert_sound(settled, "primary")


def _with_its_ledger_apart(operator: Operator) -> Path:
    operator.write_settings(operator.settings.replace("sqlite:///tandem.db", f"sqlite:///{LEDGER}"))
    folder = operator.folder / LEDGER
    folder.parent.mkdir()
    return folder.parent


def test_a_full_ledger_lets_nothing_begin(operator: Operator) -> None:
    with small_disk(_with_its_ledger_apart(operator), 1) as disk:
        done(operator, "backup", "files")
        ballast = fill(disk)
        failed = operator.tandem("backup", "files")
        assert failed.code == 4, failed.err
        assert "the ledger" in failed.err
        assert "Free space there" in failed.err
        assert len(operator.snapshots("primary")) == 1
        ballast.unlink()
        done(operator, "backup", "files")
        assert [run.state for run in runs(operator, LEDGER)] == [RunState.SUCCEEDED] * 2
    assert_sound(operator, "primary")


def test_the_ledger_is_full_when_a_backup_ends(operator: Operator) -> None:
    """What was done is not known to be done; the next command asks the repository, and puts it on record."""
    with small_disk(_with_its_ledger_apart(operator), 1) as disk:
        waits = gate(operator, "--tag=content=manifest", after=True)
        process = operator.start("backup", "files")
        waits.wait()
        ballast = fill(disk)
        waits.open()
        code, _, said = faults.ended(process)
        assert code == 4, said
        assert "the ledger" in said
        assert "Free space there" in said
        ballast.unlink()
        unhooked(operator)
        (cut,) = runs(operator, LEDGER)
        assert cut.state is RunState.RUNNING
        assert f"({cut.id}) was cut off: succeeded" in done(operator, "backup", "files").err
        assert [run.state for run in runs(operator, LEDGER)] == [RunState.SUCCEEDED] * 2
    assert_sound(operator, "primary")

"""What locks did to peers when they met one of somebody else's, or one that nobody holds any more."""

from __future__ import annotations

from pathlib import Path

import psutil

from tests.acceptance.faults import done, limited, noise, restics, runs
from tests.acceptance.operator import SETTINGS, until
from tests.acceptance.test_locks import removals, restic_at_work
from tests.peers.unattended import cut_off, operator, somebody_at_work

# Words before a command: a shell starts it, and becomes a program that never asks how it ended.
UNREAPED = ("sh", "-c", 'exec 3<&0; "$@" <&3 & exec sleep 600', "sh")
COPIED = 'replicate = {{ to = "secondary" }}\n'


def test_npbackup_160_a_locked_repository_is_a_sentence_and_not_a_stack_trace(
    tmp_path: Path, restic_program: Path
) -> None:
    """A locked repository ended in a stack trace; here it ends with 8, who holds the lock, and what to do next."""
    made = operator(tmp_path, restic_program, SETTINGS)
    done(made, "backup", "files")
    with somebody_at_work(made) as somebody:
        ended = made.tandem("check", "files", "--site", "primary")
        assert ended.code == 8
        assert f"PID {somebody.pid}" in ended.out + ended.err
        assert "Wait for the other process to end" in ended.out + ended.err


def test_backrest_1017_k8up_456_who_was_killed_and_never_reaped_keeps_nobody_out(
    tmp_path: Path, restic_program: Path
) -> None:
    """restic takes a killed process that was never reaped for a living one, and keeps its lock for half an hour; here
    it is dead, and its lock goes at once."""
    made = operator(tmp_path, restic_program, SETTINGS)
    done(made, "backup", "files")
    with restic_at_work(made, *UNREAPED) as parent:
        (restic,) = psutil.Process(parent.pid).children()
        restic.kill()
        until(lambda: restic.status() == psutil.STATUS_ZOMBIE)
        (left,) = made.locks("primary")
        assert made.bare("primary", "check").returncode != 0
        done(made, "check", "files", "--site", "primary")
        assert restic.status() == psutil.STATUS_ZOMBIE
    assert made.locks("primary") == []
    check = runs(made)[0]
    assert check.note == f"removed the dead lock {left.name[:8]} of PID {restic.pid} from minfopra@primary"
    before, after = removals(made)
    assert f"there is no process {restic.pid}) is being removed, because it refused check files (run {check.id})" in (
        before.text
    )
    assert "was removed, because" in after.text


def test_backrest_669_a_lock_of_the_living_is_never_removed(tmp_path: Path, restic_program: Path) -> None:
    """`restic unlock` was sent blindly before every run; here a lock is looked at first: the living one stays, through
    a refused check and a request to remove it, and goes when its process is dead."""
    made = operator(tmp_path, restic_program, SETTINGS)
    done(made, "backup", "files")
    with somebody_at_work(made):
        before = made.locks("primary")
        assert made.tandem("check", "files", "--site", "primary").code == 8
        done(made, "locks", "--remove")
        assert made.locks("primary") == before
    done(made, "locks", "--remove")
    assert made.locks("primary") == []


def test_autorestic_16_backrest_543_k8up_456_after_a_stale_lock_a_backup_is_no_quick_success(
    tmp_path: Path, restic_program: Path
) -> None:
    """After an interrupted prune a backup was a quick "success" without a snapshot, or failed for days; here the lock
    of the dead is removed, and the backup leaves a snapshot."""
    made = operator(tmp_path, restic_program, SETTINGS)
    done(made, "backup", "files")
    noise(made.source / "big", 8)
    done(made, "backup", "files")
    limited(made, "primary", download="500KiB/s")
    checking = made.start("check", "files", "--site", "primary")
    until(lambda: restics(checking, "check") and made.locks("primary"))
    cut_off(checking, "check")
    assert made.bare("primary", "backup", str(made.source)).returncode != 0  # it is exclusive: nobody gets in
    made.write_settings(made.settings)
    done(made, "backup", "files")
    assert len(made.snapshots("primary")) == 3
    assert made.locks("primary") == []


def test_backrest_1017_after_a_killed_backup_retention_goes_on(tmp_path: Path, restic_program: Path) -> None:
    """After a restart in the middle of a backup, forget failed for ever while backups worked; here the next retention
    removes the lock that is proven dead."""
    made = operator(tmp_path, restic_program, SETTINGS.replace("last = 2", "last = 1").replace(COPIED, ""))
    done(made, "backup", "files")
    with somebody_at_work(made):
        pass
    done(made, "backup", "files")
    assert made.locks("primary") != []
    done(made, "retention", "files")
    assert len(made.snapshots("primary")) == 1
    assert made.locks("primary") == []

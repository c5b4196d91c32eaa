"""Two at once: of what must be alone exactly one runs, and the other is told who is in its way; the rest runs together."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from jobs.failure import FailureKind
from tests.acceptance.faults import done, ended, gate, restics, runs, unhooked
from tests.acceptance.operator import PASSWORD, SETTINGS, Operator, until
from tests.acceptance.told import refused

ANOTHER_POLICY = '\n[policies.more]\nsource = {{ paths = ["source/deep"] }}\n'


def test_of_two_backups_of_one_policy_one_runs_and_the_other_names_it(settled: Operator) -> None:
    """Both are started at the same instant; which of them is first does not matter."""
    waiting = gate(settled, " backup --json --host")
    both = [settled.start("backup", "files") for _ in range(2)]
    until(lambda: any(process.poll() is not None for process in both))
    (late,) = (process for process in both if process.poll() is not None)
    (first,) = (process for process in both if process is not late)
    code, _, said = ended(late)
    assert code == 8
    assert f"which process {first.pid} on test-host" in said or f"which process {first.pid} on " in said
    assert "next: Wait for the other run to end; see it with: tandem runs" in said
    waiting.open()
    assert ended(first)[0] == 0
    assert len(settled.snapshots("primary")) == 3
    assert [run.state for run in runs(settled)][:2] == ["succeeded", "succeeded"], "a refusal is no run"


def test_two_policies_of_one_tenant_are_backed_up_side_by_side(settled: Operator) -> None:
    settled.write_settings(settled.settings + ANOTHER_POLICY)
    waiting = gate(settled, " backup --json --host")
    both = [settled.start("backup", policy) for policy in ("files", "more")]
    until(lambda: all(restics(process, "sleep") for process in both))
    waiting.open()
    assert [ended(process)[0] for process in both] == [0, 0]
    assert {run.policy for run in runs(settled)[:2]} == {"files", "more"}
    assert len(settled.snapshots("primary")) == 4


@pytest.mark.parametrize(
    ("first", "second"), [("backup", "check"), ("check", "backup"), ("retention", "replicate"), ("backup", "retention")]
)
def test_what_needs_a_repository_alone_does_not_run_beside_another(
    settled: Operator, first: str, second: str
) -> None:
    done(settled, "replicate", "files")
    waiting = gate(settled, {"check": " check ", "backup": " backup --json --host", "retention": " forget "}[first])
    process = settled.start(first, "files")
    waiting.wait()
    told = refused(settled, second, "files")
    assert (told.kind, told.code) == (FailureKind.BUSY, 8)
    assert told.message.startswith(f"{second} files cannot start beside {first} files (run ")
    assert f"which process {process.pid} on " in told.message
    waiting.open()
    assert ended(process)[0] == 0
    unhooked(settled)
    done(settled, second, "files")


# --- a restic that is not Tandem's ----------------------------------------------------------------------------------


@contextmanager
def a_foreign_backup(operator: Operator) -> Iterator[subprocess.Popen[bytes]]:
    """Somebody's own restic, which holds a shared lock as long as its standard input is open."""
    words = [str(operator.restic), "-r", str(operator.folder / "primary/minfopra"), "--no-cache", "backup", "--stdin"]
    environment = {**operator.variables(), "RESTIC_PASSWORD": PASSWORD}
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        until(lambda: operator.locks("primary"))
        yield process
        process.send_signal(signal.SIGINT)


def test_a_repository_that_a_foreign_restic_holds_is_told_and_free_afterwards(settled: Operator) -> None:
    with a_foreign_backup(settled) as holder:
        told = refused(settled, "check", "files", "--site", "primary")
        assert (told.kind, told.code) == (FailureKind.REPOSITORY_LOCKED, 8)
        assert "minfopra@primary" in told.message
        assert f"PID {holder.pid} on " in told.message
        assert "lock was created at" in told.message
        assert told.advice == "Wait for the other process to end, then run again."
        assert psutil.pid_exists(holder.pid)
        assert len(settled.locks("primary")) == 1, "the lock of a living process was removed"
        done(settled, "backup", "files")
    done(settled, "check", "files", "--site", "primary")


def test_a_backup_meets_a_foreign_restic_that_must_be_alone(settled: Operator) -> None:
    with a_stopped_check(settled) as holder:
        told = refused(settled, "backup", "files")
        assert (told.kind, told.code) == (FailureKind.REPOSITORY_LOCKED, 8)
        assert f"PID {holder.pid} on " in told.message
        assert len(settled.locks("primary")) == 1
        assert len(list((settled.folder / "primary/minfopra/snapshots").iterdir())) == 4
    done(settled, "backup", "files")


@contextmanager
def a_stopped_check(operator: Operator) -> Iterator[subprocess.Popen[bytes]]:
    """Somebody's own check, stopped in the middle: it holds the exclusive lock."""
    repository = operator.folder / "primary/minfopra"
    words = [str(operator.restic), "-r", str(repository), "--limit-download=100", "check", "--read-data"]
    environment = {**operator.variables(), "RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": f"{operator.folder}/bare"}
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        until(lambda: operator.locks("primary"))
        yield process
        process.send_signal(signal.SIGINT)

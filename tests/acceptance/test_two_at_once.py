"""Two at once: of what must be alone one runs, and the other is told who is in its way; the rest runs together."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import psutil
import pytest

from jobs.failure import FailureKind
from tests.acceptance.faults import done, ended, gate, kill, restics, runs, unhooked
from tests.acceptance.operator import PASSWORD, Operator, until
from tests.acceptance.told import refused, states

ANOTHER_POLICY: Final = '\n[policies.more]\nsource = {{ paths = ["source/deep"] }}\n'
ONE_SITE: Final = {"check": ("--site", "primary"), "retention": ("--site", "primary")}
DATA: Final = " backup --json --host"  # the restic that stores the source, and not the one that stores the manifest


@contextmanager
def started(operator: Operator, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs beside others, and not longer than the block."""
    process = operator.start(*words)
    try:
        yield process
    finally:
        if process.poll() is None:
            kill(process)


def test_of_two_backups_of_one_policy_one_runs_and_the_other_names_it(settled: Operator) -> None:
    """Both are started at the same instant; which of them is first does not matter."""
    waiting = gate(settled, DATA)
    with started(settled, "backup", "files") as one, started(settled, "backup", "files") as other:
        until(lambda: one.poll() is not None or other.poll() is not None)
        first, late = (other, one) if one.poll() is not None else (one, other)
        code, _, said = ended(late)
        assert code == 8
        assert f", which process {first.pid} on " in said
        assert "next: Wait for the other run to end; see it with: tandem runs" in said
        waiting.open()
        assert ended(first)[0] == 0
    assert len(settled.snapshots("primary")) == 3
    assert [run.owner.pid for run in runs(settled) if run.owner.pid in {one.pid, other.pid}] == [first.pid]


def test_two_policies_of_one_tenant_are_backed_up_side_by_side(settled: Operator) -> None:
    settled.write_settings(settled.settings + ANOTHER_POLICY)
    waiting = gate(settled, DATA)
    with started(settled, "backup", "files") as one, started(settled, "backup", "more") as other:
        until(lambda: all(restics(process, "0.05") for process in (one, other)))
        waiting.open()
        assert [ended(process)[0] for process in (one, other)] == [0, 0]
    assert {run.policy for run in runs(settled)[:2]} == {"files", "more"}
    assert len(settled.snapshots("primary")) == 4


@pytest.mark.parametrize(
    ("first", "at", "second"),
    [("backup", DATA, "check"), ("check", " check ", "backup"), ("retention", " forget ", "replicate")],
    ids=["a check beside a backup", "a backup beside a check", "a copy beside a retention"],
)
def test_what_needs_a_repository_alone_does_not_run_beside_another(
    settled: Operator, first: str, at: str, second: str
) -> None:
    if first == "retention":
        done(settled, "replicate", "files")  # else there is nothing to remove
    waiting = gate(settled, at)
    with started(settled, first, "files", *ONE_SITE.get(first, ())) as process:
        until(waiting.is_reached)
        told = refused(settled, second, "files", *ONE_SITE.get(second, ()))
        assert (told.kind, told.code) == (FailureKind.BUSY, 8)
        assert told.message.startswith(f"{second} files cannot start beside {first} files (run ")
        assert f", which process {process.pid} on " in told.message
        waiting.open()
        assert ended(process)[0] == 0
    unhooked(settled)
    done(settled, second, "files", *ONE_SITE.get(second, ()))


def test_a_cycle_beside_a_backup_does_what_it_can_and_is_busy(settled: Operator) -> None:
    settled.write_settings(settled.settings.replace('replicate = {{ to = "secondary" }}\n', ""))
    waiting = gate(settled, DATA)
    with started(settled, "backup", "files") as process:
        until(waiting.is_reached)
        beside = settled.tandem("--json", "run")
        waiting.open()
        assert ended(process)[0] == 0
    assert beside.code == 8
    assert states(beside) == [
        ("backup", "primary", "blocked"),
        ("check", "primary", "blocked"),
        ("restore-test", "primary", "succeeded"),
        ("retention", "primary", "blocked"),
    ]
    assert beside.err.count(f", which process {process.pid} on ") == 2, "retention was kept back by its own backup"


# --- a restic that is not Tandem's ------------------------------------------------------------------------------------


@contextmanager
def somebodys_restic(operator: Operator, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A restic on the first site's repository that Tandem has not started; it has its lock when the block begins."""
    repository = operator.folder / "primary/minfopra"
    argv = [str(operator.restic), "-r", str(repository), "--no-cache", *words]
    environment = {**operator.variables(), "RESTIC_PASSWORD": PASSWORD}
    with ExitStack() as ending:
        unheard = ending.enter_context((operator.folder / "somebody").open("wb"))
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=unheard, stderr=unheard, env=environment)
        ending.enter_context(process)
        ending.callback(process.kill)
        until(lambda: operator.locks("primary"))
        yield process


def test_a_check_meets_a_foreign_backup(settled: Operator) -> None:
    """Which waits for its standard input, and holds a shared lock."""
    with somebodys_restic(settled, "backup", "--stdin") as holder:
        told = refused(settled, "check", "files", "--site", "primary")
        assert (told.kind, told.code) == (FailureKind.REPOSITORY_LOCKED, 8)
        assert "minfopra@primary" in told.message
        assert f"PID {holder.pid} on " in told.message
        assert f"(live: restic runs as process {holder.pid}; " in told.message
        assert "Leave it: its restic is at work." in told.message
        assert told.advice == "Wait for the other process to end, then run again."
        assert psutil.pid_exists(holder.pid)
        assert len(settled.locks("primary")) == 1, "the lock of a living process was removed"
        done(settled, "backup", "files")
        holder.communicate(timeout=60)  # its input ends, and so does it
    done(settled, "check", "files", "--site", "primary")


def test_a_backup_meets_a_foreign_check(settled: Operator) -> None:
    """Which is stopped in the middle, and holds the exclusive lock."""
    with somebodys_restic(settled, "--limit-download=100", "check", "--read-data") as holder:
        holder.send_signal(signal.SIGSTOP)
        told = refused(settled, "backup", "files")
        assert (told.kind, told.code) == (FailureKind.REPOSITORY_LOCKED, 8)
        assert f"PID {holder.pid} on " in told.message
        assert len(list((settled.folder / "primary/minfopra/snapshots").iterdir())) == 4
        (lock,) = settled.locks("primary")
    lock.unlink()  # it was killed, and could not
    done(settled, "backup", "files")

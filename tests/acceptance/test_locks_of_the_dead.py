"""Locks that dead processes left: gone at once where the death is proven, on record; all others stay, and are named."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from jobs.failure import FailureKind
from jobs.history import RunState
from tests.acceptance.faults import done, ended, gate, kill, kill_restic, limited, noise, restics, runs, unhooked
from tests.acceptance.operator import PASSWORD, Operator, until
from tests.acceptance.test_locks import kinds, removals, restic_at_work, unshared
from tests.acceptance.told import refused
from tests.repositories import leave_lock

CHECK: Final = ("check", "files", "--site", "primary")


def test_a_foreign_lock_stays_however_old_it_is_and_is_named(settled: Operator) -> None:
    """Its host's clock may be wrong, and its restic alive: restic's own unlock would remove it after half an hour."""
    repository = settled.folder / "primary/minfopra"
    ago = datetime.now(UTC) - timedelta(minutes=40)
    foreign = leave_lock(repository, PASSWORD, host="elsewhere", pid=4711, time=ago)
    with restic_at_work(settled):
        pass  # and killed: this one is proven to be dead
    told = refused(settled, *CHECK)
    assert (told.kind, told.code) == (FailureKind.REPOSITORY_LOCKED, 8)
    for words in ("PID 4711 on elsewhere by backup", "not refreshed for 4", "Ask on that host whether its restic"):
        assert words in told.message
    assert settled.locks("primary") == [foreign]
    assert len(removals(settled)) == 2

    waiting = gate(settled, "--tag=content=data")
    process = settled.start("backup", "files")
    waiting.wait()
    kill(process)
    unhooked(settled)
    assert "was cut off: interrupted" in done(settled, "backup", "files").err
    assert settled.locks("primary") == [foreign]


def test_an_exclusive_lock_of_another_host_keeps_everybody_out_by_name(settled: Operator) -> None:
    repository = settled.folder / "primary/minfopra"
    leave_lock(repository, PASSWORD, host="elsewhere", pid=4711, time=datetime.now(UTC), exclusive=True)
    told = refused(settled, "backup", "files")
    assert told.kind is FailureKind.REPOSITORY_LOCKED
    assert "minfopra@primary is locked exclusively by PID 4711 on elsewhere" in told.message
    assert "it may well be at work" in told.message


def test_the_end_of_one_run_leaves_the_lock_of_another_that_lives(settled: Operator) -> None:
    settled.write_settings(settled.settings + '\n[policies.more]\nsource = {{ paths = ["source/deep"] }}\n')
    noise(settled.source / "deep/more", 2)
    limited(settled, "primary", upload="400KiB/s")
    living = settled.start("backup", "more")
    until(lambda: restics(living, "--tag=content=data") and settled.locks("primary"))
    before = settled.locks("primary")
    dying = settled.start("backup", "files")
    until(lambda: restics(dying, "--tag=content=data") and set(settled.locks("primary")) - set(before))
    kill_restic(dying, "--tag=content=data")
    assert ended(dying)[0] == 4
    told = settled.tandem("--json", "locks")
    assert told.code == 0
    assert set(kinds(told)) == {"live"}
    assert set(before) <= set(settled.locks("primary"))
    assert ended(living)[0] == 0
    assert settled.locks("primary") == []


# The first process of a container, which reaps nobody but whom it waits for: what becomes of a backup, then of a check.
FIRST_PROCESS: Final = """
import json, os, pathlib, signal, subprocess, sys, time
backup, check, locks, who = json.loads(sys.argv[1])
def states(name):
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        told = (process / "stat").read_text()
        if f"({name}" in told:
            yield int(process.name), told.rpartition(")")[2].split()[0]
def held():
    return sum(len(name) == 64 for name in os.listdir(locks))  # a longer name is a half-written file
tandem = subprocess.Popen(backup)
while not held() or not list(states("restic")):
    time.sleep(0.01)
if who == "both":
    tandem.send_signal(signal.SIGSTOP)
for pid, _ in list(states("restic")):
    os.kill(pid, signal.SIGKILL)
if who == "both":
    tandem.kill()
print("backup", tandem.wait(), "locks", held(), flush=True)
while any(state != "Z" for _, state in states("restic")):
    time.sleep(0.01)
print("zombies", sum(state == "Z" for _, state in states("restic")), flush=True)
print("check", subprocess.run(check).returncode, "locks", held(), flush=True)
"""


@pytest.mark.parametrize(("who", "said"), [("both", "backup -9 locks"), ("restic", "backup 4 locks 0")])
def test_in_a_container_without_an_init_a_lock_is_removed_once_its_maker_is_proven_dead(
    settled: Operator, who: str, said: str
) -> None:
    """Nobody sees all processes there. That our child has ended is proof at once; that our run is over is none while
    somebody's restic in another container, of the same host name, may have made the lock just then.
    """
    noise(settled.source / "big/more", 8)
    limited(settled, "primary", upload="200KiB/s")
    locks = settled.folder / "primary/minfopra/locks"
    words = [settled.command("backup", "files"), settled.command(*CHECK), str(locks), who]
    inside = unshared("--pid", "--fork", "--mount-proc", "--kill-child")
    command = [*inside, sys.executable, "-c", FIRST_PROCESS, json.dumps(words)]
    how = subprocess.run(command, capture_output=True, text=True, env=settled.variables(), check=False, timeout=120)
    assert said in how.stdout, how.stdout + how.stderr
    if who == "both":
        assert "zombies 0" not in how.stdout
        assert "backup -9 locks 0" not in how.stdout
        assert "check 8" in how.stdout, how.stdout + how.stderr
        assert "it may well be at work" in how.stderr
        assert settled.locks("primary")
        assert not removals(settled)
    else:
        assert "check 0 locks 0" in how.stdout, how.stdout + how.stderr
        assert removals(settled)
    backup = next(run for run in runs(settled) if run.job == "backup")
    assert backup.state is (RunState.INTERRUPTED if who == "both" else RunState.FAILED)

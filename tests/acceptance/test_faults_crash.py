"""kill -9 in the middle of each job, of Tandem and of restic: the next command says what became of it, and goes on."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from jobs.failure import FailureKind
from jobs.history import BackupResult, ReplicateResult, RunState
from tests.acceptance import faults
from tests.acceptance.faults import (
    assert_sound,
    done,
    gate,
    hooked,
    kill,
    kill_restic,
    leftovers,
    limited,
    points,
    restics,
    runs,
    unhooked,
)
from tests.acceptance.operator import PASSWORD, Operator, until


def _prepare_backup(operator: Operator) -> None:
    faults.noise(operator.source / "big/more", 3)


def _prepare_retention(operator: Operator) -> None:
    done(operator, "replicate", "files")


def _nothing(_operator: Operator) -> None:
    pass


def _grown(operator: Operator, vault: str) -> Callable[[], bool]:
    data = operator.folder / vault / "minfopra" / "data"
    before = set(data.rglob("*"))
    return lambda: any(path.is_file() and path.stat().st_size > 100_000 for path in set(data.rglob("*")) - before)


def _packs_come(vault: str) -> Callable[[Operator], Callable[[], bool]]:
    return lambda operator: _grown(operator, vault)


def _locked(operator: Operator) -> Callable[[], bool]:
    return lambda: bool(operator.locks("primary"))


def _restored_below(folder: str) -> Callable[[Operator], Callable[[], bool]]:
    def cue(operator: Operator) -> Callable[[], bool]:
        return lambda: any(path.is_file() for path in (operator.folder / folder).rglob("big/*"))

    return cue


@dataclass(frozen=True)
class Case:
    """One job: how it is asked for, what slows it down, what shows that restic is in the middle, what it changes."""

    words: tuple[str, ...]
    restic: str  # among the arguments of the restic that does it, and of no other
    slow: tuple[str, str, str]  # vault, limit, rate
    middle: Callable[[Operator], Callable[[], bool]]
    prepare: Callable[[Operator], None] = _nothing
    writes: tuple[str, ...] = ()


CASES = {
    "backup": Case(
        words=("backup", "files"),
        restic="--tag=content=data",
        slow=("primary", "upload", "256KiB/s"),
        middle=_packs_come("primary"),
        prepare=_prepare_backup,
        writes=("primary",),
    ),
    "replicate": Case(
        words=("replicate", "files"),
        restic="copy",
        slow=("secondary", "upload", "256KiB/s"),
        middle=_packs_come("secondary"),
        writes=("secondary",),
    ),
    "check": Case(
        words=("check", "files", "--site", "primary"),
        restic="check",
        slow=("primary", "download", "512KiB/s"),
        middle=_locked,
    ),
    "restore-test": Case(
        words=("test-restore", "files", "--site", "primary"),
        restic="restore",
        slow=("primary", "download", "2MiB/s"),
        middle=_restored_below("work/scratch"),
    ),
    "retention": Case(
        words=("retention", "files", "--site", "primary"),
        restic="forget",
        slow=("primary", "upload", "256KiB/s"),
        middle=_packs_come("primary"),
        prepare=_prepare_retention,
        writes=("primary",),
    ),
    "restore": Case(
        words=("restore", "files", "--to", "back"),
        restic="restore",
        slow=("primary", "download", "2MiB/s"),
        middle=_restored_below("back"),
    ),
}


def _words(operator: Operator, case: Case) -> list[str]:
    return [str(operator.folder / word) if word == "back" else word for word in case.words]


def _in_the_middle(operator: Operator, case: Case) -> subprocess.Popen[str]:
    case.prepare(operator)
    vault, limit, rate = case.slow
    limited(operator, vault, **{limit: rate})
    reached = case.middle(operator)
    process = operator.start(*_words(operator, case))
    until(lambda: process.poll() is not None or (restics(process, case.restic) and reached()), seconds=60)
    assert process.poll() is None, process.communicate()
    unhooked(operator)
    return process


def _finish(operator: Operator, case: Case) -> str:
    """The same command once more must succeed and leave everything sound; gives what it told."""
    again = done(operator, *_words(operator, case))
    assert leftovers(operator, operator.folder / "back") == []
    assert operator.locks("primary") + operator.locks("secondary") == []
    assert_sound(operator, *case.writes)
    return again.err


def _snapshots_are_whole(operator: Operator) -> bool:
    """Every data snapshot has its manifest: none of a cut-off run stands half."""
    listed = operator.bare("primary", "snapshots", "--no-lock").stdout
    return listed.count("content=data") == listed.count("content=manifest")


@pytest.mark.parametrize("name", CASES)
def test_tandem_is_killed_in_the_middle(settled: Operator, name: str) -> None:
    case = CASES[name]
    kill(_in_the_middle(settled, case))
    cut = runs(settled)[0]
    assert (cut.job, cut.state) == (name, RunState.RUNNING)
    said = _finish(settled, case)
    assert f"{name} files ({cut.id}) was cut off: interrupted. Tandem died while this ran" in said
    states = {run.id: run.state for run in runs(settled)}
    assert states.pop(cut.id) is RunState.INTERRUPTED
    assert set(states.values()) == {RunState.SUCCEEDED}
    assert _snapshots_are_whole(settled)


@pytest.mark.parametrize("name", CASES)
def test_restic_is_killed_in_the_middle(settled: Operator, name: str) -> None:
    case = CASES[name]
    process = _in_the_middle(settled, case)
    kill_restic(process, case.restic)
    code, _, said = faults.ended(process)
    assert code == 4, said
    cut = runs(settled)[0]
    assert (cut.job, cut.state) == (name, RunState.FAILED)
    assert cut.failure is not None
    assert cut.failure.kind is FailureKind.KILLED
    assert "SIGKILL" in said, said
    assert settled.locks("primary") + settled.locks("secondary") == []
    assert leftovers(settled, settled.folder / "back") == []
    _finish(settled, case)
    assert _snapshots_are_whole(settled)


def test_the_restic_that_stores_the_manifest_is_killed(settled: Operator) -> None:
    waits = gate(settled, "--tag=content=data")
    process = settled.start("backup", "files")
    waits.wait()
    kill_restic(process, "--tag=content=manifest")
    waits.open()
    code, _, said = faults.ended(process)
    assert code == 4, said
    cut = runs(settled)[0]
    assert cut.failure is not None
    assert (cut.state, cut.failure.kind) == (RunState.FAILED, FailureKind.KILLED)
    unhooked(settled)
    done(settled, "snapshots", "files")
    assert [point.complete for point in points(settled, "primary") if point.run == cut.id] == [False]
    _finish(settled, CASES["backup"])
    assert points(settled, "primary")[-1].complete


def test_tandem_is_killed_after_restic_had_finished(settled: Operator) -> None:
    faults.noise(settled.source / "big/more", 1)
    _kill_at(settled, "--tag=content=manifest", after=True)
    cut = runs(settled)[0]
    said = _finish(settled, CASES["backup"])
    assert f"backup files ({cut.id}) was cut off: succeeded." in said
    found = next(run for run in runs(settled) if run.id == cut.id)
    assert found.state is RunState.SUCCEEDED
    assert isinstance(found.result, BackupResult)
    assert found.result.files == 6
    assert found.result.bytes > 9 * faults.MIB
    assert [point.complete for point in points(settled, "primary") if point.run == cut.id] == [True]
    done(settled, "test-restore", "files", "--site", "primary", "--snapshot", found.result.snapshot)


def test_tandem_is_killed_between_the_snapshot_and_its_manifest(settled: Operator) -> None:
    _kill_at(settled, "--tag=content=data", after=True)
    cut = runs(settled)[0]
    said = _finish(settled, CASES["backup"])
    assert f"backup files ({cut.id}) was cut off: partial." in said
    found = next(run for run in runs(settled) if run.id == cut.id)
    assert found.failure is not None
    assert (found.state, found.failure.kind) == (RunState.PARTIAL, FailureKind.MANIFEST_MISSING)
    assert [point.complete for point in points(settled, "primary") if point.run == cut.id] == [False]


def _kill_at(operator: Operator, match: str, *, after: bool) -> None:
    waits = gate(operator, match, after=after)
    process = operator.start("backup", "files")
    waits.wait()
    kill(process)
    unhooked(operator)


STREAM = """
[policies.stream]
source = {{ command = {{ run = ["sh", "-c", "echo the first half; touch said; exec sleep 600"], filename = "dump" }} }}
"""


def test_half_a_stream_never_becomes_a_recovery_point(operator: Operator) -> None:
    """A restic that hears nothing of Tandem's death takes the end of its input for the end of the stream."""
    operator.write_settings(operator.settings + STREAM.replace("said", str(operator.folder / "said")))
    hooked(operator, "--tag=content=data", before=f'trap "" INT; "{operator.restic}" "$@" >/dev/null 2>&1; exit')
    process = operator.start("backup", "stream")
    until((operator.folder / "said").exists)
    kill(process)
    assert len(operator.snapshots("primary")) == 1
    operator.write_settings(operator.settings.replace("; exec sleep 600", "; echo the other half"))
    said = done(operator, "backup", "stream").err
    assert "was cut off: interrupted. Tandem died while this ran; it left half a stream" in said
    (left,) = operator.snapshots("primary")
    assert operator.bare("primary", "dump", left["id"], "/dump").stdout == "the first half\nthe other half\n"
    done(operator, "test-restore", "stream", "--site", "primary")
    assert_sound(operator, "primary")


def test_restic_is_killed_while_it_makes_the_repository(newcomer: Operator) -> None:
    """Between its two files: with a second key beside the first, restic could not open what it made."""
    repository = newcomer.folder / "primary" / "minfopra"
    cut = f'"{newcomer.restic}" "$@"; rm -f "{repository}/config"; kill -9 $$'
    hooked(newcomer, " init ", before=cut)
    assert newcomer.tandem("backup", "files").code == 4
    assert len(list((repository / "keys").iterdir())) == 1
    unhooked(newcomer)
    done(newcomer, "backup", "files")
    assert len(list((repository / "keys").iterdir())) == 1
    assert_sound(newcomer, "primary")


def test_a_repository_that_lost_its_config_is_never_made_anew(operator: Operator) -> None:
    done(operator, "backup", "files")
    (operator.folder / "primary" / "minfopra" / "config").unlink()
    (operator.folder / "tandem.db").unlink()
    refused = operator.tandem("backup", "files")
    assert refused.code == 4
    assert "there is data, but no config file" in refused.out + refused.err
    assert runs(operator)[0].failure is not None
    assert not (operator.folder / "primary" / "minfopra" / "config").exists()


def test_tandem_and_restic_are_killed_at_once(settled: Operator) -> None:
    """Neither could remove the lock, and no later backup would: it does not stand in a backup's way."""
    case = CASES["backup"]
    process = _in_the_middle(settled, case)
    process.send_signal(signal.SIGSTOP)
    kill_restic(process, case.restic)
    kill(process)
    assert settled.locks("primary")
    assert "was cut off: interrupted" in _finish(settled, case)


def test_the_lock_of_a_dead_process_that_the_ledger_does_not_know_is_no_obstacle(settled: Operator) -> None:
    repository = str(settled.folder / "primary/minfopra")
    argv = [str(settled.restic), "-r", repository, "--no-cache", "backup", "--stdin"]
    environment = {**settled.variables(), "RESTIC_PASSWORD": PASSWORD}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment) as dead:
        until(lambda: settled.locks("primary"))
        dead.kill()
    assert settled.locks("primary")
    done(settled, "check", "files", "--site", "primary")
    assert settled.locks("primary") == []


# Whatever order and batches a version of restic copies in: here it has done all but the last two snapshots.
ALL_BUT_TWO = (
    "keep=$(($# - 2)); n=0; "
    'for word; do [ $n -gt 0 ] || set --; n=$((n + 1)); [ $n -gt $keep ] || set -- "$@" "$word"; done; '
)


def test_a_copy_that_was_cut_off_goes_on_where_it_was(settled: Operator) -> None:
    settled.write("a.txt", "changed\n")
    done(settled, "backup", "files")
    waits = gate(settled, " copy ", first=f'{ALL_BUT_TWO} "{settled.restic}" "$@"')
    process = settled.start("replicate", "files")
    waits.wait()
    kill(process)
    assert len(settled.snapshots("secondary")) == 2
    unhooked(settled)
    done(settled, "replicate", "files")
    copied = runs(settled)[0].result
    assert copied == ReplicateResult(copied=1, already_there=2, missing_after=0, differing=0)
    here, there = settled.snapshots("primary"), settled.snapshots("secondary")
    assert [each["tree"] for each in here] == [each["tree"] for each in there]
    assert [each["id"] for each in here] == [each["original"] for each in there]
    assert_sound(settled, "secondary")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_in_good_order(settled: Operator, number: signal.Signals) -> None:
    process = _in_the_middle(settled, CASES["backup"])
    process.send_signal(number)
    code, _, said = faults.ended(process)
    assert code == 130, said
    cut = runs(settled)[0]
    assert cut.failure is not None
    assert (cut.state, cut.failure.kind) == (RunState.INTERRUPTED, FailureKind.CANCELLED)
    assert "run the same command again" in said or "backup files at primary: interrupted" in said
    assert settled.locks("primary") == []
    assert leftovers(settled) == []
    _finish(settled, CASES["backup"])
    assert _snapshots_are_whole(settled)


def test_a_second_interrupt_does_not_wait_for_a_restic_that_hangs(settled: Operator) -> None:
    """Also then the dead restic's lock is taken back, and the run is on record as interrupted."""
    locks = settled.folder / "primary" / "minfopra" / "locks"
    until_locked = f'while [ $(ls "{locks}" | wc -l) -lt 2 ]; do sleep 0.1; done'
    hang = f'"{settled.restic}" "$@" & {until_locked}; kill -9 $!; trap "" INT; touch hangs; while :; do sleep 1; done'
    hooked(settled, "--tag=content=data", before=hang.replace("hangs", str(settled.folder / "hangs")))
    process = settled.start("backup", "files")
    until((settled.folder / "hangs").exists)
    process.send_signal(signal.SIGINT)
    until(lambda: not restics(process, "--tag=content=manifest"))
    assert settled.locks("primary")
    process.send_signal(signal.SIGINT)
    code, _, said = faults.ended(process, timeout=30)  # restic's grace is longer
    assert code == 130, said
    assert runs(settled)[0].state is RunState.INTERRUPTED
    assert settled.locks("primary") == []
    assert leftovers(settled) == []

"""kill -9 in the middle of each job, of Tandem and of restic: the next command explains what became of it, and goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.failure import FailureKind
from jobs.history import RunState
from tests.acceptance import faults
from tests.acceptance.faults import assert_sound, done, kill, kill_restic, leftovers, limited, restics, runs
from tests.acceptance.operator import Operator, until


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
    """One job: how it is asked for, what slows it down, and what shows that restic is in the middle of it."""

    words: tuple[str, ...]
    verb: str  # restic's own
    slow: tuple[str, str, str]  # vault, limit, rate
    middle: Callable[[Operator], Callable[[], bool]]
    prepare: Callable[[Operator], None] = _nothing


CASES = {
    "backup": Case(
        words=("backup", "files"),
        verb="backup",
        slow=("primary", "upload", "1MiB/s"),
        middle=_packs_come("primary"),
        prepare=_prepare_backup,
    ),
    "replicate": Case(
        words=("replicate", "files"),
        verb="copy",
        slow=("secondary", "upload", "1MiB/s"),
        middle=_packs_come("secondary"),
    ),
    "check": Case(
        words=("check", "files", "--site", "primary"),
        verb="check",
        slow=("primary", "download", "1MiB/s"),
        middle=_locked,
    ),
    "restore-test": Case(
        words=("test-restore", "files", "--site", "primary"),
        verb="restore",
        slow=("primary", "download", "1MiB/s"),
        middle=_restored_below("work/scratch"),
    ),
    "retention": Case(
        words=("retention", "files", "--site", "primary"),
        verb="forget",
        slow=("primary", "upload", "1MiB/s"),
        middle=_packs_come("primary"),
        prepare=_prepare_retention,
    ),
    "restore": Case(
        words=("restore", "files", "--to", "back"),
        verb="restore",
        slow=("primary", "download", "1MiB/s"),
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
    until(lambda: process.poll() is not None or (restics(process, case.verb) and reached()), seconds=60)
    assert process.poll() is None, process.communicate()
    faults.unhooked(operator)
    return process


def _finish(operator: Operator, case: Case) -> str:
    """The same command once more must succeed and leave everything sound; gives what it told."""
    again = done(operator, *_words(operator, case))
    assert leftovers(operator, operator.folder / "back") == []
    done(operator, "check", "files", "--site", "primary")
    assert_sound(operator, "primary", *(["secondary"] if case.verb == "copy" else []))
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
    kill_restic(process, case.verb)
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

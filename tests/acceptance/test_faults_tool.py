"""restic itself is missing, too old, or another program: told in one sentence, and nothing is begun."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from jobs.failure import FailureKind
from tests.acceptance.operator import SETTINGS, Operator
from tests.acceptance.told import refused, rows

ADVICE: Final = "Install restic 0.14 or newer, or set [service] restic to its path."


@pytest.fixture
def operator(newcomer: Operator) -> Operator:
    """Whoever begins something makes a folder for the vault."""
    return newcomer


def program(operator: Operator, text: str, *, mode: int = 0o755) -> Path:
    """A program in restic's place."""
    path = operator.folder / "in restic's place"
    path.write_text(text)
    path.chmod(mode)
    operator.write_settings(SETTINGS.replace("{restic}", str(path)))
    return path


def assert_nothing_was_begun(operator: Operator) -> None:
    """No vault was made, and no run is on record."""
    assert not (operator.folder / "primary").exists()
    assert rows(operator.tandem("--json", "runs")) == []


@pytest.mark.parametrize("verb", ["backup files", "run", "snapshots files", "restore files --to back"])
def test_a_restic_that_is_not_there(operator: Operator, verb: str) -> None:
    missing = operator.folder / "missing/restic"
    operator.write_settings(SETTINGS.replace("{restic}", str(missing)))
    told = refused(operator, *verb.split())
    assert (told.kind, told.code) == (FailureKind.TOOL_MISSING, 4)
    assert f"{missing}: it is not there, or may not be executed" in told.message
    assert told.advice == ADVICE


def test_a_name_that_is_nowhere_on_the_path(operator: Operator) -> None:
    operator.write_settings(SETTINGS.replace("{restic}", "restic-nowhere"))
    operator.environment["PATH"] = "/nonexistent/one:/nonexistent/two"
    told = refused(operator, "backup", "files")
    assert told.kind is FailureKind.TOOL_MISSING
    assert "restic-nowhere: it is in none of /nonexistent/one:/nonexistent/two" in told.message
    assert_nothing_was_begun(operator)


OTHERS: Final = {
    "says something else": ("#!/bin/sh\necho hello\n", 0o755),
    "says nothing": ("#!/bin/sh\nexit 7\n", 0o755),
    "cannot be started": ("\x7fELF, but not quite", 0o755),
    "may not be executed": ("#!/bin/sh\n", 0o644),
}


@pytest.mark.parametrize("which", OTHERS)
def test_a_program_that_is_not_restic(operator: Operator, which: str) -> None:
    text, mode = OTHERS[which]
    path = program(operator, text, mode=mode)
    told = refused(operator, "backup", "files")
    assert (told.kind, told.code) == (FailureKind.TOOL_MISSING, 4)
    assert str(path) in told.message
    assert told.advice == ADVICE
    assert_nothing_was_begun(operator)


def test_a_restic_that_is_too_old_is_told_with_both_versions(operator: Operator) -> None:
    path = program(operator, '#!/bin/sh\necho "restic 0.13.1 compiled with go1.18.3 on linux/amd64"\n')
    told = refused(operator, "backup", "files")
    assert (told.kind, told.code) == (FailureKind.TOOL_TOO_OLD, 4)
    assert f"{path}: this is restic 0.13.1, and Tandem needs 0.14.0 or newer" in told.message
    assert told.advice == "Install restic 0.14 or newer."
    assert_nothing_was_begun(operator)

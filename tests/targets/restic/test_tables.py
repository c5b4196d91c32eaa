"""The tables: exit codes, versions, retries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.failure import FailureKind
from targets.restic.argv import Command
from targets.restic.exitcodes import ROWS, Meaning, meaning
from targets.restic.patience import REFUSALS, Patience
from targets.restic.versions import OLDEST, SINCE, Feature, Version, can, parse_version
from tests.targets.restic.recorded import VERSIONS

OLD, _, NEW = VERSIONS


@pytest.mark.parametrize(
    ("command", "code", "version", "meant"),
    [
        (Command.BACKUP, 0, OLD, Meaning.COMPLETE),
        (Command.BACKUP, 3, OLD, Meaning.PARTIAL),
        (Command.FORGET, 3, NEW, FailureKind.NOT_REMOVED),
        (Command.FORGET, 3, OLD, Meaning.SEE_TEXT),
        (Command.RESTORE, 3, NEW, Meaning.SEE_TEXT),
        (Command.COPY, 10, NEW, FailureKind.REPOSITORY_MISSING),
        (Command.CHECK, 11, NEW, FailureKind.REPOSITORY_LOCKED),
        (Command.CHECK, 12, NEW, FailureKind.WRONG_PASSWORD),
        (Command.CHECK, 12, OLD, Meaning.SEE_TEXT),
        (Command.DUMP, 2, OLD, Meaning.SEE_TEXT),
        (Command.DUMP, -9, NEW, FailureKind.KILLED),
        (Command.DUMP, 143, OLD, FailureKind.KILLED),
    ],
)
def test_a_code_has_a_meaning(command: Command, code: int, version: Version, meant: object) -> None:
    assert meaning(command, code, version) is meant


@given(st.sampled_from(Command), st.integers(-64, 255), st.sampled_from(VERSIONS))
def test_success_is_0_and_partial_is_3_of_a_backup_and_nothing_else(
    command: Command, code: int, version: Version
) -> None:
    meant = meaning(command, code, version)
    assert (meant is Meaning.COMPLETE) == (code == 0)
    assert (meant is Meaning.PARTIAL) == (code == 3 and command is Command.BACKUP)


def test_no_row_hides_another() -> None:
    keys = [(row.command, row.code) for row in ROWS]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("restic 0.14.0 compiled with go1.19.8 on linux/amd64\n", Version(0, 14, 0)),
        ("restic 0.18.1-dev (compiled manually) compiled with go1.24 on linux/amd64", Version(0, 18, 1)),
        ("restic 1.2 compiled", Version(1, 2)),
        ("rclone v1.70", None),
        ("", None),
    ],
)
def test_a_version_is_read(said: str, version: Version | None) -> None:
    assert parse_version(said) == version


def test_versions_compare_as_numbers() -> None:
    assert Version(0, 9, 6) < OLDEST < Version(0, 100)
    assert str(Version(0, 14)) == "0.14.0"


@pytest.mark.parametrize("feature", Feature)
def test_features_come_and_stay(feature: Feature) -> None:
    assert not can(OLD, feature)
    assert can(NEW, feature)
    assert can(SINCE[feature], feature)


def retry(operation: str, words: str) -> str:
    return f"{operation} returned error, retrying after 1.36s: {words}"


UNREACHABLE = "dial tcp 127.0.0.1:1: connect: connection refused"
DENIED = "open /srv/r/data/aa: permission denied"


@pytest.mark.parametrize(
    ("line", "tries"),
    [
        (retry("Stat(<config/>)", UNREACHABLE), 4),
        (retry("Load(<config/0000000000>, 0, 0)", DENIED), 2),
        (retry("Save(<data/8d3ffd08d1>)", "no space left on device"), 2),
        (retry("Remove(<snapshot/d390be3075>)", "blob not removed, server response: 403 Forbidden (403)"), 2),
        (retry("Stat(<config/>)", "Stat: The specified bucket does not exist"), 2),
        (retry("Save(<data/8d3ffd08d1>)", UNREACHABLE), None),
        (retry("Load(<data/8d3ffd08d1>, 9, 9)", "ciphertext verification failed"), None),
        ("open /srv/x: permission denied", None),
    ],
)
def test_patience_ends_where_nothing_can_change(line: str, tries: int | None) -> None:
    patience = Patience()
    answers = [patience.is_over(line) for _ in range(10)]
    assert answers == [tries is not None and number >= tries for number in range(1, 11)]


def test_damage_never_ends_a_check_early() -> None:
    assert FailureKind.REPOSITORY_DAMAGED not in REFUSALS

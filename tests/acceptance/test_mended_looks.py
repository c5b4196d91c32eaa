"""What only looks, and how it ends: the same verdict everywhere, a sentence for every mistake and every full disk."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from jobs.failure import Failure, FailureKind
from jobs.history import CheckResult, Job, Owner, RunRecord, RunState
from jobs.policy import PolicyName, SiteName, TenantName, VaultName
from orchestrator import settings as settings_room
from orchestrator.ledger.ledger import Ledger
from orchestrator.settings import effective_policy_json
from tests.acceptance.operator import Ended, Operator

NOW: Final = datetime.now(UTC)


def ledger(operator: Operator) -> Ledger:
    """The operator's ledger, made when there is none."""
    return Ledger.open(f"sqlite:///{operator.folder / 'tandem.db'}", create=True, now=NOW)


def checked(minutes: int, result: CheckResult | None) -> RunRecord:
    """A check that ended so long ago, badly where it found errors or nothing."""
    clean = result is not None and not result.errors
    at = NOW - timedelta(minutes=minutes)
    return RunRecord(
        id=f"check-{minutes}",
        job=Job.CHECK,
        tenant=TenantName("minfopra"),
        policy=PolicyName("files"),
        site=SiteName("primary"),
        vault=VaultName("primary"),
        settings_hash="",
        state=RunState.SUCCEEDED if clean else RunState.FAILED,
        owner=Owner(host="test", boot="", pid=1, started="1"),
        started_at=at,
        finished_at=at,
        failure=None if clean else Failure(kind=FailureKind.WRONG_PASSWORD, message="it does not open"),
        result=result,
    )


def check_at_primary(told: Ended, kind: str) -> str:
    """Whether `status` or the report holds the check against the first site."""
    if kind == "status":
        rows = told.json["sections"][1]["tables"][0]["rows"]
        failing = [row["controls"]["value"] for row in rows if row["site"]["value"]["site"] == "primary"]
        return "bad" if any("check" in names for names in failing) else "good"
    rows = next(
        table["rows"]
        for section in told.json["sections"]
        for table in section["tables"]
        if any("check" in row and "verdict" in row for row in table["rows"])
    )
    (row,) = [row for row in rows if row["copy"]["value"]["site"] == "primary"]
    return "bad" if row["check"]["severity"] == "bad" else "good"


HISTORIES: Final[dict[str, tuple[list[tuple[int, CheckResult | None]], str]]] = {
    "damage, then a clean part": (
        [(30, CheckResult(read_data="100%", errors=2)), (20, CheckResult(read_data="10%"))],
        "bad",
    ),
    "clean, then a wrong password": ([(30, CheckResult(read_data="100%")), (20, None)], "good"),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_status_and_report_judge_alike(operator: Operator, name: str) -> None:
    history, verdict = HISTORIES[name]
    with ledger(operator) as opened:
        for minutes, result in history:
            opened.record(checked(minutes, result))
    assert check_at_primary(operator.tandem("--json", "status"), "status") == verdict
    report = operator.tandem("--json", "report", "integrity", "--period", str(NOW.year))
    assert check_at_primary(report, "report") == verdict


def last_year(operator: Operator, text: str) -> Ended:
    """The report of last year, at whose end the policy was first known by `text`."""
    (policy,) = settings_room.load(operator.folder / "settings.toml").policies
    with ledger(operator) as opened:
        opened.remember_settings(policy.settings_hash, text, NOW - timedelta(days=366))
    return operator.tandem("--json", "report", "integrity", "--period", str((NOW - timedelta(days=366)).year))


def test_a_policy_that_never_ran_is_held_against_the_period_in_which_it_was_promised(operator: Operator) -> None:
    (policy,) = settings_room.load(operator.folder / "settings.toml").policies
    told = last_year(operator, effective_policy_json(policy))
    assert told.code == 0
    assert '"policy": "files"' in told.out


def test_a_policy_whose_settings_cannot_be_read_is_not_left_out(operator: Operator) -> None:
    told = last_year(operator, '{"kind":"policy"}')
    assert told.code == 1
    assert told.json["error"]["kind"] == "ledger-damaged"


def settings_hash(operator: Operator, *words: str) -> str:
    """What the report says that it was judged by."""
    text: str = operator.tandem("--json", "report", "integrity", *words).json["facts"]["settings_hash"]["text"]
    return text


def test_the_hash_of_the_settings_stands_for_the_policies_and_nothing_else(operator: Operator) -> None:
    ledger(operator).close()
    before = settings_hash(operator)
    operator.write_settings("# a comment\n" + operator.settings)
    assert settings_hash(operator) == before
    operator.write_settings(operator.settings.replace('rpo = "24h"', 'rpo = "23h"'))
    assert settings_hash(operator) != before


def test_a_report_that_cannot_be_written_says_so(operator: Operator) -> None:
    ledger(operator).close()
    for place in (Path("/"), operator.folder / "settings.toml" / "report.txt"):
        told = operator.tandem("--json", "report", "integrity", "--output", str(place))
        assert told.code == 4
        assert told.json["error"]["kind"] == "target-unwritable"
        assert str(place) in told.err
        assert "next: " in told.err


@pytest.mark.parametrize("words", [["status"], ["--json", "status"], ["config", "show"], ["config", "schema"]])
def test_a_full_standard_output_says_so(operator: Operator, words: Sequence[str]) -> None:
    ledger(operator).close()
    with Path("/dev/full").open("w") as full:
        told = subprocess.run(operator.command(*words), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert told.returncode == 4
    assert told.stderr.startswith("tandem: write to standard output: No space left on device\n")
    assert "Exception" not in told.stderr


def into_a_closed_pipe(operator: Operator, *words: str) -> tuple[int, str]:
    """Exit code and standard error of a command whose output nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        told = subprocess.run(operator.command(*words), stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writer)
    return told.returncode, told.stderr


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_reader_that_has_seen_enough_does_not_change_how_a_command_ended(
    operator: Operator, form: Sequence[str]
) -> None:
    ledger(operator).close()
    assert into_a_closed_pipe(operator, *form, "runs") == (0, "")
    (operator.folder / "source").rename(operator.folder / "elsewhere")
    assert into_a_closed_pipe(operator, *form, "-q", "backup", "files") == (4, "")


def test_a_workdir_below_a_file_is_no_internal_error(operator: Operator) -> None:
    operator.write_settings(operator.settings.replace('workdir = "work"', 'workdir = "settings.toml/work"'))
    told = operator.tandem("--json", "backup", "files")
    assert told.code == 4
    assert told.json["error"]["kind"] == "target-unwritable"
    assert "workdir" in told.json["error"]["message"]


@pytest.mark.parametrize(
    "words",
    [
        ["snapshots", "files", "--site", "secondary"],
        ["check", "files", "--site", "secondary"],
        ["test-restore", "files", "--site", "secondary"],
        ["retention", "files", "--site", "secondary"],
        ["restore", "files", "--to", "back", "--from", "secondary"],
    ],
    ids=lambda words: words[0],
)
def test_a_site_that_the_policy_does_not_use_is_a_mistake(operator: Operator, words: Sequence[str]) -> None:
    operator.write_settings(operator.settings.replace('replicate = {{ to = "secondary" }}', ""))
    told = operator.tandem(*words)
    assert (told.code, told.out) == (2, "")
    assert told.err == "tandem: policy files keeps nothing at site secondary; it has: primary\n"


@pytest.mark.parametrize(
    "words", [["statsu"], ["status", "--json"], ["runs", "--limit", "0"], ["runs", "--limit", "x"]]
)
def test_with_json_a_mistake_on_the_command_line_is_one_document(operator: Operator, words: Sequence[str]) -> None:
    told = operator.tandem("--json", *words)
    assert told.code == told.json["error"]["exit_code"] == 2
    assert told.json["error"]["message"] in told.err
    assert told.err.startswith("usage: ")
    without = operator.tandem(*(word for word in words if word != "--json"))
    assert words == ["status", "--json"] or (without.code, without.out) == (2, "")


def test_with_json_the_settings_to_begin_with_are_one_document(operator: Operator) -> None:
    assert operator.tandem("--json", "config", "generate").json == {
        "settings": operator.tandem("config", "generate").out
    }

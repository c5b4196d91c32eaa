"""Reports that make themselves, as an operator sees them: made on the day, all after an outage, told when not."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from jobs.history import ReportResult, RunState
from orchestrator.ledger.ledger import Ledger
from targets.host import this_process
from tests.acceptance import oracle
from tests.acceptance.faults import NOW, done, runs
from tests.acceptance.operator import SETTINGS, Operator, until
from tests.acceptance.serving import SteeredClock, serving

START: Final = datetime(2026, 1, 31, 22, 0, tzinfo=UTC)
REPORTS: Final = """
[reports.all]
schedule = "monthly on 1 at 06:00"
folder = "reports"
[reports.ministry]
schedule = "monthly on 1 at 06:00"
tenant = "minfopra"
formats = ["json"]
folder = "reports"
"""


@pytest.fixture
def reporter(tmp_path: Path) -> Operator:
    """An operator whose reports make themselves, and who has no restic: none is needed for that."""
    made = Operator(folder=tmp_path / "operator", restic=Path("/nowhere/restic"), settings=SETTINGS + REPORTS)
    (made.folder / "reports").mkdir()
    return made


def files(operator: Operator) -> list[str]:
    """What is in the reports' folder."""
    return sorted(path.name for path in (operator.folder / "reports").iterdir())


def states(operator: Operator, report: str) -> list[str]:
    """In which states a report's slots are, the oldest due first."""
    found = oracle.rows(operator.folder / "tandem.db", "SELECT state FROM slot WHERE policy = ? ORDER BY due", report)
    return [row["state"] for row in found]


def test_serve_makes_them_on_the_day_and_after_an_outage_each_that_was_missed(reporter: Operator) -> None:
    shown = '[serve]\ntextfile = "tandem.prom"\n'
    reporter.write_settings(SETTINGS + shown + REPORTS.partition("[reports.ministry]")[0])
    clock = SteeredClock.made(reporter.folder / "clock", START)
    settings, ledger = reporter.folder / "settings.toml", reporter.folder / "tandem.db"
    with serving(settings, clock, rate=3600.0) as daemon:
        until(lambda: states(reporter, "all") == ["succeeded"])
        assert daemon.stop() == 0
    assert files(reporter) == [f"integrity-all-2026-01.{end}" for end in ("html", "json", "txt")]
    clock.go(1.0, step=timedelta(days=60))
    with serving(settings, clock, rate=60.0, trust_clock=True) as daemon:
        until(lambda: states(reporter, "all") == ["succeeded"] * 3)
        assert daemon.stop() == 0
    months = ("2026-01", "2026-02", "2026-03")
    assert files(reporter) == [f"integrity-all-{month}.{end}" for month in months for end in ("html", "json", "txt")]
    for run in runs(reporter):
        assert (run.site, run.vault, run.tool, run.failure) == ("-", "-", "", None)
        assert isinstance(run.result, ReportResult)
        for file in run.result.files:
            content = (reporter.folder / "reports" / file.name).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file.bytes, file.sha256)
    told = json.loads((reporter.folder / "reports" / "integrity-all-2026-02.json").read_text())
    assert told["facts"]["period"]["value"]["end"] == "2026-02-28T23:00:00Z", "a month of the zone"
    assert told["facts"]["generated_at"]["value"] > "2026-04-01", "by the clock of serve"
    assert oracle.contradictions(ledger) == []
    metrics = (reporter.folder / "tandem.prom").read_text()
    assert 'tandem_last_run_state{tenant="-",policy="all",job="report",vault="-",state="succeeded"} 1' in metrics
    register = json.loads(done(reporter, "report", "integrity", "--period", "2026-04-01", "--format", "json").out)
    due = next(section for section in register["sections"] if section["key"] == "slots")
    assert "report" in json.dumps(due), "a report tells of those that made themselves"
    assert not any((reporter.folder / "work" / "scratch").iterdir())


def test_one_that_cannot_be_written_is_tried_again_and_told(reporter: Operator) -> None:
    folder = reporter.folder / "reports"
    folder.rmdir()  # its disk is not mounted
    clock = SteeredClock.made(reporter.folder / "clock", START)
    reporter.write_settings(SETTINGS + REPORTS.replace("[reports.all]", "[reports.other]").partition("[reports.m")[0])
    with serving(reporter.folder / "settings.toml", clock, rate=3600.0):
        until(lambda: any(run.failure is not None for run in runs(reporter)))
        folder.mkdir()
        until(lambda: states(reporter, "other") == ["succeeded"])
    failed = [run for run in runs(reporter) if run.failure is not None]
    assert {run.failure.kind for run in failed if run.failure} == {"folder-unavailable"}
    assert all(str(folder) in run.failure.message for run in failed if run.failure)


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_by_hand_it_is_of_the_last_month_and_on_record(reporter: Operator) -> None:
    how = done(reporter, "report", "scheduled", "ministry")
    (run,) = runs(reporter)
    assert (run.job, run.policy, run.tenant, run.slot) == ("report", "ministry", "minfopra", None)
    (name,) = files(reporter)
    assert name in how.out
    listed = done(reporter, "--json", "runs", "ministry").json["sections"][0]["tables"][0]["rows"]
    (row,) = listed
    assert hashlib.sha256((reporter.folder / "reports" / name).read_bytes()).hexdigest() in json.dumps(row)
    (reporter.folder / "reports" / name).write_text("what somebody has signed")
    again = done(reporter, "report", "scheduled", "ministry")
    assert "kept what was there" in again.out
    assert (reporter.folder / "reports" / name.replace(".json", ".1.json")).read_text() == "what somebody has signed"
    assert files(reporter) == [name.replace(".json", ".1.json"), name]


def test_the_same_report_as_the_one_that_is_asked_for(reporter: Operator) -> None:
    done(reporter, "report", "scheduled", "all", "--period", "2026-W03")
    one = json.loads((reporter.folder / "reports" / "integrity-all-2026-W03.json").read_text())
    other = done(reporter, "--json", "report", "integrity", "--period", "2026-W03").json
    for each in (one, other):
        del each["facts"]["generated_at"]
    assert one == other


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["report", "scheduled"], "there are: all, ministry"),
        (["report", "scheduled", "minstry"], "did you mean 'ministry'?"),
        (["report", "scheduled", "all", "--tenant", "minfopra"], "--tenant: what the settings say"),
        (["report", "scheduled", "all", "--period", "9998"], "has not begun yet"),
        (["report", "scheduled", "all", "--period", "2026-3"], "not a period"),
        (["report", "integrity", "all"], "only `tandem report scheduled` takes the name"),
        (["run", "all"], "tandem report scheduled all"),
    ],
)
def test_a_mistake_is_said(reporter: Operator, words: list[str], says: str) -> None:
    how = reporter.tandem(*words)
    assert how.code == 2
    assert says in how.err
    assert not (reporter.folder / "tandem.db").exists() or runs(reporter) == ()


def test_by_hand_a_folder_that_is_away_is_a_failed_run(reporter: Operator) -> None:
    (reporter.folder / "reports").rmdir()
    how = reporter.tandem("report", "scheduled", "all")
    assert how.code == 4
    assert "[reports]" in how.out + how.err
    (run,) = runs(reporter)
    assert run.failure is not None
    assert run.failure.kind == "folder-unavailable"
    doctor = reporter.tandem("--json", "doctor")
    assert "is not there" in doctor.out


def test_one_that_was_cut_off_is_explained_and_made_anew(reporter: Operator) -> None:
    done(reporter, "report", "scheduled", "all")
    (run,) = runs(reporter)
    (reporter.folder / "reports" / ".integrity-all-2026-01.html.part").write_text("<ht")
    dead = replace(run, id=f"{run.id}-2", state=RunState.RUNNING, owner=replace(this_process(), started="1"))
    with Ledger.open(f"sqlite:///{reporter.folder / 'tandem.db'}", create=False, now=NOW) as ledger:
        ledger.claim(replace(dead, finished_at=None, result=None))
    how = done(reporter, "report", "scheduled", "all", "--period", "2026-01")
    assert "was cut off: interrupted. Tandem died while this ran; the next one makes it anew" in how.err
    assert sorted(run.state for run in runs(reporter)) == ["interrupted", "succeeded", "succeeded"]
    assert not list((reporter.folder / "reports").glob(".*"))


def test_it_is_planned_and_listed(reporter: Operator) -> None:
    assert "report ministry" in done(reporter, "plan", "ministry", "--for", "32d").out
    assert "monthly on 1 at 06:00" in done(reporter, "plan").out
    assert done(reporter, "report", "scheduled", "ministry").code == 0
    assert "adds up" in done(reporter, "slots", "ministry").out

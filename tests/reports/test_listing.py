"""The tables of everyday work, as people read them in 80 columns and as machines read them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from jobs.failure import Failure, FailureKind
from jobs.history import (
    BackupResult,
    CheckResult,
    Job,
    ReplicateResult,
    RestoreResult,
    RestoreTestResult,
    Result,
    RetentionResult,
    RunState,
)
from jobs.integrity import assess
from jobs.planner import CYCLE, plan
from jobs.policy import PolicyName, Retention
from jobs.retention import Point, decide
from jobs.snapshot import Snapshot, tags
from reports import html, listing, render_json, terminal
from reports.document import Document
from tests.reports.scenes import DAY, HOUR, NOW, ZONE, Scene, green, mixed, policy, red, run

Golden = Callable[[str, str], None]
CAREER: Final = policy("career-files", "minfopra")


def status(scene: Scene, *more: Any) -> Document:
    """The scene at a glance."""
    judged = assess(scene.policies, scene.runs, scene.points, NOW)
    return listing.status(judged, (*scene.runs, *more), now=NOW, zone=ZONE, operator=scene.cover.operator)


def rows(made: Document, table: int = 0, section: int = 0) -> list[dict[str, Any]]:
    """A table's rows as machines read them; the document must also go through the other renderers."""
    html.render(made)
    terminal.text(made, width=80)
    found: list[dict[str, Any]] = json.loads(render_json.render(made))["sections"][section]["tables"][table]["rows"]
    return found


def column(made: Document, key: str) -> list[str]:
    """The texts of one column."""
    return [row[key]["text"] for row in rows(made)]


@pytest.mark.parametrize(("name", "make"), [("green", green), ("mixed", mixed), ("red", red)])
def test_status_fits_a_terminal_of_80_columns(name: str, make: Callable[[], Scene], golden: Golden) -> None:
    golden(f"status-{name}.txt", terminal.text(status(make()), width=80))


def test_status_has_one_line_for_each_copy_with_its_verdict_and_what_runs() -> None:
    scene = green()
    going = replace(
        run(CAREER, Job.CHECK, NOW), id="x", state=RunState.RUNNING, started_at=NOW - HOUR, finished_at=None
    )
    found = rows(status(scene, going, going))
    assert [row["verdict"]["value"] for row in found] == ["met"] * 6
    first = next(row for row in found if row["policy"]["text"] == "career-files")
    assert first["running"] == {"text": "check, for 1 h", "value": ["x"], "severity": "neutral", "details": []}
    assert first["last"]["value"] == "succeeded"
    assert first["newest"]["value"] == 6 * 3_600


def test_status_of_a_policy_that_never_ran_is_red_and_says_never() -> None:
    made = status(Scene(cover=green().cover, policies=(CAREER,), runs=(), points=()))
    assert column(made, "last") == ["never", "never"]
    assert column(made, "newest") == ["none", "none"]
    assert {row["verdict"]["severity"] for row in rows(made)} == {"bad"}


_RESULTS: Final[Sequence[tuple[Job, Result, str]]] = (
    (Job.BACKUP, BackupResult(files=1_200, bytes=2_048, bytes_added=10), "1,200 files, 2.00 KiB, 10 B new"),
    (
        Job.BACKUP,
        BackupResult(files=1, bytes=1, changed_count=2, unreadable_count=3),
        "1 file, 1 B, 0 B new, 2 changed meanwhile, 3 unreadable",
    ),
    (Job.REPLICATE, ReplicateResult(copied=2, already_there=40), "2 copied, 40 already there"),
    (
        Job.REPLICATE,
        ReplicateResult(missing_after=1, differing=1),
        "0 copied, 0 already there, 1 still missing, 1 differing",
    ),
    (Job.CHECK, CheckResult(read_data="10%"), "read 10%, 0 errors"),
    (
        Job.RESTORE_TEST,
        RestoreTestResult(snapshot="0123456789", files_compared=3, bytes_compared=1_024, differences=1),
        "01234567: 3 files, 1.00 KiB compared, 1 difference",
    ),
    (Job.RETENTION, RetentionResult(kept=9, removed=("a", "b")), "9 kept, 2 removed"),
    (
        Job.RESTORE,
        RestoreResult(target="/tmp/back", files=2, bytes=5, verified=2),
        "2 files, 5 B to /tmp/back, 2 verified",
    ),
)


@pytest.mark.parametrize(("job", "result", "words"), _RESULTS)
def test_every_kind_of_run_says_what_it_did(job: Job, result: Result, words: str) -> None:
    (row,) = rows(listing.runs([run(CAREER, job, NOW, result)], now=NOW, zone=ZONE))
    assert row["found"]["text"] == words
    assert row["state"]["value"] == "succeeded"
    assert row["started"]["value"] == {"at": "2026-11-21T07:28:00Z", "seconds": 120}


def test_runs_show_reasons_next_steps_notes_and_how_long_an_open_one_lasts(golden: Golden) -> None:
    failure = Failure(kind=FailureKind.DISK_FULL, message="backup minfopra@primary: no space left on device")
    going = replace(run(CAREER, Job.CHECK, NOW), state=RunState.RUNNING, started_at=NOW - HOUR, finished_at=None)
    records = [
        going,
        run(CAREER, Job.BACKUP, NOW - HOUR, state=RunState.FAILED, failure=failure),
        replace(
            run(CAREER, Job.REPLICATE, NOW - 2 * HOUR, at="secondary", state=RunState.SKIPPED), note="the link is down"
        ),
        run(CAREER, Job.BACKUP, NOW - DAY, _RESULTS[0][1]),
    ]
    made = listing.runs(records, now=NOW, zone=ZONE)
    assert column(made, "found") == [
        "—",
        "backup minfopra@primary: no space left on device",
        "the link is down",
        "1,200 files, 2.00 KiB, 10 B new",
    ]
    assert rows(made)[0]["started"]["value"]["seconds"] == 3_600
    assert rows(made)[0]["started"]["details"] == ["for 1 h"]
    assert rows(made)[1]["found"]["details"] == [failure.advice]
    golden("runs.txt", terminal.text(made, width=80))
    golden("runs-wide.txt", terminal.text(made, width=180))


def test_snapshots_have_the_short_id_for_people_and_the_whole_one_for_machines(golden: Golden) -> None:
    scene = green()
    *others, last = scene.points[-3:]
    made = listing.snapshots([*others, replace(last, complete=False)], now=NOW, zone=ZONE)
    assert [row["policy"]["value"]["complete"] for row in rows(made)] == [True, True, False]
    first = rows(made)[0]["snapshot"]
    assert first["value"] == scene.points[-3].snapshot
    assert first["value"].startswith(first["text"])
    assert len(first["text"]) == 8
    golden("snapshots.txt", terminal.text(made, width=80))


def test_a_plan_shows_steps_in_order_and_a_reason_for_what_is_left_out(golden: Golden) -> None:
    kept = Retention(daily=7)
    policies = (
        replace(CAREER, retention=kept),
        replace(policy("payroll", "minfopra"), replica=None, replica_site=None),
    )
    preview = plan(policies, CYCLE, {}, NOW)
    made = listing.plan(preview, zone=ZONE)
    steps, skips = rows(made), rows(made, section=1)
    assert [row["step"]["value"] for row in steps] == list(range(1, len(preview.steps) + 1))
    assert [row["job"]["value"] for row in steps] == [step.job.value for step in preview.steps]
    assert [row["reason"]["text"] for row in skips] == [skip.reason.words for skip in preview.skips]
    assert steps[-1]["after"]["text"] == "step 1, step 3"
    golden("plan.txt", terminal.text(made, width=80))


def test_a_retention_shows_every_point_with_its_decision_and_why(golden: Golden) -> None:
    points = [
        Point(run=f"r{n}", snapshots=(_snapshot(n), replace(_snapshot(n), id=f"m{n}", tags=()))) for n in range(12)
    ]
    decision = decide(points, Retention(last=2, daily=5, minimum=3), now=NOW, zone=ZONE)
    removal = listing.Removal(
        tenant=CAREER.tenant, policy=CAREER.name, site=CAREER.site, vault=CAREER.vault, decision=decision
    )
    made = listing.retention([removal], zone=ZONE)
    found = rows(made)
    assert [row["decision"]["value"] for row in found].count("keep") == len(decision.keep)
    assert [row["decision"]["value"] for row in found].count("remove") == len(decision.remove) > 0
    assert [row["time"]["value"] for row in found] == sorted((row["time"]["value"] for row in found), reverse=True)
    reasons = {kept.point.snapshots[0].id: list(kept.reasons) for kept in decision.keep}
    assert {
        row["snapshot"]["value"]: row["reasons"]["value"] for row in found if row["decision"]["value"] == "keep"
    } == reasons
    golden("retention.txt", terminal.text(made, width=80))


def _snapshot(number: int) -> Snapshot:
    return Snapshot(
        id=f"{number:08x}".ljust(64, "0"),
        time=NOW - number * timedelta(hours=17),
        tree="t",
        tags=tags(policy=PolicyName("career-files"), run=f"r{number}", content="data"),
    )


@pytest.mark.parametrize(
    "made",
    [
        listing.runs([], now=NOW, zone=ZONE),
        listing.snapshots([], now=NOW, zone=ZONE),
        listing.plan(plan((), CYCLE, {}, NOW), zone=ZONE),
        listing.retention([], zone=ZONE),
        listing.status([], [], now=NOW, zone=ZONE, operator="Nobody"),
    ],
    ids=lambda made: made.kind,
)
def test_where_there_is_nothing_it_says_so(made: Document) -> None:
    page = terminal.text(made, width=80)
    assert len(page.splitlines()) >= 3
    assert html.render(made)
    for section in made.sections:
        for table in section.tables:
            assert table.empty in page

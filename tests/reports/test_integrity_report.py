"""The integrity report: cut to a tenant it holds nothing of others, the past stays as it was, and no run is lost."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobs.history import AuditResult, Job, RunState
from jobs.policy import PolicyName, TenantName
from reports import html, render_json, terminal
from reports.document import Document, Severity
from tests.reports.scenes import DAY, NOW, SCENES, Scene, cover, document, green, mixed, point, policy, red, run


def report(scene: Scene) -> dict[str, Any]:
    """The scene's report as machines read it."""
    found: dict[str, Any] = json.loads(render_json.render(document(scene)))
    return found


def table(found: dict[str, Any], section: str, key: str) -> list[dict[str, Any]]:
    """The rows of one table."""
    for part in found["sections"]:
        for each in part["tables"]:
            if (part["key"], each["key"]) == (section, key):
                rows: list[dict[str, Any]] = each["rows"]
                return rows
    raise AssertionError(f"there is no table {key} in section {section}")


def every_rendering(made: Document) -> str:
    """All that anybody could read of it."""
    return "\n".join((html.render(made), terminal.text(made, width=300), render_json.render(made)))


@pytest.mark.parametrize(
    ("name", "verdict", "sentence", "severity"),
    [
        ("green", "met", "All 6 copies are proven and within objectives.", Severity.GOOD),
        ("mixed", "missed", "3 of 6 copies fail: 1 missed, 2 not proven.", Severity.BAD),
        ("red", "missed", "4 of 4 copies fail: 2 missed, 2 not proven.", Severity.BAD),
    ],
)
def test_the_headline_judges_all(name: str, verdict: str, sentence: str, severity: Severity) -> None:
    headline = document(SCENES[name]()).headline
    assert headline is not None
    assert (headline.value, headline.text, headline.severity) == (verdict, sentence, severity)


def test_a_report_on_nothing_is_not_green() -> None:
    headline = document(Scene(cover=cover(), policies=(), runs=(), points=())).headline
    assert headline is not None
    assert (headline.value, headline.severity) == ("not-proven", Severity.BAD)


def test_one_copy_reads_as_one() -> None:
    scene = green()
    alone = replace(scene.policies[0], replica=None, replica_site=None)
    headline = document(replace(scene, policies=(alone,))).headline
    assert headline is not None
    assert headline.text == "The one copy is proven and within objectives."


@pytest.mark.parametrize("make", [green, mixed, red])
def test_a_report_cut_to_a_tenant_is_made_of_its_records_alone(make: Any) -> None:
    scene: Scene = make()
    customs = TenantName("customs")
    whole = document(scene)
    cut = replace(scene, cover=replace(scene.cover, tenant=customs))
    own = replace(
        cut,
        policies=tuple(each for each in scene.policies if each.tenant == customs),
        runs=tuple(each for each in scene.runs if each.tenant == customs),
        points=tuple(each for each in scene.points if each.tenant == customs),
    )
    assert document(cut) == document(own)
    text = every_rendering(document(cut))
    for foreign in ("minfopra", "career-files", "payroll", "Public Service", "10.20.0.5", "backup1"):
        assert foreign not in text
    assert "career-files" in every_rendering(whole)
    assert "only Directorate General of Customs" in text


def test_a_report_cut_to_a_policy_still_counts_the_check_that_another_policy_had_made() -> None:
    scene = green()
    runs = tuple(each for each in scene.runs if not (each.job is Job.CHECK and each.policy == "payroll"))
    cut = replace(scene, runs=runs, cover=replace(scene.cover, policy=PolicyName("payroll")))
    found = report(cut)
    assert found["headline"]["value"] == "met"
    assert {row["copy"]["text"] for row in table(found, "points", "points")} == {"payroll"}
    assert [row["job"]["value"] for row in table(found, "runs", "counts")] == [
        "backup",
        "replicate",
        "restore-test",
        "all",
    ]


def test_an_audit_stands_beside_the_check_with_what_it_read_and_the_damaged_files_by_name() -> None:
    scene = green()
    of = scene.policies[0]
    result = AuditResult(
        files=1234, bytes=5_000_000, damaged=4, control=True, findings=("a: x", "b: x", "c: x", "d: x")
    )
    rotten = run(of, Job.AUDIT, NOW - DAY, result, at="secondary", state=RunState.FAILED)
    sound = run(of, Job.AUDIT, NOW - DAY, AuditResult(files=9, bytes=900, control=True))
    found = report(replace(scene, runs=(*scene.runs, rotten, sound)))
    rows = {
        (row["copy"]["text"], row["copy"]["value"]["site"]): row["check"]
        for row in table(found, f"tenant-{of.tenant}", "verdicts")
    }
    bad, good = rows[of.name, "secondary"], rows[of.name, "primary"]
    assert (bad["severity"], good["severity"]) == ("bad", "good")
    assert bad["value"]["audit_run"] == rotten.id
    told = ("audit_files", "audit_bytes", "audit_damaged", "audit_age_verdict")
    assert [bad["value"][name] for name in told] == [1234, 5_000_000, 4, "missed"]
    assert [good["value"][name] for name in told] == [9, 900, 0, "no-objective"]
    assert bad["details"][-4:] == ["a: x", "b: x", "c: x", "and 1 more"]
    gaps = [str(row) for row in table(found, f"tenant-{of.tenant}", "gaps") if "4 files damaged" in str(row)]
    assert len(gaps) == 2  # both policies of the repository
    assert all("the first: a: x" in gap for gap in gaps)
    assert found["headline"]["value"] == "missed"


def test_where_nobody_asks_for_audits_nothing_is_said_of_them() -> None:
    for row in table(report(green()), "tenant-minfopra", "verdicts"):
        assert not any("audit" in name for name in row["check"]["value"])


def test_an_audit_that_is_due_and_never_was_is_not_proven() -> None:
    scene = green()
    wanted = replace(scene.policies[0], objectives=replace(scene.policies[0].objectives, audit_age=8 * DAY))
    found = report(replace(scene, policies=(wanted, *scene.policies[1:])))
    row = next(row for row in table(found, f"tenant-{wanted.tenant}", "verdicts") if row["copy"]["text"] == wanted.name)
    assert row["check"]["severity"] == "bad"
    assert row["check"]["details"][-1] == "audit: never"
    assert found["headline"]["value"] == "not-proven"


def test_a_past_period_speaks_of_its_end_and_later_facts_change_nothing() -> None:
    scene = green()
    past = replace(scene, cover=cover("2026-11-18"))
    later = (*scene.points, point(scene.policies[0], 99, NOW - DAY))
    failed = run(scene.policies[0], Job.BACKUP, NOW, state=RunState.FAILED)
    again = replace(past, runs=(*scene.runs, failed), points=later)
    assert document(again) == document(past)
    assert document(past).headline != document(scene).headline
    assert report(past)["facts"]["as_of"]["value"] == "2026-11-18T23:00:00Z"
    assert report(past)["facts"]["generated_at"]["value"] == "2026-11-21T07:30:00Z"
    made_later = replace(past, cover=replace(past.cover, now=NOW + 400 * DAY))
    assert replace(document(made_later), facts=()) == replace(document(past), facts=())


def test_a_period_that_has_not_begun_is_refused() -> None:
    with pytest.raises(ValueError, match="has not begun"):
        document(replace(green(), cover=cover("2027-01")))


def test_every_run_of_the_period_is_counted_once() -> None:
    scene = red()
    open_run = replace(run(scene.policies[0], Job.CHECK, NOW), id="open", state=RunState.RUNNING, finished_at=None)
    before = replace(scene.runs[0], id="before", started_at=scene.cover.period.start - timedelta(seconds=1))
    ahead = replace(
        scene.runs[0], id="ahead", started_at=NOW + timedelta(hours=1), finished_at=NOW + timedelta(hours=2)
    )
    found = report(replace(scene, runs=(*scene.runs, open_run, before, ahead)))
    *jobs, total = table(found, "runs", "counts")
    within = [each for each in (*scene.runs, open_run) if each.started_at in scene.cover.period]
    assert total["all"]["value"] == sum(row["all"]["value"] for row in jobs) == len(within)
    for row in (*jobs, total):
        assert row["all"]["value"] == sum(row[key]["value"] for key in row if key not in {"job", "all"})
    assert total["running"]["value"] == 1
    bad = [each for each in within if each.state in {RunState.FAILED, RunState.INTERRUPTED}]
    assert {row["run"]["value"]["run"] for row in table(found, "runs", "failures")} == {each.id for each in bad}


def test_a_run_that_ended_after_the_period_was_running_then() -> None:
    scene = green()
    late = replace(run(scene.policies[0], Job.CHECK, NOW), id="late", started_at=NOW - 4 * DAY, state=RunState.FAILED)
    found = report(replace(scene, runs=(*scene.runs, late), cover=cover("2026-11-17")))
    *_, total = table(found, "runs", "counts")
    assert (total["running"]["value"], total["failed"]["value"]) == (1, 0)


def test_runs_that_are_kept_no_longer_are_said() -> None:
    scene = green()
    kept = replace(scene, cover=replace(scene.cover, kept_since=scene.cover.period.start + 2 * DAY))
    for each, removed in ((scene, False), (kept, True)):
        (part,) = [part for part in report(each)["sections"] if part["key"] == "runs"]
        assert ("Runs that ended before 2026-11-03" in json.dumps(part["paragraphs"])) == removed
        assert ("Every run that is kept" in every_rendering(document(each))) == removed


def test_more_failures_than_a_page_holds_are_counted_and_said() -> None:
    of = policy("career-files", "minfopra")
    failed = tuple(
        replace(run(of, Job.BACKUP, NOW - n * timedelta(minutes=5), state=RunState.FAILED), id=f"r{n}")
        for n in range(250)
    )
    found = report(Scene(cover=cover(), policies=(of,), runs=failed, points=()))
    (part,) = [part for part in found["sections"] if part["key"] == "runs"]
    assert len(table(found, "runs", "failures")) == 200
    assert part["paragraphs"] == ["50 older ones are not listed here."]
    assert table(found, "runs", "counts")[-1]["failed"]["value"] == 250


def test_points_of_a_policy_that_left_the_settings_are_still_named() -> None:
    scene = green()
    found = report(replace(scene, policies=scene.policies[1:]))
    left = [row["copy"] for row in table(found, "points", "points") if row["copy"]["text"] == "career-files"]
    assert len(left) == 2
    assert all("no longer in the settings" in cell["details"] for cell in left)


def test_what_is_not_proven_is_listed_with_its_code_and_its_numbers() -> None:
    rows = table(report(red()), "tenant-minfopra", "gaps")
    found = {row["finding"]["value"]["code"]: row for row in rows}
    assert found["damage-found"]["finding"]["value"]["count"] == 4
    assert found["differences-found"]["finding"]["value"]["count"] == 17
    assert found["restore-too-slow"]["finding"]["value"] | {} == {
        "code": "restore-too-slow",
        "control": "restore-time",
        "count": 0,
        "measured_seconds": 16_021,
        "objective_seconds": 14_400,
        "detail": None,
    }
    trouble = found["last-run-bad"]["finding"]
    assert {row["effect"]["value"] for row in rows} >= {"missed", "not-proven", "noted", "failed"}
    assert trouble["value"]["run"]


def test_the_cover_names_who_what_and_under_which_settings() -> None:
    facts = report(green())["facts"]
    assert facts["operator"]["text"] == "National Data Centre"
    assert facts["scope"]["value"] == {"tenant": None, "policy": None}
    assert facts["period"]["value"] == {
        "name": "2026-11",
        "start": "2026-10-31T23:00:00Z",
        "end": "2026-11-30T23:00:00Z",
    }
    assert facts["as_of"]["text"] == "2026-11-21 08:30 +01:00"
    assert facts["software"]["text"] == "Tandem 0.1.0, restic 0.14.0"
    assert len(facts["settings_hash"]["text"]) == 64
    unused = report(replace(green(), cover=cover(restic="")))
    assert unused["facts"]["software"]["text"] == "Tandem 0.1.0"

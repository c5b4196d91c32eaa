"""The documents of `doctor` and `locks`: a line for each thing, the gravest in the headline, one text in every form."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jobs.checkup import Finding, Grade
from jobs.failure import Failure, FailureKind
from jobs.history import Job
from jobs.lock import Here, Judged, Lock, Tie, judge
from jobs.policy import SiteName, TenantName, VaultName
from reports import doctor, locks, render_json, terminal
from reports.document import Document, Severity
from tests.orchestrator.ledger.build import run, slot

NOW = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
PLACE = (TenantName("north"), VaultName("one"))
LOCK = Lock(id="a1" * 32, time=NOW - timedelta(hours=2), exclusive=False, host="alpha", user="backup", pid=4711)
DEAD = judge(PLACE, LOCK, Here(host="alpha", sees_all=True), [], [Tie(run=run(started_at=NOW), over=True)], NOW)
FOREIGN = judge(
    PLACE, replace(LOCK, id="b2" * 32, host="beta", exclusive=True), Here(host="alpha", sees_all=True), [], [], NOW
)
UNASKED = (
    (TenantName("north"), VaultName("two")),
    Failure(kind=FailureKind.VAULT_UNREACHABLE, message="nobody answers"),
)


def finding(grade: Grade) -> Finding:
    advice = "" if grade in {Grade.OK, Grade.INFO} else "do this"
    return Finding(check="vault", subject="one", grade=grade, text=f"it is {grade}", advice=advice)


def told(found: list[Judged], removals: dict[str, str] | None = None, unasked: bool = False) -> Document:
    waiting = [slot(1, job=Job.CHECK, vault="one"), slot(2, job=Job.BACKUP, vault="one"), slot(3, job=Job.CHECK)]
    waiting[2] = replace(waiting[2], tenant=TenantName("south"))
    return locks.locks(found, [UNASKED] if unasked else [], removals or {}, waiting, {PLACE[1]: SiteName("primary")})


def test_what_is_not_well_has_a_next_step() -> None:
    for grade in (Grade.WARN, Grade.UNKNOWN, Grade.FAILED):
        with pytest.raises(ValueError, match="next step"):
            Finding(check="vault", subject="one", grade=grade, text="bad")


def test_the_doctors_headline_is_the_gravest_and_counts_all() -> None:
    document = doctor.doctor([finding(grade) for grade in (Grade.OK, Grade.OK, Grade.WARN, Grade.FAILED)])
    assert document.headline is not None
    assert document.headline.text == "1 FAILED, 1 WARN, 2 OK"
    assert document.headline.severity is Severity.BAD
    unknown = doctor.doctor([finding(Grade.OK), finding(Grade.UNKNOWN)])
    assert unknown.headline is not None
    assert unknown.headline.severity is Severity.WARNING  # what could not be done is not well


def test_every_form_of_the_doctors_findings_says_the_same() -> None:
    document = doctor.doctor([finding(grade) for grade in Grade])
    text, machine = terminal.text(document), json.loads(render_json.render(document))
    rows = machine["sections"][0]["tables"][0]["rows"]
    assert [row["grade"]["value"] for row in rows] == [grade.value for grade in Grade]
    assert text.count("do this") == sum(bool(row["found"]["value"]["next"]) for row in rows) == 3


@pytest.mark.parametrize(
    ("found", "removals", "unasked", "headline"),
    [
        ([], {}, False, "free"),
        ([DEAD], {}, False, "in-the-way"),
        ([DEAD], {LOCK.id: ""}, False, "free"),
        ([DEAD], {LOCK.id: "the vault did not let it go"}, False, "in-the-way"),
        ([DEAD, FOREIGN], {LOCK.id: ""}, False, "in-the-way"),
        ([DEAD], {LOCK.id: ""}, True, "unasked"),
    ],
)
def test_the_headline_of_locks(found: list[Judged], removals: dict[str, str], unasked: bool, headline: str) -> None:
    document = told(found, removals, unasked)
    assert document.headline is not None
    assert document.headline.value == headline


def test_a_lock_names_its_maker_what_it_blocks_and_what_to_do() -> None:
    text = terminal.text(told([DEAD, FOREIGN], unasked=True))
    for words in ("process 4711 on alpha", "check, retention", "1 open slot", "--remove", "stale, as restic counts"):
        assert words in " ".join(text.split())
    for words in ("everything", "beta", "restic unlock", "nobody answers", "its Tandem is dead"):
        assert words in " ".join(text.split())
    rows = json.loads(render_json.render(told([DEAD, FOREIGN])))["sections"][0]["tables"][0]["rows"]
    assert [row["kind"]["value"]["kind"] for row in rows] == ["dead", "foreign"]
    assert rows[0]["repository"]["value"]["site"] == "primary"
    assert len(rows[1]["blocks"]["value"]) == len(set(Job) - {Job.AUDIT, Job.REPORT}) + 2


def test_a_finding_names_what_it_is_of_and_the_next_step_where_there_are_such() -> None:
    bare = Finding(check="restic", subject="", grade=Grade.OK, text="it is there")
    document = doctor.doctor([bare, finding(Grade.FAILED)])
    assert document.headline is not None
    assert document.headline.badge
    (table,) = document.sections[0].tables
    cells = [cell for row in table.rows for cell in row]
    details = [cell.details for cell in cells if cell.details]
    assert sorted(details) == [("Next: do this",), ("one",)]
    assert all(row[0].badge for row in table.rows)

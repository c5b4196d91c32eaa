"""`tandem slots`: every state by name, the proof in words, and exact values for machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from jobs.history import Job
from jobs.quantity import number
from jobs.slot import FINAL, Slot, SlotState, Why, WhyKind
from jobs.tally import Tally
from reports import html, render_json, terminal
from reports.document import Document, Severity
from reports.slots import SLOT_STATES, Asked, adds_up, slots
from tests.jobs.making import HOUR, NOW, slot
from tests.reports.scenes import ZONE

EACH: Final = {Job.BACKUP: dict.fromkeys(SlotState, 1), Job.RESTORE_TEST: {SlotState.SUCCEEDED: 1_234}}
WELL: Final = Tally(expected=1_244, found=1_244, by_job=EACH)
BAD: Final = replace(
    WELL, expected=1_245, missing=("a/b/c/1", "a/b/c/2"), missing_count=2, surplus=("x",), surplus_count=1
)


def of_each_state() -> list[Slot]:
    """A slot in each state, an hour apart."""
    return [
        slot(
            due=NOW - number * HOUR,
            state=state,
            why=Why(kind=WhyKind.RAN, text=f"why it is {state}", other=f"r{number}"),
            attempts=number,
            run=f"r{number}",
            closed_at=NOW - number * HOUR + timedelta(minutes=7) if state in FINAL else None,
            retry_at=NOW + HOUR if number == 0 else None,
        )
        for number, state in enumerate(SlotState)
    ]


def told(listed: list[Slot], counted: Tally = WELL, asked: Asked | None = None) -> tuple[Document, dict[str, Any]]:
    """The document, and as machines read it."""
    made = slots(listed, counted, asked or Asked(), zone=ZONE)
    html.render(made)
    found: dict[str, Any] = json.loads(render_json.render(made))
    return made, found


def table(found: dict[str, Any], section: str) -> list[dict[str, Any]]:
    """The rows of a section."""
    (part,) = [part for part in found["sections"] if part["key"] == section]
    rows: list[dict[str, Any]] = part["tables"][0]["rows"]
    return rows


def test_every_state_is_counted_by_name_also_where_there_is_none() -> None:
    _, found = told([], Tally(expected=1, found=1, by_job={Job.CHECK: {SlotState.MISSED: 1}}))
    counts = {row["state"]["value"]: row["sum"]["value"] for row in table(found, "states")}
    assert counts == {**{state.value: 0 for state in SlotState}, "missed": 1, "all": 1}
    assert set(SLOT_STATES) == set(SlotState)


def test_jobs_and_states_add_up_to_the_whole() -> None:
    _, found = told([])
    *states, whole = table(found, "states")
    for key in ("backup", "restore-test", "sum"):
        assert whole[key]["value"] == sum(row[key]["value"] for row in states)
    assert whole["sum"]["value"] == found["summary"]["due"]["value"] == found["summary"]["found"]["value"] == 1_244
    loud = {row["state"]["value"] for row in states if row["backup"]["severity"] == "bad"}
    assert loud == {"failed", "missed", "blocked", "interrupted"}
    assert {row["restore-test"]["severity"] for row in states} == {"neutral"}


def test_a_slot_carries_all_that_is_known_of_it() -> None:
    listed = of_each_state()
    _, found = told(listed)
    rows = table(found, "slots")
    assert [row["slot"]["value"]["slot"] for row in rows] == [each.id for each in listed]
    assert [row["state"]["value"] for row in rows] == [state.value for state in SlotState]
    assert rows[2]["slot"]["value"] == {
        "slot": listed[2].id,
        "job": "backup",
        "tenant": "north",
        "policy": "files",
        "site": "primary",
        "vault": "one",
        "settings": "hash",
        "attempts": 2,
        "run": "r2",
    }
    assert rows[2]["due"]["value"] == {
        "due": "2026-11-21T01:00:00Z",
        "nominal": "2026-11-21T01:00:00Z",
        "known": "2026-11-21T01:00:00Z",
        "until": "2026-11-22T01:00:00Z",
        "closed": "2026-11-21T01:07:00Z",
        "retry": None,
    }
    assert rows[2]["due"]["details"] == ["ended 2026-11-21 02:07 +01:00", "2 attempts"]
    assert rows[0]["due"]["details"] == ["again at 2026-11-21 05:00 +01:00"]
    assert rows[0]["due"]["value"]["retry"] == "2026-11-21T04:00:00Z"
    assert rows[2]["why"] == {
        "text": "why it is succeeded",
        "value": {"kind": "ran", "other": "r2"},
        "severity": "neutral",
        "details": [],
    }


@pytest.mark.parametrize(
    ("counted", "severity", "value", "words"),
    [
        (WELL, Severity.GOOD, True, "It adds up: 1,244 were due, and each is in exactly one state"),
        (
            replace(WELL, unmade={Job.BACKUP: 1}),
            Severity.WARNING,
            True,
            "It adds up: 1,244 were due, and each is in exactly one state; 1 more has come since serve last looked",
        ),
        (
            BAD,
            Severity.BAD,
            False,
            "It does not add up: 1,245 were due, 1,244 are on record, 2 are missing, and 1 was never due",
        ),
        (Tally(expected=1, found=1, by_job={Job.CHECK: {SlotState.DUE: 1}}), Severity.GOOD, True, "1 was due, and"),
    ],
    ids=["well", "nobody looks", "bad", "one"],
)
def test_the_headline_is_the_proof(counted: Tally, severity: Severity, value: bool, words: str) -> None:
    cell = adds_up(counted)
    assert (cell.severity, cell.value) == (severity, value)
    assert words in cell.text


def test_what_does_not_add_up_is_named_and_what_is_not_named_is_counted() -> None:
    _, found = told([], replace(BAD, missing_count=50))
    assert [(row["slot"]["value"], row["what"]["text"]) for row in table(found, "mismatches")] == [
        ("a/b/c/1", "was due, and is not on record"),
        ("a/b/c/2", "was due, and is not on record"),
        ("x", "is on record, and was never due"),
    ]
    (part,) = [part for part in found["sections"] if part["key"] == "mismatches"]
    assert part["paragraphs"] == ["48 more are not named here."]
    assert "mismatches" not in {part["key"] for part in told([])[1]["sections"]}


def test_the_page_says_which_slots_it_speaks_of() -> None:
    asked = Asked(since=NOW - HOUR, until=NOW, states=(SlotState.FAILED, SlotState.MISSED))
    made, found = told(of_each_state()[:3], asked=asked)
    assert made.subtitle == "since 2026-11-21 03:00 +01:00, before 2026-11-21 04:00 +01:00"
    assert found["facts"]["span"]["value"] == {"since": "2026-11-21T02:00:00Z", "until": "2026-11-21T03:00:00Z"}
    assert made.sections[-1].title == "The newest 3, failed or missed"
    assert told([], asked=replace(asked, states=(SlotState.DUE,)))[0].sections[-1].title == "Slots, due"


@pytest.mark.parametrize("width", [80, 120])
def test_the_page_looks_as_it_did(width: int, golden: Callable[[str, str], None]) -> None:
    made, found = told(of_each_state(), BAD)
    page = terminal.text(made, width=width)
    assert max(map(len, page.splitlines())) <= width
    assert all(state.value in page for state in SlotState)
    assert number(found["summary"]["due"]["value"]) in page
    golden(f"slots-{width}.txt", page)


@pytest.mark.parametrize(
    ("asked", "subtitle", "span"),
    [
        (Asked(), "", None),
        (Asked(since=NOW), "since 2026-11-21 04:00 +01:00", {"since": "2026-11-21T03:00:00Z", "until": None}),
        (Asked(until=NOW), "before 2026-11-21 04:00 +01:00", {"since": None, "until": "2026-11-21T03:00:00Z"}),
    ],
    ids=["all", "open at its end", "open at its beginning"],
)
def test_a_time_that_is_open_at_an_end_says_so(asked: Asked, subtitle: str, span: dict[str, str | None] | None) -> None:
    made, found = told([], asked=asked)
    assert made.subtitle == subtitle
    assert found.get("facts", {}).get("span", {"value": None})["value"] == span


def test_where_nothing_was_due_no_row_of_nothing_is_shown_and_a_slot_without_a_reason_has_a_dash() -> None:
    made, found = told([slot(due=NOW)], Tally(expected=0, found=0))
    assert table(found, "states") == []
    assert "Nothing was due." in terminal.text(made, width=80)
    (row,) = table(found, "slots")
    assert (row["why"]["text"], row["why"]["value"]) == ("—", None)


def test_a_verdict_and_a_state_are_badges_and_an_id_can_be_copied() -> None:
    assert all(adds_up(each).badge for each in (WELL, BAD, replace(WELL, unmade={Job.BACKUP: 1})))
    made, _ = told(of_each_state(), BAD)
    (mismatches,) = [part.tables[0] for part in made.sections if part.key == "mismatches"]
    assert [column.code for column in mismatches.columns] == [True, False]
    (listed,) = [part.tables[0] for part in made.sections if part.key == "slots"]
    assert all(row[-1].badge for row in listed.rows)

"""`tandem plan`: every line of every policy once, every open slot answered, a forecast the same each time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from jobs.agenda import births, lines_of
from jobs.dispatch import Closing, Moves, Wait, dispatch
from jobs.forecast import Planned, forecast
from jobs.history import Job
from jobs.policy import Policy, PolicyName
from jobs.slot import Line, Slot, SlotState, Why, WhyKind
from reports import html, render_json, schedule, terminal
from reports.document import Document
from tests.jobs.making import DAY, HOUR, NOW, policy, run, situation, slot, timetable
from tests.reports.scenes import ZONE

POLICIES: Final = (
    policy("files", timetable=timetable(backup="every 4h", replicate="after backup", check="weekly on sun at 03:00")),
    policy("base", tenant="south", replica=None, timetable=timetable(backup="daily at 01:30")),
    policy("by-hand", timetable=timetable()),
)


def world(policies: Sequence[Policy] = POLICIES, since: datetime = NOW - DAY) -> tuple[list[Line], list[Slot]]:
    """Lines that came into force then, and all that they have made due."""
    lines: list[Line] = []
    slots: list[Slot] = []
    for number, line in enumerate((line for each in policies for line in lines_of(each, since)), start=1):
        born = births(replace(line, id=number), NOW)
        slots += born.slots
        lines.append(replace(line, id=number, cursor=born.cursor))
    return lines, slots


def now(lines: Sequence[Line], slots: Sequence[Slot], names: Sequence[str] = (), **known: Any) -> Document:
    """The plan of now."""
    moves = dispatch(slots, situation(*POLICIES, **known), NOW)
    shown = [PolicyName(name) for name in names] or [each.name for each in POLICIES]
    return schedule.now(shown, lines, slots, moves, at=NOW, zone=ZONE)


def read(made: Document) -> dict[str, Any]:
    """As machines read it; the others must not fail either."""
    html.render(made)
    terminal.text(made, width=80)
    found: dict[str, Any] = json.loads(render_json.render(made))
    return found


def rows(made: Document) -> list[dict[str, Any]]:
    """All rows of all tables."""
    return [row for part in read(made)["sections"] for each in part["tables"] for row in each["rows"]]


def test_every_line_is_there_once_and_every_policy_has_its_place() -> None:
    lines, slots = world()
    made = now(lines, slots)
    named = [tuple(row["job"]["value"][key] for key in ("policy", "job", "vault")) for row in rows(made)]
    assert Counter(named) == Counter((line.policy, line.job.value, line.vault) for line in lines)
    assert [part.title for part in made.sections] == ["files", "base", "by-hand"]
    assert made.sections[-1].tables[0].rows == ()
    assert "No schedule" in terminal.text(made, width=80)


def test_the_figures_are_the_moves_of_the_policies_shown() -> None:
    lines, slots = world()
    moves = dispatch(slots, situation(*POLICIES), NOW)
    found = read(now(lines, slots))["summary"]
    assert found["start"]["value"] == len(moves.starts) > 0
    assert found["wait"]["value"] == len(moves.waits) > 0
    assert found["end"]["value"] == len(moves.closings) > 0
    alone = read(now(lines, slots, ["base"]))
    assert [part["title"] for part in alone["sections"]] == ["base"]
    assert sum(fact["value"] for fact in alone["summary"].values()) == 1


def test_of_several_open_slots_of_a_line_the_newest_is_spoken_of() -> None:
    lines, slots = world()
    first = rows(now(lines, slots))[0]
    newest = max((each for each in slots if each.line == 1), key=lambda each: each.due)
    assert first["why"]["value"] == newest.id
    assert first["what"]["value"] == "starts"
    assert first["next"]["value"] > newest.due.isoformat()


def test_what_runs_is_said_and_who_waits_for_it() -> None:
    lines, slots = world(POLICIES[:1], NOW - 4 * HOUR)
    open_run = run(Job.BACKUP, slot=slots[0].id)
    going = [replace(each, state=SlotState.RUNNING, run=open_run.id) if each is slots[0] else each for each in slots]
    backup, copy, _check, *_ = rows(now(lines, going, under_way=[open_run]))
    assert (backup["what"]["value"], backup["why"]["text"]) == ("runs", "run run-backup-files")
    assert copy["what"]["value"] == "waits"
    assert slots[0].id in copy["why"]["text"]


def test_a_line_with_nothing_open_says_when_it_is_due_and_by_which_rule() -> None:
    lines, _ = world(POLICIES[1:2])
    (row,) = rows(now(lines, [], ["base"]))
    assert (row["what"]["text"], row["what"]["value"]) == ("—", None)
    assert row["why"]["text"] == "schedule: daily at 01:30"
    assert row["next"]["value"] == "2026-11-22T01:30:00Z"


def test_slots_of_a_line_or_a_policy_that_is_gone_are_answered_too() -> None:
    old = slot(Job.RETENTION, due=NOW - HOUR)
    gone = slot(Job.BACKUP, of="gone", due=NOW - HOUR)
    lines, slots = world()
    made = now(lines, [*slots, old, gone], ["files", "gone"])
    found = {(row["job"]["value"]["policy"], row["job"]["value"]["job"]): row for row in rows(made)}
    for key in (("files", "retention"), ("gone", "backup")):
        assert found[key]["next"] == {"text": "never", "value": None, "severity": "neutral", "details": []}
        assert found[key]["what"]["value"]
    assert found["gone", "backup"]["what"]["value"] == "ends skipped"


def planned(until: timedelta = DAY, since: datetime = NOW - DAY) -> tuple[Planned, ...]:
    """What comes."""
    lines, slots = world(since=since)
    return tuple(forecast(lines, slots, situation(*POLICIES), {}, NOW, NOW + until))


def coming(of: Sequence[Planned]) -> Document:
    """The forecast of a day."""
    return schedule.coming(of, at=NOW, until=NOW + DAY, zone=ZONE)


def test_a_forecast_is_the_same_to_the_byte_and_in_the_order_of_time() -> None:
    first, second = coming(planned()), coming(tuple(reversed(planned())))
    assert render_json.render(first) == render_json.render(second)
    assert terminal.text(first, width=120) == terminal.text(second, width=120)
    times = [row["time"]["value"]["at"] for row in rows(first)]
    assert times == sorted(times)


def test_every_slot_of_a_forecast_is_counted_and_those_of_an_outage_are_one_row() -> None:
    each = planned()
    made = coming(each)
    found = read(made)
    assert sum(row["time"]["value"]["slots"] for row in rows(made)) == len(each)
    assert found["summary"]["runs"]["value"] == sum(one.starts_at is not None for one in each)
    others, waiting = (found["summary"][key]["value"] for key in ("others", "waiting"))
    assert (others + waiting, waiting) == (
        sum(one.starts_at is None for one in each),
        sum(one.state is SlotState.DUE for one in each),
    )
    outage = [row for row in rows(made) if row["time"]["value"]["slots"] > 1]
    assert {(row["job"]["value"]["job"], row["state"]["value"]) for row in outage} == {
        ("backup", "coalesced"),
        ("replicate", "coalesced"),
    }
    assert outage[0]["time"]["details"] == ["5 slots due 2026-11-20 05:00 +01:00 to 2026-11-20 21:00 +01:00"]


def test_nothing_that_is_to_come_is_said_to_have_succeeded() -> None:
    told = {row["state"]["value"]: (row["state"]["text"], row["state"]["severity"]) for row in rows(coming(planned()))}
    assert told["succeeded"] == ("runs", "neutral")
    assert told["coalesced"] == ("ends coalesced", "neutral")
    assert told["due"][0] == "waits until later"
    assert "✓" not in terminal.text(coming(planned()))


def test_where_nothing_comes_it_says_so() -> None:
    assert "Nothing is due." in terminal.text(coming(()), width=80)


@pytest.mark.parametrize("width", [80, 120])
def test_both_look_as_they_did(width: int, golden: Callable[[str, str], None]) -> None:
    lines, slots = world()
    pages = (terminal.text(now(lines, slots), width=width), terminal.text(coming(planned()), width=width))
    assert all(max(map(len, page.splitlines())) <= width for page in pages)
    golden(f"schedule-{width}.txt", "\n".join(pages))


def test_lines_stand_in_the_order_of_their_jobs_however_they_are_told() -> None:
    lines, slots = world()
    jobs = [row["job"]["value"]["job"] for row in rows(now(lines[::-1], slots, ["files"]))]
    assert jobs == sorted(jobs, key=list(Job).index)
    assert rows(now(lines[::-1], slots[::-1])) == rows(now(lines, slots))


def test_who_waits_for_a_moment_is_told_until_when_and_who_does_not_is_not() -> None:
    lines, slots = world(POLICIES[:1], NOW - 4 * HOUR)
    early = slot(Job.CHECK, due=NOW + HOUR)
    found = {row["job"]["value"]["job"]: row["why"]["text"] for row in rows(now(lines, [*slots, early], ["files"]))[:3]}
    assert found["check"] == "it is due at 2026-11-21 04:00 UTC, until 2026-11-21 05:00 +01:00 at least"
    assert "at least" not in found["replicate"]


def test_the_newest_of_a_line_is_spoken_of_whatever_becomes_of_it() -> None:
    older, newer = slot(due=NOW - HOUR), slot(due=NOW)
    waits = Wait(slot=older, why=Why(kind=WhyKind.HELD, text="somebody holds it"))
    ends = Closing(slot=newer, state=SlotState.SKIPPED, why=Why(kind=WhyKind.POLICY_GONE, text="it is gone"))
    moves = Moves(closings=(ends,), starts=(), waits=(waits,))
    (row,) = rows(schedule.now([PolicyName("files")], [], [newer, older], moves, at=NOW, zone=ZONE))
    assert (row["what"]["value"], row["why"]["text"]) == ("ends skipped", "it is gone")

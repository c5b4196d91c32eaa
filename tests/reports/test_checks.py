"""Named checks: how each stands, what to do next, and the output and exit code of a plugin of Nagios's."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from jobs.alarm import Alarm
from jobs.event import Severity, Topic
from jobs.history import Lease, Owner
from jobs.integrity import assess
from jobs.notice import Notice, NoticeState
from jobs.slot import SlotState
from reports import html, render_json, terminal
from reports.checks import Check, Level, Service, checks, document, nagios, of_service, unknown
from reports.document import Document, Section
from tests.reports.scenes import DAY, HOUR, NOW, Scene, green, mixed, red

MINUTE: Final = timedelta(minutes=1)
OWNER: Final = Owner(host="backup1", boot="b7", pid=4711, started="123456")


def lease(beaten: timedelta = timedelta(seconds=1)) -> Lease:
    """A lease whose last beat was so long ago."""
    return Lease(owner=OWNER, term=3, beat=9, taken_at=NOW - DAY, beaten_at=NOW - beaten)


def service(**changes: Any) -> Service:
    """A service that runs, and of which nothing is known that is not well."""
    known: dict[str, Any] = {"scheduled": True, "lease": lease(), "alive": True, "day": {}}
    return Service(**{**known, **changes})


def the(name: str, **changes: Any) -> Check:
    """The check of that name."""
    (found,) = [check for check in of_service(service(**changes), NOW) if check.name == name]
    return found


@pytest.mark.parametrize(
    ("changes", "level", "text"),
    [
        ({}, Level.OK, "serve, process 4711 on backup1 runs, in term 3"),
        ({"lease": None, "alive": None}, Level.CRITICAL, "no serve runs, and policies have schedules"),
        ({"lease": None, "alive": None, "scheduled": False}, Level.OK, "nothing is due by itself"),
        ({"alive": False}, Level.CRITICAL, "is dead; it was alive 1 s ago"),
        ({"alive": None}, Level.OK, "runs, in term 3"),
        ({"alive": None, "lease": lease(2 * MINUTE)}, Level.OK, "runs, in term 3"),
        ({"alive": None, "lease": lease(3 * MINUTE)}, Level.CRITICAL, "no sign of life for 3 min"),
        ({"alive": True, "lease": lease(3 * MINUTE)}, Level.CRITICAL, "no sign of life for 3 min"),
        ({"lease": lease(-HOUR)}, Level.OK, "runs, in term 3"),
    ],
    ids=[
        "runs",
        "dropped or never taken",
        "not needed",
        "dead",
        "elsewhere",
        "elsewhere, just in time",
        "elsewhere, silent",
        "stuck",
        "its clock is ahead",
    ],
)
def test_the_scheduler(changes: dict[str, Any], level: Level, text: str) -> None:
    found = the("scheduler", **changes)
    assert found.level is level
    assert text in found.text
    assert bool(found.hint) == (level is not Level.OK)


def test_slots_in_trouble_are_counted_by_state_and_can_be_listed() -> None:
    day = {**dict.fromkeys(SlotState, 0), SlotState.SUCCEEDED: 1_200, SlotState.FAILED: 1, SlotState.BLOCKED: 2}
    assert the("slots", day=day) == Check(
        name="slots",
        level=Level.WARNING,
        text="1,203 slots due in the last 24 h: 1 failed, 2 blocked",
        hint="tandem slots --state failed --state blocked",
    )
    well = the("slots", day={SlotState.SUCCEEDED: 1, SlotState.COALESCED: 0})
    assert (well.level, well.text) == (Level.OK, "1 slot due in the last 24 h, none in trouble")


@pytest.mark.parametrize("changes", [{"lease": None, "alive": None}, {"alive": False}])
def test_no_slots_where_nobody_makes_any_are_no_good_news(changes: dict[str, Any]) -> None:
    found = the("slots", **changes)
    assert (found.level, found.hint[:12]) == (Level.WARNING, "tandem serve")
    assert "no serve runs" in found.text
    assert the("slots", **changes, scheduled=False).level is Level.OK


def notice(number: int, age: timedelta, state: NoticeState = NoticeState.DELIVERED, **changes: Any) -> Notice:
    """A notice of the channel `mail`."""
    known: dict[str, Any] = {
        "id": number,
        "channel": "mail",
        "made_at": NOW - age,
        "key": "k",
        "severity": Severity.CRITICAL,
        "subject": "s",
        "body": "b",
        "state": state,
        "next_at": NOW,
    }
    return Notice(**{**known, **changes})


PENDING: Final = NoticeState.PENDING
LOST: Final = NoticeState.GIVEN_UP


@pytest.mark.parametrize(
    ("notices", "level", "text"),
    [
        ([], Level.OK, "0 notices in the last four days, none undelivered"),
        ([notice(1, HOUR)], Level.OK, "1 notice in the last four days, none undelivered"),
        (
            [notice(1, HOUR), notice(2, MINUTE, PENDING, error="refused")],
            Level.OK,
            "2 notices in the last four days: 1 not delivered yet (refused)",
        ),
        (
            [notice(1, 2 * HOUR, PENDING), notice(2, 5 * HOUR, PENDING, error="no route"), notice(3, MINUTE, PENDING)],
            Level.WARNING,
            "3 notices in the last four days: 3 not delivered yet (no route), the oldest for 5 h",
        ),
        (
            [notice(1, 90 * HOUR, LOST, error="too late"), notice(2, MINUTE, PENDING), notice(3, HOUR)],
            Level.CRITICAL,
            "3 notices in the last four days: 1 given up (too late), 1 not delivered yet",
        ),
    ],
    ids=["silent", "told", "not yet", "late", "lost"],
)
def test_a_channel_says_what_it_has_not_delivered(notices: list[Notice], level: Level, text: str) -> None:
    found = the("notify mail", channels=["mail"], notices=notices)
    assert (found.level, found.text) == (level, text)
    assert bool(found.hint) == (level is not Level.OK)


def test_every_channel_has_its_check_and_one_that_is_gone_only_while_somebody_waits() -> None:
    gone = [notice(1, HOUR, channel="old"), notice(2, HOUR, PENDING, channel="older")]
    names = [check.name for check in of_service(service(channels=["sms", "mail"], notices=gone), NOW)]
    assert names == ["scheduler", "slots", "notify mail", "notify older", "notify sms"]


def alarm(topic: Topic, text: str, severity: Severity = Severity.CRITICAL) -> Alarm:
    """An alarm of an hour ago."""
    return Alarm(key="k", topic=topic, severity=severity, subject="retention a at b", text=text, raised_at=NOW - HOUR)


def test_an_alarm_says_once_what_to_do_and_what_other_checks_tell_is_not_told_again() -> None:
    found = the(
        "retention-dead retention a at b",
        alarms=[
            alarm(Topic.RETENTION_DEAD, "No run in vain. Next: tandem locks"),
            alarm(Topic.OBJECTIVE_MISSED, "Missed. Next: tandem status"),
            alarm(Topic.DELIVERY_FAILED, "Not told. Next: look"),
        ],
    )
    assert found.text == "No run in vain (since 2026-11-21 06:30 UTC)"
    assert found.hint == "tandem locks"
    assert found.level is Level.CRITICAL
    assert len(of_service(service(alarms=[alarm(Topic.OBJECTIVE_MISSED, "")]), NOW)) == 2
    (_, _, mild) = of_service(service(alarms=[alarm(Topic.CLOCK_STEPPED, "It was set", Severity.INFO)]), NOW)
    assert (mild.level, mild.hint) == (Level.WARNING, "tandem slots")


def all_checks(scene: Scene, **changes: Any) -> tuple[Check, ...]:
    """The checks of a scene."""
    return checks(assess(scene.policies, scene.runs, scene.points, NOW), service(**changes), NOW)


@pytest.mark.parametrize(
    ("scene", "changes", "code", "bad"),
    [
        (green, {}, Level.OK, 0),
        (green, {"day": {SlotState.MISSED: 1}}, Level.WARNING, 1),
        (green, {"alive": False}, Level.CRITICAL, 2),
        (mixed, {}, Level.CRITICAL, 3),
        (red, {}, Level.CRITICAL, 4),
    ],
)
def test_a_plugin_ends_as_its_worst_check_and_says_so_in_one_line_with_figures(
    scene: Callable[[], Scene], changes: dict[str, Any], code: Level, bad: int
) -> None:
    found = all_checks(scene(), **changes)
    text, level = nagios(found)
    head, *lines = text.splitlines()
    assert level is code
    assert head.startswith(f"TANDEM {code.name} - ")
    assert head.endswith(f" | checks={len(found)} bad={bad}")
    assert text.count("|") == 1
    assert len(lines) == len(found)
    ranks = [Level[line.split(" ", 1)[0]] for line in lines]
    assert ranks == sorted(ranks, reverse=True)
    assert sum(rank is not Level.OK for rank in ranks) == bad
    assert all(("(next: " in line) == (rank is not Level.OK) for line, rank in zip(lines, ranks, strict=True))


def test_what_cannot_be_found_out_is_unknown() -> None:
    assert (Level.OK, Level.WARNING, Level.CRITICAL, Level.UNKNOWN) == (0, 1, 2, 3)
    assert unknown("no ledger\nthere", "look") == ("TANDEM UNKNOWN - no ledger\\x0athere (next: look)\n", Level.UNKNOWN)
    assert nagios([])[1] is Level.UNKNOWN


def test_no_text_begins_figures_or_another_line() -> None:
    text, _ = nagios([Check(name="a|b", level=Level.CRITICAL, text="x\ny|z", hint="\x1b[31m")])
    assert text.splitlines() == [
        "TANDEM CRITICAL - 1 of 1 check not well: a¦b | checks=1 bad=1",
        "CRITICAL a¦b: x\\x0ay¦z (next: \\x1b[31m)",
    ]


def test_the_first_line_names_the_worst_three() -> None:
    many = [Check(name=f"c{number}", level=Level(number % 3), text="t") for number in range(9)]
    assert nagios(many)[0].splitlines()[0] == (
        "TANDEM CRITICAL - 6 of 9 checks not well: c2, c5, c8 and 3 others | checks=9 bad=6"
    )


def test_a_copy_that_is_late_is_told_to_be_copied() -> None:
    hints = {check.name: check.hint for check in all_checks(red()) if check.name.startswith("policy career")}
    assert hints == {
        "policy career-files at primary": "tandem backup career-files",
        "policy career-files at secondary": "tandem replicate career-files",
    }


def test_the_checks_for_machines_and_people(golden: Callable[[str, str], None]) -> None:
    made = document(all_checks(mixed(), channels=["mail"], notices=[notice(1, 5 * HOUR, PENDING, error="no route")]))
    rows = json.loads(render_json.render(made))["sections"][0]["tables"][0]["rows"]
    assert {row["level"]["value"] for row in rows} == {"OK", "WARNING", "CRITICAL"}
    assert json.loads(render_json.render(made))["headline"]["value"] == "CRITICAL"
    assert html.render(made)
    assert isinstance(made, Document)
    assert isinstance(made.sections[0], Section)
    golden("checks.txt", terminal.text(made, width=120))


def test_where_all_is_well_the_first_line_says_how_many_were_looked_at() -> None:
    well = [Check(name=f"c{number}", level=Level.OK, text="as promised") for number in range(2)]
    assert nagios(well) == (
        "TANDEM OK - 2 checks, all well | checks=2 bad=0\nOK c0: as promised\nOK c1: as promised\n",
        Level.OK,
    )


def test_the_next_step_is_there_for_machines_where_there_is_one() -> None:
    made = document(
        [Check(name="a", level=Level.OK, text="t"), Check(name="b", level=Level.WARNING, text="t", hint="h")]
    )
    rows = json.loads(render_json.render(made))["sections"][0]["tables"][0]["rows"]
    assert [(row["hint"]["text"], row["hint"]["value"]) for row in rows] == [("—", None), ("h", "h")]


def test_a_policy_that_promises_nothing_is_told_to_promise_something() -> None:
    """No control is judged then, and none fails; and yet nothing is known to be well."""
    (judged, *_) = assess([green().policies[0]], (), (), NOW)
    (promise,) = (check for check in checks([replace(judged, controls=())], service(), NOW) if "policy" in check.name)
    assert (promise.level, promise.text, promise.hint) == (
        Level.CRITICAL,
        "nothing was promised",
        "set objectives for it",
    )

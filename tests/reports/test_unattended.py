"""What was due and what happened, in the integrity report: each trouble by name, and nothing of another tenant."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from jobs.event import SEVERITIES, Event, Topic
from jobs.event import Severity as Loudness
from jobs.history import Job, RunState
from jobs.notice import Deliveries
from jobs.policy import PolicyName, SiteName, TenantName, VaultName
from jobs.setback import Setback
from jobs.slot import Slot, SlotState, Why, WhyKind
from jobs.tally import Tally
from reports import html, render_json, terminal
from reports.deliveries import OF_CHANNELS
from reports.document import Document, Severity, printable
from reports.integrity import integrity
from reports.unattended import TOLD, TROUBLE, Unattended
from tests.jobs.making import slot
from tests.reports.scenes import HOSTILE, HOUR, NOW, Scene, green, red

MINFOPRA: Final = TenantName("minfopra")
CUSTOMS: Final = TenantName("customs")


def ended(state: SlotState, number: int = 1, **changes: Any) -> Slot:
    """A slot that ended in that state, so many hours ago."""
    known: dict[str, Any] = {
        "of": "career-files",
        "due": NOW - number * HOUR,
        "tenant": MINFOPRA,
        "state": state,
        "why": Why(kind=WhyKind.TOO_LATE, text=f"the reason of {state}"),
        "closed_at": NOW - number * HOUR,
    }
    return slot(**{**known, **changes})


def happened(topic: Topic, number: int = 1, **changes: Any) -> Event:
    """An event of minfopra's, so many minutes ago."""
    known: dict[str, Any] = {
        "at": NOW - number * timedelta(minutes=1),
        "topic": topic,
        "severity": SEVERITIES[topic],
        "tenant": MINFOPRA,
        "policy": PolicyName("career-files"),
        "subject": f"subject of {topic}",
        "text": f"what is known of {topic}",
        "key": f"key/{topic}",
    }
    return Event(**{**known, **changes})


def unattended(troubled: Sequence[Slot] = (), events: Sequence[Event] = (), counted: Tally | None = None) -> Unattended:
    """What is known; the count is that of the troubled slots and of ten that went well."""
    by_job: dict[Job, dict[SlotState, int]] = {Job.BACKUP: {SlotState.SUCCEEDED: 10}}
    for each in troubled:
        states = by_job.setdefault(each.job, {})
        states[each.state] = states.get(each.state, 0) + 1
    many = 10 + len(troubled)
    return Unattended(
        counted=counted or Tally(expected=many, found=many, by_job=by_job), troubled=troubled, events=events
    )


def report(known: Unattended | None, scene: Scene | None = None, **cut: Any) -> Document:
    """The report of a scene with it."""
    scene = scene or green()
    return integrity(replace(scene.cover, **cut), scene.policies, scene.runs, scene.points, known)


def read(made: Document) -> dict[str, Any]:
    """As machines read it."""
    found: dict[str, Any] = json.loads(render_json.render(made))
    return found


def rows(made: Document, section: str, key: str) -> list[dict[str, Any]]:
    """The rows of a table."""
    (part,) = [part for part in read(made)["sections"] if part["key"] == section]
    (table,) = [table for table in part["tables"] if table["key"] == key]
    found: list[dict[str, Any]] = table["rows"]
    return found


def renderings(made: Document) -> tuple[str, str, str]:
    """All that anybody could read of it."""
    return html.render(made), terminal.text(made, width=400), render_json.render(made)


def test_every_trouble_of_a_slot_and_every_topic_of_an_event_is_named_everywhere() -> None:
    troubled = [ended(state, number) for number, state in enumerate(SlotState) if state in TROUBLE]
    made = report(unattended(troubled, [happened(topic) for topic in Topic]))
    for page in renderings(made):
        for state in TROUBLE:
            assert state.value in page
            assert f"the reason of {state}" in page
        for topic in TOLD - OF_CHANNELS:
            assert f"what is known of {topic}" in page
            assert topic.value in page
        assert f"what is known of {Topic.CHANNEL_AWAY}" in page
        for topic in set(Topic) - TOLD:
            assert f"what is known of {topic}" not in page
    assert {row["state"]["value"] for row in rows(made, "slots", "troubles")} == {state.value for state in TROUBLE}
    told = {row["what"]["value"]["topic"] for row in rows(made, "events", "events")}
    assert told == {topic.value for topic in TOLD - OF_CHANNELS}
    assert {state.value for state in SlotState} < {row["state"]["value"] for row in rows(made, "slots", "states")}


def test_only_what_has_a_register_of_its_own_is_no_event() -> None:
    assert set(Topic) - TOLD == {Topic.TEST, *(Topic(each.value) for each in TROUBLE), Topic.SUCCEEDED, Topic.SKIPPED}


def test_slots_that_ended_alike_are_one_row_with_count_span_and_reasons() -> None:
    reasons = [Why(kind=WhyKind.RAN, text=f"reason {number}") for number in range(5)]
    alike = [ended(SlotState.FAILED, number, why=reasons[number % 5]) for number in range(40, 0, -1)]
    (row,) = rows(report(unattended(alike)), "slots", "troubles")
    assert row["slots"]["value"] == 40
    assert row["when"]["value"] == {"first": "2026-11-19T15:30:00Z", "last": "2026-11-21T06:30:00Z"}
    assert row["when"]["details"] == ["to 2026-11-21 07:30 +01:00"]
    assert [row["why"]["text"], *row["why"]["details"]] == ["reason 1", "reason 2", "reason 3", "and 2 other reasons"]
    assert set(row["why"]["value"]) == {reason.text for reason in reasons}


def test_events_of_one_matter_are_one_row_and_of_two_are_two() -> None:
    quiet = {"key": "lock/a", "severity": Loudness.INFO}
    events = [happened(Topic.LOCK_STALE, 100 - number, text=f"text {number}", **quiet) for number in range(99)]
    events += [happened(Topic.LOCK_STALE, 1, key="lock/b", subject="another"), happened(Topic.LOCK_REMOVED, 1)]
    first, *others = rows(report(unattended((), events)), "events", "events")
    assert first["times"]["value"] == 99
    assert first["when"]["value"] == {"first": "2026-11-21T05:50:00Z", "last": "2026-11-21T07:28:00Z"}
    assert [first["text"]["text"], *first["text"]["details"]] == ["text 98", "text 97", "text 96", "and 96 other texts"]
    assert len(first["text"]["value"]) == 99
    assert [row["times"]["value"] for row in others] == [1, 1]


def test_each_crash_of_a_bad_night_is_named_and_of_records_the_latest() -> None:
    crashes = [
        happened(Topic.SERVE_TOOK_OVER, number, text=f"crash {number}", key="serve") for number in range(12, 0, -1)
    ]
    starts = [happened(Topic.SERVE_STARTED, number, text=f"start {number}", key="serve") for number in range(12, 0, -1)]
    crashed, started = rows(report(unattended((), [*crashes, *starts])), "events", "events")
    assert [crashed["text"]["text"], *crashed["text"]["details"]] == [
        *(f"crash {number}" for number in range(1, 11)),
        "and 2 other texts",
    ]
    assert [started["text"]["text"], *started["text"]["details"]] == [
        "start 1",
        "start 2",
        "start 3",
        "and 9 other texts",
    ]


def test_a_ledger_that_is_well_again_is_not_lost_among_policies_that_are() -> None:
    well = [
        happened(Topic.RECOVERED, number, text=f"slot {number}", key=f"line {number}") for number in range(50, 10, -1)
    ]
    ledger = happened(Topic.RECOVERED, 5, tenant=None, policy=None, subject="ledger", text="It refused", key="ledger")
    service: dict[str, Any] = {"tenant": None, "policy": None}
    chat = [
        happened(Topic.RECOVERED, number, text=f"again {number}", key="chat", **service) for number in range(9, 5, -1)
    ]
    found = rows(report(unattended((), [*well, *chat, ledger])), "events", "events")
    assert [(row["times"]["value"], row["text"]["text"]) for row in found] == [
        (40, "slot 11"),
        (4, "again 6"),
        (1, "It refused"),
    ]


def test_every_reason_for_which_runs_did_not_succeed_is_a_row_of_its_own() -> None:
    """Also where another attempt went well, so that no slot tells of it."""
    setback = Setback(
        job=Job.BACKUP,
        site=SiteName("primary"),
        vault=VaultName("one"),
        state=RunState.FAILED,
        kind="disk-full",
        runs=1200,
        policies=7,
        first=NOW - 3 * HOUR,
        last=NOW - HOUR,
        first_text="first words",
        text="last words",
    )
    killed = replace(
        setback, kind="", state=RunState.INTERRUPTED, runs=1, policies=1, first=NOW - HOUR, first_text="last words"
    )
    made = report(replace(unattended(), setbacks=[setback, killed]))
    full, cut_off = rows(made, "slots", "setbacks")
    assert full["reason"]["value"] == {"kind": "disk-full", "job": "backup", "site": "primary", "vault": "one"}
    assert (full["runs"]["text"], full["runs"]["value"]) == ("1,200", {"runs": 1200, "policies": 7})
    assert full["when"]["value"] == {"first": "2026-11-21T04:30:00Z", "last": "2026-11-21T06:30:00Z"}
    assert (full["text"]["text"], full["text"]["details"]) == ("last words", ["the first: first words"])
    assert (cut_off["reason"]["text"], cut_off["text"].get("details", [])) == ("interrupted", [])
    for page in renderings(made):
        assert "first words" in page
    assert "last words" not in terminal.text(report(replace(unattended(), setbacks=[setback]), policy=PolicyName("x")))


def test_what_was_never_proven_is_one_row_and_so_is_all_that_is_well_again() -> None:
    def each(topic: Topic) -> list[Event]:
        return [
            happened(topic, number, key=f"unproven/p{number}/one", subject=f"p{number} at primary", text="Not proven")
            for number in range(300)
        ]

    made = report(unattended((), [*each(Topic.OBJECTIVE_MISSED), *each(Topic.RECOVERED)]))
    first, second = rows(made, "events", "events")
    for row, topic in ((first, "objective-missed"), (second, "recovered")):
        assert row["what"]["text"] == topic
        told = [row["subject"]["text"], *row["subject"]["details"]]
        assert told == ["p0 at primary", "p1 at primary", "p2 at primary", "and 297 others"]
        assert (row["times"]["value"], len(row["subject"]["value"])) == (300, 300)
    missed = [happened(Topic.OBJECTIVE_MISSED, 1, key=f"objective/p{number}/one/check") for number in range(4)]
    assert len(rows(report(unattended((), missed)), "events", "events")) == 4


def test_a_report_cut_to_a_tenant_holds_nothing_of_another() -> None:
    own = ended(SlotState.FAILED, tenant=CUSTOMS, of="declarations")
    known = unattended(
        [ended(SlotState.FAILED), own],
        [
            *(happened(topic) for topic in Topic),
            *(
                happened(topic, tenant=None, policy=None, text=f"minfopra of {topic}", subject="serve")
                for topic in Topic
            ),
            happened(Topic.LOCK_STALE, tenant=CUSTOMS, policy=None, text="ours"),
        ],
        Tally(expected=1, found=1, by_job={Job.BACKUP: {SlotState.FAILED: 1}}),
    )
    made = report(known, tenant=CUSTOMS)
    for page in renderings(made):
        assert "minfopra" not in page
        assert "career-files" not in page
    assert [row["job"]["value"]["policy"] for row in rows(made, "slots", "troubles")] == ["declarations"]
    topics = [row["what"]["value"]["topic"] for row in rows(made, "events", "events")]
    assert topics == [
        "clock-stepped",
        "serve-started",
        "serve-stopped",
        "serve-took-over",
        "outage",
        "lock-stale",
    ]
    assert "minfopra of disk-filling" in terminal.text(report(known), width=400)


def told(made: Document) -> dict[str, Any]:
    """The register of what was told, by channel."""
    return {row["channel"]["text"]: row for row in rows(made, "told", "told")}


def of_channel(topic: Topic, minutes: int, name: str = "chat", text: str = "why (channel-refused)") -> Event:
    """A channel went away, or was back, so many minutes ago."""
    return happened(topic, minutes, tenant=None, policy=None, key=f"delivery/{name}", text=text)


def test_each_channel_is_named_with_what_it_took_late_or_never_and_when_it_was_away() -> None:
    away = [of_channel(Topic.CHANNEL_AWAY, 90), of_channel(Topic.CHANNEL_BACK, 30)]
    known = replace(
        unattended((), away),
        deliveries=[
            Deliveries(channel="chat", made=1250, at_once=1200, late=50, longest=timedelta(minutes=61)),
            Deliveries(channel="mail", made=3, carried=2, at_once=5),
            Deliveries(channel="sms", made=4, at_once=1, given_up=2, waiting=1),
            Deliveries(channel="pager", made=1, waiting=1),
        ],
    )
    made = report(known)
    assert {name: row["state"]["text"] for name, row in told(made).items()} == {
        "chat": "late",
        "mail": "delivered",
        "pager": "waiting",
        "sms": "given up",
    }
    chat, mail = told(made)["chat"], told(made)["mail"]
    assert chat["became"]["text"] == "1,200 at once, 50 late"
    assert chat["became"]["value"]["longest_seconds"] == 3660
    assert chat["away"]["text"] == "2026-11-21 07:00 +01:00 to 2026-11-21 08:00 +01:00: why (channel-refused)"
    assert chat["away"]["value"] == ["2026-11-21T06:00:00Z/2026-11-21T07:00:00Z why (channel-refused)"]
    assert (mail["notices"]["text"], mail["notices"]["value"]) == ("5", {"made": 3, "carried": 2})
    assert mail["notices"]["details"] == ["2 made before"]
    for page in renderings(made):
        assert "1,200 at once, 50 late" in page
        assert "why (channel-refused)" in page


def test_an_absence_that_the_period_cuts_is_open_at_that_end() -> None:
    began, ends = [of_channel(Topic.CHANNEL_AWAY, 30)], [of_channel(Topic.CHANNEL_BACK, 30)]
    for events, text, value, state in (
        (began, "2026-11-21 08:00 +01:00 to the end: why (channel-refused)", "2026-11-21T07:00:00Z/.. why", "away"),
        (ends, "before the period to 2026-11-21 08:00 +01:00", "../2026-11-21T07:00:00Z", "was away"),
    ):
        row = told(report(unattended((), events)))["chat"]
        assert (row["away"]["text"], row["state"]["text"]) == (text, state)
        assert row["away"]["value"][0].startswith(value)


def test_a_storm_of_absences_is_a_row_of_bounded_length() -> None:
    """Also where two of one kind follow each other: a crash was between them."""
    events = [
        of_channel(topic, 9000 - number, text=f"why {number}")
        for number in range(1000)
        for topic in (Topic.CHANNEL_AWAY, Topic.CHANNEL_AWAY, Topic.CHANNEL_BACK, Topic.CHANNEL_BACK)
    ]
    (row,) = told(report(unattended((), events))).values()
    assert len(row["away"]["value"]) == 100
    assert row["away"]["text"].endswith("why 999")
    assert row["away"]["details"][-1] == "and 997 other times"
    assert len(row["away"]["details"]) == 3


def test_a_tenant_is_told_what_became_of_his_notices_and_nothing_of_the_channel() -> None:
    known = replace(unattended((), [of_channel(Topic.CHANNEL_AWAY, 9, "secret")]), deliveries=[])
    made = report(known, tenant=CUSTOMS)
    assert told(made) == {}
    assert "secret" not in "".join(renderings(made))
    assert "No notice was made that tells of this tenant alone." in terminal.text(made)
    own = replace(known, deliveries=[Deliveries(channel="ours", made=1, late=1, longest=timedelta(hours=1))])
    assert told(report(own, tenant=CUSTOMS))["ours"]["became"]["text"] == "1 late"
    assert "told" not in {part["key"] for part in read(report(own, policy=PolicyName("payroll")))["sections"]}


def test_a_report_cut_to_a_policy_leaves_out_the_events_of_others() -> None:
    known = unattended((), [happened(Topic.LOCK_STALE), happened(Topic.DISK_FILLING, policy=PolicyName("payroll"))])
    made = report(known, policy=PolicyName("payroll"))
    assert [row["what"]["value"]["topic"] for row in rows(made, "events", "events")] == ["disk-filling"]


LOST: Final = Tally(
    expected=12, found=11, by_job={Job.BACKUP: {SlotState.SUCCEEDED: 11}}, missing=("a/b/c/d",), missing_count=1
)


@pytest.mark.parametrize(("make", "value"), [(green, "not-proven"), (red, "missed")])
def test_where_slots_do_not_add_up_the_head_of_the_report_says_so(make: Callable[[], Scene], value: str) -> None:
    made = report(unattended(counted=LOST), make())
    assert made.headline is not None
    assert made.headline.text.endswith(" What was due does not add up.")
    assert (made.headline.severity, made.headline.value) == (Severity.BAD, value)
    fact = read(made)["summary"]["slots"]
    assert (fact["text"], fact["value"], fact["severity"]) == ("do not add up", False, "bad")
    assert [row["slot"]["text"] for row in rows(made, "mismatches", "mismatches")] == ["a/b/c/d"]
    for page in renderings(made):
        assert "a/b/c/d" in page
        assert "It does not add up: 12 were due, 11 are on record, 1 is missing, and 0 were never due" in page


def test_where_they_add_up_the_verdict_stays() -> None:
    made = report(unattended([ended(SlotState.FAILED)]))
    assert made.headline == report(None).headline
    assert read(made)["summary"]["slots"]["value"] is True
    assert "It adds up: 11 were due" in terminal.text(made, width=400)


def test_where_nothing_was_ever_due_the_report_says_nothing_of_it() -> None:
    assert report(unattended(counted=Tally(expected=0, found=0))) == report(None)
    surplus = Tally(expected=0, found=1, by_job={Job.BACKUP: {SlotState.DUE: 1}}, surplus=("x",), surplus_count=1)
    assert "slots" in {part["key"] for part in read(report(unattended(counted=surplus)))["sections"]}


def test_hostile_words_are_shown_and_never_obeyed() -> None:
    bad = ended(SlotState.FAILED, why=Why(kind=WhyKind.RAN, text=HOSTILE))
    made = report(unattended([bad], [happened(Topic.INTERNAL, text=HOSTILE, subject=HOSTILE)]))
    page, plain, _ = renderings(made)
    assert "<script" not in page
    assert plain.count(printable(HOSTILE)) == 3


@pytest.mark.parametrize("width", [80, 120])
def test_it_looks_as_it_did(width: int, golden: Callable[[str, str], None]) -> None:
    copies = [
        ended(SlotState.MISSED, number, of="payroll", job=Job.REPLICATE, site=SiteName("secondary"))
        for number in (30, 6)
    ]
    troubled = [ended(SlotState.BLOCKED, 9, job=Job.RETENTION, vault=VaultName("one")), *copies]
    serve: dict[str, Any] = {"tenant": None, "policy": None, "severity": Loudness.INFO}
    events = [
        happened(Topic.SERVE_STARTED, 900, subject="serve", text="3 policies, 18 lines, 0 slots open, term 1", **serve),
        *(happened(Topic.RETENTION_DEAD, number, subject="retention career-files at primary") for number in (90, 30)),
        happened(Topic.RECOVERED, 5, subject="retention career-files at primary"),
    ]
    away = [of_channel(Topic.CHANNEL_AWAY, 90, text="notify channel chat: the server answered 503 (channel-refused)")]
    known = unattended(troubled, [*events, *away, of_channel(Topic.CHANNEL_BACK, 30)])
    mail = Deliveries(channel="mail", made=44, at_once=44)
    chat = Deliveries(channel="chat", made=42, carried=2, at_once=17, late=27, longest=timedelta(minutes=64))
    made = report(replace(known, deliveries=[chat, mail]))
    kept = tuple(part for part in made.sections if part.key in {"slots", "events", "told"})
    page = terminal.text(replace(made, sections=kept, facts=()), width=width)
    assert max(map(len, page.splitlines())) <= width
    golden(f"unattended-{width}.txt", page)

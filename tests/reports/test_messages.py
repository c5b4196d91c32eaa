"""What people are told, word by word."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from jobs.event import SEVERITIES, Event, Severity, Topic
from jobs.notice import Bundle, Notice, Route
from jobs.policy import PolicyName, TenantName
from jobs.slot import SlotState
from reports import messages

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
OPS = Route(name="ops", on=frozenset(Topic))


def event(
    topic: Topic = Topic.FAILED, text: str = "Due 02:30 UTC, failed: the vault is away.", **changes: object
) -> Event:
    made = Event(
        id=1,
        at=NOW,
        topic=topic,
        severity=SEVERITIES[topic],
        tenant=TenantName("minfopra"),
        policy=PolicyName("files"),
        subject="backup files at primary",
        text=text,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # (any of its fields)


def bundle(*events: Event) -> Bundle:
    return Bundle(route=OPS, events=events, key="k")


def notice(number: int = 7, **changes: object) -> Notice:
    made = Notice(
        id=number,
        channel="ops",
        made_at=NOW,
        key="k",
        severity=Severity.CRITICAL,
        subject="failed: backup files at primary",
        body="Body.",
        next_at=NOW,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # (any of its fields)


def test_one_event() -> None:
    assert messages.subject(bundle(event())) == "failed: backup files at primary"
    assert messages.body(bundle(event())) == (
        "2026-11-21 03:00 UTC  failed: backup files at primary\n"
        "  Due 02:30 UTC, failed: the vault is away.\n"
        "  (tenant minfopra, policy files)"
    )


def test_several_events_of_one_matter_end_with_the_newest() -> None:
    told = bundle(event(Topic.INTERRUPTED), event(Topic.FAILED), event(Topic.RECOVERED))
    assert messages.subject(told) == "recovered: backup files at primary (and 2 before it)"
    assert messages.body(told).count("  (tenant minfopra") == 3


def test_hundreds_of_one_matter_are_cut_to_the_newest() -> None:
    told = messages.body(bundle(*(event(text=f"number {n}") for n in range(120))))
    assert told.startswith("… and 70 earlier.")
    assert "number 70" in told
    assert "number 69" not in told


def test_a_letter_of_one_bears_its_number() -> None:
    subject, text = messages.letter("Opérateur", [notice()], NOW)
    assert subject == "[Opérateur] failed: backup files at primary"
    assert text == (
        "Body.\n\n--\nTandem, Opérateur. Notice 7, made 2026-11-21 03:00 UTC.\n"
        "The same number twice is the same notice.\n"
    )


def test_a_late_letter_says_so() -> None:
    _, text = messages.letter("Op", [notice(attempts=5)], NOW + timedelta(hours=1))
    assert "Sent 2026-11-21 04:00 UTC, after 5 tries that failed." in text


def test_a_letter_of_many_lists_the_worst_first() -> None:
    many = [notice(n, subject=f"missed: {n}", severity=Severity.WARNING) for n in range(1, 60)]
    subject, text = messages.letter("Op", [*many, notice(60, subject="damage-found: x")], NOW)
    assert subject == "[Op] 60 notices: 1 critical, 59 warning"
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(lines) == 50
    assert lines[0].endswith("damage-found: x")
    assert "… and 10 more" in text
    assert "Notice 1-60 (60 notices)" in text
    assert messages.severity(many) is Severity.WARNING


@given(st.text(max_size=300), st.text(max_size=50))
def test_a_subject_is_one_short_line_whatever_happened(subject: str, service: str) -> None:
    """A newline in it would begin another header of the mail."""
    told = messages.subject(bundle(event(subject=subject)))
    title, text = messages.letter(service, [notice(subject=told)], NOW)
    assert len(title) <= 160
    assert all(char.isprintable() or char in "\u00a0\u202f" for char in title)
    assert "\x1b" not in text


def test_a_digest_of_a_good_day_and_of_a_bad_one() -> None:
    since = NOW - timedelta(hours=24)
    good = {SlotState.SUCCEEDED: 47, SlotState.PARTIAL: 1}
    quiet = bundle(event(Topic.SERVE_STARTED, subject="serve"), event(Topic.SUCCEEDED))
    assert messages.digest_subject(quiet, good, since, NOW) == (
        "digest: 48 of 48 slots went well, 0 troubles; 2026-11-20 03:00 UTC to 2026-11-21 03:00 UTC"
    )
    assert messages.digest_body(quiet, good, since, NOW, still_open=1200, oldest=since) == (
        "Slots that ended from 2026-11-20 03:00 UTC to 2026-11-21 03:00 UTC:\n"
        "  succeeded    47\n"
        "  partial      1\n"
        "Still open: 1,200, the oldest due 2026-11-20 03:00 UTC.\n"
        "\n"
        "Troubles:\n"
        "  none\n"
        "\n"
        "Also:\n"
        "- 2026-11-21 03:00 UTC  serve-started: serve"
    )
    bad = {SlotState.SUCCEEDED: 1, SlotState.MISSED: 1200}
    told = bundle(*(event(Topic.MISSED, subject=f"line {n}") for n in range(60)))
    assert "1 of 1,201 slots went well, 60 troubles" in messages.digest_subject(told, bad, since, NOW)
    body = messages.digest_body(told, bad, since, NOW)
    assert body.index("missed: line 59") < body.index("missed: line 10")
    assert "… and 10 more." in body


def test_a_digest_of_nothing_says_so() -> None:
    empty = Bundle(route=OPS, events=(), key=":digest:")
    assert messages.digest_subject(empty, {}, NOW, NOW).startswith("digest: no slot ended, 0 troubles;")
    assert messages.digest_body(empty, {}, NOW, NOW).endswith("Still open: none.\n\nTroubles:\n  none")


def test_an_event_says_of_whom_it_is_as_far_as_it_is_anybodys() -> None:
    told = (event(), event(policy=None), event(policy=None, tenant=None))
    assert [messages.body(bundle(each)).splitlines()[2:] for each in told] == [
        ["  (tenant minfopra, policy files)"],
        ["  (tenant minfopra)"],
        [],
    ]


def test_fifty_are_listed_and_nothing_is_left_out_of_fifty() -> None:
    fifty = [event(text=f"number {n}") for n in range(50)]
    assert "earlier" not in messages.body(bundle(*fifty))
    assert messages.body(bundle(*fifty, event(text="one more"))).startswith("… and 1 earlier.")
    assert "more;" not in messages.letter("Op", [notice(n) for n in range(50)], NOW)[1]


def test_a_letter_of_several_was_tried_as_often_as_the_one_that_was_tried_most() -> None:
    _, text = messages.letter("Op", [notice(7, attempts=1), notice(8, attempts=4), notice(9)], NOW)
    assert "after 4 tries that failed" in text


def test_a_digest_in_which_nothing_ended_says_none_and_lists_no_slot_that_ended_well_twice() -> None:
    loud = (event(Topic.FAILED), event(Topic.DAMAGE_FOUND))  # which are told above
    quiet = bundle(event(Topic.SUCCEEDED), event(Topic.SETTINGS_RELOADED, subject="settings"), *loud)
    body = messages.digest_body(quiet, {SlotState.SUCCEEDED: 0}, NOW, NOW).splitlines()
    assert body[1] == "  none"
    assert body[body.index("Also:") :] == ["Also:", "- 2026-11-21 03:00 UTC  settings-reloaded: settings"]


def test_a_subject_of_just_the_length_is_left_whole() -> None:
    room = 160 - len("[Op] ")
    assert messages.letter("Op", [notice(subject="x" * room)], NOW)[0] == f"[Op] {'x' * room}"
    longer = messages.letter("Op", [notice(subject="x" * (room + 1))], NOW)[0]
    assert (len(longer), longer[-2:]) == (160, "x…")

"""Lines are made of policies, slots of lines: each moment once, in order, under the text then valid."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.agenda import births, changes, lines_of, next_due
from jobs.history import Job
from jobs.policy import Policy
from jobs.schedule import occurrences
from jobs.slot import Line, Slot, SlotState
from tests.jobs.making import CHAINED, DAY, HOUR, MINUTE, NIGHTLY, NOW, policy, timetable

WHOLE = {**CHAINED, "check": "weekly on sun at 03:00", "restore_test": "weekly on sun at 04:00"}


def line(of: Policy | None = None, job: Job = Job.BACKUP) -> Line:
    return next(each for each in lines_of(of or policy(), NOW) if each.job is job)


def test_every_scheduled_job_has_a_line_at_each_of_its_places() -> None:
    lines = lines_of(policy(timetable=timetable(**WHOLE)), NOW)
    assert [(each.job, each.vault, each.source_vault) for each in lines] == [
        (Job.BACKUP, "one", None),
        (Job.REPLICATE, "two", "one"),
        (Job.CHECK, "one", None),
        (Job.CHECK, "two", None),
        (Job.RESTORE_TEST, "one", None),
        (Job.RESTORE_TEST, "two", None),
        (Job.RETENTION, "one", None),
        (Job.RETENTION, "two", None),
    ]
    assert {(each.since, each.cursor, each.until) for each in lines} == {(NOW, NOW, None)}


@pytest.mark.parametrize(
    ("changes", "jobs"),
    [
        ({"replica": None}, [Job.BACKUP, Job.RETENTION]),
        ({"replica": None, "retention": None}, [Job.BACKUP]),
        ({"timetable": timetable(replicate="after backup", retention="after backup")}, []),
        ({"timetable": timetable(replicate=NIGHTLY)}, [Job.REPLICATE]),
    ],
)
def test_what_is_not_scheduled_or_has_no_place_has_no_line(changes: dict[str, object], jobs: list[Job]) -> None:
    assert [each.job for each in lines_of(policy(**changes), NOW)] == jobs  # type: ignore[arg-type]  # (by name)


@pytest.mark.parametrize(
    ("replicate", "replica", "waits"),
    [
        ("after backup", "two", {"one": Job.REPLICATE, "two": Job.REPLICATE}),
        ("every 6h", "two", {"one": Job.BACKUP, "two": Job.BACKUP}),
        (None, "two", {"one": Job.BACKUP, "two": Job.BACKUP}),
        ("after backup", None, {"one": Job.BACKUP}),
    ],
)
def test_a_retention_waits_for_the_copy_where_one_is_chained(
    replicate: str | None, replica: str | None, waits: dict[str, Job]
) -> None:
    texts = {"backup": NIGHTLY, "retention": "after backup"} | ({"replicate": replicate} if replicate else {})
    lines = lines_of(policy(replica=replica, timetable=timetable(**texts)), NOW)
    assert {each.vault: each.after for each in lines if each.job is Job.RETENTION} == waits


def test_who_waits_is_due_at_the_same_moment_under_the_same_key() -> None:
    lines = lines_of(policy(splay=3 * HOUR), NOW)
    made = [births(each, NOW + 5 * DAY).slots for each in lines]
    assert len(lines) == 4
    assert len({tuple((each.key, each.due, each.until) for each in slots) for slots in made}) == 1
    assert made[0][0].due != made[0][0].nominal


def test_what_is_not_chained_has_a_splay_of_its_own() -> None:
    of = policy(splay=3 * HOUR, timetable=timetable(backup=NIGHTLY, check=NIGHTLY, restore_test=NIGHTLY))
    dues = {each.job: births(each, NOW + 2 * DAY).slots[0].due for each in lines_of(of, NOW)}
    assert len(set(dues.values())) == 3


def test_a_slot_says_what_it_is_and_until_when_it_may_start() -> None:
    (slot,) = births(replace(line(), id=7), NOW + DAY).slots
    assert slot == Slot(
        id="files/backup/one/L2026-11-22T01:30",
        line=7,
        policy=slot.policy,
        tenant=slot.tenant,
        job=Job.BACKUP,
        site=slot.site,
        vault=slot.vault,
        settings_hash="hash",
        key="L2026-11-22T01:30",
        nominal=datetime(2026, 11, 22, 1, 30, tzinfo=UTC),
        due=datetime(2026, 11, 22, 1, 30, tzinfo=UTC),
        until=datetime(2026, 11, 23, 1, 30, tzinfo=UTC),
        known_at=NOW + DAY,
        state=SlotState.DUE,
    )
    (short,) = births(line(policy(catch_up=2 * HOUR)), NOW + DAY).slots
    assert short.until == short.due + 2 * HOUR


schedules = st.sampled_from(["daily at 02:30", "every 20m", "every 4h", "cron 30 */3 * * *", "weekly on mon,thu"])
lines = st.builds(
    lambda text, zone, splay, catch_up: line(
        policy(timetable=timetable(backup=text), zone=zone, splay=splay * MINUTE, catch_up=catch_up)
    ),
    schedules,
    st.sampled_from(["UTC", "Europe/Paris", "Africa/Cairo", "Africa/Casablanca", "Africa/Douala"]),
    st.sampled_from([0, 5, 45, 2000]),
    st.sampled_from([None, HOUR]),
)
spans = st.lists(st.integers(-2000, 9000), min_size=1, max_size=6)


@settings(deadline=None)
@given(lines, spans, st.integers(1, 7))
def test_however_often_and_whenever_it_is_asked_the_same_slots_come(each: Line, steps: list[int], limit: int) -> None:
    made: list[Slot] = []
    now, latest, cursor = NOW, NOW, each
    for minutes in steps:
        now += minutes * MINUTE
        latest = max(latest, now)
        more = True
        while more:
            born = births(cursor, now, limit=limit)
            assert len(born.slots) <= limit
            assert born.next_due == next_due(replace(each, cursor=born.cursor))
            made += born.slots
            assert born.cursor == (made[-1].nominal if made else NOW)
            cursor, more = replace(cursor, cursor=born.cursor), born.more
    at_once = births(each, latest)
    assert [replace(slot, known_at=latest) for slot in made] == [*at_once.slots]
    assert not at_once.more
    due = [moment.key for moment in occurrences(each.schedule, each.zone, NOW, latest)]
    assert due[: len(made)] == [slot.key for slot in made]
    assert at_once.next_due is None or at_once.next_due > latest


@settings(deadline=None)
@given(lines)
def test_slots_are_due_in_the_order_of_their_moments_and_end_when_the_next_is_due(each: Line) -> None:
    slots = births(each, NOW + 20 * DAY).slots
    assert all(slot.nominal <= slot.due for slot in slots)
    for slot, successor in pairwise(slots):
        assert slot.due < successor.nominal
        assert slot.until is not None
        assert slot.due < slot.until <= successor.due
        assert each.catch_up is not None or slot.until == successor.due


def test_a_clock_that_was_set_back_makes_nothing_due() -> None:
    cursor = births(line(), NOW + 5 * DAY).cursor
    back = births(replace(line(), cursor=cursor), NOW + DAY)
    assert (back.slots, back.cursor, back.more) == ((), cursor, False)


def numbered(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    return tuple(replace(each, id=place + 1) for place, each in enumerate(lines))


def test_settings_that_did_not_change_change_nothing() -> None:
    in_force = numbered(lines_of(policy(), NOW))
    same = changes(in_force, [policy()], NOW + DAY)
    assert (same.ended, same.begun, same.slots, dict(same.cursors)) == ((), (), (), {})


@pytest.mark.parametrize(
    "edit",
    [
        {"settings_hash": "other"},
        {"timetable": timetable(**{**CHAINED, "backup": "daily at 02:00"})},
        {"zone": "Africa/Douala"},
        {"splay": MINUTE},
        {"catch_up": HOUR},
        {"tenant": "south"},
    ],
)
def test_an_edit_ends_the_lines_it_changes_and_begins_others_now(edit: dict[str, object]) -> None:
    in_force = numbered(lines_of(policy(), NOW))
    now = NOW + HOUR
    wanted = changes(in_force, [replace(policy(), **edit)], now)  # type: ignore[arg-type]  # (by name)
    assert wanted.ended == tuple((each.id, now) for each in in_force)
    assert [each.key for each in wanted.begun] == [each.key for each in in_force]
    assert {(each.since, each.cursor) for each in wanted.begun} == {(now, now)}


def test_a_policy_that_is_gone_ends_its_lines_and_a_new_one_begins_with_its_next_moment() -> None:
    in_force = numbered(lines_of(policy("old"), NOW))
    wanted = changes(in_force, [policy("new")], NOW + HOUR)
    assert {number for number, _ in wanted.ended} == {each.id for each in in_force}
    assert {each.policy for each in wanted.begun} == {"new"}
    assert not births(wanted.begun[0], NOW + HOUR).slots


def test_an_edit_after_the_clock_was_set_back_does_not_make_again_what_has_a_slot() -> None:
    cursor = NOW + 5 * DAY
    in_force = [replace(each, cursor=cursor) for each in numbered(lines_of(policy(), NOW))]
    wanted = changes(in_force, [policy(settings_hash="other")], NOW)
    assert {at for _, at in wanted.ended} == {cursor}
    assert {each.since for each in wanted.begun} == {cursor}


@settings(deadline=None)
@given(lines, st.integers(0, 5000), st.sampled_from(["daily at 02:30", "every 4h"]))
def test_between_the_old_line_and_the_new_no_moment_is_lost_or_made_twice(each: Line, minutes: int, text: str) -> None:
    now = NOW + minutes * MINUTE
    old = replace(each, id=1)
    born = births(old, now)
    old = replace(old, cursor=born.cursor)
    of = policy(timetable=timetable(backup=text), zone=old.zone, settings_hash="other")
    wanted = changes([old], [of], now)
    made = [slot.key for slot in (*born.slots, *wanted.slots)]
    assert made == [moment.key for moment in occurrences(old.schedule, old.zone, NOW, now)]
    assert all(slot.due > now for slot in wanted.slots)
    (new,) = wanted.begun
    assert [slot.key for slot in births(new, now + 3 * DAY).slots] == [
        moment.key for moment in occurrences(new.schedule, new.zone, now, now + 3 * DAY)
    ]


def test_what_is_never_due_has_no_next_moment() -> None:
    never = line(policy(timetable=timetable(backup="cron 0 0 30 2 *")))
    assert next_due(never) is None
    assert births(never, NOW + timedelta(days=4000)).slots == ()

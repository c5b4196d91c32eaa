"""What is on record is counted beside what must have been due, and every difference is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.agenda import births, lines_of
from jobs.history import Job
from jobs.slot import Line, Slot, SlotState
from jobs.tally import Tally, tally
from tests.jobs.making import DAY, HOUR, MINUTE, NOW, policy

DAYS = 5


def worked_off(splay: int = 0) -> tuple[list[Line], list[Slot]]:
    """Four lines of a policy, and every slot of five days."""
    lines, slots = [], []
    for number, line in enumerate(lines_of(policy(splay=splay * MINUTE), NOW), start=1):
        born = births(replace(line, id=number), NOW + DAYS * DAY)
        lines.append(replace(line, id=number, cursor=born.cursor))
        slots += [replace(slot, state=SlotState.SUCCEEDED) for slot in born.slots]
    return lines, slots


def counted(lines: Sequence[Line], slots: Sequence[Slot]) -> Tally:
    def entries(line: Line) -> list[tuple[str, Job, SlotState]]:
        return [(slot.id, slot.job, slot.state) for slot in slots if slot.line == line.id]

    return tally(lines, entries)


@given(st.sampled_from([0, 45]))
def test_what_was_worked_off_adds_up(splay: int) -> None:
    lines, slots = worked_off(splay)
    told = counted(lines, slots)
    assert told.adds_up
    assert (told.expected, told.found) == (4 * DAYS, 4 * DAYS)
    assert told.by_state[SlotState.SUCCEEDED] == 4 * DAYS
    assert {job: sum(states.values()) for job, states in told.by_job.items()} == {
        Job.BACKUP: DAYS,
        Job.REPLICATE: DAYS,
        Job.RETENTION: 2 * DAYS,
    }


@settings(deadline=None)
@given(st.sets(st.integers(0, 4 * DAYS - 1), min_size=1))
def test_what_is_missing_is_named(lost: set[int]) -> None:
    lines, slots = worked_off()
    told = counted(lines, [slot for place, slot in enumerate(slots) if place not in lost])
    assert not told.adds_up
    assert {*told.missing} == {slots[place].id for place in lost}
    assert told.missing_count == told.expected - told.found == len(lost)


@settings(deadline=None)
@given(st.sets(st.integers(0, 4 * DAYS - 1), min_size=1))
def test_what_was_never_due_is_named(more: set[int]) -> None:
    lines, slots = worked_off()
    made_up = [replace(slots[place], id=f"{slots[place].id}x", key="x") for place in more]
    told = counted(lines, [*slots, *made_up])
    assert not told.adds_up
    assert {*told.surplus} == {slot.id for slot in made_up}
    assert told.surplus_count == told.found - told.expected == len(more)


def test_only_the_first_hundred_are_named_and_all_are_counted() -> None:
    (line, *_) = lines_of(policy(), NOW)
    told = counted([replace(line, id=1, cursor=NOW + 300 * DAY)], [])
    assert (len(told.missing), told.missing_count) == (100, 300)


def test_the_versions_of_a_line_are_counted_each_for_its_own_time() -> None:
    (line, *_) = lines_of(policy(), NOW)
    edited = NOW + 2 * DAY
    old = replace(line, id=1, cursor=edited, until=edited)
    new = replace(line, id=2, since=edited, cursor=edited + 3 * DAY, settings_hash="other")
    first = births(replace(line, id=1), edited).slots
    then = births(replace(new, cursor=edited), edited + 3 * DAY).slots
    told = counted([old, new], [*first, *then])
    assert told.adds_up
    assert told.expected == 5
    assert counted([old], first) == counted([old], [*first, *then])


def test_a_line_that_has_not_come_to_its_first_moment_expects_nothing() -> None:
    (line, *_) = lines_of(policy(), NOW)
    told = counted([line], [])
    assert told.adds_up
    assert told.expected == 0


def test_moments_that_have_come_while_nobody_made_slots_are_told_apart_from_missing_ones() -> None:
    lines, slots = worked_off()
    told = tally(
        lines,
        lambda line: [(slot.id, slot.job, slot.state) for slot in slots if slot.line == line.id],
        passed=NOW + (DAYS + 2) * DAY,
    )
    assert told.adds_up
    assert told.unmade == {Job.BACKUP: 2, Job.REPLICATE: 2, Job.RETENTION: 4}
    assert told.with_unmade().expected == 4 * (DAYS + 2)
    assert told.with_unmade().by_state[SlotState.DUE] == 4 * 2


@settings(deadline=None)
@given(st.integers(-DAYS * 24, 2 * DAYS * 24), st.integers(0, 2 * DAYS * 24))
def test_a_part_of_the_time_and_the_rest_add_up_to_the_whole(start: int, hours: int) -> None:
    lines, slots = worked_off()
    begin, end = NOW + start * HOUR, NOW + (start + hours) * HOUR

    def part(since: object, until: object) -> int:
        def entries(line: Line) -> list[tuple[str, Job, SlotState]]:
            inside = [each for each in slots if each.line == line.id]
            inside = [each for each in inside if since is None or each.nominal >= since]  # type: ignore[operator]
            inside = [each for each in inside if until is None or each.nominal < until]  # type: ignore[operator]
            return [(each.id, each.job, each.state) for each in inside]

        told = tally(lines, entries, since=since, until=until)  # type: ignore[arg-type]  # (a moment or None)
        assert told.adds_up
        return told.expected

    assert part(None, begin) + part(begin, end) + part(end, None) == 4 * DAYS


def test_rows_that_are_in_no_state_or_in_two_do_not_add_up() -> None:
    assert Tally(expected=2, found=2, by_job={Job.BACKUP: {SlotState.SUCCEEDED: 2}}).adds_up
    assert not Tally(expected=2, found=2, by_job={Job.BACKUP: {SlotState.SUCCEEDED: 1}}).adds_up
    assert not Tally(expected=2, found=2, by_job={Job.BACKUP: {SlotState.SUCCEEDED: 2, SlotState.DUE: 1}}).adds_up


def test_the_versions_of_a_line_answer_for_each_other_in_whatever_order_lines_are_told() -> None:
    (line, other, *_) = lines_of(policy(), NOW)
    edited = NOW + 2 * DAY
    old = replace(line, id=1, cursor=edited, until=edited)
    new = replace(line, id=3, since=edited, cursor=edited, settings_hash="other")
    made = [replace(slot, line=3) for slot in births(replace(line, id=1), edited).slots]
    told = counted([old, replace(other, id=2), new], made)
    assert told.adds_up
    assert told.found == 2


def test_nothing_is_left_to_be_made_of_a_line_that_has_ended() -> None:
    (line, *_) = lines_of(policy(), NOW)
    ended = replace(line, id=1, until=NOW)
    assert tally([ended], lambda _: (), passed=NOW + 3 * DAY).unmade == {}
    assert tally([replace(ended, until=None)], lambda _: (), passed=NOW + 3 * DAY).unmade == {Job.BACKUP: 3}


def test_the_hundred_that_are_named_are_the_first_of_all_lines_in_their_order() -> None:
    one, other = (
        replace(line, id=number, cursor=NOW + 60 * DAY) for number, line in enumerate(lines_of(policy(), NOW)[:2])
    )
    names = [slot.id for line in (one, other) for slot in births(replace(line, cursor=NOW), NOW + 60 * DAY).slots]
    for lines in ([one, other], [other, one]):
        told = counted(lines, [])
        assert told.missing == tuple(names[:100])
        assert told.missing_count == 120
    at_most = replace(one, cursor=NOW + 100 * DAY)
    assert len(counted([at_most, other], []).missing) == 100

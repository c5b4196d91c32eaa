"""What waits for another has its turn when that has ended, however long it took; and every chain comes to its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.agenda import lines_of
from jobs.dispatch import Closing, Concurrency, Start, Wait, dispatch
from jobs.forecast import Planned, forecast
from jobs.history import Job, RunRecord, RunState
from jobs.policy import Policy
from jobs.retry import slot_end
from jobs.slot import GOOD, OPEN, Slot, SlotState, WhyKind
from tests.jobs.making import DAY, HELD, HOUR, MINUTE, NOW, RETRY, answer, policy, run, situation, slot, timetable
from tests.jobs.world import ENDS, World

CHAIN = {"replicate": "after backup", "retention": "after backup"}
ENDED = NOW + 20 * MINUTE  # the backup that was due at NOW


def foreseen(of: Policy, takes: dict[Job, timedelta], days: int) -> list[Planned]:
    lines = [replace(line, id=number) for number, line in enumerate(lines_of(of, NOW), 1)]
    durations = {line.key: takes[line.job] for line in lines}
    return [*forecast(lines, (), situation(of), durations, NOW, NOW + days * DAY)]


def gone_well(made: list[Planned], job: Job) -> int:
    return sum(each.state is SlotState.SUCCEEDED for each in made if each.slot.job is job)


def longest_without(made: list[Planned], job: Job, days: int) -> timedelta:
    starts = sorted(each.starts_at for each in made if each.slot.job is job and each.starts_at is not None)
    return max(later - sooner for sooner, later in zip([NOW, *starts], [*starts, NOW + days * DAY], strict=True))


@pytest.mark.parametrize(
    ("backup", "catch_up", "takes", "days", "least"),
    [
        ("every 15m", None, (20, 1, 1), 1, (66, 66, 130)),
        ("every 15m", None, (14.5, 3, 1), 1, (90, 90, 180)),
        ("every 15m", HOUR, (20, 1, 1), 1, (66, 66, 130)),
        ("daily at 01:30", HOUR, (90, 1, 1), 7, (7, 6, 12)),
        ("daily at 01:30", None, (26 * 60, 60, 5), 7, (5, 5, 8)),
        ("every 1h", None, (59, 90, 10), 1, (12, 8, 10)),
    ],
)
def test_copies_and_retentions_go_on_where_a_backup_outlasts_its_interval_or_its_catch_up(
    backup: str, catch_up: timedelta | None, takes: tuple[float, ...], days: int, least: tuple[int, ...]
) -> None:
    of = policy(timetable=timetable(backup=backup, **CHAIN), catch_up=catch_up)
    jobs = (Job.BACKUP, Job.REPLICATE, Job.RETENTION)
    made = foreseen(of, {job: minutes * MINUTE for job, minutes in zip(jobs, takes, strict=True)}, days)
    assert all(gone_well(made, job) >= many for job, many in zip(jobs, least, strict=True)), Counter(
        (each.slot.job.value, each.state.value) for each in made
    )


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from([15, 30, 60]),
    st.tuples(st.integers(1, 150), st.integers(1, 90), st.integers(1, 40)),
    st.sampled_from([None, None, 20 * MINUTE, 3 * HOUR]),
    st.sampled_from([1, 2, 3, 1000]),
    st.sampled_from(["two", None]),
)
def test_no_job_of_a_chain_is_starved_by_the_others_however_long_each_takes(
    every: int, takes: tuple[int, int, int], catch_up: timedelta | None, runs: int, replica: str | None
) -> None:
    """Each has its turn again after the longest run of each, the patience, and an interval: seen with a factor."""
    of = policy(timetable=timetable(backup=f"every {every}m", **CHAIN), catch_up=catch_up, replica=replica)
    jobs = (Job.BACKUP, Job.REPLICATE, Job.RETENTION)
    if replica is None:
        jobs, takes = (Job.BACKUP, Job.RETENTION), takes[::2]  # type: ignore[assignment]  # (as many as jobs)
    if catch_up is not None and catch_up < 3 * max(takes) * MINUTE:
        catch_up = None  # what may not wait for the others' runs is not promised a turn
        of = replace(of, catch_up=None)
    lines = [replace(line, id=number) for number, line in enumerate(lines_of(of, NOW), 1)]
    durations = {line.key: dict(zip(jobs, takes, strict=True))[line.job] * MINUTE for line in lines}
    made = [*forecast(lines, (), situation(of, limits=Concurrency(runs=runs)), durations, NOW, NOW + DAY)]
    bound = (2 * every + 15 + 4 * sum(takes) + 2 * max(takes)) * MINUTE
    for job in jobs:
        assert longest_without(made, job, 1) <= bound, (job, Counter((e.slot.job.value, e.state.value) for e in made))


# --- one by one --------------------------------------------------------------------------------------------------


def backup(minutes: int = 0, **changes: object) -> Slot:
    made = slot(due=NOW + minutes * MINUTE, until=NOW + (minutes + 15) * MINUTE)
    return replace(made, **changes)  # type: ignore[arg-type]  # (fields by name; a wrong one fails at once)


def copy(minutes: int = 0, **changes: object) -> Slot:
    due = NOW + minutes * MINUTE
    made = slot(Job.REPLICATE, due=due, until=due + 15 * MINUTE, after=Job.BACKUP)
    return replace(made, **changes)  # type: ignore[arg-type]  # (fields by name; a wrong one fails at once)


def after(*done: Slot, now: datetime, of: Slot, known: Policy | None = None) -> Closing | Start | Wait:
    """What becomes of one of those that are open, where the others are closed."""
    open_ones = [each for each in done if each.state in OPEN]
    return answer(*open_ones, known=situation(known or policy(), related=done), now=now, of=of)


def good(of: Slot, at: datetime = ENDED) -> Slot:
    return replace(of, state=SlotState.SUCCEEDED, closed_at=at)


def test_it_is_not_too_late_while_what_it_waits_for_is_open() -> None:
    running = backup(state=SlotState.RUNNING)
    made = after(running, copy(), now=NOW + 10 * HOUR, of=copy())
    assert isinstance(made, Wait)
    assert made.why.kind is WhyKind.AFTER


def test_one_whose_own_backup_has_not_ended_does_not_stand_for_one_whose_has() -> None:
    open_ones = (good(backup()), backup(15, state=SlotState.RUNNING), copy(), copy(15))
    assert isinstance(after(*open_ones, now=ENDED, of=copy()), Start)
    assert isinstance(after(*open_ones, now=ENDED, of=copy(15)), Wait)


def test_its_time_is_counted_from_the_end_of_what_it_waited_for() -> None:
    known = (good(backup()), copy())
    assert isinstance(after(*known, now=ENDED + 14 * MINUTE, of=copy()), Start)
    made = after(*known, now=ENDED + 15 * MINUTE, of=copy())
    assert isinstance(made, Closing)
    assert made.state is SlotState.MISSED
    assert f"{ENDED + 15 * MINUTE:%H:%M}" in made.why.text


def test_it_is_not_too_late_while_its_successor_waits_for_a_backup() -> None:
    known = (good(backup()), backup(15, state=SlotState.RUNNING), copy(), copy(15))
    late = ENDED + 15 * MINUTE
    assert isinstance(after(*known, now=late, of=copy()), Start)
    assert isinstance(after(*known, now=late, of=copy(), known=policy(catch_up=16 * MINUTE)), Start)
    assert isinstance(after(*known, now=late, of=copy(), known=policy(catch_up=15 * MINUTE)), Closing)


def test_where_the_successors_backup_went_wrong_it_has_its_own_time() -> None:
    bad = replace(backup(15), state=SlotState.FAILED, closed_at=ENDED)
    assert isinstance(after(good(backup()), bad, copy(), copy(15), now=ENDED, of=copy()), Start)
    assert isinstance(after(good(backup()), bad, copy(), copy(15), now=ENDED + 15 * MINUTE, of=copy()), Closing)
    made = after(good(backup()), bad, copy(), copy(15), now=ENDED, of=copy(15))
    assert isinstance(made, Closing)
    assert made.state is SlotState.BLOCKED


def both_good(**changes: object) -> tuple[Slot, ...]:
    """Two of a line that could start, where a run of another policy is in the way."""
    return (good(backup()), good(backup(15), ENDED + 20 * MINUTE), replace(copy(), **changes), copy(15))  # type: ignore[arg-type]  # (fields by name)


IN_THE_WAY = run(Job.RETENTION, "other", vault="two", started_at=NOW)


def test_of_two_that_could_start_the_newer_takes_the_others_place_in_the_queue_and_then_stands_for_it() -> None:
    now = ENDED + 20 * MINUTE
    known = both_good(why=HELD)
    fresh = slot(Job.RETENTION, "other", vault="two", due=NOW + 30 * MINUTE)
    other = policy("other", vault="two", site=policy().replica_site, replica=None)
    begun = replace(IN_THE_WAY, id="run-x")
    held = situation(
        policy(), other, related=known, under_way=[begun], last_backups=[run(of="other", state=RunState.SUCCEEDED)]
    )
    moves = dispatch([*known[2:], fresh], held, now)
    assert not moves.starts
    assert not moves.closings
    why = next(wait.why for wait in moves.waits if wait.slot.id == copy().id)
    assert (why.kind, why.other) == (WhyKind.HELD, copy(15).id)
    # Since the first has waited for a quarter of an hour, the other's retention does not overtake the second.
    moves = dispatch([*known[2:], fresh], replace(held, under_way=()), now)
    assert [start.slot.id for start in moves.starts] == [copy(15).id]
    (closing,) = moves.closings
    assert (closing.slot.id, closing.state, closing.why.other) == (copy().id, SlotState.COALESCED, copy(15).id)
    (wait,) = moves.waits
    assert wait.slot.id == fresh.id


def test_what_had_its_attempts_is_not_hidden_by_the_one_that_runs_in_its_stead() -> None:
    known = both_good(attempts=1, run="run-8", why=RETRY, retry_at=NOW + 5 * HOUR)
    moves = dispatch(known[2:], situation(policy(), related=known), ENDED + 20 * MINUTE)
    assert [start.slot.id for start in moves.starts] == [copy(15).id]
    assert [(each.slot.id, each.state) for each in moves.closings] == [(copy().id, SlotState.FAILED)]


def test_what_waited_for_the_older_one_is_coalesced_with_it() -> None:
    retention = slot(Job.RETENTION, due=NOW, until=NOW + 15 * MINUTE, after=Job.REPLICATE)
    known = (*both_good(), retention)
    moves = dispatch(known[2:], situation(policy(), related=known), ENDED + 20 * MINUTE)
    assert {each.slot.id: each.state for each in moves.closings} == {
        copy().id: SlotState.COALESCED,
        retention.id: SlotState.COALESCED,
    }


def test_one_that_runs_stands_for_the_older_ones() -> None:
    first, second, old, new = both_good()
    made = after(first, second, old, replace(new, state=SlotState.RUNNING), now=ENDED + HOUR, of=old)
    assert isinstance(made, Closing)
    assert (made.state, made.why.kind) == (SlotState.COALESCED, WhyKind.NEWER)


def test_after_an_outage_what_was_left_of_a_chain_is_stood_for_by_the_newest() -> None:
    now = NOW + 10 * DAY + 5 * MINUTE
    known = (good(backup()), backup(14400, known_at=now), copy(), copy(14400, known_at=now))
    made = after(*known, now=now, of=copy())
    assert isinstance(made, Closing)
    assert (made.state, made.why.kind, made.why.other) == (SlotState.COALESCED, WhyKind.NEWER, copy(14400).id)


def test_a_retry_of_what_waited_is_in_time_as_long_as_dispatch_says() -> None:
    of = replace(copy(), state=SlotState.RUNNING, attempts=1, run="run-1")
    end = slot_end(of, ENDS[3], "run-1", ENDED)
    assert end.state is SlotState.DUE
    cut_off = slot_end(of, ENDS[-2], "run-1", ENDED)
    assert cut_off.state is SlotState.DUE
    waits = replace(copy(), attempts=1, run="run-1", why=end.why, retry_at=end.retry_at)
    made = after(good(backup()), waits, now=ENDED + 15 * MINUTE, of=waits)
    assert isinstance(made, Closing)
    assert made.state is SlotState.FAILED


# --- a world in which things go wrong ----------------------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 70), st.lists(st.sampled_from([0, 0, 2, 4, 9, 10]), min_size=1, max_size=8))
def test_a_chain_ends_whatever_its_backups_come_to_and_nothing_is_done_after_a_bad_one(
    minutes: int, outcomes: list[int]
) -> None:
    of = policy(timetable=timetable(backup="every 15m", **CHAIN))
    world = World([of], Concurrency(runs=4))
    for number in range(160):
        world.now += 3 * MINUTE
        for begun in world.under_way():
            if world.now - begun.started_at >= (minutes if begun.job is Job.BACKUP else 1) * MINUTE:
                world.end(begun, ENDS[outcomes[number % len(outcomes)]] if begun.job is Job.BACKUP else ENDS[0])
        world.tick()
    ended = {each.id: each for each in world.slots.values()}
    for run_of in world.runs.values():
        assert run_of.job is Job.BACKUP or chain_is_good(run_of, ended)
    still_open = [each for each in world.slots.values() if each.state in OPEN]
    assert len(still_open) <= 4 * (2 + 2 * minutes // 15), still_open


def chain_is_good(of: RunRecord, slots: dict[str, Slot]) -> bool:
    key = slots[of.slot or ""].key
    before = [each for each in slots.values() if each.key == key and each.job is Job.BACKUP]
    return all(each.state in GOOD for each in before)


def test_where_every_backup_fails_every_copy_and_retention_is_blocked() -> None:
    of = policy(timetable=timetable(backup="every 1h", **CHAIN))
    world = World([of], Concurrency(runs=4))
    for _ in range(12):
        world.now += 30 * MINUTE
        for begun in world.under_way():
            world.end(begun, ENDS[4])  # a wrong password: no second attempt
        world.tick()
    states = Counter((each.job, each.state) for each in world.slots.values())
    assert {state for job, state in states if job is not Job.BACKUP} <= {SlotState.BLOCKED, SlotState.DUE}
    assert states[Job.REPLICATE, SlotState.BLOCKED] >= 4
    assert states[Job.RETENTION, SlotState.BLOCKED] >= 8

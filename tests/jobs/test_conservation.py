"""No due moment is lost, doubled or changed afterwards: whatever stops, fails, is edited, or happens to the clock.

Stories in the world of world.py: clocks are set, settings edited, runs end in every way, people run things by hand.
The product's pure core decides everything; nothing of it is replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.agenda import lines_of
from jobs.dispatch import Concurrency
from jobs.history import Job, Outcome
from jobs.policy import Objectives, Policy, PolicyName
from jobs.schedule import occurrences
from jobs.slot import OPEN, SlotState, slot_id
from jobs.window import Window
from tests.jobs.making import DAY, HOUR, MINUTE, policy, timetable
from tests.jobs.world import ENDS, START, World

schedules = st.sampled_from(
    ["daily at 02:30", "daily at 03:00", "every 1h", "every 4h", "cron 30 */3 * * *", "cron 0 2,14 * * *", "every 20m"]
)
chained = st.sampled_from(["after backup", "after backup", "every 6h"])
names = st.sampled_from("abcd")
policies = st.builds(
    lambda name, table, **changes: policy(name, timetable=timetable(**table), **changes),
    names,
    st.fixed_dictionaries(
        {"backup": schedules},
        optional={
            "replicate": chained,
            "retention": chained,
            "audit": schedules,
            "check": schedules,
            "restore_test": schedules,
        },
    ),
    tenant=st.sampled_from(["north", "south"]),
    replica=st.sampled_from(["two", "two", None]),
    zone=st.sampled_from(["Europe/Paris", "UTC", "Africa/Douala", "America/New_York"]),
    splay=st.sampled_from([0, 10, 300]).map(lambda minutes: minutes * MINUTE),
    catch_up=st.sampled_from([None, None, 2 * HOUR]),
    window=st.sampled_from([None, None, Window("20:00-06:00")]),
    objectives=st.sampled_from([Objectives(), Objectives(rpo=6 * HOUR, check_age=2 * DAY)]),
    read_data=st.sampled_from(["none", "100%"]),
    settings_hash=st.sampled_from(["one", "two"]),
)
limits = st.builds(Concurrency, runs=st.integers(1, 4), per_vault=st.sampled_from([None, 2]))

Act = Callable[[World], object]


def passing(minutes: int) -> Act:
    def act(world: World) -> None:
        world.now += minutes * MINUTE

    return act


def set_clock(minutes: int) -> Act:
    return passing(minutes)


def ending(which: int, how: int) -> Act:
    def act(world: World) -> None:
        runs = world.under_way()
        if runs:
            world.end(runs[which % len(runs)], ENDS[how % len(ENDS)])

    return act


def stopping(outcome: Outcome) -> Act:
    """Tandem goes away. What it ran is found cut off, at once or when it is back: here at once."""

    def act(world: World) -> None:
        for run in world.under_way():
            if run.slot is not None:
                world.end(run, outcome)
        world.serves = False

    return act


def starting(world: World) -> None:
    """It is back. At most one of each line starts, and that is its newest."""
    world.serves = True
    world.edit(world.policies)
    started = Counter(start.slot.line_key for start in world.tick().starts)
    assert not started or max(started.values()) == 1


def editing(made: Policy) -> Act:
    return lambda world: world.edit({**world.policies, made.name: made})


def removing(name: str) -> Act:
    return lambda world: world.edit({key: each for key, each in world.policies.items() if key != name})


def by_hand(name: str, job: Job) -> Act:
    def act(world: World) -> None:
        of = world.policies.get(PolicyName(name))
        if of is not None:
            world.by_hand(of, job)

    return act


acts: st.SearchStrategy[Act] = st.one_of(
    st.builds(passing, st.sampled_from([1, 7, 20, 61, 240, 1000])),
    st.builds(passing, st.integers(1, 90)),
    st.builds(ending, st.integers(0, 5), st.integers(0, 20)),
    st.builds(ending, st.integers(0, 5), st.just(0)),
    st.builds(set_clock, st.sampled_from([-1500, -600, -61, -3, 61, 600, 1500])),
    st.builds(stopping, st.sampled_from(ENDS[-2:])),
    st.just(starting),
    st.just(starting),
    st.builds(editing, policies),
    st.builds(removing, names),
    st.builds(by_hand, names, st.sampled_from([Job.BACKUP, Job.CHECK, Job.RETENTION, Job.RESTORE])),
)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(policies, min_size=1, max_size=3, unique_by=lambda each: each.name), limits, st.lists(acts, max_size=40)
)
def test_whatever_happens_every_due_moment_has_one_slot_and_every_slot_one_end(
    first: list[Policy], limits: Concurrency, story: list[Act]
) -> None:
    world = World(first, limits)
    world.tick()
    for act in story:
        act(world)
        world.tick()
    starting(world)
    everything_ends(world)
    world.check()


def everything_ends(world: World) -> None:
    """When nothing new is due, and runs end, every slot does: nobody waits for ever."""
    for line in world.in_force():
        world.lines[line.id] = replace(line, until=line.cursor)
    for _ in range(200):
        for run in world.under_way():
            world.end(run, ENDS[0])
        if not any(each.state in OPEN for each in world.slots.values()):
            return
        world.tick()
        world.now += HOUR
    still = [each for each in world.slots.values() if each.state in OPEN]
    assert not still, still


@settings(deadline=None, max_examples=40)
@given(policies, st.lists(st.sampled_from([5, 60, 400, 1600, -60, -1500]), max_size=12))
def test_a_line_that_is_never_edited_has_every_moment_of_its_schedule_once(of: Policy, steps: list[int]) -> None:
    world = World([of], Concurrency(runs=3))
    latest = START
    for minutes in steps:
        world.now += minutes * MINUTE
        latest = max(latest, world.now)
        world.births()
    for line in lines_of(of, START):
        due = [each for each in occurrences(line.schedule, line.zone, START, latest - line.splay)]
        wanted = {slot_id(line.policy, line.job, line.vault, each.key) for each in due}
        found = {each.id for each in world.slots.values() if each.line_key == line.key}
        assert wanted <= found
        assert len(found) <= len([*occurrences(line.schedule, line.zone, START, latest)])


@settings(deadline=None, max_examples=40)
@given(policies, st.integers(1, 12))
def test_after_an_outage_the_newest_is_caught_up_and_the_others_end_by_name(of: Policy, days: int) -> None:
    world = World([replace(of, window=None, catch_up=None)], Concurrency(runs=50))
    stopping(ENDS[-1])(world)
    world.now += days * DAY + 5 * HOUR
    starting(world)
    for key in {each.line_key for each in world.slots.values()}:
        of_line = sorted((each for each in world.slots.values() if each.line_key == key), key=lambda each: each.nominal)
        assert {each.state for each in of_line[:-1]} <= {SlotState.COALESCED}
        assert of_line[-1].state in OPEN or of_line[-1].state is SlotState.SKIPPED  # (a retention before any backup)
    assert world.under_way()


def test_an_edit_while_a_splay_has_not_passed_loses_nothing() -> None:
    """The moment has come under the old text: the old line owes it, and its slot is due when the splay has passed."""
    of = policy(timetable=timetable(backup="daily at 02:30"), splay=2 * HOUR)
    world = World([of], Concurrency())
    world.now = datetime(2026, 10, 26, 2, 30, tzinfo=UTC)
    world.tick()
    assert not [each for each in world.slots.values() if each.nominal == world.now]
    world.edit({of.name: replace(of, timetable=timetable(backup="daily at 12:00"))})
    (owed,) = (each for each in world.slots.values() if each.nominal == world.now)
    assert owed.due > world.now
    assert not world.tick().starts
    world.now = owed.due
    for begun in world.under_way():
        world.end(begun, ENDS[0])
    (start,) = world.tick().starts
    assert start.slot.id == owed.id


def test_a_move_to_a_zone_further_west_does_not_make_the_same_half_past_two_due_again() -> None:
    of = policy(timetable=timetable(backup="daily at 02:30"), zone="Europe/Paris", replica=None, retention=None)
    world = World([of], Concurrency())
    world.now = datetime(2026, 10, 27, 2, 0, tzinfo=UTC)
    world.tick()
    world.edit({of.name: replace(of, zone="UTC")})
    world.now += DAY
    world.tick()
    assert sorted(each.key for each in world.slots.values()) == [
        "L2026-10-25T02:30",
        "L2026-10-26T02:30",
        "L2026-10-27T02:30",
    ]
    world.now += HOUR
    world.tick()
    assert "L2026-10-28T02:30" in {each.key for each in world.slots.values()}

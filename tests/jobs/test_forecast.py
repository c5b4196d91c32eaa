"""The forecast is what agenda and dispatch would come to, asked at every event; and always the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from jobs.agenda import births, lines_of, next_due
from jobs.dispatch import Concurrency, Situation, dispatch, related_ids
from jobs.forecast import USUAL, Durations, Planned, forecast
from jobs.history import CheckResult, Job, RunRecord, RunState
from jobs.policy import Objectives, Policy
from jobs.slot import OPEN, Line, Slot, SlotState, WhyKind
from jobs.window import Window
from tests.jobs.making import DAY, HOUR, MINUTE, NIGHTLY, NOW, OWNER, policy, run, situation, slot, timetable

Fate = tuple[str, str, datetime | None, datetime | None]


def told(planned: Planned) -> Fate:
    return planned.slot.id, planned.state, planned.starts_at, planned.ends_at


class Naive:
    """The same world, in which everything is asked again at every event."""

    def __init__(self, lines: Sequence[Line], known: Situation, durations: Durations) -> None:
        self.lines = list(lines)
        self.slots: dict[str, Slot] = {}
        self.running: dict[str, tuple[RunRecord, datetime]] = {}
        self.good = dict(known.good)
        self.last = dict(known.last_backups)
        self.known = known
        self.durations = durations
        self.looks: set[datetime] = {NOW + 2.5 * HOUR}  # when windows close: who still waits, waits for that then
        for begun in known.under_way:
            self.running[begun.id] = (begun, max(NOW, begun.started_at + self.takes(begun)))

    def takes(self, work: RunRecord | Slot) -> timedelta:
        return self.durations.get((work.policy, work.job, work.vault), USUAL)

    def next(self, now: datetime, until: datetime) -> datetime | None:
        dues = (next_due(line) for line in self.lines)
        coming = {due for due in dues if due is not None} | {end for _, end in self.running.values()}
        later = {at for at in coming | self.looks if now < at <= until}
        return min({now} if any(end == now for _, end in self.running.values()) else later, default=None)

    def events(self, until: datetime) -> Iterator[Fate]:
        now: datetime | None = NOW
        while now is not None:
            yield from self.at(now, until)
            now = self.next(now, until)
        for waits in self.slots.values():
            if waits.state is SlotState.DUE:
                yield waits.id, SlotState.DUE, None, None

    def at(self, now: datetime, until: datetime) -> Iterator[Fate]:
        for done, end in list(self.running.values()):
            if end == now:
                self.ends(done, now)
        for place, line in enumerate(self.lines):
            born = births(line, now)
            self.slots |= {each.id: each for each in born.slots}
            self.looks |= {each.until for each in born.slots if each.until is not None}
            self.lines[place] = replace(line, cursor=born.cursor)
        moves = dispatch([each for each in self.slots.values() if each.state in OPEN], self.situation(), now)
        for closing in moves.closings:
            self.slots[closing.slot.id] = replace(closing.slot, state=closing.state, closed_at=now)
            yield closing.slot.id, closing.state, None, now
        for wait in moves.waits:
            self.slots[wait.slot.id] = replace(wait.slot, why=wait.why)
            self.looks |= set() if wait.until is None else {wait.until}
        for start in moves.starts:
            end = now + self.takes(start.slot)
            begun = record(start.slot, now, start.step.read_data)
            self.slots[start.slot.id] = replace(start.slot, state=SlotState.RUNNING)
            self.running[begun.id] = (begun, end)
            yield start.slot.id, SlotState.SUCCEEDED if end <= until else SlotState.RUNNING, now, end

    def ends(self, done: RunRecord, now: datetime) -> None:
        del self.running[done.id]
        done = replace(done, state=RunState.SUCCEEDED, finished_at=now)
        self.good[done.policy, done.job, done.vault] = done
        if done.job is Job.BACKUP:
            self.last[done.policy] = done
        if done.slot is not None:
            self.slots[done.slot] = replace(self.slots[done.slot], state=SlotState.SUCCEEDED, closed_at=now)
            self.looks |= {at for each in self.slots.values() for at in self.counted_from_now(each, done.slot, now)}

    def counted_from_now(self, each: Slot, done: str, now: datetime) -> Iterator[datetime]:
        """The time of what waited for this one begins when it ends."""
        if done in related_ids(each, self.known.policies):
            late = self.known.policies[each.policy].catch_up
            yield from () if late is None else (now + late,)
            yield from () if each.until is None else (now + (each.until - each.due),)

    def situation(self) -> Situation:
        ids = {other for each in self.slots.values() for other in related_ids(each, self.known.policies)}
        return replace(
            self.known,
            related={each: self.slots[each] for each in ids if each in self.slots},
            under_way=tuple(begun for begun, _ in self.running.values()),
            good=dict(self.good),
            last_backups=dict(self.last),
        )


def record(of: Slot, now: datetime, read_data: str) -> RunRecord:
    return RunRecord(
        id=of.id,
        job=of.job,
        tenant=of.tenant,
        policy=of.policy,
        site=of.site,
        vault=of.vault,
        source_vault=of.source_vault,
        settings_hash=of.settings_hash,
        state=RunState.RUNNING,
        owner=OWNER,
        started_at=now,
        result=CheckResult(read_data=read_data) if of.job is Job.CHECK else None,
        slot=of.id,
    )


tables = st.fixed_dictionaries(
    {"backup": st.sampled_from([NIGHTLY, "every 2h", "every 30m", "daily at 03:00"])},
    optional={
        "replicate": st.sampled_from(["after backup", "every 3h"]),
        "audit": st.sampled_from(["every 4h", "daily at 03:00", "after backup"]),
        "check": st.sampled_from(["every 4h", "daily at 03:00", "after backup"]),
        "restore_test": st.sampled_from(["every 4h", "daily at 03:00", "after backup"]),
        "retention": st.sampled_from(["after backup", "every 1h"]),
    },
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[tuple[Policy, ...], Concurrency, Durations]:
    made = tuple(
        policy(
            name,
            tenant=draw(st.sampled_from(["north", "south"])),
            replica=draw(st.sampled_from(["two", "two", None])),
            timetable=timetable(**draw(tables)),
            splay=draw(st.sampled_from([0, 7])) * MINUTE,
            catch_up=draw(st.sampled_from([None, None, 20 * MINUTE])),
            read_data=draw(st.sampled_from(["none", "10%", "100%"])),
            window=draw(st.sampled_from([None, None, Window("04:00-05:30")])),
            objectives=draw(st.sampled_from([Objectives(), Objectives(rpo=2 * HOUR, audit_age=HOUR, check_age=DAY)])),
        )
        for name in draw(st.sets(st.sampled_from("abcde"), min_size=1))
    )
    limits = draw(
        st.builds(
            Concurrency,
            runs=st.integers(1, 3),
            per_site=st.sampled_from([None, 1]),
            per_vault=st.sampled_from([None, 1, 2]),
            per_host=st.sampled_from([None, 1]),
        )
    )
    lines = [line for each in made for line in lines_of(each, NOW)]
    takes = st.sampled_from([1, 1, 5, 25, 70])
    return made, limits, {line.key: draw(takes) * MINUTE for line in lines}


def known_of(policies: Sequence[Policy], limits: Concurrency) -> Situation:
    return situation(*policies, limits=limits)


@settings(deadline=None, max_examples=120, phases=[Phase.generate])  # shrinking takes minutes and finds little
@given(worlds())
def test_it_is_what_dispatch_at_every_event_would_come_to(
    world: tuple[tuple[Policy, ...], Concurrency, Durations],
) -> None:
    policies, limits, durations = world
    lines = [line for each in policies for line in lines_of(each, NOW)]
    known = situation(*policies, limits=limits)
    until = NOW + 6 * HOUR
    made = [told(each) for each in forecast(lines, (), known, durations, NOW, until)]
    assert sorted(made) == sorted(Naive(lines, known, durations).events(until))


def test_the_same_is_foreseen_to_the_byte_each_time() -> None:
    policies = [policy(f"p{number}", tenant=f"t{number % 3}", splay=20 * MINUTE) for number in range(12)]
    lines = [line for each in policies for line in lines_of(each, NOW)]
    limits = Concurrency(runs=2)
    once, again = (
        repr([*forecast(lines, (), situation(*each, limits=limits), {}, NOW, NOW + 3 * DAY)])
        for each in (policies, policies[::-1])
    )
    assert once == again
    assert once.count("Planned(") == 12 * 4 * 3


def test_a_chain_is_foreseen_in_its_order_with_the_time_each_takes() -> None:
    each = policy()
    takes = {line.key: 20 * MINUTE for line in lines_of(each, NOW) if line.job is Job.BACKUP}
    made = [*forecast(lines_of(each, NOW), (), situation(each), takes, NOW, NOW + DAY)]
    due = datetime(2026, 11, 22, 1, 30, tzinfo=UTC)
    assert [(of.slot.job, of.starts_at) for of in made] == [
        (Job.BACKUP, due),
        (Job.REPLICATE, due + 20 * MINUTE),
        (Job.RETENTION, due + 21 * MINUTE),
        (Job.RETENTION, due + 22 * MINUTE),
    ]
    assert all(of.state is SlotState.SUCCEEDED for of in made)


def test_what_is_under_way_is_foreseen_to_end_and_what_is_open_to_start_after_it() -> None:
    begun = slot(due=NOW - 2 * HOUR, state=SlotState.RUNNING, key="before")
    waits = slot(due=NOW)
    under_way = run(slot=begun.id, started_at=NOW - HOUR)
    known = situation(policy(), under_way=[under_way])
    takes = {begun.line_key: 90 * MINUTE}
    first, second = forecast((), (begun, waits), known, takes, NOW, NOW + DAY)
    assert (first.slot.id, first.ends_at) == (begun.id, NOW + 30 * MINUTE)
    assert (second.slot.id, second.starts_at) == (waits.id, NOW + 30 * MINUTE)


def test_what_still_waits_at_the_horizon_says_for_what() -> None:
    closed = policy(window=Window("20:00-06:00"))
    (waits,) = forecast((), (slot(due=NOW + 4 * HOUR),), situation(closed), {}, NOW, NOW + 5 * HOUR)
    assert (waits.state, waits.starts_at) == (SlotState.DUE, None)
    assert waits.why is not None
    assert waits.why.kind is WhyKind.WINDOW


def test_what_cannot_start_in_time_is_foreseen_to_be_missed_or_blocked() -> None:
    closed = policy(window=Window("20:00-21:00"), catch_up=HOUR, replica=None)
    made = [*forecast(lines_of(closed, NOW), (), situation(closed), {}, NOW, NOW + DAY)]
    assert [(of.slot.job, of.state) for of in made] == [
        (Job.BACKUP, SlotState.MISSED),
        (Job.RETENTION, SlotState.BLOCKED),
    ]


@pytest.mark.parametrize("minutes", [5, 20])
@pytest.mark.parametrize("one_more", [False, True])
def test_who_would_overtake_lends_its_place_whenever_it_comes(minutes: int, one_more: bool) -> None:
    """One place, taken until then: the retention's patience ends meanwhile, before or after an urgent backup comes.

    A more urgent one, that has waited longer than the retention, lends nothing, and hides nobody once it is gone.
    """
    urgent = policy("urgent", objectives=Objectives(rpo=MINUTE))
    other = policy("other", objectives=Objectives(rpo=MINUTE))
    calm = policy("calm", tenant="south", objectives=Objectives(rpo=20 * HOUR))
    taken = run(Job.RESTORE, "somebody", tenant=calm.tenant, started_at=NOW)
    before = slot(of="other", due=NOW - MINUTE, until=NOW + 30 * MINUTE)
    waiting = (
        slot(Job.RETENTION),
        slot(of="urgent", due=NOW + minutes * MINUTE),
        replace(slot(of="calm"), tenant=calm.tenant),
        *([before] if one_more else []),
    )
    known = situation(
        policy(),
        urgent,
        other,
        calm,
        under_way=[taken],
        good=[run(of="calm", state=RunState.SUCCEEDED, tenant=calm.tenant)],
        last_backups=[run(state=RunState.SUCCEEDED)],
        limits=Concurrency(runs=1),
    )
    takes = {(taken.policy, taken.job, taken.vault): 40 * MINUTE}
    made = forecast((), waiting, known, takes, NOW, NOW + HOUR)
    assert [(of.slot.policy, of.starts_at) for of in made if of.starts_at is not None] == [
        ("files", NOW + 40 * MINUTE),
        ("urgent", NOW + 41 * MINUTE),
        ("calm", NOW + 42 * MINUTE),
    ]

"""No due moment is lost, doubled or changed afterwards: whatever stops, fails, is edited, or happens to the clock.

A world in memory: clocks, a ledger that only knows rows, settings that are edited, runs that end in every way, people
who run things by hand. The product's pure core decides everything; nothing of it is replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.agenda import births, changes, lines_of
from jobs.claim import clash
from jobs.dispatch import Concurrency, Moves, Situation, dispatch, related_ids
from jobs.failure import Failure, FailureKind
from jobs.history import CheckResult, Job, Outcome, RunRecord, RunState
from jobs.policy import Objectives, Policy, PolicyName
from jobs.retry import slot_end
from jobs.schedule import occurrences
from jobs.slot import FINAL, OPEN, SLOT_TRANSITIONS, Line, Slot, SlotState, slot_id
from jobs.tally import Tally, tally
from jobs.window import Window
from tests.jobs.making import DAY, HOUR, MINUTE, OWNER, policy, timetable

# The night in which Paris has its half past two twice is among the simulated ones.
START = datetime(2026, 10, 24, 18, 0, tzinfo=UTC)
GOOD = (RunState.SUCCEEDED, RunState.PARTIAL)

_KIND = FailureKind
ENDS: tuple[Outcome, ...] = (
    Outcome(state=RunState.SUCCEEDED),
    Outcome(state=RunState.SUCCEEDED),
    Outcome(state=RunState.PARTIAL),
    *(
        Outcome(state=RunState.FAILED, failure=Failure(kind=kind, message="no luck"))
        for kind in (_KIND.VAULT_UNREACHABLE, _KIND.WRONG_PASSWORD, _KIND.REPOSITORY_LOCKED, _KIND.BUSY, _KIND.INTERNAL)
    ),
    Outcome(state=RunState.FAILED),
    Outcome(state=RunState.INTERRUPTED, failure=Failure(kind=_KIND.CANCELLED, message="asked to stop")),
    Outcome(state=RunState.INTERRUPTED, note="Tandem died while this ran"),
)


class World:
    """What there is: two clocks, the settings, the rows. `now` is the wall clock, which may be set."""

    def __init__(self, policies: Sequence[Policy], limits: Concurrency) -> None:
        self.now = START
        self.serves = True
        self.policies: dict[PolicyName, Policy] = {}
        self.limits = limits
        self.lines: dict[int, Line] = {}
        self.slots: dict[str, Slot] = {}
        self.runs: dict[str, RunRecord] = {}
        self.numbered = 0
        self.frozen: dict[int, str] = {}  # the tallies of lines that have ended, and all whose slots are closed
        self.edit({each.name: each for each in policies})

    # --- the ledger: it refuses what must not happen -----------------------------------------------------------

    def born(self, slots: Sequence[Slot], cursors: dict[int, datetime]) -> None:
        for each in slots:
            assert each.id not in self.slots, f"{each.id} was due twice"
            assert each.state is SlotState.DUE
            assert each.until is None or each.until > each.due
            self.slots[each.id] = each
        for number, cursor in cursors.items():
            assert cursor >= self.lines[number].cursor
            self.lines[number] = replace(self.lines[number], cursor=cursor)

    def change(self, slot: Slot, state: SlotState, **changes: object) -> None:
        before = self.slots[slot.id]
        assert before.state not in FINAL, f"{slot.id} was closed as {before.state}, and became {state}"
        assert state is before.state or state in SLOT_TRANSITIONS[before.state]
        closed = self.now if state in FINAL else None
        self.slots[slot.id] = replace(before, state=state, closed_at=closed, **changes)  # type: ignore[arg-type]

    def in_force(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines.values() if line.until is None)

    # --- the scheduler -----------------------------------------------------------------------------------------

    def births(self) -> None:
        for line in self.in_force():
            more = True
            while more:
                made = births(self.lines[line.id], self.now, limit=3)
                self.born(made.slots, {line.id: made.cursor})
                more = made.more

    def edit(self, policies: dict[PolicyName, Policy]) -> None:
        self.policies = policies
        if not self.serves:
            return
        self.births()
        wanted = changes(self.in_force(), policies.values(), self.now)
        self.born(wanted.slots, dict(wanted.cursors))
        for number, at in wanted.ended:
            self.lines[number] = replace(self.lines[number], until=at)
        for line in wanted.begun:
            self.numbered += 1
            self.lines[self.numbered] = replace(line, id=self.numbered)
        again = changes(self.in_force(), policies.values(), self.now)
        assert (again.ended, again.begun, again.slots) == ((), (), ())

    def situation(self) -> Situation:
        related = {other for each in self.slots.values() for other in related_ids(each, self.policies)}
        over = sorted((run for run in self.runs.values() if run.finished_at), key=lambda run: run.id)
        return Situation(
            policies=self.policies,
            related={each: self.slots[each] for each in related if each in self.slots},
            under_way=self.under_way(),
            good={(run.policy, run.job, run.vault): run for run in over if run.state in GOOD},
            last_backups={run.policy: run for run in over if run.job is Job.BACKUP},
            limits=self.limits,
        )

    def under_way(self) -> tuple[RunRecord, ...]:
        return tuple(run for run in self.runs.values() if run.state is RunState.RUNNING)

    def tick(self) -> Moves:
        """One beat of the scheduler; everything that must hold is looked at."""
        if not self.serves:
            return Moves()
        self.births()
        open_slots = [each for each in self.slots.values() if each.state in OPEN]
        moves = dispatch(open_slots, self.situation(), self.now)
        answers = (moves.closings, moves.starts, moves.waits)
        answered = Counter(each.slot.id for kind in answers for each in kind)
        assert answered == Counter(each.id for each in open_slots if each.state is SlotState.DUE)
        assert moves == dispatch(open_slots[::-1], self.situation(), self.now)
        for closing in moves.closings:
            self.change(closing.slot, closing.state, why=closing.why)
        for wait in moves.waits:
            self.change(wait.slot, SlotState.DUE, why=wait.why)
        for start in moves.starts:
            self.start(start.slot, start.step.read_data)
        self.check()
        return moves

    def start(self, slot: Slot, read_data: str) -> None:
        of_line = [each for each in self.slots.values() if each.line_key == slot.line_key and each.due <= self.now]
        assert max(of_line, key=lambda each: each.nominal).id == slot.id, "not the newest of its line was started"
        assert slot.until is None or self.now < slot.until
        self.numbered += 1
        run = RunRecord(
            id=f"run-{self.numbered:06}",
            job=slot.job,
            tenant=slot.tenant,
            policy=slot.policy,
            site=slot.site,
            vault=slot.vault,
            source_vault=slot.source_vault,
            settings_hash=slot.settings_hash,
            state=RunState.RUNNING,
            owner=OWNER,
            started_at=self.now,
            slot=slot.id,
            result=CheckResult(read_data=read_data) if slot.job is Job.CHECK else None,
        )
        for other in self.under_way():
            assert not clash(run, other), f"{run} beside {other}"
        self.runs[run.id] = run
        self.change(slot, SlotState.RUNNING, run=run.id, attempts=slot.attempts + 1, retry_at=None)

    def end(self, run: RunRecord, outcome: Outcome) -> None:
        self.runs[run.id] = replace(run, state=outcome.state, failure=outcome.failure, finished_at=self.now)
        if run.slot is None:
            return
        slot = self.slots[run.slot]
        before = [each for each in self.runs.values() if each.slot == slot.id and each.id != run.id]
        end = slot_end(slot, outcome, run.id, self.now, before)
        self.change(slot, end.state, why=end.why, retry_at=end.retry_at)

    def by_hand(self, of: Policy, job: Job) -> None:
        """A person runs something, where nothing is in the way."""
        site, vault = of.places[-1]
        self.numbered += 1
        run = RunRecord(
            id=f"run-{self.numbered:06}",
            job=job,
            tenant=of.tenant,
            policy=of.name,
            site=site,
            vault=vault,
            settings_hash="",
            state=RunState.RUNNING,
            owner=OWNER,
            started_at=self.now,
            result=CheckResult(read_data="100%") if job is Job.CHECK else None,
        )
        if not any(clash(run, other) for other in self.under_way()):
            self.runs[run.id] = run

    # --- what must be so at every moment -----------------------------------------------------------------------

    def tally(self, lines: Sequence[Line], until: datetime | None = None) -> Tally:
        rows: dict[int, list[tuple[str, Job, SlotState]]] = {}
        for each in self.slots.values():
            if until is None or each.nominal < until:
                rows.setdefault(each.line, []).append((each.id, each.job, each.state))
        return tally(lines, lambda line: rows.get(line.id, ()), until=until)

    def check(self) -> None:
        everything = self.tally(tuple(self.lines.values()))
        assert everything.adds_up, everything
        assert everything.expected == len(self.slots)
        assert self.tally(tuple(self.lines.values()), self.now - HOUR).adds_up
        running = [each for each in self.slots.values() if each.state is SlotState.RUNNING]
        assert {each.run for each in running} == {run.id for run in self.under_way() if run.slot}
        assert all(count == 1 for count in Counter(each.line_key for each in running).values())
        assert len([run for run in self.under_way() if run.slot]) <= self.limits.runs
        for one, other in combinations(self.under_way(), 2):
            assert not clash(one, other)
        self.freeze()

    def freeze(self) -> None:
        """What is over is over: its figures are the same for ever."""
        still_open = {each.line for each in self.slots.values() if each.state in OPEN}
        for line in self.lines.values():
            if line.until is not None and line.id not in still_open:
                told = repr(self.tally([line]))
                assert self.frozen.setdefault(line.id, told) == told


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
        optional={"replicate": chained, "retention": chained, "check": schedules, "restore_test": schedules},
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


@settings(deadline=None, max_examples=80)
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

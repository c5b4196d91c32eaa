"""A machine whose clock was weeks off: what was made too early is void, and the next true moment runs.

The property is the pure core's, the calendar's and a real ledger's; the daemons are real.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.moves import Closing
from jobs.schedule import occurrences
from jobs.slot import SlotState, Why, WhyKind
from jobs.tally import tally
from orchestrator.ledger.ledger import Ledger
from orchestrator.serve.calendar import Calendar
from orchestrator.serve.chronicle import Chronicle
from orchestrator.serve.clockwatch import BelievedClock, ClockWatch, Opinion
from orchestrator.serve.health import Health
from orchestrator.serve.timekeeper import Timekeeper
from orchestrator.serve.voice import Voice
from targets.host import this_process
from tests.acceptance import oracle
from tests.acceptance.serving import Daemon, SteeredClock, serving
from tests.jobs.making import policy, timetable
from tests.orchestrator.serve.clocks import START, HandClock
from tests.orchestrator.serve.test_daemon_clock import Bench, comes, listens, rest
from tests.orchestrator.serve.test_daemon_clock import operator as operator

HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
WEEKS = 21 * DAY
HALF = 30 * MINUTE
POLICIES = (
    policy("a", timetable=timetable(backup="every 5h", replicate="after backup"), splay=20 * MINUTE),
    policy("b", replica=None, timetable=timetable(backup="daily at 02:30"), zone="Europe/Paris"),
)


class Machine:
    """Boots, is set, is switched off. Its `serve` is what keeps slots, without dispatch: what is due stays due."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.raw = HandClock()
        self.true = START
        self.boot(timedelta())

    def boot(self, off: timedelta) -> None:
        """Another process, under a clock that is off by so much."""
        self.raw.at, self.raw.seconds = self.true + off, 5.0
        watch = ClockWatch(self.raw.now(), self.raw.monotonic(), self.ledger.last_sign())
        self.clock = BelievedClock(self.raw, watch)
        health = Health()
        voice = Voice(lambda _record: None, self.clock, health)
        self.calendar = Calendar(self.ledger)
        chronicle = Chronicle(self.ledger, self.clock, voice, health)
        self.keeper = Timekeeper(self.clock, self.ledger, self.calendar, chronicle, self.testify)
        lease = self.ledger.lease()
        self.lease = self.ledger.take_lease(this_process(), self.clock.now(), over=lease)
        self.calendar.settle(POLICIES, self.clock.now())
        self.tick()

    def testify(self) -> Opinion:
        """A time service keeps the clock, when it is right; it may keep a wrong one for right as well."""
        return Opinion.KEPT if self.is_kept or self.raw.at == self.true else Opinion.UNKNOWN

    is_kept = False

    def set(self, off: timedelta) -> None:
        self.raw.at = self.true + off
        self.tick()

    def go(self, by: timedelta) -> None:
        self.true += by
        self.raw.go(by)
        self.tick()

    def tick(self) -> None:
        """A beat, and another when those who are asked have answered."""
        for _ in range(2):
            self.keeper.look()
            self.keeper.correct()
            self.calendar.born(self.clock.now())
            for thread in threading.enumerate():
                if thread.name == "clock":
                    thread.join()
        self.lease = self.ledger.beat(self.lease, self.clock.now())

    def adds_up(self) -> None:
        with self.ledger.at_one_instant() as instant:
            told = tally(instant.lines(), lambda line: instant.entries(line, None, None), instant.strays(None, None))
        assert told.adds_up, told
        assert told.expected == len(self.ledger.slots())


def off(days: float) -> timedelta:
    return timedelta(days=days)


Act = Callable[[Machine], object]


def outage(length: timedelta, wrong: timedelta, is_kept: bool) -> Act:
    def act(machine: Machine) -> None:
        machine.true += length
        machine.is_kept = is_kept
        machine.boot(wrong)

    return act


offs = st.sampled_from([timedelta(), timedelta(), 3 * HOUR, -3 * HOUR, 20 * HOUR, WEEKS, -WEEKS, 400 * DAY])
acts: st.SearchStrategy[Act] = st.one_of(
    st.builds(lambda by: lambda machine: machine.go(by), st.sampled_from([7 * MINUTE, 61 * MINUTE, 9 * HOUR, 3 * DAY])),
    st.builds(lambda by: lambda machine: machine.set(by), offs),
    st.builds(outage, st.sampled_from([MINUTE, 5 * HOUR, 2 * DAY, WEEKS]), offs, st.booleans()),
)


@settings(deadline=None, max_examples=40)
@given(st.lists(acts, max_size=10))
def test_whatever_the_clock_did_every_true_moment_has_one_slot_and_everything_adds_up(story: list[Act]) -> None:
    with (
        TemporaryDirectory() as folder,
        Ledger.open(f"sqlite:///{folder}/tandem.db", create=True, now=START) as ledger,
    ):
        machine = Machine(ledger)
        for act in story:
            act(machine)
            machine.adds_up()
        outage(MINUTE, timedelta(), is_kept=True)(machine)
        assert machine.clock.now() == machine.true
        assert machine.keeper.believed
        machine.go(2 * DAY)
        machine.adds_up()
        plain = [slot for slot in ledger.slots() if "~" not in slot.id]
        for of in ledger.lines_in_force():
            found = sorted(slot.nominal for slot in plain if slot.line_key == of.key)
            due = [each.at for each in occurrences(of.schedule, of.zone, START, machine.true)]
            if found != due:  # the splay of the last one
                assert found == due[:-1]
                assert due[-1] + of.splay > machine.true


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'tandem.db'}", create=True, now=START) as made:
        yield made


def test_what_was_made_too_early_is_void_by_name_and_dated_when_that_was_found(ledger: Ledger) -> None:
    machine = Machine(ledger)
    machine.is_kept = True
    machine.set(WEEKS)
    many = len(ledger.slots())
    assert many > 100
    machine.set(timedelta())
    void = ledger.slots()
    assert len(void) == many
    assert {slot.state for slot in void} == {SlotState.SKIPPED}
    assert {slot.nominal for slot in void} == {slot.closed_at for slot in void} == {machine.true}
    assert all(slot.id.endswith(f"~{slot.line}") and slot.id.endswith(slot.key) for slot in void)
    why = void[0].why
    assert why is not None
    assert why.kind is WhyKind.CLOCK
    assert why.text == "a clock that was ahead by up to 20 d 23 h made it: it was never due"
    (told,) = [event for event in ledger.events() if "void" in event.text]
    assert told.text.startswith(f"{many} slots of 3 lines were made by a clock that was ahead by up to ")
    machine.adds_up()


def test_a_void_slot_stands_for_no_moment_that_came(ledger: Ledger) -> None:
    """The machine was off for five days whose moments a clock that was ahead had made due, and coalesced."""
    machine = Machine(ledger)
    machine.is_kept = True
    machine.set(WEEKS)
    found = sorted((slot for slot in ledger.slots() if slot.policy == "b"), key=lambda slot: slot.nominal)
    why = Why(kind=WhyKind.NEWER, text=f"{found[-1].id} stands for it", other=found[-1].id)
    closings = [Closing(slot=slot, state=SlotState.COALESCED, why=why) for slot in found[:-1]]
    ledger.close_slots(closings, machine.clock.now(), ())
    outage(5 * DAY, timedelta(), is_kept=True)(machine)
    plain = [slot for slot in ledger.slots() if slot.policy == "b" and "~" not in slot.id]
    assert [slot.state for slot in plain] == [SlotState.MISSED] * 5
    assert {slot.why.kind for slot in plain if slot.why is not None} == {WhyKind.CLOCK}
    assert {slot.closed_at for slot in plain} == {machine.true}
    (told,) = [event for event in ledger.events() if "void" in event.text]
    assert "5 moments that one of them was to stand for are missed" in told.text
    machine.adds_up()


def tells_of(daemon: Daemon, word: str) -> Callable[[], bool]:
    return lambda: word in daemon.health()[1]


def due_since(operator: Bench, start: datetime, newest: datetime) -> list[str]:
    due = [("one", "backup", "primary", at) for at in oracle.every(HALF, start, newest)]
    return oracle.differences(due, operator.ledger)


def has(operator: Bench, at: datetime) -> bool:
    """Whether the backup of that moment was tried: its own."""
    moment = int(at.timestamp() * 1_000_000)
    asked = "SELECT * FROM slot WHERE nominal = ? AND attempts > 0 AND id NOT LIKE '%~%'"
    return bool(oracle.rows(operator.ledger, asked, moment))


def begun(operator: Bench) -> SteeredClock:
    """An operator that served for an hour, and was switched off."""
    operator.policies({"one": ("every 30m", "UTC")})
    clock = SteeredClock.made(operator.folder / "clock", START + 20 * MINUTE)
    with serving(operator.settings, clock, rate=600) as daemon:
        comes(daemon, lambda: len(oracle.slots(operator.ledger)) >= 2)
        rest(daemon, operator, clock)
    return clock


def test_who_boots_three_weeks_ahead_goes_on_from_the_last_sign_of_life_and_is_red(operator: Bench) -> None:
    clock = begun(operator)
    clock.step(WEEKS)
    with serving(operator.settings, clock, rate=600) as daemon:
        listens(daemon, 2)
        comes(daemon, tells_of(daemon, "not believed, because nobody vouches for it"))
        assert daemon.health()[0] == 503
        before = len(oracle.slots(operator.ledger))
        comes(daemon, lambda: len(oracle.slots(operator.ledger)) > before)
        clock.step(-WEEKS)
        comes(daemon, lambda: daemon.health()[0] == 200)
        newest = rest(daemon, operator, clock)
    assert newest < START + DAY
    assert due_since(operator, START + 20 * MINUTE, newest) == []
    assert oracle.void(operator.ledger) == []


def test_an_outage_of_three_weeks_with_a_clock_that_is_kept_begins_by_itself(operator: Bench) -> None:
    clock = begun(operator)
    clock.step(WEEKS)
    clock.vouch(Opinion.KEPT)
    with serving(operator.settings, clock, rate=1) as daemon:
        comes(daemon, lambda: has(operator, operator.newest()) and operator.newest() > START + WEEKS)
        assert daemon.health()[0] == 200
        newest = rest(daemon, operator, clock)
    assert due_since(operator, START + 20 * MINUTE, newest) == []
    (told,) = oracle.rows(operator.ledger, "SELECT * FROM event WHERE topic = 'outage'")
    assert "moments passed" in told["text"]


@pytest.mark.parametrize("restarts", [False, True], ids=["without a restart", "with a restart"])
def test_three_weeks_ahead_that_were_believed_are_taken_back_and_the_next_moment_runs(
    operator: Bench, restarts: bool
) -> None:
    clock = begun(operator)
    clock.step(WEEKS)
    clock.vouch(Opinion.KEPT)
    with serving(operator.settings, clock, rate=1) as daemon:
        comes(daemon, lambda: has(operator, operator.newest()) and operator.newest() > START + WEEKS)
        if restarts:
            assert daemon.stop() == 0
        clock.step(-WEEKS)
        if not restarts:
            finish(daemon, operator, clock)
    if restarts:
        with serving(operator.settings, clock, rate=1) as daemon:
            finish(daemon, operator, clock)
    void = oracle.void(operator.ledger)
    assert len(void) > 900
    assert {row["state"] for row in void if row["run"] is None} == {"skipped"}
    assert [row["state"] for row in void if row["run"] is not None] == ["failed"]  # it ran, and did what it did
    assert oracle.contradictions(operator.ledger) == []


def finish(daemon: Daemon, operator: Bench, clock: SteeredClock) -> None:
    """The clock is right again: the next moment runs, and everything adds up."""
    comes(daemon, lambda: bool(oracle.void(operator.ledger)))
    coming = next(at for at in oracle.every(HALF, START, START + WEEKS) if at > clock.now())
    clock.go(600)
    comes(daemon, lambda: has(operator, coming))
    comes(daemon, lambda: daemon.health()[0] == 200)
    newest = rest(daemon, operator, clock)
    assert newest < START + DAY
    assert due_since(operator, START + 20 * MINUTE, newest) == []


def test_a_clock_that_nobody_vouches_for_waits_for_a_person_who_does(operator: Bench) -> None:
    clock = begun(operator)
    clock.step(60 * DAY)
    with serving(operator.settings, clock, rate=600) as daemon:
        listens(daemon, 2)
        comes(daemon, tells_of(daemon, "not believed"))
        comes(daemon, lambda: clock.now() > START + 60 * DAY + 3 * HOUR)
        assert daemon.health()[0] == 503
        assert operator.newest() < START + DAY
        clock.go(1)
        assert daemon.stop() == 0
    with serving(operator.settings, clock, rate=1, trust_clock=True) as daemon:
        comes(daemon, lambda: has(operator, operator.newest()) and operator.newest() > START + 60 * DAY)
        newest = rest(daemon, operator, clock)
    assert due_since(operator, START + 20 * MINUTE, newest) == []

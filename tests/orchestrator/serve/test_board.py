"""What the board has in memory is what the ledger holds, whoever wrote it."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.dispatch import Moves
from jobs.failure import Failure, FailureKind
from jobs.history import Job, Outcome, Owner, RunRecord, RunState
from jobs.plan import step_of
from jobs.slot import SlotState, WhyKind
from orchestrator.executor import intent
from orchestrator.ledger.ledger import Ledger, LedgerError
from orchestrator.recovery import slot_ending
from orchestrator.serve.board import Board
from orchestrator.serve.calendar import Calendar
from tests.orchestrator.ledger.build import repository
from tests.orchestrator.serve.stage import ALONE, HOUR, HOURLY, START, Stage

OWNER: Final = Owner(host="alpha", boot="3b0c/pid:[1]", pid=4711, started="99")
ENDS: Final = (
    Outcome(state=RunState.SUCCEEDED),
    Outcome(state=RunState.PARTIAL),
    Outcome(state=RunState.FAILED, failure=Failure(kind=FailureKind.SOURCE_MISSING, message="it is not there")),
    Outcome(state=RunState.FAILED, failure=Failure(kind=FailureKind.KILLED, message="it was killed")),
    Outcome(state=RunState.INTERRUPTED, note="cut off"),
)
CHECKED: Final = HOURLY.replace("[policies.files]", '[policies.files]\nverify = {{ check = "every 3h" }}').replace(
    "retention = {{ last = 2, minimum = 1 }}",
    'retention = {{ last = 2, minimum = 1 }}\nretention_schedule = "every 2h"',
)


class World:
    """A daemon's board on a ledger that others write as well."""

    def __init__(self, folder: Path, ledger: Ledger, text: str = CHECKED) -> None:
        self.stage = Stage(folder, ledger, text=text, names=("files", "more"))
        self.ledger, self.clock = ledger, self.stage.clock
        for vault in ("primary", "secondary"):  # else one run at a time would make it
            ledger.remember(repository("minfopra", vault))
        self.calendar = Calendar(ledger)
        self.calendar.settle(self.stage.settings.policies, self.clock.now())
        self.board = Board(ledger)
        self.begun: list[RunRecord] = []

    def passes(self, dice: random.Random) -> None:
        self.clock.go(timedelta(minutes=dice.choice([1, 20, 61, 190])))
        self.board.add(self.calendar.born(self.clock.now()))

    def dispatch(self, _dice: random.Random) -> None:
        for start in self.stage.moves(self.board).starts:
            self.clock.go(timedelta(seconds=1))  # else chance decides which run is the last: their ids do
            run = intent(start.step, self.clock.now(), OWNER, tool="", slot=start.slot.id)
            self.ledger.claim(run, slot=run.slot)
            self.begun.append(run)

    def ends(self, dice: random.Random) -> None:
        if not self.begun:
            return
        run, outcome, now = self.begun.pop(dice.randrange(len(self.begun))), dice.choice(ENDS), self.clock.now()
        end, events = slot_ending(self.ledger, run, outcome, now)
        self.ledger.finish(run.id, OWNER, outcome, now, slot_end=end, events=events)
        record = self.ledger.run(run.id)
        assert record is not None
        assert run.slot is not None
        self.board.done(record)
        self.board.refresh(run.slot)

    def is_given_up(self, dice: random.Random) -> None:
        """By a person: nobody tells the board."""
        if self.begun:
            self.ledger.give_up(self.begun.pop(dice.randrange(len(self.begun))).id, self.clock.now(), "gone")

    def by_hand(self, dice: random.Random) -> None:
        """A person's own run, from its beginning to its end."""
        policy = dice.choice(list(self.stage.policies.values()))
        if any(run.policy == policy.name for run in self.ledger.open_runs()):
            return
        self.clock.go(timedelta(seconds=1))
        job = dice.choice([Job.BACKUP, Job.CHECK])
        step = step_of(policy, job, policy.places[0], source=None, read_data="all")
        outcome, now = dice.choice(ENDS), self.clock.now()
        run = intent(step, now, OWNER, tool="")
        self.ledger.record(replace(run, state=outcome.state, failure=outcome.failure, finished_at=now))

    def edit(self, dice: random.Random) -> None:
        names = dice.choice([("files",), ("files", "more"), ("files", "others")])
        self.stage.settle(*names, **dice.choice([{}, {"every 60m": "every 45m"}]))
        self.board.add(self.calendar.settle(self.stage.settings.policies, self.clock.now()))
        self.board.look_again()

    def is_refused(self, dice: random.Random) -> None:
        """The ledger is away for one beat."""
        file = self.stage.folder / "tandem.db"
        self.ledger.close()
        file.rename(file.with_name("aside"))
        file.mkdir()
        with pytest.raises(LedgerError):
            self.dispatch(dice)
        with pytest.raises(LedgerError):
            self.board.load()
        file.rmdir()
        file.with_name("aside").rename(file)
        self.board.is_stale()

    def agrees(self) -> None:
        """A board that was made this moment comes to the same."""
        assert _said(self.stage, self.board) == _said(self.stage, Board(self.ledger))
        assert len(self.board) == len(self.ledger.open_slots())


def _said(stage: Stage, board: Board) -> Moves:
    return board.moves(stage.policies, stage.settings.limits.concurrency, (), stage.clock.now())


STEPS: Final = ("passes", "dispatch", "dispatch", "ends", "ends", "is_given_up", "by_hand", "edit", "is_refused")


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), steps=st.lists(st.sampled_from(STEPS), min_size=10, max_size=40))
def test_whatever_happened_it_comes_to_what_one_comes_to_that_was_made_this_moment(seed: int, steps: list[str]) -> None:
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Ledger.open(f"sqlite:///{folder / 'tandem.db'}", create=True, now=START) as ledger:
            world = World(folder, ledger)
            for step in ("passes", "dispatch", *steps):
                getattr(world, step)(dice)
                world.agrees()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Ledger.open(f"sqlite:///{tmp_path / 'tandem.db'}", create=True, now=START) as ledger:
        yield World(tmp_path, ledger, ALONE)


def states(world: World) -> list[SlotState]:
    return sorted(slot.state for slot in world.ledger.slots())


def test_a_run_that_a_person_gives_up_frees_its_slot_without_a_restart(world: World) -> None:
    dice = random.Random(1)
    world.clock.go(HOUR)
    world.board.add(world.calendar.born(world.clock.now()))
    world.dispatch(dice)
    assert states(world) == [SlotState.RUNNING] * 2
    world.agrees()
    world.is_given_up(dice)
    world.clock.go(timedelta(seconds=31))
    assert world.board.is_to_be_looked_at(world.clock.now())
    world.dispatch(dice)
    assert states(world) == [SlotState.RUNNING] * 2
    assert len(world.ledger.runs()) == 3


def test_a_quiet_second_is_not_looked_at_and_thirty_are(world: World) -> None:
    now = world.clock.now()
    assert not world.board.is_to_be_looked_at(now)  # nothing is open
    world.clock.go(HOUR)
    world.board.add(world.calendar.born(world.clock.now()))
    assert world.board.is_to_be_looked_at(world.clock.now())
    world.dispatch(random.Random(1))
    for seconds, looked in ((1, False), (26, False), (1, True)):
        world.clock.go(timedelta(seconds=seconds))
        assert world.board.is_to_be_looked_at(world.clock.now()) is looked
    world.dispatch(random.Random(1))
    assert not world.board.is_to_be_looked_at(world.clock.now())
    world.board.is_stale()
    assert world.board.is_to_be_looked_at(world.clock.now())


def test_what_waits_says_why_in_memory_as_on_record(world: World) -> None:
    world.stage.settle("files", "more", "third")
    world.calendar.settle(world.stage.settings.policies, world.clock.now())
    world.clock.go(HOUR)
    world.board.add(world.calendar.born(world.clock.now()))
    made = world.stage.moves(world.board)
    (waits,) = made.waits
    assert waits.why.kind is WhyKind.LIMIT
    on_record = world.ledger.slot(waits.slot.id)
    assert on_record is not None
    assert on_record.why == waits.why
    (again,) = _said(world.stage, world.board).waits
    assert again.slot == on_record

"""Whatever is tried in whatever order: what the table of states allows is done, and nothing else changes anything."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from jobs.claim import conflict
from jobs.dispatch import Closing
from jobs.event import Event
from jobs.history import TRANSITIONS, Outcome, RunRecord, RunState
from jobs.policy import PolicyName
from jobs.retry import SlotEnd
from jobs.slot import FINAL, OPEN, SLOT_TRANSITIONS, Slot, SlotState
from orchestrator.ledger.ledger import Ledger, LedgerError
from tests.orchestrator.ledger.build import NEWER, OWNER, RAN, STRANGER, closed, happening, later, repository, run, slot

STEPS = 120
POLICIES = [PolicyName(name) for name in ("files", "mail", "web")]
MOSTLY = 0.7  # of the tries are made to fit


@dataclass(frozen=True, kw_only=True)
class Try:
    """What is asked of the ledger, whether it has to do it, and what there is once it did."""

    ask: Callable[[], None]
    allowed: bool
    slots: list[Slot] = field(default_factory=list)
    runs: list[RunRecord] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)


class Walk:
    """A ledger, and what has to be in it."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self.ledger = ledger
        self.rng = random.Random(seed)
        self.slots: dict[str, Slot] = {}
        self.runs: dict[str, RunRecord] = {}
        self.told: list[str] = []
        self.now = later(days=1)
        self.done: Counter[str] = Counter()
        ledger.remember(repository())

    def step(self) -> None:
        self.now += timedelta(minutes=1)
        move: Callable[[], Try] = self.rng.choice(
            [self.bear, self.claim, self.claim, self.finish, self.resolve, self.close, self.wait]
        )
        tried = move()
        self.done[f"{move.__name__} {tried.allowed}"] += 1
        if tried.allowed:
            tried.ask()
            self.slots |= {one.id: one for one in tried.slots}
            self.runs |= {one.id: one for one in tried.runs}
            self.told += [event.text for event in tried.told]
        else:
            with pytest.raises((LedgerError, ValueError)):
                tried.ask()
        self.compare()

    def compare(self) -> None:
        by_due = sorted(self.slots.values(), key=lambda one: (one.due, one.id))
        assert self.ledger.slots() == tuple(reversed(by_due))
        assert self.ledger.open_slots() == tuple(one for one in by_due if one.state in OPEN)
        counts = self.ledger.slot_counts()
        assert sum(counts.values()) == len(self.slots)
        assert counts == {state: sum(one.state is state for one in by_due) for state in SlotState}
        assert {one.id: one for one in self.ledger.runs()} == self.runs
        assert [event.text for event in self.ledger.events()] == self.told
        running = {(one.id, one.run) for one in by_due if one.state is SlotState.RUNNING}
        assert running == {(one.slot, one.id) for one in self.ledger.open_runs() if one.slot}

    def telling(self) -> list[Event]:
        return [happening(len(self.told) + number, at=self.now) for number in range(self.rng.randrange(3))]

    def one_of(self, state: SlotState) -> Slot:
        """One of the slots; mostly in that state, where there is one, and sometimes one that nobody ever saw."""
        fit = [one for one in self.slots.values() if one.state is state]
        if fit and self.rng.random() < MOSTLY:
            return self.rng.choice(fit)
        return self.rng.choice([*self.slots.values(), slot(999)])

    def a_run(self) -> RunRecord:
        fit = [one for one in self.runs.values() if one.state is RunState.RUNNING]
        if fit and self.rng.random() < MOSTLY:
            return self.rng.choice(fit)
        return self.rng.choice([*self.runs.values(), run(999)])

    # --- what is tried ------------------------------------------------------------------------------------------------

    def bear(self) -> Try:
        wanted = [
            self.rng.choice([slot, closed])(self.rng.randrange(40), policy=self.rng.choice(POLICIES), known_at=self.now)
            for _ in range(self.rng.randrange(4))
        ]
        wanted = list({one.id: one for one in wanted}.values())
        told = [happening(len(self.told) + n, subject=one.id, key="") for n, one in enumerate(wanted)]
        new = [one.id not in self.slots for one in wanted]
        return Try(
            ask=lambda: self.ledger.born(wanted, {}, told),
            allowed=True,
            slots=[one for one, is_new in zip(wanted, new, strict=True) if is_new],
            told=[event for event, is_new in zip(told, new, strict=True) if is_new],
        )

    def claim(self) -> Try:
        due = self.one_of(SlotState.DUE)
        wanted = run(len(self.runs), policy=self.rng.choice([due.policy, *POLICIES]), slot=due.id)
        under_way = [one for one in self.runs.values() if one.state is RunState.RUNNING]
        is_due = due.id in self.slots and due.state is SlotState.DUE
        return Try(
            ask=lambda: self.ledger.claim(wanted),
            allowed=is_due and conflict(under_way, wanted) is None,
            slots=[
                replace(due, state=SlotState.RUNNING, run=wanted.id, attempts=due.attempts + 1, why=None, retry_at=None)
            ],
            runs=[wanted],
        )

    def finish(self) -> Try:
        owner = OWNER if self.rng.random() < MOSTLY else STRANGER
        return self._end(
            lambda record, *ending, **rest: self.ledger.finish(record, owner, *ending, **rest), owner == OWNER
        )

    def resolve(self) -> Try:
        return self._end(self.ledger.resolve, allowed=True)

    def _end(self, ask: Callable[..., None], allowed: bool) -> Try:
        record, told = self.a_run(), self.telling()
        theirs = self.slots.get(record.slot or "")
        of = theirs if theirs and self.rng.random() < MOSTLY else self.one_of(SlotState.RUNNING)
        outcome = Outcome(state=self.rng.choice(list(RunState)), note=f"at {self.now}")
        ending = SlotEnd(slot=of.id, state=self.rng.choice(list(SlotState)), why=RAN, retry_at=self._retry_at())
        again = ending.state is SlotState.DUE
        return Try(
            ask=lambda: ask(record.id, outcome, self.now, slot_end=ending, events=told),
            allowed=allowed
            and record.state is RunState.RUNNING
            and record.id in self.runs
            and outcome.state in TRANSITIONS[RunState.RUNNING]
            and (of.state, of.run) == (SlotState.RUNNING, record.id)
            and ending.state in SLOT_TRANSITIONS[SlotState.RUNNING],
            slots=[
                replace(
                    of,
                    state=ending.state,
                    why=RAN,
                    retry_at=ending.retry_at if again else None,
                    closed_at=None if again else self.now,
                )
            ],
            runs=[replace(record, state=outcome.state, note=outcome.note, finished_at=self.now)],
            told=told,
        )

    def _retry_at(self) -> datetime | None:
        return self.rng.choice([None, self.now + timedelta(minutes=5)])

    def close(self) -> Try:
        wanted = [self.one_of(SlotState.DUE) for _ in range(self.rng.randrange(1, 3))]
        good = [state for state in SlotState if state in SLOT_TRANSITIONS[SlotState.DUE] & FINAL]
        state = self.rng.choice(good if self.rng.random() < MOSTLY else list(SlotState))
        told = self.telling()
        return Try(
            ask=lambda: self.ledger.close_slots(
                [Closing(slot=one, state=state, why=NEWER) for one in wanted], self.now, told
            ),
            allowed=state in good
            and all(one.id in self.slots and one.state is SlotState.DUE for one in wanted)
            and len({one.id for one in wanted}) == len(wanted),
            slots=[replace(one, state=state, why=NEWER, closed_at=self.now, retry_at=None) for one in wanted],
            told=told,
        )

    def wait(self) -> Try:
        why = replace(NEWER, text=f"at {self.now}")
        wanted = {self.one_of(SlotState.DUE).id: why for _ in range(3)}
        return Try(
            ask=lambda: self.ledger.wait_slots(wanted),
            allowed=True,
            slots=[
                replace(one, why=why) for one in self.slots.values() if one.id in wanted and one.state is SlotState.DUE
            ],
        )


@pytest.mark.parametrize("seed", [1, 2])
def test_states_add_up_whatever_is_tried_and_what_is_refused_changes_nothing(ledger: Ledger, seed: int) -> None:
    walk = Walk(ledger, seed)
    for _ in range(STEPS):
        walk.step()
    for name in ("claim", "finish", "resolve", "close"):
        for allowed in (True, False):
            assert walk.done[f"{name} {allowed}"], "this walk has shown nothing of it"

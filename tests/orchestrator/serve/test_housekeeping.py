"""Once a day the ledger is tidied: what is too old goes, its sums stay, and what was changed by other means is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from jobs.agenda import births
from jobs.event import Topic
from jobs.policy import TenantName
from jobs.slot import SlotState
from jobs.tally import Tally
from orchestrator.ledger.ledger import Ledger
from orchestrator.reporting import due
from orchestrator.serve.housekeeping import Housekeeping
from tests.orchestrator.ledger.build import RAN, happening, line, message, over
from tests.orchestrator.serve.clocks import START, HandClock

DAY = timedelta(days=1)
KEEP = 90 * DAY
LIVED = 100


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: HandClock) -> Iterator[Ledger]:
    """A hundred days of two policies: a slot, a run and an event each day."""
    with Ledger.open(f"sqlite:///{tmp_path / 'tandem.db'}", create=True, now=START) as made:
        began = START - LIVED * DAY
        made.put_lines((), [line(name, since=began, cursor=began) for name in ("files", "mail")])
        for each in made.lines_in_force():
            born = births(each, START)
            slots = [replace(slot, state=SlotState.SUCCEEDED, why=RAN, closed_at=slot.known_at) for slot in born.slots]
            made.born(slots, {each.id: born.cursor})
            for number, slot in enumerate(slots):
                made.record(over(LIVED * each.id + number, policy=each.policy, started_at=slot.due, slot=slot.id))
        made.add_events([happening(number, at=began + number * DAY) for number in range(LIVED)])
        made.queue([message(1, made_at=began, next_at=began)], LIVED)
        yield made


def housekeeping(ledger: Ledger, clock: HandClock, most: int = 10**9) -> Housekeeping:
    """One that is told to stop after so many pieces."""
    asked = iter(range(most))
    return Housekeeping(ledger, clock, lambda _seconds: next(asked, None) is None)


def told(ledger: Ledger) -> list[str]:
    return [event.text for event in ledger.events() if event.topic is Topic.LEDGER_TRIMMED]


def assert_it_adds_up(ledger: Ledger, now: datetime) -> int:
    counted = due.reckoned(ledger, (), None, None, now)
    assert counted.adds_up
    assert counted.found == 2 * LIVED
    rows = due.reckoned(ledger, (), START - 2 * LIVED * DAY, None, now)
    assert rows.adds_up
    assert rows.found + rows.removed == 2 * LIVED
    return rows.removed


def test_what_is_too_old_goes_and_its_sums_stay(ledger: Ledger, clock: HandClock) -> None:
    kept = housekeeping(ledger, clock)
    kept.step(KEEP)
    removed = assert_it_adds_up(ledger, START)
    assert removed == 2 * (LIVED - 90)
    midnight = START.replace(hour=0) - KEEP
    assert min(slot.due for slot in ledger.slots()) > midnight
    older = [run for run in ledger.runs() if run.started_at < midnight]
    assert {run.policy for run in older} == {"files", "mail"}
    assert len(older) == 2, "of each the last success before that: a report of that day is judged by it"
    assert min(event.at for event in ledger.events()) >= midnight
    assert len(ledger.notices()) == 1, "it is not delivered yet"
    begin = f"Older than {midnight:%Y-%m-%d} and removed, as [ledger] keep says: {removed} slots, {removed - 2} runs, "
    (text,) = told(ledger)
    assert text.startswith(begin)


@pytest.mark.parametrize("slots", [True, False])
def test_a_report_says_since_when_runs_are_kept(ledger: Ledger, clock: HandClock, slots: bool) -> None:
    """By the slots' sums, and by the event where there are none: of a tenant who has no slots, for one."""
    began, limit = START - LIVED * DAY, START - KEEP
    midnight = limit.replace(hour=0, minute=0)

    def counted(start: datetime) -> Tally:
        return due.of_period(ledger, start, START, None if slots else TenantName("other")).counted

    assert due.kept_since(ledger, began, limit, counted(began)) is None, "nothing was removed yet"
    housekeeping(ledger, clock).step(KEEP)
    later = HandClock().now() + DAY
    assert due.kept_since(ledger, began, limit, counted(began)) == midnight
    assert due.kept_since(ledger, midnight, limit, counted(midnight)) is None, "all of that time is kept"
    if slots:
        assert due.kept_since(ledger, began, later - 2 * LIVED * DAY, counted(began)) == midnight, "kept longer now"


def test_it_is_done_once_a_day(ledger: Ledger, clock: HandClock) -> None:
    kept = housekeeping(ledger, clock)
    for hours in (0, 1, 12):
        clock.go(timedelta(hours=hours))
        kept.step(KEEP)
        assert len(told(ledger)) == 1
    clock.go(DAY)
    kept.step(KEEP)
    assert len(told(ledger)) == 2
    assert assert_it_adds_up(ledger, START) == 2 * (LIVED - 90) + 2


def test_nothing_is_removed_where_all_is_young(ledger: Ledger, clock: HandClock) -> None:
    housekeeping(ledger, clock).step(timedelta(days=3660))
    assert assert_it_adds_up(ledger, START) == 0
    assert (len(ledger.runs()), told(ledger)) == (2 * LIVED, [])


def test_one_that_is_cut_off_goes_on_where_it_was(ledger: Ledger, clock: HandClock) -> None:
    removed = 0
    for pieces in range(0, 40, 3):
        housekeeping(ledger, clock, pieces).step(KEEP)
        now_removed = assert_it_adds_up(ledger, START)
        assert now_removed >= removed
        removed = now_removed
    housekeeping(ledger, clock).step(KEEP)
    assert assert_it_adds_up(ledger, START) == 2 * (LIVED - 90)


def test_slots_that_do_not_add_up_stay_whatever_their_age(ledger: Ledger, clock: HandClock) -> None:
    with ledger._database.writing("change") as transaction:
        transaction.change("DELETE FROM slot WHERE id = (SELECT min(id) FROM slot WHERE policy = 'mail')", {})
    housekeeping(ledger, clock).step(KEEP)
    counted = due.reckoned(ledger, (), None, None, START)
    assert (counted.missing_count, counted.removed) == (1, LIVED - 90)
    assert len(ledger.slots(policy="mail")) == LIVED - 1


def test_what_was_changed_by_other_means_is_told(ledger: Ledger, clock: HandClock) -> None:
    kept = housekeeping(ledger, clock)
    kept.step(10 * KEEP)
    with ledger._database.writing("change") as transaction:
        transaction.change("UPDATE slot_sum SET failed = failed + 1", {})
    for _ in range(31):
        clock.go(DAY)
        kept.step(10 * KEEP)
    assert [event.topic for event in ledger.events() if event.topic is Topic.INTERNAL] == [Topic.INTERNAL] * 2
    assert_it_adds_up(ledger, START)

"""Lines and slots on both databases: each due moment once, each move from a known state, and with it what is told."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.dispatch import Closing
from jobs.event import Topic
from jobs.failure import BUSY_OR_LOCKED, Failure, FailureKind
from jobs.history import Job, Outcome, RunRecord, RunState
from jobs.policy import PolicyName, TenantName, VaultName
from jobs.retry import CRASHES, SlotEnd, slot_end
from jobs.slot import GOOD, SLOT_TRANSITIONS, Slot, SlotState, Why, WhyKind
from orchestrator.ledger.ledger import Busy, Ledger, Superseded
from tests.orchestrator.ledger.build import (
    DONE,
    NEWER,
    NOW,
    OWNER,
    RAN,
    STRANGER,
    closed,
    happening,
    later,
    line,
    over,
    run,
    slot,
)

AGAIN = Why(kind=WhyKind.RETRY, text="the network was cut", other=run().id)
HELD = Why(kind=WhyKind.HELD, text="a check holds the repository", other="20261121T203000Z-00000000")


def ended(state: SlotState = SlotState.SUCCEEDED, **changes: Any) -> SlotEnd:
    return replace(SlotEnd(slot=slot().id, state=state, why=RAN), **changes)


def running(ledger: Ledger) -> RunRecord:
    """The first run, an attempt at the first slot."""
    ledger.born([slot()], {})
    record = run(slot=slot().id)
    ledger.claim(record)
    return record


# --- lines ------------------------------------------------------------------------------------------------------------


def test_lines_are_put_in_force_and_numbered(ledger: Ledger) -> None:
    whole = line(
        "mail",
        source_vault=VaultName("two"),
        after=Job.BACKUP,
        splay=timedelta(minutes=10),
        catch_up=timedelta(hours=6, microseconds=1),
    )
    made = ledger.put_lines([], [line(), whole])
    assert [replace(one, id=0) for one in made] == [line(), whole]
    assert 0 < made[0].id < made[1].id
    assert ledger.lines_in_force() == made
    assert ledger.put_lines([], []) == ()


def test_an_edit_ends_a_line_and_begins_another_in_its_place(ledger: Ledger) -> None:
    (old, other) = ledger.put_lines([], [line(), line("mail")])
    (new,) = ledger.put_lines([(old.id, later(hours=5))], [line(settings_hash="ed17", since=later(hours=5))])
    assert ledger.lines_in_force() == (new, other)
    assert ledger.lines() == (replace(old, until=later(hours=5)), other, new)


@pytest.mark.parametrize(
    ("which", "begun", "why"),
    [
        ([2], [line("other")], "line 2 is not in force"),
        ([1], [line("mail")], "line 1 is not in force"),
        ([], [line("other"), line("files")], "files backup one is in force already"),
    ],
    ids=["never was", "ended before", "begun before"],
)
def test_what_another_process_put_in_force_is_not_touched(
    ledger: Ledger, which: list[int], begun: list[Any], why: str
) -> None:
    (first,) = ledger.put_lines([], [line("gone")])
    ledger.put_lines([(first.id, NOW)], [])
    ledger.born([], {})
    (standing,) = ledger.put_lines([], [line("files")])
    before = ledger.lines()
    numbers = {1: first.id, 2: standing.id + 1}
    with pytest.raises(
        Superseded, match=why.replace("line 2", f"line {numbers[2]}").replace("line 1", f"line {first.id}")
    ):
        ledger.put_lines([(numbers[number], NOW) for number in which], begun)
    assert ledger.lines() == before


@pytest.mark.parametrize("begun", [[line(), line()], [line(until=NOW)]], ids=["twice the same", "over already"])
def test_lines_that_could_not_all_be_in_force_are_a_mistake(ledger: Ledger, begun: list[Any]) -> None:
    with pytest.raises(ValueError, match="one line can begin"):
        ledger.put_lines([], begun)
    assert ledger.lines() == ()


# --- born -------------------------------------------------------------------------------------------------------------


def test_a_slot_is_born_once_however_often_it_is_found_due(ledger: Ledger) -> None:
    (first,) = ledger.put_lines([], [line()])
    ledger.born([slot(1), slot(2)], {first.id: slot(2).nominal})
    ledger.born([slot(2, known_at=later(days=9)), slot(3)], {first.id: slot(3).nominal})
    assert ledger.open_slots() == (slot(1), slot(2), slot(3))
    assert {slot.key for slot in ledger.slots() if slot.line == 1} == {"U1", "U2", "U3"}
    assert ledger.lines_in_force()[0].cursor == slot(3).nominal


def test_a_slot_that_came_to_an_end_is_not_opened_by_being_found_due_again(ledger: Ledger) -> None:
    ledger.born([slot(1)], {})
    ledger.close_slots([Closing(slot=slot(1), state=SlotState.MISSED, why=NEWER)], later(days=1))
    before = ledger.slots()
    ledger.born([slot(1)], {})
    assert ledger.slots() == before


def test_everything_a_slot_is_comes_back(ledger: Ledger) -> None:
    whole = slot(
        1,
        source_vault=VaultName("two"),
        until=None,
        after=Job.BACKUP,
        why=replace(HELD, text="\udcff\x00 — voilà"),
        retry_at=later(microseconds=1),
        attempts=3,
        run="r",
    )
    ledger.born([whole, closed(2)], {})
    assert ledger.slot(whole.id) == whole
    assert ledger.slot(closed(2).id) == closed(2)
    assert ledger.slot("nowhere") is None


def test_a_cursor_never_goes_back(ledger: Ledger) -> None:
    (first,) = ledger.put_lines([], [line()])
    for cursor in (later(hours=9), later(hours=2)):
        ledger.born([], {first.id: cursor, 4711: cursor})
        assert ledger.lines_in_force()[0].cursor == later(hours=9)


def test_what_is_told_of_a_slot_is_not_told_again_when_it_is_there_already(ledger: Ledger) -> None:
    mail = slot(1, policy=PolicyName("mail"))
    ledger.born([slot(1)], {}, [happening(1, subject=slot(1).id)])
    ledger.born(
        [slot(1), slot(2), mail],
        {},
        [
            happening(1, subject=slot(1).id, key=""),
            happening(2, subject=slot(2).id, key=""),
            happening(3, key=slot(1).id),
            happening(4, key="mail/backup/one"),
            happening(5, key="the clock"),
        ],
    )
    ledger.born([slot(1), mail], {}, [happening(6, key="files/backup/one"), happening(7, key="mail/backup/one")])
    assert [event.text for event in ledger.events()] == ["event 1", "event 2", "event 4", "event 5"]


def test_ten_thousand_slots_are_born_in_one_go(ledger: Ledger) -> None:
    many = [slot(number) for number in range(10_000)]
    ledger.born(many[:5000], {})
    ledger.born(many, {}, [happening(number, subject=one.id, key="") for number, one in enumerate(many) if number % 2])
    assert len(ledger.open_slots()) == 10_000
    assert len(ledger.events()) == 2500


# --- asking for slots -------------------------------------------------------------------------------------------------


def test_slots_are_found_by_what_they_are_newest_due_first_and_counted(ledger: Ledger) -> None:
    rng = random.Random(20261121)
    every = [
        (slot if state in {SlotState.DUE} else closed)(
            number,
            policy=PolicyName(rng.choice(["files", "mail"])),
            tenant=TenantName(rng.choice(["north", "south"])),
            job=rng.choice(list(Job)),
            state=state,
            nominal=later(hours=number // 3),  # several of one instant, told apart by their ids
            due=later(hours=number // 3, minutes=number % 3),
        )
        for number, state in enumerate(rng.choices([one for one in SlotState if one is not SlotState.RUNNING], k=60))
    ]
    ledger.born(rng.sample(every, len(every)), {})
    newest_first = sorted(every, key=lambda one: (one.due, one.id), reverse=True)
    wanted: list[tuple[dict[str, Any], Callable[[Slot], bool]]] = [
        ({}, lambda _: True),
        ({"policy": "mail"}, lambda one: one.policy == "mail"),
        ({"tenant": "south", "job": Job.CHECK}, lambda one: (one.tenant, one.job) == ("south", Job.CHECK)),
        ({"states": GOOD}, lambda one: one.state in GOOD),
        ({"states": ()}, lambda _: False),
        (
            {"since": later(hours=3), "until": later(hours=9, minutes=1)},
            lambda one: later(hours=3) <= one.due < later(hours=9, minutes=1),
        ),
    ]
    for filters, holds in wanted:
        assert list(ledger.slots(**filters)) == [one for one in newest_first if holds(one)]
        if filters.keys() <= {"since", "until", "tenant", "policy"}:
            counted = Counter(one.state for one in every if holds(one))
            assert ledger.slot_counts(**filters) == {state: counted[state] for state in SlotState}
    assert list(ledger.slots(limit=7)) == newest_first[:7]
    assert list(ledger.open_slots()) == [one for one in reversed(newest_first) if one.state is SlotState.DUE]


# --- closing and waiting ----------------------------------------------------------------------------------------------


def test_due_slots_are_closed_without_a_run_and_told_of(ledger: Ledger) -> None:
    ledger.born([slot(1), slot(2, why=HELD, retry_at=later(hours=9))], {})
    closings = [
        Closing(slot=slot(1), state=SlotState.COALESCED, why=NEWER),
        Closing(slot=slot(2), state=SlotState.BLOCKED, why=HELD),
    ]
    ledger.close_slots(closings, later(days=1), [happening(1), happening(2)])
    ledger.close_slots([], later(days=2))
    assert ledger.open_slots() == ()
    assert [(one.state, one.why, one.closed_at, one.retry_at) for one in ledger.slots()] == [
        (SlotState.BLOCKED, HELD, later(days=1), None),
        (SlotState.COALESCED, NEWER, later(days=1), None),
    ]
    assert [event.text for event in ledger.events()] == ["event 1", "event 2"]


@pytest.mark.parametrize(
    "other", [slot(2), slot(3), slot(4), slot(1)], ids=["running", "closed", "unheard of", "twice"]
)
def test_of_several_slots_one_that_is_not_due_keeps_all_from_being_closed(ledger: Ledger, other: Slot) -> None:
    ledger.born([slot(1), slot(2), closed(3)], {})
    ledger.claim(run(slot=slot(2).id))
    before = ledger.slots()
    with pytest.raises(Superseded, match=other.id) as refusal:
        ledger.close_slots(
            [Closing(slot=one, state=SlotState.MISSED, why=NEWER) for one in (slot(1), other)], NOW, [happening()]
        )
    assert refusal.value.failure.exit_code == BUSY_OR_LOCKED
    assert (ledger.slots(), ledger.events()) == (before, ())


@pytest.mark.parametrize("state", [SlotState.DUE, SlotState.RUNNING, *sorted(GOOD)])
def test_a_slot_cannot_end_well_without_a_run_nor_not_end(ledger: Ledger, state: SlotState) -> None:
    ledger.born([slot()], {})
    with pytest.raises(ValueError, match=state):
        ledger.close_slots([Closing(slot=slot(), state=state, why=RAN)], NOW)
    assert ledger.open_slots() == (slot(),)


def test_why_a_slot_waits_is_noted_while_it_is_due(ledger: Ledger) -> None:
    ledger.born([slot(1), slot(2), closed(3)], {})
    running_one = run(slot=slot(2).id)
    ledger.claim(running_one)
    ledger.wait_slots({slot(1).id: HELD, slot(2).id: HELD, closed(3).id: HELD, "nowhere": HELD})
    assert [one.why for one in ledger.open_slots()] == [HELD, None]
    assert ledger.slot(closed(3).id) == closed(3)
    ledger.wait_slots({slot(1).id: replace(HELD, text="another one does")})
    assert ledger.open_slots()[0].why == replace(HELD, text="another one does")
    ledger.wait_slots({})


def test_where_no_reason_is_new_nobody_waits_for_a_turn_to_write(tmp_path: Path) -> None:
    with (
        Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", create=True, now=NOW) as ledger,
        closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as another,
    ):
        ledger.born([slot(1), slot(2)], {})
        ledger.wait_slots({slot(1).id: HELD})
        another.execute("BEGIN IMMEDIATE")
        ledger.wait_slots({slot(1).id: HELD, "nowhere": HELD})  # it would give up after ten seconds
        another.execute("COMMIT")


# --- a slot and its runs ----------------------------------------------------------------------------------------------


def test_a_claim_moves_its_slot_with_it(ledger: Ledger) -> None:
    ledger.born([slot(why=HELD, retry_at=later(hours=9), attempts=1, run="before")], {})
    ledger.claim(run(), slot=slot().id)
    assert ledger.open_slots() == (slot(state=SlotState.RUNNING, run=run().id, attempts=2),)
    assert ledger.open_runs() == (run(slot=slot().id),)


def test_a_claim_that_is_refused_leaves_its_slot_due(ledger: Ledger) -> None:
    ledger.born([slot()], {})
    ledger.claim(run(1))
    with pytest.raises(Busy):
        ledger.claim(run(2), slot=slot().id)
    assert ledger.open_slots() == (slot(),)
    assert ledger.runs() == (run(1),)


@pytest.mark.parametrize(
    ("which", "stands"), [(1, "running in run"), (2, "coalesced"), (3, "not in the ledger")], ids=["1", "2", "3"]
)
def test_a_slot_that_is_not_due_is_not_run(ledger: Ledger, which: int, stands: str) -> None:
    first = running(ledger)
    ledger.born([closed(2)], {})
    with pytest.raises(Superseded, match=f"{slot(which).id}.*{stands}"):
        ledger.claim(run(2, policy=PolicyName("mail"), tenant=TenantName("south")), slot=slot(which).id)
    assert ledger.runs() == (first,)


def test_a_run_ends_with_its_slot_and_what_is_told_of_it(ledger: Ledger) -> None:
    record = running(ledger)
    ledger.finish(record.id, OWNER, DONE, later(days=1), slot_end=ended(), events=[happening()])
    assert ledger.slots() == (
        slot(state=SlotState.SUCCEEDED, why=RAN, run=record.id, attempts=1, closed_at=later(days=1)),
    )
    assert ledger.runs() == (replace(record, state=RunState.SUCCEEDED, finished_at=later(days=1)),)
    assert [event.text for event in ledger.events()] == ["event 1"]


def test_a_slot_whose_run_failed_may_be_due_again(ledger: Ledger) -> None:
    record = running(ledger)
    again = ended(SlotState.DUE, why=AGAIN, retry_at=later(minutes=5))
    ledger.finish(record.id, OWNER, Outcome(state=RunState.FAILED), later(minutes=1), slot_end=again)
    assert ledger.open_slots() == (slot(why=AGAIN, retry_at=later(minutes=5), run=record.id, attempts=1),)
    second = run(2, slot=slot().id)
    ledger.claim(second)
    ledger.resolve(second.id, DONE, later(days=1), slot_end=ended())
    (kept,) = ledger.slots()
    assert (kept.state, kept.attempts, kept.run) == (SlotState.SUCCEEDED, 2, second.id)


@pytest.mark.parametrize(
    ("owner", "ending"),
    [
        (STRANGER, ended()),
        (OWNER, ended(slot="files/backup/one/U2")),
        (OWNER, ended(slot="files/backup/one/U3")),
        (OWNER, ended(slot="nowhere")),
    ],
    ids=["another's run", "a slot that is due", "another run's slot", "no slot"],
)
def test_a_run_and_its_slot_end_together_or_not_at_all(ledger: Ledger, owner: Any, ending: SlotEnd) -> None:
    record = running(ledger)
    ledger.born([slot(2), slot(3)], {})
    ledger.claim(run(3, policy=PolicyName("mail"), tenant=TenantName("south")), slot=slot(3).id)
    before = ledger.slots(), ledger.runs()
    with pytest.raises(Superseded):
        ledger.finish(record.id, owner, DONE, later(days=1), slot_end=ending, events=[happening()])
    assert (ledger.slots(), ledger.runs()) == before
    assert ledger.events() == ()


@pytest.mark.parametrize("state", sorted(frozenset(SlotState) - SLOT_TRANSITIONS[SlotState.RUNNING]))
def test_a_running_slot_cannot_become_what_the_table_of_states_forbids(ledger: Ledger, state: SlotState) -> None:
    record = running(ledger)
    with pytest.raises(ValueError, match=state):
        ledger.finish(record.id, OWNER, DONE, later(days=1), slot_end=ended(state))
    assert ledger.open_runs() == (record,)


@pytest.mark.parametrize(
    "outcome",
    [
        DONE,
        Outcome(state=RunState.FAILED, failure=Failure(kind=FailureKind.WRONG_PASSWORD, message="no")),
        Outcome(state=RunState.FAILED, failure=Failure(kind=FailureKind.VAULT_UNREACHABLE, message="cut")),
    ],
    ids=["succeeded", "hopeless", "worth another try"],
)
def test_a_slot_never_outruns_its_run_also_where_nobody_says_what_becomes_of_it(
    ledger: Ledger, outcome: Outcome
) -> None:
    record = running(ledger)
    (as_it_was,) = ledger.open_slots()
    expected = slot_end(as_it_was, outcome, record.id, slot().due)
    ledger.finish(record.id, OWNER, outcome, slot().due)
    (kept,) = ledger.slots()
    assert (kept.state, kept.why, kept.retry_at) == (expected.state, expected.why, expected.retry_at)


def test_a_slot_whose_runs_were_cut_off_again_and_again_is_decided_with_all_of_them_in_view(ledger: Ledger) -> None:
    ledger.born([slot()], {})
    cut_off = Outcome(state=RunState.INTERRUPTED)
    for number in range(1, CRASHES + 1):
        assert [one.state for one in ledger.open_slots()] == [SlotState.DUE]
        ledger.claim(run(number, slot=slot().id))
        ledger.resolve(run(number).id, cut_off, slot().due)
    assert [(one.state, one.attempts) for one in ledger.slots()] == [(SlotState.INTERRUPTED, CRASHES)]
    assert [one.id for one in ledger.runs(slot=slot().id)] == [run(number).id for number in range(CRASHES, 0, -1)]
    assert ledger.runs(slot="nowhere") == ()


def test_a_stop_among_the_crashes_is_seen_by_who_decides(ledger: Ledger) -> None:
    ledger.born([slot()], {})
    asked = Failure(kind=FailureKind.CANCELLED, message="asked to stop")
    stopped, crashed = Outcome(state=RunState.INTERRUPTED, failure=asked), Outcome(state=RunState.INTERRUPTED)
    for number, outcome in enumerate([crashed, stopped, *[crashed] * CRASHES]):
        assert [one.state for one in ledger.open_slots()] == [SlotState.DUE]
        ledger.claim(run(number, slot=slot().id))
        ledger.finish(run(number).id, OWNER, outcome, slot().due)
    assert [(one.state, one.attempts) for one in ledger.slots()] == [(SlotState.INTERRUPTED, CRASHES + 2)]


def test_a_run_that_a_person_gives_up_is_interrupted_and_told_with_its_slot(ledger: Ledger) -> None:
    record = running(ledger)
    (as_it_was,) = ledger.open_slots()
    outcome = Outcome(state=RunState.INTERRUPTED, note="the machine is scrap")
    expected = slot_end(as_it_was, outcome, record.id, later(days=9))
    ledger.give_up(record.id, later(days=9), "the machine is scrap")
    assert ledger.runs() == (
        replace(record, state=RunState.INTERRUPTED, finished_at=later(days=9), note="the machine is scrap"),
    )
    (kept,) = ledger.slots()
    assert (kept.state, kept.why, kept.closed_at) == (expected.state, expected.why, later(days=9))
    given_up, end = ledger.events()
    assert (given_up.topic, end.topic) == (Topic.RUN_GIVEN_UP, Topic(expected.state.value))
    for word in (record.id, "4711", "alpha", "the machine is scrap"):
        assert word in given_up.text
    with pytest.raises(Superseded, match="interrupted"):
        ledger.give_up(record.id, later(days=9), "again")
    with pytest.raises(Superseded, match="not there"):
        ledger.give_up("never was", later(days=9), "")
    assert len(ledger.events()) == 2


def test_a_run_that_is_no_attempt_at_a_slot_is_given_up_alone(ledger: Ledger) -> None:
    ledger.claim(run())
    ledger.give_up(run().id, later(days=1), "gone")
    assert [event.topic for event in ledger.events()] == [Topic.RUN_GIVEN_UP]


# --- the newest of each -----------------------------------------------------------------------------------------------


def test_the_newest_run_of_each_place_is_found_in_one_go(ledger: Ledger) -> None:
    rng = random.Random(7)
    every = [
        over(
            number,
            policy=PolicyName(rng.choice(["a", "b", "c"])),
            job=rng.choice(list(Job)),
            vault=VaultName(rng.choice(["one", "two"])),
            state=rng.choice([RunState.SUCCEEDED, RunState.PARTIAL, RunState.FAILED]),
            started_at=NOW + timedelta(seconds=number // 30),  # many of one instant, told apart by their ids
        )
        for number in range(90)
    ]
    assert ledger.last_runs([RunState.SUCCEEDED]) == {}
    for record in rng.sample(every, len(every)):
        ledger.record(record)
    ledger.claim(run(100, policy=PolicyName("a")))
    good = {RunState.SUCCEEDED, RunState.PARTIAL}
    oldest_first = sorted(every, key=lambda one: (one.started_at, one.id))
    newest = {(one.policy, one.job, one.vault): one for one in oldest_first if one.state in good}
    assert ledger.last_runs(good) == newest
    some = {Job.BACKUP, Job.CHECK}
    assert ledger.last_runs(good, some) == {place: one for place, one in newest.items() if place[1] in some}
    assert ledger.last_runs([RunState.RUNNING]).keys() == {("a", Job.BACKUP, "one")}
    assert ledger.last_runs(good, ()) == {}
    for policies in (["a"], ["b", "c"], ["nobody"], []):
        theirs = {place: one for place, one in newest.items() if place[0] in policies}
        assert ledger.last_runs(good, policies=policies) == theirs
        brief = ledger.last_ended(policies, good)
        assert {place: (each.state, each.started_at, each.result) for place, each in brief.items()} == {
            place: (one.state, one.started_at, one.result) for place, one in theirs.items()
        }

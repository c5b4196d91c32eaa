"""Two processes at the same instant, and kill -9 at any instant: one owner, and never an effect without its intent."""

from __future__ import annotations

import random
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from jobs.event import Event
from jobs.history import Job, Outcome, RunState
from jobs.policy import PolicyName
from jobs.retry import SlotEnd
from jobs.slot import SlotState
from orchestrator.ledger.ledger import Ledger
from tests.orchestrator.ledger.build import NOW, OWNER, RAN, STRANGER, later, line, repository, run, slot
from tests.orchestrator.ledger.children import (
    PATIENCE,
    Round,
    at_once,
    bearing,
    child,
    claiming,
    create,
    create_together,
    hear,
    keeping_or_taking_over,
    processes,
    slot_after_slot,
    taking_over,
    tell,
)

ROUNDS = 20
KILLS = {"sqlite": 10, "postgresql": 6}


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def assert_sound(url: str) -> None:
    """SQLite's own verdict on the file; PostgreSQL looks after itself."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(file_of(url))) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def both(url: str, one: Round, other: Round, rounds: int = ROUNDS) -> list[tuple[bool, bool]]:
    """What two processes were granted in each round."""
    together = processes().Barrier(2)
    with (
        child(at_once, url, together, rounds, one) as (_, first),
        child(at_once, url, together, rounds, other) as (_, second),
    ):
        return list(zip(hear(first), hear(second), strict=True))


@pytest.mark.parametrize(
    "jobs",
    [
        (Job.BACKUP, Job.BACKUP),
        (Job.CHECK, Job.BACKUP),
        (Job.RETENTION, Job.CHECK),
        (Job.RESTORE, Job.RESTORE),  # two of which may run beside each other, but not for the same slot
    ],
    ids="-".join,
)
def test_of_two_claims_at_the_same_instant_exactly_one_is_granted(
    url: str, ledger: Ledger, jobs: tuple[Job, Job]
) -> None:
    # A slot keeps the second out by itself: only of jobs that may run beside each other is it shown by slots.
    slots = [slot(number) for number in range(ROUNDS)] if set(jobs) == {Job.RESTORE} else []
    ledger.born(slots, {})
    wanted = [
        [
            # each round has a tenant of its own, so that rounds do not wait for each other
            run(
                100 * side + number,
                job=job,
                policy=f"policy-{number}",
                tenant=f"tenant-{number}",
                slot=slots[number].id if slots else None,
            )
            for number in range(ROUNDS)
        ]
        for side, job in enumerate(jobs)
    ]
    for number in range(ROUNDS):
        ledger.remember(repository(f"tenant-{number}"))
    granted = both(url, partial(claiming, wanted[0]), partial(claiming, wanted[1]))
    assert [sum(pair) for pair in granted] == [1] * ROUNDS
    winners = {wanted[side][number] for number, pair in enumerate(granted) for side in (0, 1) if pair[side]}
    assert set(ledger.open_runs()) == winners
    assert {(one.id, one.run) for one in ledger.open_slots()} == {
        (record.slot, record.id) for record in winners if record.slot
    }


def test_of_two_that_take_over_at_the_same_instant_exactly_one_has_the_lease(url: str, ledger: Ledger) -> None:
    granted = both(url, partial(taking_over, OWNER), partial(taking_over, STRANGER))
    assert [sum(pair) for pair in granted] == [1] * ROUNDS
    lease = ledger.lease()
    assert lease is not None
    assert (lease.term, lease.owner) == (ROUNDS, OWNER if granted[-1][0] else STRANGER)


def test_a_sign_of_life_and_a_take_over_at_the_same_instant_never_both_succeed(url: str, ledger: Ledger) -> None:
    ledger.take_lease(OWNER, NOW)
    granted = both(url, partial(keeping_or_taking_over, OWNER), partial(keeping_or_taking_over, STRANGER))
    assert [sum(pair) for pair in granted] == [1] * ROUNDS


def test_two_schedulers_that_find_the_same_due_make_it_once(url: str, ledger: Ledger) -> None:
    granted = both(url, partial(bearing, 20), partial(bearing, 20), rounds=10)
    assert all(all(pair) for pair in granted)
    assert len(ledger.open_slots()) == 200
    assert sorted(event.text for event in ledger.events()) == sorted(one.id for one in ledger.open_slots())


def test_who_reads_events_while_two_write_them_misses_none(url: str, ledger: Ledger) -> None:
    together, many = processes().Barrier(2), 150
    with (
        child(tell, url, together, "one", many) as (_, first),
        child(tell, url, together, "other", many) as (_, second),
    ):
        seen: list[Event] = []
        give_up = time.monotonic() + PATIENCE
        while len(seen) < 2 * many and time.monotonic() < give_up:
            written = first.poll() and second.poll()
            news = ledger.events(seen[-1].id if seen else 0)
            seen += news
            if written and not news:
                break
    for name in ("one", "other"):
        assert [event.text for event in seen if event.subject == name] == [f"event {number}" for number in range(many)]


def test_two_that_create_the_same_ledger_at_once_share_one(url: str, tmp_path: Path) -> None:
    together = processes().Barrier(2)
    with child(create_together, url, together) as (_, one), child(create_together, url, together) as (_, other):
        assert (hear(one), hear(other)) == ("done", "done")
    with Ledger.open(url, create=False, now=NOW) as ledger:
        assert ledger.runs() == ()
    assert_sound(url)
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(file_of(url))) as connection:
            assert connection.execute("SELECT count(*) FROM settings_version").fetchone() == (2,)
        assert [path.name for path in tmp_path.iterdir()] == ["ledger.db"]


def wait_for_another(effects: Path) -> None:
    """Until one more effect is there: how long a machine takes to its first one says nothing about the ledger."""
    before, give_up = len(list(effects.iterdir())), time.monotonic() + PATIENCE
    while len(list(effects.iterdir())) == before:
        assert time.monotonic() < give_up, "the child does nothing"
        time.sleep(0.001)


def assert_all_adds_up(ledger: Ledger, effects: Path) -> None:
    """Every moment up to the cursor has its slot; runs, slots and events tell the same; no effect without its run."""
    ledger.add_events([])  # takes its turn after what a killed process may have handed to its server
    runs, slots = {record.id: record for record in ledger.runs()}, ledger.slots()
    (line_now,) = ledger.lines_in_force()
    assert [one.nominal for one in reversed(slots)] == [later(hours=1 + number) for number in range(len(slots))]
    assert line_now.cursor == later(hours=len(slots))
    assert {path.name for path in effects.iterdir()} <= set(runs)
    succeeded = {record.slot or "" for record in runs.values() if record.state is RunState.SUCCEEDED}
    assert {one.id for one in slots if one.state is SlotState.SUCCEEDED} == succeeded
    assert sorted(event.subject for event in ledger.events()) == sorted(succeeded)
    assert {(one.id, one.run) for one in slots if one.state is SlotState.RUNNING} == {
        (record.slot, record.id) for record in ledger.open_runs()
    }
    assert all(Path(effects, record.id).exists() for record in runs.values() if record.state is RunState.SUCCEEDED)


def test_kill_9_at_any_instant_loses_no_slot_doubles_none_and_leaves_no_effect_without_its_intent(
    url: str, ledger: Ledger, tmp_path: Path
) -> None:
    effects = tmp_path / "effects"
    effects.mkdir()
    ledger.put_lines([], [line()])
    pause = random.Random(4711)
    cut_off = 0
    for attempt in range(KILLS["sqlite" if url.startswith("sqlite") else "postgresql"]):
        linger = attempt == 1  # so that one kill at least finds a run that is open, whatever the machine's pace
        with child(slot_after_slot, url, str(effects), 10_000 * attempt, linger) as (process, answer):
            assert hear(answer) == "started"
            if attempt % 4:  # every fourth is killed wherever its first steps are; the others are known to be at work
                wait_for_another(effects)
            time.sleep(pause.uniform(0, 0.02))
            process.kill()
            process.join(PATIENCE)
        assert_all_adds_up(ledger, effects)
        for record in ledger.open_runs():
            cut_off += 1
            again = SlotEnd(slot=record.slot or "", state=SlotState.DUE, why=RAN)
            ledger.resolve(record.id, Outcome(state=RunState.INTERRUPTED), later(days=2), slot_end=again)
    assert_sound(url)
    assert cut_off > 0


def test_kill_9_while_it_is_created_leaves_no_half_ledger(tmp_path: Path) -> None:
    pause = random.Random(815)
    unfinished = 0
    for attempt in range(40):
        if attempt >= 8 and unfinished:
            break
        url = f"sqlite:///{tmp_path}/{attempt}/ledger.db"
        with child(create, url) as (process, answer):
            assert hear(answer) == "started"
            time.sleep(pause.uniform(0, 0.06))
            process.kill()
            process.join(PATIENCE)
        unfinished += not file_of(url).exists()
        with Ledger.open(url, create=not file_of(url).exists(), now=NOW) as ledger:
            ledger.claim(run())
        assert_sound(url)
    assert unfinished > 0, "no kill hit an unfinished ledger, so nothing was shown"


def test_threads_of_one_process_share_a_ledger(ledger: Ledger) -> None:
    ledger.remember(repository())

    def write(number: int) -> None:
        ledger.claim(run(number, policy=PolicyName(f"policy-{number}")))
        ledger.remember_settings(str(number), str(number), NOW)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(24)))
    assert len(ledger.open_runs()) == 24
    assert [ledger.settings_text(str(number)) for number in range(24)] == [str(number) for number in range(24)]

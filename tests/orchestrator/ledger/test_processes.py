"""Two processes at the same instant, and kill -9 at any instant: one owner, and never an effect without its intent."""

from __future__ import annotations

import random
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from jobs.history import Job, Outcome, RunState
from jobs.policy import PolicyName
from orchestrator.ledger.ledger import Ledger
from tests.orchestrator.ledger.build import NOW, later, run
from tests.orchestrator.ledger.children import (
    PATIENCE,
    child,
    claim_each,
    create,
    create_together,
    hear,
    processes,
    run_after_run,
)

ROUNDS = 25
KILLS = {"sqlite": 20, "postgresql": 8}


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def assert_sound(url: str) -> None:
    """SQLite's own verdict on the file; PostgreSQL looks after itself."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(file_of(url))) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def wait_for_another(effects: Path) -> None:
    """Until one more effect is there: how long a machine takes to its first one says nothing about the ledger."""
    before, give_up = len(list(effects.iterdir())), time.monotonic() + PATIENCE
    while len(list(effects.iterdir())) == before:
        assert time.monotonic() < give_up, "the child does nothing"
        time.sleep(0.001)


@pytest.mark.parametrize(
    "jobs", [(Job.BACKUP, Job.BACKUP), (Job.CHECK, Job.BACKUP), (Job.RETENTION, Job.CHECK)], ids="-".join
)
def test_of_two_claims_at_the_same_instant_exactly_one_is_granted(
    url: str, ledger: Ledger, jobs: tuple[Job, Job]
) -> None:
    policies = [PolicyName(f"policy-{number}") for number in range(ROUNDS)]
    wanted = [
        [
            # each round has a tenant of its own, so that rounds do not wait for each other
            run(100 * side + number, job=job, policy=policy, tenant=policy)
            for number, policy in enumerate(policies)
        ]
        for side, job in enumerate(jobs)
    ]
    together = processes().Barrier(2)
    with (
        child(claim_each, url, wanted[0], together) as (_, one),
        child(claim_each, url, wanted[1], together) as (_, other),
    ):
        granted = list(zip(hear(one), hear(other), strict=True))
    assert [sum(pair) for pair in granted] == [1] * ROUNDS
    assert {record.id for record in ledger.open_runs()} == {
        wanted[side][number].id for number, pair in enumerate(granted) for side in (0, 1) if pair[side]
    }


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


def test_kill_9_at_any_instant_leaves_a_sound_ledger_and_no_effect_without_its_intent(
    url: str, ledger: Ledger, tmp_path: Path
) -> None:
    effects = tmp_path / "effects"
    effects.mkdir()
    pause = random.Random(4711)
    enough = KILLS["sqlite" if url.startswith("sqlite") else "postgresql"]
    left_open = 0
    for attempt in range(10 * enough):
        if attempt >= enough and left_open and len(list(effects.iterdir())) > enough:
            break
        with child(run_after_run, url, str(effects), 10_000 * attempt) as (process, answer):
            assert hear(answer) == "started"
            if attempt % 4:  # every fourth is killed wherever its first steps are; the others are known to be at work
                wait_for_another(effects)
            time.sleep(pause.uniform(0, 0.02))
            process.kill()
            process.join(PATIENCE)
        assert_sound(url)
        recorded = {record.id: record for record in ledger.runs()}
        done = {path.name for path in effects.iterdir()}
        assert done <= set(recorded)
        assert {name for name, record in recorded.items() if record.state is RunState.SUCCEEDED} <= done
        still_open = ledger.open_runs()
        assert len(still_open) <= 1
        for record in still_open:
            left_open += 1
            ledger.resolve(record.id, Outcome(state=RunState.INTERRUPTED), later(days=2))
    assert left_open > 0, "no kill hit an open run, so nothing was shown"


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
    def write(number: int) -> None:
        ledger.claim(run(number, policy=PolicyName(f"policy-{number}")))
        ledger.remember_settings(str(number), str(number), NOW)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(24)))
    assert len(ledger.open_runs()) == 24
    assert [ledger.settings_text(str(number)) for number in range(24)] == [str(number) for number in range(24)]

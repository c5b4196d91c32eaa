"""A glance tells what the ledger's own answers tell, and asks no more of a long history than of a short one."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.history import Job, RecoveryPoint, RunRecord, RunState
from jobs.policy import PolicyName, TenantName, VaultName
from orchestrator.ledger.glance import NEWEST_POINTS, NEWEST_RUNS
from orchestrator.ledger.ledger import Busy, Ledger
from tests.orchestrator.ledger.build import NOW, over, point, run

POLICIES = [PolicyName("files"), PolicyName("mail")]
VAULTS = [VaultName("one"), VaultName("two")]


def _run(number: int, policy: PolicyName, job: Job, vault: VaultName, state: RunState, minutes: int) -> RunRecord:
    started = NOW + timedelta(minutes=minutes)
    make = run if state is RunState.RUNNING else over
    return make(number, policy=policy, job=job, vault=vault, state=state, started_at=started)


def _point(number: int, policy: PolicyName, vault: VaultName, minutes: int, gone: bool) -> RecoveryPoint:
    made = point(number, policy=policy, vault=vault, time=NOW + timedelta(minutes=minutes))
    return replace(made, gone_at=made.seen_at + timedelta(days=1)) if gone else made


numbers = st.integers(0, 10**6)
minutes = st.integers(0, 4)  # few, so that several are of one instant
runs = st.lists(
    st.builds(
        _run,
        numbers,
        st.sampled_from(POLICIES),
        st.sampled_from([Job.BACKUP, Job.CHECK]),
        st.sampled_from(VAULTS),
        st.sampled_from(RunState),
        minutes,
    ),
    unique_by=lambda record: record.id,
    max_size=25,
)
points = st.lists(
    st.builds(_point, numbers, st.sampled_from(POLICIES), st.sampled_from(VAULTS), minutes, st.booleans()),
    unique_by=lambda seen: seen.snapshot,
    max_size=25,
)


def put(ledger: Ledger, records: list[RunRecord], seen: list[RecoveryPoint]) -> None:
    for record in records:
        if record.state is RunState.RUNNING:
            try:
                ledger.claim(record)
            except Busy:
                continue
        else:
            ledger.record(record)
    ledger.arrive([replace(one, gone_at=None) for one in seen])
    for one in seen:
        if one.gone_at is not None:
            ledger.gone(one.tenant, one.vault, [one.snapshot], one.gone_at)


def assert_glance_is_what_the_ledger_answers(ledger: Ledger) -> None:
    glance = ledger.glance()
    every_run = ledger.runs()
    keys = {(record.policy, record.job, record.vault) for record in every_run}
    assert set(glance.runs) == {ledger.last(policy, job, vault) for policy, job, vault in keys}
    assert len(glance.runs) == len(keys)
    there = ledger.points()  # oldest first
    assert set(glance.points) == set({(one.policy, one.vault): one for one in there}.values())
    assert len(glance.points) == len({(one.policy, one.vault) for one in there})
    assert glance.open_runs == ledger.open_runs()
    assert glance.open_runs == tuple(record for record in reversed(every_run) if record.state is RunState.RUNNING)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new ledger's file, to copy."""
    path = tmp_path_factory.mktemp("empty") / "ledger.db"
    Ledger.open(f"sqlite:///{path}", create=True, now=NOW).close()
    return path


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=runs, seen=points)
def test_a_glance_at_any_history_is_what_the_ledger_answers(
    empty: Path, tmp_path: Path, records: list[RunRecord], seen: list[RecoveryPoint]
) -> None:
    shutil.copyfile(empty, tmp_path / "ledger.db")
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", create=False, now=NOW) as ledger:
        put(ledger, records, seen)
        assert_glance_is_what_the_ledger_answers(ledger)


def test_a_glance_is_the_same_on_both_databases(ledger: Ledger) -> None:
    rng = random.Random(7)
    jobs = [Job.BACKUP, Job.CHECK]
    states = list(RunState)
    records = [
        _run(number, rng.choice(POLICIES), rng.choice(jobs), rng.choice(VAULTS), rng.choice(states), rng.randrange(5))
        for number in range(80)
    ]
    seen = [
        _point(number, rng.choice(POLICIES), rng.choice(VAULTS), rng.randrange(5), rng.random() < 0.3)
        for number in range(40)
    ]
    put(ledger, records, seen)
    assert_glance_is_what_the_ledger_answers(ledger)
    assert ledger.glance().open_runs


def test_a_glance_at_an_empty_ledger_is_empty(ledger: Ledger) -> None:
    glance = ledger.glance()
    assert (glance.runs, glance.points, glance.open_runs) == ((), (), ())


def test_tenants_with_one_snapshot_id_are_not_mixed_up(ledger: Ledger) -> None:
    ledger.arrive([point(), point(tenant=TenantName("south"), policy=PolicyName("mail"))])
    assert {(one.tenant, one.policy) for one in ledger.glance().points} == {("north", "files"), ("south", "mail")}


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (NEWEST_RUNS, "ix_run_newest"),
        (NEWEST_POINTS, "ix_recovery_point_newest"),
        ("SELECT * FROM run WHERE state = 'running'", "ix_run_open"),
        (
            "SELECT * FROM run WHERE policy = 'a' AND job = 'b' AND vault = 'c' ORDER BY started_at DESC",
            "ix_run_newest",
        ),
        ("SELECT * FROM run ORDER BY started_at DESC LIMIT 9", "ix_run_started_at"),
    ],
)
def test_what_is_asked_often_is_answered_by_an_index(empty: Path, statement: str, index: str) -> None:
    with closing(sqlite3.connect(empty)) as connection:
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    assert any(index in step for step in steps)
    assert not any(step in {"SCAN run", "SCAN recovery_point"} for step in steps)

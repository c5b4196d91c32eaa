"""A glance gives the verdicts that the whole history gives, and takes few runs of a long one."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.history import (
    AuditResult,
    BackupResult,
    CheckResult,
    Job,
    RecoveryPoint,
    ReplicateResult,
    RestoreTestResult,
    Result,
    RunRecord,
    RunState,
)
from jobs.integrity import Assessment, assess
from jobs.policy import Objectives, Paths, Policy, PolicyName, SiteName, TenantName, VaultName
from orchestrator.ledger.briefs import newest
from orchestrator.ledger.ledger import Busy, Ledger
from orchestrator.ledger.tables import METADATA
from tests.orchestrator.ledger.build import NOW, over, point, run

VAULTS: Final = (VaultName("one"), VaultName("two"))
LATER: Final = NOW + timedelta(hours=3)
DAY: Final = timedelta(days=1)


def _policy(name: str, tenant: str, read_data: str) -> Policy:
    limits = Objectives(
        rpo=DAY, replica_lag=DAY, rto=DAY, audit_age=DAY / 16, check_age=DAY / 16, restore_test_age=DAY / 16
    )
    return Policy(
        tenant=TenantName(tenant),
        name=PolicyName(name),
        site=SiteName("primary"),
        vault=VAULTS[0],
        replica_site=SiteName("secondary"),
        replica=VAULTS[1],
        source=Paths(paths=("/srv",)),
        objectives=limits,
        read_data=read_data,
        settings_hash="",
    )


POLICIES: Final = (_policy("files", "north", "10%"), _policy("mail", "north", "100%"), _policy("web", "south", "1/4"))
RESULTS: Final[tuple[tuple[Job, Result | None], ...]] = (
    (Job.BACKUP, BackupResult()),
    (Job.BACKUP, BackupResult(changed_count=2)),
    (Job.REPLICATE, ReplicateResult()),
    (Job.AUDIT, None),
    (Job.CHECK, None),
    (Job.RESTORE_TEST, None),
    *(
        (Job.AUDIT, AuditResult(files=files, damaged=bad, findings=("data/aa/x: rotten",) * bad, control=control))
        for files in (0, 3)
        for bad in (0, 2)
        for control in (False, True)
    ),
    *(
        (Job.CHECK, CheckResult(read_data=read, errors=bad))
        for read in ("none", "10%", "1/4", "100%")
        for bad in (0, 3)
    ),
    *(
        (
            Job.RESTORE_TEST,
            RestoreTestResult(snapshot=f"{of:08x}{0:056x}", files_compared=count, differences=bad, seconds=of + 1),
        )
        for of in range(2)
        for count, bad in ((0, 0), (5, 0), (5, 1))
    ),
)


def _run(
    number: int, policy: Policy, found: tuple[Job, Result | None], vault: VaultName, state: RunState, minutes: int
) -> RunRecord:
    started = NOW + timedelta(minutes=minutes)
    of: dict[str, Any] = {"tenant": policy.tenant, "policy": policy.name, "vault": vault, "job": found[0]}
    if state is RunState.RUNNING:
        return run(number, state=state, started_at=started, **of)
    return over(number, state=state, started_at=started, result=found[1], **of)


def _point(number: int, policy: Policy, vault: VaultName, minutes: int, gone: bool) -> RecoveryPoint:
    time = NOW + timedelta(minutes=minutes)
    made = point(number, policy=policy.name, tenant=policy.tenant, vault=vault, time=time)
    made = replace(made, snapshot=f"{number:08x}{0:056x}", seen_at=time)
    return replace(made, gone_at=made.seen_at + timedelta(minutes=9)) if gone else made


numbers = st.integers(0, 10**6)
minutes = st.integers(0, 90)
states = st.sampled_from([*[RunState.SUCCEEDED] * 4, *[RunState.FAILED] * 2, *RunState])
runs = st.lists(
    st.builds(
        _run, numbers, st.sampled_from(POLICIES), st.sampled_from(RESULTS), st.sampled_from(VAULTS), states, minutes
    ),
    unique_by=lambda record: record.id,
    max_size=40,
)
points = st.lists(
    st.builds(_point, st.integers(0, 3), st.sampled_from(POLICIES), st.sampled_from(VAULTS), minutes, st.booleans()),
    unique_by=lambda seen: (seen.tenant, seen.vault, seen.snapshot),
    max_size=10,
)


proofs = st.lists(  # of one policy at one place, so that they meet
    st.builds(
        _run,
        numbers,
        st.just(POLICIES[0]),
        st.sampled_from([found for found in RESULTS if found[0] in {Job.CHECK, Job.RESTORE_TEST}]),
        st.just(VAULTS[0]),
        st.sampled_from([RunState.SUCCEEDED, RunState.FAILED]),
        minutes,
    ),
    unique_by=lambda record: record.started_at,
    max_size=12,
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


def assert_a_glance_is_judged_like_everything(ledger: Ledger) -> None:
    glance = ledger.glance(LATER)
    every_run = ledger.runs()
    assert set(glance.runs) <= set(every_run)
    assert {one for one in glance.runs if one.state is RunState.RUNNING} == set(ledger.open_runs())
    assert set(ledger.points()) <= set(glance.points) <= set(ledger.points_ever(LATER))
    everything = assess(POLICIES, every_run, ledger.points_ever(LATER), LATER)
    for seen, whole in zip(assess(POLICIES, glance.runs, glance.points, LATER), everything, strict=True):
        assert seen.verdict is whole.verdict
        for control, other in zip(seen.controls, whole.controls, strict=True):
            assert (control.name, control.measured) == (other.name, other.measured)
            assert {gap.code for gap in control.gaps} == {gap.code for gap in other.gaps}
        assert {trouble.job for trouble in seen.troubles} == {trouble.job for trouble in whole.troubles}
    assert few_at_a_time(ledger) == assess(POLICIES, glance.runs, glance.points, LATER)


def few_at_a_time(ledger: Ledger) -> tuple[Assessment, ...]:
    """The verdicts that come of asking for one policy after the other, as `serve` does."""
    found: list[Assessment] = []
    for policy in sorted(POLICIES, key=lambda policy: (policy.tenant, policy.name)):
        glance = ledger.glance_at(policy.tenant, [policy.name], LATER)
        assert all(one.state is not RunState.RUNNING for one in glance.runs)
        found += assess([policy], glance.runs, glance.points, LATER)
    return tuple(found)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=runs | proofs, seen=points)
def test_a_glance_at_any_history_is_judged_like_all_of_it(
    empty: Path, tmp_path: Path, records: list[RunRecord], seen: list[RecoveryPoint]
) -> None:
    shutil.copyfile(empty, tmp_path / "ledger.db")
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", create=False, now=NOW) as ledger:
        put(ledger, records, seen)
        assert_a_glance_is_judged_like_everything(ledger)


def test_a_glance_is_the_same_on_both_databases(ledger: Ledger) -> None:
    rng = random.Random(7)
    records = [
        _run(
            number,
            rng.choice(POLICIES),
            rng.choice(RESULTS),
            rng.choice(VAULTS),
            rng.choice(list(RunState)),
            rng.randrange(90),
        )
        for number in range(120)
    ]
    seen = [_point(number, POLICIES[number % 3], VAULTS[number % 2], number, number % 4 == 0) for number in range(12)]
    put(ledger, records, seen)
    assert_a_glance_is_judged_like_everything(ledger)
    assert ledger.open_runs()


def _checked(number: int, read_data: str, errors: int, state: RunState) -> RunRecord:
    result = None if read_data == "" else CheckResult(read_data=read_data, errors=errors)
    return _run(number, POLICIES[0], (Job.CHECK, result), VAULTS[0], state, number)


@pytest.mark.parametrize(
    "last",
    [_checked(3, "10%", 0, RunState.SUCCEEDED), _checked(3, "", 0, RunState.FAILED)],
    ids=["a clean part", "a wrong password"],
)
def test_damage_stands_in_a_glance_until_everything_was_read_again(ledger: Ledger, last: RunRecord) -> None:
    put(ledger, [_checked(1, "100%", 0, RunState.SUCCEEDED), _checked(2, "100%", 2, RunState.FAILED), last], [])
    assert [one.id for one in ledger.glance(LATER).runs] == [one.id for one in reversed(ledger.runs())]


def test_differences_stand_in_a_glance_for_as_long_as_their_snapshot_is_there(ledger: Ledger) -> None:
    found = [RestoreTestResult(snapshot=f"{of:08x}", files_compared=5, differences=1 - of, seconds=1) for of in (0, 1)]
    tests = [
        _run(of, POLICIES[0], (Job.RESTORE_TEST, found[of]), VAULTS[0], RunState.SUCCEEDED, 20 + of) for of in (0, 1)
    ]
    put(ledger, tests, [_point(0, POLICIES[0], VAULTS[0], 1, gone=False)])
    assert len(ledger.glance(LATER).runs) == 2
    assert_a_glance_is_judged_like_everything(ledger)


def test_a_glance_takes_few_runs_of_a_long_history(ledger: Ledger) -> None:
    kinds = [found for found in RESULTS if found[0] is not Job.BACKUP or found[1] == BackupResult()]
    clean = [
        found
        for found in kinds
        if found[1] in {CheckResult(read_data="100%"), BackupResult(), ReplicateResult()}
        or (isinstance(found[1], RestoreTestResult) and found[1].files_compared and not found[1].differences)
    ]
    put(
        ledger,
        [
            _run(number, POLICIES[0], clean[number % len(clean)], VAULTS[0], RunState.SUCCEEDED, number)
            for number in range(90)
        ],
        [],
    )
    assert len(ledger.runs()) == 90
    assert len(ledger.glance(LATER).runs) == len({found[0] for found in clean})


def test_a_glance_at_an_empty_ledger_is_empty(ledger: Ledger) -> None:
    glance = ledger.glance(LATER)
    assert (glance.runs, glance.points) == ((), ())


def test_tenants_with_one_snapshot_id_are_not_mixed_up(ledger: Ledger) -> None:
    ledger.arrive([point(), point(tenant=TenantName("south"), policy=PolicyName("mail"))])
    seen = ledger.glance(LATER).points
    assert {(one.tenant, one.policy) for one in seen} == {("north", "files"), ("south", "mail")}


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("SELECT * FROM run WHERE state = 'running'", "ix_run_open"),
        (
            "SELECT * FROM run WHERE policy = 'a' AND job = 'b' AND vault = 'c' ORDER BY started_at DESC",
            "ix_run_newest",
        ),
        ("SELECT * FROM run ORDER BY started_at DESC LIMIT 9", "ix_run_started_at"),
        ("SELECT * FROM run WHERE slot = 'a' ORDER BY started_at DESC, id DESC", "ix_run_slot"),
        (newest(RunState, None), "ix_run_newest"),
        ("SELECT * FROM slot WHERE closed_at IS NULL ORDER BY due, id", "ix_slot_open"),
        ("SELECT * FROM slot WHERE 1 = 1 ORDER BY due DESC, id DESC LIMIT 9", "ix_slot_due"),
        ("SELECT * FROM slot WHERE policy = 'a' AND job = 'b' ORDER BY due DESC, id DESC LIMIT 9", "ix_slot_of_policy"),
        ("SELECT state, count(*) FROM slot WHERE due >= 1 AND due < 2 GROUP BY state", "COVERING INDEX ix_slot_due"),
        ("SELECT id FROM slot WHERE line = 1 AND nominal >= 1", "ix_slot_of_line"),
        ("SELECT * FROM line WHERE until IS NULL ORDER BY policy, job, vault", "uq_line_in_force"),
        ("SELECT * FROM event WHERE id > 1 ORDER BY id LIMIT 9", "INTEGER PRIMARY KEY"),
        ("SELECT * FROM notice WHERE state = 'pending' AND next_at <= 1 ORDER BY next_at, id", "ix_notice_pending"),
        ("SELECT * FROM alarm WHERE cleared_at IS NULL ORDER BY raised_at, id", "uq_alarm_raised"),
    ],
)
def test_what_is_asked_often_is_answered_by_an_index(empty: Path, statement: str, index: str) -> None:
    with closing(sqlite3.connect(empty)) as connection:
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    assert any(index in step for step in steps)
    assert not any(step in {f"SCAN {table}" for table in METADATA.tables} for step in steps)

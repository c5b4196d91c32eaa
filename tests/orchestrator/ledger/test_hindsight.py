"""What a report is made from holds all that its period needs: it reads as if it were made from all that ever was."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.history import BackupResult, Job, RecoveryPoint, RunRecord, RunState
from jobs.integrity import assess
from jobs.period import Period
from orchestrator.ledger.ledger import Ledger
from reports.register import ran_in
from tests.orchestrator.ledger.build import NOW
from tests.orchestrator.ledger.test_glance import POLICIES, RESULTS, VAULTS, _point, _run, points, proofs, put, runs


def assert_it_tells_all(ledger: Ledger, since: datetime, at: datetime) -> None:
    seen = ledger.hindsight(since, at)
    every_run, every_point = ledger.runs(until=at), ledger.points_ever(at)
    assert set(seen.runs) <= set(every_run)
    period = Period(text="that time", start=since, end=at)
    ran, wanted = ledger.ran(since, at), ran_in(every_run, period, at)
    assert (ran.counted, ran.bad) == (wanted.counted, wanted.bad)
    within = [run for run in every_run if run.started_at >= since]
    assert ran.newest == next(iter(within), None)
    assert set(ran.heard) == {run.settings_hash for run in within}
    assert (
        {point for point in every_point if point.seen_at >= since or point.gone_at is None or point.gone_at >= since}
        <= set(seen.points)
        <= set(every_point)
    )
    assert assess(POLICIES, seen.runs, seen.points, at) == assess(POLICIES, every_run, every_point, at)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=runs | proofs, seen=points, begin=st.integers(-10, 90), length=st.integers(1, 100))
def test_any_period_is_judged_like_all_that_ever_was(
    empty: Path, tmp_path: Path, records: list[RunRecord], seen: list[RecoveryPoint], begin: int, length: int
) -> None:
    shutil.copyfile(empty, tmp_path / "ledger.db")
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", create=False, now=NOW) as ledger:
        put(ledger, records, seen)
        since = NOW + timedelta(minutes=begin)
        assert_it_tells_all(ledger, since, since + timedelta(minutes=length))


def test_it_is_the_same_on_both_databases_and_what_goes_later_changes_nothing(ledger: Ledger) -> None:
    rng = random.Random(11)
    records = [
        _run(
            number,
            rng.choice(POLICIES),
            rng.choice(RESULTS),
            rng.choice(VAULTS),
            rng.choice([state for state in RunState if state is not RunState.RUNNING]),
            rng.randrange(90),
        )
        for number in range(120)
    ]
    seen = [_point(number, POLICIES[number % 3], VAULTS[number % 2], number, False) for number in range(12)]
    put(ledger, records, [replace(one, gone_at=None) for one in seen])
    since, at = NOW + timedelta(minutes=20), NOW + timedelta(minutes=60)
    assert_it_tells_all(ledger, since, at)
    before = assess(POLICIES, *_told(ledger, since, at), at)
    for one in seen:
        ledger.gone(one.tenant, one.vault, [one.snapshot], NOW + timedelta(hours=9))
    assert assess(POLICIES, *_told(ledger, since, at), at) == before


def _told(ledger: Ledger, since: datetime, at: datetime) -> tuple[tuple[RunRecord, ...], tuple[RecoveryPoint, ...]]:
    seen = ledger.hindsight(since, at)
    return seen.runs, tuple(replace(point, gone_at=None) for point in seen.points)


def test_files_that_were_changing_are_known_of_a_point_that_has_gone_since(ledger: Ledger) -> None:
    changing = BackupResult(snapshot="x", files=3, changed_count=2)
    backups = [
        _run(number, POLICIES[0], (Job.BACKUP, changing), VAULTS[0], RunState.SUCCEEDED, number) for number in (1, 2)
    ]
    seen = replace(_point(1, POLICIES[0], VAULTS[0], 1, False), run=backups[0].id, gone_at=None, complete=True)
    put(ledger, backups, [seen])
    since, at = NOW + timedelta(minutes=50), NOW + timedelta(minutes=60)
    ledger.gone(seen.tenant, seen.vault, [seen.snapshot], NOW + timedelta(hours=9))
    assert backups[0].id in {run.id for run in ledger.hindsight(since, at).runs}
    assert_it_tells_all(ledger, since, at)

"""Verdicts on any history: time alone improves nothing, missing proof is never green, a failure never helps."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from jobs.history import AuditResult, CheckResult, Job, RecoveryPoint, RestoreTestResult, RunRecord, RunState
from jobs.integrity import assess
from jobs.policy import Objectives, Policy, PolicyName, TenantName
from jobs.verdict import Verdict
from tests.jobs.test_integrity import HERE, HOUR, NOW, POLICY, SOUND, THERE, TICK, point, run

# Everything that is generated was known at NOW.
_AGES: Final = st.integers(min_value=0, max_value=30 * 24).map(lambda hours: hours * HOUR)
_VAULTS: Final = st.sampled_from(["first", "second"])
_LIMITS: Final = st.one_of(st.none(), _AGES)
_ORIGINS: Final = st.sampled_from("abcd")


@st.composite
def some_points(draw: st.DrawFn) -> RecoveryPoint:
    """A point at one of the sites, perhaps partial, perhaps gone."""
    made = point(draw(_ORIGINS), draw(_AGES), draw(_VAULTS), draw(st.sampled_from("tu")))
    gone = draw(st.one_of(st.none(), st.integers(min_value=0, max_value=100)))
    ended = None if gone is None else made.seen_at + (NOW - made.seen_at) * gone / 100
    return replace(made, gone_at=ended, complete=draw(st.booleans()))


_RESULTS: Final = st.one_of(
    st.none(),
    st.builds(
        AuditResult,
        files=st.sampled_from([0, 5]),
        damaged=st.sampled_from([0, 0, 2]),
        findings=st.just(("data/aa/x: rotten",)),
        control=st.sampled_from([True, True, False]),
    ),
    st.builds(
        CheckResult, read_data=st.sampled_from(["none", "10%", "1/4", "100%"]), errors=st.sampled_from([0, 0, 3])
    ),
    st.builds(
        RestoreTestResult,
        snapshot=st.builds("{}@{}".format, _ORIGINS, _VAULTS),
        files_compared=st.sampled_from([0, 5]),
        differences=st.sampled_from([0, 0, 2]),
        seconds=st.sampled_from([0.0, 5.0, 90_000.0]),
    ),
)


@st.composite
def some_runs(draw: st.DrawFn) -> RunRecord:
    """A finished run of any kind and state."""
    result = draw(_RESULTS)
    kind = {"audit": Job.AUDIT, "check": Job.CHECK, "restore-test": Job.RESTORE_TEST}
    job = kind[result.kind] if result else draw(st.sampled_from(Job))
    state = draw(st.sampled_from([state for state in RunState if state is not RunState.RUNNING]))
    return replace(
        run(job, draw(_AGES), result, draw(_VAULTS), state),
        id=f"r{draw(st.integers(min_value=0, max_value=10**9))}",
        policy=draw(st.sampled_from([POLICY.name, PolicyName("mail")])),
    )


_POLICIES: Final = st.builds(
    lambda read, **limits: replace(POLICY, read_data=read, objectives=Objectives(**limits)),
    read=st.sampled_from(["none", "10%", "100%"]),
    rpo=_LIMITS,
    rto=_LIMITS,
    replica_lag=_LIMITS,
    audit_age=_LIMITS,
    check_age=_LIMITS,
    restore_test_age=_LIMITS,
)
_RUNS: Final = st.lists(st.one_of(some_runs(), st.sampled_from(SOUND)), max_size=8, unique_by=lambda run: run.id)
_POINTS: Final = st.lists(
    st.one_of(some_points(), st.sampled_from([HERE, THERE])), max_size=6, unique_by=lambda point: point.snapshot
)
_WEIGHT: Final = list(Verdict)


@given(_POLICIES, _RUNS, _POINTS, _AGES)
def test_time_alone_never_makes_anything_younger_or_better(
    policy: Policy, runs: list[RunRecord], points: list[RecoveryPoint], later: timedelta
) -> None:
    for before, after in zip(
        assess([policy], runs, points, NOW), assess([policy], runs, points, NOW + later), strict=True
    ):
        assert _WEIGHT.index(after.verdict) <= _WEIGHT.index(before.verdict)
        for old, new in zip(before.controls, after.controls, strict=True):
            assert (old.measured is None) == (new.measured is None)
            assert (new.measured or timedelta()) >= (old.measured or timedelta())


@given(_POLICIES, _RUNS, _POINTS)
def test_a_met_copy_has_no_failing_control_and_a_failing_one_says_why(
    policy: Policy, runs: list[RunRecord], points: list[RecoveryPoint]
) -> None:
    for copy in assess([policy], runs, points, NOW):
        failing = [control for control in copy.controls if control.verdict.fails]
        assert (copy.verdict is Verdict.MET) == (not failing and not all(c.objective is None for c in copy.controls))
        assert copy.verdict.fails == any(gap.effect.fails for gap in copy.gaps)
        assert copy.verdict in {Verdict.MET, Verdict.MISSED, Verdict.NOT_PROVEN}


@given(_POLICIES, _RUNS, _POINTS)
def test_missing_proof_is_never_green(policy: Policy, runs: list[RunRecord], points: list[RecoveryPoint]) -> None:
    def verdicts(runs: list[RunRecord], points: list[RecoveryPoint]) -> set[Verdict]:
        return {copy.verdict for copy in assess([policy], runs, points, NOW)}

    assert Verdict.MET not in verdicts([run for run in runs if run.job is not Job.CHECK], points)
    assert Verdict.MET not in verdicts([run for run in runs if run.job is not Job.RESTORE_TEST], points)
    assert Verdict.MET not in verdicts(runs, [])
    assert Verdict.MET not in verdicts(runs, [replace(point, complete=False) for point in points])


@given(_POLICIES, _RUNS, _POINTS, some_runs())
def test_a_run_that_failed_never_improves_a_verdict(
    policy: Policy, runs: list[RunRecord], points: list[RecoveryPoint], extra: RunRecord
) -> None:
    failed = replace(extra, id="extra", state=RunState.FAILED)
    for without, with_it in zip(
        assess([policy], runs, points, NOW), assess([policy], [*runs, failed], points, NOW), strict=True
    ):
        assert _WEIGHT.index(with_it.verdict) <= _WEIGHT.index(without.verdict)


@given(_POLICIES, _RUNS, _POINTS, some_runs(), some_points(), st.integers())
def test_later_facts_foreign_facts_and_the_order_change_nothing(
    policy: Policy,
    runs: list[RunRecord],
    points: list[RecoveryPoint],
    run: RunRecord,
    point: RecoveryPoint,
    seed: int,
) -> None:
    plain = assess([policy], runs, points, NOW)
    later = replace(run, id="later", finished_at=NOW + TICK)
    unfinished = replace(run, id="open", finished_at=None, state=RunState.RUNNING)
    foreign = replace(run, id="foreign", tenant=TenantName("customs"))
    unseen = replace(point, snapshot="unseen", origin="unseen", seen_at=NOW + TICK, gone_at=None)
    theirs = replace(point, snapshot="theirs", origin="theirs", tenant=TenantName("customs"))
    more_runs, more_points = [*runs, later, unfinished, foreign], [*points, unseen, theirs]
    Random(seed).shuffle(more_runs)
    Random(seed).shuffle(more_points)
    going = [replace(p, gone_at=NOW + TICK) if p.gone_at is None else p for p in more_points]
    again = assess([policy], more_runs, going, NOW)
    assert [(copy.verdict, copy.gaps, copy.controls) for copy in again] == [
        (copy.verdict, copy.gaps, copy.controls) for copy in plain
    ]
    assert [copy.troubles for copy in again] == [copy.troubles for copy in plain]

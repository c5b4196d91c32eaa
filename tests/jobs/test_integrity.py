"""Verdicts: each rule by an example. What must hold of any history stands beside, in test_integrity_properties.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final

import pytest

from jobs.failure import Failure, FailureKind
from jobs.history import (
    BackupResult,
    CheckResult,
    Job,
    Owner,
    RecoveryPoint,
    RestoreTestResult,
    Result,
    RunRecord,
    RunState,
)
from jobs.integrity import Assessment, assess
from jobs.policy import Objectives, Paths, Policy, PolicyName, SiteName, TenantName, VaultName
from jobs.proof import reads_at_least, share
from jobs.verdict import EFFECT, ControlName, Gap, GapCode, Verdict, heaviest

NOW: Final = datetime(2026, 11, 21, 7, 30, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
TICK: Final = timedelta(microseconds=1)
PROMISED: Final = Objectives(rpo=DAY, rto=HOUR, replica_lag=6 * HOUR, check_age=7 * DAY, restore_test_age=7 * DAY)
POLICY: Final = Policy(
    name=PolicyName("files"),
    tenant=TenantName("ministry"),
    source=Paths(paths=("/srv/files",)),
    vault=VaultName("first"),
    site=SiteName("primary"),
    replica=VaultName("second"),
    replica_site=SiteName("secondary"),
    objectives=PROMISED,
)
_SITES: Final = {"first": "primary", "second": "secondary"}
_OWNER: Final = Owner(host="h", boot="b", pid=1, started="1")


def point(origin: str, ago: timedelta, vault: str = "first", tree: str = "t") -> RecoveryPoint:
    """A point whose data was taken `ago`, seen a minute later."""
    return RecoveryPoint(
        snapshot=f"{origin}@{vault}",
        origin=origin,
        tenant=POLICY.tenant,
        policy=POLICY.name,
        site=SiteName(_SITES[vault]),
        vault=VaultName(vault),
        run=f"backup-{origin}",
        time=NOW - ago,
        tree=tree,
        seen_at=NOW - ago,
    )


def run(
    job: Job, ago: timedelta, result: Result | None = None, vault: str = "first", state: RunState = RunState.SUCCEEDED
) -> RunRecord:
    """A run that ended `ago`."""
    return RunRecord(
        id=f"{job.value}-{vault}-{ago.total_seconds()}-{state.value}",
        job=job,
        tenant=POLICY.tenant,
        policy=POLICY.name,
        site=SiteName(_SITES[vault]),
        vault=VaultName(vault),
        settings_hash="",
        state=state,
        owner=_OWNER,
        started_at=NOW - ago - HOUR,
        finished_at=NOW - ago,
        result=result,
    )


def check(ago: timedelta, vault: str = "first", *, read: str = "100%", errors: int = 0) -> RunRecord:
    """A check, failed when it found errors."""
    state = RunState.FAILED if errors else RunState.SUCCEEDED
    return run(Job.CHECK, ago, CheckResult(read_data=read, errors=errors), vault, state)


def restored(ago: timedelta, of: RecoveryPoint, *, differences: int = 0, files: int = 9, took: float = 30) -> RunRecord:
    """A restore test of a point, at the point's site."""
    result = RestoreTestResult(
        snapshot=of.snapshot,
        snapshot_time=of.time,
        files_compared=files,
        bytes_compared=900,
        differences=differences,
        seconds=took,
    )
    return run(Job.RESTORE_TEST, ago, result, of.vault, RunState.FAILED if differences else RunState.SUCCEEDED)


HERE: Final = point("a", HOUR)
THERE: Final = point("a", HOUR, "second")
SOUND: Final = (
    check(HOUR),
    check(HOUR, "second"),
    restored(HOUR, HERE),
    restored(HOUR, THERE),
)


def judged(
    runs: Iterable[RunRecord] = SOUND,
    points: Iterable[RecoveryPoint] = (HERE, THERE),
    *,
    policy: Policy = POLICY,
    as_of: datetime = NOW,
) -> tuple[Assessment, Assessment]:
    """The two copies of the one policy."""
    first, second = assess([policy], runs, points, as_of)
    return first, second


def codes(copy: Assessment) -> set[GapCode]:
    """What is missing of a copy."""
    return {gap.code for gap in copy.gaps}


def promising(**objectives: timedelta | None) -> Policy:
    """The policy with other objectives."""
    return replace(POLICY, objectives=replace(PROMISED, **objectives))


def test_sound_copies_are_met_without_a_gap() -> None:
    for copy in judged():
        assert copy.verdict is Verdict.MET
        assert copy.gaps == ()
        assert copy.troubles == ()


def test_nothing_known_is_not_proven_on_every_control() -> None:
    for copy in judged([], []):
        assert {control.verdict for control in copy.controls} == {Verdict.NOT_PROVEN}
        assert copy.verdict is Verdict.NOT_PROVEN


@pytest.mark.parametrize("over", [-TICK, timedelta(), TICK])
def test_a_figure_equal_to_its_objective_is_met_and_a_microsecond_more_is_not(over: timedelta) -> None:
    wanted = Verdict.MISSED if over > timedelta() else Verdict.MET
    aged = point("a", DAY + over)
    waiting = point("b", 6 * HOUR + over)
    by_age = judged([check(7 * DAY + over), restored(7 * DAY + over, HERE)])[0]
    by_time = judged([*SOUND, restored(SECOND, HERE, took=(HOUR + over).total_seconds())])[0]
    figures = [
        (judged(points=[aged, THERE])[0], ControlName.RECOVERY_POINT),
        (judged(points=[point("a", DAY), waiting, point("a", DAY, "second")])[1], ControlName.REPLICA_LAG),
        (by_age, ControlName.CHECK),
        (by_age, ControlName.RESTORE_TEST),
        (by_time, ControlName.RESTORE_TIME),
    ]
    for copy, name in figures:
        control = copy.control(name)
        assert control is not None
        assert control.verdict is wanted, name


def test_a_partial_or_future_point_is_named_and_does_not_count() -> None:
    partial = replace(point("b", SECOND), complete=False)
    copied = point("b", SECOND, "second")  # a listing there cannot know that its backup was partial
    future = replace(point("c", -HOUR), seen_at=NOW)
    first, second = judged(points=[HERE, THERE, partial, copied, future])
    assert first.newest == HERE
    assert second.newest == THERE
    assert {GapCode.POINT_INCOMPLETE, GapCode.POINT_IN_FUTURE} <= codes(first)
    assert GapCode.POINT_INCOMPLETE in codes(second)
    assert judged(points=[partial])[0].newest is None


def test_replica_lag_is_zero_when_the_newest_is_there_and_else_the_wait_of_the_oldest_that_is_not() -> None:
    old, mid, new = point("o", 9 * HOUR), point("m", 5 * HOUR), point("n", HOUR)
    there = point("o", 9 * HOUR, "second")

    def lag(*points: RecoveryPoint) -> timedelta | None:
        control = judged(points=points)[1].control(ControlName.REPLICA_LAG)
        return control.measured if control else None

    assert lag(old, mid, new, there) == 5 * HOUR
    assert lag(old, there) == timedelta()
    assert lag(old, mid, new, there, point("n", HOUR, "second")) == timedelta()
    assert lag(old, mid, new) is None
    assert lag(there) is None


def test_a_point_that_retention_took_from_the_replica_is_no_hole_but_one_that_never_came_is() -> None:
    older = point("x", 3 * HOUR)
    left = replace(point("x", 3 * HOUR, "second"), gone_at=NOW - HOUR)
    kept = judged(points=[older, left, HERE, THERE])[1]
    hole = judged(points=[older, HERE, THERE])[1]
    assert kept.verdict is Verdict.MET
    assert hole.verdict is Verdict.MISSED
    assert codes(hole) == {GapCode.POINTS_OVERTAKEN}
    assert (kept.parity and kept.parity.missing, hole.parity and hole.parity.overtaken) == (1, 1)


def test_the_same_point_with_another_tree_is_a_miss() -> None:
    second = judged(points=[HERE, replace(THERE, tree="other")])[1]
    assert second.verdict is Verdict.MISSED
    assert GapCode.TREES_DIFFER in codes(second)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("none", Fraction(0)),
        ("100%", Fraction(1)),
        ("2.5%", Fraction(1, 40)),
        ("2/4", Fraction(1, 4)),
        ("500M", None),
        ("1/0", None),
        ("", None),
    ],
)
def test_shares_of_the_data(text: str, part: Fraction | None) -> None:
    assert share(text) == part


def test_a_check_proves_what_it_read_and_no_more() -> None:
    assert reads_at_least("100%", "500M")
    assert reads_at_least("500M", "500M")
    assert reads_at_least("500M", "none")
    assert not reads_at_least("500M", "10%")
    assert not reads_at_least("10%", "1/4")
    assert reads_at_least("1/4", "25%")


def test_a_check_that_read_less_than_promised_does_not_renew_the_one_that_read_enough() -> None:
    first = judged([*SOUND, check(SECOND, read="none")])[0]
    assert first.check is not None
    assert first.check.at == NOW - HOUR
    alone = judged([check(SECOND, read="10%"), restored(HOUR, HERE)])[0]
    assert alone.verdict is Verdict.NOT_PROVEN
    assert codes(alone) == {GapCode.CHECKED_TOO_LITTLE}


def test_a_partial_read_that_was_promised_is_met_and_named() -> None:
    first = judged([check(HOUR, read="10%"), *SOUND[2:]], policy=replace(POLICY, read_data="10%"))[0]
    assert first.verdict is Verdict.MET
    assert first.gaps == (Gap(code=GapCode.CHECK_READ_PART, detail="10%"),)


@pytest.mark.parametrize(
    ("damaged", "clean", "cleared"),
    [
        ("100%", "100%", True),
        ("100%", "none", False),
        ("10%", "10%", False),  # another tenth of the data each time
        ("2/8", "2/8", True),
        ("2/8", "3/8", False),
        ("none", "none", True),
    ],
)
def test_damage_stands_until_the_same_data_is_read_clean(damaged: str, clean: str, *, cleared: bool) -> None:
    runs = [*SOUND, check(30 * 60 * SECOND, read=damaged, errors=2), check(SECOND, read=clean)]
    first = judged(runs, policy=replace(POLICY, read_data="none"))[0]
    assert (GapCode.DAMAGE_FOUND in codes(first)) is not cleared
    assert first.verdict is (Verdict.MET if cleared else Verdict.MISSED)


def test_a_check_speaks_for_every_policy_of_its_repository_and_for_no_other() -> None:
    others = [replace(run, policy=PolicyName("mail")) for run in SOUND if run.job is Job.CHECK]
    tests = [run for run in SOUND if run.job is Job.RESTORE_TEST]
    assert judged([*others, *tests])[0].verdict is Verdict.MET
    foreign = [replace(run, tenant=TenantName("customs")) for run in others]
    assert codes(judged([*foreign, *tests])[0]) == {GapCode.NEVER_CHECKED}


def test_a_restore_test_of_another_policy_or_site_proves_nothing_here() -> None:
    mail = [replace(run, policy=PolicyName("mail")) for run in SOUND if run.job is Job.RESTORE_TEST]
    assert GapCode.NEVER_RESTORED in codes(judged([*SOUND[:2], *mail])[0])
    assert GapCode.NEVER_RESTORED in codes(judged([*SOUND[:2], SOUND[2]])[1])


def test_differences_stand_until_that_snapshot_is_clean_or_gone() -> None:
    older = point("x", 3 * HOUR)
    both = [older, HERE, point("x", 3 * HOUR, "second"), THERE]
    found = restored(2 * HOUR, older, differences=3)
    stands = judged([*SOUND, found], both)[0]
    assert stands.verdict is Verdict.MISSED
    assert stands.restore_test is not None
    assert stands.restore_test.result.differences == 3
    assert judged([*SOUND, found, restored(SECOND, older)], both)[0].verdict is Verdict.MET
    gone = [replace(older, gone_at=NOW - SECOND), *both[1:]]
    assert judged([*SOUND, found], gone)[0].verdict is Verdict.MET
    last = restored(SECOND, replace(older, snapshot="gone"), differences=1)
    assert judged([*SOUND, last], gone)[0].verdict is Verdict.MISSED


def test_a_test_that_compared_nothing_or_timed_nothing_proves_nothing() -> None:
    empty = judged([*SOUND[:2], restored(HOUR, HERE, files=0)])[0]
    untimed = judged([*SOUND[:2], restored(HOUR, HERE, took=0)])[0]
    assert codes(empty) == {GapCode.NO_CLEAN_TEST, GapCode.RESTORE_TIME_UNKNOWN}
    assert codes(untimed) == {GapCode.RESTORE_TIME_UNKNOWN}
    assert {empty.verdict, untimed.verdict} == {Verdict.NOT_PROVEN}


def test_reservations_are_named_and_do_not_fail() -> None:
    newer = point("b", SECOND)
    changing = replace(run(Job.BACKUP, SECOND, BackupResult(changed_count=4)), id=newer.run)
    proof = SOUND[2].result
    assert isinstance(proof, RestoreTestResult)
    odd = replace(SOUND[2], result=replace(proof, changed=2, not_compared=1))
    first = judged([*SOUND[:2], odd, changing], [HERE, THERE, newer])[0]
    assert first.verdict is Verdict.MET
    assert {gap.code: gap.count for gap in first.gaps} == {
        GapCode.FILES_WERE_CHANGING: 4,
        GapCode.NEWER_THAN_TESTED: 1,
        GapCode.FILES_CHANGED_IN_TEST: 2,
        GapCode.FILES_NOT_COMPARED: 1,
    }


def test_without_an_objective_proof_is_still_expected_once_and_then_not_judged() -> None:
    quiet = promising(check_age=None, restore_test_age=None, rto=None, replica_lag=None)
    for copy in judged(policy=quiet):
        assert copy.verdict is Verdict.MET
        assert {control.verdict for control in copy.controls} <= {Verdict.MET, Verdict.NO_OBJECTIVE}
        assert GapCode.NO_OBJECTIVE in codes(copy)
    assert judged(SOUND[2:], policy=quiet)[0].verdict is Verdict.NOT_PROVEN
    assert judged(SOUND[:2], policy=quiet)[0].verdict is Verdict.NOT_PROVEN


def test_where_nothing_is_promised_nothing_is_met() -> None:
    for copy in judged(policy=replace(POLICY, objectives=Objectives())):
        assert copy.verdict is Verdict.NOT_PROVEN
        assert GapCode.NOTHING_PROMISED in codes(copy)


def test_what_went_wrong_since_the_last_success_is_named_with_its_count() -> None:
    failure = Failure(kind=FailureKind.DISK_FULL, message="backup files@first: no space left")
    good = run(Job.BACKUP, 4 * HOUR)
    bad = [run(Job.BACKUP, n * HOUR, state=state) for n, state in ((3, RunState.FAILED), (2, RunState.INTERRUPTED))]
    last = replace(run(Job.BACKUP, HOUR, state=RunState.FAILED), failure=failure)
    skipped = run(Job.BACKUP, SECOND, state=RunState.SKIPPED)
    first = judged([*SOUND, good, run(Job.BACKUP, 5 * HOUR, state=RunState.FAILED), *bad, last, skipped])[0]
    (trouble,) = first.troubles
    assert (trouble.job, trouble.count, trouble.last) == (Job.BACKUP, 3, last)
    assert judged([*SOUND, last, run(Job.BACKUP, SECOND)])[0].troubles == ()


def test_every_gap_has_an_effect_and_weights_are_total() -> None:
    assert set(EFFECT) == set(GapCode)
    assert heaviest([]) is Verdict.MET
    assert heaviest(reversed(Verdict)) is Verdict.MISSED
    assert [verdict for verdict in Verdict if verdict.fails] == [Verdict.MISSED, Verdict.NOT_PROVEN]


def test_what_ended_at_the_very_instant_counts() -> None:
    now = timedelta()
    first, _ = judged([check(now), check(HOUR, "second"), restored(now, HERE), restored(HOUR, THERE)])
    assert first.verdict is Verdict.MET


def test_what_went_wrong_is_counted_in_the_order_in_which_it_ended() -> None:
    good = run(Job.BACKUP, 2 * HOUR)
    late = replace(run(Job.BACKUP, HOUR, state=RunState.FAILED), started_at=good.started_at - HOUR)
    first, _ = judged([*SOUND, late, good])
    assert [(trouble.job, trouble.count, trouble.last) for trouble in first.troubles] == [(Job.BACKUP, 1, late)]
    over, _ = judged([*SOUND, late, good, run(Job.BACKUP, timedelta(minutes=1))])
    assert over.troubles == ()


def test_a_check_for_another_policy_is_everybodys_trouble_and_a_backup_for_it_is_not() -> None:
    others = [replace(each, policy=PolicyName("mail")) for each in (check(TICK, errors=1), run(Job.BACKUP, TICK))]
    failed = replace(others[1], state=RunState.FAILED)
    first, second = judged([*SOUND, others[0], failed])
    assert [trouble.job for trouble in first.troubles] == [Job.CHECK]
    assert second.troubles == ()


def test_a_point_of_the_future_is_neither_waited_for_nor_compared() -> None:
    ahead = [replace(point("b", -HOUR, vault), seen_at=NOW) for vault in ("first", "second")]
    for more in ([ahead[0]], [ahead[1]]):
        _, second = judged(points=[HERE, THERE, *more])
        assert second.parity is not None
        assert (second.parity.equal, second.parity.missing, second.parity.surplus) == (1, 0, 0)
        assert GapCode.REPLICA_LATE not in codes(second)
    at_once = [point("c", timedelta(), vault) for vault in ("first", "second")]
    _, second = judged(points=[HERE, THERE, *at_once])
    assert second.parity is not None
    assert second.parity.equal == 2


def test_points_of_which_half_are_equal_have_something_in_common() -> None:
    _, second = judged(points=[HERE, THERE, point("b", DAY), point("b", DAY, "second", tree="other")])
    assert GapCode.TREES_DIFFER in codes(second)
    assert GapCode.NOTHING_IN_COMMON not in codes(second)

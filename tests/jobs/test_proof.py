"""What counts as a proof, which of several is shown, and which no longer stands: the rules one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from jobs.history import AuditResult, CheckResult, Job, RecoveryPoint, RestoreTestResult, Result, RunRecord, RunState
from jobs.policy import Objectives
from jobs.proof import audits, checks, judge_checks, judge_restore_tests, restore_tests
from jobs.verdict import GapCode
from tests.jobs.making import policy
from tests.orchestrator.ledger.build import over, point

NOW: Final = datetime(2026, 11, 21, 7, 30, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
POLICY: Final = policy(
    objectives=Objectives(check_age=24 * HOUR, restore_test_age=24 * HOUR, rto=HOUR), read_data="50%"
)


def ended(job: Job, hours_ago: float, result: Result | None, state: RunState = RunState.SUCCEEDED) -> RunRecord:
    at = NOW - hours_ago * HOUR
    return over(int(hours_ago * 60), job=job, started_at=at - HOUR, finished_at=at, state=state, result=result)


def check(hours_ago: float, read: str = "100%", errors: int = 0, **changes: Any) -> RunRecord:
    return ended(Job.CHECK, hours_ago, CheckResult(read_data=read, errors=errors), **changes)


def restored(hours_ago: float, of: RecoveryPoint, state: RunState = RunState.SUCCEEDED, **found: Any) -> RunRecord:
    told = {"files_compared": 9, "bytes_compared": 900, "differences": 0, "seconds": 30.0, **found}
    result = RestoreTestResult(snapshot=of.snapshot, snapshot_time=of.time, **told)
    return ended(Job.RESTORE_TEST, hours_ago, result, state)


OLD, NEW = (replace(point(number), snapshot=f"{number}" * 64, time=NOW - HOUR) for number in (1, 2))


def shown_check(*runs: RunRecord) -> tuple[RunRecord | None, set[GapCode], timedelta | None]:
    shown, control = judge_checks(POLICY, checks(runs, NOW), NOW)
    return shown.run if shown else None, {gap.code for gap in control.gaps}, control.measured


def shown_test(*runs: RunRecord, here: tuple[RecoveryPoint, ...] = (OLD, NEW)) -> tuple[RunRecord | None, set[GapCode]]:
    shown, (age, _) = judge_restore_tests(POLICY, restore_tests(runs, NOW), here, None, NOW)
    assert age.measured == (NOW - shown.at if shown else None)
    return shown.run if shown else None, {gap.code for gap in age.gaps}


# --- checks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.INTERRUPTED, RunState.BLOCKED])
def test_a_check_that_did_not_come_to_its_end_proves_nothing_although_it_found_nothing(state: RunState) -> None:
    cut = check(1, state=state)
    assert shown_check(cut) == (cut, {GapCode.NO_CLEAN_CHECK}, HOUR)
    good = check(2)
    assert shown_check(good, cut) == (good, set(), 2 * HOUR)


def test_of_clean_checks_the_last_that_read_enough_is_shown_and_else_the_last() -> None:
    enough, little, cut = check(3, "50%"), check(2, "10%"), check(1, state=RunState.FAILED)
    assert shown_check(enough, little, cut)[:2] == (enough, {GapCode.CHECK_READ_PART})
    assert shown_check(little, cut)[:2] == (little, {GapCode.CHECKED_TOO_LITTLE})
    assert shown_check()[:2] == (None, {GapCode.NEVER_CHECKED})
    assert shown_check(ended(Job.CHECK, 1, None))[0] is None
    assert checks([ended(Job.RESTORE_TEST, 1, CheckResult())], NOW) == ()


def test_damage_is_shown_before_all_that_is_clean_until_its_place_was_seen_again() -> None:
    damage, part, whole = check(3, "1/4", errors=2, state=RunState.FAILED), check(2, "90%"), check(1)
    assert shown_check(damage, part) == (damage, {GapCode.DAMAGE_FOUND}, 3 * HOUR)
    assert shown_check(damage, part, whole)[0] == whole
    assert shown_check(damage, check(2, "1/4"))[1] == {GapCode.CHECKED_TOO_LITTLE}
    sample = check(3, "10%", errors=2, state=RunState.FAILED)  # of other packs each time
    assert shown_check(sample, check(2, "10%"))[0] == sample


def test_a_run_whose_end_is_not_known_counts_as_of_now() -> None:
    (proof,) = checks([replace(check(1), finished_at=None)], NOW)
    assert proof.at == NOW
    (proved,) = restore_tests([replace(restored(1, OLD), finished_at=None)], NOW)
    assert proved.at == NOW
    (audited,) = audits([replace(ended(Job.AUDIT, 1, AuditResult(files=1)), finished_at=None)], NOW)
    assert audited.at == NOW


# --- restore tests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "state", "code"),
    [
        ({"differences": 1}, RunState.SUCCEEDED, GapCode.DIFFERENCES_FOUND),
        ({"files_compared": 0}, RunState.SUCCEEDED, GapCode.NO_CLEAN_TEST),
        ({}, RunState.FAILED, GapCode.NO_CLEAN_TEST),
        ({}, RunState.INTERRUPTED, GapCode.NO_CLEAN_TEST),
    ],
)
def test_a_restore_test_proves_something_if_it_ended_well_and_compared_and_found_all_equal(
    found: dict[str, Any], state: RunState, code: GapCode
) -> None:
    assert shown_test(restored(1, OLD, state, **found))[1] == {code}
    (proof,) = restore_tests([restored(1, OLD, state, **found)], NOW)
    assert not proof.clean
    assert shown_test(restored(1, OLD))[1] == set()
    assert shown_test() == (None, {GapCode.NEVER_RESTORED})


def test_what_is_no_restore_test_is_none_whatever_it_found() -> None:
    assert restore_tests([replace(restored(1, OLD), job=Job.CHECK), ended(Job.RESTORE_TEST, 1, None)], NOW) == ()


def test_differences_stand_until_the_same_snapshot_was_found_equal_and_no_test_that_was_cut_off_ends_them() -> None:
    different = restored(4, OLD, RunState.FAILED, differences=3)
    other, cut = restored(3, NEW), restored(2, OLD, RunState.INTERRUPTED, files_compared=0)
    assert shown_test(different, other, cut) == (different, {GapCode.DIFFERENCES_FOUND})
    again = restored(1, OLD)
    assert shown_test(different, other, cut, again) == (again, set())


def test_of_differences_in_two_snapshots_the_newest_is_shown() -> None:
    first, second = (restored(hours, of, RunState.FAILED, differences=1) for hours, of in ((4, OLD), (3, NEW)))
    assert shown_test(first, second)[0] == second
    back = restored(2, OLD, RunState.FAILED, differences=1)
    assert shown_test(first, second, back)[0] == back


def test_differences_in_a_snapshot_that_is_gone_stand_only_while_nothing_came_after() -> None:
    different = restored(4, OLD, RunState.FAILED, differences=3)
    assert shown_test(different, here=(NEW,))[0] == different
    other = restored(3, NEW)
    assert shown_test(different, other, here=(NEW,))[0] == other


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(0.0, GapCode.RESTORE_TIME_UNKNOWN), (0.5, None), (3600.0, None), (3600.5, GapCode.RESTORE_TOO_SLOW)],
)
def test_how_long_a_restore_takes_is_known_from_a_timer_that_ran(seconds: float, code: GapCode | None) -> None:
    made = restore_tests([restored(1, OLD, seconds=seconds)], NOW)
    _, (_, took) = judge_restore_tests(POLICY, made, [OLD], None, NOW)
    assert {gap.code for gap in took.gaps} == ({code} if code else set())

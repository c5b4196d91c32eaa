"""Every open slot is answered once: closed, started or waiting, each with its reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.dispatch import Closing, Situation, Start, Wait, dispatch, related_ids
from jobs.history import AuditResult, CheckResult, Job, RunRecord, RunState
from jobs.policy import SiteName, TenantName, VaultName
from jobs.slot import OPEN, Slot, SlotState, WhyKind
from jobs.window import Window
from tests.jobs.making import BAD, DAY, HELD, HOUR, MINUTE, NOW, RETRY, answer, policy, run, situation, slot, waits


def closed(made: Closing | Start | Wait) -> tuple[SlotState, WhyKind, str]:
    assert isinstance(made, Closing)
    assert made.why.text
    return made.state, made.why.kind, made.why.other


def chained(job: Job, after: Job = Job.BACKUP, **changes: object) -> Slot:
    return slot(job, **{"after": after, **changes})  # type: ignore[arg-type]  # (fields by name)


# --- a slot's own circumstances ----------------------------------------------------------------------------------


def test_what_is_due_starts_as_its_policy_says_now() -> None:
    made = answer(slot(Job.REPLICATE), known=situation(policy(settings_hash="newer")))
    assert isinstance(made, Start)
    step = made.step
    assert (step.job, step.vault, step.source_vault, step.settings_hash) == (Job.REPLICATE, "two", "one", "newer")


@pytest.mark.parametrize(
    ("known", "of"),
    [
        (situation(), slot()),
        (situation(policy(tenant="south")), slot()),
        (situation(policy(vault="three", site=SiteName("third"))), slot()),
        (situation(policy(replica=None)), slot(Job.REPLICATE)),
        (situation(policy(replica=None)), slot(Job.CHECK, vault="two")),
        (situation(policy(replica=None)), chained(Job.RETENTION, Job.REPLICATE)),
        (situation(policy(retention=None)), slot(Job.RETENTION)),
    ],
)
def test_what_the_settings_no_longer_hold_is_skipped(known: Situation, of: Slot) -> None:
    assert closed(answer(of, known=known))[:2] == (SlotState.SKIPPED, WhyKind.POLICY_GONE)


def test_of_a_line_the_newest_starts_and_stands_for_the_others() -> None:
    slots = [slot(due=NOW - days * DAY, known_at=NOW) for days in (3, 2, 1, 0)]
    moves = dispatch(slots, situation(policy()), NOW)
    assert [start.slot for start in moves.starts] == [slots[-1]]
    assert {(each.state, each.why.other) for each in moves.closings} == {(SlotState.COALESCED, slots[-1].id)}
    assert all("did not run" in each.why.text for each in moves.closings)


def test_an_edit_of_the_settings_does_not_make_two_lines_of_it() -> None:
    old, new = slot(due=NOW - HOUR, line=1), slot(line=2, settings_hash="other")
    assert closed(answer(new, old)) == (SlotState.COALESCED, WhyKind.NEWER, new.id)


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({}, (SlotState.MISSED, WhyKind.TOO_LATE, "")),
        ({"known_at": NOW + DAY}, (SlotState.MISSED, WhyKind.NOT_RUNNING, "")),
        ({"known_at": NOW + MINUTE}, (SlotState.MISSED, WhyKind.TOO_LATE, "")),
        ({"known_at": NOW + 2 * MINUTE}, (SlotState.MISSED, WhyKind.NOT_RUNNING, "")),
        ({"why": HELD}, (SlotState.BLOCKED, WhyKind.HELD, "run-7")),
        ({"why": replace(HELD, kind=WhyKind.AFTER)}, (SlotState.BLOCKED, WhyKind.AFTER, "run-7")),
        ({"why": replace(HELD, kind=WhyKind.LIMIT)}, (SlotState.BLOCKED, WhyKind.LIMIT, "run-7")),
        ({"why": replace(HELD, kind=WhyKind.WINDOW)}, (SlotState.MISSED, WhyKind.TOO_LATE, "")),
        ({"why": RETRY, "attempts": 3, "run": "run-8"}, (SlotState.FAILED, WhyKind.RAN, "run-8")),
        (
            {"why": replace(RETRY, kind=WhyKind.CUT_OFF), "attempts": 1, "run": "run-8"},
            (SlotState.INTERRUPTED, WhyKind.RAN, "run-8"),
        ),
        (
            {"why": replace(RETRY, kind=WhyKind.LOCKED), "attempts": 1, "run": "run-8"},
            (SlotState.BLOCKED, WhyKind.LOCKED, "run-8"),
        ),
    ],
)
def test_what_can_start_no_more_ends_as_what_kept_it_says(
    changes: dict[str, object], end: tuple[SlotState, WhyKind, str]
) -> None:
    late = slot(**changes)  # type: ignore[arg-type]  # (fields by name)
    assert closed(answer(late, now=NOW + DAY)) == end


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, SlotState.COALESCED),
        ({"why": HELD}, SlotState.BLOCKED),
        ({"why": RETRY, "attempts": 2, "run": "run-8"}, SlotState.FAILED),
    ],
)
def test_a_successor_does_not_hide_that_something_held_or_failed_the_one_before(
    changes: dict[str, object], state: SlotState
) -> None:
    before = slot(due=NOW - DAY, **changes)  # type: ignore[arg-type]  # (fields by name)
    assert closed(answer(slot(), before))[0] is state


def test_older_slots_are_missed_when_the_newest_is_too_late_as_well() -> None:
    old, newest = slot(due=NOW - DAY), slot(until=NOW + HOUR)
    assert closed(answer(newest, old, now=NOW + 2 * HOUR))[0] is SlotState.MISSED


def test_the_newest_stands_for_the_others_also_while_it_runs_past_its_end() -> None:
    old, newest = slot(due=NOW - DAY), slot(until=NOW + HOUR, state=SlotState.RUNNING)
    assert closed(answer(newest, old, now=NOW + 2 * HOUR))[0] is SlotState.COALESCED


def test_what_failed_waits_for_its_pause_and_says_so() -> None:
    waiting = slot(attempts=1, run="run-8", why=RETRY, retry_at=NOW + 5 * MINUTE)
    made = answer(waiting)
    assert made == Wait(slot=waiting, why=RETRY, until=NOW + 5 * MINUTE)
    assert isinstance(answer(waiting, now=NOW + 5 * MINUTE), Start)


def test_a_pause_that_a_clock_set_back_made_endless_is_over() -> None:
    assert isinstance(answer(slot(attempts=1, why=RETRY, retry_at=NOW + 5 * HOUR)), Start)


def test_what_is_on_record_before_it_is_due_waits_until_then() -> None:
    early = slot(due=NOW + 9 * MINUTE)
    made = answer(early)
    assert waits(made)[0] is WhyKind.NOT_YET
    assert isinstance(made, Wait)
    assert made.until == early.due


def test_one_that_is_not_due_yet_does_not_stand_for_the_one_before() -> None:
    assert isinstance(answer(slot(due=NOW + 9 * MINUTE), slot(due=NOW - HOUR)), Start)


def test_outside_its_window_it_waits_until_that_opens() -> None:
    made = answer(slot(), known=situation(policy(window=Window("20:00-21:00"))))
    assert waits(made)[0] is WhyKind.WINDOW
    assert isinstance(made, Wait)
    assert made.until == NOW + 17 * HOUR


# --- what comes after another ------------------------------------------------------------------------------------


def test_who_waits_for_whom_is_told_by_id() -> None:
    known = {policy().name: policy()}
    assert related_ids(slot(), known) == ()
    assert related_ids(chained(Job.REPLICATE), known) == (slot().id,)
    assert related_ids(chained(Job.RETENTION), known) == (slot().id,)
    assert related_ids(chained(Job.RETENTION, Job.REPLICATE, vault="two"), known) == (slot(Job.REPLICATE).id,)
    assert related_ids(chained(Job.REPLICATE), {}) == ()


@pytest.mark.parametrize("state", sorted(OPEN))
def test_a_copy_waits_for_the_end_of_its_backup(state: SlotState) -> None:
    backup = slot(state=state)
    made = answer(chained(Job.REPLICATE), known=situation(policy(), related=[backup]))
    assert waits(made) == (WhyKind.AFTER, backup.id)


@pytest.mark.parametrize("state", [SlotState.SUCCEEDED, SlotState.PARTIAL])
def test_after_a_good_backup_the_copy_starts(state: SlotState) -> None:
    known = situation(policy(), related=[slot(state=state, closed_at=NOW)])
    assert isinstance(answer(chained(Job.REPLICATE), known=known), Start)


@pytest.mark.parametrize("state", BAD)
def test_after_a_bad_backup_neither_the_copy_nor_the_retention_behind_it_runs(state: SlotState) -> None:
    known = situation(policy(), related=[slot(state=state, closed_at=NOW)])
    copy, retention = chained(Job.REPLICATE), chained(Job.RETENTION, Job.REPLICATE)
    moves = dispatch([retention, copy], known, NOW)
    assert [closed(each) for each in moves.closings] == [
        (SlotState.BLOCKED, WhyKind.AFTER, slot().id),
        (SlotState.BLOCKED, WhyKind.AFTER, copy.id),
    ]


def test_what_waits_for_one_that_a_newer_stands_for_is_coalesced_too() -> None:
    known = situation(policy(), related=[slot(state=SlotState.COALESCED, closed_at=NOW)])
    assert closed(answer(chained(Job.REPLICATE), known=known))[0] is SlotState.COALESCED


def test_what_waits_for_one_that_nobody_knows_of_waits_and_is_blocked_at_its_end() -> None:
    unknown = chained(Job.REPLICATE)
    made = answer(unknown)
    assert waits(made) == (WhyKind.AFTER, slot().id)
    assert isinstance(made, Wait)
    assert closed(answer(replace(unknown, why=made.why), now=NOW + DAY))[0] is SlotState.BLOCKED
    assert closed(answer(replace(unknown, until=None)))[0] is SlotState.BLOCKED


@pytest.mark.parametrize(
    ("last", "end"),
    [
        ([], (SlotState.SKIPPED, WhyKind.NOTHING_TO_DO, "")),
        ([run(state=RunState.FAILED)], (SlotState.BLOCKED, WhyKind.AFTER, "run-backup-files")),
        ([run(state=RunState.INTERRUPTED)], (SlotState.BLOCKED, WhyKind.AFTER, "run-backup-files")),
    ],
)
def test_a_retention_of_its_own_time_removes_nothing_without_a_good_backup(
    last: list[RunRecord], end: tuple[SlotState, WhyKind, str]
) -> None:
    known = situation(policy(), last_backups=last)
    assert closed(answer(slot(Job.RETENTION), known=known)) == end


def test_a_retention_of_its_own_time_runs_after_a_good_backup() -> None:
    known = situation(policy(), last_backups=[run(state=RunState.PARTIAL)])
    assert isinstance(answer(slot(Job.RETENTION), known=known), Start)


# --- checks of one repository ------------------------------------------------------------------------------------


def checked(read_data: str = "100%", **changes: object) -> RunRecord:
    result = CheckResult(read_data=read_data)
    return run(Job.CHECK, "other", **{"state": RunState.SUCCEEDED, "started_at": NOW, "result": result, **changes})  # type: ignore[arg-type]  # (by name)


def test_another_policys_check_since_then_stands_for_it() -> None:
    known = situation(policy(read_data="10%"), good=[checked()])
    made = answer(slot(Job.CHECK), known=known)
    assert closed(made) == (SlotState.COALESCED, WhyKind.SAME_REPOSITORY, "run-check-other")


@pytest.mark.parametrize(
    "other",
    [
        checked("10%"),
        checked(started_at=NOW - MINUTE),
        checked(vault="two"),
        checked(tenant=TenantName("south")),
        checked(result=None),
    ],
)
def test_a_check_of_less_or_before_or_of_another_repository_does_not(other: RunRecord) -> None:
    assert isinstance(answer(slot(Job.CHECK), known=situation(policy(), good=[other])), Start)


def test_of_two_checks_of_a_repository_one_starts_and_reads_what_both_ask() -> None:
    asks = [policy("a", read_data="10%"), policy("b", read_data="50%")]
    moves = dispatch([slot(Job.CHECK, of="a"), slot(Job.CHECK, of="b")], situation(*asks), NOW)
    (start,) = moves.starts
    (wait,) = moves.waits
    assert start.step.read_data == "50%"
    assert waits(wait) == (WhyKind.HELD, start.slot.id)


def test_another_policys_audit_since_then_stands_for_it_and_its_check_does_not() -> None:
    audited = run(Job.AUDIT, "other", state=RunState.SUCCEEDED, started_at=NOW, result=AuditResult(files=1))
    made = answer(slot(Job.AUDIT), known=situation(policy(), good=[audited]))
    assert closed(made) == (SlotState.COALESCED, WhyKind.SAME_REPOSITORY, "run-audit-other")
    for good in (checked(), replace(audited, started_at=NOW - MINUTE), replace(audited, vault=VaultName("two"))):
        assert isinstance(answer(slot(Job.AUDIT), known=situation(policy(), good=[good])), Start)
    assert isinstance(answer(slot(Job.CHECK), known=situation(policy(), good=[audited])), Start)


def test_of_two_audits_of_a_repository_one_starts_and_backups_go_on_beside_it() -> None:
    slots = [slot(Job.AUDIT, of="a"), slot(Job.AUDIT, of="b"), slot(of="a"), slot(Job.RETENTION, of="b")]
    known = situation(policy("a"), policy("b"), last_backups=[run(of="b", state=RunState.SUCCEEDED)])
    moves = dispatch(slots, known, NOW)
    assert [(start.slot.job, start.slot.policy) for start in moves.starts] == [(Job.BACKUP, "a"), (Job.AUDIT, "a")]
    assert {(wait.slot.job, wait.slot.policy): wait.why.kind for wait in moves.waits} == {
        (Job.AUDIT, "b"): WhyKind.HELD,
        (Job.RETENTION, "b"): WhyKind.HELD,
    }


def test_why_an_attempt_failed_is_kept_while_it_waits_for_something_else() -> None:
    again = slot(attempts=2, run="run-8", why=RETRY, retry_at=NOW - MINUTE)
    busy = situation(policy(), under_way=[run()])
    first = answer(again, known=busy)
    assert isinstance(first, Wait)
    assert first.why.kind is WhyKind.RETRY
    assert RETRY.text in first.why.text
    assert "run-backup-files" in first.why.text
    second = answer(replace(again, why=first.why), known=busy)
    assert isinstance(second, Wait)
    assert second.why == first.why
    end = answer(replace(again, why=second.why), known=busy, now=NOW + DAY)
    assert closed(end) == (SlotState.FAILED, WhyKind.RAN, "run-8")
    assert isinstance(end, Closing)
    assert RETRY.text in end.why.text


def test_what_waited_for_its_window_says_so_where_a_newer_one_stands_for_it() -> None:
    before = slot(due=NOW - DAY, why=replace(HELD, kind=WhyKind.WINDOW))
    assert closed(answer(slot(), before)) == (SlotState.COALESCED, WhyKind.WINDOW, slot().id)

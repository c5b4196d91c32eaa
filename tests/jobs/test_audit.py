"""What readings of a file mean, what must be there, and what an audit's findings come to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.audit import AUDITED, DAMAGE, Reading, Seen, Tally, failure, is_settled, missing, seen
from jobs.failure import FailureKind
from jobs.history import AuditResult, Job, RunRecord, RunState
from jobs.policy import Objectives
from jobs.proof import audits, judge_audits
from jobs.verdict import GapCode, Verdict
from tests.jobs.making import DAY, HOUR, NOW, policy, run, timetable

NAME = "a" * 64
OTHER = "b" * 64
CLEAN = AuditResult(files=3, bytes=300, control=True)
ROTTEN = AuditResult(files=3, bytes=300, damaged=1, findings=("data/aa/x: rotten",), control=True)

sound = st.just(Reading(length=5, digest=NAME))
wrong = st.builds(Reading, length=st.integers(0, 9), digest=st.just(OTHER))
broken = st.builds(Reading, error=st.just("EIO"))
gone = st.just(Reading(gone=True, error="not there"))
readings = st.one_of(sound, wrong, broken, gone)


# --- one file -----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(readings, readings)
def test_what_two_looks_find_damaged_was_sound_in_neither_and_is_still_there(first: Reading, second: Reading) -> None:
    what = seen(NAME, first, second)
    assert (what is Seen.SOUND) == (NAME in {first.digest, second.digest})
    if what in DAMAGE:
        assert not second.gone
        assert second.error or second.digest == OTHER


@settings(deadline=None)
@given(readings)
def test_a_look_that_settles_it_is_never_damage(first: Reading) -> None:
    if is_settled(NAME, first):
        assert seen(NAME, first) in {Seen.SOUND, Seen.GONE}
    else:
        assert seen(NAME, first) in DAMAGE


def test_a_file_that_grows_between_two_looks_is_still_being_written() -> None:
    short, longer = Reading(length=4, digest=OTHER), Reading(length=5, digest="c" * 64)
    assert seen(NAME, short, longer) is Seen.UNFINISHED
    assert seen(NAME, short, short) is Seen.CHANGED


def test_a_file_that_cannot_be_read_to_its_end_twice_is_unreadable() -> None:
    assert seen(NAME, Reading(length=4, digest=OTHER), Reading(error="EIO")) is Seen.UNREADABLE
    assert seen(NAME, Reading(error="EIO"), Reading(length=4, digest=OTHER)) is Seen.CHANGED


# --- what is not there --------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.sets(st.text("abc", min_size=1, max_size=3)), st.sets(st.text("abc", min_size=1, max_size=3)))
def test_every_known_snapshot_that_is_not_listed_is_named_once(known: set[str], there: set[str]) -> None:
    listed = {"keys": {NAME}, "snapshots": there, "index": {NAME}, "data": {NAME}}
    found = list(missing(known, listed))
    assert [finding.partition(":")[0] for finding in found] == [f"snapshots/{each}" for each in sorted(known - there)]


@pytest.mark.parametrize("kind", ["index", "data"])
def test_snapshots_stand_on_an_index_and_on_data(kind: str) -> None:
    listed = {each: {NAME} for each in AUDITED if each != kind}
    (finding,) = missing({NAME}, listed)
    assert finding.startswith(f"{kind}:")


def test_a_repository_without_a_key_is_lost_and_an_empty_one_with_a_key_is_whole() -> None:
    assert [finding.partition(":")[0] for finding in missing((), {})] == ["keys"]
    assert list(missing((), {"keys": {NAME}})) == []


# --- all of them --------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(Seen), st.integers(0, 1000)), max_size=200))
def test_the_sum_adds_up_and_is_bounded(looks: list[tuple[Seen, int]]) -> None:
    tally = Tally()
    for number, (what, length) in enumerate(looks):
        tally.add(f"data/{number}", what, length)
    result = tally.result(control=True)
    assert result.files + result.vanished == len(looks)
    assert result.files == tally.sound + result.damaged
    assert result.bytes == sum(length for what, length in looks if what not in {Seen.GONE, Seen.UNFINISHED})
    assert result.damaged == sum(what in DAMAGE for what, _ in looks)
    assert len(result.findings) == min(100, result.damaged)
    why = failure(result, "north@one")
    assert (why is None) == (result.damaged == 0)


def test_the_damaged_files_are_named_and_the_reason_with_them() -> None:
    tally = Tally()
    tally.add(f"data/aa/{NAME}", Seen.CHANGED, 7)
    tally.add(f"index/{OTHER}", Seen.UNREADABLE, 0, "read vault one: Input/output error")
    why = failure(tally.result(control=True), "north@one")
    assert why is not None
    assert why.kind is FailureKind.REPOSITORY_DAMAGED
    assert why.exit_code == 4
    assert not why.retryable
    assert all(words in why.message for words in ("north@one", "2 stored files", NAME, OTHER, "Input/output error"))


def test_more_than_three_damaged_files_are_counted_in_the_message() -> None:
    tally = Tally()
    for number in range(5):
        tally.add(f"data/{number}", Seen.CHANGED, 1)
    why = failure(tally.result(control=True), "north@one")
    assert why is not None
    assert why.message.endswith("; and 2 more")


def test_an_audit_that_did_not_see_its_own_damage_is_invalid() -> None:
    why = failure(AuditResult(files=3, bytes=300, control=False), "north@one")
    assert why is not None
    assert (why.kind, "invalid" in why.message) == (FailureKind.INTERNAL, True)
    assert failure(CLEAN, "north@one") is None


# --- what it proves -----------------------------------------------------------------------------------------------


def audit(result: AuditResult, *, ago: timedelta, state: RunState = RunState.SUCCEEDED) -> RunRecord:
    return run(Job.AUDIT, state=state, started_at=NOW - ago, finished_at=NOW - ago, result=result)


def test_nobody_is_held_to_audits_that_nobody_asks_for() -> None:
    assert judge_audits(policy(), (), NOW) == (None, None)


@pytest.mark.parametrize(
    "asking", [{"timetable": timetable(audit="every 7d")}, {"objectives": Objectives(audit_age=DAY)}]
)
def test_what_is_asked_for_and_never_was_is_not_proven(asking: dict[str, Any]) -> None:
    _, control = judge_audits(policy(**asking), (), NOW)
    assert control is not None
    assert control.verdict is Verdict.NOT_PROVEN
    assert [gap.code for gap in control.gaps] == [GapCode.NEVER_AUDITED]


@pytest.mark.parametrize(
    ("made", "code"),
    [
        ((audit(CLEAN, ago=HOUR),), None),
        ((audit(CLEAN, ago=DAY),), None),
        ((audit(CLEAN, ago=DAY + HOUR),), GapCode.AUDIT_TOO_OLD),
        ((audit(CLEAN, ago=3 * HOUR), audit(ROTTEN, ago=HOUR, state=RunState.FAILED)), GapCode.STORED_FILES_DAMAGED),
        ((audit(ROTTEN, ago=3 * HOUR, state=RunState.FAILED), audit(CLEAN, ago=HOUR)), None),
        ((audit(AuditResult(files=3, bytes=300), ago=HOUR, state=RunState.FAILED),), GapCode.NO_CLEAN_AUDIT),
        # An invalid audit takes nothing back that an earlier one has found.
        (
            (
                audit(ROTTEN, ago=3 * HOUR, state=RunState.FAILED),
                audit(AuditResult(files=3, bytes=300), ago=HOUR, state=RunState.FAILED),
            ),
            GapCode.STORED_FILES_DAMAGED,
        ),
    ],
)
def test_an_audit_is_judged_by_the_last_that_came_to_a_conclusion(
    made: tuple[RunRecord, ...], code: GapCode | None
) -> None:
    _, control = judge_audits(policy(objectives=Objectives(audit_age=DAY)), audits(made, NOW), NOW)
    assert control is not None
    assert [gap.code for gap in control.gaps] == ([] if code is None else [code])


def test_an_audit_by_hand_is_shown_and_damage_fails_without_any_objective() -> None:
    _, control = judge_audits(policy(), audits((audit(CLEAN, ago=HOUR),), NOW), NOW)
    assert control is not None
    assert control.verdict is Verdict.NO_OBJECTIVE
    _, control = judge_audits(policy(), audits((audit(ROTTEN, ago=HOUR, state=RunState.FAILED),), NOW), NOW)
    assert control is not None
    assert control.verdict is Verdict.MISSED

"""Retry goes by the kind of failure, pauses longer each time, and never passes the slot's end."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.failure import TRAITS, Failure, FailureKind
from jobs.history import Outcome, RunRecord, RunState
from jobs.retry import ATTEMPTS, CRASHES, LONGEST_PAUSE, PAUSES, pause, slot_end
from jobs.slot import ENDS, OPEN, SLOT_TRANSITIONS, Slot, SlotState, WhyKind
from tests.jobs.making import DAY, HOUR, MINUTE, NOW, run, slot

STOPPED = Failure(kind=FailureKind.CANCELLED, message="asked to stop")
CUT = Failure(kind=FailureKind.VAULT_UNREACHABLE, message="vault two did not answer")


def running(attempts: int = 1, until: datetime | None = NOW + DAY) -> Slot:
    return slot(due=NOW - HOUR, state=SlotState.RUNNING, run="run-9", attempts=attempts, until=until)


def failed(kind: FailureKind) -> Outcome:
    return Outcome(state=RunState.FAILED, failure=Failure(kind=kind, message=f"what happened: {kind}"))


def earlier(*states: RunState, failure: Failure | None = None) -> list[RunRecord]:
    return [run(id=f"run-{place}", state=state, failure=failure) for place, state in enumerate(states)]


outcomes = st.builds(
    Outcome,
    state=st.sampled_from(sorted(set(RunState) - {RunState.RUNNING})),
    failure=st.none() | st.builds(Failure, kind=st.sampled_from(FailureKind), message=st.just("no luck")),
)
untils = st.none() | st.integers(-1, 400).map(lambda minutes: NOW + minutes * MINUTE)


@given(outcomes, st.integers(1, 20), untils)
def test_every_end_is_one_that_a_running_slot_may_have_and_says_why(
    outcome: Outcome, attempts: int, until: datetime | None
) -> None:
    end = slot_end(running(attempts, until=until), outcome, "run-9", NOW)
    assert end.state in SLOT_TRANSITIONS[SlotState.RUNNING]
    assert end.why.text
    assert end.why.other == "run-9"
    assert (end.retry_at is not None) is (end.state is SlotState.DUE)


@given(outcomes, st.integers(1, 20), st.integers(-1, 400))
def test_no_attempt_is_to_come_at_the_slots_end_or_past_it(outcome: Outcome, attempts: int, minutes: int) -> None:
    until = NOW + minutes * MINUTE
    end = slot_end(running(attempts, until=until), outcome, "run-9", NOW)
    assert end.retry_at is None or NOW <= end.retry_at < until


@pytest.mark.parametrize("kind", FailureKind)
def test_what_may_succeed_by_itself_is_tried_again_and_a_wrong_password_is_not(kind: FailureKind) -> None:
    end = slot_end(running(), failed(kind), "run-9", NOW)
    assert (end.state is SlotState.DUE) is TRAITS[kind].retryable
    assert f"what happened: {kind}" in end.why.text


@pytest.mark.parametrize("state", sorted(set(RunState) - {RunState.RUNNING, RunState.FAILED, RunState.INTERRUPTED}))
def test_an_end_that_is_no_failure_closes_the_slot_in_its_name(state: RunState) -> None:
    end = slot_end(running(), Outcome(state=state, note="all 7 files"), "run-9", NOW)
    assert (end.state, end.why.kind, end.why.text) == (ENDS[state], WhyKind.RAN, "all 7 files")


def test_a_cut_network_is_tried_again_eight_times_at_most_after_growing_pauses() -> None:
    outcome, pauses = Outcome(state=RunState.FAILED, failure=CUT), []
    for attempt in range(1, ATTEMPTS):
        end = slot_end(running(attempt), outcome, "run-9", NOW)
        assert end.retry_at is not None
        pauses.append(end.retry_at - NOW)
    least = [*PAUSES, *[PAUSES[-1]] * (ATTEMPTS - 1 - len(PAUSES))]
    assert all(low <= got < low * 1.2 for got, low in zip(pauses, least, strict=True))
    last = slot_end(running(ATTEMPTS), outcome, "run-9", NOW)
    assert (last.state, last.why.kind) == (SlotState.FAILED, WhyKind.RAN)
    assert "vault two did not answer" in last.why.text


@given(st.integers(1, 1000))
def test_no_pause_is_longer_than_the_longest(attempt: int) -> None:
    assert pause("files/backup/one/L2026-11-21T01:30", attempt) <= LONGEST_PAUSE


def test_what_failed_together_is_not_tried_again_together() -> None:
    assert len({pause(f"p{number}/backup/one/K", 4) for number in range(40)}) > 30
    assert pause("a", 4) == pause("a", 4)


@pytest.mark.parametrize(
    ("kind", "why"), [(FailureKind.REPOSITORY_LOCKED, WhyKind.LOCKED), (FailureKind.BUSY, WhyKind.HELD)]
)
def test_who_finds_the_repository_held_waits_and_is_blocked_at_the_end(kind: FailureKind, why: WhyKind) -> None:
    waits = slot_end(running(), failed(kind), "run-9", NOW)
    assert (waits.state, waits.why.kind) == (SlotState.DUE, why)
    given_up = slot_end(running(ATTEMPTS), failed(kind), "run-9", NOW)
    assert (given_up.state, given_up.why.kind) == (SlotState.BLOCKED, why)


def test_what_a_stop_cut_off_is_taken_up_again_at_once_however_often() -> None:
    outcome = Outcome(state=RunState.INTERRUPTED, failure=STOPPED)
    before = earlier(*[RunState.INTERRUPTED] * 30, failure=STOPPED)
    end = slot_end(running(31), outcome, "run-9", NOW, before)
    assert (end.state, end.retry_at, end.why.kind) == (SlotState.DUE, NOW, WhyKind.CUT_OFF)


def test_what_was_cut_off_too_late_to_start_again_is_interrupted() -> None:
    end = slot_end(running(until=NOW), Outcome(state=RunState.INTERRUPTED, note="Tandem died"), "run-9", NOW)
    assert (end.state, end.retry_at) == (SlotState.INTERRUPTED, None)
    assert "Tandem died" in end.why.text


@pytest.mark.parametrize(("crashed", "again"), [(CRASHES - 2, True), (CRASHES - 1, False)])
def test_a_run_that_kills_its_machine_does_not_do_so_for_ever(crashed: int, again: bool) -> None:
    crash = Outcome(state=RunState.INTERRUPTED, note="Tandem died")
    end = slot_end(running(crashed + 1), crash, "run-9", NOW, earlier(*[RunState.INTERRUPTED] * crashed))
    assert (end.state is SlotState.DUE) is again
    without = slot_end(running(crashed + 1), crash, "run-9", NOW)
    assert without.state is end.state


def test_only_crashes_in_a_row_count() -> None:
    crash = Outcome(state=RunState.INTERRUPTED, note="Tandem died")
    row = [RunState.INTERRUPTED] * 4
    before = [*earlier(*row), run(id="run-x", state=RunState.FAILED, failure=CUT), *earlier(*row[:3])]
    assert slot_end(running(9), crash, "run-9", NOW, before).state is SlotState.DUE


def test_being_cut_off_uses_up_no_attempt() -> None:
    outcome = Outcome(state=RunState.FAILED, failure=CUT)
    before = earlier(*[RunState.INTERRUPTED] * 20, *[RunState.FAILED] * (ATTEMPTS - 2))
    end = slot_end(running(len(before) + 1), outcome, "run-9", NOW, before)
    assert end.state is SlotState.DUE
    assert f"attempt {ATTEMPTS - 1} " in end.why.text
    last = slot_end(running(len(before) + 2), outcome, "run-9", NOW, [*before, replace(before[-1], id="run-y")])
    assert last.state is SlotState.FAILED


@given(outcomes, st.integers(1, 9))
def test_the_same_end_is_decided_the_same(outcome: Outcome, attempts: int) -> None:
    one, other = (slot_end(running(attempts), outcome, "run-9", NOW) for _ in range(2))
    assert one == other
    assert one.state not in OPEN - {SlotState.DUE}


def test_attempts_pauses_and_crashes_are_as_many_as_they_were_measured_to_be_enough() -> None:
    assert (ATTEMPTS, CRASHES) == (8, 5)
    assert [least // MINUTE for least in PAUSES] == [1, 5, 15, 30, 60]
    assert LONGEST_PAUSE == 72 * MINUTE


def test_what_would_be_tried_again_at_its_end_or_later_has_failed_for_good() -> None:
    again = pause(slot(due=NOW - HOUR).id, 1)
    in_time = slot_end(running(until=NOW + again + MINUTE), failed(FailureKind.VAULT_UNREACHABLE), "run-9", NOW)
    assert (in_time.state, in_time.why.kind, in_time.retry_at) == (SlotState.DUE, WhyKind.RETRY, NOW + again)
    for until in (NOW + again, NOW + again - MINUTE):
        end = slot_end(running(until=until), failed(FailureKind.VAULT_UNREACHABLE), "run-9", NOW)
        assert (end.state, end.why.kind, end.retry_at) == (SlotState.FAILED, WhyKind.RAN, None)


@pytest.mark.parametrize("state", [RunState.BLOCKED, RunState.PARTIAL, RunState.SKIPPED])
def test_a_failure_that_goes_with_another_end_is_no_reason_to_try_again(state: RunState) -> None:
    end = slot_end(running(), Outcome(state=state, failure=CUT, note="so it ended"), "run-9", NOW)
    assert (end.state, end.retry_at) == (ENDS[state], None)


def test_a_stop_after_many_crashes_is_no_crash_and_any_other_failure_of_what_was_cut_off_is_one() -> None:
    crashes = earlier(*[RunState.INTERRUPTED] * (CRASHES + 3))
    stop = Outcome(state=RunState.INTERRUPTED, failure=STOPPED)
    assert slot_end(running(9), stop, "run-9", NOW, crashes).state is SlotState.DUE
    lost = Outcome(state=RunState.INTERRUPTED, failure=CUT)
    assert slot_end(running(9), lost, "run-9", NOW, crashes).state is SlotState.INTERRUPTED


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(state=RunState.INTERRUPTED, failure=STOPPED, note="unsaid"), "run run-9 was cut off: asked to stop"),
        (Outcome(state=RunState.INTERRUPTED, note="Tandem died"), "run run-9 was cut off: Tandem died"),
        (Outcome(state=RunState.INTERRUPTED), "run run-9 was cut off: it left no word"),
    ],
)
def test_what_was_cut_off_says_by_what_as_far_as_that_is_known(outcome: Outcome, words: str) -> None:
    assert slot_end(running(), outcome, "run-9", NOW).why.text == words

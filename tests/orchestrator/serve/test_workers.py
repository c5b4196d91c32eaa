"""Runs in threads of their own: each end on record, each fault alone, and none of them twice."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from jobs.dispatch import Start
from jobs.failure import FailureKind
from jobs.history import Outcome, RunRecord, RunState
from jobs.policy import Policy
from jobs.slot import SlotState, WhyKind
from orchestrator.executor import bound, intent
from orchestrator.ledger.ledger import Busy, Ledger, LedgerError, Superseded
from orchestrator.recovery import slot_ending
from orchestrator.serve.board import Board
from orchestrator.serve.starting import Work
from orchestrator.serve.workers import Ended
from orchestrator.work.tools import Tools
from targets.errors import TargetError
from targets.host import this_process
from tests.acceptance.faults import fill, small_disk
from tests.orchestrator.serve.stage import ALONE, PATIENCE, START, Heard, Stage, all_ended, working


@pytest.fixture
def stage(tmp_path: Path, restic_program: Path) -> Iterator[Stage]:
    with Ledger.open(f"sqlite:///{tmp_path / 'tandem.db'}", create=True, now=START) as ledger:
        yield Stage(tmp_path, ledger, restic_program)


def of(start: Start, policy: Policy) -> Work:
    """A start's work, as the daemon has it done."""
    return lambda tools: bound(start.step, policy, tools)


def away(kind: FailureKind) -> Tools:
    raise TargetError("start", "restic", kind, "it is not there")


@pytest.mark.parametrize(
    ("kind", "becomes", "why"),
    [
        (FailureKind.TOOL_MISSING, SlotState.FAILED, WhyKind.RAN),
        (FailureKind.DISK_FULL, SlotState.DUE, WhyKind.RETRY),
    ],
)
def test_where_there_are_no_tools_the_slot_has_an_attempt_all_the_same(
    stage: Stage, kind: FailureKind, becomes: SlotState, why: WhyKind
) -> None:
    (start,) = stage.starts()
    heard = Heard()
    with working(stage, heard, lambda: away(kind)) as workers:
        workers.start(start, of(start, stage.policies[start.slot.policy]))
        (ended,) = all_ended(workers, heard)
    (run,) = stage.ledger.runs()
    assert ended.record == run == heard.ended[0]
    assert run.state is RunState.FAILED
    assert run.failure is not None
    assert run.failure.kind is kind
    slot = stage.ledger.slot(start.slot.id)
    assert slot is not None
    assert slot.why is not None
    assert (slot.state, slot.why.kind, slot.attempts, slot.run) == (becomes, why, 1, run.id)
    assert (slot.retry_at is None) == (becomes is SlotState.FAILED)
    assert len(stage.ledger.events()) == (becomes is SlotState.FAILED)


def test_our_own_fault_fails_alone_and_is_told_once_before_the_claim_and_after_it(stage: Stage) -> None:
    stage.settle("broken", "other", "untouched")
    starts = {str(start.slot.policy): start for start in stage.starts()}
    assert len(starts) == 2  # as many as may at once
    one, other = starts.values()
    heard = Heard()
    broken = cast("Policy", object())  # what has no source, for one

    def tools() -> Tools:
        if threading.current_thread().name == other.slot.id:
            raise ZeroDivisionError("our own")
        return stage.tools()

    with working(stage, heard, tools) as workers:
        workers.start(one, of(one, broken))
        workers.start(other, of(other, stage.policies[other.slot.policy]))
        all_ended(workers, heard)
    assert {type(error) for error in heard.crashes} == {AttributeError, ZeroDivisionError}
    assert len(heard.crashes) == 2
    for run in stage.ledger.runs():
        assert run.state is RunState.FAILED
        assert run.failure is not None
        assert run.failure.kind is FailureKind.INTERNAL
    states = {slot.id: slot.state for slot in stage.ledger.slots()}
    assert [states.pop(start.slot.id) for start in (one, other)] == [SlotState.FAILED] * 2
    assert set(states.values()) == {SlotState.DUE}


@pytest.mark.as_root
def test_an_end_that_a_full_disk_refuses_is_put_on_record_when_there_is_room(
    tmp_path: Path, restic_program: Path
) -> None:
    with (
        small_disk(tmp_path / "disk", 4) as disk,
        Ledger.open(f"sqlite:///{disk / 'tandem.db'}", create=True, now=START) as ledger,
    ):
        stage = Stage(tmp_path, ledger, restic_program)
        (tmp_path / "source").mkdir()  # so that the work comes to ask the ledger
        (start,) = stage.starts()
        claimed, go = threading.Event(), threading.Event()

        def waits() -> None:
            claimed.set()
            go.wait(PATIENCE)

        heard = Heard(at_begin=waits)
        with working(stage, heard) as workers:
            workers.start(start, of(start, stage.policies[start.slot.policy]))
            assert claimed.wait(PATIENCE)
            ledger.close()  # with its -wal, which has room within itself
            ballast = fill(disk)
            go.set()
            while stage.clock.sleeps < 3:
                time.sleep(0.01)
                assert not workers.ended()
            ballast.unlink()
            (ended,) = all_ended(workers, heard)
        assert isinstance(ended.refused, LedgerError)  # that the work met itself
        assert "cannot be put on record yet" in heard.troubles[0]
        assert len(set(heard.troubles)) == len(heard.troubles)  # each once
        (run,) = ledger.runs()
        assert run.state is RunState.FAILED
        (slot,) = ledger.slots()
        assert (slot.state, slot.run, slot.attempts) == (SlotState.DUE, run.id, 1)
        assert slot.retry_at is not None  # the ledger is back


def test_an_audit_is_begun_where_no_restic_is_to_be_had(tmp_path: Path) -> None:
    audited = ALONE.replace('schedule = "every 60m"', 'verify = {{ audit = "every 60m" }}')
    with Ledger.open(f"sqlite:///{tmp_path / 'tandem.db'}", create=True, now=START) as ledger:
        stage = Stage(tmp_path, ledger, tmp_path / "no-restic", audited)
        (start,) = stage.starts()
        heard = Heard()
        with working(stage, heard, partial(stage.tools, needs_restic=False)) as workers:
            workers.start(start, of(start, stage.policies[start.slot.policy]))
            (ended,) = all_ended(workers, heard)
    assert ended.record is not None
    assert ended.record.failure is not None
    assert ended.record.failure.kind is FailureKind.REPOSITORY_MISSING


def test_an_end_that_is_refused_while_all_is_to_stop_is_left_to_whoever_is_next(stage: Stage) -> None:
    (start,) = stage.starts()
    file, aside = stage.folder / "tandem.db", stage.folder / "aside"

    def broken() -> None:
        stage.ledger.close()
        file.rename(aside)
        file.mkdir()
        stage.stop.set()

    heard = Heard(at_begin=broken)
    with working(stage, heard) as workers:
        workers.start(start, of(start, stage.policies[start.slot.policy]))
        (ended,) = all_ended(workers, heard)
    assert ended.refused is not None
    assert len(heard.troubles) == 1
    file.rmdir()
    aside.rename(file)
    (run,) = stage.ledger.open_runs()
    assert run.slot == start.slot.id


def test_a_slot_whose_claim_takes_long_is_not_started_again(stage: Stage) -> None:
    board = stage.due()
    (start,) = stage.moves(board).starts
    heard = Heard()
    with closing(sqlite3.connect(stage.folder / "tandem.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with working(stage, heard) as workers:
            workers.start(start, of(start, stage.policies[start.slot.policy]))
            time.sleep(0.2)  # in the middle of which another thread would be asked by every beat
            (state,) = other.execute("SELECT state FROM slot").fetchone()
            assert state == SlotState.DUE
            limits = stage.settings.limits.concurrency
            with Ledger.open(f"sqlite:///{stage.folder / 'tandem.db'}", create=False, now=START) as second:
                seen = Board(second).moves(stage.policies, limits, workers.begun, stage.clock.now())
            assert (seen.starts, seen.waits, seen.closings) == ((), (), ())
            other.execute("COMMIT")
            assert len(all_ended(workers, heard)) == 1
    assert len(stage.ledger.runs()) == 1


def test_of_two_that_start_one_slot_one_is_refused_and_nothing_of_it_is_on_record(stage: Stage) -> None:
    (start,) = stage.starts()
    seen: list[Ended] = []
    heard, others = Heard(), Heard()
    with working(stage, heard) as workers, working(stage, others) as more:
        workers.start(start, of(start, stage.policies[start.slot.policy]))
        more.start(start, of(start, stage.policies[start.slot.policy]))
        seen += (*all_ended(workers, heard), *all_ended(more, others))
    assert len(stage.ledger.runs()) == 1
    (refused,) = (each.refused for each in seen if each.record is None)
    assert isinstance(refused, Busy | Superseded)


def test_hundreds_of_runs_leave_no_thread_and_no_trace_in_memory(stage: Stage) -> None:
    (start,) = stage.starts()
    before = threading.active_count()
    heard = Heard()
    with working(stage, heard, lambda: away(FailureKind.DISK_FULL)) as workers:
        for number in range(300):
            one = replace(start.slot, id=f"{start.slot.id}{number}")
            workers.start(replace(start, slot=one), of(start, stage.policies[start.slot.policy]))
            if number % 10 == 9:
                ended = all_ended(workers, heard)
                assert len(ended) == 10
                assert all(isinstance(each.refused, Superseded) for each in ended)  # there is no such slot
    assert (len(workers), workers.begun) == (0, ())
    assert threading.active_count() == before


def test_whom_to_ask_about_a_run_is_this_very_process(stage: Stage) -> None:
    (start,) = stage.starts()
    heard = Heard()
    with working(stage, heard) as workers:
        workers.start(start, of(start, stage.policies[start.slot.policy]))
        (under_way,) = workers.begun
        assert (under_way.owner, under_way.slot) == (this_process(), start.slot.id)
        assert workers.wait(PATIENCE)
        assert len(workers) == 1  # until it is taken in
        assert len(workers.ended()) == 1
    assert stage.ledger.runs()[0].owner == this_process()


def test_a_run_that_a_person_gave_up_ends_once_and_its_slot_belongs_to_the_next_one(stage: Stage) -> None:
    """Its own end is refused for good: to try that again every five seconds would never come to an end."""
    (start,) = stage.starts()
    next_one: list[RunRecord] = []

    def is_given_up() -> None:
        (run,) = heard.begun
        stage.ledger.give_up(run.id, stage.clock.now(), "nobody is at work")
        again = intent(start.step, stage.clock.now(), this_process(), tool="", slot=start.slot.id)
        stage.ledger.claim(again, slot=again.slot)
        next_one.append(again)

    heard = Heard(at_begin=is_given_up)
    with working(stage, heard) as workers:
        workers.start(start, of(start, stage.policies[start.slot.policy]))
        (ended,) = all_ended(workers, heard)
    assert isinstance(ended.refused, Superseded)
    assert (heard.troubles, stage.clock.sleeps) == ([], 0)
    slot = stage.ledger.slot(start.slot.id)
    assert slot is not None
    assert (slot.state, slot.run) == (SlotState.RUNNING, next_one[0].id)
    (former,) = heard.begun
    ends = slot_ending(stage.ledger, former, Outcome(state=RunState.SUCCEEDED), stage.clock.now())
    assert ends == (None, ())

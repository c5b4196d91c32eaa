"""What peers lost, repeated or let pile up when time passed without them: downtime, clocks, drift, queues."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import pytest

from jobs.agenda import births, changes, lines_of, next_due
from jobs.dispatch import Concurrency, dispatch
from jobs.failure import Failure, FailureKind
from jobs.history import Job, Outcome, Owner, RunState
from jobs.policy import TenantName
from jobs.retry import slot_end
from jobs.schedule import Schedule, occurrences
from jobs.slot import SlotState, WhyKind
from jobs.tally import Tally, tally
from orchestrator.serve.calendar import Calendar
from orchestrator.serve.health import Health
from tests.acceptance.faults import gate, kill, unhooked
from tests.acceptance.operator import SETTINGS, Operator
from tests.jobs.making import policy, run, situation, slot, timetable
from tests.peers.unattended import (
    ALONE,
    DAY,
    HOUR,
    START,
    JumpingClock,
    all_runs,
    all_slots,
    opened,
    operator,
    policies,
    served,
    slots,
    states,
)

PARIS: Final = "Europe/Paris"
SPRING: Final = datetime(2026, 3, 27, 12, tzinfo=UTC)  # on the 29th, 02:00 becomes 03:00
AUTUMN: Final = datetime(2026, 10, 23, 12, tzinfo=UTC)  # on the 25th, 03:00 becomes 02:00


# --- missed after downtime ------------------------------------------------------------------------------------------


def test_backrest_372_resticprofile_558_589_resty_16_after_a_shutdown_the_newest_is_made_up_for(
    tmp_path: Path, restic_program: Path
) -> None:
    """Runs that fell into sleep or downtime were lost; here the newest of each line runs when the machine is back, and
    each older one is on record as coalesced, with what stands for it."""
    made, clock = operator(tmp_path, restic_program, ALONE.replace("every 60m", "daily at 02:00")), JumpingClock()
    with served(made, clock):
        pass
    clock.jump(4 * DAY)
    with served(made, clock) as serving:
        serving.comes(lambda: states(made) and {*states(made)} <= {"succeeded", "coalesced"})
    assert states(made, "backup") == ["coalesced"] * 3 + ["succeeded"]
    older = [each for each in all_slots(made) if each.state is SlotState.COALESCED and each.job is Job.BACKUP]
    assert all(each.why is not None and "Tandem did not run" in each.why.text for each in older)
    assert made.tandem("slots").code == 0
    assert len(made.snapshots("primary")) == 1


def test_kopia_1649_3197_3319_3512_4713_a_moment_is_neither_lost_nor_run_twice(
    tmp_path: Path, restic_program: Path
) -> None:
    """Missed runs were lost by one fix and run twice by the next; here a moment has one name, so that three starts on
    one evening, and a clock set back over it, find the same slot and make one run of it."""
    made, clock = operator(tmp_path, restic_program, ALONE), JumpingClock()
    with served(made, clock):
        pass
    clock.jump(HOUR)
    for _ in range(3):
        with served(made, clock) as serving:
            serving.comes(lambda: {*states(made)} == {"succeeded"})
    with served(made, clock) as serving:
        clock.set(-HOUR)
        serving.comes(lambda: serving.has_said("clock-stepped"))
        clock.jump(HOUR + timedelta(minutes=30))  # 01:00 comes once more, and then 02:00
        serving.comes(lambda: len(slots(made)) > 2 and {*states(made)} == {"succeeded"})
    assert Counter(each.job for each in all_runs(made)) == {Job.BACKUP: 2, Job.RETENTION: 2}
    keys = [each.key for each in all_slots(made) if each.job is Job.BACKUP]
    assert keys == ["U2026-03-10T02:00Z", "U2026-03-10T01:00Z"]


def test_k8up_855_after_an_outage_there_is_no_stampede() -> None:
    """After an outage all missed jobs started at once; here of forty policies with five missed moments each no more
    than the limit start, one of each line at most, and the older moments are closed without a run."""
    made = [policy(f"p{number:02d}", timetable=timetable(backup="every 60m")) for number in range(40)]
    now = START + 5 * HOUR
    due = [
        each
        for one in made
        for line in lines_of(one, START)
        for each in births(line, now).slots
        if line.job is Job.BACKUP
    ]
    moves = dispatch(due, situation(*made, limits=Concurrency(runs=2)), now)
    assert len(due) == 200
    assert len(moves.starts) == 2
    assert len({start.slot.policy for start in moves.starts}) == 2
    assert Counter(closing.state for closing in moves.closings) == {SlotState.COALESCED: 160}
    assert {wait.why.kind for wait in moves.waits} == {WhyKind.LIMIT}


def test_k8up_936_limits_hold_and_no_line_runs_twice_at_once() -> None:
    """`concurrentRunsAllowed: false` was ignored; here neither a second run of the same job starts, nor one more in a
    vault than is allowed."""
    one, other = policy("one"), policy("other", tenant="south")
    under_way = run(of="one")
    due = [slot(of="one", due=START), slot(of="other", due=START, tenant=TenantName("south"))]
    free = dispatch(due, situation(one, other, under_way=[under_way]), START)
    assert [start.slot.policy for start in free.starts] == ["other"]
    tight = dispatch(due, situation(one, other, under_way=[under_way], limits=Concurrency(runs=9, per_vault=1)), START)
    assert tight.starts == ()
    assert {wait.why.kind for wait in tight.waits} == {WhyKind.HELD, WhyKind.LIMIT}


def test_backrest_807_959_borgmatic_957_a_long_run_does_not_hold_up_other_repositories() -> None:
    """One global queue let a slow repository block all others; here an exclusive run that takes days holds its own
    repository, and no other."""
    slow, same, free = policy("slow"), policy("same"), policy("free", tenant="south")
    check = run(Job.CHECK, "slow", started_at=START - 3 * DAY)
    due = [slot(of="same", due=START), slot(of="free", due=START, tenant=TenantName("south"))]
    moves = dispatch(due, situation(slow, same, free, under_way=[check]), START)
    assert [start.slot.policy for start in moves.starts] == ["free"]
    (held,) = moves.waits
    assert (held.slot.policy, held.why.kind, held.why.other) == ("same", WhyKind.HELD, check.id)


def test_backrest_180_a_run_before_the_network_is_up_is_tried_again() -> None:
    """A backup that began before the network was up had failed for the day; here what cannot be reached is due again
    after a minute, then less and less often, until the slot's end."""
    due = slot(attempts=1, state=SlotState.RUNNING)
    failure = Failure(kind=FailureKind.VAULT_UNREACHABLE, message="network is unreachable")
    end = slot_end(due, Outcome(state=RunState.FAILED, failure=failure), "run-1", due.due)
    assert end.state is SlotState.DUE
    assert end.retry_at is not None
    assert timedelta(minutes=1) <= end.retry_at - due.due < timedelta(minutes=2)
    wrong = Failure(kind=FailureKind.WRONG_PASSWORD, message="wrong")
    assert slot_end(due, Outcome(state=RunState.FAILED, failure=wrong), "run-1", due.due).state is SlotState.FAILED


def test_npbackup_162_the_hour_of_the_backup_does_not_drift() -> None:
    """ "Newest backup older than 24 h?" moved the backup by a quarter of an hour each day; here the next moment follows
    from the one before it, however late that one ran."""
    (line, *_) = lines_of(policy(timetable=timetable(backup="daily at 02:00")), START)
    found = []
    for day in range(5):
        late = START + day * DAY + timedelta(hours=1, minutes=31 + 15 * day)
        born = births(line, late)
        found += [each.due for each in born.slots]
        line = replace(line, cursor=born.cursor)
    assert [f"{due:%d %H:%M}" for due in found] == ["10 02:00", "11 02:00", "12 02:00", "13 02:00", "14 02:00"]


def test_velero_6517_taking_a_schedule_up_again_starts_nothing_at_once() -> None:
    """Unpausing a schedule started a backup at once; here a line that comes back begins then, and owes nothing."""
    made = policy(timetable=timetable(backup="every 60m"))
    begun = [replace(line, id=number) for number, line in enumerate(changes([], [made], START).begun, start=1)]
    paused = changes(begun, [], START + timedelta(minutes=43))
    assert len(paused.ended) == 1
    again = changes([], [made], START + timedelta(minutes=100))
    (line,) = again.begun
    assert again.slots == ()
    assert births(line, START + timedelta(minutes=100)).slots == ()
    assert next_due(line) == START.replace(hour=3, minute=0)


def test_resticprofile_494_586_644_what_is_due_is_what_the_settings_say_and_nothing_else(
    tmp_path: Path, restic_program: Path
) -> None:
    """Schedules in the system drifted from those in the file; here an edit ends the lines that it changes, begins the
    others, and leaves none over."""
    made = Operator(folder=tmp_path, restic=restic_program, settings=ALONE)
    with opened(made) as ledger:
        calendar = Calendar(ledger)
        calendar.settle(policies(made), START)
        made.write_settings(ALONE.replace("every 60m", "daily at 05:00").replace("[policies.files]", "[policies.new]"))
        calendar.settle(policies(made), START + HOUR)
        calendar.settle(policies(made), START + HOUR)
        told = [(line.policy, line.job, line.schedule.text) for line in ledger.lines_in_force()]
    assert sorted(told) == [("new", Job.BACKUP, "daily at 05:00"), ("new", Job.RETENTION, "daily at 05:00")]


def test_veeam_sla_the_past_is_not_rewritten_by_an_edit(tmp_path: Path, restic_program: Path) -> None:
    """SLA percentages of the past changed when a template was edited; here what was due stays under the line that made
    it due, and the count of the past is the same before and after."""
    made = Operator(folder=tmp_path, restic=restic_program, settings=ALONE)
    until = START + 6 * HOUR
    with opened(made) as ledger:
        calendar = Calendar(ledger)
        calendar.settle(policies(made), START)
        calendar.born(until)

        def past() -> Tally:
            ours = [each for each in ledger.slots() if each.nominal < until]
            entries = [(each.line, (each.id, each.job, each.state)) for each in ours]
            return tally(ledger.lines(), lambda line: [told for of, told in entries if of == line.id], until=until)

        before = past()
        made.write_settings(ALONE.replace("every 60m", "every 15m"))
        calendar.settle(policies(made), until)
        calendar.born(until + 6 * HOUR)
        assert past() == before
        assert (before.expected, before.adds_up) == (12, True)


# --- clocks ---------------------------------------------------------------------------------------------------------


def test_xen_orchestra_4024_a_fixed_hour_comes_once_on_the_night_with_two_of_it() -> None:
    """A backup ran twice when the clocks went back; here of two half past twos it is the first."""
    (line, *_) = lines_of(policy(timetable=timetable(backup="daily at 02:30"), zone=PARIS), AUTUMN)
    due = [each.due for each in births(line, AUTUMN + 3 * DAY).slots]
    assert [f"{each:%d %H:%M}" for each in due] == ["24 00:30", "25 00:30", "26 01:30"]


def test_duplicati_1364_the_hour_that_does_not_exist_comes_later_that_night_alone() -> None:
    """A schedule ran an hour off for half a year (and Veeam is said to skip the night on which 02:30 does not exist);
    here it comes as much later as the clock jumped, under its own name, and at half past two again the next night."""
    (line, *_) = lines_of(policy(timetable=timetable(backup="daily at 02:30"), zone=PARIS), SPRING)
    made = births(line, SPRING + 3 * DAY).slots
    assert [each.key for each in made] == ["L2026-03-28T02:30", "L2026-03-29T02:30", "L2026-03-30T02:30"]
    shown = [each.due.astimezone(ZoneInfo(PARIS)) for each in made]
    assert [f"{each:%d %H:%M}" for each in shown] == ["28 02:30", "29 03:30", "30 02:30"]


def test_rundeck_6879_the_zone_is_the_policys_and_not_the_machines() -> None:
    """Schedules went by the server's zone; here each policy's zone is its own, and this machine's (an odd one in these
    tests) is asked by nobody."""
    (paris, *_) = lines_of(policy(timetable=timetable(backup="daily at 02:30"), zone=PARIS), AUTUMN + 5 * DAY)
    (douala, *_) = lines_of(policy(timetable=timetable(backup="daily at 02:30"), zone="Africa/Douala"), SPRING)
    assert f"{next_due(paris):%H:%M}" == "01:30"
    assert f"{next_due(douala):%H:%M}" == "01:30"
    assert {f"{each.due:%H:%M}" for each in births(douala, SPRING + 200 * DAY).slots} == {"01:30"}


@pytest.mark.parametrize("text", ["cron 0 0 30 2 *", "monthly on last sun at 03:00", "daily at 25:00"])
def test_bareos_2046_a_schedule_that_would_never_run_is_refused(
    tmp_path: Path, restic_program: Path, text: str
) -> None:
    """A schedule with `last` was accepted, shown nowhere and never run; here what Tandem cannot do is a mistake in the
    settings, and what it accepts has a next moment."""
    made = Operator(folder=tmp_path, restic=restic_program, settings=ALONE.replace("every 60m", text))
    assert made.tandem("config", "validate").code == 7
    found = occurrences(Schedule("monthly on last at 03:00"), "UTC", START, START + 60 * DAY)
    assert [f"{each.at:%m-%d %H:%M}" for each in found] == ["03-31 03:00", "04-30 03:00"]


# --- what hangs or died ---------------------------------------------------------------------------------------------

STUCK: Final = ALONE.replace(
    'source = {{ paths = ["source"] }}',
    'source = {{ command = {{ run = ["sh", "-c", "test -e READY || sleep 600; echo content"], filename = "d" }} }}',
)


def test_bareos_1852_a_job_that_hangs_is_ended_and_tried_again(tmp_path: Path, restic_program: Path) -> None:
    """Jobs were stuck for ever, and not rescheduled; here what makes no progress is ended, its slot due again."""
    ready = tmp_path / "ready"
    settings = STUCK.replace("READY", str(ready))
    made = operator(tmp_path, restic_program, settings, limits='no_progress = "1s"')
    clock = JumpingClock()
    with served(made, clock) as serving:
        serving.passes(HOUR, policies=2)
        (hung,) = all_runs(made)
        assert hung.failure is not None
        assert hung.failure.kind is FailureKind.NO_PROGRESS
        ready.touch()
        clock.jump(timedelta(minutes=2))
        serving.comes(lambda: states(made) == ["succeeded"] * 2)
    assert slots(made, "backup")[0]["attempts"] == 2


def test_bareos_1852_a_job_that_hangs_can_be_cancelled(tmp_path: Path, restic_program: Path) -> None:
    """Nor could they be cancelled; here a stop interrupts the run and removes its lock, and the slot stays due."""
    made, clock = operator(tmp_path, restic_program, STUCK.replace("READY", str(tmp_path / "never"))), JumpingClock()
    with served(made, clock) as serving:
        clock.jump(HOUR)
        serving.comes(lambda: made.locks("primary"))
    (cut,) = all_runs(made)
    assert cut.state is RunState.INTERRUPTED
    assert states(made, "backup") == ["due"]
    assert made.locks("primary") == []


def test_barman_41_a_backup_whose_process_died_is_not_running_for_ever(tmp_path: Path, restic_program: Path) -> None:
    """A dead backup stayed STARTED; here the next start asks the repository what became of it, puts that on record, and
    takes the slot up again."""
    made, clock = operator(tmp_path, restic_program, ALONE), JumpingClock()
    with served(made, clock):
        pass
    due = START.replace(hour=1, minute=0)
    with opened(made) as ledger:
        (line,) = (each for each in ledger.lines_in_force() if each.job is Job.BACKUP)
        born = births(line, due)
        ledger.born(born.slots, {line.id: born.cursor})
        dead = Owner(host=os.uname().nodename, boot="another boot", pid=1, started="1")
        of = {name: getattr(line, name) for name in ("tenant", "policy", "site", "vault", "settings_hash")}
        died = replace(run(), id="20260310T010000Z-00000000", owner=dead, slot=born.slots[0].id, started_at=due, **of)
        ledger.claim(died, slot=died.slot)
    assert states(made, "backup") == ["running"]
    clock.jump(HOUR)
    with served(made, clock) as serving:
        serving.comes(lambda: states(made, "backup") == ["succeeded"])
    assert [each.state for each in all_runs(made) if each.job is Job.BACKUP][::-1] == ["interrupted", "succeeded"]


def test_autorestic_329_what_a_killed_command_left_behind_locks_nobody_out(
    tmp_path: Path, restic_program: Path
) -> None:
    """Its own lock file said "running" when nothing ran, until a person deleted it; here a dead owner's run is found
    dead by the next command, which then does its work."""
    made = operator(tmp_path, restic_program, SETTINGS)
    waiting = gate(made, " backup ")
    process = made.start("backup", "files")
    waiting.wait()
    kill(process)
    unhooked(made)
    assert made.tandem("backup", "files").code == 0
    assert [each.state for each in all_runs(made)] == ["succeeded", "interrupted"]


def test_borgbackupserver_14_a_frozen_scheduler_is_seen() -> None:
    """Users found the server frozen; here health is red when the loop has not gone round for a minute, and whatever
    watches from outside is no longer called."""
    health = Health()
    assert health.report(0.0)[0] is False  # it has not begun
    health.ticked(0.0)
    assert health.well(lambda: 59.0)()
    is_well, (why,) = health.report(61.0)
    assert not is_well
    assert "stuck" in why
    assert not health.well(lambda: 61.0)()


def test_barman_2_a_missed_objective_hurries_the_backup_and_never_blocks_it() -> None:
    """A health check failed because the backup was old, and so blocked the very backup; here what is most overdue
    starts first."""
    late, early = policy("late"), policy("early")
    good = [run(of="late", state=RunState.SUCCEEDED), run(of="early", state=RunState.SUCCEEDED)]
    good[0] = replace(good[0], finished_at=START - 9 * DAY)
    with_rpo = [replace(each, objectives=replace(each.objectives, rpo=DAY)) for each in (late, early)]
    due = [slot(of="early", due=START), slot(of="late", due=START)]
    known = situation(
        *with_rpo, good=[replace(good[0]), replace(good[1], finished_at=START)], limits=Concurrency(runs=1)
    )
    moves = dispatch(due, known, START)
    assert [start.slot.policy for start in moves.starts] == ["late"]

"""Where exactly an alarm begins and ends, and the words that somebody reads who was woken by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from jobs.alarm import Alarm, Disk, Known, conditions, difference
from jobs.event import Severity, Topic
from jobs.failure import Failure, FailureKind
from jobs.growth import Growth
from jobs.history import Job, RunRecord, RunState
from jobs.integrity import Assessment, assess
from jobs.notice import Notice
from jobs.policy import Objectives, Paths, Policy, PolicyName, SiteName, TenantName, VaultName
from jobs.slot import Slot, SlotState, Why, WhyKind
from jobs.verdict import Control, ControlName, Gap, GapCode
from tests.orchestrator.ledger.build import line, over, point, slot

NOW: Final = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
RETENTION: Final = line(job=Job.RETENTION)


def closed(job: Job, days_ago: int, state: SlotState, words: str, kind: WhyKind = WhyKind.RAN) -> Slot:
    """Due so many days ago, and closed an hour later."""
    due = NOW - days_ago * DAY
    why = Why(kind=kind, text=words)
    return slot(1, job=job, nominal=due, key=f"{days_ago}", state=state, why=why, closed_at=due + HOUR)


def good(*runs: RunRecord) -> dict[Any, RunRecord]:
    return {(run.policy, run.job, run.vault): run for run in runs}


BACKUP: Final = good(over(job=Job.BACKUP, started_at=NOW - HOUR))
IN_VAIN: Final = [closed(Job.RETENTION, days, SlotState.FAILED, f"day {days}") for days in (1, 2)]


def texts(known: Known) -> list[str]:
    return [alarm.text for alarm in conditions(known, NOW)]


def keys(known: Known) -> list[str]:
    return [alarm.key for alarm in conditions(known, NOW)]


def test_alarms_come_in_the_order_of_their_keys_whichever_rule_found_them() -> None:
    disks = [Disk(name=name, free=0, growth=Growth(bytes_a_day=0, over=DAY)) for name in ("b", "a")]
    assert keys(Known(disks=disks, clock_doubt="it leapt")) == ["clock", "disk/a", "disk/b"]


@pytest.mark.parametrize(("raised", "lasted"), [(NOW - 2 * HOUR, "2 h"), (NOW + HOUR, "0 s")])
def test_a_recovery_says_how_long_it_lasted_and_what_it_had_been(raised: datetime, lasted: str) -> None:
    """A clock that was set back since makes it no less than nothing."""
    words = {"topic": Topic.DISK_FILLING, "severity": Severity.WARNING, "subject": "disk", "text": "it fills"}
    (event,) = difference([Alarm(key="k", raised_at=raised, **words)], [], NOW).events  # type: ignore[arg-type]  # (by name)
    assert event.text == f"Well again after {lasted}. It had been: it fills"
    assert (event.topic, event.at, event.key) == (Topic.RECOVERED, NOW, "k")


# --- retention that is dead, and lines that starve ----------------------------------------------------------------


def test_a_dead_retention_is_told_with_its_newest_reason_and_since_when() -> None:
    assert texts(Known(lines=[RETENTION], slots=IN_VAIN, good=BACKUP)) == [
        "Backups go well, but retention in vault one has not succeeded at 2 due moments in a row, since 2 d; "
        "the last: day 1. Next: tandem slots files"
    ]


@pytest.mark.parametrize(("kind", "advice"), [(WhyKind.HELD, "tandem locks"), (WhyKind.TOO_LATE, "tandem slots files")])
def test_only_who_was_held_is_sent_to_the_locks(kind: WhyKind, advice: str) -> None:
    slots = [closed(Job.RETENTION, days, SlotState.BLOCKED, "why", kind) for days in (1, 2)]
    (told,) = texts(Known(lines=[RETENTION], slots=slots, good=BACKUP))
    assert told.endswith(f"Next: {advice}")


@pytest.mark.parametrize("state", [SlotState.DUE, SlotState.RUNNING, SlotState.SKIPPED])
def test_what_has_not_ended_or_had_nothing_to_do_ends_no_series(state: SlotState) -> None:
    newest = replace(closed(Job.RETENTION, 0, state, "not yet"), closed_at=None)
    assert keys(Known(lines=[RETENTION], slots=[newest, *IN_VAIN], good=BACKUP)) == ["dead/files/retention/one"]


@pytest.mark.parametrize(
    ("began", "ended", "is_dead"),
    [
        (NOW - 49 * HOUR, NOW - 22 * HOUR, False),  # it ended after the newest slot was closed
        (NOW - 47.5 * HOUR, NOW - 47.25 * HOUR, True),  # before the oldest was closed, which was due already
        (NOW - 22 * HOUR, None, False),  # its end is not on record
    ],
)
def test_a_run_by_hand_ends_the_series_if_it_ended_after_the_newest_slot(
    began: datetime, ended: datetime | None, is_dead: bool
) -> None:
    by_hand = replace(over(job=Job.RETENTION, started_at=began), finished_at=ended)
    known = Known(lines=[RETENTION], slots=IN_VAIN, good=BACKUP | good(by_hand))
    assert bool(keys(known)) is is_dead


@pytest.mark.parametrize(
    ("began", "ended", "is_silent"),
    [
        (NOW - 49 * HOUR, NOW - 47 * HOUR, True),  # it ended after the oldest of the series was due
        (NOW - 47 * HOUR, None, True),
        (NOW - 52 * HOUR, NOW - 50 * HOUR, False),  # nothing goes well, which is told elsewhere
    ],
)
def test_backups_go_well_where_one_ended_since_the_series_began(
    began: datetime, ended: datetime | None, is_silent: bool
) -> None:
    backup = replace(over(job=Job.BACKUP, started_at=began), finished_at=ended)
    assert bool(keys(Known(lines=[RETENTION], slots=IN_VAIN, good=good(backup)))) is is_silent


def test_a_starved_line_is_told_with_its_newest_reason() -> None:
    slots = [closed(Job.BACKUP, days, SlotState.MISSED, f"day {days}") for days in (1, 2, 3)]
    (told,) = texts(Known(lines=[line()], slots=slots))
    assert told.startswith(
        "The last 3 due moments of backup in vault one ended without a run of their own; the last: day 1."
    )


# --- objectives ---------------------------------------------------------------------------------------------------


def judged(objectives: Objectives) -> Assessment:
    policy = Policy(
        name=PolicyName("files"),
        tenant=TenantName("north"),
        source=Paths(paths=("/srv",)),
        vault=VaultName("one"),
        site=SiteName("primary"),
        objectives=objectives,
    )
    (found,) = assess([policy], [over(started_at=NOW - HOUR)], [point(time=NOW - HOUR)], NOW)
    return found


def since(ago: timedelta, objectives: Objectives) -> Known:
    return Known(assessments=[judged(objectives)], since={PolicyName("files"): NOW - ago})


def test_what_has_no_proof_is_told_after_the_time_that_its_objective_gives_it_and_not_at_it() -> None:
    promised = Objectives(rpo=DAY, check_age=7 * DAY, restore_test_age=3 * DAY, rto=HOUR)
    assert keys(since(3 * DAY, promised)) == []
    (told,) = texts(since(3 * DAY + HOUR, promised))
    assert told == (
        "Not proven, so it counts as missed: the age of the last clean restore test, the time that a restore takes. "
        "Next: tandem status"
    )
    (told,) = texts(since(8 * DAY, promised))
    assert "the age of the last clean check" in told
    assert "recovery point" not in told  # which there is


@pytest.mark.parametrize(
    ("measured", "objective", "figures"),
    [
        (3 * DAY, DAY, " is 3 d, and 24 h is promised"),
        (DAY, DAY, ""),
        (None, DAY, ""),
        (3 * DAY, None, ""),
    ],
)
def test_figures_are_told_where_they_are_what_is_wrong(
    measured: timedelta | None, objective: timedelta | None, figures: str
) -> None:
    gaps = (Gap(code=GapCode.DAMAGE_FOUND, count=1),)
    missed = Control(name=ControlName.CHECK, measured=measured, objective=objective, gaps=gaps)
    (told,) = texts(Known(assessments=[replace(judged(Objectives(rpo=DAY)), controls=(missed,))]))
    assert told == f"Missed: the age of the last clean check{figures}. Next: tandem status"


# --- locks, disks, deliveries -------------------------------------------------------------------------------------


def refused(hours_ago: float, words: str, **changes: Any) -> RunRecord:
    failure = Failure(kind=FailureKind.REPOSITORY_LOCKED, message=words)
    changes = {"state": RunState.FAILED, "failure": failure, **changes}
    return over(int(hours_ago * 60), job=Job.CHECK, started_at=NOW - hours_ago * HOUR, **changes)


def test_a_lock_is_told_by_the_last_run_that_it_refused() -> None:
    (told,) = texts(Known(refused=[refused(2, "later"), refused(3, "first")]))
    assert told == "A lock has refused 2 runs, the last check files: later. Next: tandem locks"


def test_what_went_well_before_a_lock_refused_says_nothing_of_the_lock() -> None:
    before, after = (good(over(job=Job.CHECK, started_at=NOW - hours * HOUR)) for hours in (3, 1))
    assert keys(Known(refused=[refused(2, "locked")], good=before)) == ["lock/north/one"]
    assert keys(Known(refused=[refused(2, "locked")], good=after)) == []


def test_a_run_that_failed_without_a_word_was_refused_by_no_lock() -> None:
    assert keys(Known(refused=[refused(2, "", failure=None)])) == []
    assert keys(Known(refused=[refused(2, "locked", state=RunState.PARTIAL)])) == []
    assert keys(Known(refused=[refused(2, "locked", state=RunState.BLOCKED)])) == ["lock/north/one"]


def test_a_disk_that_nothing_fills_is_full_when_nothing_is_left() -> None:
    still = Growth(bytes_a_day=0, over=DAY)
    assert keys(Known(disks=[Disk(name="d", free=1, growth=still)])) == []
    assert texts(Known(disks=[Disk(name="d", free=0, growth=still)])) == [
        "d has 0 B left. Next: make room, or keep fewer recovery points"
    ]


def test_what_is_not_delivered_is_told_with_the_oldest_and_a_reason_if_one_is_known() -> None:
    def waiting(hours: int, error: str) -> Notice:
        made = {"made_at": NOW - hours * HOUR, "next_at": NOW, "severity": Severity.WARNING}
        return Notice(channel="mail", key="k", subject="s", body="b", attempts=3, error=error, **made)  # type: ignore[arg-type]  # (by name)

    (told,) = texts(Known(notices=[waiting(2, ""), waiting(4, "no route"), waiting(3, "later")]))
    assert told == (
        "3 notices could not be delivered to mail, the oldest for 4 h: no route. "
        "Next: check [notify.mail] and its server"
    )
    (told,) = texts(Known(notices=[waiting(2, "")]))
    assert "no reason was given" in told

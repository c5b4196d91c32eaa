"""Conditions that last: each by an example, and that every one is raised once, cleared once, and told both times."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.agenda import lines_of
from jobs.alarm import Alarm, Disk, Known, conditions, difference
from jobs.event import Severity, Topic
from jobs.failure import Failure, FailureKind
from jobs.forecast import forecast
from jobs.growth import Growth
from jobs.history import Job, RetentionResult, RunRecord, RunState
from jobs.integrity import assess
from jobs.notice import Notice, NoticeState
from jobs.policy import Objectives, Paths, Policy, PolicyName, SiteName, TenantName, VaultName
from jobs.slot import Line, Slot, SlotState, Why, WhyKind
from jobs.window import Window
from tests.jobs import making
from tests.orchestrator.ledger.build import line, over, slot

NOW: Final = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
VAULT: Final = VaultName("one")
FILES: Final = PolicyName("files")
RETENTION: Final = line(job=Job.RETENTION)
BACKUPS: Final = line()
LOCKED: Final = Why(kind=WhyKind.LOCKED, text="repository is already locked by PID 7 on alpha")
RAN: Final = Why(kind=WhyKind.RAN, text="run 1 failed")
NEWER: Final = Why(kind=WhyKind.NEWER, text="a newer one stands for it")
SAME: Final = Why(kind=WhyKind.SAME_REPOSITORY, text="checked for another policy")


def closed(job: Job, days_ago: float, state: SlotState, why: Why = RAN) -> Slot:
    due = NOW - days_ago * DAY
    made = slot(1, job=job, nominal=due, key=f"{days_ago}", state=state, why=why)
    return replace(made, closed_at=due + HOUR)


def good(job: Job, days_ago: float) -> dict[Any, RunRecord]:
    run = over(job=job, started_at=NOW - days_ago * DAY)
    return {(run.policy, run.job, run.vault): run}


def keys(known: Known) -> list[str]:
    return [alarm.key for alarm in conditions(known, NOW)]


# --- backups green, retention dead --------------------------------------------------------------------------------


def dead(states: list[SlotState], backup_days_ago: float = 0.1, **good_before: float) -> list[str]:
    """Retention's due moments, the newest first, one a day; `retention` is when one last went well."""
    slots = [closed(Job.RETENTION, days, state, LOCKED) for days, state in enumerate(states, start=1)]
    known = good(Job.BACKUP, backup_days_ago) | {
        key: run for days in good_before.values() for key, run in good(Job.RETENTION, days).items()
    }
    return keys(Known(lines=[BACKUPS, RETENTION], slots=slots, good=known))


IN_VAIN: Final = [SlotState.FAILED, SlotState.BLOCKED, SlotState.MISSED, SlotState.INTERRUPTED]


@pytest.mark.parametrize("state", IN_VAIN)
def test_backups_green_retention_dead(state: SlotState) -> None:
    """keelhaven: after a killed backup `forget` is refused for ever, and every backup is green."""
    assert dead([state, state]) == ["dead/files/retention/one"]


@pytest.mark.parametrize(
    "states",
    [
        pytest.param([], id="nothing was due"),
        pytest.param([SlotState.FAILED], id="one in vain may be chance"),
        pytest.param([SlotState.SUCCEEDED, SlotState.FAILED, SlotState.FAILED], id="the newest went well"),
        pytest.param([SlotState.PARTIAL, SlotState.FAILED, SlotState.FAILED], id="the newest went nearly well"),
        pytest.param([SlotState.FAILED, SlotState.SUCCEEDED, SlotState.FAILED], id="not in a row"),
        pytest.param([SlotState.SKIPPED, SlotState.SKIPPED], id="there was nothing to do"),
    ],
)
def test_retention_that_goes_well_is_not_dead(states: list[SlotState]) -> None:
    assert dead(states) == []


def test_retention_by_hand_brings_it_back_to_life() -> None:
    assert dead([SlotState.FAILED, SlotState.FAILED], retention=0.5) == []
    assert dead([SlotState.FAILED, SlotState.FAILED], retention=5) == ["dead/files/retention/one"]


def test_where_backups_fail_as_well_it_is_no_silent_death() -> None:
    assert dead([SlotState.FAILED, SlotState.FAILED], backup_days_ago=9) == []


def test_what_a_newer_one_stood_for_does_not_interrupt_the_series() -> None:
    slots = [
        closed(Job.RETENTION, 1, SlotState.FAILED),
        closed(Job.RETENTION, 2, SlotState.COALESCED, NEWER),
        closed(Job.RETENTION, 3, SlotState.FAILED),
    ]
    assert keys(Known(lines=[RETENTION], slots=slots, good=good(Job.BACKUP, 0))) == ["dead/files/retention/one"]


def test_the_alarm_names_what_is_in_the_way_and_what_to_do() -> None:
    slots = [closed(Job.RETENTION, days, SlotState.BLOCKED, LOCKED) for days in (1, 2, 3)]
    (alarm,) = conditions(Known(lines=[RETENTION], slots=slots, good=good(Job.BACKUP, 0)), NOW)
    assert (alarm.topic, alarm.severity) == (Topic.RETENTION_DEAD, Severity.CRITICAL)
    assert "3 due moments" in alarm.text
    assert "already locked by PID 7" in alarm.text
    assert "tandem locks" in alarm.text


def test_a_line_that_is_no_longer_in_force_raises_nothing() -> None:
    slots = [closed(Job.RETENTION, days, SlotState.FAILED) for days in (1, 2)]
    assert keys(Known(lines=[replace(RETENTION, until=NOW)], slots=slots, good=good(Job.BACKUP, 0))) == []


# --- a line that never gets its turn ------------------------------------------------------------------------------


def test_a_line_whose_moments_are_passed_over_three_times_is_starved() -> None:
    passed = [
        closed(Job.BACKUP, 1, SlotState.MISSED),
        closed(Job.BACKUP, 2, SlotState.COALESCED, NEWER),
        closed(Job.BACKUP, 3, SlotState.MISSED),
    ]
    assert keys(Known(lines=[BACKUPS], slots=passed)) == ["starved/files/backup/one"]
    assert keys(Known(lines=[BACKUPS], slots=passed[:2])) == []
    assert keys(Known(lines=[BACKUPS], slots=[closed(Job.BACKUP, 0.5, SlotState.FAILED), *passed])) == []


def test_a_check_that_another_policy_made_is_no_sign_of_starving() -> None:
    slots = [closed(Job.CHECK, days, SlotState.COALESCED, SAME) for days in (1, 2, 3)]
    assert keys(Known(lines=[line(job=Job.CHECK)], slots=slots)) == []


def late(days_ago: float, state: SlotState, why: Why) -> Slot:
    made = closed(Job.BACKUP, days_ago, state, why)
    return replace(made, known_at=made.due + timedelta(minutes=2))


def test_what_an_outage_passed_over_is_no_starving_line() -> None:
    """It is told by itself, and the newest stands for them."""
    for why, state in ((NEWER, SlotState.COALESCED), (RAN, SlotState.MISSED)):
        assert keys(Known(lines=[BACKUPS], slots=[late(days, state, why) for days in (1, 2, 3, 4)])) == []
    punctual = [replace(late(days, SlotState.MISSED, RAN), known_at=NOW - days * DAY) for days in (1, 2, 3)]
    assert keys(Known(lines=[BACKUPS], slots=punctual)) == ["starved/files/backup/one"]


def test_what_waited_for_its_window_does_not_starve_unless_it_is_missed() -> None:
    window = Why(kind=WhyKind.WINDOW, text="its window opens at 20:00", other="files/backup/one/x")
    slots = [closed(Job.BACKUP, days, SlotState.COALESCED, window) for days in (1, 2, 3, 4)]
    assert keys(Known(lines=[BACKUPS], slots=slots)) == []
    missed = [replace(each, state=SlotState.MISSED) for each in slots]
    assert keys(Known(lines=[BACKUPS], slots=missed)) == ["starved/files/backup/one"]


def test_nobody_starves_while_one_that_is_open_stands_for_the_others() -> None:
    slots = [closed(Job.BACKUP, days, SlotState.COALESCED, replace(NEWER, other="open")) for days in (1, 2, 3)]
    assert keys(Known(lines=[BACKUPS], slots=slots)) == []
    ended = closed(Job.BACKUP, 0.5, SlotState.MISSED)
    stood_for = [replace(each, why=replace(NEWER, other=ended.id)) for each in slots]
    assert keys(Known(lines=[BACKUPS], slots=[ended, *stood_for])) == ["starved/files/backup/one"]


@pytest.mark.parametrize(
    ("text", "window"), [("every 1h", "20:00-06:00"), ("every 4h", "20:00-06:00"), ("every 4h", "22:00-02:00")]
)
def test_a_frequent_schedule_with_a_window_raises_no_alarm_by_day(text: str, window: str) -> None:
    start = datetime(2026, 11, 21, 19, 0, tzinfo=UTC)
    of = making.policy(replica=None, retention=None, timetable=making.timetable(backup=text), window=Window(window))
    lines = [replace(each, id=1) for each in lines_of(of, start)]
    made = [*forecast(lines, (), making.situation(of), {}, start, start + 2 * DAY)]
    ended = [
        replace(each.slot, state=each.state, why=each.why, closed_at=each.ends_at) for each in made if each.ends_at
    ]
    for hours in range(48):
        now = start + hours * HOUR
        newest = sorted((each for each in ended if each.closed_at and each.closed_at <= now), key=lambda each: each.due)
        assert conditions(Known(lines=lines, slots=newest[-10:]), now) == ()


def test_backups_green_copies_dead() -> None:
    slots = [closed(Job.REPLICATE, days, SlotState.FAILED) for days in (1, 2)]
    known = Known(lines=[line(job=Job.REPLICATE)], slots=slots, good=good(Job.BACKUP, 0))
    assert keys(known) == ["dead/files/replicate/one"]
    window = Why(kind=WhyKind.WINDOW, text="its window opens at 20:00")
    between = closed(Job.REPLICATE, 1.5, SlotState.COALESCED, window)
    assert keys(replace(known, slots=[*slots, between])) == ["dead/files/replicate/one"]


# --- objectives ---------------------------------------------------------------------------------------------------

POLICY: Final = Policy(
    name=FILES,
    tenant=TenantName("north"),
    source=Paths(paths=("/srv",)),
    vault=VAULT,
    site=SiteName("primary"),
    objectives=Objectives(rpo=DAY),
)


def judged(since: datetime) -> Known:
    return Known(assessments=assess([POLICY], [], [], NOW), since={FILES: since})


def test_what_was_never_proven_is_red_once_it_had_its_time() -> None:
    assert keys(judged(NOW - HOUR)) == []
    assert keys(judged(NOW - 2 * DAY)) == ["unproven/files/one"]
    assert keys(replace(judged(NOW), since={})) == ["unproven/files/one"]


def test_a_missed_objective_is_told_with_its_figures() -> None:
    from tests.orchestrator.ledger.build import point

    old = point(time=NOW - 3 * DAY)
    known = replace(judged(NOW), assessments=assess([POLICY], [], [old], NOW))
    (missed,) = (alarm for alarm in conditions(known, NOW) if alarm.key.startswith("objective/"))
    assert missed.key == "objective/files/one/recovery-point"
    assert missed.topic is Topic.OBJECTIVE_MISSED
    assert "3 d" in missed.text
    assert "24 h" in missed.text


# --- locks, disks, deliveries, the clock --------------------------------------------------------------------------


def refused(hours_ago: float, kind: FailureKind = FailureKind.REPOSITORY_LOCKED) -> RunRecord:
    failure = Failure(kind=kind, message="repository is already locked by PID 7 on beta")
    started = NOW - hours_ago * HOUR
    return over(int(hours_ago * 60), job=Job.CHECK, started_at=started, state=RunState.FAILED, failure=failure)


def test_a_lock_that_goes_on_refusing_is_told() -> None:
    assert keys(Known(refused=[refused(0.1)])) == []  # somebody may be at work
    assert keys(Known(refused=[refused(0.6)])) == ["lock/north/one"]
    assert keys(Known(refused=[refused(0.1), refused(0.2), refused(0.3)])) == ["lock/north/one"]
    assert keys(Known(refused=[refused(2, FailureKind.DISK_FULL)])) == []
    assert keys(Known(refused=[refused(2)], good=good(Job.CHECK, 0))) == []


REMOVED: Final = RetentionResult(kept=3, removed=("a",))


@pytest.mark.parametrize(
    ("of", "well", "stands"),
    [
        pytest.param(
            Job.CHECK, {"job": Job.RETENTION, "result": REMOVED}, False, id="it had the repository for itself"
        ),
        pytest.param(Job.CHECK, {"job": Job.RETENTION, "result": RetentionResult(kept=3)}, True, id="it took no lock"),
        pytest.param(Job.CHECK, {"job": Job.BACKUP}, True, id="beside a shared lock a backup goes"),
        pytest.param(Job.CHECK, {"job": Job.AUDIT}, True, id="an audit takes no lock"),
        pytest.param(Job.BACKUP, {"job": Job.RESTORE_TEST}, False, id="what was refused it shares"),
        pytest.param(Job.BACKUP, {"job": Job.AUDIT}, True, id="an audit takes no lock, and shows nothing"),
        pytest.param(Job.CHECK, {"job": Job.CHECK, "vault": VaultName("two")}, True, id="of another repository"),
        pytest.param(Job.CHECK, {"job": Job.CHECK, "tenant": TenantName("south")}, True, id="of another tenant"),
        pytest.param(Job.CHECK, {"job": Job.CHECK, "started_at": NOW - 3 * HOUR}, True, id="it was before"),
    ],
)
def test_a_lock_is_gone_where_a_run_went_well_that_it_would_have_refused(
    of: Job, well: dict[str, Any], stands: bool
) -> None:
    other = over(99, **{"policy": PolicyName("other"), "started_at": NOW - HOUR, **well})
    known = Known(refused=[replace(refused(2), job=of)], good={(other.policy, other.job, other.vault): other})
    assert keys(known) == (["lock/north/one"] if stands else [])


def test_a_disk_that_is_full_within_the_week_is_told() -> None:
    disk = Disk(name="The disk of vault one", free=100, growth=Growth(bytes_a_day=20, over=DAY))
    assert keys(Known(disks=[disk])) == ["disk/The disk of vault one"]
    assert keys(Known(disks=[replace(disk, free=140)])) == []
    assert keys(Known(disks=[replace(disk, free=0, growth=Growth(bytes_a_day=0, over=DAY))])) != []


def notice(hours_ago: float, **changes: Any) -> Notice:
    made = NOW - hours_ago * HOUR
    first = Notice(
        channel="mail",
        made_at=made,
        key="k",
        severity=Severity.WARNING,
        subject="s",
        body="b",
        next_at=NOW,
        attempts=3,
        error="connection refused",
    )
    return replace(first, **changes)


def test_a_channel_that_takes_nothing_for_an_hour_is_told() -> None:
    assert keys(Known(notices=[notice(2)])) == ["delivery/mail"]
    assert keys(Known(notices=[notice(0.5)])) == []
    assert keys(Known(notices=[notice(2, attempts=0)])) == []
    assert keys(Known(notices=[notice(2, state=NoticeState.DELIVERED)])) == []


def test_what_was_given_up_is_no_recovery_until_the_channel_accepts_something() -> None:
    lost = notice(80, state=NoticeState.GIVEN_UP, next_at=NOW - 8 * HOUR)
    assert keys(Known(notices=[lost])) == ["delivery/mail"]
    for hours, held in ((9, ["delivery/mail"]), (7, [])):
        taken = notice(10, state=NoticeState.DELIVERED, delivered_at=NOW - hours * HOUR)
        assert keys(Known(notices=[lost, taken])) == held


def test_a_clock_that_is_not_believed_is_told() -> None:
    (alarm,) = conditions(Known(clock_doubt="set forward by 400 days"), NOW)
    assert (alarm.key, alarm.topic) == ("clock", Topic.CLOCK_STEPPED)
    assert "400 days" in alarm.text


# --- what holds of any history ------------------------------------------------------------------------------------

names = st.sampled_from(["a", "b", "c"])
alarms = st.builds(
    Alarm,
    key=names,
    topic=st.sampled_from([Topic.MISSED, Topic.RETENTION_DEAD]),
    severity=st.sampled_from(Severity),
    subject=names,
    text=names,
    raised_at=st.integers(-9, 0).map(lambda hours: NOW + hours * HOUR),
)
sets = st.lists(alarms, max_size=4, unique_by=lambda alarm: alarm.key)


@given(sets, sets)
def test_what_stands_afterwards_is_what_holds_and_each_change_is_told_once(
    standing: list[Alarm], holding: list[Alarm]
) -> None:
    changed = difference(standing, holding, NOW)
    left = {alarm.key: alarm for alarm in standing if alarm.key not in changed.cleared}
    after = left | {alarm.key: alarm for alarm in changed.raised}
    assert after.keys() == {alarm.key for alarm in holding}
    assert not left.keys() & {alarm.key for alarm in changed.raised}
    assert all(alarm.raised_at == NOW for alarm in changed.raised)
    assert [event.key for event in changed.events] == [*(alarm.key for alarm in changed.raised), *changed.cleared]
    assert [event.topic is Topic.RECOVERED for event in changed.events] == [
        *(False for _ in changed.raised),
        *(True for _ in changed.cleared),
    ]
    again = difference(after.values(), holding, NOW)
    assert (again.raised, again.cleared, again.events) == ((), (), ())


states = st.sampled_from([*IN_VAIN, SlotState.SUCCEEDED, SlotState.COALESCED, SlotState.SKIPPED, SlotState.DUE])
jobs = st.sampled_from([Job.BACKUP, Job.RETENTION, Job.CHECK])
slots = st.lists(
    st.builds(closed, jobs, st.integers(0, 12), states, st.sampled_from([LOCKED, RAN, NEWER, SAME])),
    max_size=12,
    unique_by=lambda each: each.id,
)
goods = st.dictionaries(jobs, st.integers(0, 12), max_size=3).map(
    lambda days: {key: run for job, ago in days.items() for key, run in good(job, ago).items()}
)
LINES: Final[list[Line]] = [line(job=job) for job in (Job.BACKUP, Job.RETENTION, Job.CHECK)]


@given(slots, goods, st.randoms())
def test_keys_are_stable_and_the_order_of_what_is_known_does_not_matter(
    history: list[Slot], known_good: dict[Any, RunRecord], chance: Any
) -> None:
    first = conditions(Known(lines=LINES, slots=history, good=known_good), NOW)
    shuffled = chance.sample(history, len(history))
    assert conditions(Known(lines=LINES[::-1], slots=shuffled, good=known_good), NOW) == first
    assert [alarm.key for alarm in first] == sorted({alarm.key for alarm in first})
    later = conditions(Known(lines=LINES, slots=history, good=known_good), NOW + HOUR)
    assert [alarm.key for alarm in later] == [alarm.key for alarm in first]


@given(slots, goods)
def test_a_line_that_just_went_well_is_never_in_alarm(history: list[Slot], known_good: dict[Any, RunRecord]) -> None:
    well = [closed(job, -0.1, SlotState.SUCCEEDED) for job in (Job.BACKUP, Job.RETENTION, Job.CHECK)]
    assert keys(Known(lines=LINES, slots=[*history, *well], good=known_good)) == []


@given(goods, st.sampled_from(IN_VAIN), st.integers(2, 9))
def test_retention_in_vain_beside_a_good_backup_never_keeps_silent(
    known_good: dict[Any, RunRecord], state: SlotState, many: int
) -> None:
    known = {**known_good, **good(Job.BACKUP, 0)}
    known.pop((FILES, Job.RETENTION, VAULT), None)
    history = [closed(Job.RETENTION, days, state) for days in range(1, many + 1)]
    assert "dead/files/retention/one" in keys(Known(lines=LINES, slots=history, good=known))

"""Reports that make themselves: each moment's period, a slot for each, none stands for another, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.agenda import births, changes, lines_of
from jobs.claim import clash, repositories
from jobs.dispatch import Concurrency, Moves, Situation, dispatch
from jobs.event import of_slot
from jobs.forecast import forecast
from jobs.history import Job, Owner, RunRecord, RunState
from jobs.period import PeriodKind, last_complete, parse
from jobs.policy import PolicyName, TenantName
from jobs.reporting import EVERYBODY, NOWHERE, Form, Reporting
from jobs.schedule import Schedule, next_after
from jobs.slot import Line, Slot, SlotState, Why, WhyKind
from jobs.tally import tally

DAY: Final = timedelta(days=1)
START: Final = datetime(2026, 1, 10, tzinfo=UTC)
ZONES: Final = ("UTC", "Europe/Paris", "Africa/Cairo", "Africa/Casablanca", "Africa/Douala", "America/St_Johns",
                "America/Sao_Paulo", "America/Havana", "Pacific/Apia", "Asia/Kathmandu")  # fmt: skip
LENGTHS: Final = {
    PeriodKind.DAY: (1, 1),
    PeriodKind.WEEK: (7, 7),
    PeriodKind.MONTH: (28, 31),
    PeriodKind.QUARTER: (90, 92),
    PeriodKind.YEAR: (365, 366),
}
moments = st.integers(0, 49 * 366 * 86_400).map(
    lambda after: datetime(1986, 1, 1, tzinfo=UTC) + timedelta(seconds=after)
)


def reporting(name: str = "health", schedule: str = "monthly on 1 at 06:00", **more: object) -> Reporting:
    made = Reporting(name=PolicyName(name), schedule=Schedule(schedule), folder="/srv/reports", settings_hash="r" * 64)
    return replace(made, **more)  # type: ignore[arg-type]  # each is of its field's type


def line(of: Reporting, since: datetime = START) -> Line:
    (made,) = lines_of(of, since)
    return replace(made, id=1)


def situation(*reports: Reporting, under_way: Sequence[RunRecord] = (), runs: int = 2) -> Situation:
    return Situation(
        policies={},
        related={},
        under_way=under_way,
        good={},
        last_backups={},
        limits=Concurrency(runs=runs),
        reports={each.name: each for each in reports},
    )


def run(job: Job, policy: str, *, site: str = NOWHERE[0], vault: str = NOWHERE[1]) -> RunRecord:
    return RunRecord(
        id=f"run-{policy}",
        job=job,
        tenant=TenantName("a"),
        policy=PolicyName(policy),
        site=site,  # type: ignore[arg-type]  # a name
        vault=vault,  # type: ignore[arg-type]  # a name
        settings_hash="",
        state=RunState.RUNNING,
        owner=Owner(host="h", boot="b", pid=1, started="1"),
        started_at=START,
    )


# --- which period ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ZONES)
@given(moment=moments, kind=st.sampled_from(PeriodKind))
@example(moment=datetime(2011, 12, 30, 10, tzinfo=UTC), kind=PeriodKind.DAY)  # Apia leaves out a day
@example(moment=datetime(2006, 10, 29, 2, 45, tzinfo=UTC), kind=PeriodKind.DAY)  # St. John's shows a midnight twice
@settings(deadline=None, max_examples=60)
def test_it_is_the_last_that_had_ended_and_the_next_had_not(zone: str, moment: datetime, kind: PeriodKind) -> None:
    found = last_complete(kind, moment, ZoneInfo(zone))
    assert found.start < found.end <= moment
    assert parse(found.text, ZoneInfo(zone)) == found, "a person can ask for the same by its name"
    following = last_complete(kind, found.end + (LENGTHS[kind][1] + 2) * DAY, ZoneInfo(zone))
    while following.start > found.end:
        following = last_complete(kind, following.end - timedelta(microseconds=1), ZoneInfo(zone))
    assert following.start == found.end < moment + timedelta(microseconds=1) <= following.end + DAY
    assert following.end > moment


@pytest.mark.parametrize("zone", ["Europe/Paris", "Africa/Cairo", "Africa/Douala"])
@given(moment=moments, kind=st.sampled_from(PeriodKind))
@settings(deadline=None, max_examples=40)
def test_it_is_as_long_as_the_calendar_says(zone: str, moment: datetime, kind: PeriodKind) -> None:
    found = last_complete(kind, moment, ZoneInfo(zone))
    least, most = LENGTHS[kind]
    assert least * DAY - timedelta(hours=1) <= found.end - found.start <= most * DAY + timedelta(hours=1)


@pytest.mark.parametrize(
    ("kind", "moment", "text"),
    [
        (PeriodKind.MONTH, "2026-03-01T00:00+01:00", "2026-02"),
        (PeriodKind.MONTH, "2026-02-28T23:59+01:00", "2026-01"),
        (PeriodKind.YEAR, "2026-01-01T06:00+01:00", "2025"),
        (PeriodKind.QUARTER, "2026-04-01T06:00+02:00", "2026-Q1"),
        (PeriodKind.WEEK, "2027-01-04T06:00+01:00", "2026-W53"),
        (PeriodKind.WEEK, "2027-01-03T06:00+01:00", "2026-W52"),
        (PeriodKind.DAY, "2026-03-30T00:00+02:00", "2026-03-29"),
    ],
)
def test_what_ends_with_the_moment_is_complete(kind: PeriodKind, moment: str, text: str) -> None:
    assert last_complete(kind, datetime.fromisoformat(moment), ZoneInfo("Europe/Paris")).text == text


def test_a_years_slots_are_of_each_month_once() -> None:
    monthly = reporting(zone="Africa/Cairo")
    born = births(line(monthly), START + 365 * DAY).slots
    found = [monthly.period_at(slot.nominal) for slot in born]
    assert [period.text for period in found] == [f"2026-{month:02}" for month in range(1, 13)]
    assert all(one.end == other.start for one, other in pairwise(found))
    assert monthly.file_name(found[1], Form.HTML) == "integrity-health-2026-02.html"
    assert monthly.file_name(found[1], Form.TEXT) == "integrity-health-2026-02.txt"


# --- lines and slots ---------------------------------------------------------------------------------------------


def test_its_slots_are_nowhere_and_of_its_tenant_or_nobody() -> None:
    (slot,) = births(line(reporting(tenant=TenantName("a"))), START + 30 * DAY).slots
    assert slot.id == "health/report/-/L2026-02-01T06:00"
    assert (slot.site, slot.vault, slot.tenant) == (*NOWHERE, "a")
    (whole,) = births(line(reporting()), START + 30 * DAY).slots
    assert whole.tenant == EVERYBODY
    ended = of_slot(whole, SlotState.MISSED, Why(kind=WhyKind.TOO_LATE, text="late"), START)
    assert (ended.tenant, ended.subject) == (None, "report health")


def test_the_next_one_is_no_successor() -> None:
    slots = births(line(reporting()), START + 100 * DAY).slots
    assert [slot.until for slot in slots] == [slot.due + 400 * DAY for slot in slots]


def test_an_edit_ends_its_line_and_the_moments_go_on() -> None:
    before = line(reporting())
    edited = reporting(folder="/elsewhere", settings_hash="s" * 64)
    assert changes([before], [reporting()], START + DAY).begun == ()
    changed = changes([before], [edited], START + DAY)
    assert [number for number, _ in changed.ended] == [1]
    (begun,) = changed.begun
    assert births(replace(begun, id=2), START + 30 * DAY).slots[0].key == "L2026-02-01T06:00"
    assert changes([before], [], START + DAY).begun == ()


# --- what becomes of them ----------------------------------------------------------------------------------------


def decided(of: Sequence[Reporting], slots: Sequence[Slot], now: datetime, **more: object) -> Moves:
    return dispatch(slots, situation(*of, **more), now)  # type: ignore[arg-type]  # as situation takes them


def test_after_an_outage_every_period_is_made_the_oldest_first_and_one_at_a_time() -> None:
    monthly, now = reporting(), START + 200 * DAY
    slots = {slot.id: slot for slot in births(line(monthly), now).slots}
    assert len(slots) == 6
    made = []
    while slots:
        moves = decided([monthly], tuple(slots.values()), now)
        assert not moves.closings, "no period's report stands for another's"
        (start,) = moves.starts
        assert {wait.why.kind for wait in moves.waits} <= {WhyKind.LIMIT, WhyKind.HELD}
        made.append(monthly.period_at(start.slot.nominal).text)
        del slots[start.slot.id]
    assert made == ["2026-01", "2026-02", "2026-03", "2026-04", "2026-05", "2026-06"]


def test_what_is_older_than_the_bound_is_missed_by_name() -> None:
    daily = reporting(schedule="daily at 06:00", period=PeriodKind.DAY, catch_up=3 * DAY)
    now = START + 10 * DAY + timedelta(hours=12)
    slots = births(line(daily), now).slots
    moves = decided([daily], slots, now)
    assert {closing.state for closing in moves.closings} == {SlotState.MISSED}
    assert [closing.slot.key for closing in moves.closings] == [f"L2026-01-{day}T06:00" for day in range(10, 18)]
    assert {closing.why.kind for closing in moves.closings} == {WhyKind.NOT_RUNNING}
    assert len(moves.starts) + len(moves.waits) == 3


def test_reports_wait_for_no_backup_and_take_no_turn_from_one() -> None:
    monthly, now = reporting(), START + 30 * DAY
    slots = births(line(monthly), now).slots
    busy = [run(Job.BACKUP, "one", site="primary", vault="near"), run(Job.BACKUP, "two", site="primary", vault="near")]
    (start,) = decided([monthly], slots, now, under_way=busy, runs=1).starts
    assert start.step.job is Job.REPORT
    assert start.step.settings_hash == monthly.settings_hash


def test_one_report_waits_for_another() -> None:
    monthly, other, now = reporting(), reporting("other"), START + 30 * DAY
    slots = (*births(line(monthly), now).slots, *births(line(other), now).slots)
    (start,) = decided([monthly, other], slots, now).starts
    under_way = [run(Job.REPORT, start.slot.policy)]
    waits = decided([monthly, other], slots, now, under_way=under_way).waits
    assert len(waits) == len(slots)
    assert {wait.why.text for wait in waits} == {
        "another report is being made",
        f"report {start.slot.policy} is being made (run-{start.slot.policy})",
    }


@pytest.mark.parametrize("gone", [(), (reporting(tenant=TenantName("b")),)])
def test_what_the_settings_no_longer_hold_is_skipped(gone: tuple[Reporting, ...]) -> None:
    slots = births(line(reporting()), START + 30 * DAY).slots
    (closing,) = decided(gone, slots, START + 30 * DAY).closings
    assert (closing.state, closing.why.kind) == (SlotState.SKIPPED, WhyKind.POLICY_GONE)


def test_a_pause_is_waited_for() -> None:
    monthly, now = reporting(), START + 30 * DAY
    (slot,) = births(line(monthly), now).slots
    why = Why(kind=WhyKind.RETRY, text="attempt 1 failed (disk-full): full")
    paused = replace(slot, attempts=1, retry_at=now + timedelta(minutes=5), why=why, run="r")
    (wait,) = decided([monthly], [paused], now).waits
    assert wait.until == now + timedelta(minutes=5)
    (start,) = decided([monthly], [paused], now + timedelta(minutes=5)).starts
    assert start.slot.id == slot.id


def test_it_holds_no_repository_and_clashes_with_itself_alone() -> None:
    mine = run(Job.REPORT, "health")
    assert repositories(mine) == frozenset()
    assert clash(mine, run(Job.REPORT, "health"))
    for job in Job:
        assert not clash(mine, run(job, "files", site="primary", vault="-"))
        assert not clash(run(job, "files", site="primary", vault="-"), mine)


def test_what_is_planned_is_what_happens() -> None:
    daily = reporting(schedule="daily at 06:00", period=PeriodKind.DAY)
    other = reporting("other", schedule="daily at 06:00", period=PeriodKind.DAY)
    lines = (line(daily), replace(line(other), id=2))
    planned = list(forecast(lines, (), situation(daily, other), {}, START, START + 3 * DAY))
    assert [each.state for each in planned] == [SlotState.SUCCEEDED] * 6
    starts = sorted(each.starts_at for each in planned if each.starts_at is not None)
    assert all(later - one >= timedelta(minutes=1) for one, later in pairwise(starts)), "one at a time"


@given(schedule=st.sampled_from(["daily at 02:30", "weekly on mon at 06:00", "monthly on last at 23:30", "every 7d"]),
       zone=st.sampled_from(ZONES), looks=st.lists(st.integers(1, 60), min_size=1, max_size=12))  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_no_moment_is_lost_or_doubled_however_often_one_looks(schedule: str, zone: str, looks: list[int]) -> None:
    made = reporting(schedule=schedule, zone=zone)
    current, now, slots = line(made), START, list[Slot]()
    for days in looks:
        now += days * DAY
        born = births(current, now)
        slots += born.slots
        current = replace(current, cursor=born.cursor)
    counted = tally([current], lambda _line: [(slot.id, slot.job, slot.state) for slot in slots])
    assert counted.adds_up
    assert counted.found == len(slots) == len({slot.id for slot in slots})
    due = next_after(made.schedule, zone, START)
    assert (slots[0].due if slots else None) == (due.at if due is not None and due.at <= now else None)

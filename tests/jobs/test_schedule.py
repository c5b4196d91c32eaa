"""Moments, against what the clocks of odd zones show, minute by minute: none is lost, none comes twice."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.schedule import Occurrence, Schedule, _following, next_after, occurrences, splay

MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(days=1)

# Where and when clocks did something odd.
YEARS: Final = (
    ("Europe/Paris", 2026),
    ("Africa/Cairo", 2026),  # midnight is left out, and repeated
    ("Africa/Casablanca", 2026),  # an hour less in Ramadan
    ("Africa/Douala", 2026),
    ("America/Sao_Paulo", 2018),  # midnight is left out
    ("America/St_Johns", 2010),  # changes a minute past midnight, into the day before
    ("Australia/Lord_Howe", 2026),  # half an hour
    ("Pacific/Apia", 2011),  # a date is left out
    ("Asia/Kathmandu", 2026),
)
CLOCKS: Final = ("00:00", "00:30", "02:00", "02:15", "02:30", "03:00", "12:00", "23:30")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def listed(text: str, zone: str, after: datetime, until: datetime) -> list[Occurrence]:
    return list(occurrences(Schedule(text), zone, after, until))


def shown(text: str, zone: str, after: str, until: str) -> list[str]:
    return [f"{found.key} {found.at:%d %H:%M}" for found in listed(text, zone, utc(after), utc(until))]


# --- the oracle: clocks are watched, nothing is reckoned ---------------------------------------------------------


@lru_cache
def clocks(zone: str, first: date, days: int) -> dict[datetime, datetime]:
    """When each wall time was first shown; one that was left out: when it would have been, had the clock not jumped."""
    found: dict[datetime, datetime] = {}
    before = None
    for number in range(days * 1440):
        at = datetime(first.year, first.month, first.day, tzinfo=UTC) + number * MINUTE
        wall = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
        if before is not None and wall > before + MINUTE:
            for missing in range(1, (wall - before) // MINUTE):
                found.setdefault(before + missing * MINUTE, at + (missing - 1) * MINUTE)
        found.setdefault(wall, at)
        before = wall
    return found


@lru_cache
def odd_days(zone: str, year: int) -> tuple[date, ...]:
    """Dates near which the zone's offset changes."""
    middays = [datetime(year, 1, 1, 12, tzinfo=UTC) + number * DAY for number in range(-2, 368)]
    offsets = [midday.astimezone(ZoneInfo(zone)).utcoffset() for midday in middays]
    return tuple(day.date() for day, old, new in zip(middays, offsets, offsets[1:], strict=False) if old != new)


def first_shown(zone: str, wall: datetime) -> datetime:
    for odd in odd_days(zone, wall.year):
        if abs(wall.date() - odd) <= 2 * DAY:
            return clocks(zone, odd - 4 * DAY, 9)[wall]
    return wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def dates(zone: str, year: int) -> Iterator[date]:
    """The year's dates but for one that no clock of the zone showed."""
    for number in range(366 if monthrange(year, 2)[1] == 29 else 365):
        day = date(year, 1, 1) + number * DAY
        if (zone, day) != ("Pacific/Apia", date(2011, 12, 30)):
            yield day


# --- fixed hours -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("zone", "year"), YEARS)
@pytest.mark.parametrize("clock", CLOCKS)
def test_a_daily_job_is_due_once_on_every_date(zone: str, year: int, clock: str) -> None:
    walls = [datetime.fromisoformat(f"{day}T{clock}") for day in dates(zone, year)]
    expected = [Occurrence(at=first_shown(zone, wall), key=f"L{wall:%Y-%m-%dT%H:%M}") for wall in walls]
    found = listed(f"daily at {clock}", zone, expected[0].at - MINUTE, expected[-1].at)
    assert found == expected


@pytest.mark.parametrize(
    ("text", "zone", "after", "until", "expected"),
    [
        ("daily at 02:30", "Europe/Paris", "2026-10-24T12:00", "2026-10-26T00:00", ["L2026-10-25T02:30 25 00:30"]),
        ("daily at 02:30", "Europe/Paris", "2026-03-28T12:00", "2026-03-30T00:00", ["L2026-03-29T02:30 29 01:30"]),
        ("daily at 02:30", "Europe/Paris", "2026-03-29T01:15", "2026-03-30T00:00", ["L2026-03-29T02:30 29 01:30"]),
        # APScheduler in the zone itself finds none on this date.
        ("daily at 00:30", "Africa/Cairo", "2026-04-23T12:00", "2026-04-24T12:00", ["L2026-04-24T00:30 23 22:30"]),
        ("cron 0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00", "2018-11-04T12:00", ["L2018-11-04T00:00 04 03:00"]),
        (
            "daily at 02:15",
            "Australia/Lord_Howe",
            "2026-10-03T00:00",
            "2026-10-04T00:00",
            ["L2026-10-04T02:15 03 15:45"],
        ),
        # What was pushed onto a later time of its schedule: that one stands for it.
        ("cron 30 2,3 * * *", "Europe/Paris", "2026-03-28T12:00", "2026-03-29T12:00", ["L2026-03-29T03:30 29 01:30"]),
        (
            "cron 15,30 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T00:00",
            "2026-10-04T00:00",
            ["L2026-10-04T02:30 03 15:30"],
        ),
        (
            "cron 30 2,3 * * *",
            "Europe/Paris",
            "2026-10-24T12:00",
            "2026-10-25T12:00",
            ["L2026-10-25T02:30 25 00:30", "L2026-10-25T03:30 25 02:30"],
        ),
        # A Friday that was not: the next daily one stands for it, a weekly one is late but not lost.
        (
            "daily at 12:00",
            "Pacific/Apia",
            "2011-12-28T23:00",
            "2012-01-01T00:00",
            ["L2011-12-29T12:00 29 22:00", "L2011-12-31T12:00 30 22:00", "L2012-01-01T12:00 31 22:00"],
        ),
        (
            "weekly on fri at 12:00",
            "Pacific/Apia",
            "2011-12-24T00:00",
            "2012-01-05T00:00",
            ["L2011-12-30T12:00 30 22:00"],
        ),
    ],
)
def test_odd_nights(text: str, zone: str, after: str, until: str, expected: list[str]) -> None:
    assert shown(text, zone, after, until) == expected


def test_every_minute_of_the_morning_comes_once_on_both_odd_nights() -> None:
    folded = listed("cron * 1-4 * * *", "Europe/Paris", utc("2026-10-24T12:00"), utc("2026-10-25T12:00"))
    assert len(folded) == 240
    jumped = listed("cron * 1-4 * * *", "Europe/Paris", utc("2026-03-28T12:00"), utc("2026-03-29T12:00"))
    assert len({found.at for found in jumped}) == len(jumped) == 180


# --- elapsed time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "zone", "day", "count"),
    [
        ("cron 30 * * * *", "Europe/Paris", "2026-10-25", 25),
        ("cron 30 * * * *", "Europe/Paris", "2026-03-29", 23),
        ("cron */5 * * * *", "Europe/Paris", "2026-10-25", 300),
        ("cron */5 * * * *", "Europe/Paris", "2026-03-29", 276),
        ("cron 30 0-23 * * *", "Europe/Paris", "2026-10-25", 24),
        ("cron 0 */12 * * *", "Africa/Cairo", "2026-04-24", 2),  # midnight is left out: it comes at one
        ("cron 0 * * * *", "Australia/Lord_Howe", "2026-04-05", 24),  # half an hour is shown twice: 01:30 to 02:00
        ("cron 45 * * * *", "Australia/Lord_Howe", "2026-04-05", 25),
        ("cron 0 * * * *", "America/Sao_Paulo", "2018-02-17", 25),
        ("cron 0 * * * *", "Pacific/Apia", "2011-12-31", 24),
    ],
)
def test_a_star_hour_goes_by_the_time_that_passes(text: str, zone: str, day: str, count: int) -> None:
    midnight = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    following = (datetime.fromisoformat(day) + DAY).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    found = listed(text, zone, midnight - MINUTE, following - MINUTE)
    assert len(found) == count
    named = [f"{each.at:%Y-%m-%dT%H:%M}" for each in found]
    star = text.split()[2].startswith("*")
    assert not star or [each.key for each in found] == [f"U{name}Z" for name in named]


@pytest.mark.parametrize("zone", ["Europe/Paris", "Asia/Kathmandu"])
def test_a_length_of_time_is_counted_from_the_epoch_in_every_zone(zone: str) -> None:
    found = listed("every 7h", zone, utc("2026-03-28T00:00"), utc("2026-03-30T00:00"))
    assert [each.at.timestamp() % (7 * 3600) for each in found] == [0.0] * 7
    assert found[0].key == f"U{found[0].at:%Y-%m-%dT%H:%M}Z"
    weekly = next_after(Schedule("every 1w"), zone, utc("2026-11-21T20:30"))
    assert weekly == Occurrence(at=utc("2026-11-26T00:00"), key="U2026-11-26T00:00Z")


# --- the calendar ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("28", [28] * 14),
        ("29", [29, 29, 29, 29, 29, 29, 29, 29, 29, 29, 29, 29, 29, 28]),
        ("30", [30, 29, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 28]),
        ("31", [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 28]),
    ],
)
def test_no_month_is_skipped(day: str, expected: list[int]) -> None:
    found = listed(f"monthly on {day}", "UTC", utc("2027-12-31T12:00"), utc("2029-02-28T12:00"))
    assert [each.at.day for each in found] == expected


@pytest.mark.parametrize("number", range(8))
def test_weekday_numbers_are_those_of_cron(number: int) -> None:
    found = listed(f"cron 0 0 * * {number}", "UTC", utc("2026-01-01T00:00"), utc("2026-02-01T00:00"))
    assert {each.at.strftime("%w") for each in found} == {str(number % 7)}  # %w: Sunday is 0
    assert len(found) in {4, 5}


def test_a_leap_day_is_waited_for_and_an_impossible_one_is_not() -> None:
    leap = Schedule("cron 0 0 29 2 *")
    assert [each.at.year for each in occurrences(leap, "UTC", utc("2026-01-01T00:00"), utc("2041-01-01T00:00"))] == [
        2028,
        2032,
        2036,
        2040,
    ]
    after_2096 = next_after(leap, "UTC", utc("2096-03-01T00:00"))
    assert after_2096 is not None
    assert after_2096.at.year == 2104
    assert next_after(leap, "UTC", utc("9996-03-01T00:00")) is None
    assert next_after(Schedule("cron 0 0 30 2 *"), "UTC", utc("2026-01-01T00:00")) is None
    assert listed("cron 0 0 31 4 *", "UTC", utc("2026-01-01T00:00"), utc("9000-01-01T00:00")) == []


@pytest.mark.parametrize("text", ["daily", "every 36525d", "every 1m", "monthly on 31", "cron * * * * *", "weekly"])
def test_time_begins_in_1970_and_does_not_run_out_of_years(text: str) -> None:
    first = next_after(Schedule(text), "UTC", datetime(1, 1, 1, tzinfo=UTC))
    assert first is not None
    assert first.at.year == 1970
    assert next_after(Schedule(text), "UTC", datetime.max.replace(tzinfo=UTC)) is None
    last = listed(text, "UTC", utc("9998-12-31T23:58"), datetime.max.replace(tzinfo=UTC))
    assert all(each.at.year < 9999 for each in last)


_NUMBERS: Final = st.sets(st.integers(min_value=0, max_value=59), min_size=1, max_size=3)


@given(
    minutes=_NUMBERS,
    hours=st.sets(st.integers(min_value=0, max_value=23), min_size=1, max_size=3),
    days=st.sets(st.integers(min_value=1, max_value=31), max_size=4),
    months=st.sets(st.integers(min_value=1, max_value=12), min_size=1),
    weekdays=st.sets(st.integers(min_value=0, max_value=7), max_size=4),
)
@settings(deadline=None, max_examples=40)
def test_cron_means_what_its_manual_says(
    minutes: set[int], hours: set[int], days: set[int], months: set[int], weekdays: set[int]
) -> None:
    if days and weekdays:
        weekdays = set()
    fields = [",".join(map(str, sorted(part))) or "*" for part in (minutes, hours, days, months, weekdays)]
    expected = []
    for number in range(2 * 365):
        day = datetime(2027, 1, 1, tzinfo=UTC) + number * DAY
        matches = (not days or day.day in days) and day.month in months
        if matches and (not weekdays or int(day.strftime("%w")) in {weekday % 7 for weekday in weekdays}):
            expected += [day.replace(hour=hour, minute=minute) for hour in sorted(hours) for minute in sorted(minutes)]
    found = listed(f"cron {' '.join(fields)}", "UTC", utc("2026-12-31T23:59"), utc("2028-12-30T23:59"))
    assert [each.at for each in found] == expected


# --- whoever asks, and whenever ----------------------------------------------------------------------------------

_TEXTS: Final = (
    "daily at 00:30",
    "daily at 02:30",
    "weekly on sat,sun at 02:15",
    "monthly on 30 at 23:30",
    "every 7h",
    "cron 15,45 0-3 * * *",
    "cron 15,45 * * * *",
    "cron */20 */2 * * sun",
    "cron 30 2 29,30,31 * *",
)
_PLACES: Final = [(zone, odd) for zone, year in YEARS for odd in odd_days(zone, year)] + [
    ("Asia/Kathmandu", date(2026, 6, 1))
]
_HOURS: Final = st.floats(min_value=-60, max_value=84).map(lambda hours: timedelta(hours=hours))


@given(
    text=st.sampled_from(_TEXTS),
    place=st.sampled_from(_PLACES),
    offsets=st.tuples(_HOURS, _HOURS, _HOURS),
)
@example(  # begun between the two half past twos
    text="daily at 02:30",
    place=("Europe/Paris", date(2026, 10, 25)),
    offsets=(timedelta(hours=-24), timedelta(hours=1), timedelta(hours=24)),
)
@example(  # begun in the hour after the one that is left out
    text="daily at 02:30",
    place=("Europe/Paris", date(2026, 3, 29)),
    offsets=(timedelta(hours=-24), timedelta(hours=1.25), timedelta(hours=24)),
)
@settings(deadline=None, max_examples=150)
def test_it_does_not_matter_where_one_begins(
    text: str, place: tuple[str, date], offsets: tuple[timedelta, timedelta, timedelta]
) -> None:
    zone, odd = place
    midnight = datetime(odd.year, odd.month, odd.day, tzinfo=UTC)
    first, between, last = (midnight + offset for offset in sorted(offsets))
    whole = listed(text, zone, first, last)
    assert whole == listed(text, zone, first, between) + listed(text, zone, between, last)
    assert [each.at for each in whole] == sorted({each.at for each in whole})
    assert [each.key for each in whole] == sorted({each.key for each in whole})
    assert all(first < each.at <= last for each in whole)
    following = listed(text, zone, first, midnight + 70 * DAY)
    assert next_after(Schedule(text), zone, first) == following[0]


@pytest.mark.parametrize("text", _TEXTS)
def test_each_follows_from_the_one_before(text: str) -> None:
    until = utc("2026-12-01T00:00")
    found, at = [], utc("2026-10-01T00:00")
    while (following := next_after(Schedule(text), "Africa/Cairo", at)) is not None and following.at <= until:
        found.append(following)
        at = following.at
    assert found == listed(text, "Africa/Cairo", utc("2026-10-01T00:00"), until)


class _Stuck:
    """A trigger that stands still until it is asked from somewhat later; or for ever."""

    def __init__(self, patience: timedelta) -> None:
        self.patience = patience

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        assert previous_fire_time == now
        return FOLD if now - FOLD < self.patience else FOLD + DAY


FOLD: Final = utc("2026-10-25T00:30")


def test_a_trigger_that_stands_still_is_pushed_once_and_then_given_up() -> None:
    assert _following(_Stuck(MINUTE), FOLD) == FOLD + DAY
    with pytest.raises(ArithmeticError, match="stands still at 2026-10-25T00:30Z"):
        _following(_Stuck(DAY), FOLD)


# --- splay -------------------------------------------------------------------------------------------------------


def test_a_splay_is_the_same_everywhere_and_for_ever() -> None:
    most = timedelta(minutes=10)
    assert splay("files/backup/first", "L2026-11-21T01:30", most) == timedelta(seconds=276)
    assert splay("files/backup/first", "L2026-11-21T01:30", timedelta(0)) == timedelta(0)
    drawn = [splay("files/backup/first", f"L{number}", most) for number in range(2000)]
    assert max(drawn) < most
    assert min(drawn) >= timedelta(0)
    assert len(set(drawn)) > 500


@pytest.mark.parametrize("text", ["every 60m", "daily at 00:00", "cron 0 * * * *"])
def test_a_moment_at_the_very_end_is_told_and_one_at_the_beginning_is_not_wherever_pieces_of_time_end(
    text: str,
) -> None:
    for day in range(200):
        midnight = utc("2026-01-01") + day * DAY
        assert [each.at for each in listed(text, "UTC", midnight - MINUTE, midnight)] == [midnight]
        assert listed(text, "UTC", midnight, midnight + MINUTE) == []

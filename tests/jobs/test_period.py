"""Periods are calendar time in a zone: they meet without gap or overlap, whatever the clock does at midnight."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.period import Period, parse

DOUALA = timezone(timedelta(hours=1), "Africa/Douala")


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026", "2025-12-31T23:00", "2026-12-31T23:00"),
        ("2026-Q4", "2026-09-30T23:00", "2026-12-31T23:00"),
        ("2026-11", "2026-10-31T23:00", "2026-11-30T23:00"),
        ("2026-12", "2026-11-30T23:00", "2026-12-31T23:00"),
        ("2028-02", "2028-01-31T23:00", "2028-02-29T23:00"),
        ("2026-11-21", "2026-11-20T23:00", "2026-11-21T23:00"),
    ],
)
def test_each_form_is_calendar_time_in_the_zone(text: str, start: str, end: str) -> None:
    found = parse(text, DOUALA)
    assert found.start == datetime.fromisoformat(start + "+00:00")
    assert found.end == datetime.fromisoformat(end + "+00:00")
    assert found.start.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "26",
        "2026-",
        "2026-Q5",
        "2026-13",
        "2026-00",
        "2026-02-30",
        "2026-11-21T00",
        "0000",
        "9999",
        " 2026",
        "٢٠٢٦",
    ],
)
def test_anything_else_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="not a period"):
        parse(text, DOUALA)


@pytest.mark.parametrize("zone", ["Europe/Paris", "Africa/Cairo", "America/Sao_Paulo", "Asia/Beirut", "UTC"])
@given(year=st.integers(min_value=1990, max_value=2030))
def test_months_and_quarters_fill_the_year_without_gap_or_overlap(zone: str, year: int) -> None:
    try:
        there: tzinfo = ZoneInfo(zone)
    except LookupError:
        pytest.skip(f"no data on the zone {zone} here")
    whole = parse(f"{year}", there)
    months = [parse(f"{year}-{month:02}", there) for month in range(1, 13)]
    quarters = [parse(f"{year}-Q{quarter}", there) for quarter in range(1, 5)]
    for parts in (months, quarters):
        assert [part.start for part in parts[1:]] == [part.end for part in parts[:-1]]
        assert (parts[0].start, parts[-1].end) == (whole.start, whole.end)


def test_a_night_that_skips_midnight_starts_when_the_clock_jumps() -> None:
    try:
        cairo = ZoneInfo("Africa/Cairo")
    except LookupError:
        pytest.skip("no data on the zone Africa/Cairo here")
    day = parse("2024-04-26", cairo)  # at 00:00 +02:00 the clock went to 01:00 +03:00
    assert day.start == datetime(2024, 4, 25, 22, tzinfo=UTC)
    assert day.end - day.start == timedelta(hours=23)


def test_as_of_is_the_end_or_now_and_never_before_the_start() -> None:
    period = parse("2026-11", DOUALA)
    within = datetime(2026, 11, 21, 7, 30, tzinfo=UTC)
    assert period.as_of(within) == within
    assert period.as_of(period.end + timedelta(days=400)) == period.end
    with pytest.raises(ValueError, match="has not begun"):
        period.as_of(period.start - timedelta(seconds=1))
    assert period.as_of(period.start) == period.start
    assert period.start in period
    assert period.end not in period


def test_a_period_must_last() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="ends after it starts"):
        Period(text="", start=moment, end=moment)

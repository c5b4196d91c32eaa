"""Windows, against clocks that are watched minute by minute: what it says is open is open, and nothing was before."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.schedule import Schedule, next_after
from jobs.window import Window

MINUTE: Final = timedelta(minutes=1)

# The midnight (UTC) before clocks change, or the date line is crossed.
PLACES: Final = (
    ("Europe/Paris", "2026-03-29"),
    ("Europe/Paris", "2026-10-25"),
    ("Africa/Cairo", "2026-04-23"),
    ("Africa/Cairo", "2026-10-29"),
    ("Africa/Casablanca", "2026-02-15"),
    ("Africa/Casablanca", "2026-03-22"),
    ("Africa/Douala", "2026-11-21"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("America/St_Johns", "2010-11-07"),
    ("Australia/Lord_Howe", "2026-10-03"),
    ("Australia/Lord_Howe", "2026-04-04"),
    ("Pacific/Apia", "2011-12-30"),
    ("Asia/Kathmandu", "2026-11-21"),
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "canonical", "start", "end"),
    [
        ("20:00-06:00", "20:00-06:00", time(20), time(6)),
        (" 8:05 - 17:30 ", "08:05-17:30", time(8, 5), time(17, 30)),
        ("18:00-24:00", "18:00-00:00", time(18), time(0)),
    ],
)
def test_a_window_is_two_times_of_day(text: str, canonical: str, start: time, end: time) -> None:
    window = Window(text)
    assert (window.text, window.start, window.end) == (canonical, start, end)
    assert window == Window(canonical)


@pytest.mark.parametrize(
    "text", ["", "20:00", "20-06", "20:00-25:00", "24:00-06:00", "20:60-06:00", "20:00 to 06:00", "٢٠:00-06:00"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a window"):
        Window(text)


@pytest.mark.parametrize("text", ["00:00-00:00", "00:00-24:00", "20:00-20:00"])
def test_a_window_that_never_closes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="leave the window out"):
        Window(text)


@given(st.text())
@settings(deadline=None)
def test_no_text_breaks_it(text: str) -> None:
    try:
        assert Window(Window(text).text) == Window(text)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("text", "zone", "now", "expected"),
    [
        ("20:00-06:00", "Africa/Douala", "2026-11-21T12:00", "2026-11-21T19:00"),
        ("20:00-06:00", "Africa/Douala", "2026-11-21T19:00", "2026-11-21T19:00"),
        ("20:00-06:00", "Africa/Douala", "2026-11-22T04:59:59", "2026-11-22T04:59:59"),
        ("20:00-06:00", "Africa/Douala", "2026-11-22T05:00", "2026-11-22T19:00"),
        ("20:00-06:00", "Africa/Douala", "2026-11-22T05:00:00.5", "2026-11-22T19:00"),
        ("02:30-06:00", "Europe/Paris", "2026-03-29T00:30:00.25", "2026-03-29T01:00"),  # 02:00 is 03:00
        ("02:15-02:45", "Europe/Paris", "2026-03-29T00:30", "2026-03-29T01:15"),  # by the old clock
        ("02:15-02:45", "Europe/Paris", "2026-03-29T01:50", "2026-03-30T00:15"),
        ("01:00-02:30", "Europe/Paris", "2026-03-29T01:00", "2026-03-29T01:00"),  # the half hour that is left
        ("02:30-02:45", "Europe/Paris", "2026-10-25T00:50", "2026-10-25T01:30"),  # a second time
        ("00:00-01:00", "Africa/Cairo", "2026-04-23T12:00", "2026-04-23T22:00"),
        ("12:00-13:00", "Pacific/Apia", "2011-12-30T00:00", "2011-12-30T22:00"),
    ],
)
def test_when_it_opens(text: str, zone: str, now: str, expected: str) -> None:
    assert Window(text).opens_after(utc(now), zone) == utc(expected)


_TIMES: Final = st.integers(min_value=0, max_value=1439)
_NEAR_TWO: Final = st.integers(min_value=0, max_value=16).map(lambda quarter: quarter * 15)


@given(
    place=st.sampled_from(PLACES),
    ends=st.one_of(st.tuples(_NEAR_TWO, _NEAR_TWO), st.tuples(_TIMES, _TIMES)).filter(lambda ends: ends[0] != ends[1]),
    since=st.integers(min_value=-8 * 60, max_value=36 * 60),
    seconds=st.floats(min_value=0, max_value=59.9),
)
@example(place=PLACES[0], ends=(150, 240), since=50, seconds=1.5)
@settings(deadline=None, max_examples=120)
def test_it_opens_neither_late_nor_early(
    place: tuple[str, str], ends: tuple[int, int], since: int, seconds: float
) -> None:
    zone, day = place
    start, end = ends
    window = Window(f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}")
    now = utc(day) + since * MINUTE + timedelta(seconds=seconds)

    def shown(clock: datetime) -> bool:
        return (clock.hour * 60 + clock.minute - start) % 1440 < (end - start) % 1440

    def watched(at: datetime) -> bool:
        """By the clocks; and while as much time has gone by since a gap as it was long, by those from before it."""
        clock = at.astimezone(ZoneInfo(zone))
        if shown(clock):
            return True
        for minutes in (30, 60, 120):
            before = (at - minutes * MINUTE).astimezone(ZoneInfo(zone))
            gap = (clock.utcoffset() or timedelta()) - (before.utcoffset() or timedelta())
            if gap == minutes * MINUTE:
                return shown(clock - gap)
        return False

    assert window.is_open(now, zone) == watched(now)
    opens = window.opens_after(now, zone)
    assert opens.tzinfo is UTC
    assert opens >= now
    assert watched(opens)
    at = now
    while at < opens:  # clocks change, and windows open, on whole minutes
        assert not watched(at)
        at = at.replace(second=0, microsecond=0) + MINUTE


@pytest.mark.parametrize(
    ("zone", "text", "window", "night"),
    [
        ("Europe/Paris", "daily at 02:30", "02:00-03:00", "2026-03-29"),
        ("Africa/Cairo", "daily at 00:30", "00:00-01:00", "2026-04-24"),
        ("Africa/Casablanca", "daily at 02:15", "02:00-02:30", "2026-03-22"),
    ],
)
def test_what_is_due_in_an_hour_that_is_left_out_finds_its_window_open(
    zone: str, text: str, window: str, night: str
) -> None:
    due = next_after(Schedule(text), zone, utc(night) - timedelta(hours=6))
    assert due is not None
    assert Window(window).is_open(due.at, zone)

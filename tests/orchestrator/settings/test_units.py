"""Durations, sizes, rates and shares: what is written is read back, and nothing else is read."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.settings.units import (
    LONGEST,
    format_duration,
    format_rate,
    format_size,
    parse_duration,
    parse_keep,
    parse_rate,
    parse_share,
    parse_size,
)

SECONDS = st.integers(1, int(LONGEST.total_seconds()))


@given(SECONDS | st.integers(1, 36_525).map(lambda days: days * 86_400))
def test_durations_are_read_back(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@given(st.integers(1, 1 << 59) | st.integers(1, 1000).map(lambda n: n << 30))
def test_sizes_are_read_back(size: int) -> None:
    assert parse_size(format_size(size)) == size
    assert parse_rate(format_rate(size + 1024)) == size + 1024


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("24h", 86_400), ("30d", 2_592_000), ("2w", 1_209_600)]
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "text"), [(86_400, "24h"), (172_800, "2d"), (3_600, "1h"), (5_400, "90m"), (61, "61s")]
)
def test_durations_are_written_as_people_say_them(seconds: int, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(("text", "size"), [("16MiB", 16 << 20), ("500M", 500 << 20), ("1B", 1), ("3T", 3 << 40)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["none", "100%", "10%", "0.5%", "1/1", "1/4", "256/256", "500M", "1K", "2T"])
def test_shares_that_restic_takes_as_they_are(text: str) -> None:
    assert parse_share(text) == text


@pytest.mark.parametrize(("text", "share"), [("500MiB", "500M"), ("2048K", "2M"), ("1000B", "1000B")])
def test_sizes_as_shares_are_written_for_restic(text: str, share: str) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize(
    "text",
    ["", "24", "h", "0h", "-1h", "1.5h", "24 h", "24H", "1h30m", "٢h", "1y", "9999999999w", " 1h", "1h\n", 5, None],
)
def test_what_is_not_a_duration(text: object) -> None:
    with pytest.raises(ValueError, match=r"duration|hundred years"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "16", "16MB", "16 MiB", "16mib", "0M", "-1M", "1.5G", "MiB", "1E", 5, None])
def test_what_is_not_a_size(text: object) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@pytest.mark.parametrize("text", ["20MiB", "20Mbit/s", "20MB/s", "1023B/s", "0K/s", "/s", "20MiB/s/s", "20MiB/m", 5])
def test_what_is_not_a_rate(text: object) -> None:
    with pytest.raises(ValueError, match=r"rate|too slow"):
        parse_rate(text)


@pytest.mark.parametrize("text", ["", "all", "0%", "101%", "10", "0/4", "5/4", "1/257", "1/0", "-1%", "1e1%", "None"])
def test_what_is_not_a_share(text: str) -> None:
    with pytest.raises(ValueError, match=r"share|part"):
        parse_share(text)


def test_the_slowest_rate_is_a_kibibyte_a_second() -> None:
    assert parse_rate("1KiB/s") == parse_rate("1024B/s") == 1024
    with pytest.raises(ValueError, match="the slowest is 1KiB/s"):
        parse_rate("1023B/s")


def test_a_year_is_never_shorter_than_one_of_the_calendar() -> None:
    assert parse_keep("10y") == timedelta(days=3660)
    assert parse_keep("93d") == timedelta(days=93)
    for wrong in ("10", "92d", "0y", "1.5y", "100y", 10):
        with pytest.raises(ValueError, match=r"is not|too short|must be"):
            parse_keep(wrong)

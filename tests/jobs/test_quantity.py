"""Figures for people: never better than the truth, and read back as what they were."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.quantity import counted, duration, number, rate, size, whole_seconds

_SECONDS: Final = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
_BYTES: Final = {unit: 1024**power for power, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))}

durations = st.timedeltas(min_value=timedelta(), max_value=timedelta(days=4_000))
limits = st.integers(min_value=1, max_value=10_000_000).map(lambda seconds: timedelta(seconds=seconds))


def read_duration(text: str) -> timedelta:
    """What a reader makes of it."""
    parts = re.findall(r"([\d,]+) (d|h|min|s)", text)
    return timedelta(seconds=sum(int(amount.replace(",", "")) * _SECONDS[unit] for amount, unit in parts))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.2, "1 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3_599.5, "1 h"),
        (3_661, "1 h 2 min"),
        (86_400, "24 h"),
        (86_401, "24 h 1 min"),
        (172_799, "2 d"),
        (172_801, "2 d 1 h"),
        (8 * 86_400, "8 d"),
        (4_000 * 86_400, "4,000 d"),
        (-61, "-1 min 1 s"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


@given(durations)
def test_a_duration_is_never_shown_shorter_than_it_was_nor_much_longer(value: timedelta) -> None:
    shown = read_duration(duration(value))
    assert shown >= value
    assert shown - value < timedelta(seconds=1) + max(timedelta(), value) / 24


@given(durations, limits)
def test_beside_its_limit_a_duration_reads_as_it_was_judged(value: timedelta, limit: timedelta) -> None:
    assert (read_duration(duration(value, limit=limit)) <= limit) == (value <= limit)


@given(limits, st.integers(min_value=-2, max_value=2))
def test_a_microsecond_at_the_limit_decides(limit: timedelta, microseconds: int) -> None:
    value = limit + timedelta(microseconds=microseconds)
    assert (read_duration(duration(value, limit=limit)) <= limit) == (microseconds <= 0)


@given(durations)
def test_whole_seconds_count_a_started_one(value: timedelta) -> None:
    assert timedelta() <= timedelta(seconds=whole_seconds(value)) - value < timedelta(seconds=1)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1_023, "1023 B"),
        (1_024, "1.00 KiB"),
        (1_025, "1.00 KiB"),
        (10_239, "9.99 KiB"),
        (10_240, "10.0 KiB"),
        (1_048_575, "1,023 KiB"),
        (1_048_576, "1.00 MiB"),
        (6_443_127_809, "6.00 GiB"),
        (2**80, "1,048,576 EiB"),
        (-2_048, "-2.00 KiB"),
    ],
)
def test_sizes_read_as_people_say_them(count: int, text: str) -> None:
    assert size(count) == text


@given(st.integers(min_value=0, max_value=2**62))
def test_a_size_is_never_shown_larger_than_it_was_nor_much_smaller(count: int) -> None:
    amount, unit = size(count).replace(",", "").split()
    shown = float(amount) * _BYTES[unit]
    assert shown <= count
    assert count - shown <= count / 100 + 1


def test_counts_have_their_noun_and_their_thousands() -> None:
    assert number(1_234_567) == "1,234,567"
    assert counted(1, "file") == "1 file"
    assert counted(0, "file") == "0 files"
    assert counted(2_000, "copy", "copies") == "2,000 copies"
    assert rate(1_572_864.9) == "1.50 MiB/s"


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (None, "5 h 14 min"),
        (timedelta(hours=5, minutes=14), "5 h 14 min"),
        (timedelta(hours=5, minutes=13, seconds=30), "5 h 13 min 20 s"),
        (timedelta(hours=5), "5 h 14 min"),
    ],
)
def test_more_units_are_told_only_where_two_would_read_as_beyond_the_limit(limit: timedelta | None, text: str) -> None:
    assert duration(timedelta(hours=5, minutes=13, seconds=20), limit=limit) == text


def test_three_digits_are_told_until_there_are_more_before_the_point() -> None:
    sizes = (10 * 1024 - 1, 10 * 1024, 100 * 1024 - 1, 100 * 1024, 1023 * 1024)
    assert [size(count) for count in sizes] == ["9.99 KiB", "10.0 KiB", "99.9 KiB", "100 KiB", "1,023 KiB"]

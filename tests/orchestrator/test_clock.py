"""The one clock: aware UTC, a sleep that can be cut short, ids that sort by time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from threading import Event, Timer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.clock import Clock, new_run_id, run_id

moments = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 (hypothesis wants naive bounds)


def test_now_is_aware_and_in_utc() -> None:
    assert Clock().now().utcoffset() == timedelta(0)


def test_monotonic_never_goes_back() -> None:
    clock = Clock()
    seen = [clock.monotonic() for _ in range(100)]
    assert seen == sorted(seen)


def test_a_sleep_lasts_at_least_as_long_as_asked() -> None:
    clock = Clock()
    before = clock.monotonic()
    assert clock.sleep(0.15, Event()) is True
    assert clock.monotonic() - before >= 0.15


def test_a_sleep_ends_when_it_is_told_to_stop() -> None:
    stop = Event()
    timer = Timer(0.05, stop.set)
    timer.start()
    assert Clock().sleep(3600, stop) is False
    timer.join()


def test_a_sleep_that_is_stopped_before_it_begins_does_not_begin() -> None:
    stop = Event()
    stop.set()
    assert Clock().sleep(3600, stop) is False


def test_a_run_id_names_its_moment_in_utc() -> None:
    moment = datetime(2026, 11, 21, 21, 30, tzinfo=timezone(timedelta(hours=1)))
    assert run_id(moment, bytes.fromhex("4f2a9c1b")) == "20261121T203000Z-000004f2a9c1b"
    assert run_id(moment.replace(microsecond=123456), b"x") == "20261121T203000Z-1e24078"


def test_a_run_id_needs_an_aware_moment() -> None:
    with pytest.raises(ValueError, match="aware"):
        run_id(datetime(2026, 11, 21), b"1234")  # noqa: DTZ001 (what the test is about)


def test_run_ids_of_one_second_differ_and_fit_a_restic_tag() -> None:
    moment = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
    made = {new_run_id(moment) for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"20261121T203000Z-00000[0-9a-f]{8}", one) for one in made)


@given(one=moments, other=moments, noise=st.binary(min_size=4, max_size=4))
def test_run_ids_sort_by_time(one: datetime, other: datetime, noise: bytes) -> None:
    first, second = sorted([one.replace(microsecond=0), other.replace(microsecond=0)])
    assert first == second or run_id(first, noise) < run_id(second, noise)

"""What is believed of a clock that was set, and when; and what time it is meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.serve.clockwatch import STOOD_SECONDS, BelievedClock, ClockWatch, Opinion
from tests.orchestrator.serve.clocks import START, HandClock

NOW = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)
HOUR, DAY, SECOND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)
WEEKS = 21 * DAY


@pytest.mark.parametrize("step", [HOUR, -HOUR, 24 * HOUR, -24 * HOUR])
def test_a_step_of_a_day_is_followed_at_once(step: timedelta) -> None:
    watch = ClockWatch(NOW, 0)
    assert watch.look(NOW + SECOND, 1) is None
    assert watch.look(NOW + 2 * SECOND + step, 2) == step
    assert watch.believed
    assert watch.look(NOW + 3 * SECOND + step, 3) is None


def test_a_machine_that_was_suspended_for_two_days_is_believed_after_an_hour_when_nobody_can_tell() -> None:
    watch = ClockWatch(NOW, 0)
    assert watch.look(NOW + 2 * DAY, 0) == 2 * DAY
    assert not watch.believed
    half = STOOD_SECONDS / 2
    assert watch.look(NOW + 2 * DAY + timedelta(seconds=half), half) is None
    assert not watch.believed
    assert watch.look(NOW + 2 * DAY + timedelta(seconds=STOOD_SECONDS), STOOD_SECONDS) == 2 * DAY
    assert watch.believed
    assert watch.look(NOW + 2 * DAY + timedelta(seconds=STOOD_SECONDS + 1), STOOD_SECONDS + 1) is None


def test_another_step_begins_the_hour_anew() -> None:
    watch = ClockWatch(NOW, 0)
    watch.look(NOW + 2 * DAY, 0)
    watch.look(NOW + 3 * DAY, STOOD_SECONDS - 1)
    watch.look(NOW + 3 * DAY + 2 * SECOND, STOOD_SECONDS + 1)
    assert not watch.believed


def test_ten_years_ahead_are_never_believed_however_long_they_stand() -> None:
    watch = ClockWatch(NOW, 0)
    for monotonic in range(0, 100_000, 1000):
        watch.look(NOW + 3652 * DAY + timedelta(seconds=monotonic), monotonic)
        assert not watch.believed
    assert watch.look(NOW + timedelta(seconds=100_000), 100_000) == -3652 * DAY
    assert watch.believed


def test_a_start_within_a_day_of_the_last_sign_of_life_is_an_ordinary_one() -> None:
    assert ClockWatch(NOW, 0, NOW - 24 * HOUR).believed
    assert ClockWatch(NOW, 0, NOW + 24 * HOUR).believed
    assert ClockWatch(NOW, 0).believed


@pytest.mark.parametrize("said", [Opinion.KEPT, Opinion.CONFIRMED])
def test_an_outage_of_three_weeks_is_believed_as_soon_as_anybody_vouches_and_told_once(said: Opinion) -> None:
    watch = ClockWatch(NOW, 0, NOW - WEEKS)
    assert not watch.believed
    assert watch.look(NOW + SECOND, 1, Opinion.ASKED) is None
    assert watch.time(NOW + SECOND, 1) == NOW - WEEKS + SECOND
    assert watch.look(NOW + 2 * SECOND, 2, said) == WEEKS
    assert watch.believed
    assert watch.look(NOW + 3 * SECOND, 3) is None


def test_a_clock_that_another_machine_contradicts_is_not_believed_however_long_it_stands() -> None:
    watch = ClockWatch(NOW, 0, NOW - WEEKS)
    assert watch.look(NOW, 0, Opinion.CONTRADICTED) == WEEKS
    for monotonic in range(0, 20_000, 1000):
        at = NOW + timedelta(seconds=monotonic)
        assert watch.look(at, monotonic, Opinion.CONTRADICTED) is None
        assert watch.time(at, monotonic) == at - WEEKS
    assert not watch.believed


def test_a_start_before_the_last_sign_of_life_goes_on_from_that_until_somebody_vouches() -> None:
    watch = ClockWatch(NOW, 0, NOW + WEEKS)
    for monotonic in (0, 10_000):
        watch.look(NOW + timedelta(seconds=monotonic), monotonic, Opinion.UNKNOWN)
        assert watch.time(NOW, monotonic) == NOW + WEEKS + timedelta(seconds=monotonic)
    assert watch.look(NOW + timedelta(seconds=10_001), 10_001, Opinion.KEPT) == -WEEKS
    assert watch.believed


def test_a_time_service_alone_is_not_believed_against_what_this_process_has_lived_through() -> None:
    watch = ClockWatch(NOW, 0, NOW - HOUR)
    watch.look(NOW + 30 * DAY, 30 * 86400.0)
    back = NOW + 30 * DAY - WEEKS
    watch.look(back, 30 * 86400.0, Opinion.KEPT)
    assert not watch.believed
    watch.look(back, 30 * 86400.0, Opinion.CONFIRMED)
    assert watch.believed


def test_a_leap_that_was_believed_may_be_taken_back_by_a_time_service() -> None:
    watch = ClockWatch(NOW + WEEKS, 0, NOW)
    watch.look(NOW + WEEKS, 0, Opinion.KEPT)
    assert watch.look(NOW + HOUR, 3600, Opinion.KEPT) == -WEEKS
    assert watch.believed
    assert watch.may_correct(NOW + HOUR, 3600, Opinion.KEPT)


def test_who_trusts_the_clock_is_not_asked() -> None:
    assert ClockWatch(NOW, 0, NOW - 1000 * DAY, trusted=True).believed


def test_everybody_is_told_the_time_that_is_believed() -> None:
    raw = HandClock()
    clock = BelievedClock(raw, ClockWatch(raw.now(), raw.monotonic()))
    raw.go(HOUR)
    assert clock.now() == clock.wall() == START + HOUR
    raw.at += WEEKS
    assert clock.now() == START + HOUR  # before anybody has looked
    assert clock.wall() == START + HOUR + WEEKS
    raw.at -= WEEKS + 2 * HOUR
    assert clock.now() == START - HOUR


@pytest.mark.parametrize("sign", [1, -1])
def test_the_line_lies_at_twenty_five_hours(sign: int) -> None:
    """A summer time that was lost on a day's step is below; what is more than that is nobody's zone."""
    below, above = ClockWatch(NOW, 0), ClockWatch(NOW, 0)
    below.look(NOW + sign * 25 * HOUR, 0)
    above.look(NOW + sign * (25 * HOUR + SECOND), 0)
    assert (below.believed, above.believed) == (True, False)


def test_the_wall_clock_is_told_and_doubted_from_the_moment_that_it_leaps_until_it_is_believed() -> None:
    raw = HandClock()
    clock = BelievedClock(raw, ClockWatch(START, raw.monotonic()))
    assert (clock.wall(), clock.is_doubted) == (START, False)
    raw.at += 2 * DAY
    assert (clock.now(), clock.wall(), clock.is_doubted) == (START, START + 2 * DAY, True)
    clock.watch.look(raw.now(), raw.monotonic())
    assert clock.is_doubted
    clock.watch.look(raw.now(), raw.monotonic(), Opinion.CONFIRMED)
    assert (clock.now(), clock.is_doubted) == (START + 2 * DAY, False)
    raw.at += HOUR
    assert not clock.is_doubted

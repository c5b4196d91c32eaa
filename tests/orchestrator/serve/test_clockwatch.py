"""What is believed of a clock that was set, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.serve.clockwatch import STOOD_SECONDS, ClockWatch

NOW = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize("step", [HOUR, -HOUR, 24 * HOUR, -24 * HOUR])
def test_a_step_of_a_day_is_followed_at_once(step: timedelta) -> None:
    watch = ClockWatch(NOW, 0)
    assert watch.look(NOW + timedelta(seconds=1), 1) is None
    assert watch.look(NOW + timedelta(seconds=2) + step, 2) == step
    assert watch.believed
    assert watch.look(NOW + timedelta(seconds=3) + step, 3) is None


def test_a_machine_that_was_suspended_for_two_days_is_believed_after_an_hour() -> None:
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
    watch.look(NOW + 3 * DAY + timedelta(seconds=2), STOOD_SECONDS + 1)
    assert not watch.believed


def test_ten_years_ahead_are_never_believed_however_long_they_stand() -> None:
    watch = ClockWatch(NOW, 0)
    for monotonic in range(0, 100_000, 1000):
        watch.look(NOW + 3652 * DAY + timedelta(seconds=monotonic), monotonic)
        assert not watch.believed
    assert watch.look(NOW + timedelta(seconds=100_000), 100_000) == -3652 * DAY
    assert watch.believed


def test_a_machine_that_came_up_a_month_behind_and_is_set_right_is_believed_at_once() -> None:
    newest = NOW + 30 * DAY
    watch = ClockWatch(NOW, 0)
    assert watch.look(newest + 2 * HOUR, 0, newest) == 30 * DAY + 2 * HOUR
    assert watch.believed


def test_a_step_away_from_what_is_on_record_is_not() -> None:
    watch = ClockWatch(NOW, 0)
    watch.look(NOW + 30 * DAY, 0, NOW)
    assert not watch.believed

"""Windows by the calendar of the contract, what a changed objective is worth, and alarms that one probe cannot fire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.availability.figures import budget, burn_rate, share
from jobs.availability.maintenance import Grant
from jobs.availability.objective import (
    TIERS,
    Objective,
    Window,
    WindowKind,
    burning,
    exhausted_after,
    is_too_coarse,
    strictest,
)
from jobs.availability.span import SECOND, Totals, micros

MONTH = Window(kind=WindowKind.MONTH)
HOUR = 3600 * SECOND
DAY = 24 * HOUR


def promised(target: str = "99.9", **more: object) -> Objective:
    return Objective(**{"window": MONTH, "target": share(target)} | more)  # type: ignore[arg-type]  # a dict


@pytest.mark.parametrize(
    ("kind", "zone", "start", "end"),
    [
        (WindowKind.MONTH, "Africa/Douala", "2026-10-31T23:00", "2026-11-30T23:00"),
        (WindowKind.MONTH, "UTC", "2026-10-01T00:00", "2026-11-01T00:00"),
        (WindowKind.QUARTER, "Africa/Douala", "2026-09-30T23:00", "2026-12-31T23:00"),
        (WindowKind.YEAR, "Africa/Douala", "2025-12-31T23:00", "2026-12-31T23:00"),
        (WindowKind.MONTH, "Europe/Paris", "2026-10-31T23:00", "2026-11-30T23:00"),
    ],
)
def test_the_window_is_that_of_the_contracts_calendar(kind: WindowKind, zone: str, start: str, end: str) -> None:
    now = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)
    found = Window(kind=kind).holding(now, zone)
    assert (found.start, found.end) == tuple(datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end))
    assert now in found


def test_a_rolling_window_ends_now() -> None:
    now = datetime(2026, 11, 22, 10, tzinfo=UTC)
    found = Window(kind=WindowKind.ROLLING, days=30).holding(now, "Africa/Douala")
    assert (found.start, found.end) == (now - timedelta(days=30), now)


@given(st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)), st.sampled_from(list(WindowKind)[:3]))  # noqa: DTZ001 (made aware below)
def test_no_window_is_longer_than_it_says(naive: datetime, kind: WindowKind) -> None:
    window = Window(kind=kind)
    found = window.holding(naive.replace(tzinfo=UTC), "UTC")
    assert micros(found.end - found.start) <= window.at_most


@pytest.mark.parametrize(("kind", "days"), [(WindowKind.ROLLING, 0), (WindowKind.MONTH, 30), (WindowKind.ROLLING, -1)])
def test_only_a_rolling_window_has_days(kind: WindowKind, days: int) -> None:
    with pytest.raises(ValueError, match="rolling"):
        Window(kind=kind, days=days)


@pytest.mark.parametrize("more", [{"target": Fraction(2)}, {"coverage": Fraction(-1)}, {"restore_within": 0}], ids=str)
def test_an_objective_that_cannot_be_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"shares of one|is a duration"):
        Objective(**{"window": MONTH, "target": share("99")} | more)  # type: ignore[arg-type]  # a dict


def test_an_objective_that_was_lowered_is_judged_by_what_it_was() -> None:
    before = promised("99.9", grant=Grant(notice=48 * HOUR, cap=4 * HOUR), restore_within=4 * HOUR)
    after = promised("95", grant=Grant(notice=HOUR), restore_within=None, coverage=Fraction(1, 2))
    for versions in ([before, after], [after, before]):
        found = strictest(versions)
        assert (found.target, found.coverage, found.restore_within) == (share("99.9"), Fraction(99, 100), 4 * HOUR)
        assert found.grant == Grant(notice=48 * HOUR, cap=4 * HOUR)


def test_a_grant_that_was_not_always_there_is_none() -> None:
    assert strictest([promised(), promised(grant=Grant(notice=0))]).grant is None


def test_without_an_objective_nothing_is_judged() -> None:
    with pytest.raises(ValueError, match="without an objective"):
        strictest([])


def test_versions_of_different_windows_are_not_one_objective() -> None:
    with pytest.raises(ValueError, match="of one window"):
        strictest([promised(), promised(window=Window(kind=WindowKind.YEAR))])


def down_for(seconds: float) -> dict[int, Totals]:
    """The sums of every window, when the last so many seconds were down and the month before was up."""
    down = int(seconds * SECOND)
    windows = {w for tier in TIERS for w in (tier.long, tier.short)}
    return {w: Totals(up=max(0, w - down), down=min(w, down)) for w in windows}


def alarms(seconds: float, target: str = "99.9", interval: int = 60) -> list[int]:
    known = down_for(seconds)
    found = burning(known.__getitem__, promised(target), 30 * DAY, interval * SECOND)
    return [tier.long // HOUR for tier in found]


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [(0, []), (60, []), (119, []), (120, [1]), (129.5, [1]), (129.6, [1, 6]), (259.2, [1, 6, 24, 72])],
)
def test_alarms_come_in_the_order_of_what_was_spent(seconds: float, wanted: list[int]) -> None:
    """At 99.9 % and thirty days, 2 % of the budget is 51.84 s: less than two looks, so two looks it is."""
    assert alarms(seconds) == wanted


def test_a_look_that_failed_alone_fires_nothing_however_high_the_target() -> None:
    assert alarms(60, target="99.999") == []


def test_an_alarm_ends_when_the_burning_ends() -> None:
    known = down_for(300) | {tier.short: Totals(up=tier.short) for tier in TIERS}
    assert burning(known.__getitem__, promised(), 30 * DAY, 60 * SECOND) == ()


def test_a_target_of_everything_is_burning_with_two_looks() -> None:
    assert alarms(120, target="100") == [1, 6, 24, 72]


def test_the_budget_is_spent_when_the_forecast_says() -> None:
    totals = Totals(up=10 * DAY - 20 * 60 * SECOND, down=20 * 60 * SECOND)
    left = budget(totals, share("99.9"), agreed=30 * DAY)
    rate = burn_rate(totals, share("99.9"))
    after = exhausted_after(left, rate, share("99.9"))
    assert after is not None
    assert after * 20 * 60 * SECOND / (10 * DAY) == left.left  # as fast as until now


def test_what_is_spent_is_spent_and_what_does_not_burn_lasts() -> None:
    left = budget(Totals(up=DAY), share("99.9"), agreed=30 * DAY)
    assert exhausted_after(left, Fraction(0), share("99.9")) is None
    assert exhausted_after(left, None, share("99.9")) is None
    spent = budget(Totals(up=DAY, down=DAY), share("99.9"))
    assert exhausted_after(spent, Fraction(5), share("99.9")) == 0


@pytest.mark.parametrize(
    ("target", "seconds", "is_coarse"),
    [("99.9", 133, False), ("99.9", 134, True), ("99.99", 13, False), ("99.99", 14, True), ("100", 1, True)],
)
def test_an_interval_is_too_coarse_for_more_than_a_twentieth_of_the_budget(
    target: str, seconds: int, is_coarse: bool
) -> None:
    assert is_too_coarse(timedelta(seconds=seconds), promised(target)) is is_coarse

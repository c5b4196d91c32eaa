"""Seeded months whose figures are known to the second from another engine, as an auditor would check them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from fractions import Fraction
from typing import Final
from zoneinfo import ZoneInfo

import pytest

from jobs.availability.composite import at_least
from jobs.availability.figures import Figures, Judgement, floored, share
from jobs.availability.incident import incidents
from jobs.availability.maintenance import Declaration, Grant, contractual, uses
from jobs.availability.sampling import Sample, seen
from jobs.availability.span import SECOND, Span, State, Timeline, micros, timeline
from jobs.period import Period, parse

HOUR: Final = 3600 * SECOND
DOUALA: Final = ZoneInfo("Africa/Douala")
NOVEMBER: Final = parse("2026-11", DOUALA)
TARGET: Final = share("99.9")


def at(text: str, zone: ZoneInfo = DOUALA) -> int:
    """A local wall time, in microseconds since 1970."""
    return micros(datetime.fromisoformat(text).replace(tzinfo=zone))


def bounds(period: Period) -> tuple[int, int]:
    return micros(period.start), micros(period.end)


def month(*parts: tuple[State, str, str], period: Period = NOVEMBER, zone: ZoneInfo = DOUALA) -> Timeline:
    """A month that was up but for some parts, in order."""
    start, end = bounds(period)
    spans: list[Span] = []
    for state, first, last in parts:
        before = spans[-1].end if spans else start
        if at(first, zone) > before:
            spans.append(Span(start=before, end=at(first, zone), state=State.UP))
        spans.append(Span(start=at(first, zone), end=at(last, zone), state=state))
    last_end = spans[-1].end if spans else start
    return timeline([*spans, Span(start=last_end, end=end, state=State.UP)], start, end)


def percent(value: Fraction | None) -> str:
    """Six decimals, cut off."""
    assert value is not None
    return str(floored(value, digits=6))


def test_v1_downtime_that_just_spends_the_budget_meets_the_target() -> None:
    line = month((State.DOWN, "2026-11-05T02:00:00", "2026-11-05T02:43:12"))
    figures = Figures(line.totals())
    assert line.totals().length == 2_592_000 * SECOND
    assert percent(figures.observed) == "99.900000"
    assert figures.judged(TARGET) is Judgement.MET


def test_v2_one_second_more_misses_it_and_never_reads_as_met() -> None:
    line = month((State.DOWN, "2026-11-05T02:00:00", "2026-11-05T02:43:13"))
    figures = Figures(line.totals())
    assert percent(figures.pessimistic) == "99.899961"
    assert figures.judged(TARGET) is Judgement.MISSED
    assert figures.pessimistic is not None
    assert str(floored(figures.pessimistic, TARGET)) == "99.8999"


def test_v3_what_nobody_saw_leaves_it_undetermined() -> None:
    line = month(
        (State.DOWN, "2026-11-05T02:00:00", "2026-11-05T02:20:00"),
        (State.UNKNOWN, "2026-11-06T02:00:00", "2026-11-06T03:00:00"),
    )
    figures = Figures(line.totals())
    assert [percent(f) for f in (figures.optimistic, figures.pessimistic, figures.observed, figures.coverage)] == [
        "99.953703",
        "99.814814",
        "99.953639",
        "99.861111",
    ]
    assert figures.judged(TARGET) is Judgement.UNDETERMINED


@pytest.mark.parametrize(
    ("declared", "excluded", "down", "wanted"),
    [("2026-11-05T00:00:00", 14_400, 3_600, "99.860335"), ("2026-11-07T12:00:00", 0, 14_400, "99.444444")],
    ids=["V4 announced", "V4b too late"],
)
def test_v4_maintenance_counts_out_if_it_was_announced(declared: str, excluded: int, down: int, wanted: str) -> None:
    line = month((State.DOWN, "2026-11-08T02:00:00", "2026-11-08T06:00:00"))
    declaration = Declaration(
        name="m",
        services=frozenset(["portal"]),
        start=at("2026-11-08T01:00:00"),
        end=at("2026-11-08T05:00:00"),
        declared_at=at(declared),
    )
    found = uses([declaration], "portal", Grant(notice=48 * HOUR, cap=4 * HOUR), *bounds(NOVEMBER))
    totals = contractual(line, found).totals()
    assert (totals.excluded, totals.down) == (excluded * SECOND, down * SECOND)
    assert percent(Figures(totals).observed) == wanted


A: Final = (State.DOWN, "2026-11-05T10:00:00", "2026-11-05T11:00:00")
B: Final = (State.DOWN, "2026-11-05T10:50:00", "2026-11-05T11:30:00")


@pytest.mark.parametrize(
    ("needed", "down", "wanted"), [(1, 600, "99.976851"), (2, 5_400, "99.791666")], ids=["or", "and"]
)
def test_v5_two_links_are_measured_together(needed: int, down: int, wanted: str) -> None:
    totals = at_least(needed, {"a": month(A), "b": month(B)}).totals()
    assert totals.down == down * SECOND
    assert percent(Figures(totals).observed) == wanted
    assert percent(Figures(month(A).totals()).observed) == "99.861111"
    assert percent(Figures(month(B).totals()).observed) == "99.907407"


def test_v5u_what_nobody_saw_of_one_link_is_unknown_only_while_the_other_is_down() -> None:
    a = month(
        (State.DOWN, "2026-11-05T10:00:00", "2026-11-05T10:40:00"),
        (State.UNKNOWN, "2026-11-05T10:40:00", "2026-11-05T10:55:00"),
        (State.DOWN, "2026-11-05T10:55:00", "2026-11-05T11:00:00"),
    )
    totals = at_least(1, {"a": a, "b": month(B)}).totals()
    assert (totals.down, totals.unknown) == (300 * SECOND, 300 * SECOND)
    assert percent(Figures(totals).optimistic) == "99.988425"
    assert percent(Figures(totals).pessimistic) == "99.976851"


def sampled(times: Iterable[tuple[int, int]], is_up: bool = True) -> Iterable[Sample]:
    state = State.UP if is_up else State.DOWN
    return (Sample(at=t, state=state, interval=every, gap=2 * every + 30 * SECOND) for t, every in times)


def test_v6_a_prober_that_was_dead_for_five_hours_proves_nothing() -> None:
    start, end = bounds(NOVEMBER)
    dead = at("2026-11-10T03:00:00")
    minutes = ((t, 60 * SECOND) for t in range(start, end, 60 * SECOND) if not dead <= t < dead + 5 * HOUR)
    line = seen(sampled(minutes), start, end)
    figures = Figures(line.totals())
    assert (line.totals().unknown, line.totals().down) == (18_000 * SECOND, 0)
    assert (percent(figures.pessimistic), percent(figures.coverage)) == ("99.305555", "99.305555")
    assert figures.judged(TARGET) is Judgement.UNDETERMINED


def test_v7_an_hour_that_does_not_exist_is_no_downtime() -> None:
    paris = ZoneInfo("Europe/Paris")
    march = parse("2026-03", paris)
    line = month((State.DOWN, "2026-03-29T01:30:00", "2026-03-29T03:30:00"), period=march, zone=paris)
    assert line.totals().down == 3_600 * SECOND
    assert line.totals().length == 2_674_800 * SECOND
    assert percent(Figures(line.totals()).observed) == "99.865410"


@pytest.mark.parametrize(
    ("text", "zone", "hours"),
    [
        ("2026-10", "Europe/Paris", 745),
        ("2026-04", "Africa/Cairo", 719),
        ("2026-10", "Africa/Cairo", 745),
        ("2026-02", "Africa/Casablanca", 673),
        ("2028-02", "Africa/Douala", 696),
        ("2026", "Africa/Douala", 8760),
    ],
)
def test_a_period_is_as_long_as_its_clocks_say(text: str, zone: str, hours: int) -> None:
    period = parse(text, ZoneInfo(zone))
    assert micros(period.end) - micros(period.start) == hours * HOUR


def test_v8_an_outage_over_the_end_of_a_month_is_one_and_each_month_has_its_part() -> None:
    october = parse("2026-10", DOUALA)
    start, end = micros(october.start), micros(NOVEMBER.end)
    down = Span(start=at("2026-10-31T23:30:00"), end=at("2026-11-01T01:00:00"), state=State.DOWN)
    up = (Span(start=start, end=down.start, state=State.UP), Span(start=down.end, end=end, state=State.UP))
    line = timeline([up[0], down, up[1]], start, end)
    for period, seconds, wanted in ((october, 1_800, "99.932795"), (NOVEMBER, 3_600, "99.861111")):
        totals = line.between(*bounds(period)).totals()
        assert totals.down == seconds * SECOND
        assert percent(Figures(totals).observed) == wanted
    (incident,) = incidents(line)
    assert incident.duration == 5_400 * SECOND
    assert incident.started_within(*bounds(october))
    assert not incident.started_within(*bounds(NOVEMBER))
    assert incident.meets(*bounds(NOVEMBER))


def test_v9_how_often_one_looks_does_not_weigh() -> None:
    start, end = bounds(NOVEMBER)
    middle = start + (end - start) // 2
    broken = range(middle + 24 * HOUR, middle + 36 * HOUR)
    times = [(t, 60 * SECOND) for t in range(start, middle, 60 * SECOND)]
    times += [(t, 300 * SECOND) for t in range(middle, end, 300 * SECOND)]
    samples = [s for t in times for s in sampled([t], is_up=t[0] not in broken)]
    figures = Figures(seen(samples, start, end).totals())
    assert percent(figures.observed) == "98.333333"
    by_count = Fraction(sum(s.state is State.UP for s in samples), len(samples))
    assert percent(by_count) == "99.444444"  # what one who counts samples says of the same month

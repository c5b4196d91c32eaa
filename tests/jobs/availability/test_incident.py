"""Outages against the truth: a service that is known to the second, looked at now and then, and bounds that hold it."""

from __future__ import annotations

from fractions import Fraction
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.availability.incident import incidents, register
from jobs.availability.sampling import Sample, seen
from jobs.availability.span import Span, State, Totals, timeline
from tests.jobs.availability.second import read

STATES = {"U": State.UP, "D": State.DOWN}


def looked_at(truth: str, every: int, offset: int, moments: list[int]) -> list[Sample]:
    """Looks that take a while, and find what was so at some instant of it."""
    samples = []
    for index, t in enumerate(range(offset, len(truth), every)):
        took = moments[index % len(moments)] % every
        instant = min(t + moments[-1 - index % len(moments)] % (took + 1), len(truth) - 1)
        samples.append(Sample(at=t, state=STATES[truth[instant]], interval=every, gap=2 * every, took=took))
    return samples


def outages(truth: str) -> list[tuple[int, int]]:
    found, at = [], 0
    for letter, row in groupby(truth):
        length = len(list(row))
        if letter == "D":
            found.append((at, at + length))
        at += length
    return found


TRUTHS = st.lists(st.tuples(st.integers(20, 60), st.integers(16, 60)), min_size=1, max_size=6).map(
    lambda parts: "".join("U" * up + "D" * down for up, down in parts) + "U" * 30
)


@settings(max_examples=300)
@given(TRUTHS, st.integers(1, 8), st.integers(0, 7), st.lists(st.integers(0, 99), min_size=1, max_size=9))
def test_the_truth_lies_within_the_bounds_of_every_outage(
    truth: str, every: int, offset: int, moments: list[int]
) -> None:
    """Where nothing is shorter than two intervals every outage is seen once, and its bounds hold what it really was."""
    offset %= every
    found = incidents(seen(looked_at(truth, every, offset, moments), offset, len(truth)))
    real = outages(truth)
    assert len(found) == len(real)
    for incident, (start, end) in zip(found, real, strict=True):
        assert incident.earliest < start <= incident.latest_start
        assert incident.latest_end is not None
        assert incident.most is not None
        assert incident.least_end < end <= incident.latest_end
        assert incident.least <= end - start <= incident.most
        assert incident.duration is not None
        assert incident.least <= incident.duration <= incident.most
        assert incident.down == incident.duration
        assert incident.unseen == 0


@given(st.text("UD?x", min_size=1, max_size=60))
def test_every_second_of_downtime_is_of_exactly_one_outage(text: str) -> None:
    found = incidents(read(text))
    assert sum(incident.down for incident in found) == text.count("D")
    assert len(found) == len([row for row in text.replace("?", "").replace("x", "U").split("U") if row])


def test_time_unseen_in_the_middle_of_an_outage_does_not_make_it_two() -> None:
    (found,) = incidents(read("UDD??DUU"))
    assert (found.start, found.end, found.down, found.unseen) == (1, 6, 3, 2)


def test_what_ended_while_nobody_looked_ended_somewhere_in_between() -> None:
    samples = [Sample(at=t, state=s, interval=10, gap=25) for t, s in ((5, State.UP), (10, State.DOWN), (95, State.UP))]
    (found,) = incidents(seen(samples, 5, 100))
    assert (found.earliest, found.start, found.end, found.least_end, found.latest_end) == (5, 10, 20, 10, 95)
    assert (found.least, found.duration, found.most) == (0, 10, 90)


@pytest.mark.parametrize("text", ["UDD", "UDD??"])
def test_an_outage_that_was_not_seen_to_end_is_open(text: str) -> None:
    (found,) = incidents(read(text))
    assert found.is_open
    assert (found.duration, found.most, found.down) == (None, None, 2)


def test_the_reasons_are_named_in_order_and_not_without_end() -> None:
    spans = [Span(start=i, end=i + 1, state=State.DOWN, reason=f"r{i % 7}") for i in range(20)]
    (found,) = incidents(timeline(spans, 0, 20))
    assert found.reasons == ("r0", "r1", "r2", "r3", "r4")


def test_a_period_counts_what_began_in_it() -> None:
    line = read("D" * 5 + "U" * 10 + "DD" + "U" * 10 + "DDDD" + "U" * 10 + "D" * 3)
    period = (3, line.end)
    totals = line.between(*period).totals()
    found = register(incidents(line), totals, *period, restore_within=3)
    assert (found.count, found.still_open, found.carried_in) == (3, 1, 1)
    assert found.to_restore == Fraction(2 + 4, 2)
    assert found.between_failures == Fraction(30, 3)
    assert found.longest == 5
    assert (found.median, found.percentile_95) == (2, 4)
    assert found.breaches == 2  # five seconds and four; the open one has lasted exactly three


def test_a_breach_is_longer_than_what_is_guaranteed() -> None:
    found = incidents(read("UDDDUDDDDU"))
    assert register(found, Totals(up=3, down=7), 0, 10, restore_within=3).breaches == 1
    assert register(found, Totals(up=3, down=7), 0, 10).breaches == 0


def test_how_long_it_takes_to_believe_is_measured() -> None:
    samples = [Sample(at=t * 10, state=STATES[x], interval=10, gap=20) for t, x in enumerate("UUDDDUUDDDDU")]
    line = seen(samples, 0, 120, confirm=3)
    assert register(incidents(line), line.totals(), 0, 120).to_detect == 20


def test_without_outages_there_are_no_means() -> None:
    found = register((), Totals(up=10), 0, 10, restore_within=5)
    assert (found.count, found.to_restore, found.between_failures, found.to_detect) == (0, None, None, None)
    assert (found.longest, found.median, found.breaches) == (0, None, 0)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=40))
def test_a_percentile_is_a_length_that_there_was(lengths: list[int]) -> None:
    text = "".join("U" + "D" * length for length in lengths) + "U"
    line = read(text)
    found = register(incidents(line), line.totals(), 0, len(text))
    assert found.median in lengths
    assert found.median is not None
    assert sum(length <= found.median for length in lengths) * 2 >= len(lengths)
    assert found.percentile_95 is not None
    assert sum(length <= found.percentile_95 for length in lengths) * 100 >= 95 * len(lengths)

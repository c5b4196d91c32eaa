"""The age of the newest recovery point against every second of random histories: shares, the oldest, percentiles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.availability.attainment import NEVER, TOO_OLD, Point, attained, oldest, percentile, teeth
from jobs.availability.span import State
from tests.jobs.availability.second import drawn

END = 60
POINTS = st.lists(
    st.tuples(st.integers(-40, 60), st.integers(0, 15), st.none() | st.integers(1, 60)).map(
        lambda row: Point(
            data_at=row[0], there_from=row[0] + row[1], there_until=None if row[2] is None else row[0] + row[1] + row[2]
        )
    ),
    max_size=8,
)


def ages(points: list[Point]) -> list[int | None]:
    """The age of the newest data that is there, at every second."""
    found: list[int | None] = []
    for second in range(END):
        there = [
            p.data_at for p in points if p.there_from <= second and (p.there_until is None or second < p.there_until)
        ]
        found.append(second - max(there) if there else None)
    return found


@given(POINTS, st.integers(1, 50))
def test_every_second_is_up_where_the_newest_data_is_young_enough(points: list[Point], objective: int) -> None:
    """A second is up when the age is below the objective at its beginning, and so not above it at its end."""
    line = attained(teeth(points, 0, END), objective)
    assert drawn(line) == "".join("U" if age is not None and age < objective else "D" for age in ages(points))


@given(POINTS)
def test_the_oldest_is_the_age_at_the_end_of_the_worst_second(points: list[Point]) -> None:
    known = ages(points)
    wanted = None if None in known else max(age for age in known if age is not None) + 1
    assert oldest(teeth(points, 0, END)) == wanted


@given(POINTS, st.integers(1, 100))
def test_a_percentile_is_the_least_age_that_held_for_so_long(points: list[Point], percent: int) -> None:
    known = ages(points)
    wanted = -(-END * percent // 100)
    candidates = [limit for limit in range(110) if sum(a is not None and a < limit for a in known) >= wanted]
    assert percentile(teeth(points, 0, END), percent) == (candidates[0] if candidates else None)


def test_a_point_counts_from_when_it_was_proven_to_be_there() -> None:
    line = attained(teeth([Point(data_at=0, there_from=10)], 0, 20), 100)
    assert [(s.start, s.end, s.state, s.reason) for s in line.spans] == [
        (0, 10, State.DOWN, NEVER),
        (10, 20, State.UP, ""),
    ]


def test_what_is_too_old_is_so_from_the_very_microsecond() -> None:
    line = attained(teeth([Point(data_at=0, there_from=0)], 0, 20), 12)
    assert [(s.start, s.end, s.reason) for s in line.spans] == [(0, 12, ""), (12, 20, TOO_OLD)]


def test_an_older_copy_stands_in_when_the_newest_is_lost() -> None:
    points = [Point(data_at=0, there_from=0), Point(data_at=10, there_from=10, there_until=15)]
    assert [(t.start, t.end, t.data_at) for t in teeth(points, 0, 20)] == [(0, 10, 0), (10, 15, 10), (15, 20, 0)]


def test_a_copy_that_arrives_late_never_makes_the_data_older() -> None:
    points = [Point(data_at=10, there_from=10), Point(data_at=5, there_from=12)]
    assert [(t.start, t.data_at) for t in teeth(points, 10, 20)] == [(10, 10)]


def test_a_point_is_there_for_some_time() -> None:
    with pytest.raises(ValueError, match="for some time"):
        Point(data_at=0, there_from=5, there_until=5)


def test_a_year_of_hourly_points_is_one_tooth_each() -> None:
    hours = [Point(data_at=h * 3600, there_from=h * 3600 + 60) for h in range(8760)]
    found = teeth(hours, 60, 8760 * 3600)
    assert len(found) == 8760
    assert oldest(found) == 3660

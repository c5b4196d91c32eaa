"""Timelines against lists of seconds: what they hold and add up to, what is cut out of them and laid over them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.availability.span import (
    Span,
    State,
    Timeline,
    Totals,
    combined,
    covered,
    joined,
    micros,
    moment,
    timeline,
    whole,
)
from tests.jobs.availability.second import drawn, read

DRAWINGS = st.text("UD?x", min_size=1, max_size=60)


def span(start: int, end: int, state: State = State.UP, **more: object) -> Span:
    return Span(start=start, end=end, state=state, **more)  # type: ignore[arg-type]  # what a test leaves out


def test_instants_are_exact_to_the_microsecond_for_ten_thousand_years() -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert moment(micros(last)) == last
    assert micros(timedelta(days=1, microseconds=1)) == 86_400_000_001
    assert micros(datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)) == -1_000_000


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(TypeError):
        micros(datetime(2026, 1, 1))  # noqa: DTZ001 (that is what is refused)


@pytest.mark.parametrize(
    ("start", "end", "more"),
    [(5, 5, {}), (5, 4, {}), (0, 1, {"doubt": -1}), (0, 1, {"delay": -1}), (0, 1, {"blur": -1})],
)
def test_a_span_that_cannot_be_is_refused(start: int, end: int, more: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"a span ends|a state begins"):
        Span(**{"start": start, "end": end, "state": State.UP} | more)  # type: ignore[arg-type]  # a dict


@pytest.mark.parametrize("spans", [(), (span(0, 1), span(2, 3)), (span(0, 2), span(1, 3))])
def test_a_timeline_has_no_gap_and_no_overlap(spans: tuple[Span, ...]) -> None:
    with pytest.raises(ValueError, match="a timeline has"):
        Timeline(spans)


def test_what_no_span_covers_is_unknown_and_never_up() -> None:
    line = timeline([span(2, 4), span(6, 7, State.DOWN)], 0, 9)
    assert drawn(line) == "??UU??D??"
    assert line.totals() == Totals(up=2, down=1, unknown=6)


def test_overlapping_spans_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no overlap|ends after it starts"):
        timeline([span(0, 5), span(3, 8, State.DOWN)], 0, 10)


@given(DRAWINGS)
def test_the_states_add_up_to_the_whole(text: str) -> None:
    totals = read(text).totals()
    assert totals.length == len(text)
    assert (totals.up, totals.down, totals.unknown, totals.excluded) == tuple(text.count(letter) for letter in "UD?x")
    assert totals.agreed == len(text) - text.count("x")


@given(DRAWINGS, st.data())
def test_parts_add_up_to_the_whole_at_every_level(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(text)), max_size=6)) | {0, len(text)})
    line = read(text)
    parts = [line.between(a, b) for a, b in pairwise(cuts)]
    assert "".join(map(drawn, parts)) == text
    assert sum((part.totals() for part in parts), start=Totals()) == line.totals()


@given(DRAWINGS, st.data())
def test_each_instant_is_in_the_span_that_holds_it(text: str, data: st.DataObject) -> None:
    instant = data.draw(st.integers(0, len(text) - 1))
    found = read(text).at(instant)
    assert drawn(whole(0, 1, found.state)) == text[instant]
    assert found.start <= instant < found.end


@pytest.mark.parametrize("instant", [-1, 3])
def test_nothing_is_known_outside(instant: int) -> None:
    with pytest.raises(ValueError, match="is not between"):
        read("UDU").at(instant)


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (1, 4), (2, 2), (2, 1)])
def test_only_what_is_there_can_be_cut_out(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="is not within"):
        read("UDU").between(start, end)


def test_what_is_carried_in_has_no_doubt_about_its_beginning() -> None:
    line = timeline([span(0, 4), span(4, 9, State.DOWN, doubt=3, blur=1, delay=2)], 0, 9)
    assert line.between(5, 9).spans == (span(5, 9, State.DOWN),)
    assert line.between(4, 8).spans == (span(4, 8, State.DOWN, doubt=3, blur=1, delay=2),)


def test_neighbours_are_joined_when_state_and_reason_are_the_same() -> None:
    spans = [span(0, 2, doubt=1), span(2, 4, doubt=9), span(4, 5, reason="slow"), span(5, 6, State.DOWN, reason="slow")]
    assert list(joined(spans)) == [span(0, 4, doubt=1), *spans[2:]]


@given(DRAWINGS, st.lists(st.tuples(st.integers(0, 59), st.integers(1, 20)), max_size=4))
def test_windows_laid_over_a_timeline_hide_what_is_under_them(text: str, windows: list[tuple[int, int]]) -> None:
    wanted = list(text)
    for start, length in windows:
        wanted[start : start + length] = "x" * len(wanted[start : start + length])
    laid = covered(read(text), [(start, start + length, "why") for start, length in windows], State.EXCLUDED)
    assert drawn(laid) == "".join(wanted)


def test_the_first_window_keeps_its_reason() -> None:
    laid = covered(read("UUUUUU"), [(1, 4, "one"), (2, 6, "two")], State.EXCLUDED)
    assert [(s.start, s.end, s.reason) for s in laid.spans] == [(0, 1, ""), (1, 4, "one"), (4, 6, "two")]


@given(st.integers(1, 50).flatmap(lambda n: st.lists(st.text("UD?", min_size=n, max_size=n), min_size=1, max_size=4)))
def test_several_timelines_are_judged_at_every_instant(texts: list[str]) -> None:
    line = combined([read(text) for text in texts], lambda now: (max(span.state for span in now), ""))
    assert drawn(line) == "".join(
        drawn(whole(0, 1, max(read(t).at(i).state for t in texts))) for i in range(len(texts[0]))
    )


def test_a_whole_takes_over_the_doubt_of_the_part_that_changed_it() -> None:
    one = timeline([span(0, 4), span(4, 9, State.DOWN, doubt=3, blur=1, delay=2)], 0, 9)
    other = timeline([span(0, 6, doubt=1), span(6, 9, State.UNKNOWN, doubt=5, blur=4)], 0, 9)
    line = combined([one, other], lambda now: (now[0].state, ""))
    assert [(s.start, s.doubt, s.blur, s.delay) for s in line.spans] == [(0, 1, 0, 0), (4, 3, 1, 2)]


def test_only_one_and_the_same_time_can_be_combined() -> None:
    with pytest.raises(ValueError, match="one and the same time"):
        combined([read("UU"), read("UUU")], lambda now: (now[0].state, ""))
    with pytest.raises(ValueError, match="one and the same time"):
        combined([], lambda now: (now[0].state, ""))

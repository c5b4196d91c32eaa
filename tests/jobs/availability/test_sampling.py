"""Samples against an oracle that asks, for every second, who looked last: vouching, confirmation, gaps, clock steps."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.availability.sampling import BLIP, CLOCK_STEP, UNCONFIRMED, Sample, Watch, see, seen, tail
from jobs.availability.span import NO_SAMPLE, Span, State, joined, timeline
from tests.jobs.availability.second import drawn, watched


def look(at: int, state: State = State.UP, **more: object) -> Sample:
    return Sample(**{"at": at, "state": state, "interval": 10, "gap": 25} | more)  # type: ignore[arg-type]  # a dict


def looks(text: str, every: int = 10, **more: object) -> list[Sample]:
    """A sample a letter; a blank is a look that was not taken."""
    states = {"U": State.UP, "D": State.DOWN, "?": State.UNKNOWN}
    return [look(i * every, states[word], **more) for i, word in enumerate(text) if word != " "]


def spans(text: str, end: int, **more: object) -> list[tuple[int, int, str, str]]:
    line = seen(looks(text), 0, end, **more)  # type: ignore[arg-type]  # confirm, count_blips
    return [(s.start, s.end, s.state.value, s.reason) for s in line.spans]


SAMPLES = st.lists(
    st.builds(
        Sample,
        at=st.integers(0, 120),
        state=st.sampled_from([State.UP, State.DOWN, State.UNKNOWN]),
        interval=st.integers(1, 8),
        gap=st.integers(8, 20),
        stepped=st.sampled_from([False, False, False, True]),
    ),
    max_size=25,
)


@settings(max_examples=1000)
@given(SAMPLES, st.booleans(), st.integers(1, 4), st.booleans(), st.integers(0, 60), st.integers(61, 140))
def test_every_second_of_random_samples_is_as_the_oracle_says(
    samples: list[Sample], is_sorted: bool, confirm: int, count_blips: bool, start: int, end: int
) -> None:
    given_ = sorted(samples, key=lambda s: s.at) if is_sorted else samples
    until = [s for s in given_ if s.at < end]
    line = seen(until, start, end, confirm=confirm, count_blips=count_blips)
    assert drawn(line) == watched(until, start, end, confirm=confirm, count_blips=count_blips)


@given(SAMPLES, st.integers(1, 4), st.integers(0, 25))
def test_it_does_not_matter_when_one_asks(samples: list[Sample], confirm: int, pause: int) -> None:
    """Settled spans are never taken back: what was settled at a pause begins what is settled at the end."""
    ordered = sorted(samples, key=lambda s: s.at)
    watch = Watch(confirm=confirm)
    before: list[Span] = []
    for sample in ordered[:pause]:
        watch, settled = see(watch, sample)
        before += settled
    after = list(before)
    for sample in ordered[pause:]:
        watch, settled = see(watch, sample)
        after += settled
    assert after[: len(before)] == before
    assert all(one.end == next_.start for one, next_ in pairwise(after))
    assert timeline([*after, *tail(watch, 200)], 0, 200) == seen(ordered, 0, 200, confirm=confirm)


def test_a_sample_vouches_until_the_next_one_that_comes_in_time() -> None:
    assert spans("U U", 30) == [(0, 30, "up", "")]


def test_a_sample_vouches_for_its_interval_alone_when_the_next_is_late() -> None:
    assert spans("U   U", 50) == [(0, 10, "up", ""), (10, 40, "unknown", NO_SAMPLE), (40, 50, "up", "")]


def test_nobody_who_stopped_looking_says_up() -> None:
    assert spans("UU", 60) == [(0, 20, "up", ""), (20, 60, "unknown", NO_SAMPLE)]


def test_an_outage_begins_with_the_first_failure_and_not_with_its_confirmation() -> None:
    line = seen(looks("UUDDDU", took=4), 0, 60, confirm=3)
    assert line.spans[1] == Span(start=20, end=50, state=State.DOWN, doubt=10, blur=4, delay=20)


def test_failures_that_are_refuted_are_a_blip_and_counted_by_name() -> None:
    assert spans("UDDUU", 50, confirm=3) == [(0, 10, "up", ""), (10, 30, "up", BLIP), (30, 50, "up", "")]


def test_a_blip_can_be_counted_as_down() -> None:
    assert spans("UDUU", 40, confirm=3, count_blips=True) == [
        (0, 10, "up", ""),
        (10, 20, "down", ""),
        (20, 40, "up", ""),
    ]


@pytest.mark.parametrize("text", ["UD   U", "UD?U", "UD"])
def test_a_failure_that_nobody_looked_at_again_is_unknown(text: str) -> None:
    assert spans(text, 60, confirm=2)[1] == (10, 20, "unknown", UNCONFIRMED)


def test_a_prober_that_dies_in_an_outage_does_not_end_it() -> None:
    assert spans("DDD    DU", 90, confirm=3) == [
        (0, 30, "down", ""),
        (30, 70, "unknown", NO_SAMPLE),
        (70, 80, "down", ""),
        (80, 90, "up", ""),
    ]


def test_where_the_clock_was_set_nothing_vouches() -> None:
    samples = [look(0), look(10), look(20, stepped=True), look(30)]
    assert [(s.start, s.end, s.reason) for s in seen(samples, 0, 40).spans] == [
        (0, 10, ""),
        (10, 20, CLOCK_STEP),
        (20, 40, ""),
    ]


def test_time_that_comes_twice_is_counted_once() -> None:
    samples = [look(0), look(10), look(20, State.DOWN), look(5), look(15), look(25)]
    line = seen(samples, 0, 35)
    assert [(s.start, s.end, s.state.value, s.reason) for s in line.spans] == [
        (0, 20, "up", ""),
        (20, 25, "unknown", CLOCK_STEP),
        (25, 35, "up", ""),
    ]


def test_the_doubt_reaches_back_to_the_last_look_that_found_anything_out() -> None:
    line = seen(looks("UU??D"), 0, 50)
    assert line.spans[-1] == Span(start=40, end=50, state=State.DOWN, doubt=30)


@pytest.mark.parametrize(
    "more", [{"state": State.EXCLUDED}, {"interval": 0}, {"interval": 30}, {"gap": 9}, {"took": -1}], ids=str
)
def test_a_sample_that_cannot_be_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"a look finds|a sample vouches"):
        Sample(**{"at": 0, "state": State.UP, "interval": 10, "gap": 25} | more)  # type: ignore[arg-type]  # a dict


def test_what_is_unseen_was_last_seen_at_the_last_look() -> None:
    line = seen(looks("UDD   U"), 0, 70, confirm=4)
    assert [(s.start, s.doubt, s.reason) for s in line.spans] == [
        (0, 0, ""),
        (10, 10, UNCONFIRMED),
        (30, 10, NO_SAMPLE),
        (60, 40, ""),
    ]


def test_an_outage_needs_a_failure() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Watch(confirm=0)


def test_what_is_joined_is_what_was_settled() -> None:
    watch = Watch()
    settled: list[Span] = []
    for sample in looks("UUDDUU"):
        watch, more = see(watch, sample)
        settled += more
    assert [s.length for s in joined(settled)] == [20, 20, 10]
    assert tail(watch, 45) == ()

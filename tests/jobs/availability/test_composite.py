"""Composites, quorum and redundancy against every second of random systems, by the definition of Kleene's logic."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import product
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.availability.composite import at_least, kleene, loss_of_redundancy, predicted, quorum, unspared
from jobs.availability.span import State, Timeline, timeline
from tests.jobs.availability.second import STATES, WORDS, drawn, read

SYSTEMS = st.integers(1, 40).flatmap(lambda n: st.lists(st.text("UD?", min_size=n, max_size=n), min_size=1, max_size=5))


def parts(texts: list[str]) -> dict[str, Timeline]:
    return {f"p{index}": read(text) for index, text in enumerate(texts)}


def possible(now: str, needed: int) -> set[bool]:
    """Whether so many are up, in every world that is possible with what is known."""
    worlds = product(*([{"U": True, "D": False}[one]] if one != "?" else [True, False] for one in now))
    return {sum(world) >= needed for world in worlds}


@given(SYSTEMS, st.data())
def test_at_every_instant_it_is_what_all_possible_worlds_agree_on(texts: list[str], data: st.DataObject) -> None:
    needed = data.draw(st.integers(1, len(texts)))
    wanted = {frozenset([True]): "U", frozenset([False]): "D", frozenset([True, False]): "?"}
    line = drawn(at_least(needed, parts(texts)))
    assert line == "".join(wanted[frozenset(possible("".join(now), needed))] for now in zip(*texts, strict=True))


@given(SYSTEMS, st.data())
def test_vantages_call_it_down_where_enough_of_them_do(texts: list[str], data: st.DataObject) -> None:
    needed = data.draw(st.integers(1, len(texts)))

    def wanted(now: tuple[str, ...]) -> str:
        """Down if k see it down; up if, whatever those say that do not know, k never will."""
        if now.count("D") >= needed:
            return "D"
        return "U" if now.count("D") + now.count("?") < needed else "?"

    assert drawn(quorum(needed, parts(texts))) == "".join(map(wanted, zip(*texts, strict=True)))


@given(SYSTEMS.filter(lambda texts: len(texts) > 1), st.data())
def test_redundancy_is_lost_while_it_is_up_and_would_not_survive_one_more(
    texts: list[str], data: st.DataObject
) -> None:
    needed = data.draw(st.integers(1, len(texts) - 1))

    def wanted(now: tuple[str, ...]) -> str:
        works, spared = possible("".join(now), needed), possible("".join(now), needed + 1)
        if works == {False} or spared == {True}:
            return "U"
        return "D" if works == {True} and spared == {False} else "?"

    line = loss_of_redundancy(needed, parts(texts))
    assert drawn(line) == "".join(map(wanted, zip(*texts, strict=True)))


def test_where_every_part_is_needed_there_is_no_redundancy_to_lose() -> None:
    with pytest.raises(ValueError, match="no redundancy"):
        unspared(2, parts(["U", "U"]))


@pytest.mark.parametrize("needed", [0, 3])
def test_a_number_that_is_never_a_promise_is_refused(needed: int) -> None:
    with pytest.raises(ValueError, match="cannot be needed"):
        at_least(needed, parts(["U", "U"]))
    with pytest.raises(ValueError, match="cannot agree"):
        quorum(needed, parts(["U", "U"]))


def reasoned(text: str, reason: str) -> Timeline:
    spans = read(text).spans
    return timeline([type(s)(start=s.start, end=s.end, state=s.state, reason=reason) for s in spans], 0, len(text))


def test_the_reason_names_the_parts_to_blame() -> None:
    system: Mapping[str, Timeline] = {"portal": reasoned("UDDU", "timeout"), "db": reasoned("UUDU", "refused")}
    assert [(s.state.value, s.reason) for s in at_least(2, system).spans] == [
        ("up", ""),
        ("down", "portal timeout"),
        ("down", "portal timeout, db refused"),
        ("up", ""),
    ]


def test_the_reason_of_vantages_is_what_most_of_them_say() -> None:
    seen = {"a": reasoned("D", "timeout"), "b": reasoned("D", "refused"), "c": reasoned("D", "refused")}
    assert quorum(2, seen).spans[0].reason == "refused"


def test_what_only_one_vantage_sees_is_named_after_it() -> None:
    line = quorum(2, {"primary": reasoned("D", "timeout"), "secondary": reasoned("?", "no-sample")})
    assert (line.spans[0].state, line.spans[0].reason) == (State.UNKNOWN, "secondary no-sample")


def test_redundancy_that_nobody_can_tell_of_names_what_is_not_seen() -> None:
    links = {"fibre": reasoned("D", "timeout"), "radio": reasoned("?", "no-sample")}
    (span,) = loss_of_redundancy(1, links).spans
    assert (span.state, span.reason) == (State.UNKNOWN, "fibre timeout")
    links = {"fibre": reasoned("U", ""), "radio": reasoned("?", "no-sample")}
    (span,) = loss_of_redundancy(1, links).spans
    assert (span.state, span.reason) == (State.UNKNOWN, "radio no-sample")


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6), st.integers(1, 12))
def test_three_values_are_one_of_three(up: int, down: int, unknown: int, needed: int) -> None:
    assert kleene(up, down, up + down + unknown, needed) in STATES.values()
    assert WORDS[kleene(needed, 0, needed, needed)] == "U"
    assert WORDS[kleene(0, 1, needed, needed)] == "D"


SHARES = st.lists(st.fractions(0, 1, max_denominator=50), min_size=1, max_size=5)


@settings(max_examples=50)
@given(SHARES, st.data())
def test_independent_parts_are_up_as_often_as_all_outcomes_say(shares: list[Fraction], data: st.DataObject) -> None:
    needed = data.draw(st.integers(1, len(shares)))
    outcomes = product([True, False], repeat=len(shares))
    wanted = sum(
        (
            prod((p if up else 1 - p for p, up in zip(shares, outcome, strict=True)), start=Fraction(1))
            for outcome in outcomes
            if sum(outcome) >= needed
        ),
        start=Fraction(0),
    )
    assert predicted(needed, shares) == wanted


@given(SHARES)
def test_all_of_them_is_the_product_and_one_of_them_the_complement_of_one(shares: list[Fraction]) -> None:
    assert predicted(len(shares), shares) == prod(shares, start=Fraction(1))
    assert predicted(1, shares) == 1 - prod((1 - share for share in shares), start=Fraction(1))

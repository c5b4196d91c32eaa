"""Shares and verdicts by whole numbers: what is printed never says another thing than what was counted."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.availability.figures import Figures, Judgement, budget, burn_rate, floored, share
from jobs.availability.span import Totals

LENGTHS = st.integers(0, 10**14)
TOTALS = st.builds(Totals, up=LENGTHS, down=LENGTHS, unknown=LENGTHS, excluded=LENGTHS)
TARGETS = st.sampled_from(["99", "99.9", "99.95", "99.99", "99.999", "100"]).map(share)


@pytest.mark.parametrize(
    ("text", "wanted"), [("99.9", Fraction(999, 1000)), ("100", Fraction(1)), ("0.5", Fraction(1, 200))]
)
def test_a_target_is_exact(text: str, wanted: Fraction) -> None:
    assert share(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "0", "0.0", "100.1", "101", "-1", "99,9", "99.9%", "nan", "1e1", "٩٩", "99.", ".9", " 99"]
)
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a share of time"):
        share(text)


@given(TOTALS)
def test_the_truth_lies_between_the_worst_and_the_best(totals: Totals) -> None:
    figures = Figures(totals)
    if figures.pessimistic is None:
        assert totals.agreed == 0
        assert (figures.coverage, figures.observed, figures.optimistic) == (None, None, None)
        return
    assert figures.optimistic is not None
    assert figures.coverage is not None
    assert 0 <= figures.pessimistic <= figures.optimistic <= 1
    assert figures.optimistic - figures.pessimistic == 1 - figures.coverage
    if figures.observed is not None:
        assert figures.pessimistic <= figures.observed <= figures.optimistic


@given(TOTALS, TARGETS)
def test_a_verdict_holds_whatever_happened_when_nobody_looked(totals: Totals, target: Fraction) -> None:
    worst = Figures(Totals(up=totals.up, down=totals.down + totals.unknown))
    best = Figures(Totals(up=totals.up + totals.unknown, down=totals.down))
    verdicts = {worst.judged(target), best.judged(target)}
    assert Figures(totals).judged(target) is (verdicts.pop() if len(verdicts) == 1 else Judgement.UNDETERMINED)


def test_where_nothing_was_agreed_nothing_is_met() -> None:
    assert Figures(Totals(excluded=5)).judged(Fraction(1, 2)) is Judgement.UNDETERMINED
    assert Figures(Totals(unknown=5)).judged(Fraction(1, 2)) is Judgement.UNDETERMINED


@given(st.fractions(0, 1, max_denominator=10**15), TARGETS)
@example(Fraction(2_592_000 - 2_593, 2_592_000), share("99.9"))
@example(Fraction(9989996, 10**7), share("99.9"))
@example(Fraction(99995, 10**5), share("100"))
def test_what_is_printed_compares_with_the_target_as_the_truth_does(value: Fraction, target: Fraction) -> None:
    shown = Fraction(floored(value, target))
    assert (shown >= target * 100) == (value >= target)
    assert shown <= value * 100
    assert (shown == 100) == (value == 1)


@pytest.mark.parametrize(
    ("value", "target", "wanted"),
    [
        (Fraction(999, 1000), "99.9", "99.9000"),
        (Fraction(2_592_000 - 2_593, 2_592_000), "99.9", "99.8999"),
        (Fraction(1), "100", "100.0000"),
        (Fraction(999_999_999, 10**9), "100", "99.9999"),
        (Fraction(99_999_951, 10**8), "99.99995", "99.99995"),
        (Fraction(99_999_949, 10**8), "99.99995", "99.9999"),
        (Fraction(0), "99", "0.0000"),
    ],
)
def test_it_is_rounded_down_with_as_many_digits_as_it_takes(value: Fraction, target: str, wanted: str) -> None:
    assert str(floored(value, share(target))) == wanted


def test_a_budget_is_what_the_target_allows() -> None:
    found = budget(Totals(up=2_590_000, down=1_296, unknown=648), share("99.9"), agreed=2_592_000)
    assert (found.allowed, found.left) == (Fraction(2_592), Fraction(1_296))
    assert (found.spent, found.at_risk) == (Fraction(1, 2), Fraction(1, 4))


def test_a_target_of_everything_allows_nothing_and_burns_at_no_rate() -> None:
    found = budget(Totals(up=10), share("100"))
    assert (found.allowed, found.spent, found.at_risk) == (Fraction(0), None, None)
    assert burn_rate(Totals(up=10, down=5), share("100")) is None
    assert burn_rate(Totals(excluded=5), share("99")) is None


@given(TOTALS, st.sampled_from(["99", "99.9"]).map(share))
def test_at_rate_one_the_budget_of_the_time_is_just_spent(totals: Totals, target: Fraction) -> None:
    rate = burn_rate(totals, target)
    assert rate == budget(totals, target).spent


def test_a_printed_share_is_a_decimal_number() -> None:
    assert floored(Fraction(1, 3), digits=2) == Decimal("33.33")

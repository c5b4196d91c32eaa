"""Shares of time, exactly: three availabilities, coverage, a verdict in three values, an error budget and its burning.

With E the agreed time, D down and U unknown in it: observed (E-D-U)/(E-U), pessimistic (E-D-U)/E, optimistic (E-D)/E,
coverage (E-U)/E. Met is what is met at the worst, missed what is missed at the best. Shares are fractions; they are
rounded only to be printed, and never so that a miss reads as a pass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final

from jobs.availability.span import Totals

_TARGET: Final = re.compile(r"(\d{1,3})(?:\.(\d{1,9}))?", re.ASCII)
_DIGITS: Final = 4
_MOST_DIGITS: Final = 30


class Judgement(StrEnum):
    """Of an objective over a period."""

    MET = "met"
    MISSED = "missed"
    UNDETERMINED = "undetermined"


def share(text: str) -> Fraction:
    """An objective or a limit in percent, as an exact share of one: "99.9". Raises ValueError."""
    found = _TARGET.fullmatch(text)
    if found is None or not 0 < (percent := Fraction(text)) <= 100:
        raise ValueError(f'"{text}" is not a share of time: percent such as "99.9", above 0 and up to 100')
    return percent / 100


@dataclass(frozen=True, slots=True)
class Figures:
    """What follows from sums of time. None where it has no meaning: nothing was agreed, or nothing seen."""

    totals: Totals

    @property
    def coverage(self) -> Fraction | None:
        """How much of the agreed time was seen."""
        return _of(self.totals.agreed - self.totals.unknown, self.totals.agreed)

    @property
    def observed(self) -> Fraction | None:
        """How much of what was seen was up."""
        return _of(self.totals.up, self.totals.agreed - self.totals.unknown)

    @property
    def pessimistic(self) -> Fraction | None:
        """As if all that nobody saw had been down."""
        return _of(self.totals.up, self.totals.agreed)

    @property
    def optimistic(self) -> Fraction | None:
        """As if all that nobody saw had been up."""
        return _of(self.totals.agreed - self.totals.down, self.totals.agreed)

    def judged(self, target: Fraction) -> Judgement:
        """Whether an objective was met. What nobody saw decides nothing for it, and nothing against it."""
        if self.pessimistic is None or self.optimistic is None:
            return Judgement.UNDETERMINED
        if self.pessimistic >= target:
            return Judgement.MET
        return Judgement.MISSED if self.optimistic < target else Judgement.UNDETERMINED


def _of(part: int, all_of_it: int) -> Fraction | None:
    return Fraction(part, all_of_it) if all_of_it else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """The downtime that an objective allows in a period, in microseconds, and what became of it.

    `spent` and `at_risk` are shares of it, by what was down and by what nobody saw: None where nothing is allowed.
    """

    allowed: Fraction
    left: Fraction
    spent: Fraction | None
    at_risk: Fraction | None


def budget(totals: Totals, target: Fraction, agreed: int | None = None) -> Budget:
    """The budget of a period of which `agreed` microseconds count; without that, of the time so far."""
    allowed = (1 - target) * (totals.agreed if agreed is None else agreed)
    return Budget(
        allowed=allowed,
        left=allowed - totals.down,
        spent=totals.down / allowed if allowed else None,
        at_risk=totals.unknown / allowed if allowed else None,
    )


def burn_rate(totals: Totals, target: Fraction) -> Fraction | None:
    """How many times faster than allowed downtime came: at 1 the budget lasts to the end. None: nothing is allowed."""
    if target == 1 or not totals.agreed:
        return None
    return Fraction(totals.down, totals.agreed) / (1 - target)


def floored(value: Fraction, target: Fraction | None = None, digits: int = _DIGITS) -> Decimal:
    """A share in percent, rounded down, with the digits it takes to compare with the target as the exact one does.

    So 99.99 % is never printed as 100 %, and what missed 99.9 % by a second never as 99.90 %.
    """
    for places in range(digits, _MOST_DIGITS):
        shown = _floor(value * 100, places)
        if target is None or (Fraction(shown) >= target * 100) == (value >= target):
            return shown
    return _floor(value * 100, _MOST_DIGITS)


def _floor(value: Fraction, places: int) -> Decimal:
    scaled = value.numerator * 10**places // value.denominator
    return Decimal(scaled).scaleb(-places)

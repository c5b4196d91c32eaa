"""Objectives of availability: over which time they are judged, which alarms their burning raises, what is too coarse.

Alarms by two windows each are those of Google's SRE workbook: spending a share p of a period P's budget within w is to
burn p·P/w times too fast. One failed probe must not fire: what was down in the window is at least two intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from jobs.availability.figures import Budget
from jobs.availability.maintenance import Grant
from jobs.availability.span import SECOND, Totals, micros
from jobs.period import Period, parse

_HOUR: Final = 3600 * SECOND
_DAY: Final = 24 * _HOUR
_LOOKS_IN_A_BUDGET: Final = 20


class WindowKind(StrEnum):
    """Over which time an objective is judged."""

    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"
    ROLLING = "rolling"


_CALENDAR: Final = MappingProxyType[WindowKind, Callable[[datetime], str]](
    {
        WindowKind.MONTH: lambda local: f"{local.year:04}-{local.month:02}",
        WindowKind.QUARTER: lambda local: f"{local.year:04}-Q{(local.month + 2) // 3}",
        WindowKind.YEAR: lambda local: f"{local.year:04}",
    }
)
_LONGEST: Final = MappingProxyType({WindowKind.MONTH: 31, WindowKind.QUARTER: 92, WindowKind.YEAR: 366})


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A calendar month, quarter or year, or so many days up to now. Raises ValueError."""

    kind: WindowKind
    days: int = 0

    def __post_init__(self) -> None:
        if (self.kind is WindowKind.ROLLING) != (self.days > 0):
            raise ValueError("a rolling window has a number of days, and no other has")

    def holding(self, now: datetime, zone: str) -> Period:
        """The window that holds an instant (a rolling one ends there), by the calendar of the contract's zone."""
        if self.kind is WindowKind.ROLLING:
            return Period(text=f"{self.days} days", start=now - timedelta(days=self.days), end=now)
        local = now.astimezone(ZoneInfo(zone))
        return parse(_CALENDAR[self.kind](local), ZoneInfo(zone))

    @property
    def at_most(self) -> int:
        """Its length at most, in microseconds."""
        return (self.days or _LONGEST[self.kind]) * _DAY


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """How available a service is to be: `target` and `coverage` are shares of one, `restore_within` microseconds.

    `coverage` is how much of the time must be seen for the observed figure to stand in front. Raises ValueError.
    """

    window: Window
    target: Fraction
    coverage: Fraction = Fraction(99, 100)
    grant: Grant | None = None
    restore_within: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.target <= 1 or not 0 <= self.coverage <= 1:
            raise ValueError("a target and a coverage are shares of one")
        if self.restore_within is not None and self.restore_within <= 0:
            raise ValueError("a time in which restoring is guaranteed is a duration")


def strictest(versions: Iterable[Objective]) -> Objective:
    """What a period is judged by when its objective was changed in the middle: what promises most, in each respect.

    So a target that is lowered, or a grant that is widened, improves nothing before the next period. The versions are
    of one window. Raises ValueError where they are not, or there is none.
    """
    found = tuple(versions)
    if not found:
        raise ValueError("a service without an objective is not judged")
    if len({each.window for each in found}) > 1:
        raise ValueError("only versions of one window are one objective")
    limits = [each.restore_within for each in found if each.restore_within is not None]
    grants = [each.grant for each in found if each.grant is not None]
    caps = [grant.cap for grant in grants if grant.cap is not None]
    granted = Grant(notice=max(g.notice for g in grants), cap=min(caps, default=None)) if grants else None
    return Objective(
        window=found[0].window,
        target=max(each.target for each in found),
        coverage=max(each.coverage for each in found),
        grant=granted if len(grants) == len(found) else None,
        restore_within=min(limits, default=None),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Tier:
    """An alarm: `spent` of the period's budget within `long`, still burning in `short`. Microseconds."""

    long: int
    short: int
    spent: Fraction
    is_urgent: bool


TIERS: Final = (
    Tier(long=_HOUR, short=_HOUR // 12, spent=Fraction(2, 100), is_urgent=True),
    Tier(long=6 * _HOUR, short=_HOUR // 2, spent=Fraction(5, 100), is_urgent=True),
    Tier(long=_DAY, short=2 * _HOUR, spent=Fraction(10, 100), is_urgent=False),
    Tier(long=3 * _DAY, short=6 * _HOUR, spent=Fraction(10, 100), is_urgent=False),
)


def burning(
    lately: Callable[[int], Totals], objective: Objective, period: int, interval: int, *, tiers: Iterable[Tier] = TIERS
) -> tuple[Tier, ...]:
    """The alarms that are due. `lately` gives the sums of the last so many microseconds, `interval` is the probe's."""
    return tuple(tier for tier in tiers if _burns(lately, objective.target, period, interval, tier))


def _burns(lately: Callable[[int], Totals], target: Fraction, period: int, interval: int, tier: Tier) -> bool:
    rate = tier.spent * period / tier.long * (1 - target)  # the share of a window that is down at the alarm's speed
    least = max(rate * tier.long, Fraction(2 * interval))
    return lately(tier.long).down >= least and lately(tier.short).down >= max(rate * tier.short, Fraction(1))


def exhausted_after(left: Budget, rate: Fraction | None, target: Fraction) -> Fraction | None:
    """In how many microseconds the budget is spent if it burns on at this rate. None: never."""
    if left.left <= 0:
        return Fraction(0)
    return left.left / (rate * (1 - target)) if rate else None


def is_too_coarse(interval: timedelta, objective: Objective) -> bool:
    """Whether probes come so rarely that one of them is more than a twentieth of the budget of the longest window."""
    allowed = (1 - objective.target) * objective.window.at_most
    return micros(interval) * _LOOKS_IN_A_BUDGET > allowed

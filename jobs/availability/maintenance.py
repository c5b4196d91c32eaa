"""Maintenance that was declared before it began, and which of it does not count. What was declared stays on record.

A window is left out of the agreed time only if it was announced early enough, for this very service, and within what
the objective grants for the period. Each that is not, or not wholly, says why; it is never widened afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from jobs.availability.span import Span, State, Timeline, covered

MAINTENANCE: Final = "maintenance"


class Refusal(StrEnum):
    """Why a declared window counts as agreed time all the same, wholly or in part."""

    NOT_GRANTED = "not-granted"
    LATE = "announced-too-late"
    CANCELLED = "cancelled"
    OVER_CAP = "more-than-granted"
    OVERLAPS = "declared-twice"


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """A window that was announced, in microseconds. `declared_at` is the ledger's time, which nobody sets.

    `cancelled_at` ends it: before its start altogether, else from then on. Raises ValueError.
    """

    name: str
    services: frozenset[str]
    start: int
    end: int
    declared_at: int
    by: str = ""
    reason: str = ""
    cancelled_at: int | None = None

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"maintenance {self.name} ends before it starts")
        if not self.services:
            raise ValueError(f"maintenance {self.name} is of no service")

    @property
    def stands_until(self) -> int:
        """Its end, or when it was cancelled."""
        return self.end if self.cancelled_at is None else max(self.start, min(self.end, self.cancelled_at))


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """What an objective grants: how long before it starts maintenance is announced, and how much of it in a period.

    In microseconds; `cap` None: as much as is announced. Raises ValueError.
    """

    notice: int
    cap: int | None = None

    def __post_init__(self) -> None:
        if self.notice < 0 or (self.cap is not None and self.cap < 0):
            raise ValueError("a notice and a cap are durations")


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """What became of a declaration in a period: the window that is left out (None: none of it), and why no more.

    `booked` is what of it lies in the period, in microseconds.
    """

    declaration: Declaration
    booked: int
    window: tuple[int, int] | None
    refusals: tuple[Refusal, ...] = ()

    @property
    def counted_out(self) -> int:
        """How much of it is left out."""
        return 0 if self.window is None else self.window[1] - self.window[0]


def uses(
    declarations: Iterable[Declaration], service: str, grant: Grant | None, start: int, end: int
) -> tuple[Use, ...]:
    """What became of each declaration of a service that meets a period, the earliest first. Without a grant: nothing.

    The cap is used up in the order of time.
    """
    mine = (d for d in declarations if service in d.services and d.start < end and d.end > start)
    done: list[Use] = []
    free, left = start, None if grant is None else grant.cap
    for declaration in sorted(mine, key=lambda d: (d.start, d.declared_at, d.name)):
        use = _use(declaration, grant, (max(start, declaration.start), min(end, declaration.end)), free, left)
        done.append(use)
        if use.window is not None:
            free = use.window[1]
            left = None if left is None else left - use.counted_out
    return tuple(done)


def _use(declaration: Declaration, grant: Grant | None, booked: tuple[int, int], free: int, left: int | None) -> Use:
    first, last = booked
    length = last - first
    if grant is None:
        return Use(declaration=declaration, booked=length, window=None, refusals=(Refusal.NOT_GRANTED,))
    if declaration.declared_at + grant.notice > declaration.start:
        return Use(declaration=declaration, booked=length, window=None, refusals=(Refusal.LATE,))
    refusals = []
    if declaration.stands_until < last:
        last = declaration.stands_until
        refusals.append(Refusal.CANCELLED)
    if free > first:
        first = min(free, last)
        refusals.append(Refusal.OVERLAPS)
    if left is not None and last - first > left:
        last = first + left
        refusals.append(Refusal.OVER_CAP)
    window = (first, last) if first < last else None
    return Use(declaration=declaration, booked=length, window=window, refusals=tuple(refusals))


def contractual(experienced: Timeline, found: Sequence[Use]) -> Timeline:
    """A service's timeline as its objective counts it: what is left out is excluded, whatever was seen in it."""
    windows = ((*use.window, f"{MAINTENANCE} {use.declaration.name}") for use in found if use.window is not None)
    return covered(experienced, windows, State.EXCLUDED)


def down_within(experienced: Timeline, window: tuple[int, int]) -> int:
    """How long a service was really down in a window, in microseconds: what a maintenance used of what it booked."""
    start, end = max(window[0], experienced.start), min(window[1], experienced.end)
    parts: Iterable[Span] = experienced.between(start, end).spans if start < end else ()
    return sum(span.length for span in parts if span.state is State.DOWN)

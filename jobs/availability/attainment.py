"""How long the newest recovery point was young enough: the objective of recovery, weighted by time and not by samples.

A point counts from when it was proven to be there, with the age of its data; so the age is a sawtooth of straight
lines, and every share and percentile of it is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from typing import Final

from jobs.availability.span import Span, State, Timeline, timeline

TOO_OLD: Final = "too-old"
NEVER: Final = "no-recovery-point"


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A recovery point at a site: the instant of its data, and from when until when (None: still) it was there.

    Microseconds. Raises ValueError.
    """

    data_at: int
    there_from: int
    there_until: int | None = None

    def __post_init__(self) -> None:
        if self.there_until is not None and self.there_until <= self.there_from:
            raise ValueError("a recovery point is there for some time")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tooth:
    """A time during which the newest data is of one instant (None: there is none), and grows older."""

    start: int
    end: int
    data_at: int | None

    @property
    def oldest(self) -> int | None:
        """The age that its data reaches, in microseconds."""
        return None if self.data_at is None else self.end - self.data_at

    def within(self, age: int) -> int:
        """For how long its data is not older than this, in microseconds."""
        if self.data_at is None:
            return 0
        return max(0, min(self.end, self.data_at + age) - self.start)


def teeth(points: Iterable[Point], start: int, end: int) -> tuple[Tooth, ...]:
    """The sawtooth of a time: at each instant the newest data among the points that are there."""
    return tuple(_merged(_teeth(tuple(points), start, end)))


def _teeth(points: Sequence[Point], start: int, end: int) -> Iterator[Tooth]:
    edges = {point.there_from for point in points} | {p.there_until for p in points if p.there_until is not None}
    inner = sorted(edge for edge in edges if start < edge < end)
    coming = sorted(points, key=lambda point: point.there_from, reverse=True)
    newest: list[tuple[int, float]] = []  # by the age of the data; what is gone is dropped when it comes to the top
    for first, last in zip([start, *inner], [*inner, end], strict=True):
        while coming and coming[-1].there_from <= first:
            point = coming.pop()
            heappush(newest, (-point.data_at, inf if point.there_until is None else point.there_until))
        while newest and newest[0][1] <= first:
            heappop(newest)
        yield Tooth(start=first, end=last, data_at=-newest[0][0] if newest else None)


def _merged(found: Iterable[Tooth]) -> Iterator[Tooth]:
    held: Tooth | None = None
    for tooth in found:
        if held is not None and held.data_at == tooth.data_at:
            held = Tooth(start=held.start, end=tooth.end, data_at=held.data_at)
            continue
        if held is not None:
            yield held
        held = tooth
    if held is not None:
        yield held


def attained(found: Sequence[Tooth], objective: int) -> Timeline:
    """Up while the newest data was not older than the objective (microseconds), down while it was, or was not there."""
    spans = (span for tooth in found for span in _judged(tooth, objective))
    return timeline(spans, found[0].start, found[-1].end)


def _judged(tooth: Tooth, objective: int) -> Iterator[Span]:
    turns = min(tooth.end, tooth.start + tooth.within(objective))
    if turns > tooth.start:
        yield Span(start=tooth.start, end=turns, state=State.UP)
    if turns < tooth.end:
        reason = NEVER if tooth.data_at is None else TOO_OLD
        yield Span(start=turns, end=tooth.end, state=State.DOWN, reason=reason)


def oldest(found: Sequence[Tooth]) -> int | None:
    """The greatest age, in microseconds. None where at some time there was nothing."""
    ages = [tooth.oldest for tooth in found]
    return None if None in ages else max(age for age in ages if age is not None)


def percentile(found: Sequence[Tooth], percent: int) -> int | None:
    """The least age (microseconds) that was not exceeded for so much of the time. None: nothing was there for it."""
    wanted = -(-(found[-1].end - found[0].start) * percent // 100)
    greatest = max((tooth.oldest for tooth in found if tooth.oldest is not None), default=None)
    if greatest is None or sum(tooth.within(greatest) for tooth in found) < wanted:
        return None
    low, high = -1, max(0, greatest)
    while high - low > 1:  # the share within an age never falls as the age grows
        middle = (low + high) // 2
        low, high = (low, middle) if sum(tooth.within(middle) for tooth in found) >= wanted else (middle, high)
    return high

"""Outages by name: when each began and ended at the earliest and the latest, and what those of a period say together.

The point estimate runs from the first failed look to the first good one: the two lags cancel in the mean. The truth
lies between the last failed look less the first, and the first good one less the last good one before; and as a look
takes time, what it found was so at some instant between its beginning and its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from jobs.availability.span import Span, State, Timeline, Totals

_GOES_ON: Final = frozenset({State.DOWN, State.UNKNOWN})
_REASONS: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Incident:
    """One outage: down, and what nobody saw in the middle of it. Instants and lengths in microseconds.

    It began after `earliest` and not after `latest_start`; it ended after `least_end` and not after `latest_end`. `end`
    and `latest_end` are None while it has not been seen up again. `believed` is when it was confirmed.
    """

    earliest: int
    start: int
    latest_start: int
    believed: int
    end: int | None
    least_end: int
    latest_end: int | None
    down: int
    unseen: int
    reasons: tuple[str, ...]

    @property
    def is_open(self) -> bool:
        """Whether it was not seen up again."""
        return self.end is None

    @property
    def duration(self) -> int | None:
        """From the first failed look to the first good one. None while it is open."""
        return None if self.end is None else self.end - self.start

    @property
    def least(self) -> int:
        """It lasted at least so long."""
        return max(0, self.least_end - self.latest_start)

    @property
    def most(self) -> int | None:
        """It lasted less than this. None while it is open."""
        return None if self.latest_end is None else self.latest_end - self.earliest

    def started_within(self, start: int, end: int) -> bool:
        """Whether it is counted to a time; else it was carried in."""
        return start <= self.start < end

    def meets(self, start: int, end: int) -> bool:
        """Whether any of it lies in a time."""
        return self.start < end and (self.end is None or self.end > start)


def incidents(line: Timeline) -> tuple[Incident, ...]:
    """The outages on a timeline, in order. Time that nobody saw between two downs is of one outage with them."""
    return tuple(_incident(run, after) for run, after in _runs(line.spans))


def _runs(spans: Sequence[Span]) -> Iterator[tuple[Sequence[Span], Span | None]]:
    """Each outage's spans from the first down on, with all that nobody saw after it, and the span that follows."""
    first = None
    for index, span in enumerate(spans):
        if first is None and span.state is State.DOWN:
            first = index
        elif first is not None and span.state not in _GOES_ON:
            yield spans[first:index], span
            first = None
    if first is not None:
        yield spans[first:], None


def _incident(run: Sequence[Span], after: Span | None) -> Incident:
    last = max(index for index, span in enumerate(run) if span.state is State.DOWN)
    body, following = run[: last + 1], (*run[last + 1 :], after)[0]
    end = body[-1].end
    down = [span for span in body if span.state is State.DOWN]
    return Incident(
        earliest=run[0].start - run[0].doubt,
        start=run[0].start,
        latest_start=run[0].start + run[0].blur,
        believed=run[0].start + run[0].delay,
        end=None if after is None else end,
        least_end=end if following is None else max(end - following.doubt, run[0].start),
        latest_end=None if after is None else after.start + after.blur,
        down=sum(span.length for span in down),
        unseen=sum(span.length for span in body) - sum(span.length for span in down),
        reasons=tuple(dict.fromkeys(span.reason for span in down if span.reason))[:_REASONS],
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Register:
    """A period's outages together. Lengths in microseconds; None where there is nothing to make a mean of.

    Only those that began in the period are counted, and only ended ones have a time to restore. `longest` is of all
    that lie in it. `breaches` lasted longer than the time in which restoring is guaranteed.
    """

    count: int
    still_open: int
    carried_in: int
    to_restore: Fraction | None
    between_failures: Fraction | None
    to_detect: Fraction | None
    longest: int
    median: int | None
    percentile_95: int | None
    breaches: int


def register(
    found: Sequence[Incident], totals: Totals, start: int, end: int, *, restore_within: int | None = None
) -> Register:
    """What a period's outages say together; `totals` are the period's."""
    lying = [incident for incident in found if incident.meets(start, end)]
    own = [incident for incident in lying if incident.started_within(start, end)]
    lengths = sorted(incident.duration for incident in own if incident.duration is not None)
    longest = [_until(incident, end) - incident.start for incident in lying]
    return Register(
        count=len(own),
        still_open=sum(incident.is_open for incident in lying),
        carried_in=len(lying) - len(own),
        to_restore=_mean(lengths),
        between_failures=Fraction(totals.up, len(own)) if own else None,
        to_detect=_mean([incident.believed - incident.start for incident in own]),
        longest=max(longest, default=0),
        median=_percentile(lengths, 50),
        percentile_95=_percentile(lengths, 95),
        breaches=sum(restore_within is not None and length > restore_within for length in longest),
    )


def _until(incident: Incident, now: int) -> int:
    return now if incident.end is None else incident.end


def _mean(lengths: Sequence[int]) -> Fraction | None:
    return Fraction(sum(lengths), len(lengths)) if lengths else None


def _percentile(ordered: Sequence[int], percent: int) -> int | None:
    """By nearest rank: a length that there was, never one in between."""
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None

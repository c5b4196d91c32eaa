"""Time in four states: half-open spans of whole microseconds without gaps, whose sums are exact at every level.

Time that nobody saw is a state of its own, and never up. Instants are microseconds since 1970 in UTC, as integers, so
that an hour's figures add up to its day's, and a day's to its month's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

SECOND: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(value: datetime | timedelta) -> int:
    """An aware instant, or a duration, in whole microseconds. Raises TypeError for a naive instant."""
    return (value if isinstance(value, timedelta) else value - _EPOCH) // _MICROSECOND


def moment(at: int) -> datetime:
    """The instant (UTC) of so many microseconds since 1970."""
    return _EPOCH + at * _MICROSECOND


class State(StrEnum):
    """What is known of an instant. `excluded`: known or not, it was agreed beforehand that it does not count."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"
    EXCLUDED = "excluded"


NO_SAMPLE: Final = "no-sample"  # nobody looked


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """From `start` up to, and not with, `end`. `reason` is a word for people: why it was down, unseen or excluded.

    Nobody looks all the time, and a look takes time: the state may have begun up to `doubt` before `start`, where it
    was last seen otherwise, and up to `blur` after it; it was `delay` after `start` that it was believed. All in
    microseconds. Raises ValueError.
    """

    start: int
    end: int
    state: State
    reason: str = ""
    doubt: int = 0
    blur: int = 0
    delay: int = 0

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"a span ends after it starts: {self.start} … {self.end}")
        if min(self.doubt, self.blur, self.delay) < 0:
            raise ValueError("a state begins before it is seen, and is believed after")

    @property
    def length(self) -> int:
        """In microseconds."""
        return self.end - self.start

    def within(self, start: int, end: int) -> Span:
        """The part between two instants. What is carried in has no doubt about its beginning any more."""
        if start <= self.start and self.end <= end:
            return self
        if start > self.start:
            return replace(self, start=start, end=min(self.end, end), doubt=0, blur=0, delay=0)
        return replace(self, end=end)


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """Microseconds in each state. They add up to the length of what they were counted over."""

    up: int = 0
    down: int = 0
    unknown: int = 0
    excluded: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            up=self.up + other.up,
            down=self.down + other.down,
            unknown=self.unknown + other.unknown,
            excluded=self.excluded + other.excluded,
        )

    @property
    def length(self) -> int:
        """All of it."""
        return self.agreed + self.excluded

    @property
    def agreed(self) -> int:
        """What counts: the agreed service time of ITIL."""
        return self.up + self.down + self.unknown


@dataclass(frozen=True, slots=True)
class Timeline:
    """Spans in order without a gap, no two neighbours alike. Raises ValueError."""

    spans: tuple[Span, ...]

    def __post_init__(self) -> None:
        if not self.spans:
            raise ValueError("a timeline has at least one span")
        for one, next_ in zip(self.spans, self.spans[1:], strict=False):
            if one.end != next_.start:
                raise ValueError(f"a timeline has no gap and no overlap: {one.end} is followed by {next_.start}")

    @property
    def start(self) -> int:
        """Its first instant."""
        return self.spans[0].start

    @property
    def end(self) -> int:
        """The first instant after it."""
        return self.spans[-1].end

    def totals(self) -> Totals:
        """How long it was in each state."""
        sums = dict.fromkeys(State, 0)
        for span in self.spans:
            sums[span.state] += span.length
        return Totals(**{state.value: length for state, length in sums.items()})

    def at(self, instant: int) -> Span:
        """The span that holds an instant. Raises ValueError outside."""
        if not self.start <= instant < self.end:
            raise ValueError(f"{instant} is not between {self.start} and {self.end}")
        return self.spans[bisect_right(self.spans, instant, key=lambda span: span.start) - 1]

    def between(self, start: int, end: int) -> Timeline:
        """The part between two instants that lie in it. Raises ValueError."""
        if not self.start <= start < end <= self.end:
            raise ValueError(f"{start} … {end} is not within {self.start} … {self.end}")
        return Timeline(tuple(s.within(start, end) for s in self.spans if s.end > start and s.start < end))


def timeline(spans: Iterable[Span], start: int, end: int) -> Timeline:
    """Spans in order, cut to a time; what none of them covers is unknown. Raises ValueError where two overlap."""
    return Timeline(tuple(joined(_filled((s for s in spans if s.end > start and s.start < end), start, end))))


def _filled(spans: Iterable[Span], start: int, end: int) -> Iterator[Span]:
    at = start
    for span in spans:
        part = span.within(start, end)
        if part.start > at:
            yield _unseen(at, part.start)
        yield part
        at = part.end
    if at < end:
        yield _unseen(at, end)


def _unseen(start: int, end: int) -> Span:
    return Span(start=start, end=end, state=State.UNKNOWN, reason=NO_SAMPLE)


def whole(start: int, end: int, state: State, reason: str = "") -> Timeline:
    """One state throughout."""
    return Timeline((Span(start=start, end=end, state=state, reason=reason),))


def joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Neighbours of one state and reason as one span: what is known of its beginning is known of the first."""
    held: Span | None = None
    for span in spans:
        if held is not None and _alike(held, span):
            held = replace(held, end=span.end)
            continue
        if held is not None:
            yield held
        held = span
    if held is not None:
        yield held


def _alike(one: Span, next_: Span) -> bool:
    return one.end == next_.start and one.state is next_.state and one.reason == next_.reason


Judge = Callable[[Sequence[Span]], tuple[State, str]]


def combined(parts: Sequence[Timeline], judge: Judge) -> Timeline:
    """One timeline of several over the same time: at each instant what `judge` says of the parts' spans there.

    Whatever the parts' doubt was where they changed the state of the whole, is the whole's. Raises ValueError.
    """
    if len({(part.start, part.end) for part in parts}) != 1:
        raise ValueError("only timelines of one and the same time can be combined")
    return Timeline(tuple(joined(_judged(parts, judge))))


def _judged(parts: Sequence[Timeline], judge: Judge) -> Iterator[Span]:
    places = [0] * len(parts)
    now = [part.spans[0] for part in parts]
    at, end = parts[0].start, parts[0].end
    while at < end:
        state, reason = judge(now)
        until = min(span.end for span in now)
        changed = [span for span in now if span.start == at]
        yield Span(
            start=at,
            end=until,
            state=state,
            reason=reason,
            doubt=max(span.doubt for span in changed),
            blur=max(span.blur for span in changed),
            delay=max(span.delay for span in changed),
        )
        at = until
        for index, part in enumerate(parts):
            if now[index].end == at < end:
                places[index] += 1
                now[index] = part.spans[places[index]]


def covered(line: Timeline, windows: Iterable[tuple[int, int, str]], state: State) -> Timeline:
    """A timeline with another state (and reason) wherever one of some windows lies; the first in order holds."""
    spans: Iterable[Span] = line.spans
    for start, end, reason in windows:
        spans = [piece for span in spans for piece in _under(span, start, end, state, reason)]
    return Timeline(tuple(joined(spans)))


def _under(span: Span, start: int, end: int, state: State, reason: str) -> Iterator[Span]:
    if span.state is state or span.end <= start or end <= span.start:
        yield span
        return
    if span.start < start:
        yield span.within(span.start, start)
    yield Span(start=max(span.start, start), end=min(span.end, end), state=state, reason=reason)
    if end < span.end:
        yield span.within(end, span.end)

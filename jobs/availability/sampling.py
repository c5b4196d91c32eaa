"""From samples to spans: what was seen vouches for a limited time, and an outage begins where it was first seen.

A sample holds until the next one, if that comes in time; else for its own interval, and what follows is unknown. A
failure counts once it is confirmed, and then from its first sample on: an outage is not shortened by how long one waits
before one believes it. One that the next sample refutes is a blip: up, counted and named.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from jobs.availability.span import NO_SAMPLE, Span, State, Timeline, timeline

BLIP: Final = "blip"  # failures that the next look did not confirm
UNCONFIRMED: Final = "unconfirmed"  # a failure, and then nobody looked
CLOCK_STEP: Final = "clock-step"  # the clock was set: how long it was until here is not known


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One look. `at` is when it began, and `took` how long it was, in microseconds: what it found it found meanwhile.

    `interval` is how long it vouches by itself; the next one is in time if it comes within `gap`. `stepped`: since the
    sample before, the clock was set. Raises ValueError.
    """

    at: int
    state: State
    reason: str = ""
    interval: int
    gap: int
    took: int = 0
    stepped: bool = False

    def __post_init__(self) -> None:
        if self.state is State.EXCLUDED:
            raise ValueError("a look finds something up, down, or finds out nothing")
        if self.took < 0 or not 0 < self.interval <= self.gap:
            raise ValueError("a sample vouches for some time, and not for longer than until the next may come")


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """What is kept between two looks at one target from one place.

    `confirm` failures in a row make an outage; with `count_blips` fewer do as well. `held` are the samples whose time
    is not settled: the last one, and before it failures that are neither confirmed nor refuted. `seen_at` is when a
    sample last found out anything; `is_down`, that an outage was confirmed and nothing has been seen up since.
    """

    confirm: int = 1
    count_blips: bool = False
    held: tuple[Sample, ...] = ()
    doubt: int = 0  # about when the state of the first that is held began
    seen_at: int | None = None
    is_down: bool = False
    stepped: bool = False

    def __post_init__(self) -> None:
        if self.confirm < 1:
            raise ValueError("an outage is confirmed by at least one sample")


def see(watch: Watch, sample: Sample) -> tuple[Watch, tuple[Span, ...]]:
    """Take a sample in: what is watched from now on, and the spans that it settled, in order.

    A sample that is not after the last one (the clock was set back) settles nothing: that time is accounted for.
    """
    if not watch.held:
        return _holding(watch, sample), ()
    last = watch.held[-1]
    if sample.at <= last.at:
        return replace(watch, stepped=True), ()
    if sample.stepped or watch.stepped:
        return _holding(watch, sample), _then_unseen(watch, last.at, sample.at, CLOCK_STEP)
    if sample.at - last.at > last.gap:
        return _holding(watch, sample), _then_unseen(watch, last.at + last.interval, sample.at, NO_SAMPLE)
    if _is_pending(watch) and sample.state is State.DOWN:
        return _failed_again(watch, sample)
    return _holding(watch, sample), (_refuted if sample.state is State.UP else _unrefuted)(watch, sample.at)


def _failed_again(watch: Watch, sample: Sample) -> tuple[Watch, tuple[Span, ...]]:
    if len(watch.held) + 1 < watch.confirm:
        return replace(watch, held=(*watch.held, sample), seen_at=sample.at), ()
    confirmed = replace(watch, is_down=True)
    return _holding(confirmed, sample), _pieces(confirmed, sample.at, delay=sample.at - watch.held[0].at)


def tail(watch: Watch, until: int) -> tuple[Span, ...]:
    """What is known, up to an instant, of the time that no later sample has settled yet. It may still change."""
    if not watch.held or until <= watch.held[0].at:
        return ()
    last = watch.held[-1]
    return _then_unseen(watch, min(last.at + last.interval, until), until, NO_SAMPLE)


def seen(samples: Iterable[Sample], start: int, end: int, *, confirm: int = 1, count_blips: bool = False) -> Timeline:
    """The timeline that samples in order make between two instants."""
    watch = Watch(confirm=confirm, count_blips=count_blips)
    spans: list[Span] = []
    for sample in samples:
        watch, settled = see(watch, sample)
        spans += settled
    return timeline([*spans, *tail(watch, end)], start, end)


def _holding(watch: Watch, sample: Sample) -> Watch:
    """Hold a sample alone. Only what is seen up ends an outage: not time unseen, nor a look that found out nothing."""
    is_down = sample.state is not State.UP and (watch.is_down or (sample.state is State.DOWN and watch.confirm == 1))
    return replace(
        watch,
        held=(sample,),
        doubt=0 if watch.seen_at is None else sample.at - watch.seen_at,
        seen_at=watch.seen_at if sample.state is State.UNKNOWN else sample.at,
        is_down=is_down,
        stepped=False,
    )


def _is_pending(watch: Watch) -> bool:
    return watch.held[-1].state is State.DOWN and not watch.is_down


def _unrefuted(watch: Watch, until: int) -> tuple[Span, ...]:
    """What was held, when nobody looked again in time: a failure may have been an outage or not."""
    return _pieces(watch, until, (State.UNKNOWN, UNCONFIRMED) if _is_pending(watch) else None)


def _refuted(watch: Watch, until: int) -> tuple[Span, ...]:
    """What was held, when the next look found it up: failures that were not confirmed were a blip."""
    return _pieces(watch, until, (State.UP, BLIP) if _is_pending(watch) and not watch.count_blips else None)


def _pieces(watch: Watch, until: int, instead: tuple[State, str] | None = None, *, delay: int = 0) -> tuple[Span, ...]:
    """A span for each sample that is held, the last one until an instant, with its own state or another instead."""
    ends = [*(sample.at for sample in watch.held[1:]), until]
    spans = []
    for index, (sample, end) in enumerate(zip(watch.held, ends, strict=True)):
        if end <= sample.at:
            continue
        state, reason = instead or (sample.state, sample.reason)
        first = index == 0
        spans.append(
            Span(
                start=sample.at,
                end=end,
                state=state,
                reason=reason,
                doubt=watch.doubt if first else 0,
                blur=sample.took if first else 0,
                delay=delay if first else 0,
            )
        )
    return tuple(spans)


def _then_unseen(watch: Watch, vouched: int, until: int, reason: str) -> tuple[Span, ...]:
    """What was held, as long as that is vouched for, and the time that nobody saw."""
    known = _unrefuted(watch, vouched)
    if until <= vouched:
        return known
    doubt = vouched - watch.held[-1].at
    return (*known, Span(start=vouched, end=until, state=State.UNKNOWN, reason=reason, doubt=doubt))

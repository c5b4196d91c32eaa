"""An oracle that knows no spans: the state of every second, in a list, counted one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from jobs.availability.sampling import Sample
from jobs.availability.span import Span, State, Timeline, timeline

WORDS: Final = {State.UP: "U", State.DOWN: "D", State.UNKNOWN: "?", State.EXCLUDED: "x"}
STATES: Final = {word: state for state, word in WORDS.items()}


def drawn(line: Timeline) -> str:
    """A timeline in units of one, a letter for each."""
    return "".join(WORDS[span.state] * span.length for span in line.spans)


def read(text: str, start: int = 0) -> Timeline:
    """The timeline of such a drawing."""
    spans = (Span(start=start + i, end=start + i + 1, state=STATES[word]) for i, word in enumerate(text))
    return timeline(spans, start, start + len(text))


def watched(samples: Sequence[Sample], start: int, end: int, *, confirm: int, count_blips: bool) -> str:
    """What samples say of each unit: found by asking, for each of them, who looked last and what came of it."""
    kept = _in_order(samples)
    believed = _believed(kept, confirm=confirm, count_blips=count_blips)
    return "".join(WORDS[_at(instant, kept, believed)] for instant in range(start, end))


def _in_order(samples: Iterable[Sample]) -> list[tuple[Sample, bool]]:
    """The samples whose time was not accounted for before, and whether the clock was set before each."""
    kept: list[tuple[Sample, bool]] = []
    stepped = False
    for sample in samples:
        if kept and sample.at <= kept[-1][0].at:
            stepped = True
            continue
        kept.append((sample, bool(kept) and (stepped or sample.stepped)))
        stepped = False
    return kept


def _is_linked(kept: Sequence[tuple[Sample, bool]], index: int) -> bool:
    """Whether the next sample came in time."""
    if index + 1 >= len(kept):
        return False
    sample, (following, stepped) = kept[index][0], kept[index + 1]
    return not stepped and following.at - sample.at <= sample.gap


def _believed(kept: Sequence[tuple[Sample, bool]], *, confirm: int, count_blips: bool) -> list[State]:
    return [
        _fate(kept, index, confirm, count_blips=count_blips) if sample.state is State.DOWN else sample.state
        for index, (sample, _) in enumerate(kept)
    ]


def _fate(kept: Sequence[tuple[Sample, bool]], index: int, confirm: int, *, count_blips: bool) -> State:
    """Of a failure: down if an outage was confirmed before and not seen up since, or is by those around it."""
    if _was_confirmed(kept, index, confirm):
        return State.DOWN
    first = index
    while first > 0 and kept[first - 1][0].state is State.DOWN and _is_linked(kept, first - 1):
        first -= 1
    last = index
    while _is_linked(kept, last) and kept[last + 1][0].state is State.DOWN:
        last += 1
    if last - first + 1 >= confirm:
        return State.DOWN
    if not _is_linked(kept, last) or kept[last + 1][0].state is State.UNKNOWN:
        return State.UNKNOWN
    return State.DOWN if count_blips else State.UP


def _was_confirmed(kept: Sequence[tuple[Sample, bool]], index: int, confirm: int) -> bool:
    row = 0
    confirmed = False
    for i in range(index):
        sample = kept[i][0]
        row = row + 1 if sample.state is State.DOWN else 0
        confirmed = (confirmed or row >= confirm) and sample.state is not State.UP
        if not _is_linked(kept, i):
            row = 0
    return confirmed


def _at(instant: int, kept: Sequence[tuple[Sample, bool]], believed: Sequence[State]) -> State:
    before = [index for index, (sample, _) in enumerate(kept) if sample.at <= instant]
    if not before:
        return State.UNKNOWN
    last = before[-1]
    if _is_linked(kept, last):
        return believed[last]
    if last + 1 < len(kept) and kept[last + 1][1]:
        return State.UNKNOWN  # the clock was set: nobody knows how long this was
    return believed[last] if instant < kept[last][0].at + kept[last][0].interval else State.UNKNOWN

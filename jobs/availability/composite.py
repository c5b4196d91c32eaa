"""Several timelines as one: vantages by quorum, parts by how many are needed, in Kleene's logic of three values.

Composites are measured on timelines, never by multiplying percentages: two links in one duct fail together. What
independent links would have given is printed beside it, because the difference is a finding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from jobs.availability.span import Span, State, Timeline, combined


def kleene(up: int, down: int, among: int, needed: int) -> State:
    """Whether at least `needed` of `among` are up, when so many surely are and so many surely are not."""
    if up >= needed:
        return State.UP
    return State.DOWN if among - down < needed else State.UNKNOWN


def at_least(needed: int, parts: Mapping[str, Timeline]) -> Timeline:
    """Up where so many of the named parts are, down where so many cannot be, else unknown.

    All of them is `and`, one of them is redundancy. The reason names the parts to blame. Raises ValueError.
    """
    if not 1 <= needed <= len(parts):
        raise ValueError(f"{needed} of {len(parts)} parts cannot be needed")
    names = tuple(parts)

    def judge(now: Sequence[Span]) -> tuple[State, str]:
        up, down = _count(now, State.UP), _count(now, State.DOWN)
        state = kleene(up, down, len(now), needed)
        return state, "" if state is State.UP else _blamed(names, now, state)

    return combined(tuple(parts.values()), judge)


def _count(now: Sequence[Span], state: State) -> int:
    return sum(span.state is state for span in now)


def _blamed(names: Sequence[str], now: Sequence[Span], state: State) -> str:
    return ", ".join(
        f"{name} {span.reason}".rstrip() for name, span in zip(names, now, strict=True) if span.state is state
    )


def quorum(needed: int, vantages: Mapping[str, Timeline]) -> Timeline:
    """Down where at least so many vantages see it down, up where so many no longer can, else unknown.

    Down from one place alone is then a matter of the path, not of the target. Raises ValueError.
    """
    if not 1 <= needed <= len(vantages):
        raise ValueError(f"{needed} of {len(vantages)} vantages cannot agree")
    names = tuple(vantages)

    def judge(now: Sequence[Span]) -> tuple[State, str]:
        down, up = _count(now, State.DOWN), _count(now, State.UP)
        if down >= needed:
            return State.DOWN, _common(now, State.DOWN)
        if up > len(now) - needed:
            return State.UP, _common(now, State.UP)
        return State.UNKNOWN, _blamed(names, now, State.UNKNOWN) or _blamed(names, now, State.DOWN)

    return combined(tuple(vantages.values()), judge)


def _common(now: Sequence[Span], state: State) -> str:
    """The reason of those in a state, the commonest first in the order of the vantages."""
    reasons = [span.reason for span in now if span.state is state]
    return max(reasons, key=lambda reason: (reasons.count(reason), -reasons.index(reason)))


def unspared(needed: int, parts: Mapping[str, Timeline]) -> Timeline:
    """Down wherever it would not have survived one more failure: the time without redundancy, and that of outages.

    Raises ValueError where every part is needed, and so no redundancy was ever promised.
    """
    if needed >= len(parts):
        raise ValueError("where every part is needed there is no redundancy to lose")
    return at_least(needed + 1, parts)


def loss_of_redundancy(needed: int, parts: Mapping[str, Timeline]) -> Timeline:
    """Down exactly while it is up without a spare; unknown while one cannot tell; up otherwise. Raises ValueError."""
    return combined((at_least(needed, parts), unspared(needed, parts)), _without_spare)


def _without_spare(now: Sequence[Span]) -> tuple[State, str]:
    works, spared = now
    if spared.state is State.UP or works.state is State.DOWN:
        return State.UP, ""
    if works.state is State.UP and spared.state is State.DOWN:
        return State.DOWN, spared.reason
    return State.UNKNOWN, spared.reason or works.reason


def predicted(needed: int, shares: Sequence[Fraction]) -> Fraction:
    """How long at least so many would be up if they failed independently of each other, as a share of the time.

    The Poisson binomial distribution, exactly: for all of them the product of the shares, for one of them one less the
    product of what they lack.
    """
    chances = [Fraction(1)]
    for share in shares:
        chances = [
            (chances[k] if k < len(chances) else 0) * (1 - share) + (chances[k - 1] * share if k else 0)
            for k in range(len(chances) + 1)
        ]
    return sum(chances[needed:], start=Fraction(0))

"""One figure beside its goal, as a line for people and as a value for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from bench.measure import Cost, Pair, median


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What was measured, in words, and whether it is within its goal (None: there is no goal)."""

    name: str
    figure: str
    detail: str
    goal: str = ""
    met: bool | None = None
    raw: Mapping[str, object]

    @property
    def line(self) -> str:
        """For a terminal."""
        mark = {None: " ", True: "✓", False: "✗"}[self.met]
        return f"{mark} {self.name:<46} {self.figure:<24} {self.goal:<10} {self.detail}"


def ratio(name: str, beside: str, pair: Pair, *, goal: float | None = None) -> Result:
    """Our median by the other's, and in brackets the least and the most of any one round."""
    ours, other = median(pair.ours), median(pair.other)
    times = f"{ours.seconds:.3g} s against {other.seconds:.3g} s of {beside}"
    return Result(
        name=name,
        figure=f"{pair.ratio:.2f}x ({pair.ratios[0]:.2f} to {pair.ratios[-1]:.2f})",
        detail=f"{times}; CPU {ours.cpu:.3g} s against {other.cpu:.3g} s",
        goal="" if goal is None else f"≤ {goal:.2f}x",
        met=None if goal is None else pair.ratio <= goal,
        raw={"ratios": pair.ratios, "ours": _raw(pair.ours), "other": _raw(pair.other), "goal": goal},
    )


def seconds(name: str, costs: Sequence[Cost], *, goal: float | None = None) -> Result:
    """A time by itself: the median, with the least and the most."""
    middle = median(costs)
    each = sorted(cost.seconds for cost in costs)
    return Result(
        name=name,
        figure=f"{middle.seconds:.2f} s ({each[0]:.2f} to {each[-1]:.2f})",
        detail=f"CPU {middle.cpu:.2f} s",
        goal="" if goal is None else f"≤ {goal:.1f} s",
        met=None if goal is None else middle.seconds <= goal,
        raw={"ours": _raw(costs), "goal": goal},
    )


def figure(  # noqa: PLR0913 (all but the name are keywords)
    name: str,
    value: float,
    *,
    shown: str,
    detail: str = "",
    goal: float | None = None,
    told: str = "",
    more: object = None,
) -> Result:
    """Any other figure, as `shown`; the goal is met by what is not above it, and `told` says it in the same unit."""
    return Result(
        name=name,
        figure=shown,
        detail=detail,
        goal=f"≤ {told}" if goal is not None else "",
        met=None if goal is None else value <= goal,
        raw={"value": value, "goal": goal, "more": more},
    )


def noted(found: Result, detail: str) -> Result:
    """The same with other words behind it."""
    return replace(found, detail=detail)


def memory(name: str, cost: Cost, *, goal: int) -> Result:
    """The most memory that our own process held; restic's is not in it."""
    return Result(
        name=name,
        figure=f"{cost.memory / 2**20:.0f} MiB",
        detail=f"in {cost.seconds:.1f} s",
        goal=f"≤ {goal >> 20} MiB",
        met=cost.memory <= goal,
        raw={"ours": _raw([cost]), "goal": goal},
    )


def _raw(costs: Sequence[Cost]) -> list[dict[str, float]]:
    return [asdict(cost) for cost in costs]

"""What to keep and what to remove, with a reason for each point that is kept. restic's buckets, and four safeguards.

As restic (0.18 and newer): of each hour, day, ISO week, month and year the newest point is kept, for as many of them as
the retention says, newest first; where fewer exist, the oldest point is kept as well, so that history is as long as it
can be (restic before 0.18 lacks that one rule). Beyond restic:
  - the newest `minimum` points are kept, and the newest `minimum` complete ones, whatever the rest says;
  - an incomplete point (its backup was partial) stands for its hour, day, … only where there is no complete one, and
    counts for `last` only where there are not enough complete ones;
  - a point from the future (a clock was wrong) is kept and counts for nothing: it must not push out true ones;
  - a point is a run: its data and its manifest stay or go together. Snapshots that are not ours are never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from jobs.policy import PolicyName, Retention
from jobs.snapshot import Snapshot, age


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One run's snapshots in one repository, the data first. They stay or go together."""

    run: str
    snapshots: tuple[Snapshot, ...]
    complete: bool = True  # False when its backup was partial

    def __post_init__(self) -> None:
        if not self.snapshots:
            raise ValueError(f"run {self.run} left no snapshot, so there is no point to decide about")

    @property
    def time(self) -> datetime:
        """When its data was taken; where only a manifest is left, that manifest's time."""
        return self.snapshots[0].time

    @property
    def orphaned(self) -> bool:
        """Whether only a manifest is left, which proves nothing any more."""
        return self.snapshots[0].content != "data"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A point that stays, and why: such as "daily 3 of 14: 2026-11-21"."""

    point: Point
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Every point is in one of the two, newest first."""

    keep: tuple[Kept, ...]
    remove: tuple[Point, ...]

    @property
    def forget(self) -> tuple[Snapshot, ...]:
        """The snapshots to forget, the oldest point first: when it breaks off, the newest are there."""
        return tuple(snapshot for point in reversed(self.remove) for snapshot in point.snapshots)


def points(snapshots: Iterable[Snapshot], *, policy: PolicyName, partial: Collection[str] = ()) -> tuple[Point, ...]:
    """The policy's points among a repository's snapshots, oldest first; `partial` holds the runs that were partial."""
    runs: dict[str, list[Snapshot]] = {}
    for snapshot in snapshots:
        if snapshot.policy == policy and snapshot.run and snapshot.content in ("data", "manifest"):
            runs.setdefault(snapshot.run, []).append(snapshot)
    found = (
        Point(run=run, snapshots=tuple(sorted(group, key=_data_first)), complete=run not in partial)
        for run, group in runs.items()
    )
    return tuple(sorted(found, key=_age))


def _data_first(snapshot: Snapshot) -> tuple[bool, float, str]:
    return snapshot.content != "data", -snapshot.time.timestamp(), snapshot.id


def _age(point: Point) -> tuple[datetime, str, str]:
    return age(point.snapshots[0])


def decide(points: Iterable[Point], retention: Retention, *, now: datetime, zone: tzinfo) -> Decision:
    """Which points stay. Hours, days, weeks, months and years are those of `zone`; `points` come in any order."""
    newest_first = sorted(points, key=_age, reverse=True)
    reasons: dict[str, list[str]] = {point.run: [] for point in newest_first}
    future = [point for point in newest_first if point.time > now]
    true = [point for point in newest_first if point.time <= now and not point.orphaned]
    for point in future:
        reasons[point.run].append("from the future: a clock was wrong, or is")
    for point in _unfinished(newest_first, true, now):
        reasons[point.run].append("its data may still come")
    _keep_last(true, retention.last, reasons)
    for bucket in BUCKETS:
        _keep_buckets(true, bucket, zone, reasons, count=bucket.count(retention))
    _keep_minimum(true, retention.minimum, reasons)
    return Decision(
        keep=tuple(Kept(point=p, reasons=tuple(reasons[p.run])) for p in newest_first if reasons[p.run]),
        remove=tuple(point for point in newest_first if not reasons[point.run]),
    )


def _unfinished(points: list[Point], true: list[Point], now: datetime) -> list[Point]:
    """Manifests alone that are newer than every point: their data may be on its way (a copy that was cut)."""
    newest = true[0].time if true else None
    return [p for p in points if p.orphaned and p.time <= now and (newest is None or p.time > newest)]


def spare(decision: Decision, runs: Collection[str], why: str) -> Decision:
    """The same decision, but these runs stay after all, for a reason that the points alone do not tell."""
    spared = [Kept(point=point, reasons=(why,)) for point in decision.remove if point.run in runs]
    keep = sorted([*decision.keep, *spared], key=lambda kept: _age(kept.point), reverse=True)
    return Decision(keep=tuple(keep), remove=tuple(p for p in decision.remove if p.run not in runs))


@dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """A span of the calendar of which one point is kept."""

    name: str
    count: Callable[[Retention], int]
    label: Callable[[datetime], str]


# An hour that a zone repeats in autumn is one bucket, as with restic.
BUCKETS: Final = (
    Bucket(name="hourly", count=lambda r: r.hourly, label=lambda time: f"{time:%Y-%m-%d %H}h"),
    Bucket(name="daily", count=lambda r: r.daily, label=lambda time: f"{time:%Y-%m-%d}"),
    Bucket(name="weekly", count=lambda r: r.weekly, label=lambda time: f"{time:%G-W%V}"),
    Bucket(name="monthly", count=lambda r: r.monthly, label=lambda time: f"{time:%Y-%m}"),
    Bucket(name="yearly", count=lambda r: r.yearly, label=lambda time: f"{time:%Y}"),
)

_Reasons = Mapping[str, list[str]]


def _keep_last(points: list[Point], count: int, reasons: _Reasons) -> None:
    ranked = sorted(points, key=lambda point: not point.complete)  # stable: the newest complete ones first
    for number, point in enumerate(ranked[:count], start=1):
        reasons[point.run].append(f"last {number} of {count}")


def _keep_buckets(points: list[Point], bucket: Bucket, zone: tzinfo, reasons: _Reasons, *, count: int) -> None:
    best: dict[str, Point] = {}
    for point in points:
        label = bucket.label(point.time.astimezone(zone))
        if label not in best or (point.complete and not best[label].complete):
            best[label] = point
    kept = list(best.items())[:count]
    for number, (label, point) in enumerate(kept, start=1):
        reasons[point.run].append(f"{bucket.name} {number} of {count}: {label}")
    oldest = _oldest(points)
    if oldest is not None and len(kept) < count and all(point is not oldest for _, point in kept):
        reasons[oldest.run].append(f"{bucket.name} {len(kept) + 1} of {count}: the oldest there is")


def _oldest(points: list[Point]) -> Point | None:
    """The oldest complete point, or the oldest one where none is complete."""
    return next((point for point in reversed(points) if point.complete), points[-1] if points else None)


def _keep_minimum(points: list[Point], minimum: int, reasons: _Reasons) -> None:
    for number, point in enumerate(points[:minimum], start=1):
        reasons[point.run].append(f"minimum {number} of {minimum}")
    complete = [point for point in points if point.complete]
    for number, point in enumerate(complete[:minimum], start=1):
        if point not in points[:minimum]:
            reasons[point.run].append(f"minimum {number} of {minimum}, complete")

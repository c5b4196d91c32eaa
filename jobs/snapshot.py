"""Snapshots as restic tells them, the tags that Tandem sets on them, and what parity of two sites means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from jobs.policy import PolicyName

Content = Literal["data", "manifest"]

TAG: Final = "tandem"  # every snapshot of ours bears it, so that foreign ones are never touched
STREAM: Final = "stream"  # made of what restic read from a pipe, rather than of files


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """One snapshot of one repository. `original` is the id it was copied from; `tree` is equal on both sides."""

    id: str
    time: datetime
    tree: str
    paths: tuple[str, ...] = ()
    hostname: str = ""
    tags: tuple[str, ...] = ()
    original: str | None = None
    parent: str | None = None

    def tag(self, key: str) -> str | None:
        """The value of our tag `key=value`, or None."""
        prefix = f"{key}="
        return next((tag.removeprefix(prefix) for tag in self.tags if tag.startswith(prefix)), None)

    @property
    def policy(self) -> str | None:
        """The policy that made it, or None when it is not ours."""
        return self.tag("policy") if TAG in self.tags else None

    @property
    def run(self) -> str | None:
        """The run that made it, or None when it is not ours."""
        return self.tag("run") if TAG in self.tags else None

    @property
    def content(self) -> str | None:
        """`data` or `manifest`, or None when it is not ours."""
        return self.tag("content") if TAG in self.tags else None

    @property
    def is_stream(self) -> bool:
        """Whether it was made of a stream of ours: if we died, its end may be our death, and it only half of it."""
        return TAG in self.tags and STREAM in self.tags

    @property
    def origin(self) -> str:
        """The identity that a copy shares with what it was copied from."""
        return self.original or self.id


def age(snapshot: Snapshot) -> tuple[datetime, str, str]:
    """What sorts a policy's snapshots oldest first, at every site alike.

    restic was told whole seconds, so that of two in one the run says more: its id begins with its moment.
    """
    return snapshot.time, snapshot.run or "", snapshot.origin


def tags(*, policy: PolicyName, run: str, content: Content, stream: bool = False) -> tuple[str, ...]:
    """The tags that a backup sets. restic's tags may not hold a comma; names and run ids never do."""
    return (TAG, f"policy={policy}", f"run={run}", f"content={content}", *((STREAM,) if stream else ()))


def manifest_name(policy: PolicyName) -> str:
    """The manifest's file name at the root of its snapshot."""
    return f"{policy}.manifest.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """Two sites compared from metadata alone: restic's copy keeps the tree's id, and names the original."""

    equal: tuple[Snapshot, ...]
    missing: tuple[Snapshot, ...]  # at the first site only, oldest first
    surplus: tuple[Snapshot, ...]  # at the second site only (the first forgot them)
    differing: tuple[tuple[Snapshot, Snapshot], ...]  # same origin, another tree: must never happen


def parity(first: Iterable[Snapshot], second: Iterable[Snapshot]) -> Parity:
    """Join two sites' snapshots on their origin and compare the trees."""
    here = {snapshot.origin: snapshot for snapshot in first}
    there = {snapshot.origin: snapshot for snapshot in second}
    both = sorted(here.keys() & there.keys(), key=lambda origin: age(here[origin]))
    return Parity(
        equal=tuple(here[origin] for origin in both if here[origin].tree == there[origin].tree),
        missing=_in_time(here[origin] for origin in here.keys() - there.keys()),
        surplus=_in_time(there[origin] for origin in there.keys() - here.keys()),
        differing=tuple((here[o], there[o]) for o in both if here[o].tree != there[o].tree),
    )


def _in_time(snapshots: Iterable[Snapshot]) -> tuple[Snapshot, ...]:
    return tuple(sorted(snapshots, key=age))

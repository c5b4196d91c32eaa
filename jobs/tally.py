"""Counting twice: the slots that are on record, and what the lines' schedules say must have been due."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final

from jobs.schedule import occurrences
from jobs.slot import Line, SlotState, slot_id

_NAMED: Final = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """How many slots there must be, how many there are, and in which states.

    `missing` and `surplus` name slots by id, the first hundred of each; `missing_count` and `surplus_count` count all.
    """

    expected: int
    found: int
    by_state: Mapping[SlotState, int]
    missing: tuple[str, ...] = ()
    missing_count: int = 0
    surplus: tuple[str, ...] = ()
    surplus_count: int = 0

    @property
    def adds_up(self) -> bool:
        """Whether every moment that was due has its slot, nothing else has one, and each is in one state."""
        return not self.missing_count and not self.surplus_count and sum(self.by_state.values()) == self.found


def tally(
    lines: Iterable[Line],
    keys: Callable[[int], Collection[str]],
    by_state: Mapping[SlotState, int],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Tally:
    """Compare every line that ever was in force, by id, with the keys of the slots on record for it (`keys`).

    `since` and `until` limit it to the moments later than the one and not later than the other; `by_state` counts the
    slots of the same time. One line's keys are in memory at a time, with those of the versions of its settings.
    """
    expected = found = 0
    missing, surplus = _Named(), _Named()
    for _, versions in groupby(sorted(lines, key=lambda line: (line.key, line.since, line.id)), lambda line: line.key):
        due, known, wanted = _compare(tuple(versions), keys, since, until)
        missing.add(wanted - known)
        surplus.add(known - due)
        expected += len(wanted)
        found += len(wanted & known) + len(known - due)
    return Tally(
        expected=expected,
        found=found,
        by_state=dict(by_state),
        missing=tuple(missing.first),
        missing_count=missing.count,
        surplus=tuple(surplus.first),
        surplus_count=surplus.count,
    )


class _Named:
    """Counts all, names the first ones."""

    def __init__(self) -> None:
        self.first: list[str] = []
        self.count = 0

    def add(self, ids: Collection[str]) -> None:
        self.count += len(ids)
        if len(self.first) < _NAMED:
            self.first += sorted(ids)[: _NAMED - len(self.first)]


def _compare(
    versions: tuple[Line, ...],
    keys: Callable[[int], Collection[str]],
    since: datetime | None,
    until: datetime | None,
) -> tuple[set[str], set[str], set[str]]:
    """The ids that were ever due on one line, those on record, and those that were due in the time asked for."""
    due: set[str] = set()
    known: set[str] = set()
    wanted: set[str] = set()
    for line in versions:
        named = {key: slot_id(line.policy, line.job, line.vault, key) for key in keys(line.id)}
        known.update(named.values())
        for key, at in _moments(line):
            name = named.get(key) or slot_id(line.policy, line.job, line.vault, key)
            due.add(name)
            if (since is None or at > since) and (until is None or at <= until):
                wanted.add(name)
    return due, known, wanted


def _moments(line: Line) -> Iterator[tuple[str, datetime]]:
    """What the line made due: from when it came into force until it was ended, as far as it has come."""
    last = line.cursor if line.until is None else min(line.until, line.cursor)
    return ((each.key, each.at) for each in occurrences(line.schedule, line.zone, line.since, last))

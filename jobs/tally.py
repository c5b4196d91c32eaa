"""Counting twice: the slots that are on record, and what the lines' schedules say must have been due."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Final

from jobs.history import Job
from jobs.schedule import occurrences
from jobs.slot import Line, SlotState, slot_id

_NAMED: Final = 100

Entry = tuple[str, Job, SlotState]  # a slot on record: its id, and what is counted of it


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """How many slots there must be, how many there are, and in which states.

    `missing` and `surplus` name slots by id, the first hundred of each; `missing_count` and `surplus_count` count all.
    `unmade` counts moments that have come since a scheduler last looked: no slot has been made of them yet.
    """

    expected: int
    found: int
    by_job: Mapping[Job, Mapping[SlotState, int]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    missing_count: int = 0
    surplus: tuple[str, ...] = ()
    surplus_count: int = 0
    unmade: Mapping[Job, int] = field(default_factory=dict)

    @property
    def by_state(self) -> Mapping[SlotState, int]:
        """How many are in each state; states of none too."""
        return {state: sum(states.get(state, 0) for states in self.by_job.values()) for state in SlotState}

    @property
    def adds_up(self) -> bool:
        """Whether every moment that was due has its slot, nothing else has one, and each is in one state."""
        return not self.missing_count and not self.surplus_count and sum(self.by_state.values()) == self.found

    def with_unmade(self) -> Tally:
        """The same, with what nobody has made slots of yet counted as due: so it will have been once they are made."""
        by_job = {job: Counter(self.by_job.get(job, {})) for job in Job}
        for job, many in self.unmade.items():
            by_job[job][SlotState.DUE] += many
        more = sum(self.unmade.values())
        return replace(self, expected=self.expected + more, found=self.found + more, by_job=by_job, unmade={})


def tally(
    lines: Iterable[Line],
    entries: Callable[[Line], Iterable[Entry]],
    strays: Iterable[Entry] = (),
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    passed: datetime | None = None,
) -> Tally:
    """Compare every line that ever was in force with the slots on record for it (`entries`). `strays` have no line.

    `since` and `until` limit it to the moments at the one or later and before the other; so must `entries`. One line's
    are in memory at a time, with those of the versions of its settings. `passed`: count what is not made until then.
    """
    reckoning = _Reckoning()
    ordered = sorted(lines, key=lambda line: (line.key, line.since, line.id))
    for _, versions in groupby(ordered, lambda line: line.key):
        due: set[str] = set()
        known: dict[str, tuple[Job, SlotState]] = {}
        for line in versions:
            known.update({name: (job, state) for name, job, state in entries(line)})
            due.update(_due(line, since, until))
            if passed is not None and line.until is None:
                late = _between(line, _later(line.cursor, since), passed, until)
                reckoning.unmade[line.job] += sum(1 for _ in late)
        reckoning.compare(due, known)
    reckoning.compare((), {name: (job, state) for name, job, state in strays})
    return reckoning.told()


class _Reckoning:
    """The sums so far."""

    def __init__(self) -> None:
        self.unmade: Counter[Job] = Counter()
        self._expected = 0
        self._by_job: dict[Job, Counter[SlotState]] = {}
        self._missing = _Named()
        self._surplus = _Named()

    def compare(self, due: Collection[str], known: Mapping[str, tuple[Job, SlotState]]) -> None:
        self._missing.add(set(due) - known.keys())
        self._surplus.add(known.keys() - set(due))
        self._expected += len(due)
        for job, state in known.values():
            self._by_job.setdefault(job, Counter())[state] += 1

    def told(self) -> Tally:
        return Tally(
            expected=self._expected,
            found=sum(states.total() for states in self._by_job.values()),
            by_job={job: dict(self._by_job[job]) for job in Job if job in self._by_job},
            missing=tuple(self._missing.first),
            missing_count=self._missing.count,
            surplus=tuple(self._surplus.first),
            surplus_count=self._surplus.count,
            unmade={job: self.unmade[job] for job in Job if self.unmade[job]},
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


def _due(line: Line, since: datetime | None, until: datetime | None) -> Iterator[str]:
    """What the line made due: from when it came into force until it was ended, or as far as it has come.

    A line is ended when all that has come by then is made (agenda.changes).
    """
    last = line.cursor if line.until is None else line.until
    return _between(line, _later(line.since, since), last if until is None else min(last, until), until)


def _between(line: Line, after: datetime, last: datetime, before: datetime | None) -> Iterator[str]:
    """The ids of the moments later than one instant and not later than another, nor at `before`."""
    for each in occurrences(line.schedule, line.zone, after, last):
        if before is None or each.at < before:
            yield slot_id(line.policy, line.job, line.vault, each.key)


def _later(begin: datetime, since: datetime | None) -> datetime:
    """From where on moments count: later than `begin`, and at `since` or later."""
    return begin if since is None else max(begin, since - datetime.resolution)

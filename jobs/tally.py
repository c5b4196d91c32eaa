"""Counting twice: the slots that are on record, and what the lines' schedules say must have been due."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import groupby
from typing import Final

from jobs.history import Job, RunRecord, RunState
from jobs.policy import PolicyName, TenantName
from jobs.schedule import occurrences
from jobs.slot import OPEN, Line, SlotState, slot_id, void_mark

_NAMED: Final = 100  # enough to see what is wrong; a table that was lost would name a million

_ALWAYS: Final = datetime(9999, 1, 1, tzinfo=UTC)
Entry = tuple[str, Job, SlotState]  # a slot on record: its id, and what is counted of it


class SumKind(StrEnum):
    """`sealed` slots were counted twice, and it was the same; `removed` ones are sealed ones that are no more."""

    SEALED = "sealed"
    REMOVED = "removed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sum:
    """How many of a line's slots ended in each state, of the moments before `until`, since the line came into force."""

    line: int
    until: datetime
    states: Mapping[SlotState, int]

    @property
    def slots(self) -> int:
        """How many there are, or were."""
        return sum(self.states.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Sums:
    """What is known of slots without counting them, by line. What is sealed has what was removed in it."""

    sealed: Mapping[int, Sum] = field(default_factory=dict)
    removed: Mapping[int, Sum] = field(default_factory=dict)

    def of(self, line: Line, since: datetime | None) -> Sum | None:
        """What stands for the line's first slots. Where only those since a moment are asked for, they are counted."""
        sealed = self.sealed.get(line.id) if since is None else None
        return sealed or self.removed.get(line.id)

    def begin(self, line: Line, since: datetime | None) -> datetime | None:
        """From when on a line's slots are counted one by one; None: all."""
        known = self.of(line, since)
        if known is None:
            return since
        return known.until if since is None else max(since, known.until)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """What ran in a time, counted: how many runs of each policy and job ended in which state, as it was known then.

    `bad` are the newest of those that went wrong; `heard` tells when settings (by their hash) were last run under.
    """

    counted: Mapping[tuple[TenantName, PolicyName, Job, RunState], int]
    bad: tuple[RunRecord, ...] = ()
    heard: Mapping[str, datetime] = field(default_factory=dict)
    newest: RunRecord | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """How many slots there must be, how many there are, and in which states.

    `missing` and `surplus` name slots by id, the first hundred of each; `missing_count` and `surplus_count` count all.
    `unmade` counts moments that have come since a scheduler last looked: no slot has been made of them yet. `removed`
    slots, of moments before `removed_before`, were removed because they are older than the settings keep any: they are
    counted as what they were where all that ever was is asked for, and not at all where a time is.
    """

    expected: int
    found: int
    by_job: Mapping[Job, Mapping[SlotState, int]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    missing_count: int = 0
    surplus: tuple[str, ...] = ()
    surplus_count: int = 0
    unmade: Mapping[Job, int] = field(default_factory=dict)
    removed: int = 0
    removed_before: datetime | None = None

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


def tally(  # noqa: PLR0913 (all but three are keywords)
    lines: Iterable[Line],
    entries: Callable[[Line], Iterable[Entry]],
    strays: Iterable[Entry] = (),
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    passed: datetime | None = None,
    sums: Sums | None = None,
) -> Tally:
    """Compare every line that ever was in force with the slots on record for it (`entries`). `strays` have no line.

    `since` and `until` limit it to the moments at the one or later and before the other; so must `entries`. One line's
    are in memory at a time, with those of the versions of its settings. `passed`: count what is not made until then.
    `sums` stand for slots before `sums.begin`, which `entries` then leaves out; not where there is an `until`.
    """
    reckoning = _Reckoning()
    sums = sums or Sums()
    # The versions of a line together: a clock that was set back leaves slots of the one among moments of the other.
    ordered = sorted(lines, key=lambda line: (line.key, line.since, line.id))
    for _, versions in groupby(ordered, lambda line: line.key):
        due: set[str] = set()
        known: dict[str, tuple[Job, SlotState]] = {}
        for line in versions:
            known.update({name: (job, state) for name, job, state in entries(line)})
            begin = sums.begin(line, since)
            due.update(_due(line, begin, until))
            due.update(_void(line, since, until))
            reckoning.sum(line.job, sums.of(line, since) if since is None else None, sums.removed.get(line.id), since)
            if passed is not None and line.until is None:
                late = _between(line, _later(line.cursor, since), passed, until)
                reckoning.unmade[line.job] += sum(1 for _ in late)
        reckoning.compare(due, known)
    # No line expects them, so that every one of them is surplus.
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
        self._removed = 0
        self._removed_before: datetime | None = None

    def sum(self, job: Job, counted: Sum | None, removed: Sum | None, since: datetime | None) -> None:
        """Take a line's sum for its first slots."""
        if counted is not None:
            self._expected += counted.slots
            self._by_job.setdefault(job, Counter()).update(counted.states)
        if removed is not None and (since is None or since < removed.until):
            self._removed += removed.slots
            self._removed_before = max(removed.until, self._removed_before or removed.until)

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
            removed=self._removed,
            removed_before=self._removed_before,
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


def seal(
    line: Line, before: Sum | None, entries: Iterable[tuple[str, SlotState, datetime]], bound: datetime
) -> Sum | None:
    """The sum that stands for a line's slots of moments before `bound`, or as far as they have ended; None: for none.

    `entries` are the slots since `before`: id, state and moment. Only what adds up, slot by slot, is ever sealed: of a
    line that lacks one, or has one too many, all are counted for ever. So are those of one that a wrong clock made.
    """
    if line.until is not None and line.until < line.cursor:
        return None
    entries = list(entries)
    end = _ALWAYS if line.until is not None and line.until < bound else min(bound, line.cursor + datetime.resolution)
    end = min([end, *(moment for _, state, moment in entries if state in OPEN)])
    begin = None if before is None else before.until
    known = {name: state for name, state, moment in entries if moment < end}
    if (begin is not None and end <= begin) or known.keys() != set(_due(line, begin, end)):
        return None
    states = Counter(before.states if before is not None else {})
    states.update(known.values())
    return Sum(line=line.id, until=end, states=dict(states))


def _due(line: Line, since: datetime | None, until: datetime | None) -> Iterator[str]:
    """What the line made due: from when it came into force until it was ended, or as far as it has come.

    A line is ended when all that has come by then is made (agenda.changes).
    """
    last = line.cursor if line.until is None else line.until
    return _between(line, _later(line.since, since), last if until is None else min(last, until), until)


def _void(line: Line, since: datetime | None, until: datetime | None) -> Iterator[str]:
    """What it made under a clock that was ahead, by the names that those slots bear since.

    They count as of when that was found out: the line was ended then, before its cursor.
    """
    found = line.until
    if found is None or found >= line.cursor or (since and found < since) or (until and found >= until):
        return
    mark = void_mark(line.id)
    for each in occurrences(line.schedule, line.zone, max(line.since, found), line.cursor):
        if each.key in line.taken:
            continue
        yield slot_id(line.policy, line.job, line.vault, each.key + mark)


def _between(line: Line, after: datetime, last: datetime, before: datetime | None) -> Iterator[str]:
    """The ids of the moments later than one instant and not later than another, nor at `before`."""
    for each in occurrences(line.schedule, line.zone, after, last):
        if (before is None or each.at < before) and each.key not in line.taken:
            yield slot_id(line.policy, line.job, line.vault, each.key)


def _later(begin: datetime, since: datetime | None) -> datetime:
    """From where on moments count: later than `begin`, and at `since` or later."""
    return begin if since is None else max(begin, since - datetime.resolution)

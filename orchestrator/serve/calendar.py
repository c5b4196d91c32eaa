"""The lines in force, and what of theirs is due: rows are written when moments come, and every edit ends a line."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Final

from jobs.agenda import births, changes, next_due
from jobs.policy import Policy, PolicyName
from jobs.reporting import Reporting
from jobs.slot import Line, Slot
from orchestrator.ledger.ledger import Ledger

Take = Callable[[tuple[Slot, ...]], object]

MANY: Final = 5000  # slots, about, that are written in one transaction, and are in memory at once


class Calendar:
    """What is due next, of all lines. Nothing here is believed that the ledger does not hold."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lines: dict[int, Line] = {}
        self._heap: list[tuple[datetime, int]] = []
        self.gone: frozenset[PolicyName] = frozenset()  # whose lines the last settling ended, for they are no more
        self.newest: datetime | None = None  # the newest moment that any line in force was brought to

    def __len__(self) -> int:
        return len(self._lines)

    def settle(
        self, policies: Sequence[Policy | Reporting], now: datetime, take: Take | None = None
    ) -> tuple[Slot, ...]:
        """Take over the settings as of now. What was due until now was due under the settings before.

        Gives the slots that this made, but for those that `take` was given. Raises LedgerError; then the settings are
        as before.
        """
        self.load()
        made = self.born(now, take)
        wanted = changes(tuple(self._lines.values()), policies, now)
        ended = {self._lines[number].policy for number, _ in wanted.ended}
        self.gone = frozenset(ended - {policy.name for policy in policies})
        # Their last slots first: when a line has ended nobody looks for its moments again.
        if wanted.cursors:
            self._ledger.born(wanted.slots, wanted.cursors)
        if wanted.ended or wanted.begun:
            self._ledger.put_lines(wanted.ended, wanted.begun)
            self.load()
        return (*made, *wanted.slots)

    def load(self) -> None:
        """Copy the lines in force anew. Raises LedgerError."""
        self._load(self._ledger.lines_in_force())

    def _load(self, lines: Iterable[Line]) -> None:
        self._lines = {line.id: line for line in lines}
        self.newest = max((line.cursor for line in self._lines.values()), default=None)
        coming = ((next_due(line), line.id) for line in self._lines.values())
        self._heap = [(due, line) for due, line in coming if due is not None]
        heapq.heapify(self._heap)

    @property
    def next(self) -> datetime | None:
        """When something is due next; None when nothing ever is."""
        return self._heap[0][0] if self._heap else None

    def born(self, now: datetime, take: Take | None = None) -> tuple[Slot, ...]:
        """Write down everything that has become due; give the new slots. Raises LedgerError: the rest is due as before.

        After a long time that would be too many at once: they are written some policies at a time, each line's cursor
        with its slots, and `take` is given each such part. What is due of the policies in it is all on record then.
        """
        made: list[Slot] = []
        try:
            for some in self._parts(now):
                (take or made.extend)(some)
        except BaseException:  # whatever it was: what is not on record is due again
            self._load(tuple(self._lines.values()))
            raise
        return tuple(made)

    def _parts(self, now: datetime) -> Iterator[tuple[Slot, ...]]:
        due: list[Line] = []
        while self._heap and self._heap[0][0] <= now:
            due.append(self._lines[heapq.heappop(self._heap)[1]])
        due.sort(key=lambda line: (line.policy, line.id))
        made: list[Slot] = []
        moved: dict[int, Line] = {}
        for _, lines in groupby(due, lambda line: line.policy):
            for line in lines:
                moved[line.id] = self._bring(line, now, made)
            if len(made) >= MANY:
                yield self._written(made, moved)
                made, moved = [], {}
        if moved:
            yield self._written(made, moved)

    def _bring(self, line: Line, now: datetime, made: list[Slot]) -> Line:
        """The line as it is when all that is due now is made."""
        more = True
        while more:
            born = births(line, now)
            made += born.slots
            line, more = replace(line, cursor=born.cursor), born.more
        if born.next_due is not None:
            heapq.heappush(self._heap, (born.next_due, line.id))
        return line

    def _written(self, made: Sequence[Slot], moved: dict[int, Line]) -> tuple[Slot, ...]:
        self._ledger.born(made, {number: line.cursor for number, line in moved.items()})
        self._lines.update(moved)
        self.newest = max([line.cursor for line in moved.values()] + ([self.newest] if self.newest else []))
        return tuple(made)

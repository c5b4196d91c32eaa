"""The lines in force, and what of theirs is due: rows are written when moments come, and every edit ends a line."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from jobs.agenda import births, changes, next_due
from jobs.policy import Policy
from jobs.slot import Line, Slot
from orchestrator.ledger.ledger import Ledger


class Calendar:
    """What is due next, of all lines. Nothing here is believed that the ledger does not hold."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lines: dict[int, Line] = {}
        self._heap: list[tuple[datetime, int]] = []
        self.newest: datetime | None = None  # the newest moment that any line in force was brought to

    def __len__(self) -> int:
        return len(self._lines)

    def settle(self, policies: Sequence[Policy], now: datetime) -> tuple[Slot, ...]:
        """Take over the settings as of now. What was due until now was due under the settings before.

        Gives the slots that this made. Raises LedgerError; then nothing has changed.
        """
        self._load(self._ledger.lines_in_force())
        made = self.born(now)
        wanted = changes(tuple(self._lines.values()), policies, now)
        if wanted.cursors:
            self._ledger.born(wanted.slots, wanted.cursors)
        if wanted.ended or wanted.begun:
            self._ledger.put_lines(wanted.ended, wanted.begun)
            self._load(self._ledger.lines_in_force())
        return (*made, *wanted.slots)

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

    def born(self, now: datetime) -> tuple[Slot, ...]:
        """Write down everything that has become due; give the new slots. Raises LedgerError: nothing is due yet."""
        made: list[Slot] = []
        moved: dict[int, Line] = {}
        while self._heap and self._heap[0][0] <= now:
            _, number = heapq.heappop(self._heap)
            line = moved.get(number, self._lines[number])
            born = births(line, now)
            made += born.slots
            moved[number] = replace(line, cursor=born.cursor)
            if born.next_due is not None:
                heapq.heappush(self._heap, (born.next_due, number))
        if moved:
            self._write(made, moved)
        return tuple(made)

    def _write(self, made: Sequence[Slot], moved: dict[int, Line]) -> None:
        try:
            self._ledger.born(made, {number: line.cursor for number, line in moved.items()})
        except BaseException:  # whatever it was: what is not on record is due again
            self._load(tuple(self._lines.values()))
            raise
        self._lines.update(moved)
        self.newest = max([line.cursor for line in moved.values()] + ([self.newest] if self.newest else []))

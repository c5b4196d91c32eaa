"""Once a day the ledger is tidied: what is old enough is sealed, seals are proven, and what is no longer kept goes.

In small transactions with pauses between them, so that nobody waits for it: the loop's beat least of all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from jobs.event import Topic, of_service
from jobs.quantity import counted
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger

_DAY: Final = timedelta(days=1)
_SETTLED: Final = 2 * _DAY  # slots of moments so long ago have mostly ended
# Whoever looks up what was told a year ago, a month late, still finds it. What became of a notice is kept for longer.
BODIES: Final = timedelta(days=400)
_PARTS: Final = 30  # seals are proven a part a day, so each once a month
_LINES: Final = 10  # in one transaction, where all their slots are counted
_ROWS: Final = 100
_SHARE: Final = 3.0  # a pause is so many times as long as what it comes after: a quarter of the time at most

_NAMES: Final = (
    ("slots", "slot"),
    ("runs", "run"),
    ("points", "restore point"),
    ("events", "event"),
    ("notices", "notice"),
)


class Housekeeping:
    """Keeps a ledger. Belongs to one thread."""

    def __init__(self, ledger: Ledger, clock: Clock, pause: Callable[[float], bool]) -> None:
        """`pause` waits for so many seconds and says whether to stop."""
        self._ledger, self._clock, self._pause = ledger, clock, pause
        self._done: datetime | None = None  # the day that was seen to
        self.removed: Counter[str] = Counter()

    def step(self, keep: timedelta) -> None:
        """See to the ledger, once a day of UTC. Raises LedgerError; then it is begun again."""
        now = self._clock.now()
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if self._done is not None and today <= self._done:
            return
        self.removed = Counter()
        for _ in self._work(today, today - keep):
            if self._pause(0.0):
                break
        else:
            self._done = today
        self._tell(today - keep)

    def _work(self, today: datetime, before: datetime) -> Iterator[None]:
        """A day's work, piece by piece."""
        yield from self._paced(self._seal(today - _SETTLED))
        yield from self._paced(self._prove(today))
        yield from self._paced(self._remove(today, before))

    def _paced(self, work: Iterator[None]) -> Iterator[None]:
        began = self._clock.monotonic()
        for _ in work:
            took = self._clock.monotonic() - began
            if self._pause(_SHARE * took):
                return
            yield
            began = self._clock.monotonic()

    def _seal(self, bound: datetime) -> Iterator[None]:
        after: int | None = 0
        while after is not None:
            after = self._ledger.seal(bound, after, _LINES)
            yield

    def _prove(self, today: datetime) -> Iterator[None]:
        part = (today - datetime(1970, 1, 1, tzinfo=UTC)) // _DAY % _PARTS
        after: int | None = 0
        while after is not None:
            after, broken = self._ledger.reseal(part, _PARTS, after, _LINES)
            if broken:
                text = (
                    f"The slots of {counted(len(broken), 'line')} (the first is number {broken[0]}) are not those that"
                    " were counted before: the ledger was changed by other means. They are counted row by row again by"
                    " tandem slots."
                )
                self._event(Topic.INTERNAL, text, key="ledger/seals")
            yield

    def _remove(self, today: datetime, before: datetime) -> Iterator[None]:
        yield from self._remove_slots(before)
        ledger = self._ledger
        yield from self._until_none("points", lambda: ledger.remove_points(before, _ROWS))
        kept = ledger.judged_at(before)
        place: tuple[int, str] | None = (-1, "")
        while place is not None:
            many, place = ledger.remove_runs(before, kept, place, _ROWS)
            self.removed["runs"] += many
            yield
        yield from self._until_none("events", lambda: ledger.remove_events(before, _ROWS))
        yield from self._until_none("notices", lambda: ledger.remove_notices(before, _ROWS))
        yield from self._until_none("bodies", lambda: ledger.empty_notices(today - BODIES, _ROWS))

    def _remove_slots(self, before: datetime) -> Iterator[None]:
        """Day by day, the oldest first."""
        day = datetime(1970, 1, 1, tzinfo=UTC)
        while (first := self._ledger.first_slots_due(day)) is not None and first < before:
            day = first.replace(hour=0, minute=0, second=0, microsecond=0) + _DAY
            until = min(day, before)
            yield from self._until_none("slots", partial(self._ledger.remove_slots, first, until, _ROWS))

    def _until_none(self, name: str, remove: Callable[[], int]) -> Iterator[None]:
        while many := remove():
            self.removed[name] += many
            yield

    def _tell(self, before: datetime) -> None:
        told = [counted(many, noun) for name, noun in _NAMES if (many := self.removed[name])]
        if told:
            text = f"Older than {before:%Y-%m-%d} and removed, as [ledger] keep says: {', '.join(told)}."
            self._event(Topic.LEDGER_TRIMMED, text)

    def _event(self, topic: Topic, text: str, *, key: str = "") -> None:
        self._ledger.add_events([of_service(topic, "ledger", text, self._clock.now(), key=key)])

"""What ended in a span of time, so that spans that follow each other have every slot once.

The time at which a slot ended is not the order in which ends came on record: a run's end waits until the ledger takes
it, and a clock is set back. The event that tells of an end, of its line and of its very instant, has that order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jobs.policy import TenantName
from jobs.slot import SlotState
from orchestrator.ledger.codec import micros, moment_or_none
from orchestrator.ledger.room import Room

_END: Final = "(closed_at, policy || '/' || job || '/' || vault)"
_ENDED: Final = (
    "SELECT state, count(*) AS many FROM slot WHERE (closed_at >= :since AND closed_at < :until OR"  # noqa: S608 (constants)
    f' {_END} IN (SELECT at, "key" FROM event WHERE id > :after AND id <= :through AND at < :since))'
    f' AND {_END} NOT IN (SELECT at, "key" FROM event WHERE id > :through)'
)
_OPEN: Final = "SELECT count(*) AS many, min(due) AS oldest FROM slot WHERE closed_at IS NULL"


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """How many slots ended, by state; how many are open still, and since when the oldest of them is due."""

    ended: Mapping[SlotState, int]
    still_open: int
    oldest: datetime | None


class Spans(Room):
    """What is counted between one moment and the next."""

    def span(
        self,
        since: datetime,
        until: datetime,
        *,
        after: int,
        through: int,
        tenants: Collection[TenantName] | None = None,
    ) -> Span:
        """What ended at `since` or later and before `until`, as far as events up to number `through` tell of it.

        With it comes what had ended before, and of which no event up to number `after` told.
        """
        bounds = {"since": micros(since), "until": micros(until), "after": after, "through": through}
        names = {} if tenants is None else {f"tenant{number}": name for number, name in enumerate(sorted(tenants))}
        whose = "" if tenants is None else f" AND tenant IN ({', '.join(f':{name}' for name in names) or 'NULL'})"
        with self._database.reading("read") as transaction:
            ended = transaction.rows(f"{_ENDED}{whose} GROUP BY state", {**bounds, **names})
            (standing,) = transaction.rows(f"{_OPEN}{whose}", names)
        return Span(
            ended={SlotState(row["state"]): int(row["many"]) for row in ended},
            still_open=int(standing["many"]),
            oldest=moment_or_none(standing["oldest"]),
        )

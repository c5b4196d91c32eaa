"""When a job is due: a schedule's text, and the moments it means, the same for everybody whatever the clock does.

An occurrence depends on nothing but the schedule, the zone and the one before it: neither on when one asks nor on
which machine, so that a restart, a clock step or a second scheduler comes to the same list and the same keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Schedule:
    """A rule such as `daily at 01:30`, `weekly on sun at 03:00`, `monthly on 1 at 04:00`, `every 4h`,
    `cron 30 1 * * mon-fri`. `text` is canonical: two spellings of one rule are equal. Raises ValueError.
    """

    text: str

    @property
    def after(self) -> str | None:
        """The job whose slots these are chained to (`after backup`); None for a schedule with moments of its own."""
        return self.text.removeprefix("after ") if self.text.startswith("after ") else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Occurrence:
    """One due moment. `at` is aware UTC; `key` names it within its schedule: a local wall time for a fixed hour
    (`L2026-10-25T02:30`), so that a night with two half past twos has one of them; else the instant (`U…Z`)."""

    at: datetime
    key: str


def occurrences(schedule: Schedule, zone: str, after: datetime, until: datetime) -> Iterator[Occurrence]:
    """The due moments later than `after` and not later than `until`, in order; each once."""
    raise NotImplementedError


def next_after(schedule: Schedule, zone: str, after: datetime) -> Occurrence | None:
    """The first due moment later than `after`; None where there will never be one (`cron 0 0 30 2 *`)."""
    raise NotImplementedError


def splay(identity: str, key: str, most: timedelta) -> timedelta:
    """How much later than its moment this one is due: less than `most`, the same on every machine."""
    raise NotImplementedError

"""How fast a vault fills, by what backups stored in it, and how long its free space lasts at that rate.

Retention gives space back, so the rate is an upper bound. A policy's first backup stores its whole source and is no
growth: the oldest of the runs looked at is left out where at least half of what it read was new.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from jobs.history import BackupResult, Job, RunRecord
from jobs.policy import Policy, VaultName

SPAN: Final = timedelta(days=30)  # how far back one looks
ENOUGH: Final = timedelta(days=7)  # less room than for that is an alarm
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """Bytes that were stored anew each day, over so long a time."""

    bytes_a_day: float
    over: timedelta

    def lasts(self, free: int) -> timedelta | None:
        """How long `free` bytes last at this rate; None where nothing grows, or longer than a century."""
        days = free / self.bytes_a_day if self.bytes_a_day > 0 else float("inf")
        return None if days > 36_500 else timedelta(days=days)


def growth(runs: Iterable[RunRecord], policies: Sequence[Policy], vaults: Iterable[VaultName], now: datetime) -> Growth:
    """What the backups of the last 30 days have added to vaults that share one disk, copies included."""
    wanted = frozenset(vaults)
    copies = {policy.name: sum(vault in wanted for _, vault in policy.places) for policy in policies}
    recent = [
        run
        for run in sorted(runs, key=lambda run: (run.started_at, run.id))
        if run.job is Job.BACKUP and copies.get(run.policy) and now - SPAN <= run.started_at <= now
    ]
    added = 0
    seen: set[str] = set()
    for run in recent:
        if isinstance(run.result, BackupResult):
            is_first = run.policy not in seen and run.result.bytes_added * 2 >= run.result.bytes
            added += 0 if is_first else run.result.bytes_added * copies[run.policy]
            seen.add(run.policy)
    over = max(_DAY, now - recent[0].started_at) if recent else _DAY
    return Growth(bytes_a_day=added / (over / _DAY), over=over)

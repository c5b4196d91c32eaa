"""How fast a vault fills, by what backups stored in it, and how long its free space lasts at that rate.

Retention gives space back, so the rate is an upper bound. A policy's first backup stores its whole source and is no
growth: the oldest of the runs looked at is left out where at least half of what it read was new.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from jobs.policy import Policy, PolicyName, VaultName

SPAN: Final = timedelta(days=30)  # how far back one looks
RECKONED: Final = 30_000  # backups at most: of very many policies a few days are enough
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """One backup that went well: when it began, the bytes that it read, and those of them that were new."""

    policy: PolicyName
    at: datetime
    bytes: int
    added: int


def growth(backups: Iterable[Stored], policies: Sequence[Policy], vaults: Iterable[VaultName], now: datetime) -> Growth:
    """What the backups of the last 30 days have added to vaults that share one disk, copies included."""
    wanted = frozenset(vaults)
    copies = {policy.name: sum(vault in wanted for _, vault in policy.places) for policy in policies}
    recent = [
        backup
        for backup in sorted(backups, key=lambda backup: backup.at)
        if copies.get(backup.policy) and now - SPAN <= backup.at <= now
    ]
    added = 0
    seen: set[str] = set()
    for backup in recent:
        is_first = backup.policy not in seen and backup.added * 2 >= backup.bytes
        added += 0 if is_first else backup.added * copies[backup.policy]
        seen.add(backup.policy)
    over = max(_DAY, now - recent[0].at) if recent else _DAY
    return Growth(bytes_a_day=added / (over / _DAY), over=over)

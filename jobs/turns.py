"""Whose turn it is among those that are ready: repositories first, then who waited too long, then limits.

restic's locks make a repository a room that is shared by many or taken by one. Who is urgent goes first; but who has
been ready for a quarter of an hour is not overtaken any more by whom it cannot share the room with. Who would do so
goes behind it, and lends it its place in the order: else a retention would wait for ever beside busy backups, or they
for it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from jobs.claim import AGAINST, HOLDS, Hold, Holders, Repository, Work, repositories
from jobs.history import Job, RunRecord
from jobs.moves import Concurrency
from jobs.planner import most_asked
from jobs.policy import SiteName, VaultName
from jobs.ruling import Ready
from jobs.slot import Slot, Why, WhyKind

PATIENCE: Final = timedelta(minutes=15)

Running = RunRecord | Slot
Counted = tuple[str, str]  # a limit's name, and the site, vault or host that it is counted at

# Every source is on this machine: its one host.
_HOST: Final = "this host"
_ALL: Final[Counted] = ("runs", "")
_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why one that is ready does not start. `behind` is the one whose turn it is first; `by` is what has to end: a
    run's or a slot's id, or what is counted."""

    why: Why
    by: str | Counted
    behind: Ready | None = None


class Turns:
    """Who is running, who is ready, and what keeps one of them from starting."""

    def __init__(self, limits: Concurrency, under_way: Iterable[RunRecord]) -> None:
        self._most = {"runs": limits.runs, "site": limits.per_site, "vault": limits.per_vault, "host": limits.per_host}
        self._runs = limits.runs
        self._holders = Holders()
        self._count: dict[Counted, int] = {_ALL: 0}
        self._ready: dict[str, Ready] = {}
        self._queues: dict[tuple[Repository, Hold], list[tuple[datetime, str]]] = {}
        self._checks: dict[Repository, dict[str, Ready]] = {}
        for run in sorted(under_way, key=lambda run: (run.started_at, run.id)):
            self.begins(run)

    def begins(self, work: Running) -> None:
        """It is running from now on."""
        self._holders.add(work)
        for counted in _counted(work.job, work.site, work.vault, work.source_vault):
            self._count[counted] = self._count.get(counted, 0) + 1

    def ends(self, work: Running) -> tuple[Counted, ...]:
        """It runs no more; gives what there is room for again. It must be the object that began."""
        self._holders.remove(work)
        room = _counted(work.job, work.site, work.vault, work.source_vault)
        for counted in room:
            self._count[counted] -= 1
        return room

    @property
    def full(self) -> bool:
        """Whether nothing can start before a run ends."""
        return self._count[_ALL] >= self._runs

    def enter(self, ready: Ready) -> None:
        """It waits for its turn from now on."""
        slot = ready.slot
        self._ready[slot.id] = ready
        for repository in repositories(slot):
            queue = self._queues.setdefault((repository, HOLDS[slot.job]), [])
            heapq.heappush(queue, (ready.since, slot.id))
        if slot.job is Job.CHECK:
            self._checks.setdefault((slot.tenant, slot.vault), {})[slot.id] = ready

    def leave(self, slot: Slot) -> None:
        """It starts, or ends, or has to wait for something else."""
        if self._ready.pop(slot.id, None) is not None and slot.job is Job.CHECK:
            del self._checks[slot.tenant, slot.vault][slot.id]

    def obstacle(self, ready: Ready, now: datetime) -> Obstacle | None:
        """What keeps it from starting now; None where nothing does."""
        first = self._overtaken(ready, now)
        holder = self._holders.in_the_way(ready.slot)
        if holder is not None:
            why = Why(kind=WhyKind.HELD, text=_held_by(holder), other=holder.id)
            return Obstacle(why, holder.id if first is None else first.slot.id, first)
        if first is not None:
            other = first.slot.id
            return Obstacle(Why(kind=WhyKind.HELD, text=f"{other} waits longer", other=other), other, first)
        return self._limit(ready.slot)

    def checks_of(self, repository: Repository) -> tuple[Slot, ...]:
        """The checks of a repository that wait for their turn."""
        return tuple(ready.slot for ready in self._checks.get(repository, {}).values())

    def read_data(self, slot: Slot) -> str:
        """The share of the data that a check must read so that it serves all who wait for one of this repository."""
        waiting = self._checks[slot.tenant, slot.vault].values()
        return most_asked(each.policy.read_data for each in sorted(waiting, key=lambda each: each.rank))

    def _overtaken(self, ready: Ready, now: datetime) -> Ready | None:
        """The one that has been ready for longest, too long, of those that this one would overtake."""
        earliest: Ready | None = None
        for repository in repositories(ready.slot):
            for hold in AGAINST[HOLDS[ready.slot.job]]:
                first = self._first(repository, hold)
                if first is not None and (earliest is None or _order(first) < _order(earliest)):
                    earliest = first
        is_overtaken = earliest is not None and earliest.since < ready.since and now - earliest.since > PATIENCE
        return earliest if is_overtaken else None

    def _first(self, repository: Repository, hold: Hold) -> Ready | None:
        queue = self._queues.get((repository, hold))
        while queue:
            since, slot_id = queue[0]
            ready = self._ready.get(slot_id)
            if ready is not None and ready.since == since:
                return ready
            heapq.heappop(queue)
        return None

    def _limit(self, slot: Slot) -> Obstacle | None:
        for counted in _counted(slot.job, slot.site, slot.vault, slot.source_vault):
            most = self._most[counted[0]]
            if most is not None and self._count.get(counted, 0) >= most:
                words = f"{most} runs are under way, as many as are allowed{_at(counted)}"
                return Obstacle(Why(kind=WhyKind.LIMIT, text=words), counted)
        return None


def _order(ready: Ready) -> tuple[datetime, str]:
    return ready.since, ready.slot.id


@lru_cache(maxsize=_REMEMBERED)
def _counted(job: Job, site: SiteName, vault: VaultName, source: VaultName | None) -> tuple[Counted, ...]:
    """What a run counts for."""
    vaults = (vault,) if source is None else (vault, source)
    hosts = (_HOST,) if job is Job.BACKUP else ()
    return (_ALL, ("site", site), *(("vault", each) for each in vaults), *(("host", host) for host in hosts))


def _held_by(holder: Work) -> str:
    return f"{holder.job} of {holder.policy} at {holder.vault} ({holder.id}) holds the repository"


def _at(counted: Counted) -> str:
    kind, name = counted
    return f" at {kind} {name}" if name else ""

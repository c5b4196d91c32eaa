"""Whose turn it is among those that are ready: repositories first, then who has waited too long, then limits.

restic's locks make a repository a room that is shared by many or taken by one. Who is urgent goes first; but the one
that has been ready for longest, for a quarter of an hour, is not overtaken any more by whom it cannot share the room
with. Who would do so waits behind it, and lends it its place in the order: else a retention would wait for ever beside
busy backups, or they for it.

Everything here takes constant time, or a heap's, so that ten thousand may wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from jobs.claim import AGAINST, HOLDS, Hold, Holders, Repository, Work, repositories
from jobs.history import OF_REPOSITORY, Job, RunRecord
from jobs.moves import Concurrency
from jobs.planner import most_asked
from jobs.policy import Policy, SiteName, TenantName, VaultName
from jobs.ruling import Rank, Ready
from jobs.slot import Slot, Why, WhyKind

PATIENCE: Final = timedelta(minutes=15)

Running = RunRecord | Slot
Counted = tuple[str, str]  # a limit's name, and the site, vault or host that it is counted at

# Every source is on this machine: its one host.
_HOST: Final = "this host"
_ALL: Final[Counted] = ("runs", "")
# Reports take no turn from a backup and wait for none; each reads all of the ledger, so there is one at a time.
_REPORTS: Final[Counted] = ("reports", "")
_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why one that is ready does not start; `by` is what has to end first: a run's or a slot's id, or what counts."""

    why: Why
    by: str | Counted


class _Room:
    """Those who are ready and want one repository in one way: who has been so for longest, and who is most urgent."""

    def __init__(self) -> None:
        # Who has left is dropped when it comes to the top: to search a heap would take longer, the more wait.
        self._by_age: list[tuple[datetime, str]] = []
        self._by_rank: list[tuple[Rank, str]] = []

    def add(self, ready: Ready, *, is_new: bool) -> None:
        if is_new:
            heapq.heappush(self._by_age, (ready.since, ready.slot.id))
        heapq.heappush(self._by_rank, (ready.rank, ready.slot.id))

    def first(self, known: dict[str, Ready]) -> Ready | None:
        while self._by_age:
            since, slot_id = self._by_age[0]
            ready = known.get(slot_id)
            if ready is not None and ready.since == since:
                return ready
            heapq.heappop(self._by_age)
        return None

    def most_urgent(self, known: dict[str, Ready]) -> Ready | None:
        while self._by_rank:
            rank, slot_id = self._by_rank[0]
            ready = known.get(slot_id)
            if ready is not None and ready.rank == rank:
                return ready
            heapq.heappop(self._by_rank)
        return None


@dataclass(frozen=True, slots=True)
class _Doors:
    """The rooms that a slot wants, those that it cannot share them with, and which of these goes with which."""

    own: tuple[_Room, ...]
    against: tuple[_Room, ...]
    pairs: tuple[tuple[_Room, _Room], ...]


class Turns:
    """Who is running, who is ready, and who of them starts next."""

    def __init__(self, limits: Concurrency, under_way: Iterable[RunRecord], dead: Collection[str] = ()) -> None:
        """Begin with what is under way. The `dead` of it hold what they hold, and take no place in the limits.

        Until their vault can be asked again may be a day; as many as the limits allow would stop all other vaults too.
        """
        self._dead = frozenset(dead)
        self._most = {"runs": limits.runs, "site": limits.per_site, "vault": limits.per_vault, "host": limits.per_host}
        self._most[_REPORTS[0]] = 1
        self._holders = Holders()
        self._count: dict[Counted, int] = {_ALL: 0, _REPORTS: 0}
        self._ready: dict[str, Ready] = {}
        self._rooms: dict[tuple[Repository, Hold], _Room] = {}
        self._doors: dict[tuple[TenantName, Hold, VaultName, VaultName | None], _Doors] = {}
        self._proofs: dict[tuple[Job, Repository], dict[str, Ready]] = {}  # audits and checks
        self._queues: dict[Counted, list[tuple[Rank, str]]] = {_ALL: [], _REPORTS: []}
        self._kept: dict[str, Obstacle] = {}  # who is not asked again before something ends
        self._keeps: dict[str | Counted, list[str]] = {}
        for run in sorted(under_way, key=lambda run: (run.started_at, run.id)):
            self.begins(run)

    # --- who runs ----------------------------------------------------------------------------------------------

    def begins(self, work: Running) -> None:
        """It is running from now on."""
        self._holders.add(work)
        for counted in self._places(work):
            self._count[counted] = self._count.get(counted, 0) + 1

    def ends(self, work: Running, now: datetime) -> None:
        """It runs no more. It must be the object that began."""
        self._holders.remove(work)
        for counted in self._places(work):
            self._count[counted] -= 1
            self._free(counted, now)
        self._free(work.id, now)

    def _places(self, work: Running) -> tuple[Counted, ...]:
        return () if work.id in self._dead else _counted(work.job, work.site, work.vault, work.source_vault)

    # --- who is ready ------------------------------------------------------------------------------------------

    def enter(self, ready: Ready, now: datetime) -> None:
        """It waits for its turn from now on; or still does, and is more or less urgent."""
        slot = ready.slot
        before = self._ready.get(slot.id)
        is_new = before is None or before.since != ready.since  # it had another's place, or has it now
        self._ready[slot.id] = ready
        doors = self._doors_of(slot)
        for room in doors.own:
            room.add(ready, is_new=is_new)
        if slot.job in OF_REPOSITORY:
            self._proofs.setdefault((slot.job, (slot.tenant, slot.vault)), {})[slot.id] = ready
        self._push(ready, now)
        self._push_firsts(doors.against, now)  # it may lend them its place

    def leave(self, slot: Slot, now: datetime) -> None:
        """It starts, or ends, or has to wait for something else."""
        if self._ready.pop(slot.id, None) is None:
            return
        self._kept.pop(slot.id, None)
        if slot.job in OF_REPOSITORY:
            del self._proofs[slot.job, (slot.tenant, slot.vault)][slot.id]
        self._free(slot.id, now)
        doors = self._doors_of(slot)
        for rooms in (doors.own, doors.against):
            self._push_firsts(rooms, now)  # another is the first now, or another lends it its place

    def waits_longer(self, slot: Slot, now: datetime) -> None:
        """Its patience may have ended since it was asked."""
        ready = self._ready.get(slot.id)
        if ready is not None:
            self._push(ready, now)

    def why(self, slot: Slot) -> Why | None:
        """Why it did not start when it was asked last."""
        kept = self._kept.get(slot.id)
        return None if kept is None else kept.why

    def proofs_of(self, job: Job, repository: Repository) -> tuple[Slot, ...]:
        """The checks (or the audits) of a repository that wait for their turn."""
        return tuple(ready.slot for ready in self._proofs.get((job, repository), {}).values())

    def read_data(self, slot: Slot) -> str:
        """The share of the data that a check must read so that it serves all who wait for one of this repository."""
        waiting = self._proofs[slot.job, (slot.tenant, slot.vault)].values()
        policies = (each.policy for each in sorted(waiting, key=lambda each: each.rank))
        return most_asked(policy.read_data for policy in policies if isinstance(policy, Policy))

    # --- whose turn it is --------------------------------------------------------------------------------------

    def next(self, now: datetime) -> Ready | None:
        """The one that starts now; None when there is none. Whoever starts it says so (`leave`, then `begins`)."""
        return self._next_of(_REPORTS, now) or self._next_of(_ALL, now)

    def _next_of(self, counted: Counted, now: datetime) -> Ready | None:
        queue, most = self._queues[counted], self._most[counted[0]]
        while queue and (most is None or self._count[counted] < most):
            place, slot_id = heapq.heappop(queue)
            ready = self._ready.get(slot_id)
            # It has left; or it is kept, and `_free` puts it back when what keeps it has ended.
            if ready is None or slot_id in self._kept:
                continue
            if place != self._place(ready, now):  # out of date
                self._push(ready, now)
                continue
            obstacle = self.obstacle(ready, now)
            if obstacle is None:
                return ready
            self._kept[slot_id] = obstacle
            self._keeps.setdefault(obstacle.by, []).append(slot_id)
        return None

    def obstacle(self, ready: Ready, now: datetime) -> Obstacle | None:
        """What keeps it from starting now; None where nothing does."""
        holder = self._holders.in_the_way(ready.slot)
        if holder is not None:
            return Obstacle(Why(kind=WhyKind.HELD, text=_held_by(holder), other=holder.id), holder.id)
        for room in self._doors_of(ready.slot).against:
            first = room.first(self._ready)
            if first is not None and first.since < ready.since and now - first.since >= PATIENCE:
                other = first.slot.id
                return Obstacle(Why(kind=WhyKind.HELD, text=f"{other} has waited longer", other=other), other)
        return self._limit(ready.slot)

    def _push(self, ready: Ready, now: datetime) -> None:
        if ready.slot.id not in self._kept:
            queue = self._queues[_REPORTS if ready.slot.job is Job.REPORT else _ALL]
            heapq.heappush(queue, (self._place(ready, now), ready.slot.id))

    def _place(self, ready: Ready, now: datetime) -> Rank:
        """Its own rank; or that of the most urgent one who must not overtake it, where it is the first in its room."""
        place = ready.rank
        if now - ready.since < PATIENCE:
            return place
        for own, opposite in self._doors_of(ready.slot).pairs:
            urgent = opposite.most_urgent(self._ready)
            if urgent is not None and urgent.since > ready.since and own.first(self._ready) is ready:
                place = min(place, urgent.rank)
        return place

    def _push_firsts(self, rooms: Iterable[_Room], now: datetime) -> None:
        """Those who have a place that is not their own: the first in a room, when they have waited too long."""
        for room in rooms:
            first = room.first(self._ready)
            if first is not None and now - first.since >= PATIENCE:
                self._push(first, now)

    def _doors_of(self, slot: Slot) -> _Doors:
        hold = HOLDS[slot.job]
        key = (slot.tenant, hold, slot.vault, slot.source_vault)
        doors = self._doors.get(key)
        if doors is None:
            wanted = sorted(repositories(slot))
            pairs = tuple(
                (self._room(each, hold), self._room(each, other)) for each in wanted for other in AGAINST[hold]
            )
            doors = _Doors(
                own=tuple(self._room(each, hold) for each in wanted),
                against=tuple(opposite for _, opposite in pairs),
                pairs=pairs,
            )
            self._doors[key] = doors
        return doors

    def _room(self, repository: Repository, hold: Hold) -> _Room:
        return self._rooms.setdefault((repository, hold), _Room())

    def _limit(self, slot: Slot) -> Obstacle | None:
        for counted in _counted(slot.job, slot.site, slot.vault, slot.source_vault):
            most = self._most[counted[0]]
            if most is not None and self._count.get(counted, 0) >= most:
                words = f"as many runs are under way as are allowed{_at(counted)}: {most}"
                words = "another report is being made" if counted == _REPORTS else words
                return Obstacle(Why(kind=WhyKind.LIMIT, text=words), counted)
        return None

    def _free(self, keeper: str | Counted, now: datetime) -> None:
        """What it kept from starting is asked again."""
        for slot_id in self._keeps.pop(keeper, ()):
            if self._kept.pop(slot_id, None) is not None:
                self._push(self._ready[slot_id], now)


@lru_cache(maxsize=_REMEMBERED)
def _counted(job: Job, site: SiteName, vault: VaultName, source: VaultName | None) -> tuple[Counted, ...]:
    """What a run counts for."""
    if job is Job.REPORT:
        return (_REPORTS,)
    vaults = (vault,) if source is None else (vault, source)
    hosts = (_HOST,) if job is Job.BACKUP else ()
    return (_ALL, ("site", site), *(("vault", each) for each in vaults), *(("host", host) for host in hosts))


def _held_by(holder: Work) -> str:
    if holder.job is Job.REPORT:
        return f"{holder.job} {holder.policy} is being made ({holder.id})"
    return f"{holder.job} of {holder.policy} at {holder.vault} ({holder.id}) holds the repository"


def _at(counted: Counted) -> str:
    kind, name = counted
    return f" at {kind} {name}" if name else ""

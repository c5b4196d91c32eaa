"""The locks that stand in the repositories: judged by what is seen here and known to the ledger, removed one by one.

restic can remove all locks that it holds for stale, and no single one. So a lock whose maker is proven to be gone is
deleted from the vault by its name, looked at once more just before, and on record before and after.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from jobs.event import SEVERITIES, Event, Topic
from jobs.failure import Failure
from jobs.history import RunRecord
from jobs.lock import Judged, Lock, judge, made_by, tie, undated
from jobs.policy import TenantName, VaultName
from orchestrator.work import repositories
from orchestrator.work.tools import Tools
from targets.errors import TargetError
from targets.host import here, is_alive, processes_numbered
from targets.ports import FileKind, FileRef, Store
from targets.process import Never

Repository = tuple[TenantName, VaultName]
Ended = Mapping[str, Collection[int]]  # by the run's id: the ids of the processes that it waited for

_NONE: Final[Ended] = MappingProxyType({})
_LONGEST_RUN: Final = timedelta(days=14)  # before a lock's time: no run that began earlier still refreshed it


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """The locks of some repositories, and which of these could not be asked."""

    locks: tuple[Judged, ...]
    unasked: tuple[tuple[Repository, Failure], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """What became of one lock that was to be removed. `why_not` is empty where it is gone."""

    judged: Judged
    why_not: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleared:
    """What was removed of some repositories' locks, and what stands there still."""

    removed: tuple[Judged, ...]
    left: tuple[Judged, ...]

    @property
    def words(self) -> str:
        """What was removed, for the record of the run that wanted it; empty where nothing was."""
        return "; ".join(
            f"removed the {each.kind} lock {each.lock.id[:8]} of PID {each.lock.pid} from {each.tenant}@{each.vault}"
            for each in self.removed
        )


def survey(tools: Tools, of: Iterable[Repository]) -> Survey:
    """Every lock of these repositories. One that cannot be asked is named, and hides no other. Raises LedgerError."""
    found: list[Judged] = []
    unasked: list[tuple[Repository, Failure]] = []
    for repository in of:
        try:
            found += _judged_in(tools, repository)
        except TargetError as error:
            unasked.append((repository, error.failure))
    return Survey(locks=tuple(found), unasked=tuple(unasked))


def _judged_in(tools: Tools, repository: Repository, ended: Ended = _NONE) -> list[Judged]:
    return [_judged(tools, repository, lock, ended) for lock in _locks(tools, repository)]


def _locks(tools: Tools, repository: Repository) -> tuple[Lock, ...]:
    """Asked of restic only where files lie that may be locks: it takes half a second to open a repository."""
    with repositories.opened_store(tools, *repository) as store:
        if not any(True for _ in store.files(FileKind.LOCKS)):
            return ()
    return tools.engine.locks(repositories.access(tools, *repository), stop=tools.stop)


def _judged(tools: Tools, repository: Repository, lock: Lock, ended: Ended) -> Judged:
    """What is known of it now. The runs first, then the processes: who began in between is seen all the same."""
    runs = _made_by(tools, repository, lock)
    ties = [tie(run, lock, over=run.id in ended or _is_over(run), waited_for=ended.get(run.id, ())) for run in runs]
    now = tools.clock.wall()  # by which restic dates its lock, believed or not
    judged = judge(repository, lock, here(), processes_numbered(lock.pid, now), ties, now)
    return undated(judged) if tools.clock.is_doubted else judged


def _made_by(tools: Tools, repository: Repository, lock: Lock) -> tuple[RunRecord, ...]:
    if lock.time is None:
        return ()
    until = lock.time + timedelta(microseconds=1)
    runs = tools.ledger.runs(tenant=repository[0], since=lock.time - _LONGEST_RUN, until=until)
    return made_by(lock, *repository, runs)


def _is_over(run: RunRecord) -> bool:
    return run.finished_at is not None or is_alive(run.owner) is False


def remove(tools: Tools, judged: Iterable[Judged], reason: str, *, ended: Ended = _NONE) -> tuple[Removal, ...]:
    """Remove what is proven to be dead or orphaned, each by its name, each on record. Raises LedgerError.

    `reason` ends the sentence "the lock was removed, …". `ended` are runs of ours of which no process is left, though
    the ledger does not know it yet, each with the ids of its children that were waited for.
    """
    return tuple(_removed(tools, each, reason, ended) for each in judged if each.removable)


def clear(tools: Tools, of: Iterable[Repository], reason: str, *, ended: Ended = _NONE) -> Cleared:
    """Remove what is proven dead from these repositories, as `remove` does; also for a run that is to stop.

    Raises TargetError where one cannot be asked, and LedgerError: what cannot be put on record is not removed.
    """
    tools = replace(tools, stop=Never())
    found = [judged for repository in sorted(of) for judged in _judged_in(tools, repository, ended)]
    gone = {each.judged.lock.id for each in remove(tools, found, reason, ended=ended) if not each.why_not}
    return Cleared(
        removed=tuple(each for each in found if each.lock.id in gone),
        left=tuple(each for each in found if each.lock.id not in gone),
    )


def _removed(tools: Tools, judged: Judged, reason: str, ended: Ended) -> Removal:
    repository = (judged.tenant, judged.vault)
    try:
        with repositories.opened_store(tools, *repository) as store:
            if why_not := _no_longer_so(tools, judged, store, ended):
                return Removal(judged=judged, why_not=why_not)
            tools.ledger.add_events([_told(tools, judged, f"is being removed, {reason}")])
            store.delete(_file(judged.lock))
            is_there = store.size(_file(judged.lock)) is not None
    except TargetError as error:
        tools.ledger.add_events([_told(tools, judged, f"was not removed: {error.failure.message}")])
        return Removal(judged=judged, why_not=error.failure.message)
    if is_there:
        tools.ledger.add_events([_told(tools, judged, "is still there: the vault did not let it go")])
        return Removal(judged=judged, why_not="the vault did not let it go")
    tools.ledger.add_events([_told(tools, judged, f"was removed, {reason}")])
    return Removal(judged=judged)


def _no_longer_so(tools: Tools, judged: Judged, store: Store, ended: Ended) -> str:
    """Why it is not to be removed after all. A lock's name is the hash of what it says: it cannot have changed."""
    lock = judged.lock
    if store.size(_file(lock)) is None:
        return "it is gone already"
    if hashlib.sha256(b"".join(store.read(_file(lock)))).hexdigest() != lock.id:
        return "its file is not what restic wrote"
    again = _judged(tools, (judged.tenant, judged.vault), lock, ended)
    return "" if again.removable else f"it is {again.kind} by now: {again.why}"


def _file(lock: Lock) -> FileRef:
    return FileRef(FileKind.LOCKS, lock.id)


def _told(tools: Tools, judged: Judged, what: str) -> Event:
    lock = judged.lock
    made = f"made by process {lock.pid} of {lock.user}@{lock.host}"
    return Event(
        at=tools.clock.now(),
        topic=Topic.LOCK_REMOVED,
        severity=SEVERITIES[Topic.LOCK_REMOVED],
        tenant=judged.tenant,
        subject=f"lock {lock.id[:8]} of repository {judged.tenant}@{judged.vault}",
        text=f"The {judged.kind} lock {lock.id} ({made}; {judged.why}) {what}.",
        key=f"lock/{judged.tenant}/{judged.vault}/{lock.id}",
    )

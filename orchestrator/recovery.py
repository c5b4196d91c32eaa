"""After a crash: every open run whose owner is dead is resolved by asking the repository, never by guessing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from jobs import claim
from jobs.event import Event, of_slot, recovered
from jobs.failure import Failure, FailureKind
from jobs.history import BackupResult, Job, Outcome, RunRecord, RunState
from jobs.policy import PolicyName, TenantName, VaultName
from jobs.retry import SlotEnd, slot_end
from jobs.slot import GOOD, OPEN, Slot, SlotState
from jobs.snapshot import Snapshot
from orchestrator.ledger.ledger import Ledger
from orchestrator.work import locks, marks, points, repositories
from orchestrator.work.restore import staging
from orchestrator.work.tools import Tools, remove_tree
from targets.errors import TargetError
from targets.host import is_alive
from targets.ports import unwatched

Repository = tuple[TenantName, VaultName]
Work = tuple[PolicyName, Job]  # of which one run at a time may be open

_TROUBLE: Final = frozenset({SlotState.FAILED, SlotState.MISSED, SlotState.BLOCKED, SlotState.INTERRUPTED})
_LOOK_BACK: Final = 8  # slots: a line's own last one is among those of its job at all vaults

_UNMADE: Final = {Job.REPORT: "the next one makes it anew"}
_NOTE: Final = "Tandem died, but the repository holds this run's snapshot"

# Folders below the workdir in which a run keeps things of its own, each under the run's id.
_OWN_FOLDERS: Final = ("scratch", "staging", "manifests")


def repositories_of(record: RunRecord) -> frozenset[Repository]:
    """The repositories that a run touches."""
    return claim.repositories(record)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovered:
    """What became of dead owners' runs: `resolved` as they now stand, `still_open` with why nobody could be asked."""

    resolved: tuple[RunRecord, ...]
    still_open: tuple[tuple[RunRecord, TargetError], ...]


def dead_runs(ledger: Ledger) -> tuple[RunRecord, ...]:
    """The open runs whose owner is known to be dead. Of another host's that cannot be known."""
    return tuple(record for record in ledger.open_runs() if is_alive(record.owner) is False)


def recover(
    tools: Tools,
    touching: Iterable[Repository],
    *,
    works: Collection[Work] = (),
    tenants: Collection[TenantName] | None = None,
    lost: Collection[Repository] = (),
) -> Recovered:
    """Resolve the open runs of dead owners of this host that are in the way.

    In the way is what touches the given repositories, and what does one of `works`, wherever: a policy's vault may
    have been another one then. What is in no settings any more (`tenants` are those that are), and what a person gave
    up as `lost`, is not asked. A run of another host is left alone: whether it lives cannot be seen from here. A run
    none of whose repositories can be asked stays open, in the way of its like alone; the next command asks again.
    """
    wanted = frozenset(touching)
    return resolve_each(
        tools,
        (
            record
            for record in dead_runs(tools.ledger)
            if repositories_of(record) & wanted or (record.policy, record.job) in works
        ),
        tenants=tenants,
        lost=lost,
    )


def resolve_each(
    tools: Tools,
    dead: Iterable[RunRecord],
    *,
    tenants: Collection[TenantName] | None = None,
    lost: Collection[Repository] = (),
) -> Recovered:
    """Find out what became of each of these runs, and put it on record together with its slot's."""
    vaults = frozenset(tools.vaults)  # their names: none of them is opened for this

    def unasked(repository: Repository) -> str:
        tenant, vault = repository
        if vault not in vaults:
            return f"vault {vault} is no longer in the settings: nothing could be asked"
        if tenants is not None and tenant not in tenants:
            return f"tenant {tenant} is no longer in the settings: nothing could be asked"
        return f"its repository {tenant}@{vault} was given up" if repository in lost else ""

    resolved, still_open = [], []
    for record in dead:
        try:
            resolved.append(_resolve(record, tools, unasked))
        except TargetError as error:
            still_open.append((record, error))
    return Recovered(resolved=tuple(resolved), still_open=tuple(still_open))


def _resolve(record: RunRecord, tools: Tools, unasked: Callable[[Repository], str]) -> RunRecord:
    touched = sorted(repositories_of(record))
    silent = "; ".join(filter(None, map(unasked, touched)))
    there, told = _freed(record, [each for each in touched if not unasked(each)], tools)
    found = _found(record, tools) if there and record.job is Job.BACKUP else ()
    try:
        if silent or not there:
            outcome = _interrupted(silent or _UNMADE.get(record.job, "it had not yet made its repository"))
        else:
            outcome = _what_became_of(record, found, tools)
        outcome = replace(outcome, note="; ".join(filter(None, (outcome.note, *told))))
    finally:
        _remove_leftovers(record, tools)
    now = tools.clock.now()
    end, events = slot_ending(tools.ledger, record, outcome, now)
    tools.ledger.resolve(record.id, outcome, now, slot_end=end, events=events)
    place = (record.tenant, record.site, record.vault)
    if there and record.job is Job.RETENTION:
        with suppress(TargetError):  # the next listing knows as well what it was to remove
            of = repositories.access(tools, record.tenant, record.vault)
            repositories.note_points(tools, place, record.policy, repositories.ours(tools, of, record.policy))
    if outcome.state is not RunState.INTERRUPTED:
        repositories.note_points(tools, place, record.policy, found, whole_listing=False)
    return replace(
        record, state=outcome.state, finished_at=now, failure=outcome.failure, note=outcome.note, result=outcome.result
    )


def _freed(record: RunRecord, asked: list[Repository], tools: Tools) -> tuple[list[Repository], list[str]]:
    """Free these repositories of its locks, as far as they were ever made: which, and what there is to tell of it.

    Of a copy it is enough that one of the two answers: how it ended hangs on neither, and the one that can be asked is
    not to be held for a day because the other's link is down. A lock that is left there is removed by whoever it
    refuses. Raises TargetError where none answers.
    """
    reason = f"because Tandem died in {record.job} {record.policy} (run {record.id})"
    there, told, away = list[Repository](), list[str](), list[TargetError]()
    for repository in asked:
        try:
            if _was_ever_made(repository, tools):
                repositories.existing(tools, *repository)  # no other repository's locks are ever touched
                told.append(locks.clear(tools, [repository], reason).words)
                there.append(repository)
        except TargetError as error:
            away.append(error)
            told.append(f"{'@'.join(repository)} could not be asked, so a lock may be left there: {error}")
    if away and len(away) == len(asked):
        raise away[0]
    return there, told


def slot_ending(
    ledger: Ledger, record: RunRecord, outcome: Outcome, now: datetime
) -> tuple[SlotEnd | None, tuple[Event, ...]]:
    """What a run's end makes of the slot that it was an attempt at, and what there is to tell of that."""
    slot = ledger.slot(record.slot) if record.slot else None
    if slot is None or slot.state is not SlotState.RUNNING or slot.run != record.id:
        return None, ()
    before = tuple(run for run in reversed(ledger.runs(slot=slot.id)) if run.id != record.id)
    end = slot_end(slot, outcome, record.id, now, before)
    if end.state in OPEN:
        return end, ()
    events = [of_slot(slot, end.state, end.why, now, outcome.failure)]
    if end.state in GOOD and _was_in_trouble(ledger, slot):
        events.append(recovered(slot, now))
    return end, tuple(events)


def _was_in_trouble(ledger: Ledger, slot: Slot) -> bool:
    """Whether the line's last slot that had to run ended badly."""
    before = ledger.slots(policy=slot.policy, job=slot.job, states=GOOD | _TROUBLE, limit=_LOOK_BACK)
    of_line = (each for each in before if each.vault == slot.vault and each.id != slot.id)
    last = next(of_line, None)
    return last is not None and last.state in _TROUBLE


def _was_ever_made(repository: Repository, tools: Tools) -> bool:
    return tools.ledger.repository(*repository) is not None or repositories.is_there(tools, *repository)


def _found(record: RunRecord, tools: Tools) -> tuple[Snapshot, ...]:
    of = repositories.access(tools, record.tenant, record.vault)
    return tools.engine.snapshots(of, tags=("tandem", f"run={record.id}"), stop=tools.stop)


def _what_became_of(record: RunRecord, found: tuple[Snapshot, ...], tools: Tools) -> Outcome:
    """Only a backup can have finished without our knowing: its snapshots are its lasting effect, and bear its tag."""
    if record.job is not Job.BACKUP:
        return _interrupted(f"the next {record.job} does what it left undone")
    contents = {snapshot.content: snapshot for snapshot in found}
    data, manifest = contents.get("data"), contents.get("manifest")
    proof = _proof(record, data, found, tools)
    if data is not None and manifest is not None and proof is not None:
        return replace(marks.told_by_manifest(data, manifest, proof), note=_NOTE)
    half = tuple(snapshot.id for snapshot in found if snapshot.is_stream)
    removed = _removed(record, half, tools)
    if data is None or data.id in half:
        return _interrupted(removed if half else "it left no snapshot")
    failure = Failure(kind=FailureKind.MANIFEST_MISSING, message="Tandem died after the snapshot, before its manifest")
    result = BackupResult(snapshot=data.id, snapshot_time=data.time)
    return Outcome(state=RunState.PARTIAL, failure=failure, note=_NOTE, result=result)


def _proof(
    record: RunRecord, data: Snapshot | None, found: tuple[Snapshot, ...], tools: Tools
) -> points.Manifest | None:
    """The run's manifest, in the run's scratch; None where there is none, or only half of one."""
    if data is None:
        return None
    of = repositories.access(tools, record.tenant, record.vault)
    try:
        return points.fetch_manifest(tools, of, data, found, tools.folder("scratch", record.id) / "manifest")
    except TargetError as error:
        if error.kind not in {FailureKind.MANIFEST_MISSING, FailureKind.REPOSITORY_DAMAGED}:
            raise
        return None


def _removed(record: RunRecord, half: tuple[str, ...], tools: Tools) -> str:
    """Remove what may be half a stream, so that nobody restores it; say what became of it."""
    of = repositories.access(tools, record.tenant, record.vault)
    try:
        tools.engine.forget(of, half, prune=False, watch=unwatched, stop=tools.stop)
    except TargetError as error:
        if error.kind is not FailureKind.NOT_REMOVED:
            raise
        return f"it left half a stream as snapshot {half[0][:8]}, which the vault does not let go: do not restore it"
    return "it left half a stream as a snapshot, which was removed"


def _interrupted(why: str) -> Outcome:
    return Outcome(state=RunState.INTERRUPTED, note=f"Tandem died while this ran; {why}")


def _remove_leftovers(record: RunRecord, tools: Tools) -> None:
    for folder in _OWN_FOLDERS:
        remove_tree(tools.workdir / folder / record.id)
    if record.job is Job.RESTORE and record.note:
        remove_tree(staging(Path(record.note), record.id))

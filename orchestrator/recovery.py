"""After a crash: every open run whose owner is dead is resolved by asking the repository, never by guessing."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from jobs.failure import Failure, FailureKind
from jobs.history import BackupResult, Job, Outcome, RunRecord, RunState
from jobs.policy import TenantName, VaultName
from orchestrator.work import repositories
from orchestrator.work.restore import staging
from orchestrator.work.tools import Tools
from targets.host import is_alive

Repository = tuple[TenantName, VaultName]

# Folders below the workdir in which a run keeps things of its own, each under the run's id.
_OWN_FOLDERS: Final = ("scratch", "staging", "manifests")


def repositories_of(record: RunRecord) -> frozenset[Repository]:
    """The repositories that a run touches."""
    vaults = filter(None, (record.vault, record.source_vault))
    return frozenset((record.tenant, VaultName(vault)) for vault in vaults)


def recover(tools: Tools, touching: Iterable[Repository]) -> tuple[RunRecord, ...]:
    """Resolve the open runs of dead owners of this host that touch the given repositories; give them as they now stand.

    A run of another host is left alone: whether it lives cannot be seen from here. Raises TargetError when a
    repository cannot be asked; the run then stays open, and the next command asks again.
    """
    wanted = frozenset(touching)
    dead = [
        record
        for record in tools.ledger.open_runs()
        if repositories_of(record) & wanted and is_alive(record.owner) is False
    ]
    return tuple(_resolve(record, tools) for record in dead)


def _resolve(record: RunRecord, tools: Tools) -> RunRecord:
    there = [repository for repository in sorted(repositories_of(record)) if _was_ever_made(repository, tools)]
    outcome = _what_became_of(record, tools) if there else _interrupted("it had not yet made its repository")
    for tenant, vault in there:
        tools.engine.unlock(repositories.existing(tools, tenant, vault), stop=tools.stop)
    _remove_leftovers(record, tools)
    now = tools.clock.now()
    tools.ledger.resolve(record.id, outcome, now)
    return replace(
        record, state=outcome.state, finished_at=now, failure=outcome.failure, note=outcome.note, result=outcome.result
    )


def _was_ever_made(repository: Repository, tools: Tools) -> bool:
    return tools.ledger.repository(*repository) is not None or repositories.is_there(tools, *repository)


def _what_became_of(record: RunRecord, tools: Tools) -> Outcome:
    """Only a backup can have finished without our knowing: its snapshots are its lasting effect, and bear its tag."""
    if record.job is not Job.BACKUP:
        return _interrupted(f"the next {record.job} does what it left undone")
    of = repositories.existing(tools, record.tenant, record.vault)
    found = tools.engine.snapshots(of, tags=("tandem", f"run={record.id}"), stop=tools.stop)
    contents = {snapshot.content: snapshot for snapshot in found}
    data, manifest = contents.get("data"), contents.get("manifest")
    if data is None:
        return _interrupted("it left no snapshot")
    place = (record.tenant, record.site, record.vault)
    repositories.note_points(tools, place, record.policy, found, whole_listing=False)
    result = BackupResult(snapshot=data.id, manifest_snapshot=manifest.id if manifest else "", snapshot_time=data.time)
    note = "Tandem died, but the repository holds this run's snapshot"
    if manifest is not None:
        return Outcome(state=RunState.SUCCEEDED, note=note, result=result)
    failure = Failure(kind=FailureKind.MANIFEST_MISSING, message="Tandem died after the snapshot, before its manifest")
    return Outcome(state=RunState.PARTIAL, failure=failure, note=note, result=result)


def _interrupted(why: str) -> Outcome:
    return Outcome(state=RunState.INTERRUPTED, note=f"Tandem died while this ran; {why}")


def _remove_leftovers(record: RunRecord, tools: Tools) -> None:
    for folder in _OWN_FOLDERS:
        shutil.rmtree(tools.workdir / folder / record.id, ignore_errors=True)
    if record.job is Job.RESTORE and record.note:
        shutil.rmtree(staging(Path(record.note), record.id), ignore_errors=True)

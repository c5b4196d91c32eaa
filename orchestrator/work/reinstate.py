"""Bring a lost orchestrator back: its newest backup is fetched, judged, and only then put where Tandem looks for it.

restore below the workdir ─▶ equal to its manifest? ─▶ sound? ─▶ of this version ─▶ nobody owns its open runs
                          ─▶ settings files into a folder of their own ─▶ ledger into its place, in one step
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from jobs.failure import Failure, FailureKind
from jobs.history import KnownRepository, Outcome, RestoreResult, RunRecord, RunState
from jobs.snapshot import TAG
from orchestrator.ledger.holders import holders
from orchestrator.ledger.ledger import Ledger, LedgerError
from orchestrator.work import own, repositories, restore
from orchestrator.work.tools import Tools, remove_tree
from targets.errors import TargetError
from targets.host import is_alive
from targets.sources import sqlite

_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT))
# A ledger's files in the order in which they go: what is left of a stale -wal would be played into another's.
_BESIDE: Final = ("-wal", "-shm", "-journal", "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a person asked for: `found` is where the backup is; its target is of no meaning here."""

    found: restore.Request
    ledger: Path  # where [service] state wants it
    settings: Path  # a folder that is not there, or empty


@dataclass(frozen=True, kw_only=True, slots=True)
class Returned:
    """What came back, beside what the run's result tells."""

    open_runs: tuple[RunRecord, ...]  # nobody's now: the next command asks their repositories what became of them
    kept: Path | None  # where the ledger that was there is now
    adopted: bool  # the repository is another one than this ledger knew in its place


class Reinstatement:
    """One bringing back of what `request` asks for. `returned` tells of it once the work has ended well."""

    def __init__(self, request: Request, tools: Tools) -> None:
        self.request, self._tools = request, tools
        self.returned: Returned | None = None

    def work(self, run: str) -> Outcome:
        """Do it. Raises TargetError; then no ledger is in place that was not before."""
        require_a_place(self.request)
        staging = self._tools.folder("staging", run)
        try:
            return self._put_back(run, staging)
        finally:
            remove_tree(staging)

    def _put_back(self, run: str, staging: Path) -> Outcome:
        request, tools = self.request, self._tools
        outcome = self._fetched(run, replace(request.found, target=staging))
        came = staging / own.LEDGER
        if refusal := _refusal(outcome, came):
            return replace(outcome, state=RunState.FAILED, failure=refusal)
        assert isinstance(outcome.result, RestoreResult)  # noqa: S101 (what restore.work gives)
        open_runs, adopted = _made_ours(came, request.found, tools)
        with _written(request.settings):
            shutil.copytree(staging / own.SETTINGS, request.settings, dirs_exist_ok=True)
        with _written(request.ledger):
            kept = _in_place(came, request.ledger, tools.clock.now(), overwrite=request.found.overwrite)
        self.returned = Returned(open_runs=open_runs, kept=kept, adopted=adopted)
        return replace(outcome, result=replace(outcome.result, target=str(request.ledger)))

    def _fetched(self, run: str, found: restore.Request) -> Outcome:
        """Restore; where there is no such policy, say which there are: whoever wrote the settings knew it by heart."""
        try:
            return restore.work(run, found, self._tools)
        except TargetError as error:
            if error.kind is not FailureKind.SNAPSHOT_MISSING:
                raise
            of = repositories.access(self._tools, found.policy.tenant, found.vault)
            there = self._tools.engine.snapshots(of, tags=(TAG,), stop=self._tools.stop)
            names = ", ".join(sorted({each.policy for each in there if each.policy is not None})) or "none"
            message = f"repository {of.address.label} holds nothing of it; the policies that it holds are: {names}"
            raise TargetError("find policy", found.policy.name, error.kind, message) from error


def require_a_place(request: Request) -> None:
    """Make sure that nothing is written over. Raises TargetError: NOT_EMPTY; BUSY where the ledger there is in use."""
    folder = request.settings
    with _written(folder):
        taken = os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir()))
    if taken:
        message = "it is there already, and settings files are never written over: name another folder with --to"
        raise TargetError("bring settings back to", str(folder), FailureKind.NOT_EMPTY, message)
    standing = [file for file in _files(request.ledger) if os.path.lexists(file)]
    if standing and not request.found.overwrite:
        message = (
            f"{standing[-1]} is there, and nothing was written. With --overwrite it is kept beside as .before-restore-…"
        )
        raise TargetError("bring back", f"the ledger {request.ledger}", FailureKind.NOT_EMPTY, message)
    for owner in holders(request.ledger):
        if is_alive(owner):
            message = f"process {owner.pid} on {owner.host} is at work with it: end that first"
            raise TargetError("replace", f"the ledger {request.ledger}", FailureKind.BUSY, message)


def _files(ledger: Path) -> tuple[Path, ...]:
    return tuple(ledger.with_name(ledger.name + end) for end in _BESIDE)


def _refusal(outcome: Outcome, came: Path) -> Failure | None:
    """Why what came back is not to be trusted with the place of a ledger; None when it is.

    A point whose manifest is lost cannot be compared, but may be all there is: then SQLite's own check must do.
    """
    if outcome.failure is not None and outcome.failure.kind is not FailureKind.MANIFEST_MISSING:
        return replace(outcome.failure, message=f"{outcome.failure.message}. Nothing was put in place")
    if not came.is_file():
        message = "the recovery point holds no ledger: its policy was not one with source = { tandem = true }"
        return Failure(kind=FailureKind.NOTHING_MATCHES, message=message)
    if complaint := sqlite.verify(came):
        message = f"the ledger that came back is damaged, and was not put in place: {complaint}"
        return Failure(kind=FailureKind.SOURCE_DAMAGED, message=message)
    return None


def _made_ours(came: Path, found: restore.Request, tools: Tools) -> tuple[tuple[RunRecord, ...], bool]:
    """Bring the ledger to this version, end what its former owner held; its open runs, and whether we adopted."""
    trusted = tools.ledger.repository(found.policy.tenant, found.vault)
    try:
        with Ledger.open(f"sqlite:///{came}", create=False, now=tools.clock.now()) as ledger:
            open_runs = ledger.open_runs()
            ledger.disown()
            if lease := ledger.lease():
                ledger.drop_lease(lease)
            return open_runs, acquaint(ledger, trusted, tools.clock.now())
    except LedgerError as error:
        raise TargetError("open", "the ledger that came back", error.kind, str(error)) from error


def acquaint(ledger: Ledger, trusted: KnownRepository | None, now: datetime) -> bool:
    """Make sure that the ledger knows the repository it came from; True where it knew another one in its place.

    One that was begun anew since this ledger was stored would be refused for ever. Its password opened it.
    """
    known = {each.config_sha256 for each in ledger.repositories()}  # by whatever name its vault had
    if trusted is None or trusted.config_sha256 in known:
        return False
    another = ledger.repository(*trusted.key)
    if another is not None:
        ledger.forget_repository(another, now)
    ledger.remember(trusted)
    return another is not None


@contextmanager
def _written(place: Path) -> Iterator[None]:
    """A system's refusal becomes a TargetError that names the place."""
    try:
        yield
    except FileExistsError as error:
        message = "it appeared while it was fetched; nothing was written over"
        raise TargetError("write", str(place), FailureKind.NOT_EMPTY, message) from error
    except OSError as error:
        kind = FailureKind.DISK_FULL if error.errno in _FULL else FailureKind.TARGET_UNWRITABLE
        message = f"{error.filename or place}: {error.strerror or error}"
        raise TargetError("write", str(place), kind, message) from error


def _in_place(came: Path, place: Path, now: datetime, *, overwrite: bool) -> Path | None:
    """Put the ledger where it belongs, whole or not at all; where the one that was there is now."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{place.name}-", dir=place.parent)  # mode 0600
    half = Path(name)
    try:
        with os.fdopen(handle, "wb") as copy, came.open("rb") as source:
            shutil.copyfileobj(source, copy)
            copy.flush()
            os.fsync(copy.fileno())
        kept = _out_of_the_way(place, now) if overwrite else None
        place.hardlink_to(half)
    finally:
        half.unlink(missing_ok=True)
    _sync(place.parent)
    return kept


def _out_of_the_way(place: Path, now: datetime) -> Path | None:
    kept = place.with_name(f"{place.name}.before-restore-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
    moved = [file for file in _files(place) if os.path.lexists(file)]
    for file in moved:
        file.rename(kept.with_name(kept.name + file.name.removeprefix(place.name)))
    return kept if moved else None


def _sync(folder: Path) -> None:
    """A name is on the disk when its folder is."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

"""restic as a BackupEngine: what is asked becomes arguments, what restic says becomes results or TargetErrors."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from jobs.failure import FailureKind
from jobs.history import Usage
from jobs.lock import Lock
from jobs.snapshot import Snapshot
from targets import process
from targets.errors import TargetError
from targets.feed import Feed
from targets.ports import Access, BackupRequest, Checked, Restored, Stop, Stored, Watch
from targets.process import Ending, Limits, ProcessRequest
from targets.restic import argv
from targets.restic.argv import Command
from targets.restic.call import Call
from targets.restic.complaints import complaint, text_of
from targets.restic.environment import environment, secrets
from targets.restic.listening import Listening
from targets.restic.messages import CheckSummary, parse, parse_lock, parse_snapshots
from targets.restic.patience import Patience
from targets.restic.stdin import ResticStdin
from targets.restic.verdict import findings, is_finding, stops_a_restore
from targets.restic.versions import OLDEST, Feature, Version, can, parse_version

VERSION_SECONDS: Final = 20.0
TRIES_TO_READ_A_LOCK: Final = 2
EPOCH: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Restic:
    """An installed restic. `ours` is our own environment, of which restic sees only what it needs.

    Every method raises TargetError, and ValueError for two repositories that one call cannot serve both: other
    values for one variable or option.
    """

    program: str
    version: Version
    cache: Path
    limits: Limits
    ours: Mapping[str, str]
    gentle: bool = False
    memory: int | None = None

    @classmethod
    def find(
        cls, program: str, *, cache: Path, limits: Limits, gentle: bool = False, memory: int | None = None
    ) -> Restic:
        """Ask the program for its version. Raises TargetError: TOOL_MISSING, TOOL_TOO_OLD, DEADLINE.

        `memory` is how many bytes it should do with (see environment.py); with half as much again it is ended.
        """
        ours = dict(os.environ)
        told = process.capture((program, "version"), environment(ours, cache, ()), VERSION_SECONDS)
        version = parse_version(told.stdout.decode("utf-8", "replace"))
        if version is None:
            raise TargetError("find", program, FailureKind.TOOL_MISSING, "this program is not restic")
        if version < OLDEST:
            message = f"this is restic {version}, and Tandem needs {OLDEST} or newer"
            raise TargetError("find", program, FailureKind.TOOL_TOO_OLD, message)
        limits = limits if memory is None else replace(limits, memory=memory * 3 // 2)
        return cls(
            program=program, version=version, cache=cache, limits=limits, ours=ours, gentle=gentle, memory=memory
        )

    @property
    def tool(self) -> str:
        """Name and version, such as "restic 0.14.0"."""
        return f"restic {self.version}"

    def init(self, to: Access, *, like: Access | None = None) -> None:
        """Create the repository, with the chunker parameters of `like`. REPOSITORY_FOREIGN: one is there already."""
        call = self._call(argv.init(like_another=like is not None), to, like)
        call.done(call.run(Listening(), process.Never()))

    def backup(self, to: Access, request: BackupRequest, *, watch: Watch, stop: Stop) -> Stored:
        """Store paths as one snapshot, whose time is the request's to the second."""
        call = self._call(argv.backup(request), to, directory=request.directory)
        listening = Listening(watch)
        return call.stored(call.run(listening, stop), listening)

    def backup_stdin(self, to: Access, filename: str, tags: tuple[str, ...], host: str, *, stop: Stop) -> ResticStdin:
        """Start storing a stream as `/filename`. Finish or abort it, else restic waits for ever."""
        call = self._call(argv.backup_stdin(filename, tags, host), to)
        listening = Listening()
        feed = Feed(call.request, limits=self.limits, stop=stop, on_line=listening.hear, on_error=listening.hear_error)
        return ResticStdin(call, feed, listening)

    def snapshots(self, of: Access, *, tags: tuple[str, ...] = (), stop: Stop) -> tuple[Snapshot, ...]:
        """The repository's snapshots that bear all of `tags`, oldest first."""
        call = self._call(argv.snapshots(tags), of)
        try:
            return parse_snapshots(b"".join(call.pieces(stop)))
        except ValueError as error:
            raise call.error(FailureKind.TOOL_FAILED, str(error)) from error

    def copy(self, source: Access, to: Access, snapshots: tuple[str, ...], *, watch: Watch, stop: Stop) -> Usage:
        """Copy snapshots by id; those already there are left alone. SNAPSHOT_MISSING: the source does not hold one."""
        if not snapshots:
            return Usage()
        call = self._call(argv.copy(snapshots), to, source)
        ended = call.run(Listening(watch), stop, sampled=True)
        call.done(ended)
        found = complaint(text_of(map(parse, ended.errors.splitlines())))
        if found.kind is FailureKind.SNAPSHOT_MISSING:  # restic passes over what is not there, and exits 0
            raise call.error(found.kind, found.words)
        return ended.usage

    def check(self, of: Access, *, read_data: str, scratch: Path | None = None, watch: Watch, stop: Stop) -> Checked:
        """restic's check; `read_data` is "none", "100%", "10%", "1/4" or a size such as "500M".

        `scratch` is where it keeps a cache of its own, which a killed restic leaves behind.
        """
        call = replace(self, cache=scratch or self.cache)._call(argv.check(read_data), of)
        listening = Listening(watch)
        ended = call.run(listening, stop, sampled=True)
        verdict = call.judge(ended)
        found = findings(listening.said)
        counted = listening.summary.errors if isinstance(listening.summary, CheckSummary) else len(found)
        if verdict.failure is None:
            return Checked(errors=counted if listening.summary else 0, findings=(), usage=ended.usage)
        if ended.ending is Ending.BY_ITSELF and ended.code == 1 and is_finding(verdict, listening.said):
            return Checked(errors=max(1, counted), findings=found or (verdict.words,), usage=ended.usage)
        raise call.error(verdict.failure, verdict.words)

    def restore(
        self, of: Access, snapshot: str, target: Path, *, include: tuple[str, ...] = (), watch: Watch, stop: Stop
    ) -> Restored:
        """Restore a snapshot (or only what matches restic's include patterns) below `target`."""
        call = self._call(argv.restore(snapshot, target, include), of)
        listening = Listening(watch)
        sampled = not can(self.version, Feature.RESTORE_TELLS_PROGRESS)
        ended = call.run(listening, stop, sampled=sampled)
        verdict = call.judge(ended)
        told_by_file = ended.ending is Ending.BY_ITSELF and ended.code == 1 and listening.errors
        if verdict.failure is not None and not told_by_file:
            raise call.error(verdict.failure, verdict.words)
        if found := stops_a_restore(error.message for error in listening.errors):
            raise call.error(found.kind or FailureKind.TOOL_FAILED, found.words)
        return Restored(errors=tuple(f"{error.item}: {error.message}" for error in listening.errors), usage=ended.usage)

    def dump(self, of: Access, snapshot: str, path: str, *, stop: Stop) -> Generator[bytes, None, None]:
        """One file of a snapshot, in pieces; raises when restic fails, also after the last piece."""
        return self._call(argv.dump(snapshot, path), of).pieces(stop)

    def forget(self, of: Access, snapshots: tuple[str, ...], *, prune: bool, watch: Watch, stop: Stop) -> Usage:
        """Remove snapshots by id, and with `prune` the data that nobody needs any more.

        restic exits 0 also when its server refused: the snapshots are listed afterwards. NOT_REMOVED: some are there.
        """
        if not snapshots:
            return Usage()
        call = self._call(argv.forget(snapshots, prune=prune), of)
        ended = call.run(Listening(watch), stop, sampled=True)
        call.done(ended)
        there = [kept.id for kept in self.snapshots(of, stop=stop) if kept.id.startswith(snapshots)]
        if there:
            words = call.judge(ended).words or "restic gave no reason"
            message = f"{len(there)} of {len(snapshots)} snapshots are still there ({there[0][:8]} …): {words}"
            raise call.error(FailureKind.NOT_REMOVED, message)
        return ended.usage

    def locks(self, of: Access, *, stop: Stop) -> tuple[Lock, ...]:
        """The repository's locks, oldest first, those that cannot be read at the end. Takes none itself."""
        found = [self._lock(of, name, stop) for name in self._lock_names(of, stop)]
        there = [lock for lock in found if lock is not None]
        return tuple(sorted(there, key=lambda lock: (lock.time is None, lock.time or EPOCH, lock.id)))

    def _lock_names(self, of: Access, stop: Stop) -> list[str]:
        return b"".join(self._call(argv.list_locks(), of).pieces(stop)).decode("ascii", "replace").split()

    def _lock(self, of: Access, name: str, stop: Stop) -> Lock | None:
        """What a lock says; None when it is gone by now. Its owner takes it away at any time, or refreshes it."""
        listening = Listening(patience=Patience(tries=TRIES_TO_READ_A_LOCK))
        try:
            return parse_lock(name, b"".join(self._call(argv.cat_lock(name), of).pieces(stop, listening)))
        except (TargetError, ValueError) as error:
            if isinstance(error, TargetError) and error.kind is FailureKind.CANCELLED:
                raise
            if name not in self._lock_names(of, stop):
                return None
            return Lock(id=name, time=None, exclusive=True, host="", user="", pid=0)

    def _call(
        self, arguments: tuple[str, ...], to: Access, source: Access | None = None, *, directory: Path | None = None
    ) -> Call:
        accesses = (to,) if source is None else (to, source)
        return Call(
            command=Command(arguments[0]),
            request=ProcessRequest(
                argv=(self.program, *argv.options(access.address for access in accesses), *arguments),
                environment=environment(self.ours, self.cache, accesses, memory=self.memory),
                secrets=secrets(to, source),
                directory=directory,
                gentle=self.gentle,
            ),
            accesses=accesses,
            version=self.version,
            limits=self.limits,
        )

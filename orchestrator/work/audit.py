"""Read every stored file of one repository and compare it with its name: no password, no restic, little memory.

An audit that could not fail would prove nothing: a bit is flipped in a scratch copy of one stored file, and unless that
is seen by the same reading, the audit is invalid. It takes no lock of restic's, for those are encrypted. What may run
beside it is the ledger's to say (jobs/claim.py); who else prunes there is met by looking twice.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from jobs.audit import AUDITED, Reading, Seen, Tally, failure, is_settled, missing, seen
from jobs.failure import FailureKind
from jobs.history import Outcome, RunState, Usage
from jobs.plan import Step
from jobs.policy import Policy
from orchestrator.work import losses, repositories
from orchestrator.work.tools import Tools, remove_tree
from targets.errors import TargetError
from targets.ports import FileKind, FileRef, Progress, Store, StoredFile, Watch

_THREADS: Final = 2  # SHA-256 outruns most disks and every link; more would only take them from those who work
_AHEAD: Final = 8  # files handed over and not settled: a repository has more names than memory should hold
_LOOK_SECONDS: Final = 0.2  # how late a stop or a limit is seen
_GRACE_SECONDS: Final = 5.0  # for the threads to see that they are to end
_TRIES: Final = 3  # of the control: the file it was to copy may be gone
_PIECE: Final = 1 << 20


def work(run: str, step: Step, _policy: Policy, tools: Tools) -> Outcome:
    """Audit the repository of `step`. Raises TargetError where it cannot be looked at, which says nothing of it."""
    address = repositories.recognised(tools, step.tenant, step.vault)
    repository = tools.ledger.repository(step.tenant, step.vault)
    known = losses.expected(tools.ledger, repository) if repository else frozenset[str]()
    began, scratch = tools.clock.monotonic(), tools.folder("scratch", run)
    try:
        with repositories.opened_store(tools, step.tenant, step.vault) as store:
            look = _Look(store, _Pulse(tools, address.limit_download), scratch / "copy")
            done = _Audit(look, address.label, tools.watch("audit")).through(known)
    finally:
        remove_tree(scratch)
    result = done.tally.result(control=done.control)
    why = failure(result, address.label)
    return Outcome(
        state=RunState.FAILED if why else RunState.SUCCEEDED,
        failure=why,
        result=result,
        usage=Usage(seconds=round(tools.clock.monotonic() - began, 3)),
    )


class _Pulse:
    """Between two pieces: has it been asked to stop, is it too late, is the link used no more than it may be."""

    def __init__(self, tools: Tools, rate: int | None) -> None:
        self._tools, self._rate = tools, rate
        self._lock = threading.Lock()
        self._began = self._moved = self._free_at = tools.clock.monotonic()
        self._given_up = threading.Event()

    def is_set(self) -> bool:
        """Whether to end: it was asked for, or another thread has met what ends it."""
        return self._given_up.is_set() or self._tools.stop.is_set()

    def give_up(self) -> None:
        """Have every thread end at its next piece."""
        self._given_up.set()

    def moved(self, count: int) -> bool:
        """So many bytes came; wait where they came faster than allowed. Returns whether to go on."""
        with self._lock:
            now = self._moved = self._tools.clock.monotonic()
            if self._rate is not None:
                self._free_at = max(self._free_at, now) + count / self._rate
            wait = self._free_at - now
        return self._tools.clock.sleep(wait, self) if wait > 0 else not self.is_set()

    def judge(self, label: str) -> None:
        """Raise TargetError CANCELLED, DEADLINE or NO_PROGRESS where it is time to."""
        now, limits = self._tools.clock.monotonic(), self._tools.limits
        with self._lock:  # a wait of its own for the link is progress too
            still = max(self._moved, min(self._free_at, now))
        most, patience = limits.deadline_seconds, limits.no_progress_seconds
        if self.is_set():
            raise TargetError("audit", label, FailureKind.CANCELLED, "interrupted")
        if most is not None and now - self._began > most:
            raise TargetError("audit", label, FailureKind.DEADLINE, f"it was not done after {most:.0f} s")
        if patience is not None and now - still > patience:
            raise TargetError("audit", label, FailureKind.NO_PROGRESS, f"nothing came for {patience:.0f} s")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Looked:
    """What became of one file. `error` is what the vault said where it could not be read."""

    ref: FileRef
    seen: Seen
    length: int
    error: TargetError | None = None


@dataclass(frozen=True, slots=True)
class _Look:
    """How one file is looked at, by any thread."""

    store: Store
    pulse: _Pulse
    copy: Path  # where the control's goes

    def at(self, ref: FileRef) -> _Looked | None:
        """Read it once, and once more unless it is sound or gone. None: the audit is to end. Raises TargetError."""
        readings: list[Reading] = []
        error = None
        while not readings or (len(readings) == 1 and not is_settled(ref.name, readings[0])):
            try:
                reading = self._read(self.store.read(ref))
            except TargetError as caught:
                self.store.size(ref)  # raises where it is the vault that is away, and not this one file
                error = caught
                reading = Reading(error=str(caught), gone=caught.kind is FailureKind.REPOSITORY_MISSING)
            if reading is None:
                return None
            readings.append(reading)
        what = seen(ref.name, *readings)
        return _Looked(ref=ref, seen=what, length=max(each.length for each in readings), error=error)

    def sees_damage(self, ref: FileRef) -> bool:
        """The control: flip a bit in a scratch copy of a sound file, and look at that in the same way."""
        try:
            if not self._copied(ref):
                return False
        except TargetError as error:
            if error.kind is not FailureKind.REPOSITORY_MISSING:
                raise
            return False
        reading = self._read(_pieces(self.copy))
        return reading is not None and seen(ref.name, reading, reading) is Seen.CHANGED

    def _copied(self, ref: FileRef) -> bool:
        """Copy it with one bit of its first byte flipped."""
        flip = 1
        with self.copy.open("wb") as file:
            for piece in self.store.read(ref):
                file.write(bytes((piece[0] ^ flip,)) + piece[1:])
                flip = 0
                if not self.pulse.moved(len(piece)):
                    return False
        return True

    def _read(self, pieces: Iterator[bytes]) -> Reading | None:
        digest, length = hashlib.sha256(), 0
        for piece in pieces:
            digest.update(piece)
            length += len(piece)
            if not self.pulse.moved(len(piece)):
                return None
        return Reading(length=length, digest=digest.hexdigest())


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            yield piece


@dataclass(slots=True)
class _Audit:
    """One audit under way: the listing in this thread, the reading in two others, the tally in this one."""

    look: _Look
    label: str
    watch: Watch
    tally: Tally = field(default_factory=Tally)
    control: bool = False
    _tried: int = 0
    _unreadable: TargetError | None = None
    _listed: dict[str, set[str]] = field(default_factory=dict)

    def through(self, known: Collection[str]) -> _Audit:
        """Look at everything, then for what is not there. Raises TargetError."""
        with self._threads() as hand_over:
            for name in AUDITED:
                for stored in self.look.store.files(FileKind(name), self._stray):
                    self._note(stored)
                    hand_over(stored.ref)
        if self._unreadable is not None and not self.tally.sound:
            raise self._unreadable  # of all that is there nothing can be read: that is no rot
        for finding in missing(known, self._listed):
            self.tally.found(finding)
        return self

    def _stray(self, _name: str) -> None:
        self.tally.passed_over += 1

    def _note(self, stored: StoredFile) -> None:
        """Remember that it is there: every snapshot by its name; of the others, of which there are many more, one."""
        kind = stored.ref.kind
        there = self._listed.setdefault(kind.value, set())
        if kind is FileKind.SNAPSHOTS or not there:
            there.add(stored.ref.name)

    @contextmanager
    def _threads(self) -> Iterator[Callable[[FileRef], None]]:
        """Gives what hands a file over to be looked at; at the end all of them are settled."""
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="audit")
        under_way: set[Future[_Looked | None]] = set()

        def hand_over(ref: FileRef) -> None:
            under_way.add(pool.submit(self.look.at, ref))
            self._settle(under_way, _AHEAD)

        try:
            yield hand_over
            self._settle(under_way, 0)
        finally:
            self.look.pulse.give_up()
            pool.shutdown(wait=False, cancel_futures=True)
            begun = [future for future in under_way if not future.cancelled()]
            wait_for(begun, timeout=_GRACE_SECONDS)  # a vault that does not answer is not waited for

    def _settle(self, under_way: set[Future[_Looked | None]], most: int) -> None:
        """Take in what is done, until no more than `most` are left."""
        self.look.pulse.judge(self.label)
        while len(under_way) > most:
            done, _ = wait_for(under_way, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
            self.look.pulse.judge(self.label)
            for future in done:
                under_way.remove(future)
                looked = future.result()
                if looked is not None:
                    self._take_in(looked)

    def _take_in(self, looked: _Looked) -> None:
        ref, error = looked.ref, looked.error
        folder = f"data/{ref.name[:2]}" if ref.kind is FileKind.DATA else ref.kind.value
        self.tally.add(f"{folder}/{ref.name}", looked.seen, looked.length, str(error) if error else "")
        if looked.seen is Seen.UNREADABLE:
            self._unreadable = self._unreadable or error
        if looked.seen is Seen.SOUND and looked.length and not self.control and self._tried < _TRIES:
            self._tried += 1
            self.control = self.look.sees_damage(ref)
        self.watch(Progress(bytes_done=self.tally.bytes, files_done=self.tally.files))

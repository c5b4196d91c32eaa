"""What the marks in a backup's manifest come to: what changed meanwhile, what could not be read, how it ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from jobs.failure import Failure, FailureKind
from jobs.history import BackupResult, Outcome, RunState
from jobs.manifest import Entry, decode, shown
from jobs.snapshot import Snapshot
from orchestrator.work.points import Manifest

_NAMES_KEPT: Final = 100  # in the ledger; the manifest holds them all
_NAMES_TOLD: Final = 5  # in a sentence
_MARKED: Final = b"true}\n"  # how the line of a changed or unreadable entry ends (jobs/manifest.py)


class Marked:
    """The names of what the sweep marked, told while the lines pass by; and what had vanished before our scan came."""

    def __init__(self, vanished: Iterable[str] = ()) -> None:
        self.unheard_of = set(vanished)
        self.changed: list[str] = []
        self.unreadable: list[str] = []
        self.changed_count = self.unreadable_count = 0

    def passing(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in lines:
            if line.endswith(_MARKED):
                self._note(decode(line))
            yield line

    def _note(self, entry: Entry) -> None:
        self.unheard_of.discard(entry.path)
        if entry.changed:
            self.changed_count += 1
            self.changed += [entry.path] if len(self.changed) < _NAMES_KEPT else []
        else:
            self.unreadable_count += 1
            self.unreadable += [entry.path] if len(self.unreadable) < _NAMES_KEPT else []


def told_by_manifest(data: Snapshot, manifest: Snapshot, proof: Manifest) -> Outcome:
    """How a backup had ended whose Tandem died before it could say so; its manifest tells."""
    marked = Marked()
    deque(marked.passing(proof.lines()), maxlen=0)
    result = BackupResult(
        snapshot=data.id,
        manifest_snapshot=manifest.id,
        snapshot_time=data.time,
        files=proof.footer.files,
        bytes=proof.footer.bytes,
        changed=first(tuple(marked.changed)),
        changed_count=marked.changed_count,
        unreadable=first(tuple(marked.unreadable)),
        unreadable_count=marked.unreadable_count,
    )
    return outcome(result)


def outcome(result: BackupResult) -> Outcome:
    if result.unreadable_count:
        return Outcome(state=RunState.PARTIAL, failure=_unreadable(result), result=result)
    return Outcome(state=RunState.SUCCEEDED, result=result)


def _unreadable(result: BackupResult) -> Failure:
    names = ", ".join(shown(path) for path in result.unreadable[:_NAMES_TOLD])
    more = " and more" if result.unreadable_count > _NAMES_TOLD else ""
    message = f"the backup lacks {result.unreadable_count} things that could not be read: {names}{more}"
    return Failure(kind=FailureKind.SOURCE_UNREADABLE, message=message)


def first(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))[:_NAMES_KEPT]

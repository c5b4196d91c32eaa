"""A small file written into a vault, read back and removed; with it comes what the vault's own clock says.

The file goes where backups go, into the data of a tenant's repository, under the hash of its own bytes: no restic reads
it before a prune removes it, should the vault not let it go. One a day at most is left in one that is append-only,
and `is_ours` knows it again: it is nobody's data.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from jobs.failure import FailureKind
from orchestrator.clock import Clock
from targets.errors import TargetError
from targets.ports import FileKind, FileRef, Store, StoredFile

_MARK: Final = b"tandem doctor "
_LONGEST: Final = 1000  # bytes, and more than two names and a date take


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What a vault did with the small file."""

    append_only: bool
    skew: timedelta | None  # how far its clock is ahead of ours; None: not told


def probe(store: Store, where: str, clock: Clock) -> Probe:
    """Write, read, remove. Raises TargetError where it cannot be written or does not come back as it was written."""
    before = clock.now()
    content = _MARK + f"{where} {before:%Y-%m-%d}\n".encode()
    ref = FileRef(FileKind.DATA, hashlib.sha256(content).hexdigest())
    if store.size(ref) is not None and not _removed(store, ref):
        return Probe(append_only=True, skew=None)  # written earlier today, and it could not be removed then either
    store.write(ref, [content])
    if b"".join(store.read(ref)) != content:
        message = "what was read back is not what was written"
        raise TargetError("probe", f"vault of {where}", FailureKind.REPOSITORY_DAMAGED, message)
    told = store.clock(ref)
    skew = None if told is None else skew_of(told, before, clock.now())
    return Probe(append_only=not _removed(store, ref), skew=skew)


def is_ours(store: Store, stored: StoredFile) -> bool:
    """Whether this is a probe's file that a vault did not let go, by its content and the name that this makes."""
    if stored.ref.kind is not FileKind.DATA or stored.size > _LONGEST:
        return False
    content = b"".join(store.read(stored.ref))
    return content.startswith(_MARK) and hashlib.sha256(content).hexdigest() == stored.ref.name


def skew_of(told: datetime, before: datetime, after: datetime) -> timedelta:
    """How far outside the time that it took the told second lies."""
    if told + timedelta(seconds=1) < before:
        return told - before
    return max(timedelta(), told - after)


def _removed(store: Store, ref: FileRef) -> bool:
    try:
        store.delete(ref)
    except TargetError as error:
        if error.kind is not FailureKind.ACCESS_DENIED:
            raise
        return False
    return store.size(ref) is None

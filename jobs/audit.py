"""What a keyless audit looks at, what each observation of a stored file means, and what all of them come to. Pure.

Every file of the kinds below is named by the SHA-256 of its own bytes, so whoever can read it can prove it. `config`
bears no such name: its hash is kept in the ledger (jobs/identity.py). Locks come and go. A file that is not there at
all is seen by what the ledger knows of the repository, as far as it knows: see `missing`.
https://restic.readthedocs.io/en/stable/100_references.html#repository-format
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from jobs.failure import Failure, FailureKind
from jobs.history import AuditResult
from jobs.quantity import counted

# The folders of a repository whose files are named by their bytes. Keys first: they are small, there is always one, and
# so the control is made on little (see orchestrator/work/audit.py). Snapshots before what they stand on, which is there
# before them.
AUDITED: Final = ("keys", "snapshots", "index", "data")

_KEPT: Final = 100  # findings in words; beyond them, numbers
_NAMED: Final = 3  # of them in a failure's message
_NEEDED: Final = ("index", "data")  # without which no snapshot can be restored


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One reading of a file: how many bytes came, and their SHA-256. `error`: why it stopped; `gone`: it is not there.

    `digest` is empty where the file was not read to its end.
    """

    length: int = 0
    digest: str = ""
    error: str = ""
    gone: bool = False


class Seen(StrEnum):
    """What is known of a file that was listed."""

    SOUND = "sound"
    CHANGED = "changed"  # its bytes are not what its name says
    UNREADABLE = "unreadable"
    GONE = "gone"  # listed, and then not there: somebody removed it, which is no damage
    UNFINISHED = "unfinished"  # it grows while it is read: some servers show a file before it is whole


DAMAGE: Final = frozenset({Seen.CHANGED, Seen.UNREADABLE})

_WORDS: Final[Mapping[Seen, str]] = MappingProxyType(
    {Seen.CHANGED: "its bytes are not what its name says", Seen.UNREADABLE: "it cannot be read"}
)


def seen(name: str, first: Reading, second: Reading | None = None) -> Seen:
    """What one or two readings of a file say. Nothing is damaged that a second look finds sound, gone or growing.

    A first look that does not find it sound asks for a second one (see `is_settled`).
    """
    looks = [first] if second is None else [first, second]
    if any(look.digest == name for look in looks):
        return Seen.SOUND
    if looks[-1].gone:
        return Seen.GONE
    if looks[-1].error:
        return Seen.UNREADABLE
    return Seen.UNFINISHED if len({look.length for look in looks if look.digest}) > 1 else Seen.CHANGED


def is_settled(name: str, first: Reading) -> bool:
    """Whether a first look says enough."""
    return first.gone or first.digest == name


def missing(known: Collection[str], listed: Mapping[str, Collection[str]]) -> Iterator[str]:
    """What is not there and must be, in words that begin with its name.

    `known` are the snapshots that the ledger knew to be there before anything was listed, `listed` the names of keys
    and snapshots that were found, and of one file at least of each other kind that has any. restic itself never notices
    that a snapshot is gone.
    """
    there = set(listed.get("snapshots", ()))
    for snapshot in sorted(set(known) - there):
        yield f"snapshots/{snapshot}: it is not there any more, and no retention of Tandem's has removed it"
    if not listed.get("keys"):
        yield "keys: there is none, so that no password opens the repository"
    for kind in _NEEDED:
        if there and not listed.get(kind):
            yield f"{kind}: there is no file, and yet there are snapshots"


class Tally:
    """What an audit has found so far. Of what is damaged the first hundred are kept in words."""

    def __init__(self) -> None:
        self.files = self.bytes = self.damaged = self.sound = self.vanished = self.passed_over = 0
        self._findings: list[str] = []

    def add(self, place: str, what: Seen, length: int, error: str = "") -> None:
        """A file was looked at; `length` bytes of it were read once, and `place` is what people find it by."""
        if what in {Seen.GONE, Seen.UNFINISHED}:
            self.vanished += 1
            return
        self.files += 1
        self.bytes += length
        if what in DAMAGE:
            self.found(f"{place}: {_WORDS[what]}{f' ({error})' if error else ''}")
        else:
            self.sound += 1

    def found(self, finding: str) -> None:
        """Something is damaged or missing."""
        self.damaged += 1
        if len(self._findings) < _KEPT:
            self._findings.append(finding)

    def result(self, *, control: bool) -> AuditResult:
        """All of it, as it goes on record."""
        return AuditResult(
            files=self.files,
            bytes=self.bytes,
            damaged=self.damaged,
            findings=tuple(sorted(self._findings)),
            vanished=self.vanished,
            passed_over=self.passed_over,
            control=control,
        )


def failure(result: AuditResult, label: str) -> Failure | None:
    """Why the audit of a repository fails: damage, or a control that did not see its own. None where it is clean."""
    if result.damaged:
        shown = "; ".join(result.findings[:_NAMED])
        more = f"; and {counted(result.damaged - _NAMED, 'more', 'more')}" if result.damaged > _NAMED else ""
        things = "1 stored file is" if result.damaged == 1 else f"{result.damaged:,} stored files are"
        message = f"audit {label}: {things} damaged or missing: {shown}{more}"
        return Failure(kind=FailureKind.REPOSITORY_DAMAGED, message=message)
    if not result.control:
        message = f"the audit of {label} is invalid: it did not see a bit that was flipped in a copy of a stored file"
        return Failure(kind=FailureKind.INTERNAL, message=message)
    return None

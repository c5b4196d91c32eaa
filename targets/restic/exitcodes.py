"""What restic means by its exit status, by command and version: one table.

https://restic.readthedocs.io/en/stable/075_scripting.html#exit-codes: an unknown code must be taken for a failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from jobs.failure import FailureKind
from targets.restic.argv import Command
from targets.restic.versions import OLDEST, SINCE, Feature, Version


class Meaning(Enum):
    """What a code says besides naming a failure."""

    COMPLETE = "done"
    PARTIAL = "done, but for some files"
    SEE_TEXT = "failed; standard error says why"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the table. `command` None holds for all of them; a row for one command goes first."""

    code: int
    meaning: Meaning | FailureKind
    command: Command | None = None
    since: Version = OLDEST


_NAMED: Final = SINCE[Feature.EXIT_CODES]

ROWS: Final = (
    Row(code=0, meaning=Meaning.COMPLETE),
    Row(code=1, meaning=Meaning.SEE_TEXT),
    Row(code=2, meaning=Meaning.SEE_TEXT),  # Go's own, as when it panics; 0.14 for `dump` of what is not there
    Row(code=3, meaning=Meaning.PARTIAL, command=Command.BACKUP),
    Row(code=3, meaning=FailureKind.NOT_REMOVED, command=Command.FORGET, since=Version(0, 17)),
    Row(code=10, meaning=FailureKind.REPOSITORY_MISSING, since=_NAMED),
    Row(code=11, meaning=FailureKind.REPOSITORY_LOCKED, since=_NAMED),
    Row(code=12, meaning=FailureKind.WRONG_PASSWORD, since=_NAMED),
    # An interrupt that was ours is seen before this table is asked.
    Row(code=130, meaning=FailureKind.KILLED),
    Row(code=143, meaning=FailureKind.KILLED),
)


def meaning(command: Command, code: int, version: Version) -> Meaning | FailureKind:
    """What this code of this command means; TOOL_FAILED would hide words that say more, so unknown is SEE_TEXT."""
    if code < 0:
        return FailureKind.KILLED
    fitting = [row for row in ROWS if row.code == code and row.command in {command, None} and version >= row.since]
    best = max(fitting, key=lambda row: row.command is not None, default=None)
    return Meaning.SEE_TEXT if best is None else best.meaning

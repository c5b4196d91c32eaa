"""What restic and its helpers complain about on standard error, and which kind of failure that is: one table.

restic 0.14 tells the kind of a failure in words alone, and all versions do so for what its vault said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from jobs.failure import FailureKind
from targets.restic.messages import Event, ExitError, ItemError, Unknown

_KIND = FailureKind

# The first row that fits decides. What the vault refused comes before what restic concluded from it: 0.14 asks
# "Is there a repository at the following location?" also when nobody listens there.
COMPLAINTS: Final[tuple[tuple[FailureKind, re.Pattern[str]], ...]] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        (_KIND.NOT_REMOVED, r"Remove\(<snapshot/.*(403|forbidden|denied)|unable to remove snapshot/"),
        (_KIND.WRONG_PASSWORD, r"wrong password or no key found"),
        (_KIND.REPOSITORY_LOCKED, r"repository is already locked"),
        (_KIND.HOST_KEY_CHANGED, r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed"),
        (_KIND.HOST_KEY_UNKNOWN, r"No \S+ host key is known for|Host key verification failed"),
        (_KIND.BUCKET_MISSING, r"specified bucket does not exist|NoSuchBucket"),
        (_KIND.DISK_FULL, r"no space left on device|disk quota exceeded|insufficient storage|StorageFull"),
        (
            _KIND.ACCESS_DENIED,
            r"permission denied|access denied|access key id you provided does not exist|InvalidAccessKeyId"
            r"|signature we calculated does not match|SignatureDoesNotMatch|\(40[13]\)|40[13] (Unauthorized|Forbidden)",
        ),
        (
            _KIND.VAULT_UNREACHABLE,
            r"connection refused|connection reset|connection closed by|connection timed out|broken pipe|i/o timeout"
            r"|no route to host|network is unreachable|host is down|no such host|could not resolve hostname"
            r"|name resolution|handshake timeout|unable to start the sftp session|server misbehaving|x509:"
            r"|ssh command exited|context deadline exceeded"
            r"|HTTP response \(5\d\d\)|50[0234] (internal|bad|service|gateway)",
        ),
        (_KIND.SNAPSHOT_MISSING, r"no matching ID found|no snapshot found"),
        (_KIND.NOTHING_MATCHES, r"path .* not found in snapshot"),
        (_KIND.SOURCE_MISSING, r"all (source|target) directories/files do not exist"),
        (_KIND.REPOSITORY_FOREIGN, r"config file already exists"),
        (_KIND.REPOSITORY_MISSING, r"repository does not exist|Is there a repository at the following location"),
        (
            _KIND.REPOSITORY_DAMAGED,
            r"ciphertext verification failed|invalid data returned|Pack ID does not match|unexpected pack id"
            r"|unexpected file size|hash mismatch|is damaged|pack \S+ contains \d+ errors|Unmarshal: invalid"
            r"|pack [0-9a-f]{64}: does not exist|not found in (the )?(index|repository)|repository contains errors"
            r"|LoadIndex returned errors|error loading index",
        ),
    )
)

# Lines that would only hide the cause: Go's stack traces, restic's advice, a cancel's echo.
_NOISE: Final = re.compile(
    r"^\t|^(main|runtime|github\.com|golang\.org)[./]\S*$|^$|^@+|^the `unlock` command|context canceled"
    r"|^signal interrupt received|^Warning: at least one source file|^repo already locked, waiting"
)
_PREFIX: Final = re.compile(r"^((Fatal|subprocess ssh|ssh|error): )+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Complaint:
    """The kind of failure, and the words that show it. A kind of None: nothing was recognised."""

    kind: FailureKind | None
    words: str


def complaint(text: str) -> Complaint:
    """What went wrong, from standard error as text."""
    lines = [line for line in text.splitlines() if not _NOISE.search(line)]
    told = [_PREFIX.sub("", line).strip(" @") for line in lines]
    for kind, pattern in COMPLAINTS:
        for number, line in enumerate(told):
            if pattern.search(line):
                return Complaint(kind=kind, words="; ".join(told[number : number + _LINES.get(kind, 1)]))
    return Complaint(kind=None, words=told[-1] if told else "")


# Who holds the lock stands in one line, since when in the next.
_LINES: Final = {FailureKind.REPOSITORY_LOCKED: 2}


def text_of(events: Iterable[Event]) -> str:
    """What was said about the call as a whole, as text: errors with single files of the source are none of it."""
    return "\n".join(words for event in events if (words := _words(event)))


def _words(event: Event) -> str:
    match event:
        case ExitError(message=message) | ItemError(during="", message=message) | Unknown(text=message):
            return message
        case _:
            return ""

"""How one restic call ended, in Tandem's terms: done, partly done, or which failure; pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote, urlsplit

from jobs.failure import FailureKind
from targets.ports import Access
from targets.process import Ended, Ending, Limits
from targets.restic.argv import Command
from targets.restic.complaints import Complaint, complaint, text_of
from targets.restic.exitcodes import Meaning, meaning
from targets.restic.messages import parse
from targets.restic.versions import Version

WORDS_LIMIT: Final = 600  # characters of restic's own words in an error


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """`failure` None is success; `partial` says that some files of the source were left out."""

    failure: FailureKind | None = None
    words: str = ""
    partial: bool = False


def judge(command: Command, ended: Ended, version: Version, limits: Limits, *, interrupted: bool = True) -> Verdict:
    """What became of the call. An interrupt of ours comes first, then a signal, then the code, then the words.

    `interrupted` False: an interrupt that came too late to prevent anything is passed over.
    """
    said = text_of(map(parse, ended.errors.splitlines()))
    found = complaint(said)
    if interrupted and ended.ending is not Ending.BY_ITSELF:
        return _cut_short(ended, found, limits)
    meant = meaning(command, ended.code, version)
    if isinstance(meant, FailureKind):
        return Verdict(failure=meant, words=found.words if ended.code > 0 and found.words else _last_word(ended.code))
    if meant is Meaning.SEE_TEXT and found.kind is None and (echo := _INTERRUPTED.search(said)):
        return Verdict(failure=FailureKind.KILLED, words=f"somebody ended it: {echo[0]}")
    if meant is Meaning.SEE_TEXT:
        return Verdict(failure=found.kind or FailureKind.TOOL_FAILED, words=found.words or _last_word(ended.code))
    return Verdict(partial=meant is Meaning.PARTIAL, words=found.words)


# 0.18 exits 1 when interrupted, and says this.
_INTERRUPTED: Final = re.compile(r"signal \w+ received")

_CUT: Final[Mapping[Ending, tuple[FailureKind, str]]] = MappingProxyType(
    {
        Ending.CANCELLED: (FailureKind.CANCELLED, "it was cancelled"),
        Ending.DEADLINE: (FailureKind.DEADLINE, "it still ran after {0.deadline_seconds:g} s, and was ended"),
        Ending.NO_PROGRESS: (FailureKind.NO_PROGRESS, "nothing moved for {0.no_progress_seconds:g} s, so it was ended"),
        Ending.GIVEN_UP: (FailureKind.TOOL_FAILED, "restic tried again and again"),
        Ending.MEMORY: (FailureKind.KILLED, "it held more than {0.memory} bytes of memory, so it was ended"),
    }
)
# When restic told what it was waiting for, that is the failure.
_NAMED_BY_WORDS: Final = frozenset({Ending.NO_PROGRESS, Ending.GIVEN_UP})


def _cut_short(ended: Ended, found: Complaint, limits: Limits) -> Verdict:
    kind, sentence = _CUT[ended.ending]
    words = sentence.format(limits)
    if found.words and ended.ending is not Ending.CANCELLED:
        words = f"{words}; the last it said: {found.words}"
    named = found.kind if ended.ending in _NAMED_BY_WORDS else None
    return Verdict(failure=named or kind, words=words)


_SIGNALS: Final = {number.value: number.name for number in signal.Signals}


def _last_word(code: int) -> str:
    if code < 0:
        return f"somebody ended it with {_SIGNALS.get(-code, f'signal {-code}')}"
    return f"it ended with exit status {code} and without a word"


def is_finding(verdict: Verdict, lines: Iterable[str]) -> bool:
    """Whether a check that failed has found damage, and was not kept from looking."""
    kinds = {verdict.failure, *(complaint(line).kind for line in findings(lines))}
    return FailureKind.REPOSITORY_DAMAGED in kinds


_NO_FINDING: Final = re.compile(
    r"repository contains errors|LoadIndex returned errors|must be (repaired|removed)|^restic repair|troubleshooting"
    r"|^Damaged pack files can be|^You must run|^This can be done"
)


def findings(lines: Iterable[str]) -> tuple[str, ...]:
    """What check found, line by line, without its conclusion and its advice."""
    return tuple(line.strip() for line in lines if line.strip() and not _NO_FINDING.search(line))


# What ends a restore as a whole; anything else is a finding about the file that it names.
_STOPPING: Final = frozenset(
    {
        FailureKind.DISK_FULL,
        FailureKind.VAULT_UNREACHABLE,
        FailureKind.BUCKET_MISSING,
        FailureKind.HOST_KEY_CHANGED,
        FailureKind.HOST_KEY_UNKNOWN,
    }
)


def stops_a_restore(messages: Iterable[str]) -> Complaint | None:
    """What made single files fail, when that is no matter of these files."""
    found = complaint("\n".join(messages))
    return found if found.kind in _STOPPING else None


def redact(words: str, accesses: Iterable[Access]) -> str:
    """Without the passwords and keys that these accesses hold, and of bearable length."""
    for hidden in sorted({value for access in accesses for value in _hidden(access)}, key=len, reverse=True):
        words = words.replace(hidden, "…")
    return words if len(words) <= WORDS_LIMIT else f"{words[:WORDS_LIMIT]} …"


_SECRET_NAME: Final = re.compile(r"KEY|SECRET|TOKEN|PASSWORD", re.IGNORECASE)


def _hidden(access: Access) -> Iterable[str]:
    yield from _password_in(access.address.url.reveal())
    values = [value for name, value in access.address.environment.items() if _SECRET_NAME.search(name)]
    for value in (access.password, *values):
        if len(value.reveal()) > 3:  # shorter ones would only tear words apart
            yield value.reveal()


def _password_in(url: str) -> Iterable[str]:
    """The password in `rest:https://user:password@host/`, as it is written there and as it was before."""
    try:
        written = urlsplit(url.partition(":")[2]).netloc.rpartition("@")[0].partition(":")[2]
    except ValueError:
        return
    if written:
        yield from {written, unquote(written)}

"""What restic says, line by line, as typed events: pure, and no input whatever can make it fail.

Fields may be added by any version (https://restic.readthedocs.io/en/stable/075_scripting.html), so what is not known is
passed over, and a line that is not understood is kept as `Unknown`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from jobs.lock import Lock
from jobs.snapshot import Snapshot, age

Fields = Mapping[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """How far a backup or a restore is. Totals of None are not known yet."""

    bytes_done: int = 0
    bytes_total: int | None = None
    files_done: int = 0
    files_total: int | None = None
    current: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupSummary:
    """The last word of a backup: without it there is no snapshot. The id has 8 hex digits in restic 0.14."""

    snapshot: str
    files: int
    bytes: int
    bytes_added: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckSummary:
    """The last word of a check (0.18 and newer). `errors` is 1 also when the check could not begin."""

    errors: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemError:
    """Something went wrong with one file. `during` is "scan", "archival", "restore", or empty (check)."""

    item: str
    during: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ExitError:
    """Why restic ends (0.17 and newer)."""

    code: int
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown:
    """A line for people, half a line, or a message from a newer restic."""

    text: str


Event = Status | BackupSummary | CheckSummary | ItemError | ExitError | Unknown


def parse(line: bytes) -> Event:
    """One line of either output. Never raises."""
    text = _clean(line.decode("utf-8", "replace"))
    fields = _fields(text)
    reader = _READERS.get(str(fields.get("message_type")))
    return (reader(fields) if reader else None) or _plain(text)


def parse_snapshots(output: bytes) -> tuple[Snapshot, ...]:
    """What `snapshots --json` printed, oldest first. Raises ValueError when it is not a list of snapshots."""
    try:
        listed = json.loads(output)
        found = [_snapshot(fields) for fields in listed or ()]
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a list of snapshots: {error!r}") from error
    return tuple(sorted(found, key=age))


def parse_lock(name: str, output: bytes) -> Lock:
    """What `cat lock` printed. Raises ValueError when it is no lock."""
    try:
        fields = json.loads(output)
        pid = int(fields["pid"])
        host, user = (_text(fields, key) for key in ("hostname", "username"))
        time = _moment(str(fields["time"]))
        return Lock(id=name, time=time, exclusive=fields["exclusive"] is True, host=host, user=user, pid=pid)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a lock: {error!r}") from error


def _snapshot(fields: Mapping[str, object]) -> Snapshot:
    return Snapshot(
        id=str(fields["id"]),
        time=_moment(str(fields["time"])),
        tree=str(fields["tree"]),
        paths=_texts(fields.get("paths")),
        hostname=_text(fields, "hostname"),
        tags=_texts(fields.get("tags")),
        original=_text(fields, "original") or None,
        parent=_text(fields, "parent") or None,
    )


def _moment(text: str) -> datetime:
    """RFC 3339 with up to nine decimals of a second; Python keeps six."""
    moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return moment


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


_TERMINAL_CODES: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def _clean(text: str) -> str:
    return _TERMINAL_CODES.sub("", text).strip("\r\n ")


def _fields(text: str) -> Fields:
    """The JSON object in a line; nothing for anything else. Deep nesting and huge numbers are no object of restic's."""
    if not text.startswith("{"):
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(fields: Fields, name: str) -> int:
    value = fields.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    # A lone surrogate (JSON can spell it) could not be written anywhere later.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _status(fields: Fields) -> Event | None:
    current = fields.get("current_files")
    return Status(
        bytes_done=_number(fields, "bytes_done") or _number(fields, "bytes_restored"),
        bytes_total=_number(fields, "total_bytes") or None,
        files_done=_number(fields, "files_done") or _number(fields, "files_restored"),
        files_total=_number(fields, "total_files") or None,
        current=next(iter(_texts(current)), "").encode("utf-8", "replace").decode(),
    )


def _summary(fields: Fields) -> Event | None:
    if snapshot := _text(fields, "snapshot_id"):
        return BackupSummary(
            snapshot=snapshot,
            files=_number(fields, "total_files_processed"),
            bytes=_number(fields, "total_bytes_processed"),
            bytes_added=_number(fields, "data_added"),
        )
    return CheckSummary(errors=_number(fields, "num_errors")) if "num_errors" in fields else None


def _error(fields: Fields) -> Event | None:
    """A backup's and a restore's errors name the item, check's do not; 0.14 gives a number in place of words."""
    detail = fields.get("error")
    inner = detail if isinstance(detail, dict) else {}
    return ItemError(
        item=_text(fields, "item"),
        during=_text(fields, "during"),
        message=_clean(_text(fields, "message") or _text(inner, "message") or "could not be read"),
    )


def _exit_error(fields: Fields) -> Event | None:
    return ExitError(code=_number(fields, "code"), message=_clean(_text(fields, "message")))


_READERS: Final[Mapping[str, Callable[[Fields], Event | None]]] = MappingProxyType(
    {"status": _status, "summary": _summary, "error": _error, "exit_error": _exit_error}
)

# Told in plain words: by all versions each source that is missing, by 0.14 each file that could not be restored.
_PLAIN: Final = (
    (re.compile(r"^(?P<item>.+) does not exist, skipping$"), "archival", "does not exist"),
    (re.compile(r"^ignoring error for (?P<item>.+?): (?P<message>.+)$"), "restore", ""),
)


def _plain(text: str) -> Event:
    for pattern, during, message in _PLAIN:
        if found := pattern.match(text):
            words = found.groupdict()
            return ItemError(item=words["item"], during=during, message=words.get("message") or message)
    return Unknown(text=text)

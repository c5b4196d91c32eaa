"""What goes into a log: one record, one line, whatever an error's text holds; and progress where there is no terminal.

A record becomes a line of text (for people and grep), a line of JSON (for collectors), or fields of the journal
(https://www.freedesktop.org/software/systemd/man/latest/systemd.journal-fields.html).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import isfinite
from types import MappingProxyType, TracebackType
from typing import BinaryIO, Final, Self, TextIO

from reports.document import printable
from reports.progress import Figures

Value = str | int | float | bool


class Level(StrEnum):
    """How loud a record is."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Form(StrEnum):
    """What a log is written as. `journal` is text without a time, because the journal adds its own."""

    TEXT = "text"
    JSON = "json"
    JOURNAL = "journal"


# syslog's levels, which the journal keeps (sd-daemon(3)).
PRIORITIES: Final[Mapping[Level, int]] = MappingProxyType(
    {Level.DEBUG: 7, Level.INFO: 6, Level.WARNING: 4, Level.ERROR: 3}
)
IDENTIFIER: Final = "tandem"

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,56}")  # the journal allows 64 characters, of which TANDEM_ takes seven
_OWN: Final = frozenset({"ts", "level", "event", "message", "priority"})
_EVENT: Final = re.compile(r"[a-z][a-z0-9-]*")
_BARE: Final = re.compile(r"[^\s\"=]+")
_LONE: Final = re.compile(r"[\ud800-\udfff]")  # what no UTF-8 can hold: bytes of a file's name


@dataclass(frozen=True, kw_only=True, slots=True)
class LogRecord:
    """One thing that happened. `event` is a short name that never changes ("run-ended"), `message` is for people.

    `fields` are the rest by name, in the order in which they are shown: run, slot, policy, tenant, job, site, vault,
    seconds. What is None is left out. Names and figures only: no secret is ever put here, and a value that is neither
    a text nor a number (a Secret, for one) is refused with TypeError.
    """

    at: datetime
    level: Level
    event: str
    message: str
    fields: Mapping[str, Value | None] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.at.utcoffset() != timedelta(0):
            raise ValueError("the time of a log record is in UTC")
        if not _EVENT.fullmatch(self.event):
            raise ValueError(f"{self.event!r} is no name of an event")
        for name, value in self.fields.items():
            if not _NAME.fullmatch(name) or name in _OWN:
                raise ValueError(f"{name!r} is no name of a field")
            if value is not None and not isinstance(value, Value):
                raise TypeError(f"field {name} of a log record is neither a text nor a number")
            if isinstance(value, float) and not isfinite(value):
                raise ValueError(f"field {name} of a log record is no figure: {value}")

    @property
    def told(self) -> dict[str, Value]:
        """The fields that have a value."""
        return {name: value for name, value in self.fields.items() if value is not None}


def text_line(record: LogRecord, *, timed: bool = True) -> str:
    """For people: `2026-11-21T22:15:03.120Z warning run-ended: backup files: partial run=… seconds=3.2`."""
    head = f"{record.event}: {printable(record.message)}"
    if timed:
        head = f"{_instant(record.at)} {record.level} {head}"
    return " ".join([head, *(f"{name}={_shown(value)}" for name, value in record.told.items())])


def json_line(record: LogRecord) -> str:
    """For collectors: one JSON object in ASCII. Texts come back from it as they were, newlines too."""
    head = {"ts": _instant(record.at), "level": record.level.value, "event": record.event, "message": record.message}
    told = {name: _lone_escaped(value) for name, value in {**head, **record.told}.items()}
    return json.dumps(told, separators=(",", ":"))


def journal_fields(record: LogRecord) -> dict[str, str]:
    """For the journal's own protocol: MESSAGE, PRIORITY, and each field as TANDEM_NAME, every value in one line."""
    return {
        "MESSAGE": printable(record.message),
        "PRIORITY": str(PRIORITIES[record.level]),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "TANDEM_EVENT": record.event,
        **{f"TANDEM_{name.upper()}": printable(_plain(value)) for name, value in record.told.items()},
    }


def journal_line(record: LogRecord) -> str:
    """For a stream that the journal reads: text without a time, behind the level that it understands (`<4>`)."""
    return f"<{PRIORITIES[record.level]}>{text_line(record, timed=False)}"


_LINES: Final[Mapping[Form, Callable[[LogRecord], str]]] = MappingProxyType(
    {Form.TEXT: text_line, Form.JSON: json_line, Form.JOURNAL: journal_line}
)


class EventLog:
    """Writes records to a stream of bytes, each as one line in one write, so that threads never mix theirs.

    A buffered stream (sys.stderr.buffer) locks itself:
    https://docs.python.org/3/library/io.html#multi-threading. `say` raises OSError where the stream is broken.
    """

    def __init__(self, stream: BinaryIO, form: Form) -> None:
        self._stream = stream
        self._line = _LINES[form]

    def say(self, record: LogRecord) -> None:
        """Write one record."""
        self._stream.write(f"{self._line(record)}\n".encode("utf-8", "backslashreplace"))
        self._stream.flush()


def _instant(at: datetime) -> str:
    """RFC 3339 in UTC; milliseconds, so that lines of one second keep their order when they are sorted."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def _plain(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(round(value, 3)) if isinstance(value, float) else str(value)


def _shown(value: Value) -> str:
    """Bare where it can be taken for nothing else, in quotes otherwise."""
    plain = printable(_plain(value))
    return plain if _BARE.fullmatch(plain) else '"{}"'.format(plain.replace('"', '\\"'))


def _lone_escaped(value: Value) -> Value:
    return _LONE.sub(lambda found: printable(found[0]), value) if isinstance(value, str) else value


class LogDisplay:
    """Stands in for terminal.ProgressDisplay where there is no terminal. It may be told from several threads."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._under_way: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is to be given back."""

    def start(self, step: str) -> None:
        """Announce a step by the name under which it is fed ("backup career-files at primary")."""
        self._under_way.add(step)
        self._say(f"{step}: started")

    def update(self, step: str, _now: Figures) -> None:
        """How far it is: a log is not told. A step that was not announced is announced."""
        if step not in self._under_way:
            self.start(step)

    def finish(self, step: str, outcome: str = "done") -> None:
        """End a step; `outcome` is a word or a sentence ("done", "failed: vault unreachable")."""
        self._under_way.discard(step)
        self._say(f"{step}: {outcome}")

    def _say(self, line: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(printable(line).encode(encoding, "replace").decode(encoding) + "\n")
        self._stream.flush()

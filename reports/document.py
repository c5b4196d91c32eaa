"""A report before it is rendered: texts for people with the exact values beside them, and no more form than a table.

Builders make documents, renderers show them, and neither knows the other. Every figure is in one cell, so no two
renderings can differ: `text` is what all of them print, `value` what machines read (integers for seconds, bytes and
counts; ISO 8601 in UTC for instants).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

Scalar = str | int | bool | None
Value = Scalar | tuple[str, ...] | Mapping[str, Scalar]


ABSENT: Final = "—"  # there is nothing to show, and nothing is wrong with that


class Severity(StrEnum):
    """How a figure is to be read. Renderers show it by symbol and colour, and never by colour alone."""

    GOOD = "good"
    BAD = "bad"
    WARNING = "warning"
    NEUTRAL = "neutral"


SYMBOLS: Final[Mapping[Severity, str]] = {
    Severity.GOOD: "✓",
    Severity.BAD: "✗",
    Severity.WARNING: "!",
    Severity.NEUTRAL: "·",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One fact: its words, its exact value, what it means. `details` are further lines of the same fact."""

    text: str
    value: Value = None
    severity: Severity = Severity.NEUTRAL
    details: tuple[str, ...] = ()
    badge: bool = False  # a judgement: shown with its severity's symbol

    @property
    def marked(self) -> bool:
        """Whether a symbol stands beside the text: on judgements, and on whatever is wrong but a mere number."""
        return self.badge or (self.severity is Severity.BAD and not isinstance(self.value, int))


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """A labelled cell; `key` names it to machines."""

    key: str
    label: str
    cell: Cell


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A table's column. Only figures stand to the right; `code` is for ids and paths."""

    key: str
    title: str
    align: Literal["left", "right"] = "left"
    code: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of cells under columns; the first column names the row. `empty` is said in place of no rows."""

    key: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...] = ()
    title: str = ""
    empty: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"table {self.key}: a row has another number of cells than there are columns")
        if len({column.key for column in self.columns}) != len(self.columns):
            raise ValueError(f"table {self.key}: two columns have the same key")


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A titled part: paragraphs, then tables. An `annex` explains, and is set smaller."""

    key: str
    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    annex: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A whole report. `headline` is its judgement in one sentence, `summary` the few figures to see first."""

    kind: str
    title: str
    subtitle: str = ""
    headline: Cell | None = None
    summary: tuple[Fact, ...] = ()
    facts: tuple[Fact, ...] = ()
    sections: tuple[Section, ...] = ()


def printable(text: str) -> str:
    """Text from outside (a file's name, a tool's message) with what could act on a terminal or a page made visible.

    Control characters, bytes that are no UTF-8 and marks that turn the writing direction become `\\x1b`, `\\u202e`.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\u00a0\u202f" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as the operating system's file names carry it
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

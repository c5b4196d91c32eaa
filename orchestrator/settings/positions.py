"""Where each key of a TOML text stands. Total: at what is not TOML it stops, and gives what it has seen so far.

tomllib gives values without positions and stops at the first repeated key; this gives lines and every repeat, and no
values. Used only when something is to be shown to a person.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

KeyPath = tuple[str | int, ...]  # names of keys, and indexes of list items

# https://toml.io/en/v1.0.0
_ANY_BLANK: Final = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BLANK: Final = re.compile(r"[ \t]*")
_LINE_END: Final = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_KEY_PART: Final = re.compile(r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*'""")
# Three closing quotes may follow up to two that belong to the text.
_SCALAR: Final = re.compile(
    r'''"""(?:\\.|[^\\])*?""""{0,2}'''
    r"""|'''.*?''''{0,2}"""
    r'''|"(?:\\.|[^"\\\n])*"'''
    r"""|'[^'\n]*'"""
    r"""|[^,\]}#\n]+""",
    re.DOTALL,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeat:
    """A key (or a table's header) that was set before. `span` are the offsets of all that it brings with it."""

    key: KeyPath
    first: int
    line: int
    span: tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """What was seen of one text: each key's line (from 1), where it was set first, and the repeats."""

    lines: Mapping[KeyPath, int]
    repeats: tuple[Repeat, ...]


class _LostError(Exception):
    """The text is not TOML from here on."""


@lru_cache(maxsize=64)
def scan(text: str) -> Scan:
    """Find the line of every key, table and list item of a TOML text whose line ends are newlines."""
    scanner = _Scanner(text, 0)
    try:
        scanner.document()
    except (_LostError, RecursionError):  # tomllib says what is wrong, and where
        return Scan(lines=scanner.lines, repeats=tuple(scanner.repeats))
    return Scan(lines=scanner.lines, repeats=tuple(scanner.repeats))


def without(text: str, repeats: tuple[Repeat, ...]) -> str:
    """The text with the repeats blanked out and every line where it was."""
    for repeat in repeats:
        start, end = repeat.span
        text = text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]
    return text


class _Scanner:
    def __init__(self, text: str, at: int) -> None:
        self.text = text
        self.at = at
        self.lines: dict[KeyPath, int] = {}
        self.repeats: list[Repeat] = []
        self._set: dict[KeyPath, int] = {}  # keys and headers that may not be set again
        self._tables: dict[KeyPath, int] = {}  # arrays of tables: how many so far
        self._line_starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def document(self) -> None:
        self.body(())
        while self.at < len(self.text):
            self._section()

    def body(self, table: KeyPath) -> None:
        """Read assignments up to the next header or the end."""
        self._take(_ANY_BLANK)
        while self.at < len(self.text) and self.text[self.at] != "[":
            self._assignment(table, self.at)
            self._take(_LINE_END)
            self._take(_ANY_BLANK)

    def _section(self) -> None:
        start, many = self.at, self.text.startswith("[[", self.at)
        self._expect("[[" if many else "[")
        key = self._resolve(self._key(), many=many)
        self._expect("]]" if many else "]")
        self._take(_LINE_END)
        if key in self._set:
            self._repeated_section(key, start)
        else:
            self._set[key] = self._mark(key, start)
            self.body(key)

    def _repeated_section(self, key: KeyPath, start: int) -> None:
        aside = _Scanner(self.text, self.at)  # its keys are no repeats of their own
        aside.body(())
        self.at = aside.at
        self._repeat(key, at=start, start=start)

    def _resolve(self, names: tuple[str, ...], *, many: bool) -> KeyPath:
        """Give a header's names the indexes of the arrays of tables they pass through."""
        path: KeyPath = ()
        for depth, name in enumerate(names, 1):
            path = (*path, name)
            if many and depth == len(names):
                self._mark(path, self.at)
                self._tables[path] = self._tables.get(path, 0) + 1
            if path in self._tables:
                path = (*path, self._tables[path] - 1)
        return path

    def _assignment(self, table: KeyPath, start: int) -> None:
        at = self.at
        key = table + self._key()
        self._expect("=")
        repeated = key in self._set
        if not repeated:
            self._set[key] = self._mark(key, at)
        self._value(key)
        if repeated:
            self._repeat(key, at=at, start=start)

    def _value(self, key: KeyPath) -> None:
        opening = self.text[self.at : self.at + 1]
        if opening == "[":
            self._list(key)
        elif opening == "{":
            self._inline_table(key)
        else:
            self._take(_SCALAR)

    def _list(self, key: KeyPath) -> None:
        self._expect("[")
        index = 0
        self._take(_ANY_BLANK)
        while not self._at("]"):
            self._mark((*key, index), self.at)
            self._value((*key, index))
            index += 1
            self._take(_ANY_BLANK)
            if not self._at("]"):
                self._expect(",")
                self._take(_ANY_BLANK)
        self._expect("]", blank=False)

    def _inline_table(self, key: KeyPath) -> None:
        self._expect("{")
        start = self.at
        while not self._at("}"):
            self._assignment(key, start)
            self._take(_BLANK)
            start = self.at  # a repeat takes the comma before it along
            if not self._at("}"):
                self._expect(",")
        self._expect("}", blank=False)

    def _key(self) -> tuple[str, ...]:
        self._take(_BLANK)
        parts = [_name(self._take(_KEY_PART))]
        self._take(_BLANK)
        while self._at("."):
            self._expect(".")
            parts.append(_name(self._take(_KEY_PART)))
            self._take(_BLANK)
        return tuple(parts)

    def _mark(self, key: KeyPath, at: int) -> int:
        line = bisect_right(self._line_starts, at)
        # A table that has no header of its own stands where the first of its keys does.
        for length in range(1, len(key) + 1):
            self.lines.setdefault(key[:length], line)
        return line

    def _repeat(self, key: KeyPath, *, at: int, start: int) -> None:
        line = bisect_right(self._line_starts, at)
        self.repeats.append(Repeat(key=key, first=self._set[key], line=line, span=(start, self.at)))

    def _at(self, token: str) -> bool:
        return self.text.startswith(token, self.at)

    def _expect(self, token: str, *, blank: bool = True) -> None:
        if not self._at(token):
            raise _LostError
        self.at += len(token)
        if blank:
            self._take(_BLANK)

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise _LostError
        self.at = found.end()
        return found.group()


def _name(part: str) -> str:
    if part[0] == '"' and "\\" in part:
        return _decoded(part)
    return part[1:-1] if part[0] in "\"'" else part


def _decoded(part: str) -> str:
    try:
        name = tomllib.loads(f"name = {part}")["name"]
    except tomllib.TOMLDecodeError as error:
        raise _LostError from error
    return str(name)

"""What a service needs, in the words of settings: `portal and any(fibre, radio) and at_least(2, dns1, dns2, dns3)`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from jobs.availability.composite import at_least
from jobs.availability.span import Timeline

_TOKEN: Final = re.compile(r"\s*(?:(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)|(?P<mark>[(),]))")
_WORDS: Final = frozenset({"and", "or", "not", "any", "all", "at_least"})
_DEEPEST: Final = 32


@dataclass(frozen=True, slots=True)
class Part:
    """A probe, a link or another service, by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class AtLeast:
    """So many of some parts. Raises ValueError where that is none, more than there are, or one part is named twice."""

    needed: int
    parts: tuple[Expression, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.needed <= len(self.parts):
            raise ValueError(f"at_least({self.needed}, …) of {len(self.parts)} parts is never a promise")
        if len(set(self.parts)) < len(self.parts):
            raise ValueError(f"{spelled(self)} names a part twice: it would fail twice at once")

    @property
    def is_redundant(self) -> bool:
        """Whether it may lose a part and be up all the same."""
        return self.needed < len(self.parts)


Expression = Part | AtLeast


def parse(text: str) -> Expression:
    """Read `and`, `any(…)`, `all(…)`, `at_least(N, …)`, parentheses and names. Raises ValueError, with the place."""
    reader = _Reader(text)
    found = reader.conjunction(0)
    reader.expect_end()
    return found


def names(expression: Expression) -> tuple[str, ...]:
    """The names in it, each once, in the order of the text."""
    return tuple(dict.fromkeys(_names(expression)))


def _names(expression: Expression) -> Iterator[str]:
    if isinstance(expression, Part):
        yield expression.name
        return
    for part in expression.parts:
        yield from _names(part)


def spelled(expression: Expression) -> str:
    """The text of it, in one way only."""
    if isinstance(expression, Part):
        return expression.name
    inner = [spelled(part) for part in expression.parts]
    if expression.needed == len(inner):
        return inner[0] if len(inner) == 1 else f"({' and '.join(inner)})"
    return (
        f"any({', '.join(inner)})" if expression.needed == 1 else f"at_least({expression.needed}, {', '.join(inner)})"
    )


def redundancies(expression: Expression) -> tuple[AtLeast, ...]:
    """Where it promises redundancy: each group that may lose a part, the outermost first."""
    if isinstance(expression, Part):
        return ()
    inner = tuple(group for part in expression.parts for group in redundancies(part))
    return (expression, *inner) if expression.is_redundant else inner


def measured(expression: Expression, known: Mapping[str, Timeline]) -> Timeline:
    """When it held, by the timelines of its parts. Raises KeyError for a name that has none."""
    if isinstance(expression, Part):
        return known[expression.name]
    return at_least(expression.needed, parts_of(expression, known))


def parts_of(group: AtLeast, known: Mapping[str, Timeline]) -> dict[str, Timeline]:
    """A group's own parts, each under its text. Raises KeyError for a name that has no timeline."""
    return {spelled(part): measured(part, known) for part in group.parts}


class _Reader:
    """A text, read once from left to right."""

    def __init__(self, text: str) -> None:
        self._text, self._tokens = text, list(_tokens(text))
        self._next = 0

    def conjunction(self, depth: int) -> Expression:
        if depth > _DEEPEST:
            raise self._wrong("fewer parentheses")
        parts = [self._term(depth)]
        while self._taken("and"):
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else AtLeast(len(parts), tuple(parts))

    def expect_end(self) -> None:
        if self._next < len(self._tokens):
            raise self._wrong('"and", or the end')

    def _term(self, depth: int) -> Expression:
        if self._taken("("):
            return self._closed(self.conjunction(depth + 1))
        word = self._peek()
        if word in {"any", "all", "at_least"} and self._peek(1) == "(":
            self._next += 2
            return self._closed(self._group(word, depth))
        if word is None or word in _WORDS or word in "(),":
            raise self._wrong("a name, any(…), all(…) or at_least(N, …)")
        self._next += 1
        return Part(word)

    def _group(self, word: str, depth: int) -> Expression:
        count = self._count() if word == "at_least" else 1
        parts = [self.conjunction(depth + 1)]
        while self._taken(","):
            parts.append(self.conjunction(depth + 1))
        needed = len(parts) if word == "all" else count
        if not 1 <= needed <= len(parts):
            raise self._wrong(f"between 1 and {len(parts)} needed of {len(parts)} parts")
        return AtLeast(needed, tuple(parts)) if len(parts) > 1 else parts[0]

    def _count(self) -> int:
        word = self._peek()
        if word is None or not word.isascii() or not word.isdigit() or len(word) > 3:
            raise self._wrong("a whole number")
        self._next += 1
        if not self._taken(","):
            raise self._wrong('","')
        return int(word)

    def _closed(self, found: Expression) -> Expression:
        if not self._taken(")"):
            raise self._wrong('"," or ")"')
        return found

    def _peek(self, ahead: int = 0) -> str | None:
        place = self._next + ahead
        return self._tokens[place][0] if place < len(self._tokens) else None

    def _taken(self, word: str) -> bool:
        if self._peek() != word:
            return False
        self._next += 1
        return True

    def _wrong(self, wanted: str) -> ValueError:
        if self._next >= len(self._tokens):
            return ValueError(f'"{self._text}" ends where {wanted} should come')
        word, place = self._tokens[self._next]
        return ValueError(f'"{self._text}", character {place + 1}: {wanted} should come here, not "{word}"')


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            place = at + len(text[at:]) - len(text[at:].lstrip())
            raise ValueError(f'"{text}", character {place + 1}: "{text[place]}" has no meaning here')
        yield found[found.lastgroup or 0], found.start(found.lastgroup or 0)
        at = found.end()

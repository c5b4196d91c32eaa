"""restic's patterns for excluding and choosing files, to the letter: a path matches when it or a folder above it does.

From restic's documentation ("Excluding files") and its filter package, whose parts are Go's filepath.Match:
  - a pattern that begins with `/` is matched from the root, any other one at any depth;
  - `*` any run of characters, `?` one character, `[a-z]` `[^a-z]` one of a class, `\\` takes the next one literally:
    none of them crosses a `/`; `**` as a whole part stands for any number of folders, none included;
  - the pattern is cleaned first, as a path is (`foo/`, `./foo` and `bar/../foo` are `foo`);
  - `!` (take back an exclusion) is refused: Tandem reads its patterns as a set, without an order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from posixpath import normpath
from typing import Final


class PatternError(ValueError):
    """A pattern that restic would refuse, ignore, or take for something else than its writer meant."""


def literal(path: str) -> str:
    """The pattern that means this path and nothing else: what would be a wildcard in it is escaped."""
    return "".join(f"\\{character}" if character in "*?[\\" else character for character in path)


def compile(patterns: Iterable[str]) -> Callable[[str], bool]:
    """A test for absolute paths: whether one of the patterns matches the path or a folder above it.

    Raises PatternError, which names the pattern. No pattern matches nothing.
    """
    sources = [_pattern(pattern) for pattern in patterns]
    if not sources:
        return lambda _path: False
    found = re.compile("|".join(sources)).search
    return lambda path: found(f"{path}/") is not None


def _pattern(pattern: str) -> str:
    """The regular expression of one pattern, to be searched in an absolute path."""
    if not pattern:
        raise PatternError("an empty pattern excludes nothing: take it out")
    if pattern.startswith("!"):
        raise PatternError(f'"{pattern}": "!" is not supported; write \\! for a name that begins with it')
    if "\0" in pattern:
        raise PatternError(f"{pattern!r}: no file name holds a NUL character")
    try:
        runs = _runs(normpath(pattern).lstrip("/").split("/"))
        return "|".join(_alternatives(runs, rooted=pattern.startswith("/")))
    except PatternError as error:
        raise PatternError(f'"{pattern}": {error}') from None


def _runs(parts: list[str]) -> list[list[str]]:
    """What stands between the `**`, as regular expressions of one name each. `/` alone is as `/**`."""
    runs: list[list[str]] = [[]]
    for part in parts:
        if part in ("**", ""):
            runs.append([])
        else:
            runs[-1].append(_part(part))
    return runs


def _alternatives(runs: list[list[str]], *, rooted: bool) -> Iterator[str]:
    """restic asks (its filter.go, match) that after each `**` as many names be left as parts, further `**` included:
    `/a/**/b/**/c` does not match /a/b/c. A pattern without a root is let off one of them, and one for each folder that
    it is matched below; where that can matter (from three `**` on), each depth has a regular expression of its own.
    """
    deepest = sum(map(len, runs[1:])) + len(runs) - 2
    if rooted:
        yield r"\A/" + _source(runs, spared=0)
    elif len(runs) <= 3:
        yield "/" + _source(runs, spared=deepest)
    else:
        for depth in range(deepest):
            yield rf"\A(?:/[^/]+){{{depth}}}/" + _source(runs, spared=depth + 1)
        yield rf"\A(?:/[^/]+){{{deepest},}}/" + _source(runs, spared=deepest)


def _source(runs: list[list[str]], *, spared: int) -> str:
    """The first run, then each `**` with the run after it: as early as can be, which is as good as any, and for good
    (an atomic group), so that no path can make the search explode.
    """
    source = "".join(f"{name}/" for name in runs[0])
    for number, run in enumerate(runs[1:], start=2):
        left = sum(map(len, runs[number - 1 :])) + len(runs) - number - spared
        enough = f"(?=(?:[^/]+/){{{left}}})" if left > len(run) else ""
        source += f"(?>(?:[^/]+/)*?{enough}{''.join(f'{name}/' for name in run)})"
    return source


_TOKEN: Final = re.compile(r"\*+|\[\^?(?:\\.|[^]\\])+\]|\\.|.", re.DOTALL)
_MEMBER: Final = re.compile(r"\\.|.", re.DOTALL)


def _part(part: str) -> str:
    """One path component. Each `*` takes as little as lets the next run match, and never gives back (an atomic group):
    runs have a fixed length, so the leftmost match is as good as any, and a long name cannot make the search explode.
    """
    runs = [""]
    for token in _TOKEN.findall(part):
        if token.startswith("*"):
            runs.append("")
        else:
            runs[-1] += _single(token)
    first, *middle = runs[:-1] or [""]
    stars = "".join(f"(?>[^/]*?{run})" for run in middle)
    return f"{first}{stars}[^/]*{runs[-1]}" if len(runs) > 1 else runs[0]


def _single(text: str) -> str:
    """What stands for one character: `?`, a class, an escaped or a plain character."""
    if text == "?":
        return "[^/]"
    if text == "\\":
        raise PatternError("nothing follows its last backslash")
    if text == "[":
        raise PatternError("its [class] is not closed, or empty")
    return _class(text[1:-1]) if text.startswith("[") else re.escape(text[-1])


def _class(inside: str) -> str:
    """A class such as `a-z` or `^a-z`. A backward range holds nothing."""
    negated = inside.startswith("^")
    members = _MEMBER.findall(inside[negated:])
    ranges = []
    while members:
        low = high = _literal(members.pop(0))
        if members[:1] == ["-"]:
            members.pop(0)
            high = _literal(members.pop(0) if members else "")
        ranges.append((low, high))
    if not ranges:
        raise PatternError("its [class] is empty")
    held = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges if low <= high)
    return f"[^/{held}]" if negated else f"(?!/)[{held}]" if held else "(?!)"


def _literal(member: str) -> str:
    if member in ("", "-", "\\"):
        raise PatternError("a - in a [class] stands between two characters, or after a backslash")
    return member[-1]

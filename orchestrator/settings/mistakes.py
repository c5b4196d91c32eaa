"""What is wrong with the settings, all of it at once: each mistake with its place, its key and a way out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.settings.positions import KeyPath

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_LIKE: Final = 0.65  # difflib's measure: "primry" is like "primary", "s3" is not like "secondary"

_FEW: Final = 12  # names to choose from, in a message for people


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Place:
    """A line of a file, as the user would name it. Line 0 is the file as a whole; column 0 is the whole line."""

    file: Path
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        numbers = (str(number) for number in (self.line, self.column) if number)
        return ":".join((str(self.file), *numbers))


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Mistake:
    """One thing to put right. `key` is the dotted key path, empty for a text that is not TOML. Never holds a secret."""

    place: Place
    key: str = ""
    what: str

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.place), self.key, self.what) if part)


class SettingsError(Exception):
    """The settings cannot be used. str() is one mistake a line, sorted by file and line."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes: tuple[Mistake, ...] = tuple(sorted(set(mistakes)))
        super().__init__("\n".join(map(str, self.mistakes)))


def dotted(key: KeyPath) -> str:
    """Write a key path as TOML would: policies.career-files.source.paths[0]."""
    names = [f"[{part}]" if isinstance(part, int) else f".{_quoted(part)}" for part in key]
    return "".join(names).removeprefix(".")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or what there is to choose from."""
    import difflib  # only a mistake pays for it

    names = {one.lower(): one for one in sorted(known)}
    if near := difflib.get_close_matches(name.lower(), names, n=3, cutoff=_LIKE):
        swapped = (one for one in near if sorted(one) == sorted(name.lower()))  # "rop" is "rpo"; "rto" is as near
        return f' — did you mean "{names[next(swapped, near[0])]}"?'
    more = ", …" if len(names) > _FEW else ""
    return f"; known here: {', '.join([*names.values()][:_FEW])}{more}" if names else "; none is defined"


def _quoted(name: str) -> str:
    if _BARE.fullmatch(name):
        return name
    import json  # only a mistake pays for it

    return json.dumps(name, ensure_ascii=False)

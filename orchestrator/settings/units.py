"""How the settings write durations, sizes, rates and shares: one number, one unit, nothing that reads two ways."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

_SECONDS: Final[Mapping[str, int]] = MappingProxyType({"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1})
_DURATION: Final = re.compile(r"([1-9][0-9]{0,9})([smhdw])")
_YEARS: Final = re.compile(r"([1-9][0-9]?)y")
_LEAST_KEPT: Final = timedelta(days=93)
LONGEST: Final = timedelta(days=36_525)  # a century; more is a slip of the finger

# Powers of two, as restic reads them: "500M" is 500 MiB.
# https://restic.readthedocs.io/en/stable/045_working_with_repos.html#checking-integrity-and-consistency
_BYTES: Final[Mapping[str, int]] = MappingProxyType({"T": 1 << 40, "G": 1 << 30, "M": 1 << 20, "K": 1 << 10, "B": 1})
_SIZE: Final = re.compile(r"([1-9][0-9]{0,17})(?:([KMGT])(?:iB)?|B)")
_RATE: Final = re.compile(rf"({_SIZE.pattern})/s")
_SLOWEST: Final = 1024  # restic counts in KiB a second and takes 0 for "no limit"

_PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)%")
_PART: Final = re.compile(r"([1-9][0-9]{0,2})/([1-9][0-9]{0,2})")
_PARTS: Final = 256  # restic picks packs by the first byte of their name


def parse_duration(text: object) -> timedelta:
    """Read "90s", "15m", "24h", "30d" or "2w". Raises ValueError."""
    found = _found(_DURATION, text, 'a duration such as "90s", "15m", "24h", "30d" or "2w"')
    seconds = int(found[1]) * _SECONDS[found[2]]
    if seconds > LONGEST.total_seconds():
        raise ValueError(f'"{text}" is more than a hundred years')
    return timedelta(seconds=seconds)


def parse_keep(text: object) -> timedelta:
    """Read "10y", or a duration, of at least 93 days: for how long records are kept. Raises ValueError.

    A year has 366 days, so that nothing is kept for less than so many years of any calendar.
    """
    years = _YEARS.fullmatch(text) if isinstance(text, str) else None
    keep = timedelta(days=int(years[1]) * 366) if years else parse_duration(text)
    if keep < _LEAST_KEPT:
        raise ValueError(f'"{text}" is too short: the report of a quarter needs records of 93 days, "93d"')
    return keep


def format_duration(duration: timedelta) -> str:
    """Write whole seconds as people say them ("24h", but "2d"); `parse_duration` reads it back."""
    seconds = int(duration.total_seconds())
    for unit in "dhm":
        if seconds % _SECONDS[unit] == 0 and seconds > _SECONDS[unit] * (unit == "d"):
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"


def parse_size(text: object) -> int:
    """Read "16MiB" or "500M" as bytes. Raises ValueError."""
    found = _found(_SIZE, text, 'a size such as "512KiB", "16MiB" or "2GiB" (powers of 1024)')
    return int(found[1]) * _BYTES[found[2] or "B"]


def format_size(size: int) -> str:
    """Write bytes in the largest unit that divides them; `parse_size` reads it back."""
    unit = next(unit for unit, amount in _BYTES.items() if size % amount == 0)
    return f"{size // _BYTES[unit]}{unit if unit == 'B' else unit + 'iB'}"


def parse_rate(text: object) -> int:
    """Read "20MiB/s" as bytes a second. Raises ValueError."""
    found = _found(_RATE, text, 'a rate such as "20MiB/s" (bytes a second, powers of 1024)')
    if (rate := parse_size(found[1])) < _SLOWEST:
        raise ValueError(f'"{text}" is too slow: the slowest is 1KiB/s')
    return rate


def format_rate(rate: int) -> str:
    """Write bytes a second; `parse_rate` reads it back."""
    return f"{format_size(rate)}/s"


def parse_share(text: str) -> str:
    """Check how much of the pack data to read, and write it as restic does ("500MiB" → "500M"). Raises ValueError."""
    if text == "none":
        return text
    if found := _PERCENT.fullmatch(text):
        return _percent(text, float(found[1]))
    if found := _PART.fullmatch(text):
        return _part(text, int(found[1]), int(found[2]))
    if _SIZE.fullmatch(text):
        return format_size(parse_size(text)).removesuffix("iB")
    raise ValueError(f'"{text}" is not a share of the data: "none", "100%", "10%", "1/4" or a size such as "500M"')


def _percent(text: str, share: float) -> str:
    if not 0 < share <= 100:
        raise ValueError(f'"{text}" is not a share: more than 0% and up to 100%, or "none"')
    return text


def _part(text: str, part: int, parts: int) -> str:
    if not part <= parts <= _PARTS:
        raise ValueError(f'"{text}" is not a part: n/t with 1 ≤ n ≤ t ≤ {_PARTS}')
    return text


def _found(pattern: re.Pattern[str], text: object, wanted: str) -> re.Match[str]:
    if not isinstance(text, str):
        raise ValueError(f"must be a text in quotes: {wanted}")  # noqa: TRY004 (pydantic collects ValueErrors only)
    if (found := pattern.fullmatch(text)) is None:
        raise ValueError(f'"{text}" is not {wanted}')
    return found

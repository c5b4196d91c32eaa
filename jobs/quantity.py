"""Durations, sizes and counts as people read them. Rounding is always towards the worse figure, never the better."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

_DAY: Final = (86_400, "d")
_CLOCK: Final = ((3_600, "h"), (60, "min"), (1, "s"))
_DAYS_FROM: Final = 2 * 86_400  # below two days people count in hours: an objective of 24 h reads "24 h"
_SIZES: Final = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def whole_seconds(value: timedelta) -> int:
    """The seconds of a duration, a started second counting as a whole one."""
    return -(-value // timedelta(seconds=1))


def duration(value: timedelta, *, limit: timedelta | None = None) -> str:
    """Two units at most ("5 h 13 min"), rounded up: what is printed is never shorter than what was.

    With `limit`, more units are shown where rounding would make a duration within the limit read as one beyond it.
    """
    if value < timedelta():
        return "-" + duration(-value)
    seconds = whole_seconds(value)
    for units in (2, 3, 4):
        rounded = _rounded_up(seconds, units)
        if limit is None or value > limit or timedelta(seconds=rounded) <= limit:
            break
    return _spelled(rounded)


def _units(seconds: int) -> tuple[tuple[int, str], ...]:
    return (_DAY, *_CLOCK) if seconds >= _DAYS_FROM else _CLOCK


def _rounded_up(seconds: int, units: int) -> int:
    ladder = [size for size, _ in _units(seconds) if size <= max(seconds, 1)]
    finest = ladder[min(units, len(ladder)) - 1]
    return -(-seconds // finest) * finest


def _spelled(seconds: int) -> str:
    parts = []
    rest = seconds
    for size, name in _units(seconds):
        number, rest = divmod(rest, size)
        if number:
            parts.append(f"{number:,} {name}")
    return " ".join(parts) or "0 s"


def size(count: int) -> str:
    """Bytes in binary units with three digits ("1.23 GiB"), rounded down: never more than there is."""
    if count < 0:
        return "-" + size(-count)
    if count < 1024:
        return f"{count} B"
    power = min((count.bit_length() - 1) // 10, len(_SIZES))
    unit = 1024**power
    places = 2 if count < 10 * unit else 1 if count < 100 * unit else 0
    scaled = count * 10**places // unit
    whole, fraction = divmod(scaled, 10**places)
    return f"{whole:,}{f'.{fraction:0{places}}' if places else ''} {_SIZES[power - 1]}"


def rate(bytes_a_second: float) -> str:
    """A speed: "12.3 MiB/s"."""
    return f"{size(int(bytes_a_second))}/s"


def number(count: int) -> str:
    """A count with its thousands apart: "12,345"."""
    return f"{count:,}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """A count and its noun: "1 file", "2,345 files"."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"

"""How far a step is, in plain numbers and in one line of words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from jobs.quantity import counted, duration, number, rate, size


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """Bytes, files, bytes a second, seconds left. None is what nobody knows (yet)."""

    bytes_done: int = 0
    bytes_total: int | None = None
    files_done: int = 0
    files_total: int | None = None
    bytes_a_second: float | None = None
    seconds_left: float | None = None


def figures(now: Figures, *, brief: bool = False) -> str:
    """One line: "1.20 GiB of 3.41 GiB, 12,345 files, 80.1 MiB/s, 40 s left"; empty where nothing is known.

    `brief` leaves out totals and files, for where a bar stands beside it and the line is short.
    """
    parts = [] if brief else _totals(now)
    if brief and now.bytes_done:
        parts.append(size(now.bytes_done))
    if now.bytes_a_second is not None:
        parts.append(rate(now.bytes_a_second))
    if now.seconds_left is not None:
        parts.append(f"{duration(timedelta(seconds=now.seconds_left))} left")
    return ", ".join(parts)


def _totals(now: Figures) -> list[str]:
    parts = []
    if now.bytes_done or now.bytes_total:
        parts.append(size(now.bytes_done) + (f" of {size(now.bytes_total)}" if now.bytes_total else ""))
    if now.files_total:
        parts.append(f"{number(now.files_done)} of {counted(now.files_total, 'file')}")
    elif now.files_done:
        parts.append(counted(now.files_done, "file"))
    return parts

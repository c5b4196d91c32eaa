"""Calendar periods in a zone: a year, a quarter, a month, a week or a day as a half-open interval of UTC instants."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from types import MappingProxyType
from typing import Final

_FORMS: Final = re.compile(
    r"(?P<year>\d{4})(?:-(?:Q(?P<quarter>[1-4])|W(?P<week>\d\d)|(?P<month>\d\d)(?:-(?P<day>\d\d))?))?", re.ASCII
)
_DAY: Final = timedelta(days=1)


class PeriodKind(StrEnum):
    """How long a period is. A week begins on a Monday, and is the year's that ISO 8601 counts it to."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """From `start` up to, and not with, `end` (aware UTC). `text` is how a person named it: "2026-11"."""

    text: str
    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError("a period ends after it starts")

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def as_of(self, now: datetime) -> datetime:
        """The instant a report on it speaks of: its end, or `now` while it lasts. ValueError before it begins."""
        if now < self.start:
            raise ValueError(f"the period {self.text} has not begun yet")
        return min(now, self.end)


def parse(text: str, zone: tzinfo) -> Period:
    """Read "2026", "2026-Q4", "2026-11", "2026-W47" or "2026-11-21" as calendar time in `zone`. Raises ValueError."""
    found = _matched(text)
    try:
        first, last = _days(found)
        return Period(text=text, start=_midnight(first, zone), end=_midnight(last, zone))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"not a period: {text!r} is not in the calendar") from error


def _matched(text: str) -> re.Match[str]:
    found = _FORMS.fullmatch(text)
    if found is None:
        raise ValueError(f"not a period: {text!r}. Write 2026, 2026-Q4, 2026-11, 2026-W47 or 2026-11-21")
    return found


def last_complete(kind: PeriodKind, moment: datetime, zone: tzinfo) -> Period:
    """The last period of a kind that had ended at a moment, or ends with it."""
    day = moment.astimezone(zone).date()
    while True:
        text = _NAMES[kind](day)
        first, last = _days(_matched(text))
        start, end = _midnight(first, zone), _midnight(last, zone)
        if start < end <= moment:  # a day that a zone leaves out is none
            return Period(text=text, start=start, end=end)
        day = first - _DAY


_NAMES: Final[Mapping[PeriodKind, Callable[[date], str]]] = MappingProxyType(
    {
        PeriodKind.DAY: lambda day: day.isoformat(),
        PeriodKind.WEEK: lambda day: f"{day.isocalendar().year:04}-W{day.isocalendar().week:02}",
        PeriodKind.MONTH: lambda day: f"{day.year:04}-{day.month:02}",
        PeriodKind.QUARTER: lambda day: f"{day.year:04}-Q{(day.month + 2) // 3}",
        PeriodKind.YEAR: lambda day: f"{day.year:04}",
    }
)


def _days(found: re.Match[str]) -> tuple[date, date]:
    year = int(found["year"])
    if found["week"]:
        monday = date.fromisocalendar(year, int(found["week"]), 1)
        return monday, monday + timedelta(weeks=1)
    if found["day"]:
        first = date(year, int(found["month"]), int(found["day"]))
        return first, first + _DAY
    if found["month"]:
        return _months(date(year, int(found["month"]), 1), 1)
    if found["quarter"]:
        return _months(date(year, int(found["quarter"]) * 3 - 2, 1), 3)
    return _months(date(year, 1, 1), 12)


def _months(first: date, count: int) -> tuple[date, date]:
    after = first.month - 1 + count
    return first, date(first.year + after // 12, after % 12 + 1, 1)


def _midnight(day: date, zone: tzinfo) -> datetime:
    """Where the night skips midnight (DST), the instant at which the clock jumps: fold=0 reads it by the old offset."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)

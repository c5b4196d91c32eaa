"""What a schedule's text says: on which dates, at which times of day, or how often. The one place that reads it.

daily [at HH:MM]                      at 00:00 unless said
weekly [on DAY[,DAY…]] [at HH:MM]     on sun at 00:00 unless said; mon-fri is five days
monthly [on N|last] [at HH:MM]        on 1 at 00:00 unless said; a month that has no day N: on its last
every DURATION                        whole minutes (15m, 4h, 2d, 1w), counted in UTC from 1970-01-01T00:00
cron MINUTE HOUR DAY MONTH WEEKDAY    as in cron(5): "*", lists, ranges, steps, names; weekday 0 and 7 are sun
after backup                          no moments of its own
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from itertools import groupby
from types import MappingProxyType
from typing import Final

_REMEMBERED: Final = 4096  # texts
_SECOND: Final = timedelta(seconds=1)
_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Dates:
    """Days of the calendar: those that match a row, which is (months, days of the month, weekdays) as in cron, with
    weekdays by name, and "last" for a month's last day. No row: every date. `share` is their part of all, about.
    """

    rows: tuple[tuple[str, str, str], ...] = ()
    share: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A schedule read, with its canonical text: its dates, and the times of day on each; or how often (`every`).

    `once`: its hours are fixed, so that a wall time that comes twice counts once. `never`: no calendar has its dates.
    """

    text: str
    dates: Dates = Dates()
    times: tuple[timedelta, ...] = ()
    once: bool = True
    every: timedelta | None = None
    never: bool = False

    @property
    def spacing(self) -> timedelta:
        """The time from one moment to the next, on average."""
        return self.every or _DAY / (self.dates.share * len(self.times))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Form:
    """One kind of schedule: how to write it, and what reads the words after the first."""

    usage: str
    read: Callable[[list[str]], Rule]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Field:
    """One of cron's five: its name, its first and last number, and the names of its numbers from the first on."""

    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()
    cycle: int = 0  # after how many numbers it begins anew, where a range may pass over that

    def values(self, text: str) -> list[int]:
        """Read "*", or a list of numbers and ranges, each range perhaps with a step. Raises ValueError."""
        items = text.split(",")
        if "*" in text and len(items) > 1:
            raise ValueError(f'"*" stands alone, not in a list such as "{text}"')
        found = {value for item in items for value in self._item(item)}
        return sorted({value % self.cycle for value in found} if self.cycle else found)

    def written(self, values: Sequence[int]) -> str:
        """The one way to write these values."""
        step = values[1] - values[0] if len(values) > 3 else 1
        if list(values) == [*range(self.first, self.last + 1, step)]:
            return "*" if step == 1 else f"*/{step}"
        return _runs(values)

    def _item(self, text: str) -> range:
        found = _ITEM.fullmatch(text)
        if found is None or (found["step"] and found["first"] and not found["last"]):
            raise ValueError(f'"{text}" is not a {self.name}: a number, a range such as 1-5, "*" or "*/2"')
        first = self.first if found["star"] else self._number(found["first"])
        last = self.last if found["star"] else self._number(found["last"] or found["first"])
        last += self.cycle if last < first else 0
        if last < first:
            raise ValueError(f'"{text}" runs backwards: write {first}-{self.last},{self.first}-{last}')
        step = int(found["step"] or 1)
        if not 1 <= step <= max(last - first, 1):
            raise ValueError(f'the step in "{text}" does not fit into it')
        return range(first, last + 1, step)

    def _number(self, text: str) -> int:
        if text in self.names:
            return self.first + self.names.index(text)
        if not text.isdecimal() or not self.first <= int(text) <= self.last:
            names = f" or {', '.join(self.names)}" if self.names else ""
            raise ValueError(f'"{text}" is not a {self.name}: {self.first} to {self.last}{names}')
        return int(text)


_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LONGEST: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_CENTURY: Final = timedelta(days=36_525)  # a longer "every" is a slip of the finger
_UNITS: Final = MappingProxyType({"d": _DAY, "h": _HOUR, "m": _MINUTE, "w": 7 * _DAY, "s": _SECOND})
_DURATION: Final = re.compile(r"([1-9][0-9]{0,7})([smhdw])")
_ON_AT: Final = re.compile(r"(?:on (?P<on>\S+))?(?: ?at (?P<at>\S+))?")
_CLOCK: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_NAME: Final = f"(?:{'|'.join(_DAYS)})"
_BY_NAME: Final = re.compile(f"{_NAME}(?:-{_NAME})?(?:,{_NAME}(?:-{_NAME})?)*")
_VALUE: Final = "[0-9a-z]{1,3}"
_ITEM: Final = re.compile(rf"(?:(?P<star>\*)|(?P<first>{_VALUE})(?:-(?P<last>{_VALUE}))?)(?:/(?P<step>[0-9]{{1,2}}))?")

_MINUTE_OF: Final = _Field(name="minute", first=0, last=59)
_HOUR_OF: Final = _Field(name="hour", first=0, last=23)
_DATE_OF: Final = _Field(name="day of the month", first=1, last=31)
_MONTH_OF: Final = _Field(
    name="month",
    first=1,
    last=12,
    names=("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
)
_WEEKDAY_OF: Final = _Field(name="weekday", first=0, last=7, names=("sun", *_DAYS[:-1]), cycle=7)


@lru_cache(maxsize=_REMEMBERED)
def read(text: str) -> Rule:
    """Read a schedule. Raises ValueError with the form that was meant, or every form."""
    words = re.sub(r"\s*,\s*", ",", text.lower()).split()
    form = _FORMS.get(words[0]) if words else None
    if form is None:
        usages = ", ".join(f'"{known.usage}"' for known in _FORMS.values())
        raise ValueError(f'"{text}" is not a schedule: write {usages}')
    try:
        return form.read(words[1:])
    except ValueError as error:
        raise ValueError(f'"{text}" is not a schedule: {error}; write "{form.usage}"') from None


def _daily(words: list[str]) -> Rule:
    on, at = _on_at(words)
    if on is not None:
        raise ValueError('"on" goes with weekly and monthly')
    return Rule(text=f"daily at {_clock_text(at)}", times=(at,))


def _weekly(words: list[str]) -> Rule:
    on, at = _on_at(words)
    if on is not None and not _BY_NAME.fullmatch(on):
        raise ValueError(f'"{on}" is not a list of days, which are {", ".join(_DAYS)}')
    weekdays = _WEEKDAY_OF.values(on or "sun")
    days = _named(weekdays)
    dates = Dates(rows=(("*", "*", days),), share=len(weekdays) / 7)
    return Rule(text=f"weekly on {days} at {_clock_text(at)}", dates=dates, times=(at,))


def _monthly(words: list[str]) -> Rule:
    on, at = _on_at(words)
    days = [31] if on == "last" else _DATE_OF.values(on or "1")
    if len(days) > 1:
        raise ValueError(f'"{on}" is more than one day: that is for cron')
    day = "last" if days == [31] else str(days[0])
    lacking = (("2", "last", "*"), ("1,3-12", day, "*"))  # a day that only February may lack
    rows = lacking if days[0] in {29, 30} else (("*", day, "*"),)
    return Rule(text=f"monthly on {day} at {_clock_text(at)}", dates=Dates(rows=rows, share=12 / 365), times=(at,))


def _every(words: list[str]) -> Rule:
    found = _DURATION.fullmatch(" ".join(words))
    if found is None:
        raise ValueError("that is not a duration")
    every = int(found[1]) * _UNITS[found[2]]
    if every % _MINUTE or not _MINUTE <= every <= _CENTURY:
        raise ValueError("it must be whole minutes, and not more than a century")
    # As settings write a duration: "24h", but "2d".
    unit = next(unit for unit in "dhm" if every % _UNITS[unit] == timedelta(0) and (unit, every) != ("d", _DAY))
    return Rule(text=f"every {every // _UNITS[unit]}{unit}", every=every, once=False)


def _cron(words: list[str]) -> Rule:
    if len(words) != 5:
        raise ValueError("cron has five fields")
    if words[2] not in _ANY and words[4] not in _ANY:
        raise ValueError("it names both days of the month and weekdays: make two schedules of it")
    fields = (_MINUTE_OF, _HOUR_OF, _DATE_OF, _MONTH_OF, _WEEKDAY_OF)
    minutes, hours, dates, months, weekdays = (part.values(text) for part, text in zip(fields, words, strict=True))
    elapsed = words[1].startswith("*")
    hour = _runs(hours) if not elapsed else "*" if len(hours) == 24 else f"*/{hours[1]}"
    day, month = _DATE_OF.written(dates), _MONTH_OF.written(months)
    weekday = "*" if len(weekdays) == 7 else _named(weekdays)
    row = (month, day, weekday)
    share = len(months) / 12 * len(dates) / 31 * len(weekdays) / 7
    return Rule(
        text=f"cron {_MINUTE_OF.written(minutes)} {hour} {day} {month} {weekday}",
        dates=Dates() if row == ("*", "*", "*") else Dates(rows=(row,), share=share),
        times=tuple(timedelta(hours=hour, minutes=minute) for hour in hours for minute in minutes),
        once=not elapsed,
        never=all(_LONGEST[month - 1] < dates[0] for month in months),
    )


def _after(words: list[str]) -> Rule:
    if words != ["backup"]:
        raise ValueError("only a backup can be waited for")
    return Rule(text="after backup")


def _on_at(words: list[str]) -> tuple[str | None, timedelta]:
    """What follows "on", and the time of day after "at"."""
    found = _ON_AT.fullmatch(" ".join(words))
    if found is None:
        raise ValueError(f'"{" ".join(words)}" is not understood')
    clock = _CLOCK.fullmatch(found["at"] or "00:00")
    if clock is None:
        raise ValueError(f'"{found["at"]}" is not a time of day, 00:00 to 23:59')
    return found["on"], timedelta(hours=int(clock[1]), minutes=int(clock[2]))


def _clock_text(clock: timedelta) -> str:
    return f"{clock // _HOUR:02}:{clock % _HOUR // _MINUTE:02}"


def _named(weekdays: Sequence[int]) -> str:
    """Weekdays (0 is Sunday) by their names, Monday first: what APScheduler's numbers mean is another matter."""
    return _runs(sorted((day - 1) % 7 for day in weekdays), _DAYS)


def _runs(values: Sequence[int], names: Sequence[str] = ()) -> str:
    """A list in which three and more in a row are a range."""
    parts: list[str] = []
    for _, found in groupby(enumerate(values), lambda placed: placed[1] - placed[0]):
        run = [names[value] if names else str(value) for _, value in found]
        parts += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else run
    return ",".join(parts)


_ANY: Final = frozenset({"*", "*/1"})
_FORMS: Final[Mapping[str, _Form]] = MappingProxyType(
    {
        "daily": _Form(usage="daily [at HH:MM]", read=_daily),
        "weekly": _Form(usage="weekly [on DAY[,DAY…]] [at HH:MM]", read=_weekly),
        "monthly": _Form(usage="monthly [on N|last] [at HH:MM]", read=_monthly),
        "every": _Form(usage="every 15m|4h|2d|1w", read=_every),
        "cron": _Form(usage="cron MINUTE HOUR DAY MONTH WEEKDAY", read=_cron),
        "after": _Form(usage="after backup", read=_after),
    }
)

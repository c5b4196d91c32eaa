"""The kinds of times in settings.toml: schedules, windows, pauses; what each wants is said in one sentence."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Final

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from jobs.recurrence import read
from jobs.schedule import Schedule
from jobs.window import Window
from orchestrator.settings.units import format_duration, parse_duration

AFTER_BACKUP: Final = "after backup"
FOLLOWING: Final = Schedule(AFTER_BACKUP)
_SCHEDULES: Final = ("daily at 01:30", "weekly on sun at 03:00", "monthly on 1 at 04:00", "every 4h", "cron 30 1 * * *")
_DAY: Final = timedelta(days=1)
_NO_PAUSE: Final = "0s"
_MANY: Final = 4096  # texts that are remembered: thousands of policies share a few


@lru_cache(maxsize=_MANY)
def shortest(schedule: Schedule) -> timedelta | None:
    """The least time between two moments of a schedule by steady clocks; None for one without moments of its own."""
    rule = read(schedule.text)
    if schedule.after is not None or rule.every is not None:
        return rule.every
    times = sorted(rule.times)
    return min(later - one for one, later in pairwise([*times, times[0] + _DAY]))


def _schedule(text: object) -> Schedule:
    """A schedule of either kind. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError(f'must be a text in quotes: a schedule such as "{_SCHEDULES[0]}" or "{_SCHEDULES[3]}"')  # noqa: TRY004 (pydantic collects ValueErrors only)
    return _known(text)


@lru_cache(maxsize=_MANY)
def _known(text: str) -> Schedule:
    schedule = Schedule(text)
    if schedule.after not in {None, "backup"}:
        raise ValueError(f'"{text}": a job can only come "{AFTER_BACKUP}"')
    if read(schedule.text).never:
        raise ValueError(f'"{text}" never occurs: there is no such day')
    return schedule


def _own_moments(text: object) -> Schedule:
    schedule = _schedule(text)
    if schedule.after is not None:
        raise ValueError(f'"{text}" has no moments of its own; write for example "{_SCHEDULES[0]}"')
    return schedule


def _window(text: object) -> Window:
    if not isinstance(text, str):
        raise ValueError('must be a text in quotes: a window such as "20:00-06:00"')  # noqa: TRY004 (see above)
    return _open(text)


@lru_cache(maxsize=_MANY)
def _open(text: str) -> Window:
    return Window(text)


def _pause(text: object) -> timedelta:
    return timedelta(0) if text == _NO_PAUSE else parse_duration(text)


def _text(value: Schedule | Window) -> str:
    return value.text


def _told(*examples: str, **more: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "examples": list(examples), **more})


Moments = Annotated[Schedule, PlainValidator(_own_moments), PlainSerializer(_text), _told(*_SCHEDULES)]
Moment = Annotated[Schedule, PlainValidator(_schedule), PlainSerializer(_text), _told(AFTER_BACKUP, *_SCHEDULES)]
Hours = Annotated[
    Window,
    PlainValidator(_window),
    PlainSerializer(_text),
    _told("20:00-06:00", pattern="^[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}$"),
]
Pause = Annotated[
    timedelta,
    PlainValidator(_pause),
    PlainSerializer(format_duration),
    _told(_NO_PAUSE, "10m", pattern="^(0s|[1-9][0-9]*[smhdw])$"),
]

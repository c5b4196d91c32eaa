"""The kinds of times in settings.toml: schedules, windows, pauses; what each wants is said in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Final

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from jobs.recurrence import read
from jobs.schedule import Schedule, occurrences
from jobs.window import Window
from orchestrator.settings.units import format_duration, parse_duration

AFTER_BACKUP: Final = "after backup"
FOLLOWING: Final = Schedule(AFTER_BACKUP)
_SCHEDULES: Final = ("daily at 01:30", "weekly on sun at 03:00", "monthly on 1 at 04:00", "every 4h", "cron 30 1 * * *")
_DAY: Final = timedelta(days=1)
_SINCE: Final = datetime(2026, 1, 1, tzinfo=UTC)
_EVER: Final = datetime(2126, 1, 1, tzinfo=UTC)
_WEEK: Final = timedelta(days=8)
_DOZEN: Final = 13
_NO_PAUSE: Final = "0s"  # no time at all is a mistake of every other duration
_MANY: Final = 4096  # texts that are remembered: thousands of policies share a few


@lru_cache(maxsize=_MANY)
def shortest(schedule: Schedule) -> timedelta | None:
    """The least time between two moments of a schedule by steady clocks; None for one without moments of its own."""
    rule = read(schedule.text)
    if schedule.after is not None or rule.every is not None:
        return rule.every
    times = sorted(rule.times)
    return min(later - one for one, later in pairwise([*times, times[0] + _DAY]))


@lru_cache(maxsize=_MANY)
def ever_opens(schedule: Schedule, window: Window, zone: str, catch_up: timedelta | None, splay: timedelta) -> bool:
    """Whether any of a schedule's next moments finds the window open, or sees it open before it is too late.

    Too late is when the next moment comes, or `catch_up` is over. By the clocks of a zone: a window is open by them,
    while what comes every so often has its moments by UTC.
    """
    return any(
        window.opens_after(due, zone) < min(following, due + catch_up if catch_up else following)
        for moment, following in pairwise(_sampled(schedule, zone))
        for due in (moment, moment + splay)
    )


def _sampled(schedule: Schedule, zone: str) -> Iterator[datetime]:
    """Its moments of a week and a day, and a dozen at least."""
    for number, one in enumerate(occurrences(schedule, zone, _SINCE, _EVER)):
        if number >= _DOZEN and one.at > _SINCE + _WEEK:
            return
        yield one.at


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

"""A schedule's text: two spellings of one rule are equal, and what cannot be read is refused with the form to write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.schedule import Schedule, never, next_after
from orchestrator.settings.units import format_duration, parse_duration

NOW: Final = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
_STARTS: Final = ("daily", "weekly", "monthly", "every", "cron", "after", "on", "at", "last", "backup", "jan")
_PARTS: Final = ("sun", "mon-fri", "31", "30", "0", "2", "7", "*", "*/2", "4h", "60s", "1:30", "1-5", "0-23/4", "5,1")
_SIGNS: Final = (",", "-", "/", ":", "L", "?", "¹", "٣")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("daily", "daily at 00:00"),
        ("Daily  AT 1:30", "daily at 01:30"),
        ("weekly", "weekly on sun at 00:00"),
        ("weekly on sun,WED at 3:00", "weekly on wed,sun at 03:00"),
        ("weekly on sat , sun", "weekly on sat,sun at 00:00"),
        ("weekly on fri,mon,tue,wed,thu at 20:00", "weekly on mon-fri at 20:00"),
        ("weekly on fri-mon", "weekly on mon,fri-sun at 00:00"),
        ("monthly", "monthly on 1 at 00:00"),
        ("monthly at 04:00", "monthly on 1 at 04:00"),
        ("monthly on 07", "monthly on 7 at 00:00"),
        ("monthly on last at 04:00", "monthly on last at 04:00"),
        ("monthly on 31 at 04:00", "monthly on last at 04:00"),
        ("monthly on 30", "monthly on 30 at 00:00"),
        ("every 240m", "every 4h"),
        ("every 3600s", "every 1h"),
        ("every 1d", "every 24h"),
        ("every 48h", "every 2d"),
        ("every 1w", "every 7d"),
        ("cron 30 1 * * 1-5", "cron 30 1 * * mon-fri"),
        ("cron 05 01 * * 7", "cron 5 1 * * sun"),
        ("cron 0 0 * * 0-7", "cron 0 0 * * *"),
        ("cron 0 0 * * sat-sun", "cron 0 0 * * sat,sun"),
        ("cron 0,15,30,45 * * * *", "cron */15 * * * *"),
        ("cron 0-59 */1 */1 JAN-mar *", "cron * * * 1-3 *"),
        ("cron 0 3,2,1,9 1,31 * *", "cron 0 1-3,9 1,31 * *"),
        ("cron 0 0-20/4 * * *", "cron 0 0,4,8,12,16,20 * * *"),
        ("cron 0 */4 * * *", "cron 0 */4 * * *"),  # with its star the hour means elapsed time
        ("cron 0 0-23 * * *", "cron 0 0-23 * * *"),
        ("cron 0 0 30 2 *", "cron 0 0 30 2 *"),
        ("after  Backup", "after backup"),
    ],
)
def test_every_spelling_has_one_canonical_text(text: str, canonical: str) -> None:
    assert Schedule(text).text == canonical
    assert Schedule(text) == Schedule(canonical)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", 'write "daily'),
        ("hourly", '"every 15m'),
        ("@daily", '"daily '),
        ("30 1 * * *", '"cron MINUTE HOUR DAY MONTH WEEKDAY"'),
        ("daily at 24:00", '"24:00" is not a time of day'),
        ("daily at noon", "00:00 to 23:59"),
        ("daily 01:30", '"daily [at HH:MM]"'),
        ("daily at 01:30 on mon", '"daily [at HH:MM]"'),
        ("daily on mon", "weekly and monthly"),
        ("weekly on sunday", "mon, tue, wed"),
        ("weekly on 0", "mon, tue, wed"),
        ("weekly on *", "mon, tue, wed"),
        ("monthly on 0", "1 to 31"),
        ("monthly on 32", "1 to 31"),
        ("monthly on 1,15", "cron"),
        ("every", "every 15m"),
        ("every 90", "not a duration"),
        ("every 90s", "whole minutes"),
        ("every 30s", "whole minutes"),
        ("every 0m", "not a duration"),
        ("every 2000000h", "century"),
        ("every 99999999w", "century"),
        ("every 9999999999999w", "not a duration"),
        ("cron 30 1 * *", "five fields"),
        ("cron 0 30 1 * * *", "five fields"),
        ("cron 60 * * * *", '"60" is not a minute: 0 to 59'),
        ("cron 0 24 * * *", "0 to 23"),
        ("cron 0 0 0 * *", "1 to 31"),
        ("cron 0 0 * 13 *", "1 to 12 or jan"),
        ("cron 0 0 * * 8", "0 to 7 or sun"),
        ("cron 0 22-2 * * *", "22-23,0-2"),
        ("cron */60 * * * *", "does not fit"),
        ("cron */0 * * * *", "does not fit"),
        ("cron 5/15 * * * *", "a range such as"),
        ("cron *,5 * * * *", "stands alone"),
        ("cron 0 0 last * *", "day of the month"),
        ("cron 0 0 1 * mon", "two schedules"),
        ("cron 0 0 1-31 * mon", "two schedules"),  # in cron(5) that is every day; so it is not read at all
        ("after", '"after backup"'),
        ("after replicate", '"after backup"'),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match="not a schedule") as refused:
        Schedule(text)
    assert hint in str(refused.value)


@given(minutes=st.integers(min_value=1, max_value=36_525 * 1440))
@settings(deadline=None)
def test_a_duration_is_written_as_in_the_settings(minutes: int) -> None:
    duration = timedelta(minutes=minutes)
    assert Schedule(f"every {minutes}m").text == f"every {format_duration(duration)}"
    assert parse_duration(Schedule(f"every {minutes}m").text.removeprefix("every ")) == duration


@given(st.one_of(st.text(), st.lists(st.sampled_from(_STARTS + _PARTS + _SIGNS), max_size=7).map(" ".join)))
@example("cron 0 0 * * *" + ",1" * 2000)
@settings(deadline=None, max_examples=400)
def test_no_text_breaks_anything(text: str) -> None:
    try:
        schedule = Schedule(text)
    except ValueError:
        return
    assert Schedule(schedule.text) == schedule
    if schedule.after is None:
        assert (next_after(schedule, "Europe/Paris", NOW) is None) == never(schedule)


def _fields(first: int, last: int) -> st.SearchStrategy[str]:
    """A field of cron, of any form."""
    numbers = st.integers(min_value=first, max_value=last)
    ranges = st.tuples(numbers, numbers).map(lambda ends: f"{min(ends)}-{max(ends)}")
    steps = st.integers(min_value=1, max_value=last - first).map(lambda step: f"*/{step}")
    lists = st.lists(st.one_of(numbers.map(str), ranges), min_size=1, max_size=4).map(",".join)
    return st.one_of(st.just("*"), steps, lists)


@given(minute=_fields(0, 59), hour=_fields(0, 23), day=_fields(1, 31), month=_fields(1, 12), weekday=_fields(0, 7))
@settings(deadline=None, max_examples=200)
def test_a_canonical_text_says_the_same_and_is_its_own(
    minute: str, hour: str, day: str, month: str, weekday: str
) -> None:
    for text in (f"cron {minute} {hour} {day} {month} *", f"cron {minute} {hour} * {month} {weekday}"):
        schedule = Schedule(text)
        again = Schedule(schedule.text)
        assert again == schedule
        assert again.text == schedule.text
        assert schedule.text.split()[2].startswith("*") == hour.startswith("*")


def test_only_what_comes_after_another_has_no_moments() -> None:
    assert Schedule("after backup").after == "backup"
    assert Schedule("daily").after is None
    with pytest.raises(ValueError, match="no moments of its own"):
        next_after(Schedule("after backup"), "UTC", NOW)


@pytest.mark.parametrize(
    ("text", "no_date"),
    [
        ("cron 0 0 30 2 *", True),
        ("cron 0 0 31 2,4,6,9,11 *", True),
        ("cron 0 0 31 4,5 *", False),
        ("cron 0 0 29 2 *", False),
        ("monthly on 31", False),
        ("after backup", False),
        ("every 1m", False),
    ],
)
def test_dates_that_no_calendar_has_are_known_beforehand(text: str, no_date: bool) -> None:
    assert never(Schedule(text)) == no_date

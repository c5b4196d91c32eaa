"""Counting twice over whole histories: edits, removals, outages, bounds, and rows that somebody made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.agenda import births, changes, lines_of
from jobs.history import Job
from jobs.policy import Paths, Policy, PolicyName, SiteName, TenantName, Timetable, VaultName
from jobs.schedule import Schedule
from jobs.slot import Line, Slot, SlotState
from jobs.tally import Tally, tally

START: Final = datetime(2026, 11, 20, 0, 0, 0, 500, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)


def policy(name: str, text: str = "every 2h", zone: str = "UTC") -> Policy:
    """A policy with a backup at those times and a check a day."""
    return Policy(
        name=PolicyName(name),
        tenant=TenantName("t"),
        source=Paths(paths=("/a",)),
        vault=VaultName("one"),
        site=SiteName("primary"),
        timetable=Timetable(backup=Schedule(text), check=Schedule("daily at 06:00")),
        zone=zone,
        splay=timedelta(minutes=20),
        settings_hash=f"{name}{text}",
    )


class Book:
    """Lines and rows as `serve` keeps them."""

    def __init__(self) -> None:
        self.lines: dict[int, Line] = {}
        self.slots: dict[str, Slot] = {}

    def look(self, now: datetime) -> None:
        for line in [line for line in self.lines.values() if line.until is None]:
            born = births(line, now)
            self._keep(born.slots)
            self.lines[line.id] = replace(line, cursor=born.cursor)

    def settle(self, policies: list[Policy], now: datetime) -> None:
        self.look(now)
        changed = changes([line for line in self.lines.values() if line.until is None], policies, now)
        self._keep(changed.slots)
        for number, cursor in changed.cursors.items():
            self.lines[number] = replace(self.lines[number], cursor=cursor)
        for number, until in changed.ended:
            self.lines[number] = replace(self.lines[number], until=until)
        for line in changed.begun:
            self.lines[len(self.lines) + 1] = replace(line, id=len(self.lines) + 1)

    def _keep(self, slots: tuple[Slot, ...]) -> None:
        for slot in slots:
            self.slots.setdefault(slot.id, slot)

    def told(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        passed: datetime | None = None,
    ) -> Tally:
        within = [
            slot
            for slot in self.slots.values()
            if (since is None or slot.nominal >= since) and (until is None or slot.nominal < until)
        ]
        return tally(
            self.lines.values(),
            lambda line: [(slot.id, slot.job, slot.state) for slot in within if slot.line == line.id],
            [(slot.id, slot.job, slot.state) for slot in within if slot.line not in self.lines],
            since=since,
            until=until,
            passed=passed,
        )


def after_a_day() -> Book:
    """Two policies, of which one was edited at noon and the other removed in the evening."""
    book = Book()
    book.settle([policy("a"), policy("b")], START)
    book.settle([policy("a", "daily at 14:00", "Europe/Paris"), policy("b")], START + 12 * HOUR)
    book.settle([policy("a", "daily at 14:00", "Europe/Paris")], START + 18 * HOUR)
    book.look(START + 24 * HOUR)
    return book


def test_a_day_with_an_edit_and_a_removal_adds_up() -> None:
    told = after_a_day().told()
    assert told.adds_up
    # a: 6 backups until noon, 1 at 14:00 in Paris and 1 check at 6:00; b: 9 backups until 18:00 and 1 check
    assert told.expected == told.found == 6 + 1 + 1 + 9 + 1
    assert told.by_job == {Job.BACKUP: {SlotState.DUE: 16}, Job.CHECK: {SlotState.DUE: 2}}
    assert set(told.by_state) == set(SlotState)


def test_a_row_that_is_lost_is_named_whether_its_line_is_in_force_or_over() -> None:
    for lost in (
        "a/backup/one/U2026-11-20T04:00Z",
        "b/backup/one/U2026-11-20T18:00Z",
        "a/backup/one/L2026-11-20T14:00",
    ):
        book = after_a_day()
        del book.slots[lost]
        told = book.told()
        assert not told.adds_up
        assert (told.missing, told.missing_count, told.surplus) == ((lost,), 1, ())
        assert told.expected == told.found + 1


def test_a_row_that_was_never_due_is_named_wherever_it_says_it_belongs() -> None:
    for line in (1, 99):
        book = after_a_day()
        real = book.slots["a/backup/one/U2026-11-20T04:00Z"]
        book.slots["a/backup/one/made-up"] = replace(real, id="a/backup/one/made-up", key="made-up", line=line)
        told = book.told()
        assert not told.adds_up
        assert (told.surplus, told.surplus_count, told.missing) == (("a/backup/one/made-up",), 1, ())


def test_a_row_under_another_name_is_missing_and_surplus() -> None:
    book = after_a_day()
    real = book.slots.pop("a/backup/one/U2026-11-20T04:00Z")
    book.slots["x"] = replace(real, id="x")
    told = book.told()
    assert (told.missing, told.surplus) == ((real.id,), ("x",))
    assert told.expected == told.found
    assert not told.adds_up


def test_of_many_a_hundred_are_named_and_all_counted() -> None:
    book = Book()
    book.settle([policy("a", "every 5m")], START)
    book.look(START + 24 * HOUR)
    book.slots = {name: slot for name, slot in book.slots.items() if slot.job is not Job.BACKUP}
    told = book.told()
    assert (len(told.missing), told.missing_count) == (100, told.expected - 1)


def test_what_has_come_since_a_scheduler_looked_is_counted_apart() -> None:
    book = Book()
    book.settle([policy("a")], START)
    book.look(START + 6 * HOUR + timedelta(minutes=30))
    late = book.told(passed=START + 24 * HOUR)
    assert late.adds_up
    assert late.unmade == {Job.BACKUP: 9}
    whole = late.with_unmade()
    assert (whole.expected, whole.found, whole.unmade) == (13, 13, {})
    book.look(START + 24 * HOUR + timedelta(minutes=20))
    assert book.told(until=START + 24 * HOUR, passed=START + 24 * HOUR).with_unmade() == whole
    assert book.told().unmade == {}


_TEXTS: Final = ("every 2h", "every 45m", "daily at 02:30", "cron 15 */3 * * *", "weekly on fri at 12:00")


@st.composite
def histories(draw: st.DrawFn) -> tuple[Book, datetime]:
    """Some days of a scheduler with outages, edits and removals."""
    book, now = Book(), START
    for _ in range(draw(st.integers(1, 6))):
        names = draw(st.sets(st.sampled_from("abc")))
        zones = st.sampled_from(["UTC", "Europe/Paris", "Africa/Cairo"])
        book.settle([policy(name, draw(st.sampled_from(_TEXTS)), draw(zones)) for name in sorted(names)], now)
        now += draw(st.timedeltas(timedelta(minutes=1), timedelta(hours=20)))
        book.look(now)
        now += draw(st.timedeltas(timedelta(0), timedelta(hours=9)))
    return book, now


@settings(deadline=None, max_examples=60)
@given(histories(), st.data())
def test_any_history_adds_up_in_every_part_and_the_parts_are_the_whole(
    history: tuple[Book, datetime], data: st.DataObject
) -> None:
    book, now = history
    whole = book.told()
    assert whole.adds_up
    cuts = sorted(data.draw(st.lists(st.datetimes(START.replace(tzinfo=None), now.replace(tzinfo=None)), max_size=3)))
    bounds: list[datetime | None] = [None, *(cut.replace(tzinfo=UTC) for cut in cuts), None]
    parts = [book.told(since, until) for since, until in pairwise(bounds)]
    assert all(part.adds_up for part in parts)
    assert sum(part.expected for part in parts) == whole.expected == len(book.slots)
    if book.slots:
        lost = book.slots.pop(data.draw(st.sampled_from(sorted(book.slots))))
        assert book.told().missing == (lost.id,)


@settings(deadline=None, max_examples=40)
@given(histories(), st.integers(0, 96))
def test_what_had_come_by_a_moment_is_the_same_whenever_one_asks(history: tuple[Book, datetime], hours: int) -> None:
    book, now = history
    end = START + hours * HOUR
    if end > now:
        return
    before = book.told(until=end, passed=end).with_unmade()
    book.settle([policy("a", "every 10m"), policy("d")], now + 30 * HOUR)
    book.look(now + 50 * HOUR)
    assert book.told(until=end, passed=end).with_unmade() == before


def test_lines_without_rows_and_rows_without_lines_are_nothing_when_there_are_none() -> None:
    told = tally((), lambda _: ())
    assert told.adds_up
    states: Mapping[SlotState, int] = dict.fromkeys(SlotState, 0)
    assert (told.expected, told.found, told.by_state) == (0, 0, states)
    assert not lines_of(replace(policy("a"), timetable=Timetable()), START)


def test_a_bound_is_of_the_part_that_begins_with_it() -> None:
    book = after_a_day()
    noon = START.replace(microsecond=0) + 12 * HOUR
    assert book.told(until=noon).expected == 5 + 1 + 5 + 1
    assert book.told(noon, noon + HOUR).expected == 2


def test_a_line_that_was_ended_owes_all_that_had_come_by_then_however_far_it_had_come() -> None:
    book = after_a_day()
    (number,) = [line.id for line in book.lines.values() if line.policy == "b" and line.job is Job.BACKUP]
    book.lines[number] = replace(book.lines[number], cursor=START)
    assert book.told().adds_up
    book.slots.pop("b/backup/one/U2026-11-20T18:00Z")
    assert book.told().missing == ("b/backup/one/U2026-11-20T18:00Z",)

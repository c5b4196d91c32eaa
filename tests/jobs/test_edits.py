"""After every edit of schedule or zone each moment of the text in force is due, unless its very name is a slot already.

The oracle knows names and moments alone; it shares `occurrences` with the product, and nothing of lines.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.agenda import births, changes, lines_of, next_due
from jobs.history import Job
from jobs.policy import Policy
from jobs.schedule import Schedule, occurrences
from jobs.slot import Line, Slot, SlotState
from jobs.tally import seal, tally
from tests.jobs.making import DAY, MINUTE, policy, timetable

Text = tuple[str, str]  # zone, schedule

texts = st.tuples(
    st.sampled_from(["Europe/Paris", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"]),
    st.sampled_from(["daily at 02:30", "every 15m", "cron 30 1,2,14 * * *", "cron 0,30 0-23 * * *", "weekly on sun"]),
)
starts = st.sampled_from([datetime(2026, 11, 21, 22, 0, tzinfo=UTC), datetime(2026, 10, 24, 12, 0, tzinfo=UTC)])
BEGUN = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)


def made_of(text: Text, number: int) -> Policy:
    table = timetable(backup=text[1])
    return policy(replica=None, retention=None, zone=text[0], timetable=table, settings_hash=f"hash {number}")


class Book:
    """What a scheduler writes down, of one policy."""

    def __init__(self, text: Text, now: datetime) -> None:
        self.now = now
        self.lines: list[Line] = []
        self.slots: dict[str, Slot] = {}
        self.edit(text)

    def edit(self, text: Text) -> None:
        self.pass_to(self.now)
        wanted = changes(self.lines[-1:], [made_of(text, len(self.lines))], self.now)
        self.write(wanted.slots)
        ended = dict(wanted.ended)
        self.lines = [
            replace(line, until=ended.get(line.id, line.until), cursor=wanted.cursors.get(line.id, line.cursor))
            for line in self.lines
        ]
        self.lines += [replace(line, id=len(self.lines) + 1) for line in wanted.begun]

    def pass_to(self, now: datetime) -> None:
        self.now = now
        if self.lines:
            made = births(self.lines[-1], now)
            self.write(made.slots)
            self.lines[-1] = replace(self.lines[-1], cursor=made.cursor)

    def write(self, slots: tuple[Slot, ...]) -> None:
        for slot in slots:
            assert slot.id not in self.slots, f"{slot.id} was due twice"
            self.slots[slot.id] = slot

    def of(self, line: Line) -> list[tuple[str, Job, SlotState]]:
        return [(slot.id, slot.job, SlotState.SUCCEEDED) for slot in self.slots.values() if slot.line == line.id]


@settings(deadline=None, max_examples=150)
@given(texts, starts, st.lists(st.tuples(st.integers(0, 1500), texts), max_size=6))
@example(
    ("Europe/Paris", "daily at 02:30"),
    BEGUN,
    [(31, ("America/New_York", "daily at 02:30")), (10, ("America/New_York", "every 15m"))],
)
@example(
    ("Europe/Paris", "daily at 02:30"),
    BEGUN,
    [
        (31, ("America/New_York", "daily at 02:30")),
        (10, ("America/New_York", "every 15m")),
        (10, ("America/New_York", "daily at 02:30")),
    ],
)
def test_whatever_was_edited_every_moment_of_the_text_in_force_is_due_once(
    first: Text, begin: datetime, edits: list[tuple[int, Text]]
) -> None:
    book = Book(first, begin)
    names: dict[str, datetime] = {}
    text, since = first, begin
    for minutes, other in [*edits, (3 * 1440, first)]:
        book.pass_to(book.now + minutes * MINUTE)
        for each in occurrences(Schedule(text[1]), text[0], since, book.now):
            names.setdefault(each.key, each.at)
        assert {slot.key: slot.nominal for slot in book.slots.values()} == names
        book.edit(other)
        assert book.lines[-1].since == book.lines[-1].cursor == book.now or text == other
        text, since = other, book.now
    counted = tally(book.lines, book.of)
    assert counted.adds_up, counted
    assert counted.expected == len(book.slots)
    for line in book.lines:
        entries = [(slot.id, SlotState.SUCCEEDED, slot.nominal) for slot in book.slots.values() if slot.line == line.id]
        assert (sealed := seal(line, None, entries, book.now + DAY)) is not None
        assert sealed.slots == len(entries)


def test_after_another_zone_and_another_schedule_the_next_quarter_is_due() -> None:
    book = Book(("Europe/Paris", "daily at 02:30"), BEGUN)
    book.pass_to(BEGUN + 31 * MINUTE)
    book.edit(("America/New_York", "daily at 02:30"))
    assert next_due(book.lines[-1]) == datetime(2026, 11, 23, 7, 30, tzinfo=UTC)
    book.pass_to(BEGUN + 41 * MINUTE)
    book.edit(("America/New_York", "every 15m"))
    assert next_due(book.lines[-1]) == datetime(2026, 11, 22, 1, 45, tzinfo=UTC)


def test_the_lines_of_a_policy_are_made_without_names_that_are_taken() -> None:
    assert {line.taken for line in lines_of(made_of(("UTC", "daily at 02:30"), 0), BEGUN)} == {()}

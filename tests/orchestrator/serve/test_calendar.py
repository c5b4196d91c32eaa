"""What the calendar makes due: every moment once, whatever was edited and whatever the ledger refused meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from jobs.slot import Slot
from orchestrator.ledger.ledger import Ledger, LedgerError
from orchestrator.serve.calendar import Calendar
from tests.orchestrator.serve.stage import HOUR, START, Stage

MINUTE = timedelta(minutes=1)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Ledger.open(f"sqlite:///{tmp_path / 'tandem.db'}", create=True, now=START) as ledger:
        yield Stage(tmp_path, ledger)


def settled(stage: Stage, calendar: Calendar | None = None) -> tuple[Calendar, tuple[Slot, ...]]:
    """A calendar that has taken over the settings as they stand."""
    calendar = calendar or Calendar(stage.ledger)
    return calendar, calendar.settle(stage.settings.policies, stage.clock.now())


def moments(stage: Stage) -> list[tuple[str, str]]:
    """All slots, by policy, and the wall time of their moment."""
    return sorted((slot.policy, f"{slot.nominal:%H:%M}") for slot in stage.ledger.slots())


def test_the_same_settings_twice_change_nothing(stage: Stage) -> None:
    calendar, made = settled(stage)
    assert made == ()
    before = stage.ledger.lines()
    assert settled(stage, calendar)[1] == settled(stage)[1] == ()
    assert stage.ledger.lines() == before
    assert calendar.next == START + HOUR


def test_what_was_due_before_an_edit_was_noticed_is_the_old_lines(stage: Stage) -> None:
    calendar, _ = settled(stage)
    stage.clock.go(2 * HOUR + 10 * MINUTE)
    (old,) = stage.ledger.lines_in_force()
    stage.settle("files", **{"every 60m": "every 30m"})
    _, made = settled(stage, calendar)
    assert [(slot.line, f"{slot.nominal:%H:%M}") for slot in made] == [(old.id, "04:00"), (old.id, "05:00")]
    stage.clock.go(HOUR)
    born = calendar.born(stage.clock.now())
    assert [f"{slot.nominal:%H:%M}" for slot in born] == ["05:30", "06:00"]
    assert {slot.line for slot in born} != {old.id}
    assert len(moments(stage)) == 4


def test_to_and_fro_within_one_hour_leaves_every_moment_once(stage: Stage) -> None:
    calendar, _ = settled(stage)
    for number in range(6):
        stage.clock.go(10 * MINUTE)
        stage.settle("files", "more", **({"every 60m": "every 20m"} if number % 2 else {}))
        settled(stage, calendar)
    stage.clock.go(HOUR)
    calendar.born(stage.clock.now())
    due = ["04:00", "04:20", "04:40", "05:00"]  # the first of them of the hour, as it was until then
    assert moments(stage) == [(policy, at) for policy in ("files", "more") for at in due]
    assert len({line.key for line in stage.ledger.lines_in_force()}) == len(stage.ledger.lines_in_force()) == 2


def test_a_policy_that_is_gone_has_nothing_due_and_one_that_comes_back_begins_anew(stage: Stage) -> None:
    calendar, _ = settled(stage)
    stage.settle("others")
    settled(stage, calendar)
    stage.clock.go(HOUR)
    assert [slot.policy for slot in calendar.born(stage.clock.now())] == ["others"]
    stage.settle("files", "others")
    settled(stage, calendar)
    stage.clock.go(HOUR)
    assert sorted(slot.policy for slot in calendar.born(stage.clock.now())) == ["files", "others"]
    assert moments(stage) == [("files", "05:00"), ("others", "04:00"), ("others", "05:00")]


def test_a_ledger_that_refuses_leaves_everything_as_due_as_before(stage: Stage) -> None:
    calendar, _ = settled(stage)
    stage.clock.go(3 * HOUR)
    due, file, aside = calendar.next, stage.folder / "tandem.db", stage.folder / "aside"
    stage.ledger.close()
    file.rename(aside)
    file.mkdir()
    for _ in range(2):
        with pytest.raises(LedgerError):
            calendar.born(stage.clock.now())
        assert calendar.next == due
    stage.settle("files", "more")
    with pytest.raises(LedgerError):
        settled(stage, calendar)
    assert (calendar.next, len(calendar)) == (due, 1)
    file.rmdir()
    aside.rename(file)
    assert len(settled(stage, calendar)[1]) == 3
    assert len(calendar) == 2
    assert calendar.born(stage.clock.now()) == ()


def test_more_than_five_thousand_moments_of_a_line_are_all_made_at_once(stage: Stage) -> None:
    stage.settle("files", **{"every 60m": "every 1m"})
    calendar, _ = settled(stage)
    stage.clock.go(5_001 * MINUTE)
    assert len(calendar.born(stage.clock.now())) == 5_001
    assert calendar.next == stage.clock.now() + MINUTE
    assert len(stage.ledger.open_slots()) == 5_001
    (line,) = stage.ledger.lines_in_force()
    assert line.cursor == stage.clock.now()


def test_a_restart_finds_what_it_had_not_made(stage: Stage) -> None:
    calendar, _ = settled(stage)
    stage.clock.go(HOUR)
    calendar.born(stage.clock.now())
    stage.clock.go(2 * HOUR)
    _, made = settled(stage)
    assert [f"{slot.nominal:%H:%M}" for slot in made] == ["05:00", "06:00"]


def test_a_clock_that_was_set_back_makes_nothing_again(stage: Stage) -> None:
    calendar, _ = settled(stage)
    stage.clock.go(3 * HOUR)
    assert len(calendar.born(stage.clock.now())) == 3
    stage.clock.at -= 2 * HOUR
    assert calendar.born(stage.clock.now()) == settled(stage, calendar)[1] == settled(stage)[1] == ()
    stage.clock.go(3 * HOUR)
    assert [f"{slot.nominal:%H:%M}" for slot in calendar.born(stage.clock.now())] == ["07:00"]
    assert len(moments(stage)) == 4


def test_what_is_many_is_written_and_given_in_parts_with_all_of_a_policy_in_one(stage: Stage) -> None:
    stage.settle("a", "b", "c", **{"every 60m": "every 1m"})
    calendar, _ = settled(stage)
    stage.clock.go(3_000 * MINUTE)
    parts: list[list[str]] = []

    def take(made: tuple[Slot, ...]) -> None:
        assert len(stage.ledger.open_slots()) == sum(map(len, parts)) + len(made)
        parts.append([slot.policy for slot in made])

    assert calendar.born(stage.clock.now(), take) == ()
    assert [(sorted(set(part)), len(part)) for part in parts] == [(["a", "b"], 6_000), (["c"], 3_000)]
    assert {line.cursor for line in stage.ledger.lines_in_force()} == {stage.clock.now()}


def test_whoever_is_stopped_between_two_parts_goes_on_with_the_next(stage: Stage) -> None:
    stage.settle("a", "b", "c", **{"every 60m": "every 1m"})
    calendar, _ = settled(stage)
    stage.clock.go(3_000 * MINUTE)

    def die(_made: tuple[Slot, ...]) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        calendar.born(stage.clock.now(), die)
    assert {slot.policy for slot in calendar.born(stage.clock.now())} == {"c"}
    assert len(stage.ledger.open_slots()) == 9_000
    assert settled(stage)[1] == ()

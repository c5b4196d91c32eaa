"""Sums stand for slots only where these add up, only for as long as nobody touches them, and change no count."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.agenda import births
from jobs.slot import SlotState
from jobs.tally import Tally
from orchestrator.ledger.database import Database
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.room import insertion
from orchestrator.reporting import due
from tests.orchestrator.ledger.build import NEWER, NOW, later, line

DAYS = 12
ENDS = (SlotState.SUCCEEDED, SlotState.FAILED, SlotState.MISSED)


def lived(ledger: Ledger, days: int = DAYS, dice: random.Random | None = None) -> datetime:
    """Three lines, a slot a day each; one is edited in the middle. When that is, at the end of it."""
    dice = dice or random.Random(1)
    ledger.put_lines((), [line(name) for name in ("files", "mail", "web")])
    for number in (days // 2, days):
        now = later(days=number)
        for each in ledger.lines_in_force():
            born = births(each, now)
            made = [replace(slot, state=dice.choice(ENDS), why=NEWER, closed_at=slot.known_at) for slot in born.slots]
            ledger.born(made, {each.id: born.cursor})
        if number < days:
            (files, *_) = ledger.lines_in_force()
            ledger.put_lines([(files.id, now)], [line("files", settings_hash="other", since=now, cursor=now)])
    return later(days=days)


def seal(ledger: Ledger, bound: datetime) -> None:
    after: int | None = 0
    while after is not None:
        after = ledger.seal(bound, after, 2)


def counted(ledger: Ledger, now: datetime, since: datetime | None = None) -> Tally:
    return due.reckoned(ledger, (), since, None, now)


def sealed(ledger: Ledger) -> set[int]:
    with ledger.at_one_instant() as instant:
        return set(instant.sums().sealed)


def database(ledger: Ledger) -> Database:
    return ledger._database


def change(ledger: Ledger, statement: str) -> int:
    """What somebody does to the tables by other means."""
    with database(ledger).writing("change") as transaction:
        return transaction.change(statement, {})


def test_a_sealed_ledger_counts_as_before_whichever_way_it_is_asked(ledger: Ledger) -> None:
    now = lived(ledger)
    before = counted(ledger, now)
    assert before.adds_up
    assert before.found == 3 * DAYS
    for days in (3, 8, DAYS):
        seal(ledger, later(days=days))
        assert counted(ledger, now) == before
        assert counted(ledger, now, NOW) == before
    assert len(sealed(ledger)) == 4
    assert due.reckoned(ledger, ["mail"], None, None, now).found == DAYS
    assert due.reckoned(ledger, (), None, later(days=4), now).found == 12


def test_most_slots_are_not_looked_at_any_more(ledger: Ledger) -> None:
    now = lived(ledger)
    seal(ledger, now)
    with ledger.at_one_instant() as instant:
        sums = instant.sums()
        lines = instant.lines()
        assert [len(list(instant.entries(each, sums.begin(each, None), None))) for each in lines] == [0, 0, 0, 0]
        assert sum(sums.sealed[each.id].slots for each in lines) == 3 * DAYS


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM slot WHERE id = (SELECT min(id) FROM slot WHERE policy = 'mail')",
        "UPDATE slot SET id = 'x', key = 'x' WHERE id = (SELECT min(id) FROM slot WHERE policy = 'mail')",
        "UPDATE line SET schedule = 'daily at 02:30' WHERE policy = 'mail'",
        "UPDATE line SET since = since - 172800000000 WHERE policy = 'mail'",
        "UPDATE line SET cursor = cursor - 172800000000 WHERE policy = 'mail'",
        "DELETE FROM line WHERE policy = 'mail'",
        "INSERT INTO slot SELECT 'x', line, policy, tenant, job, site, vault, source_vault, settings_hash, 'x',"
        " nominal, due, until, after_job, known_at, state, why_kind, why_text, why_other, run, attempts, retry_at,"
        " closed_at"
        " FROM slot WHERE id = (SELECT min(id) FROM slot WHERE policy = 'mail')",
    ],
)
def test_whoever_touches_what_is_sealed_is_found_out_at_once(ledger: Ledger, tampering: str) -> None:
    now = lived(ledger)
    seal(ledger, later(days=DAYS - 1))
    assert change(ledger, tampering) == 1
    assert len(sealed(ledger)) == 3
    told = counted(ledger, now)
    assert not told.adds_up
    assert (told.missing_count, told.surplus_count) == _full(ledger, now)
    seal(ledger, later(days=DAYS - 1))
    assert counted(ledger, now) == told, "what does not add up is never sealed"


def _full(ledger: Ledger, now: datetime) -> tuple[int, int]:
    told = counted(ledger, now, NOW - timedelta(days=9))
    return told.missing_count, told.surplus_count


def test_a_state_that_is_changed_is_counted_anew(ledger: Ledger) -> None:
    now = lived(ledger)
    seal(ledger, now)
    failed = counted(ledger, now).by_state[SlotState.FAILED]
    assert change(
        ledger, "UPDATE slot SET state = 'skipped' WHERE id = (SELECT min(id) FROM slot WHERE state = 'failed')"
    )
    told = counted(ledger, now)
    assert (told.by_state[SlotState.SKIPPED], told.by_state[SlotState.FAILED]) == (1, failed - 1)


def test_what_is_open_or_missing_is_not_sealed_nor_what_comes_after_it(ledger: Ledger) -> None:
    now = lived(ledger)
    third = "(SELECT id FROM slot WHERE policy = 'mail' ORDER BY nominal LIMIT 1 OFFSET 2)"
    change(
        ledger,
        "UPDATE slot SET state = 'due', closed_at = NULL, why_kind = NULL, why_text = NULL, why_other = NULL"  # noqa: S608 (a test's)
        f" WHERE id = {third}",
    )
    change(ledger, "DELETE FROM slot WHERE id = (SELECT max(id) FROM slot WHERE policy = 'web')")
    before = counted(ledger, now)
    seal(ledger, now)
    assert counted(ledger, now) == before
    with ledger.at_one_instant() as instant:
        of = {each.id: each.policy for each in instant.lines()}
        assert {of[number]: each.slots for number, each in instant.sums().sealed.items() if of[number] != "files"} == {
            "mail": 2
        }


def behind_the_triggers(ledger: Ledger, statement: str) -> None:
    """As a damaged page or another program's hand in the file would: the seals stay."""
    with database(ledger).writing("change") as transaction:
        rows = transaction.rows("SELECT * FROM slot_sum", {})
        transaction.change(statement, {})
        transaction.change("DELETE FROM slot_sum", {})
        for row in rows:
            transaction.change(insertion("slot_sum", row), row)


def resealed(ledger: Ledger) -> list[int]:
    found: list[int] = []
    for part in range(3):
        after: int | None = 0
        while after is not None:
            after, broken = ledger.reseal(part, 3, after, 2)
            found += broken
    return found


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM slot WHERE id = (SELECT min(id) FROM slot WHERE policy = 'mail')",
        "UPDATE slot SET state = 'partial' WHERE id = (SELECT min(id) FROM slot WHERE policy = 'mail')",
        "UPDATE slot_sum SET failed = failed + 1 WHERE line = 2",
    ],
)
def test_what_no_trigger_saw_is_found_when_seals_are_proven(ledger: Ledger, tampering: str) -> None:
    now = lived(ledger)
    seal(ledger, now)
    assert resealed(ledger) == []
    if "slot_sum" in tampering:
        change(ledger, tampering)
    else:
        behind_the_triggers(ledger, tampering)
    assert len(resealed(ledger)) == 1
    assert counted(ledger, now) == replace(counted(ledger, now, NOW - timedelta(days=9)))
    assert resealed(ledger) == []


Step = Callable[[Ledger, random.Random], object]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), days=st.integers(2, 15))
def test_any_history_counts_the_same_with_seals_and_without(empty: Path, tmp_path: Path, seed: int, days: int) -> None:
    dice = random.Random(seed)
    shutil.copyfile(empty, tmp_path / "ledger.db")
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", create=False, now=NOW) as ledger:
        now = lived(ledger, days, dice)
        for _ in range(3):
            if dice.random() < 0.5:
                change(
                    ledger,
                    "DELETE FROM slot WHERE id IN (SELECT id FROM slot ORDER BY id LIMIT 1"  # noqa: S608 (a test's)
                    f" OFFSET {dice.randrange(9)})",
                )
            seal(ledger, later(days=dice.uniform(0, days + 2)))
            assert counted(ledger, now) == counted(ledger, now, NOW - timedelta(days=1))

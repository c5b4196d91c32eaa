"""What is removed is missed by nobody: every report of a kept time, and every count, is the same before and after."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from jobs.agenda import births
from jobs.history import BackupResult, Job, RecoveryPoint, RunRecord, RunState
from jobs.notice import DIGEST, NoticeState
from jobs.period import Period
from jobs.reporting import Form
from jobs.schedule import Schedule
from jobs.slot import SlotState
from orchestrator.ledger.ledger import Ledger
from orchestrator.reporting import due
from orchestrator.reporting.forms import rendered
from reports.cover import Cover
from reports.integrity import integrity
from tests.orchestrator.ledger.build import NEWER, NOW, happening, later, line, message, over, point
from tests.orchestrator.ledger.test_glance import POLICIES, RESULTS, VAULTS, _point, _run, points, proofs, put, runs

UTC = ZoneInfo("UTC")
LAST = later(minutes=200)
ENDS = (SlotState.SUCCEEDED, SlotState.FAILED, SlotState.MISSED, SlotState.COALESCED)


def slots_of(ledger: Ledger, dice: random.Random) -> None:
    """Two lines with a slot every ten minutes; some are still open, and runs are attempts at some."""
    often = {"schedule": Schedule("every 10m"), "zone": "UTC"}
    ledger.put_lines((), [line("files", **often), line("web", job=Job.CHECK, tenant=POLICIES[2].tenant, **often)])
    for each in ledger.lines_in_force():
        born = births(each, LAST)
        made = []
        for slot in born.slots:
            state = dice.choice([*ENDS, SlotState.DUE])
            if state is SlotState.DUE and slot.due > later(minutes=60):
                made.append(slot)
            else:
                ended = slot.due + timedelta(minutes=dice.randrange(60))
                end = SlotState.FAILED if state is SlotState.DUE else state
                made.append(replace(slot, state=end, why=NEWER, closed_at=ended))
        ledger.born(made, {each.id: born.cursor})


def told_of(ledger: Ledger, dice: random.Random) -> None:
    for number in range(1, 30):
        ledger.add_events([happening(number, at=later(minutes=dice.randrange(90)))])
    states = [NoticeState.DELIVERED, NoticeState.GIVEN_UP, NoticeState.PENDING]
    for number in range(1, 12):
        at = later(minutes=dice.randrange(90))
        key = dice.choice([DIGEST, "files/backup/one"])
        ledger.queue([message(number, made_at=at, key=key, next_at=at, through=number)], number)
        state = dice.choice(states)
        if state is not NoticeState.PENDING:
            (queued,) = [notice for notice in ledger.notices() if notice.id == number]
            ended = at + timedelta(minutes=dice.randrange(60)) if state is NoticeState.DELIVERED else None
            error = dice.choice(["", "refused"])
            attempts = dice.randrange(3)
            ledger.settle_each([replace(queued, state=state, attempts=attempts, error=error, delivered_at=ended)])


def report(ledger: Ledger, since: datetime, until: datetime) -> str:
    """All of it, as a machine reads it."""
    seen, ran = ledger.hindsight(since, until), ledger.ran(since, until)
    cover = Cover(
        operator="O",
        period=Period(text="p", start=since, end=until),
        now=LAST,
        zone=UTC,
        tandem="1",
        restic=ran.newest.tool if ran.newest else "",
        settings_hash="",
        tenants={},
        sites={},
        tenant=None,
    )
    unattended = due.of_period(ledger, since, until, None)
    return rendered(integrity(cover, POLICIES, seen.runs, seen.points, unattended, ran), Form.JSON)


def tidy(ledger: Ledger, before: datetime, most: int = 3) -> Iterator[None]:
    """What Housekeeping does of a day, a transaction at a time."""
    after: int | None = 0
    while after is not None:
        after = ledger.seal(LAST, after, most)
        yield
    first = ledger.first_slots_due(NOW)
    while first is not None and first < before:
        until = min(first + timedelta(minutes=25), before)
        while ledger.remove_slots(first, until, 1):
            yield
        first = ledger.first_slots_due(until)
    while ledger.remove_points(before, most):
        yield
    kept = ledger.judged_at(before)
    place: tuple[int, str] | None = (-1, "")
    while place is not None:
        _, place = ledger.remove_runs(before, kept, place, most)
        yield
    for remove in (ledger.remove_events, ledger.remove_notices, ledger.empty_notices):
        while remove(before, most):
            yield


def periods(before: datetime, dice: random.Random) -> list[tuple[datetime, datetime]]:
    begins = [before, before + timedelta(minutes=dice.randrange(60))]
    return [(begin, begin + timedelta(minutes=minutes)) for begin in begins for minutes in (1, 30, 95)]


def said(ledger: Ledger, before: datetime, seed: int) -> list[object]:
    of_times = [report(ledger, *span) for span in periods(before, random.Random(seed))]
    counted = due.reckoned(ledger, (), None, None, LAST)
    open_ones = (ledger.open_slots(), ledger.open_runs(), ledger.lines_in_force(), ledger.told_until())
    return [of_times, replace(counted, removed=0, removed_before=None), open_ones, ledger.points()]


def lived(ledger: Ledger, records: list[RunRecord], seen: list[RecoveryPoint], dice: random.Random) -> None:
    slots_of(ledger, dice)
    backups = [record.id for record in records if record.job is Job.BACKUP]
    names = [slot.id for slot in ledger.slots(limit=9)]
    records = [
        replace(each, slot=dice.choice(names)) if dice.random() < 0.3 and each.finished_at else each for each in records
    ]
    put(ledger, records, [replace(each, run=dice.choice(backups or [each.run])) for each in seen])
    told_of(ledger, dice)


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    records=runs | proofs, seen=points, minutes=st.integers(1, 100), seed=st.integers(0, 2**32), cut=st.integers(0, 40)
)
def test_a_report_of_a_kept_time_is_the_same_to_the_byte(  # noqa: PLR0917 (hypothesis fills them in by name)
    empty: Path, tmp_path: Path, records: list[RunRecord], seen: list[RecoveryPoint], minutes: int, seed: int, cut: int
) -> None:
    shutil.copyfile(empty, tmp_path / "ledger.db")
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", create=False, now=NOW) as ledger:
        assert_nothing_is_missed(ledger, records, seen, minutes, seed, cut)


def assert_nothing_is_missed(
    ledger: Ledger, records: list[RunRecord], seen: list[RecoveryPoint], minutes: int, seed: int, cut: int
) -> None:
    lived(ledger, records, seen, random.Random(seed))
    before = later(minutes=minutes)
    wanted = said(ledger, before, seed)
    for number, _ in enumerate(tidy(ledger, before)):
        if number == cut:  # cut off: the next day's begins anew
            break
    assert said(ledger, before, seed) == wanted
    for _ in tidy(ledger, before):
        pass
    assert said(ledger, before, seed) == wanted
    told = due.reckoned(ledger, (), None, None, LAST)
    assert told.adds_up
    assert told.found == 40
    assert told.removed == 40 - len(ledger.slots())
    assert told.removed >= 2 * (min(minutes, 60) // 10) - 2


def test_on_either_database(ledger: Ledger) -> None:
    dice = random.Random(5)

    records = [
        _run(
            number,
            dice.choice(POLICIES),
            dice.choice(RESULTS),
            dice.choice(VAULTS),
            dice.choice([*RunState][1:]),
            dice.randrange(90),
        )
        for number in range(120)
    ]
    seen = [_point(number, POLICIES[number % 3], VAULTS[number % 2], number, number % 4 == 0) for number in range(12)]
    assert_nothing_is_missed(ledger, records, seen, 70, 3, 9)
    assert len(ledger.runs()) < 115
    assert 0 < len(ledger.events()) < 29


def test_the_run_behind_a_restore_point_stays_for_as_long_as_the_point(ledger: Ledger) -> None:
    for number in (1, 2, 3):
        ledger.record(over(number, result=BackupResult(changed_count=number)))
    ledger.arrive([point(run=over(1).id)])
    before = later(days=1)
    for _ in tidy(ledger, before):
        pass
    assert {each.id for each in ledger.runs()} == {over(1).id, over(3).id}  # and the last success
    ledger.gone("north", "one", [point().snapshot], before)
    for _ in tidy(ledger, later(days=2)):
        pass
    assert {each.id for each in ledger.runs()} == {over(3).id}

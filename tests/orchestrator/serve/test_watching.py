"""What `serve` looks for beside single slots, on a real ledger: raised once, told once, cleared when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from jobs.event import Topic
from jobs.history import BackupResult, Job, RunState
from jobs.slot import SlotState, Why, WhyKind, slot_id
from orchestrator import settings as settings_room
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.serve.watching import disks, watch
from orchestrator.settings import Settings
from tests.acceptance.operator import SETTINGS
from tests.orchestrator.ledger.build import NOW, line, over, slot

DAY = timedelta(days=1)
LOCKED = Why(kind=WhyKind.LOCKED, text="repository is already locked by PID 7")


class At(Clock):
    """A clock that says what it is told."""

    def __init__(self, now: datetime = NOW) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """One policy with two copies, all below the test's folder."""
    file = tmp_path / "settings.toml"
    file.write_text(SETTINGS.format(restic="restic").replace("sqlite:///tandem.db", f"sqlite:///{tmp_path}/tandem.db"))
    return settings_room.load(file, check_secrets=False)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    """An empty ledger."""
    with Ledger.open(str(settings.service.state), create=True, now=NOW) as opened:
        yield opened


def vain(ledger: Ledger, job: Job, days: int) -> None:
    """The policy's job at its first vault was due on each of so many days, and refused by a lock."""
    (begun,) = ledger.put_lines((), [line(job=job, vault="primary", tenant="minfopra", since=NOW - 30 * DAY)])
    for ago in range(1, days + 1):
        due = NOW - ago * DAY
        made = slot(1, line=begun.id, job=job, vault="primary", tenant="minfopra", nominal=due, key=f"U{ago}")
        made = replace(made, id=slot_id(made.policy, job, made.vault, made.key))
        ledger.born([replace(made, state=SlotState.BLOCKED, why=LOCKED, closed_at=due)], {})


def backed_up(ledger: Ledger, days_ago: float, *, added: int = 10, number: int = 1) -> None:
    result = BackupResult(bytes=1 << 30, bytes_added=added)
    started = NOW - days_ago * DAY
    run = over(number, vault="primary", tenant="minfopra", started_at=started, result=result, state=RunState.SUCCEEDED)
    ledger.record(run)


def topics(ledger: Ledger) -> list[Topic]:
    return [event.topic for event in ledger.events()]


def test_backups_green_retention_dead_is_raised_once_and_cleared_when_retention_runs(
    ledger: Ledger, settings: Settings
) -> None:
    clock = At()
    vain(ledger, Job.RETENTION, 3)
    backed_up(ledger, 0.01)
    watch(ledger, settings, clock)
    watch(ledger, settings, clock)
    (alarm,) = (alarm for alarm in ledger.alarms() if alarm.topic is Topic.RETENTION_DEAD)
    assert alarm.raised_at == NOW
    assert "already locked by PID 7" in alarm.text
    assert topics(ledger).count(Topic.RETENTION_DEAD) == 1
    ledger.record(over(2, job=Job.RETENTION, vault="primary", tenant="minfopra", started_at=NOW))
    clock.time = NOW + timedelta(hours=1)
    watch(ledger, settings, clock)
    assert Topic.RETENTION_DEAD not in {alarm.topic for alarm in ledger.alarms()}
    (recovered,) = ledger.events(topics=[Topic.RECOVERED])
    assert recovered.key == alarm.key
    assert "1 h" in recovered.text


def test_while_the_clock_is_not_believed_nothing_else_is_judged(ledger: Ledger, settings: Settings) -> None:
    watch(ledger, settings, At())
    before = {alarm.key for alarm in ledger.alarms()}
    assert before  # nothing was ever proven
    watch(ledger, settings, At(NOW + 400 * DAY), clock_doubt="set forward by 400 days")
    assert {alarm.key for alarm in ledger.alarms()} == before | {"clock"}
    watch(ledger, settings, At())
    assert {alarm.key for alarm in ledger.alarms()} == before


def test_vaults_and_ledger_on_one_disk_are_one_disk_with_the_growth_of_both(ledger: Ledger, settings: Settings) -> None:
    for number, days in enumerate((10, 5), start=1):
        backed_up(ledger, days, added=100, number=number)
    (disk,) = disks(ledger, settings, NOW)
    assert disk.name == "The disk of the ledger and vault primary and vault secondary"
    assert disk.free > 0
    assert disk.growth.bytes_a_day == 2 * 200 / 10

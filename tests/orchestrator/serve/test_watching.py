"""What `serve` looks for beside single slots, on a real ledger: raised once, told once, cleared when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.alarm import REFUSED, reminder, settings_refused
from jobs.event import Topic
from jobs.failure import Failure, FailureKind
from jobs.history import BackupResult, Job, RunState
from jobs.policy import PolicyName, VaultName
from jobs.slot import SlotState, Why, WhyKind, slot_id
from orchestrator import settings as settings_room
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.serve.watching import disks, watch
from orchestrator.settings import LocalVaultSettings, Settings
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


@pytest.mark.parametrize(("why", "key"), [("clock_doubt", "clock"), ("behind", "clock/behind")])
def test_while_the_clock_is_doubted_the_watch_goes_on_by_the_time_that_is_believed(
    ledger: Ledger, settings: Settings, why: str, key: str
) -> None:
    watch(ledger, settings, At(), **{why: "set by 400 days"})
    watched = {alarm.key for alarm in ledger.alarms()}
    assert key in watched
    assert len(watched) > 1  # nothing was ever proven
    watch(ledger, settings, At())
    assert {alarm.key for alarm in ledger.alarms()} == watched - {key}


def test_vaults_and_ledger_on_one_disk_are_one_disk_with_the_growth_of_both(ledger: Ledger, settings: Settings) -> None:
    for number, days in enumerate((10, 5), start=1):
        backed_up(ledger, days, added=100, number=number)
    (disk,) = disks(ledger, settings, NOW)
    assert disk.name == "The disk of the ledger and vault primary and vault secondary"
    assert disk.free > 0
    assert disk.growth.bytes_a_day == 2 * 200 / 10


@pytest.mark.parametrize("name", ["x" * 300, "loop"], ids=["a name too long", "a loop of links"])
def test_a_vault_that_cannot_be_looked_at_hides_no_other_disk(
    ledger: Ledger, settings: Settings, tmp_path: Path, name: str
) -> None:
    """A disk that died answers stat(2) with an error: all alarms of all policies would be gone with it."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    far = settings.vaults[VaultName("secondary")]
    assert isinstance(far, LocalVaultSettings)
    dead = replace(far, path=tmp_path / name / "vault" / "here")
    (disk,) = disks(ledger, replace(settings, vaults={**settings.vaults, dead.name: dead}), NOW)
    assert disk.name == "The disk of the ledger and vault primary"


def test_that_the_settings_are_refused_is_told_again_every_day_and_is_not_ours_to_clear(
    ledger: Ledger, settings: Settings
) -> None:
    """Whoever reads them raises it, and clears it."""
    raised = settings_refused("policies.files.suorce: no such setting", NOW)
    ledger.set_alarms([raised], (), NOW)
    ledger.add_events([reminder(raised, NOW)])
    for hours in (1, 23, 24, 25, 49):
        watch(ledger, settings, At(NOW + timedelta(hours=hours)))
        assert REFUSED in {alarm.key for alarm in ledger.alarms()}
    told = [event for event in ledger.events() if event.topic is Topic.SETTINGS_REFUSED]
    assert [event.at - NOW for event in told] == [timedelta(hours=hours) for hours in (0, 24, 49)]
    assert "suorce" in told[-1].text


def test_a_lock_is_gone_where_another_policy_needed_the_repository_for_itself_or_nobody_asks_any_more(
    ledger: Ledger, settings: Settings
) -> None:
    failure = Failure(kind=FailureKind.REPOSITORY_LOCKED, message="already locked by PID 7")
    of: dict[str, Any] = {"job": Job.CHECK, "vault": "primary", "tenant": "minfopra"}
    ledger.record(over(1, **of, started_at=NOW - DAY, state=RunState.FAILED, failure=failure))
    watch(ledger, settings, At())
    assert "lock/minfopra/primary" in {alarm.key for alarm in ledger.alarms()}
    other = replace(settings.policies[0], name=PolicyName("other"))
    both = replace(settings, policies=(*settings.policies, other))
    watch(ledger, replace(settings, policies=(other,)), At())
    assert "lock/minfopra/primary" not in {alarm.key for alarm in ledger.alarms()}
    watch(ledger, both, At())
    assert "lock/minfopra/primary" in {alarm.key for alarm in ledger.alarms()}
    ledger.record(over(2, **of, policy=PolicyName("other"), started_at=NOW, state=RunState.SUCCEEDED))
    watch(ledger, both, At())
    assert "lock/minfopra/primary" not in {alarm.key for alarm in ledger.alarms()}

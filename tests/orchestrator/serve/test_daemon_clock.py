"""The daemon by a clock that is set, and over the nights when clocks change: every moment that is due has one slot.

What is due is reckoned by tests/acceptance/oracle.py. Where a test needs slots and no backups, the source is missing:
then an attempt ends before restic is started.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall_time
from pathlib import Path
from typing import Final

import pytest

from orchestrator import settings as settings_room
from orchestrator.clock import Clock
from orchestrator.serve import service
from orchestrator.serve.clockwatch import Opinion
from orchestrator.settings import Settings
from targets.systemd import Systemd
from tests.acceptance import oracle
from tests.acceptance.operator import until
from tests.acceptance.serving import Daemon, SteeredClock, serving
from tests.repositories import prepare

PASSWORD: Final = "of one test"
HOUR: Final = timedelta(hours=1)
HALF: Final = timedelta(minutes=30)
HEAD: Final = """
[service]
name = "Clocks"
timezone = "UTC"
state = "sqlite:///tandem.db"
workdir = "work"
restic = "{restic}"

[limits]
runs = 4
gentle = false

[serve]
listen = "127.0.0.1:0"

[sites.primary]
title = "First"
[vaults.primary]
site = "primary"
kind = "local"
path = "primary"
[tenants.health]
title = "Health"
password = {{ file = "health.key" }}

[defaults.policy]
tenant = "health"
vault = "primary"
"""


@dataclass(frozen=True)
class Bench:
    """An operator in a folder, whose policies are named with their schedule and zone."""

    folder: Path
    restic: Path

    def __post_init__(self) -> None:
        key = self.folder / "health.key"
        key.write_text(PASSWORD)
        key.chmod(0o600)
        prepare(self.folder / "primary" / "health", PASSWORD)

    def policies(self, schedules: Mapping[str, tuple[str, str]], source: str = "missing") -> Path:
        """Write the settings: for each policy its schedule and zone."""
        tables = (
            f'[policies.{name}]\nsource = {{ paths = ["{source}"] }}\nschedule = "{schedule}"\ntimezone = "{zone}"\n'
            for name, (schedule, zone) in schedules.items()
        )
        self.settings.write_text(HEAD.format(restic=self.restic) + "\n".join(tables))
        return self.settings

    @property
    def settings(self) -> Path:
        return self.folder / "settings.toml"

    @property
    def ledger(self) -> Path:
        return self.folder / "tandem.db"

    def newest(self) -> datetime:
        """The newest moment that has a slot."""
        return max((moment[3] for moment in oracle.moments(self.ledger)), default=oracle.EPOCH)

    def is_at_rest(self) -> bool:
        """Whether no slot is open."""
        return all(slot["closed_at"] is not None for slot in oracle.slots(self.ledger))


@pytest.fixture
def operator(tmp_path: Path, restic_program: Path) -> Bench:
    return Bench(tmp_path, restic_program)


def comes(daemon: Daemon, condition: Callable[[], bool]) -> None:
    """Wait for what must come, from a daemon that lives."""
    end = time.monotonic() + 60
    while not condition():
        assert daemon.process.is_alive(), daemon.said[-3000:]
        assert time.monotonic() < end, f"what the test waited for did not come:\n{daemon.said[-3000:]}"
        time.sleep(0.02)


def listens(daemon: Daemon, start: int) -> None:
    """Wait until the operator's so-manieth serve answers: all of them write into one log."""
    comes(daemon, lambda: daemon.said.count("/healthz at ") == start)


def rest(daemon: Daemon, operator: Bench, clock: SteeredClock) -> datetime:
    """Slow the clock down, let everything end, and stop; gives the newest moment that has a slot."""
    clock.go(1)
    comes(daemon, operator.is_at_rest)
    assert daemon.stop() == 0
    return operator.newest()


def test_a_clock_that_is_set_again_and_again_neither_repeats_nor_loses_a_slot(operator: Bench) -> None:
    """By an hour and by three minutes, in both directions, at any moment, with real backups."""
    (operator.folder / "source").mkdir()
    (operator.folder / "source" / "file").write_text("content")
    settings = operator.policies({"real": ("every 30m", "UTC")}, "source")
    settings.write_text(settings.read_text().replace("[policies.real]", '[policies.real]\nsplay = "10m"'))
    start = datetime(2026, 3, 10, 0, 20, tzinfo=UTC)
    clock = SteeredClock.made(operator.folder / "clock", start)
    dice = random.Random(5)
    with serving(settings, clock, rate=600) as daemon:
        comes(daemon, lambda: bool(oracle.slots(operator.ledger)))
        for step in (HOUR, -HOUR, HOUR / 20, -HOUR / 20, -HOUR, HOUR):
            time.sleep(dice.uniform(0.2, 1.2))
            clock.step(step)
        seen = operator.newest()
        comes(daemon, lambda: operator.newest() >= seen + 2 * HALF)
        newest = rest(daemon, operator, clock)
    due = [("real", "backup", "primary", at) for at in oracle.every(HALF, start, newest)]
    assert oracle.differences(due, operator.ledger) == []
    assert oracle.contradictions(operator.ledger) == []
    (told,) = oracle.rows(operator.ledger, "SELECT count(*) AS many FROM event WHERE topic = 'clock-stepped'")
    assert told["many"] >= 6
    bare = oracle.Bare(operator.restic, {"health": PASSWORD}, operator.folder / "bare-cache")
    assert oracle.strangers(operator.ledger, [operator.folder / "primary" / "health"], bare) == []


def test_a_clock_ten_years_ahead_is_not_believed_and_time_goes_on_without_it(operator: Bench) -> None:
    settings = operator.policies({"one": ("every 30m", "UTC")})
    start = datetime(2026, 3, 10, 0, 20, tzinfo=UTC)
    clock = SteeredClock.made(operator.folder / "clock", start)
    with serving(settings, clock, rate=600) as daemon:
        comes(daemon, lambda: bool(oracle.slots(operator.ledger)))
        assert daemon.health()[0] == 200
        clock.step(timedelta(days=3652))
        comes(daemon, lambda: daemon.health()[0] == 503)
        before = len(oracle.slots(operator.ledger))
        comes(daemon, lambda: len(oracle.slots(operator.ledger)) > before)
        assert "not believed" in daemon.health()[1]
        clock.step(-timedelta(days=3652))
        comes(daemon, lambda: daemon.health()[0] == 200)
        comes(daemon, lambda: len(oracle.slots(operator.ledger)) > before + 2)
        newest = rest(daemon, operator, clock)
    due = [("one", "backup", "primary", at) for at in oracle.every(HALF, start, newest)]
    assert oracle.differences(due, operator.ledger) == []
    texts = [row["text"] for row in oracle.rows(operator.ledger, "SELECT * FROM event WHERE topic = 'clock-stepped'")]
    assert sum("not believed" in text for text in texts) == 1
    assert sum("set back by 3652 days" in text for text in texts) == 1


def test_an_outage_is_told_with_its_length_and_a_quick_restart_is_none(operator: Bench) -> None:
    settings = operator.policies({"one": ("every 30m", "UTC")})
    clock = SteeredClock.made(operator.folder / "clock", datetime(2026, 3, 10, 0, 20, tzinfo=UTC))
    outages = "SELECT * FROM event WHERE topic = 'outage'"
    with serving(settings, clock, rate=600) as daemon:
        comes(daemon, lambda: bool(oracle.slots(operator.ledger)))
        rest(daemon, operator, clock)
    with serving(settings, clock, rate=1) as daemon:
        listens(daemon, 2)
        assert daemon.stop() == 0
    assert oracle.rows(operator.ledger, outages) == []
    clock.step(3 * HOUR)
    with serving(settings, clock, rate=1) as daemon:
        comes(daemon, lambda: len(oracle.rows(operator.ledger, outages)) == 1)
        rest(daemon, operator, clock)
    (told,) = oracle.rows(operator.ledger, outages)
    assert "6" in told["text"], told["text"]


def test_a_clock_that_is_behind_what_is_on_record_is_red_until_it_has_caught_up(operator: Bench) -> None:
    settings = operator.policies({"one": ("every 30m", "UTC")})
    clock = SteeredClock.made(operator.folder / "clock", datetime(2026, 3, 10, 0, 20, tzinfo=UTC))
    with serving(settings, clock, rate=600) as daemon:
        comes(daemon, lambda: bool(oracle.slots(operator.ledger)))
        rest(daemon, operator, clock)
    clock.step(-10 * HOUR)
    with serving(settings, clock, rate=1) as daemon:
        listens(daemon, 2)
        comes(daemon, lambda: "behind the newest slot" in daemon.health()[1])
        assert daemon.health()[0] == 503
        clock.step(10 * HOUR)
        comes(daemon, lambda: daemon.health()[0] == 200)
        assert daemon.stop() == 0


NIGHTS: Final = {
    "the end of summer time for Ramadan in Casablanca": date(2026, 2, 15),
    "its return after Ramadan": date(2026, 3, 22),
    "spring in Paris": date(2026, 3, 29),
    "spring in Cairo, at midnight": date(2026, 4, 24),
    "autumn in Paris": date(2026, 10, 25),
    "autumn in Cairo, at midnight": date(2026, 10, 29),
}
ZONES: Final = {
    "paris": "Europe/Paris",
    "cairo": "Africa/Cairo",
    "casa": "Africa/Casablanca",
    "douala": "Africa/Douala",
}
CLOCKS: Final = (wall_time(0, 30), wall_time(1, 30), wall_time(2, 30), wall_time(23, 30))


@pytest.mark.parametrize("night", NIGHTS.values(), ids=NIGHTS)
def test_over_the_night_when_clocks_change_every_fixed_hour_comes_once(operator: Bench, night: date) -> None:
    """With a kill -9 and a person who sets the clock by an hour, as one does who takes UTC for local time."""
    start = datetime.combine(night, wall_time(11, 10), UTC) - timedelta(days=1)
    fixed = {f"{name}{at:%H%M}": (f"daily at {at:%H:%M}", zone) for name, zone in ZONES.items() for at in CLOCKS}
    settings = operator.policies({**fixed, "hourly": ("every 60m", "Africa/Cairo")})
    clock = SteeredClock.made(operator.folder / "clock", start)
    midnight = start + timedelta(hours=13)
    with serving(settings, clock, rate=20_000) as daemon:
        comes(daemon, lambda: clock.now() >= midnight)
    with serving(settings, clock) as daemon:
        comes(daemon, lambda: clock.now() >= midnight + 2 * HOUR)
        clock.step(-HOUR)
        comes(daemon, lambda: clock.now() >= midnight + 6 * HOUR)
        clock.step(HOUR)
        comes(daemon, lambda: operator.newest() >= start + timedelta(days=2))
        newest = rest(daemon, operator, clock)
    due = [("hourly", "backup", "primary", at) for at in oracle.every(HOUR, start, newest)]
    for name, zone in ZONES.items():
        for at in CLOCKS:
            moments = oracle.daily(at, zone, start, newest)
            due += [(f"{name}{at:%H%M}", "backup", "primary", moment) for moment in moments]
    assert oracle.differences(due, operator.ledger) == []
    assert oracle.contradictions(operator.ledger) == []
    assert len(due) >= 48 + 2 * len(fixed)


class Leaping(Clock):
    """This machine's, which a test sets."""

    off = timedelta()

    def now(self) -> datetime:
        return super().now() + self.off


def test_of_a_clock_the_vaults_are_asked_that_are_in_the_settings_by_then(operator: Bench) -> None:
    settings = operator.policies({"one": ("every 30m", "UTC")})
    clock, stop, reload = Leaping(), threading.Event(), threading.Event()
    asked: list[str] = []
    said: list[str] = []

    def testify(present: Settings, _clock: Clock) -> Opinion:
        asked.append(present.service.name)
        return Opinion.KEPT

    terms = service.Terms(
        clock=clock,
        log=lambda record: said.append(record.event),
        systemd=Systemd(None),
        version="test",
        stop=stop,
        reload=reload,
        testify=testify,
        beat_seconds=0.05,
    )
    thread = threading.Thread(target=service.serve, args=(settings_room.load(settings), terms))
    thread.start()
    try:
        until(lambda: "serve-started" in said)
        settings.write_text(settings.read_text().replace('"Clocks"', '"Others"'))
        reload.set()
        until(lambda: "settings-reloaded" in said)
        clock.off = timedelta(days=2)
        until(lambda: bool(asked))
    finally:
        stop.set()
        thread.join()
    assert set(asked) == {"Others"}

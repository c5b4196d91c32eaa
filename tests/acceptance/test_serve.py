"""`tandem serve` at an operator's: stopped, killed, given new settings, with its ledger's disk full or a vault away."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from bench.campaign import Day
from tests.acceptance import oracle
from tests.acceptance.faults import limited, noise, small_disk
from tests.acceptance.operator import PASSWORD, SETTINGS, Operator
from tests.acceptance.serving import Daemon, SteeredClock, fill_up, serving
from tests.repositories import prepare

START: Final = datetime(2026, 3, 10, 3, 54, tzinfo=UTC)  # shortly before a moment that all schedules have
RATE: Final = 600.0  # an hour in six seconds
HOURLY: Final = timedelta(hours=1)
AT_WORK: Final = SETTINGS.replace("[sites.primary]", "[limits]\nruns = 2\ngentle = false\n\n[sites.primary]", 1)
CHAIN: Final = (("backup", "primary"), ("replicate", "secondary"), ("retention", "primary"), ("retention", "secondary"))


def at_work(folder: Path, restic: Path, schedule: str, **edits: str) -> Operator:
    """An operator whose policy has a schedule, and whose two repositories are there and cheap to open."""
    settings = AT_WORK.replace("[policies.files]", f'[policies.files]\nschedule = "{schedule}"')
    for name, text in edits.items():
        settings = settings.replace(f"[{name}]", f"[{name}]\n{text}")
    operator = Operator(folder=folder, restic=restic, settings=settings)
    for vault in ("primary", "secondary"):
        prepare(folder / vault / "minfopra", PASSWORD)
    return operator


def ledger(operator: Operator) -> Path:
    """The operator's ledger."""
    return operator.folder / "tandem.db"


def states(operator: Operator, job: str = "%") -> list[str]:
    """In which states the slots are, the oldest due first."""
    found = oracle.rows(ledger(operator), "SELECT state FROM slot WHERE job LIKE ? ORDER BY due, id", job)
    return [row["state"] for row in found]


def is_at_rest(operator: Operator) -> bool:
    """Whether there are slots, and no open one."""
    found = states(operator)
    return bool(found) and not {"due", "running"} & set(found)


def chained(period: timedelta, clock_showed: datetime, *policies: str) -> list[oracle.Moment]:
    """What must be due of policies of which a copy and both retentions come after each backup."""
    moments = list(oracle.every(period, START, clock_showed))
    return [(policy, job, vault, at) for policy in policies or ("files",) for job, vault in CHAIN for at in moments]


def sound(operator: Operator, due: list[oracle.Moment]) -> None:
    """Nothing lost, nothing doubled, no snapshot without its run, no lock that blocks, and Tandem itself agrees."""
    bare = oracle.Bare(operator.restic, {"minfopra": PASSWORD}, operator.folder / "bare-cache")
    places = [operator.folder / vault / "minfopra" for vault in ("primary", "secondary")]
    assert oracle.differences(due, ledger(operator)) == []
    assert oracle.contradictions(ledger(operator)) == []
    assert oracle.strangers(ledger(operator), places, bare) == []


# --- by a clock that runs fast ----------------------------------------------------------------------------------------


def comes(daemon: Daemon, condition: Callable[[], bool], *, seconds: float = 60) -> None:
    """Wait for what must come, from a daemon that lives."""
    end = time.monotonic() + seconds
    while not condition():
        assert daemon.process.is_alive(), daemon.said[-3000:]
        assert time.monotonic() < end, f"what the test waited for did not come:\n{daemon.said[-3000:]}"
        time.sleep(0.02)


def settings_file(operator: Operator) -> Path:
    """The operator's settings."""
    return operator.folder / "settings.toml"


def shown(operator: Operator) -> datetime:
    """The newest moment of all slots."""
    return max((moment[3] for moment in oracle.moments(ledger(operator))), default=oracle.EPOCH)


def clock_of(operator: Operator) -> SteeredClock:
    """A clock that shows START now."""
    return SteeredClock.made(operator.folder / "clock", START)


def at_rest_after(daemon: Daemon, operator: Operator, clock: SteeredClock, moment: datetime) -> datetime:
    """Wait until that moment has its slots and all slots are closed, and stop; gives the newest moment."""
    comes(daemon, lambda: shown(operator) >= moment)
    clock.go(20)  # so that what is under way ends before something else is due
    comes(daemon, lambda: is_at_rest(operator))
    assert daemon.stop() == 0
    return shown(operator)


def test_a_day_with_many_kills_adds_up(tmp_path: Path) -> None:
    day = Day(tmp_path / "day", hours=0.75, rate=300.0, seed=3)
    day.pass_by(kills=15)
    assert day.troubles == []
    assert day.kills == 15
    assert day.states["succeeded"] > 10


def test_new_settings_begin_lines_and_end_others_and_mistakes_change_nothing(
    tmp_path: Path, restic_program: Path
) -> None:
    operator = at_work(tmp_path, restic_program, "every 60m")
    valid = operator.settings
    clock = clock_of(operator)
    with serving(settings_file(operator), clock, rate=RATE) as daemon:
        comes(daemon, lambda: "succeeded" in states(operator, "backup"))
        operator.write_settings(valid.replace('schedule = "every 60m"', 'schedule = "often"\nsuorce = 1'))
        daemon.signal(signal.SIGHUP)
        comes(daemon, lambda: "settings-refused" in daemon.said)
        assert "often" in daemon.said
        assert "suorce" in daemon.said
        seen = shown(operator)
        comes(daemon, lambda: shown(operator) > seen)  # the old ones are in force
        closed = 'window = "12:00-12:01"\n'  # so that what is due waits
        operator.write_settings(valid.replace("[policies.files]", f"[policies.files]\n{closed}"))
        daemon.signal(signal.SIGHUP)
        comes(daemon, lambda: _waits_for_its_window(operator))
        operator.write_settings(valid.replace("[policies.files]", "[policies.others]"))
        daemon.signal(signal.SIGHUP)
        comes(daemon, lambda: any(moment[0] == "others" for moment in oracle.moments(ledger(operator))))
        at_rest_after(daemon, operator, clock, shown(operator))
    gone = oracle.rows(ledger(operator), "SELECT * FROM slot WHERE policy = 'files' ORDER BY due DESC LIMIT 4")
    assert {(row["state"], row["why_kind"]) for row in gone} == {("skipped", "policy-gone")}
    assert oracle.contradictions(ledger(operator)) == []
    newest = {moment[0]: moment[3] for moment in sorted(oracle.moments(ledger(operator)), key=lambda each: each[3])}
    switched = newest["files"]
    due = [each for each in chained(HOURLY, switched) if each[3] <= switched]
    due += [each for each in chained(HOURLY, newest["others"], "others") if each[3] > switched]
    assert oracle.differences(due, ledger(operator)) == []


def _waits_for_its_window(operator: Operator) -> bool:
    question = "SELECT id FROM slot WHERE state = 'due' AND job = 'backup' AND why_kind = 'window'"
    return bool(oracle.rows(ledger(operator), question))


@pytest.mark.as_root
def test_a_ledger_disk_that_fills_up_loses_nothing_and_is_seen(tmp_path: Path, restic_program: Path) -> None:
    operator = at_work(tmp_path / "operator", restic_program, "every 60m")
    place = tmp_path / "disk"
    text = operator.settings.replace("sqlite:///tandem.db", f"sqlite:///{place}/tandem.db")
    operator.write_settings(text + '\n[serve]\nlisten = "127.0.0.1:0"\n')
    with small_disk(place, 8):
        (operator.folder / "tandem.db").symlink_to(place / "tandem.db")
        clock = clock_of(operator)
        with serving(settings_file(operator), clock, rate=RATE) as daemon:
            comes(daemon, lambda: states(operator, "backup").count("succeeded") == 1)
            assert daemon.health()[0] == 200
            seen = shown(operator)
            ballast = fill_up(place)
            comes(daemon, lambda: daemon.health()[0] == 503)
            time.sleep(8)  # more than an hour of its clock
            (place / "tandem.db-wal").stat()
            ballast.unlink()
            comes(daemon, lambda: daemon.health()[0] == 200)
            newest = at_rest_after(daemon, operator, clock, seen + 2 * HOURLY)
        sound(operator, chained(HOURLY, newest))


def test_a_daemon_that_stood_still_for_longer_than_every_limit_doubles_and_loses_nothing(
    tmp_path: Path, restic_program: Path
) -> None:
    operator = at_work(tmp_path, restic_program, "every 60m", limits='deadline = "3s"\nno_progress = "2s"')
    noise(operator.source / "big", 4)
    limited(operator, "primary", upload="500KiB/s")  # longer than its deadline allows
    clock = clock_of(operator)
    with serving(settings_file(operator), clock, rate=RATE) as daemon:
        comes(daemon, lambda: bool(operator.locks("primary")))
        daemon.signal(signal.SIGSTOP)
        with serving(settings_file(operator), clock) as second:
            second.process.join(30)
            assert second.process.exitcode not in {0, None}  # it lives, if it does not move
        time.sleep(6.5)  # more than an hour
        operator.write_settings(operator.settings)
        daemon.signal(signal.SIGCONT)
        daemon.signal(signal.SIGHUP)
        comes(daemon, lambda: "succeeded" in states(operator, "backup"))
        newest = at_rest_after(daemon, operator, clock, shown(operator))
        assert re.search(r"outage.*Tandem did not run from .*; [0-9]+ moments? passed", daemon.said)
    sound(operator, chained(HOURLY, newest))


def test_a_vault_away_for_a_day_is_named_and_the_newest_of_each_line_is_caught_up_once(
    tmp_path: Path, restic_program: Path
) -> None:
    operator = at_work(tmp_path, restic_program, "every 4h")
    more = '\n[policies.more]\nschedule = "every 4h"\nsource = {{ paths = ["source"] }}\n'
    operator.write_settings(operator.settings.replace('path = "primary"', 'path = "disk/primary"') + more)
    (operator.folder / "disk").mkdir()
    (operator.folder / "primary").rename(operator.folder / "disk" / "primary")
    (operator.folder / "primary").symlink_to("disk/primary")
    period = timedelta(hours=4)
    clock = clock_of(operator)
    with serving(settings_file(operator), clock, rate=RATE) as daemon:
        comes(daemon, lambda: states(operator).count("succeeded") == 8)
        (operator.folder / "disk").rename(operator.folder / "unmounted")
        gone = shown(operator)
        clock.go(12_000)
        comes(daemon, lambda: shown(operator) >= gone + timedelta(days=1))
        clock.go(RATE)
        (operator.folder / "unmounted").rename(operator.folder / "disk")
        back = shown(operator)
        newest = at_rest_after(daemon, operator, clock, back + period)
    sound(operator, chained(period, newest, "files", "more"))
    missed = oracle.rows(
        ledger(operator),
        "SELECT * FROM slot WHERE job = 'backup' AND nominal > ? AND nominal < ?",
        *((each - oracle.EPOCH) // timedelta(microseconds=1) for each in (gone, back)),
    )
    assert len(missed) >= 8
    assert {row["state"] for row in missed} == {"failed"}
    assert all("is its disk mounted?" in row["why_text"] for row in missed)
    assert {row["state"] for row in oracle.slots(ledger(operator))[-8:]} == {"succeeded"}  # of the newest moment
    _never_more_than_two_at_once(ledger(operator))


def _never_more_than_two_at_once(file: Path) -> None:
    """limits.runs is two; and of each line one at a time."""
    runs = oracle.rows(file, "SELECT policy, job, vault, started_at, finished_at FROM run")
    edges = sorted([(row["started_at"], 1) for row in runs] + [(row["finished_at"], -1) for row in runs])
    under_way = 0
    for _, change in edges:
        under_way += change
        assert under_way <= 2

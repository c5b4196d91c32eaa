"""`tandem serve` as people and the system start it: stopped, killed, refused, standing by, given other settings."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from tests.acceptance import oracle
from tests.acceptance.faults import limited, noise, restics
from tests.acceptance.operator import PASSWORD, Operator, until
from tests.acceptance.test_serve import at_work, is_at_rest, ledger, states

YEAR: Final = timedelta(days=365)


@dataclass
class Serve:
    """A `tandem serve` as a person started it."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        """Its log."""
        return self.log.read_text()

    def says(self, words: str) -> None:
        """Wait until it has said so."""
        until(lambda: words in self.said or self.process.poll() is not None)
        assert words in self.said

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.process.terminate()
        return self.process.wait(60)


@contextmanager
def served(operator: Operator, *words: str) -> Iterator[Serve]:
    """The command `serve`, not longer than the block."""
    log = operator.folder / f"serve-{len(list(operator.folder.glob('serve-*')))}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            operator.command("serve", *words), stderr=stream, stdout=stream, env=operator.variables()
        )
    try:
        yield Serve(process, log)
    finally:
        process.kill()
        process.wait(60)
    assert PASSWORD not in log.read_text()


@contextmanager
def after(first: Serve, operator: Operator) -> Iterator[Serve]:
    """One that stands by for another."""
    first.says("serve-started")
    with served(operator, "--standby") as standby:
        yield standby


def opened(daemon: Serve) -> list[Path]:
    """The files that it holds open."""
    return [Path(each.path) for each in psutil.Process(daemon.process.pid).open_files()]


@pytest.fixture(scope="session")
def served_for_a_year(tmp_path_factory: pytest.TempPathFactory, restic_program: Path) -> Operator:
    """An operator whose `serve` began a year ago and is down: one moment of each line is due. Nobody changes it."""
    operator = at_work(tmp_path_factory.mktemp("year") / "operator", restic_program, "every 365d")
    with served(operator) as first:
        first.says("serve-started")
        assert first.stop() == 0
    micros = YEAR // timedelta(microseconds=1)
    with sqlite3.connect(ledger(operator)) as connection:
        connection.execute("UPDATE line SET since = since - ?, cursor = cursor - ?", (micros, micros))
    connection.close()
    return operator


@pytest.fixture
def a_year_on(served_for_a_year: Operator, tmp_path: Path) -> Operator:
    """A copy of it."""
    shutil.copytree(served_for_a_year.folder, tmp_path / "operator")
    return Operator(folder=tmp_path / "operator", restic=served_for_a_year.restic, settings=served_for_a_year.settings)


def test_sigterm_interrupts_restic_cleanly_and_the_slot_is_done_after_the_restart(a_year_on: Operator) -> None:
    noise(a_year_on.source / "big", 8)
    limited(a_year_on, "primary", upload="200KiB/s")
    with served(a_year_on) as first:
        first.says("run-began")
        until(lambda: a_year_on.locks("primary"))
        assert first.stop() == 0
        assert "serve-stopped" in first.said
    assert a_year_on.locks("primary") == []
    assert states(a_year_on, "backup") == ["due"]
    (cut,) = oracle.rows(ledger(a_year_on), "SELECT * FROM run")
    assert (cut["state"], cut["failure_kind"]) == ("interrupted", "cancelled")
    a_year_on.write_settings(a_year_on.settings)  # without the limit
    with served(a_year_on) as second:
        until(lambda: is_at_rest(a_year_on))
        assert second.stop() == 0
    assert states(a_year_on) == ["succeeded"] * 4
    assert len(a_year_on.snapshots("primary")) == len(a_year_on.snapshots("secondary")) == 1
    assert oracle.contradictions(ledger(a_year_on)) == []
    assert a_year_on.tandem("slots").code == 0


def test_what_a_killed_serve_and_its_killed_restic_left_locked_is_free_at_the_next_start(a_year_on: Operator) -> None:
    noise(a_year_on.source / "big", 8)
    limited(a_year_on, "primary", upload="200KiB/s")
    with served(a_year_on) as first:
        first.says("run-began")
        until(lambda: restics(first.process, "--tag=content=data") and a_year_on.locks("primary"))
        first.process.send_signal(signal.SIGSTOP)
        for restic in restics(first.process, "backup"):
            restic.kill()
    left = {lock.name for lock in a_year_on.locks("primary")}
    assert left
    a_year_on.write_settings(a_year_on.settings)  # without the limit
    with served(a_year_on) as second:
        second.says("run-began")
        assert not left & {lock.name for lock in a_year_on.locks("primary")}
        until(lambda: is_at_rest(a_year_on))
        assert second.stop() == 0
    events = oracle.rows(ledger(a_year_on), "SELECT text FROM event WHERE topic = 'lock-removed'")
    (cut,) = oracle.rows(ledger(a_year_on), "SELECT * FROM run WHERE state = 'interrupted'")
    assert len(events) == 2 * len(left)
    assert all(f"because Tandem died in backup files (run {cut['id']})" in event["text"] for event in events)
    assert all(f"removed the dead lock {name[:8]} of PID " in cut["note"] for name in left)
    assert states(a_year_on) == ["succeeded"] * 4
    assert a_year_on.locks("primary") == a_year_on.locks("secondary") == []


def test_the_second_serve_is_refused_and_a_standby_takes_over_from_a_killed_one(a_year_on: Operator) -> None:
    with served(a_year_on) as first, after(first, a_year_on) as standby:
        refused = a_year_on.tandem("serve")
        assert refused.code == 8
        assert f"process {first.process.pid} on " in refused.err
        first.process.kill()
        standby.says("serve-took-over")
        assert f"process {first.process.pid} on " in standby.said
        until(lambda: is_at_rest(a_year_on))
        a_year_on.write_settings(a_year_on.settings.replace('path = "secondary"', 'pat = "secondary"\nsiet = "x"'))
        standby.process.send_signal(signal.SIGHUP)
        standby.says("settings-refused")
        assert "pat" in standby.said
        assert "siet" in standby.said
        assert "the old ones stay in force" in standby.said
        assert standby.stop() == 0
    assert states(a_year_on) == ["succeeded"] * 4
    assert len(a_year_on.snapshots("primary")) == 1


def test_a_standby_takes_over_with_the_settings_as_they_are_by_then(a_year_on: Operator) -> None:
    with served(a_year_on) as first, after(first, a_year_on) as standby:
        until(lambda: is_at_rest(a_year_on))
        a_year_on.write_settings(a_year_on.settings.replace("[policies.files]", "[policies.renamed]"))
        first.process.send_signal(signal.SIGHUP)
        first.says("settings-reloaded")
        assert first.stop() == 0
        standby.says("serve-started")
        assert standby.stop() == 0
    in_force = oracle.rows(ledger(a_year_on), "SELECT DISTINCT policy FROM line WHERE until IS NULL")
    assert in_force == [{"policy": "renamed"}]
    (lines,) = oracle.rows(ledger(a_year_on), "SELECT count(*) AS many FROM line WHERE policy = 'renamed'")
    assert lines["many"] == 4  # begun once, and not ended by who took over


def test_settings_that_are_wrong_at_the_start_end_with_7(operator: Operator) -> None:
    operator.write_settings(
        operator.settings.replace("[policies.files]", '[policies.files]\nschedule = "often"\nx = 1')
    )
    ended = operator.tandem("serve")
    assert ended.code == 7
    assert "often" in ended.err
    assert "policies.files.x" in ended.err
    assert not ledger(operator).exists()


def test_a_standby_whose_settings_name_another_ledger_by_then_waits_for_that_one(a_year_on: Operator) -> None:
    """Where another serves already: two would make everything due twice."""
    with served(a_year_on) as first, after(first, a_year_on) as standby:
        until(lambda: is_at_rest(a_year_on) and ledger(a_year_on) in opened(standby))
        a_year_on.write_settings(a_year_on.settings.replace("tandem.db", "moved.db"))
        with served(a_year_on) as third:
            third.says("serve-started")
            assert first.stop() == 0
            standby.says("the settings name another ledger by now")
            assert third.stop() == 0
        standby.says("serve-started")
        assert standby.stop() == 0
    (former,) = oracle.rows(ledger(a_year_on), "SELECT * FROM lease")
    assert former["owner_pid"] is None
    begun = "SELECT text FROM event WHERE topic = 'serve-started'"
    moved = oracle.rows(ledger(a_year_on).with_name("moved.db"), begun)
    assert [event["text"].rpartition(", ")[2] for event in moved] == ["term 1", "term 2"]
    assert "serve-started" not in standby.said.partition("the settings name another ledger")[0]


def alarms(operator: Operator) -> list[dict[str, Any]]:
    """The alarm of refused settings, each time that it stood."""
    return oracle.rows(ledger(operator), "SELECT * FROM alarm WHERE key = 'settings' ORDER BY id")


def test_refused_settings_are_an_alarm_until_others_are_accepted(a_year_on: Operator) -> None:
    good = a_year_on.settings

    def given(settings: str, topic: str, times: int) -> None:
        a_year_on.write_settings(settings)
        serve.process.send_signal(signal.SIGHUP)
        until(lambda: serve.said.count(f" {topic}: ") >= times)

    with served(a_year_on) as serve:
        serve.says("serve-started")
        until(lambda: is_at_rest(a_year_on))
        given(good.replace("[policies.files]", "[policies.files]\nsuorce = 1"), "settings-refused", 1)
        given(good.replace("[policies.files]", "[policies.files]\nshcedule = 1"), "settings-refused", 2)
        standing = [row for row in alarms(a_year_on) if row["cleared_at"] is None]
        assert [(row["severity"], "shcedule" in row["text"]) for row in standing] == [("warning", True)]
        assert standing[0]["raised_at"] == alarms(a_year_on)[0]["raised_at"]  # and since when
        a_year_on.write_settings(good)
        shown = a_year_on.tandem("status", "--nagios")
        assert shown.code != 0
        assert "settings-refused" in a_year_on.tandem("status").out
        given(good, "settings-reloaded", 1)
        assert all(row["cleared_at"] for row in alarms(a_year_on))
        assert "settings-refused" not in a_year_on.tandem("status").out
        given(good.replace("tandem.db", "moved.db"), "settings-refused", 3)
        assert "takes a restart" in alarms(a_year_on)[-1]["text"]
        a_year_on.write_settings(good)
        assert serve.stop() == 0
    with served(a_year_on) as serve:
        serve.says("serve-started")
        assert all(row["cleared_at"] for row in alarms(a_year_on))  # they were read, so they are good
        assert serve.stop() == 0
    told = oracle.rows(ledger(a_year_on), "SELECT topic FROM event WHERE key = 'settings' ORDER BY id")
    refused, reloaded, recovered = "settings-refused", "settings-reloaded", "recovered"
    # What has recovered is told anew when it comes again.
    assert [row["topic"] for row in told] == [refused, refused, recovered, reloaded, refused, recovered]

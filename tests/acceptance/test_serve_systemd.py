"""`serve` as systemd starts it: it says when it is ready, that it lives, and that it ends, to a real socket."""

from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.acceptance.operator import PASSWORD, SETTINGS, Operator

PATIENCE = 60.0  # seconds


class Manager:
    """Listens where $NOTIFY_SOCKET says."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(place))
        self._socket.settimeout(PATIENCE)
        self.heard: list[dict[str, str]] = []

    def hears(self, name: str) -> str:
        """Wait for the next word of this name; the line of status that came with it or after it."""
        while True:
            said = dict(line.split("=", 1) for line in self._socket.recv(8192).decode().splitlines())
            self.heard.append(said)
            if name in said:
                return said.get("STATUS", "")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def operator(tmp_path: Path, restic_program: Path) -> Operator:
    return Operator(folder=tmp_path / "operator", restic=restic_program, settings=SETTINGS)


@contextmanager
def served(operator: Operator, *words: str) -> Iterator[tuple[subprocess.Popen[str], Manager]]:
    """The command `serve` under a manager of its own."""
    manager = Manager(operator.folder / f"notify{len(words)}")
    operator.environment = {"NOTIFY_SOCKET": str(manager.place), "WATCHDOG_USEC": "100000"}
    process = operator.start("serve", *words)
    try:
        yield process, manager
    finally:
        process.kill()
        _, said = process.communicate(timeout=PATIENCE)
        manager.close()
        assert PASSWORD not in said
        assert "Traceback" not in said


def test_systemd_hears_of_readiness_life_and_end_also_of_who_stands_by(operator: Operator) -> None:
    with served(operator) as (first, manager):
        assert "0 runs under way" in manager.hears("READY")
        assert "slots open" in manager.hears("WATCHDOG")
        with served(operator, "--standby") as (second, other):
            waits = other.hears("READY")
            assert waits == f"standing by: process {first.pid} on {socket.gethostname()} serves"
            other.hears("WATCHDOG")
            first.terminate()
            manager.hears("STOPPING")
            assert first.wait(PATIENCE) == 0
            while "runs under way" not in other.hears("WATCHDOG"):
                assert second.poll() is None
            second.terminate()
            other.hears("STOPPING")
            assert second.wait(PATIENCE) == 0
    assert [said for said in manager.heard if "READY" in said] == manager.heard[:1]
    assert "STOPPING" in manager.heard[-1]


def test_who_stands_by_ends_when_it_is_told_to(operator: Operator) -> None:
    with served(operator) as (first, manager):
        manager.hears("READY")
        with served(operator, "--standby") as (second, other):
            other.hears("WATCHDOG")
            second.terminate()
            assert second.wait(PATIENCE) == 0
            assert first.poll() is None


def test_an_address_that_is_taken_is_said_in_a_sentence_and_stops_no_backup(operator: Operator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        operator.write_settings(operator.settings + f'\n[serve]\nlisten = "{address}"\n')
        with served(operator) as (process, manager):
            manager.hears("WATCHDOG")
            assert process.stderr is not None
            line = next(line for line in process.stderr if address in line)
            assert "nothing can listen there" in line
            process.terminate()
            assert process.wait(PATIENCE) == 0


def test_a_reload_is_told_from_its_beginning_to_its_end(operator: Operator) -> None:
    with served(operator) as (process, manager):
        manager.hears("READY")
        operator.write_settings(operator.settings.replace("Minfopra", "Minfopra, as it is called now"))
        process.send_signal(signal.SIGHUP)
        manager.hears("RELOADING")
        assert "runs under way" in manager.hears("READY")
        process.terminate()
        manager.hears("STOPPING")
        manager.hears("EXTEND_TIMEOUT_USEC")
        assert process.wait(PATIENCE) == 0


def test_a_clock_that_leapt_for_more_than_a_year_is_trusted_when_a_person_says_so(operator: Operator) -> None:
    scheduled = operator.settings.replace("[policies.files]", '[policies.files]\nschedule = "every 480h"')
    operator.write_settings(scheduled)
    with served(operator) as (first, manager):
        manager.hears("READY")
        first.terminate()
        assert first.wait(PATIENCE) == 0
    with closing(sqlite3.connect(operator.folder / "tandem.db")) as ledger:
        ledger.execute("UPDATE line SET since = since - 40000000000000, cursor = cursor - 40000000000000")
        ledger.execute("UPDATE lease SET taken_at = taken_at - 40000000000000, beaten_at = beaten_at - 40000000000000")
        ledger.commit()
        with served(operator, "--trust-clock") as (third, manager):
            manager.hears("READY")
            third.terminate()
            assert third.wait(PATIENCE) == 0
        ((made,),) = ledger.execute("SELECT count(*) FROM slot").fetchall()
        assert made > 60

"""The register is live: a real process pays while it is read, and a torn copy is told from a whole one."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.demo import material, pensions

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def register(tmp_path: Path) -> Path:
    path = tmp_path / "pensions.db"
    pensions.make(path, seed=1, pensioners=500)
    return path


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it did not come to pass within thirty seconds")


def office(register: Path) -> list[str]:
    return [sys.executable, "-m", "orchestrator.demo.writer", str(register)]


def test_the_register_has_the_promised_rows(tmp_path: Path) -> None:
    path = tmp_path / "full.db"
    pensions.make(path, seed=1, pensioners=material.FULL.pensioners)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*), count(DISTINCT id) FROM pensioner").fetchone() == (100_000, 100_000)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_payment_keeps_the_tables_in_agreement(register: Path) -> None:
    with closing(sqlite3.connect(register)) as database:
        pensions.pay(database, random.Random(1), payments=7)
    assert pensions.payments(register) == 7
    assert pensions.agrees(register)


def test_disagreement_is_seen(register: Path) -> None:
    with closing(sqlite3.connect(register)) as database, database:
        database.execute("INSERT INTO payment (pensioner, amount) VALUES (1, 5)")
    assert not pensions.agrees(register)


def test_a_damaged_file_is_seen(register: Path) -> None:
    with closing(sqlite3.connect(register)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with register.open("r+b") as file:
        file.seek(register.stat().st_size // 2)
        file.write(b"\xff" * 4096)
    assert not pensions.agrees(register)


def test_the_office_pays_while_it_is_read_and_ends_with_its_input(register: Path) -> None:
    with subprocess.Popen(office(register), cwd=ROOT, stdin=subprocess.PIPE) as process:
        wait_until(lambda: pensions.payments(register) > 0)
        first = pensions.payments(register)
        wait_until(lambda: pensions.payments(register) > first)
        copy = register.with_name("copy.db")
        with closing(sqlite3.connect(register)) as live, closing(sqlite3.connect(copy)) as other:
            live.backup(other)
        assert pensions.agrees(copy)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=30) == 0
    assert pensions.agrees(register)


def test_the_office_ends_when_the_demonstration_is_killed(register: Path) -> None:
    """A parent that dies by SIGKILL tidies nothing up; its end of the pipe closes all the same."""
    parent = (
        "import subprocess, sys\n"
        f"office = subprocess.Popen({office(register)!r}, stdin=subprocess.PIPE)\n"
        "print(office.pid, flush=True)\n"
        "office.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        child = int(killed.stdout.readline())
        wait_until(lambda: pensions.payments(register) > 0)
        killed.send_signal(signal.SIGKILL)
    wait_until(lambda: not runs(child))


def runs(pid: int) -> bool:
    """Whether a process is there and is not a zombie that nobody has waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="ascii")

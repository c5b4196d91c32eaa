"""A copy of a living ledger: of one instant, whole, sound, and in its place only once it is all that."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from jobs.failure import FailureKind
from jobs.history import RunState
from jobs.slot import SlotState
from orchestrator.ledger.ledger import Ledger, LedgerError
from tests.orchestrator.ledger.build import NOW, line, point, run
from tests.orchestrator.ledger.children import child, hear, slot_after_slot
from tests.servers.postgresql import PostgresqlServer


@pytest.fixture
def ledger_file(tmp_path: Path) -> Path:
    """A ledger with a line and an open run in it."""
    path = tmp_path / "var" / "ledger.db"
    with Ledger.open(f"sqlite:///{path}", create=True, now=NOW) as ledger:
        ledger.put_lines([], [line()])
        ledger.claim(run(policy="mail", tenant="south"))
    return path


def opened(path: Path) -> Ledger:
    return Ledger.open(f"sqlite:///{path}", create=False, now=NOW)


def test_a_copy_is_one_file_that_is_a_ledger(ledger_file: Path, tmp_path: Path) -> None:
    with opened(ledger_file) as ledger:
        ledger.copy_to(tmp_path / "new" / "copy.db")
        ledger.remember_settings("ab", "later", NOW)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["copy.db"]
    assert stat.S_IMODE((tmp_path / "new" / "copy.db").stat().st_mode) == 0o600
    with closing(sqlite3.connect(tmp_path / "new" / "copy.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    with opened(ledger_file) as ledger, opened(tmp_path / "new" / "copy.db") as copied:
        assert copied.open_runs() == ledger.open_runs()
        assert copied.lines() == ledger.lines()
        assert copied.settings_text("ab") is None


def test_a_copy_takes_the_place_of_the_one_before(ledger_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_bytes(b"yesterday's")
    with opened(ledger_file) as ledger:
        ledger.copy_to(copy)
    with opened(copy) as copied:
        assert len(copied.open_runs()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"var", "copy.db"}


def test_copies_of_a_ledger_at_work_are_each_of_one_instant(ledger_file: Path, tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    effects.mkdir()
    with (
        opened(ledger_file) as ledger,
        child(slot_after_slot, f"sqlite:///{ledger_file}", str(effects), 1000, False) as (process, answer),
    ):
        assert hear(answer) == "started"
        seen = 0
        while seen < 3 and process.is_alive():
            before = len(ledger.slots())
            ledger.copy_to(tmp_path / "copy.db")
            with opened(tmp_path / "copy.db") as copied:
                slots, runs = copied.slots(), copied.runs()
                assert len(slots) >= before
                assert {one.run for one in slots if one.state is SlotState.RUNNING} == {
                    record.id for record in runs if record.slot and record.state is RunState.RUNNING
                }
                assert len(copied.events()) == sum(one.state is SlotState.SUCCEEDED for one in slots)
            seen += len(slots) > before or bool(seen)
    assert seen == 3


def rubbish(path: Path) -> None:
    """A page of an index is overwritten."""
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'ix_recovery_point_seen'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def forgotten(path: Path) -> None:
    """An index lacks the rows that are in its table: every page can be read, and answers are wrong."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'IS NULL', 'IS NOT NULL')"
            " WHERE name = 'uq_recovery_point_there'"
        )
        connection.commit()


@pytest.mark.parametrize("damage", [rubbish, forgotten])
def test_a_damaged_ledger_is_not_handed_out_as_a_sound_copy(
    ledger_file: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    with opened(ledger_file) as ledger:
        ledger.arrive(point(number) for number in range(200))
    copy = tmp_path / "copy.db"
    copy.write_bytes(b"yesterday's")
    damage(ledger_file)
    with opened(ledger_file) as ledger, pytest.raises(LedgerError) as caught:
        ledger.copy_to(copy)
    assert caught.value.kind is FailureKind.LEDGER_DAMAGED
    assert copy.read_bytes() == b"yesterday's"
    assert {path.name for path in tmp_path.iterdir()} == {"var", "copy.db"}


def test_a_ledger_is_not_copied_over_itself(ledger_file: Path, tmp_path: Path) -> None:
    (tmp_path / "other-name.db").symlink_to(ledger_file)
    with opened(ledger_file) as ledger:
        for name in (ledger_file, tmp_path / "other-name.db"):
            with pytest.raises(ValueError, match="the ledger itself"):
                ledger.copy_to(name)
        assert len(ledger.open_runs()) == 1


def test_a_place_that_cannot_be_written_is_told(ledger_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with opened(ledger_file) as ledger, pytest.raises(LedgerError, match="copy the ledger"):
        ledger.copy_to(tmp_path / "file" / "copy.db")


def test_a_ledger_on_a_server_is_not_for_us_to_copy(postgresql: PostgresqlServer, tmp_path: Path) -> None:
    url = postgresql.url(postgresql.new_database())
    with Ledger.open(url, create=True, now=NOW) as ledger, pytest.raises(LedgerError, match="pg_dump"):
        ledger.copy_to(tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == []

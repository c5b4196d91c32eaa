"""Databases are copied whole while others write to them, nothing is left beside them, and damage is told as damage."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.ports import Progress
from targets.sources import sqlite
from tests.bare_restic import BareRestic
from tests.targets.sources.trees import NEVER, unseen

ACCOUNTS, TOTAL = 400, 40_000

# Moves money between accounts in transactions, so that any copy that is not of one moment has another total.
_WRITER = """
import random, sqlite3, sys
ledger = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
print("ready", flush=True)
while True:
    ledger.execute("BEGIN IMMEDIATE")
    for _ in range(20):
        one, other = random.sample(range(400), 2)
        ledger.execute("UPDATE account SET balance = balance - 1, note = hex(randomblob(200)) WHERE id = ?", (one,))
        ledger.execute("UPDATE account SET balance = balance + 1 WHERE id = ?", (other,))
    ledger.execute("COMMIT")
"""


def make(path: Path, mode: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as made:
        made.execute(f"PRAGMA journal_mode = {mode}")
        made.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER, note TEXT)")
        made.execute("CREATE INDEX by_note ON account (note)")
        made.execute("BEGIN")
        rows = ((number, TOTAL // ACCOUNTS, "n" * 3000) for number in range(ACCOUNTS))
        made.executemany("INSERT INTO account VALUES (?, ?, ?)", rows)
        made.execute("COMMIT")
    return path


def total(path: Path) -> int:
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as opened:
        return int(opened.execute("SELECT sum(balance) FROM account").fetchone()[0])


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    command = [sys.executable, "-c", _WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        yield
        assert writer.poll() is None
        writer.kill()


def copy(database: Path, into: Path, **more: float) -> None:
    sqlite.copy(database, into, stop=NEVER, watch=unseen, **more)


def kind_of_failure(database: Path, into: Path, **more: float) -> FailureKind:
    with pytest.raises(TargetError) as caught:
        copy(database, into, **more)
    assert str(database.name) in str(caught.value)
    assert not any(into.parent.glob(".*"))
    return caught.value.kind


# --- whole ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["WAL", "DELETE", "PERSIST", "TRUNCATE"])
def test_a_copy_of_a_database_that_is_written_to_is_of_one_moment(tmp_path: Path, mode: str) -> None:
    database = make(tmp_path / "live" / "x.db", mode)
    with written_to(database):
        for number in range(5):
            copy(database, tmp_path / f"copy-{number}.db")
    for number in range(5):
        assert total(tmp_path / f"copy-{number}.db") == TOTAL
        assert sqlite.verify(tmp_path / f"copy-{number}.db") is None


def test_writers_do_not_make_it_start_over(tmp_path: Path) -> None:
    """Each look at the progress sees a commit happen; without a read transaction the copy would never end."""
    database = make(tmp_path / "x.db", "WAL")
    told: list[Progress] = []
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        for number in range(3):
            writer.execute("INSERT INTO account VALUES (?, 0, ?)", (1000 + number, "x" * 9_000_000))

        def write(progress: Progress) -> None:
            told.append(progress)
            assert len(told) < 50
            writer.execute("UPDATE account SET balance = balance + 1")

        sqlite.copy(database, tmp_path / "copy.db", stop=NEVER, watch=write)
    done = [progress.bytes_done for progress in told]
    assert done == sorted(done)
    assert len(done) > 4
    assert done[-1] == told[-1].bytes_total == (tmp_path / "copy.db").stat().st_size
    assert total(tmp_path / "copy.db") == TOTAL


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_nothing_is_left_beside_a_database_that_nobody_has_open(tmp_path: Path, mode: str) -> None:
    database = make(tmp_path / "rest" / "x.db", mode)
    before = (sorted(database.parent.iterdir()), database.read_bytes(), database.stat().st_mtime_ns)
    copy(database, tmp_path / "copy.db")
    assert (sorted(database.parent.iterdir()), database.read_bytes(), database.stat().st_mtime_ns) == before
    assert total(tmp_path / "copy.db") == TOTAL


def test_what_is_only_in_the_write_ahead_log_is_copied(tmp_path: Path) -> None:
    database = make(tmp_path / "x.db", "WAL")
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("UPDATE account SET balance = 7")
        assert total(database) == TOTAL
        copy(database, tmp_path / "copy.db")
    assert total(tmp_path / "copy.db") == 7 * ACCOUNTS


def test_a_writer_that_comes_and_goes_during_a_copy_at_rest_is_noticed(tmp_path: Path) -> None:
    database = make(tmp_path / "x.db", "WAL")
    came: list[bool] = []

    def come_and_go(_: Progress) -> None:
        if not came:
            came.append(True)
            with closing(sqlite3.connect(database, isolation_level=None)) as writer:
                writer.execute("UPDATE account SET balance = 7, note = hex(randomblob(3000))")

    sqlite.copy(database, tmp_path / "copy.db", stop=NEVER, watch=come_and_go)
    assert total(tmp_path / "copy.db") == 7 * ACCOUNTS
    assert sqlite.verify(tmp_path / "copy.db") is None


def test_the_copy_is_private_alone_and_replaces_the_one_before(tmp_path: Path) -> None:
    into = tmp_path / "staging" / "deep" / "x.db"
    for balance in (1, 2):
        database = make(tmp_path / f"{balance}.db", "WAL")
        with closing(sqlite3.connect(database, isolation_level=None)) as writer:
            writer.execute("UPDATE account SET balance = ?", (balance,))
            copy(database, into)
        assert total(into) == balance * ACCOUNTS
    assert list(into.parent.iterdir()) == [into]
    assert into.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["a b?c#d%41&mode=rwc.db", "é\n.db", "\udcff.db", "x" * 244 + ".db"])
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    database = make(tmp_path / "plain.db", "WAL").rename(tmp_path / name)
    copy(database, tmp_path / "copies" / name)
    assert os.listdir(tmp_path / "copies") == [name]  # noqa: PTH208 (names as they are)
    assert sqlite.verify(tmp_path / "copies" / name) is None


def test_restic_stores_the_copy_under_the_databases_own_path(restic_program: Path, tmp_path: Path) -> None:
    restic = BareRestic(program=restic_program, repository=tmp_path / "repository").init()
    copy(make(tmp_path / "x.db", "WAL"), tmp_path / "staging" / "srv" / "app" / "x.db")
    snapshot = restic.backup("srv/app/x.db", cwd=tmp_path / "staging")
    assert list(restic.nodes(snapshot)) == ["/srv", "/srv/app", "/srv/app/x.db"]


# --- not to be had ----------------------------------------------------------------------------------------------------


def test_a_missing_database_is_missing_and_is_not_made(tmp_path: Path) -> None:
    assert kind_of_failure(tmp_path / "none.db", tmp_path / "copy.db") is FailureKind.SOURCE_MISSING
    assert list(tmp_path.iterdir()) == []


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def scribble(path: Path) -> None:
    """Over the pages in the middle, the header being sound."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 3 & ~4095)
        file.write(b"\xa5" * 40_000)


@pytest.mark.parametrize(
    "spoil",
    [cut, scribble, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"no database" * 1000)],
)
def test_a_damaged_database_is_told_as_damaged(tmp_path: Path, spoil: object) -> None:
    assert callable(spoil)
    database = make(tmp_path / "x.db", "DELETE")
    copy(database, tmp_path / "copy.db")
    spoil(database)
    assert kind_of_failure(database, tmp_path / "copy.db") is FailureKind.SOURCE_DAMAGED
    assert total(tmp_path / "copy.db") == TOTAL


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    assert kind_of_failure(tmp_path, tmp_path / "copy.db") is FailureKind.SOURCE_DAMAGED


def test_a_lock_that_stays_is_told_after_a_while(tmp_path: Path) -> None:
    database = make(tmp_path / "x.db", "DELETE")
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TargetError, match=r"locked for 0\.3 s; let that one end") as caught:
            copy(database, tmp_path / "copy.db", patience=0.3)
        assert caught.value.kind is FailureKind.SOURCE_UNREADABLE
    copy(database, tmp_path / "copy.db", patience=0.3)


def test_a_lock_that_goes_is_waited_for(tmp_path: Path) -> None:
    database = make(tmp_path / "x.db", "DELETE")
    with closing(sqlite3.connect(database, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(0.5, other.execute, ["ROLLBACK"])
        timer.start()
        copy(database, tmp_path / "copy.db", patience=60)
        timer.join()
    assert total(tmp_path / "copy.db") == TOTAL


def test_a_stop_ends_it_while_it_copies_and_while_it_waits(tmp_path: Path) -> None:
    database = make(tmp_path / "x.db", "DELETE")
    stop = threading.Event()
    with pytest.raises(TargetError) as caught:
        sqlite.copy(database, tmp_path / "copy.db", stop=stop, watch=lambda _: stop.set())
    assert caught.value.kind is FailureKind.CANCELLED
    stop.clear()
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(0.3, stop.set)
        timer.start()
        with pytest.raises(TargetError) as caught:
            sqlite.copy(database, tmp_path / "copy.db", stop=stop, watch=unseen)
        timer.join()
    assert caught.value.kind is FailureKind.CANCELLED
    assert list(tmp_path.iterdir()) == [database]


@pytest.mark.as_root
def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    database = make(tmp_path / "x.db", "WAL")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", small], check=True)
    try:
        assert kind_of_failure(database, small / "copy.db") is FailureKind.DISK_FULL
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


# --- a restored copy --------------------------------------------------------------------------------------------------


def test_a_sound_copy_passes_and_damage_anywhere_does_not(tmp_path: Path) -> None:
    database = make(tmp_path / "x.db", "WAL")
    assert sqlite.verify(database) is None
    assert list(tmp_path.iterdir()) == [database]
    for spoil in (cut, scribble):
        spoiled = make(tmp_path / f"{spoil.__name__}.db", "DELETE")
        spoil(spoiled)
        assert sqlite.verify(spoiled)
    assert sqlite.verify(tmp_path / "none.db") == "the database is not there"
    (tmp_path / "text.db").write_text("no database")
    assert sqlite.verify(tmp_path / "text.db") == "file is not a database"


def test_an_index_that_disagrees_with_its_table_is_found(tmp_path: Path) -> None:
    """Each page is sound by itself: the quick check would pass."""
    database = make(tmp_path / "x.db", "DELETE")
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("PRAGMA writable_schema = ON")
        writer.execute(
            "UPDATE sqlite_master SET sql = 'CREATE INDEX by_note ON account (balance)' WHERE name = 'by_note'"
        )
    assert "by_note" in str(sqlite.verify(database))

"""What stands between Tandem and its ledger: each fault has a kind, a sentence, and leaves everything as it was."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jobs.failure import INTERNAL, FailureKind
from jobs.history import Job
from jobs.policy import PolicyName
from orchestrator.ledger.ledger import Ledger, LedgerError
from tests.orchestrator.ledger.build import DONE, NOW, OWNER, later, point, repository, run
from tests.orchestrator.ledger.children import as_nobody, child, hear
from tests.servers.postgresql import PostgresqlServer


def refusal(url: str, *, create: bool = False) -> LedgerError:
    with pytest.raises(LedgerError) as caught:
        Ledger.open(url, create=create, now=NOW)
    return caught.value


def made(path: Path) -> str:
    url = f"sqlite:///{path}"
    with Ledger.open(url, create=True, now=NOW) as ledger:
        ledger.remember(repository())
        ledger.claim(run())
    return url


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


# --- missing ----------------------------------------------------------------------------------------------------------


def test_a_missing_file_is_told_and_not_made(tmp_path: Path) -> None:
    error = refusal(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert error.kind is FailureKind.LEDGER_MISSING
    assert error.failure.exit_code == INTERNAL
    assert str(tmp_path / "ledger.db") in error.failure.message
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_told_and_can_become_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch()
    assert refusal(f"sqlite:///{tmp_path / 'ledger.db'}").kind is FailureKind.LEDGER_MISSING
    made(tmp_path / "ledger.db")


def test_an_empty_database_is_told(postgresql: PostgresqlServer) -> None:
    url = postgresql.url(postgresql.new_database())
    assert refusal(url).kind is FailureKind.LEDGER_MISSING


def test_a_file_that_vanishes_while_it_is_open_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    url = made(tmp_path / "ledger.db")
    ledger = Ledger.open(url, create=False, now=NOW)
    (tmp_path / "ledger.db").unlink()
    with pytest.raises(LedgerError):
        ledger.open_runs()
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_does_not_answer_is_told_without_the_password(postgresql: PostgresqlServer) -> None:
    error = refusal("postgresql+psycopg://tandem:hunter2@127.0.0.1:1/ledger")
    assert error.kind is FailureKind.LEDGER_MISSING
    assert "127.0.0.1:1/ledger" in error.failure.message
    assert "hunter2" not in f"{error!r} {error} {error.__cause__!r}"


def test_a_database_that_does_not_exist_is_told_and_not_made(postgresql: PostgresqlServer) -> None:
    error = refusal(postgresql.url("nowhere"), create=True)
    assert error.kind is FailureKind.LEDGER_MISSING
    assert "nowhere" in error.failure.message


@pytest.mark.parametrize("url", ["mysql://root:hunter2@db/x", "sqlite://", "sqlite:///:memory:", "sqlite:///", "here"])
def test_any_other_place_is_refused_without_its_password(url: str) -> None:
    error = refusal(url, create=True)
    assert error.kind is FailureKind.LEDGER_MISSING
    assert "hunter2" not in str(error)


# --- read-only --------------------------------------------------------------------------------------------------------


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can reach, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="tandem-ledger-", dir="/tmp"))
    folder.chmod(0o777)
    yield folder
    folder.chmod(0o700)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("file_mode", "folder_mode"),
    [(0o444, 0o777), (0o666, 0o555), (0o000, 0o777), (0o666, 0o000)],
    ids=["file-read-only", "folder-read-only", "file-unreadable", "folder-closed"],
)
def test_a_ledger_that_may_not_be_written_is_told(open_folder: Path, file_mode: int, folder_mode: int) -> None:
    url = made(open_folder / "ledger.db")
    before = digests(open_folder)
    (open_folder / "ledger.db").chmod(file_mode)
    open_folder.chmod(folder_mode)
    with child(as_nobody, url, False, [run(2, job=Job.RESTORE)]) as (_, answer):
        kind, message = hear(answer)
    open_folder.chmod(0o700)
    (open_folder / "ledger.db").chmod(0o600)
    assert kind is FailureKind.LEDGER_READ_ONLY
    assert str(open_folder / "ledger.db") in message
    assert digests(open_folder)["ledger.db"] == before["ledger.db"]


@pytest.mark.parametrize("folder_mode", [0o555, 0o000], ids=["read-only", "closed"])
def test_a_folder_in_which_no_ledger_may_be_made_is_told(open_folder: Path, folder_mode: int) -> None:
    open_folder.chmod(folder_mode)
    with child(as_nobody, f"sqlite:///{open_folder}/var/ledger.db", True, []) as (_, answer):
        kind, message = hear(answer)
    assert kind is FailureKind.LEDGER_READ_ONLY
    assert str(open_folder) in message


def test_a_ledger_that_may_only_be_read_can_be_read(open_folder: Path) -> None:
    url = made(open_folder / "ledger.db")
    (open_folder / "ledger.db").chmod(0o444)
    with child(as_nobody, url, False, []) as (_, answer):
        assert hear(answer) is None


def test_a_database_role_that_may_only_read_is_told(postgresql: PostgresqlServer) -> None:
    database = postgresql.new_database()
    Ledger.open(postgresql.url(database), create=True, now=NOW).close()
    postgresql.run("DROP ROLE IF EXISTS reader")
    postgresql.run("CREATE ROLE reader LOGIN")
    postgresql.run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", database)
    with Ledger.open(postgresql.url(database, user="reader"), create=False, now=NOW) as ledger:
        assert ledger.open_runs() == ()
        with pytest.raises(LedgerError) as caught:
            ledger.claim(run())
    assert caught.value.kind is FailureKind.LEDGER_READ_ONLY


def test_a_role_that_the_server_does_not_let_in_is_told(postgresql: PostgresqlServer) -> None:
    error = refusal(postgresql.url(postgresql.new_database(), user="stranger"))
    assert error.kind in {FailureKind.ACCESS_DENIED, FailureKind.LEDGER_MISSING}
    assert "stranger" in error.failure.message


# --- from a newer version ---------------------------------------------------------------------------------------------


def test_a_file_from_a_newer_version_is_refused_before_it_is_touched(tmp_path: Path) -> None:
    url = made(tmp_path / "ledger.db")
    change(tmp_path / "ledger.db", "UPDATE alembic_version SET version_num = '9999'")
    before = digests(tmp_path)
    for create in (False, True):
        error = refusal(url, create=create)
        assert error.kind is FailureKind.LEDGER_TOO_NEW
        assert "9999" in error.failure.message
    assert digests(tmp_path) == before


def test_a_database_from_a_newer_version_is_refused(postgresql: PostgresqlServer) -> None:
    database = postgresql.new_database()
    Ledger.open(postgresql.url(database), create=True, now=NOW).close()
    postgresql.run("UPDATE alembic_version SET version_num = '9999'", database)
    assert refusal(postgresql.url(database), create=True).kind is FailureKind.LEDGER_TOO_NEW


# --- damaged ----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_no_database_is_refused_before_it_is_touched(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"Dear diary, " * 1000)
    before = digests(tmp_path)
    assert refusal(f"sqlite:///{tmp_path / 'ledger.db'}", create=True).kind is FailureKind.LEDGER_DAMAGED
    assert digests(tmp_path) == before


def test_somebody_elses_database_is_refused_before_it_is_touched(url: str, postgresql: PostgresqlServer) -> None:
    if url.startswith("sqlite"):
        change(Path(url.removeprefix("sqlite:///")), "CREATE TABLE recipe (title TEXT)")
    else:
        postgresql.run("CREATE TABLE recipe (title TEXT)", url.rpartition("/")[2])
    error = refusal(url, create=True)
    assert error.kind is FailureKind.LEDGER_DAMAGED
    assert "not a ledger" in error.failure.message


def test_a_file_cut_short_is_told(tmp_path: Path) -> None:
    url = made(tmp_path / "ledger.db")
    os.truncate(tmp_path / "ledger.db", 12_288)
    with pytest.raises(LedgerError) as caught, Ledger.open(url, create=False, now=NOW) as ledger:
        ledger.runs()
    assert caught.value.kind is FailureKind.LEDGER_DAMAGED


def test_a_row_that_nobody_wrote_is_told_by_its_id(url: str, ledger: Ledger, postgresql: PostgresqlServer) -> None:
    ledger.claim(run())
    statement = "UPDATE run SET result = '{}'"
    if url.startswith("sqlite"):
        change(Path(url.removeprefix("sqlite:///")), statement)
    else:
        postgresql.run(statement, url.rpartition("/")[2])
    with pytest.raises(LedgerError, match=run().id) as caught:
        ledger.runs()
    assert caught.value.kind is FailureKind.LEDGER_DAMAGED
    with pytest.raises(LedgerError):
        ledger.claim(run(2))


# --- full -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """One mebibyte of disk."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"this machine does not let us mount a small disk: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


@pytest.mark.as_root
def test_a_full_disk_is_told_and_loses_nothing_that_was_recorded(small_disk: Path) -> None:
    url = made(small_disk / "ledger.db")
    with Ledger.open(url, create=False, now=NOW) as ledger:
        ledger.open_runs()
        filler = fill(small_disk)
        with pytest.raises(LedgerError) as caught:
            ledger.arrive(point(number) for number in range(2000))
        assert caught.value.kind is FailureKind.DISK_FULL
        assert ledger.open_runs() == (run(),)
        assert ledger.points() == ()
        filler.unlink()
        ledger.finish(run().id, OWNER, DONE, later(minutes=1))
    with closing(sqlite3.connect(small_disk / "ledger.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.as_root
def test_a_ledger_opened_on_a_full_disk_says_that_it_is_full(small_disk: Path) -> None:
    url = made(small_disk / "ledger.db")
    fill(small_disk)
    with pytest.raises(LedgerError) as caught, Ledger.open(url, create=False, now=NOW) as ledger:
        ledger.claim(run(2, job=Job.RESTORE))
    assert caught.value.kind is FailureKind.DISK_FULL


@pytest.mark.as_root
def test_a_ledger_that_does_not_fit_is_not_half_made(small_disk: Path) -> None:
    filler = fill(small_disk)
    os.truncate(filler, filler.stat().st_size - 32_768)
    assert refusal(f"sqlite:///{small_disk / 'ledger.db'}", create=True).kind is FailureKind.DISK_FULL
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


# --- habits of the file -----------------------------------------------------------------------------------------------


def test_the_file_and_what_is_beside_it_are_for_its_owner_only(tmp_path: Path) -> None:
    url = made(tmp_path / "var" / "ledger.db")
    with Ledger.open(url, create=False, now=NOW) as ledger:
        ledger.claim(run(2, policy=PolicyName("mail")))
        files = list((tmp_path / "var").iterdir())
        assert {path.name for path in files} == {"ledger.db", "ledger.db-wal", "ledger.db-shm"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700


def test_a_commit_is_on_the_disk_before_it_counts(tmp_path: Path) -> None:
    from orchestrator.ledger.sqlite import connect

    made(tmp_path / "ledger.db")
    with closing(connect(tmp_path / "ledger.db")) as connection:
        asked = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
        assert asked == {"journal_mode": "wal", "synchronous": 2}
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
        assert connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)


def test_the_log_of_a_long_lived_process_does_not_grow_without_end(tmp_path: Path) -> None:
    url = made(tmp_path / "ledger.db")
    with Ledger.open(url, create=False, now=NOW) as ledger:
        for number in range(12):
            ledger.remember_settings(str(number), "x" * 1_000_000, NOW)
        assert (tmp_path / "ledger.db").stat().st_size > 4 << 20
        wal = tmp_path / "ledger.db-wal"
        assert not wal.exists() or wal.stat().st_size < 8 << 20
        assert ledger.settings_text("11") == "x" * 1_000_000


def test_a_file_name_may_hold_anything(tmp_path: Path) -> None:
    url = made(tmp_path / "50% of it?#é&mode=ro.db")
    with Ledger.open(url, create=False, now=NOW) as ledger:
        assert ledger.open_runs() == (run(),)


def test_a_current_file_is_used_without_the_slow_libraries(tmp_path: Path) -> None:
    url = made(tmp_path / "ledger.db")
    program = (
        "import sys; from datetime import UTC, datetime; from orchestrator.ledger.ledger import Ledger\n"
        f"with Ledger.open({url!r}, create=True, now=datetime.now(UTC)) as ledger: ledger.glance(datetime.now(UTC))\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'alembic', 'pydantic', 'sqlalchemy', 'sqlmodel', 'psycopg'}))"
    )
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert said.stdout == "[]\n"


@pytest.mark.parametrize("what", ["removed", "replaced"])
def test_a_file_that_is_taken_away_under_us_is_noticed_at_once(tmp_path: Path, what: str) -> None:
    """Else all goes on, green, into a file without a name; and a second scheduler begins on the new one."""
    path = tmp_path / "tandem.db"
    with Ledger.open(f"sqlite:///{path}", create=True, now=NOW) as ledger:
        assert ledger.runs() == ()
        path.rename(tmp_path / "elsewhere.db")
        if what == "replaced":
            Ledger.open(f"sqlite:///{path}", create=True, now=NOW).close()
        with pytest.raises(LedgerError, match="while it was in use") as caught:
            ledger.runs()
        assert caught.value.kind is FailureKind.LEDGER_MISSING
        path.unlink(missing_ok=True)
        (tmp_path / "elsewhere.db").rename(path)  # put back
        assert ledger.runs() == ()

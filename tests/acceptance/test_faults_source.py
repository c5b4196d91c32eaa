"""Sources as they are in life: missing, closed, changing, written to, and commands that fail half-way."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from jobs.failure import FailureKind
from jobs.history import BackupResult, RestoreTestResult, RunState
from tests.acceptance.faults import assert_sound, done, gate, noise, points, restics, runs
from tests.acceptance.operator import Operator, until


def _failed(operator: Operator) -> FailureKind:
    newest = runs(operator)[0]
    assert newest.state is RunState.FAILED
    assert newest.failure is not None
    return newest.failure.kind


def _stored(operator: Operator) -> BackupResult:
    result = runs(operator)[0].result
    assert isinstance(result, BackupResult)
    return result


def _proven(operator: Operator, policy: str) -> RestoreTestResult:
    """The restore test of the newest point must find no difference; gives what it compared."""
    done(operator, "test-restore", policy, "--site", "primary")
    result = runs(operator)[0].result
    assert isinstance(result, RestoreTestResult)
    return result


def test_every_missing_path_is_named_and_nothing_is_stored(newcomer: Operator) -> None:
    missing = [str(newcomer.folder / name) for name in ("gone", "also-gone")]
    paths = 'paths = ["source", "gone", "also-gone"]'
    newcomer.write_settings(newcomer.settings.replace('paths = ["source"]', paths))
    refused = newcomer.tandem("backup", "files")
    assert refused.code == 4
    assert all(path in refused.out + refused.err for path in missing), refused.err
    assert "Mount or restore the path" in refused.out + refused.err
    assert _failed(newcomer) is FailureKind.SOURCE_MISSING
    assert not (newcomer.folder / "primary" / "minfopra" / "config").exists()
    for path in missing:
        Path(path).mkdir()
    done(newcomer, "backup", "files")


class Bound(Operator):
    """An operator whom file modes bind, also where the tests run as root."""

    def command(self, *words: str) -> list[str]:
        """As an ordinary user would run it."""
        powers = "-dac_override,-dac_read_search"
        bound = ["setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}"] if os.geteuid() == 0 else []
        return [*bound, *super().command(*words)]


def test_what_cannot_be_read_makes_the_backup_partial_by_name(tmp_path: Path, restic_program: Path) -> None:
    operator = Bound(folder=tmp_path / "operator", restic=restic_program)
    operator.with_repositories()
    closed = operator.write("closed.txt", "not for you")
    closed.chmod(0)
    locked = operator.write("locked/inside.txt", "nor this").parent
    locked.chmod(0)
    try:
        partial = operator.tandem("backup", "files")
        assert partial.code == 3, partial.err
        words = partial.out + partial.err
        assert str(closed) in words
        assert str(locked) in words
        assert "Give the backup's user the right to read it" in words
        newest = runs(operator)[0]
        assert newest.failure is not None
        assert (newest.state, newest.failure.kind) == (RunState.PARTIAL, FailureKind.SOURCE_UNREADABLE)
        assert (_stored(operator).unreadable_count, set(_stored(operator).unreadable)) == (
            2,
            {str(closed), str(locked)},
        )
        assert [point.complete for point in points(operator, "primary")] == [False]
        assert _proven(operator, "files").files_compared == 3
    finally:
        locked.chmod(0o700)
    closed.chmod(0o600)
    done(operator, "backup", "files")
    assert [point.complete for point in points(operator, "primary")] == [False, True]


@dataclass(frozen=True)
class Held:
    """A running backup whose restic is held while Tandem's own scan has come to its end."""

    process: subprocess.Popen[str]
    go_on: Callable[[], None]

    def finish(self) -> tuple[int, str]:
        """Let restic go on, and wait for the end: exit code and what was said."""
        self.go_on()
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out + err


def _open_files(process: psutil.Process) -> list[str]:
    return [file.path for file in process.open_files()]


def _wait_for_the_scan(operator: Operator, process: subprocess.Popen[str]) -> None:
    until(lambda: any(path.stat().st_size for path in (operator.folder / "work" / "manifests").glob("*/scanned")))
    assert process.poll() is None


def test_a_file_that_changes_is_marked_and_counted_but_no_failure(operator: Operator) -> None:
    waits = gate(operator, "--tag=content=data")
    process = operator.start("backup", "files")
    waits.wait()
    _wait_for_the_scan(operator, process)
    operator.write("a.txt", "second, and longer\n")
    code, said = Held(process, waits.open).finish()
    assert code == 0, said
    stored = _stored(operator)
    assert (stored.changed_count, stored.changed) == (1, (str(operator.source / "a.txt"),))
    tested = _proven(operator, "files")
    assert (tested.differences, tested.changed, tested.files_compared) == (0, 1, 2)
    assert points(operator, "primary")[0].complete


def test_a_file_that_vanishes_is_marked_and_no_failure(operator: Operator) -> None:
    """restic has listed it and finds it gone: what was there when it came to it is stored all the same."""
    for number in range(5):
        noise(operator.source / f"0-{number}", 6)  # restic reads two at a time
    vanishing = operator.write("vanishes.txt", "now you see me")
    process = operator.start("backup", "files")
    until(lambda: restics(process, "--tag=content=data"))
    (engine,) = restics(process, "--tag=content=data")
    until(lambda: any(name.startswith(str(operator.source)) for name in _open_files(engine)))
    engine.send_signal(signal.SIGSTOP)
    _wait_for_the_scan(operator, process)
    vanishing.unlink()
    code, said = Held(process, lambda: engine.send_signal(signal.SIGCONT)).finish()
    assert code == 0, said
    stored = _stored(operator)
    assert stored.changed_count == len(stored.changed) == 2, stored  # the file, and the folder it was in
    assert str(vanishing) in stored.changed
    assert stored.unreadable == ()
    tested = _proven(operator, "files")
    assert tested.differences == 0
    assert points(operator, "primary")[0].complete


WRITER = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
db.execute(f"PRAGMA journal_mode={sys.argv[2]}")
db.execute("PRAGMA wal_autocheckpoint=0")
db.execute("PRAGMA synchronous=OFF")
db.execute("CREATE TABLE account (name TEXT PRIMARY KEY, amount INTEGER)")
db.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, amount INTEGER, memo BLOB)")
db.execute("INSERT INTO account VALUES ('ministry', 0)")
while True:
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO entry (amount, memo) VALUES (7, randomblob(2000))")
    db.execute("UPDATE account SET amount = amount + 7")
    db.execute("COMMIT")
    time.sleep(0.001)
"""


def _entries(database: Path) -> int:
    """How many entries it holds; it must be sound, and its two tables must agree."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        connection.execute("BEGIN")
        (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
        (entries, booked) = connection.execute("SELECT count(*), coalesce(sum(amount), 0) FROM entry").fetchone()
        (balance,) = connection.execute("SELECT amount FROM account").fetchone()
    assert (sound, balance) == ("ok", booked)
    return int(entries)


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_live_database_is_stored_as_it_was_at_one_moment(operator: Operator, journal: str) -> None:
    policy = '[policies.ledger]\nsource = {{ sqlite = {{ path = "live.db" }} }}\n'
    operator.write_settings(operator.settings + policy)
    live = operator.folder / "live.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(live), journal]) as writer:
        try:
            until(lambda: live.exists() and live.stat().st_size + _size(live, "-wal") > 400_000)
            before = _entries(live)
            done(operator, "backup", "ledger")
            after = _entries(live)
        finally:
            writer.kill()
    assert before < after, "nobody wrote during the backup"
    _proven(operator, "ledger")
    done(operator, "restore", "ledger", "--to", str(operator.folder / "back"))
    restored = operator.folder / "back" / str(live).lstrip("/")
    assert [path.name for path in restored.parent.iterdir()] == ["live.db"]
    assert before <= _entries(restored) <= after


def _size(database: Path, suffix: str) -> int:
    beside = database.with_name(database.name + suffix)
    return beside.stat().st_size if beside.exists() else 0


DUMP = """
[policies.dump]
source = {{ command = {{ run = ["sh", "-c", "SCRIPT"], filename = "all.sql" }} }}
"""


def _dump(operator: Operator, script: str) -> None:
    operator.write_settings(operator.settings + DUMP.replace("SCRIPT", script))


def test_a_command_that_fails_after_its_output_leaves_no_snapshot(operator: Operator) -> None:
    _dump(operator, "head -c 3000000 /dev/zero; echo the server went away >&2; exit 7")
    failed = operator.tandem("backup", "dump")
    assert failed.code == 4
    words = failed.out + failed.err
    assert "exit status 7" in words
    assert "the server went away" in words
    assert "Run the command by hand" in words
    assert _failed(operator) is FailureKind.SOURCE_COMMAND_FAILED
    assert operator.bare("primary", "snapshots", "--json", "--no-lock").stdout.strip() in {"null", "[]"}
    assert_sound(operator, "primary")


def test_a_command_that_succeeds_is_stored_as_it_wrote(operator: Operator) -> None:
    _dump(operator, "seq 1 100000")
    done(operator, "backup", "dump")
    (stored,) = operator.snapshots("primary")
    numbers = "".join(f"{number}\n" for number in range(1, 100_001))
    assert operator.bare("primary", "dump", stored["id"], "/all.sql").stdout == numbers
    assert _proven(operator, "dump").bytes_compared == len(numbers)


COMMAND = """
[tenants.other]
title = "Other"
password = {{ env = "OTHER_PASSWORD" }}

[limits]
deadline = "30s"
no_progress = "8s"
"""


def test_a_command_is_held_to_the_limits_and_is_shown_no_tenants_password(operator: Operator) -> None:
    def asking(*run: str) -> str:
        source = f"source = {{{{ command = {{{{ run = {list(run)}, filename = 'out.txt' }}}} }}}}"
        return operator_settings.replace('source = {{ paths = ["source"] }}', source) + COMMAND

    operator_settings = operator.settings
    operator.environment["OTHER_PASSWORD"] = "the other tenant's secret"
    operator.write_settings(asking("sleep", "60"))
    hung = operator.tandem("backup", "files")
    assert hung.code == 4
    assert "wrote nothing for too long" in " ".join(hung.err.split())
    assert operator.snapshots("primary") == []
    operator.write_settings(asking("env"))
    assert operator.tandem("backup", "files").code == 0
    stored = operator.bare("primary", "dump", "latest", "/out.txt", "--tag", "content=data").stdout
    assert "PATH=" in stored
    assert "OTHER_PASSWORD" not in stored

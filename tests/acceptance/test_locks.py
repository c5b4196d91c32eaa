"""`tandem locks`: the living are told from the dead, and only what is proven dead is removed, on record."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.event import Event, Topic
from jobs.lock import LockKind
from jobs.policy import TenantName, VaultName
from orchestrator import settings as settings_room
from orchestrator import wiring
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.serve.clockwatch import BelievedClock, ClockWatch
from orchestrator.work import locks
from targets.ports import unwatched
from targets.process import Never
from tests.acceptance.faults import NOW, done, noise, restics
from tests.acceptance.operator import PASSWORD, Ended, Operator, until
from tests.acceptance.remote import copy_to, remote
from tests.repositories import leave_lock

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")


@pytest.fixture(scope="module")
def used_once(tmp_path_factory: pytest.TempPathFactory, restic_program: Path) -> Operator:
    """An operator with one recovery point, which `used` copies."""
    operator = Operator(folder=tmp_path_factory.mktemp("locks") / "operator", restic=restic_program).with_repositories()
    done(operator, "backup", "files")
    return operator


@pytest.fixture
def used(tmp_path: Path, used_once: Operator) -> Operator:
    """An operator with one recovery point at the first site."""
    shutil.copytree(used_once.folder, tmp_path / "operator", symlinks=True)
    return Operator(folder=tmp_path / "operator", restic=used_once.restic, settings=used_once.settings)


@contextmanager
def restic_at_work(operator: Operator, *before: str) -> Iterator[subprocess.Popen[bytes]]:
    """A restic of somebody else's that holds a shared lock until it is killed; `before` are words to start it with."""
    folder = operator.folder / "primary/minfopra"
    environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "RESTIC_REPOSITORY": str(folder)}
    argv = [*before, str(operator.restic), "--no-cache", "backup", "--stdin"]
    quiet = subprocess.DEVNULL
    known = set(operator.locks("primary"))
    with subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet) as process:
        try:
            until(lambda: set(operator.locks("primary")) - known)
            yield process
        finally:
            process.kill()


def unshared(*namespaces: str) -> tuple[str, ...]:
    """Words that start a command in namespaces of its own; skips where that is not allowed."""
    words = ("unshare", *namespaces)
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces may not be made here")  # as an ordinary user, or in a container
    return words


def rows(told: Ended) -> list[dict[str, Any]]:
    """The locks that one command listed."""
    found: list[dict[str, Any]] = told.json["sections"][0]["tables"][0]["rows"]
    return found


def kinds(told: Ended) -> list[str]:
    return [row["kind"]["text"] for row in rows(told)]


def removals(operator: Operator) -> tuple[Event, ...]:
    """What the ledger says of locks that were removed."""
    with Ledger.open(f"sqlite:///{operator.folder / 'tandem.db'}", create=False, now=NOW) as ledger:
        return ledger.events(topics=[Topic.LOCK_REMOVED])


def test_the_lock_of_a_killed_backup_is_dead_tied_to_its_run_and_removed_on_record(used: Operator) -> None:
    """Backups stay green with it, and every check and retention of others is refused for ever."""
    noise(used.source / "more", 40)
    limit = 'path = "primary"\nlimit = {{ upload = "500KiB/s" }}'
    used.write_settings(used.settings.replace('path = "primary"', limit))
    tandem = used.start("backup", "files")
    until(lambda: restics(tandem, "backup") and used.locks("primary"))
    alive = used.tandem("--json", "locks")
    assert set(kinds(alive)) == {"live"}
    assert alive.code == 0
    for engine in restics(tandem, "backup"):
        engine.kill()
    tandem.kill()
    tandem.communicate(timeout=60)

    told = used.tandem("--json", "locks", "files")
    assert told.code == 8
    assert set(kinds(told)) == {"dead"}
    row = rows(told)[0]
    assert row["maker"]["value"]["run"]
    assert row["blocks"]["value"] == ["check", "retention"]
    assert row["repository"]["value"]["site"] == "primary"
    assert "--remove" in row["next"]["text"]
    assert used.bare("primary", "check").returncode != 0

    removed = used.tandem("locks", "--remove")
    assert removed.code == 0, removed.out
    assert not used.locks("primary")
    events = removals(used)
    assert len(events) == 2 * len(rows(told))
    assert "is being removed" in events[0].text
    assert "was removed" in events[1].text
    assert events[0].tenant == "minfopra"


def test_a_living_and_a_foreign_lock_are_left_alone(used: Operator) -> None:
    elsewhere = (*unshared("--uts"), "sh", "-c", 'hostname elsewhere && exec "$@"', "sh")
    with restic_at_work(used, *elsewhere):
        pass  # and killed: but who could know that here?
    with restic_at_work(used):
        before = used.locks("primary")
        told = used.tandem("--json", "locks", "--remove")
        assert told.code == 8
        assert set(kinds(told)) == {"live", "foreign"}
        assert used.locks("primary") == before
        (foreign,) = (row for row in rows(told) if row["kind"]["text"] == "foreign")
        assert foreign["maker"]["value"]["host"] == "elsewhere"
        assert foreign["maker"]["value"]["run"] is None
        assert "restic unlock" in foreign["next"]["text"]
    assert removals(used) == ()


def test_a_reused_process_number_is_orphaned_and_a_vault_that_is_away_hides_nothing(used: Operator) -> None:
    if not os.access(LAST_PID, os.W_OK):
        pytest.skip("process numbers cannot be chosen here")  # without root
    with restic_at_work(used) as restic:
        written = used.locks("primary")[0].stat().st_mtime
    until(lambda: time.time() > written + 0.5)  # a process that began with the lock might have made it
    with sleeping_as(restic.pid):
        used.write_settings(used.settings.replace('path = "secondary"', 'path = "away/secondary"'))
        told = used.tandem("--json", "locks")
        assert kinds(told) == ["orphaned"]
        assert told.code == 8
        assert "sleep" in rows(told)[0]["kind"]["value"]["why"]
        removed = used.tandem("--json", "locks", "--remove")
    assert not used.locks("primary")
    assert removed.code == 4  # nothing is in the way, as far as could be asked
    (silent,) = removed.json["sections"][1]["tables"][0]["rows"]
    assert silent["repository"]["text"] == "minfopra@secondary"


@contextmanager
def sleeping_as(pid: int) -> Iterator[None]:
    """A process that sleeps under a number of our choice; somebody else may be quicker, so it takes some tries."""
    for _ in range(200):
        LAST_PID.write_text(str(pid - 1))
        sleeper = subprocess.Popen(["sleep", "300"])
        if sleeper.pid == pid:
            break
        sleeper.kill()
        sleeper.wait()
    else:
        pytest.skip("others were always quicker to take the process number")
    try:
        yield
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_container_with_the_same_host_name_proves_no_death(used: Operator) -> None:
    """restic's own `unlock`, run there, would take the living for dead."""
    inside = unshared("--pid", "--fork", "--mount-proc", "--kill-child")
    with restic_at_work(used):
        command = subprocess.run(
            [*inside, *used.command("--json", "locks", "--remove")],
            capture_output=True,
            text=True,
            env=used.variables(),
            check=False,
        )
        told = Ended(command.returncode, command.stdout, command.stderr)
        assert kinds(told) == ["unproven"], told.err
        assert told.code == 8
        assert len(used.locks("primary")) == 1
    assert used.tandem("locks", "--remove").code == 0
    with restic_at_work(used, *inside):
        assert kinds(used.tandem("--json", "locks")) == ["live"]  # from outside one sees into the container


def test_a_lock_in_a_vault_that_is_reached_over_a_network_is_removed_through_it(used: Operator, tmp_path: Path) -> None:
    with restic_at_work(used):
        pass
    with remote("rest", tmp_path) as there:
        copy_to(used, there)
        shutil.copytree(used.folder / "primary/minfopra", there.repository)
        locks = there.repository / "locks"
        empty = locks / ("ab" * 32)
        empty.touch()  # nobody can read it, so nobody may remove it
        told = used.tandem("--json", "locks", "--remove")
        assert [row["repository"]["value"]["vault"] for row in rows(told)] == ["primary", "remote", "remote"]
        assert sorted(kinds(told)) == ["dead", "dead", "unproven"]
        assert list(locks.iterdir()) == [empty]
    assert len(removals(used)) == 4


def test_under_a_clock_that_is_not_believed_a_lock_is_judged_by_the_wall_clock_and_none_is_removed(
    used: Operator,
) -> None:
    """restic dates its lock by the machine's clock; by what is believed instead, a living one is younger than that."""
    repository = used.folder / "primary/minfopra"
    wall = datetime.now(UTC)
    dead = leave_lock(repository, PASSWORD, host=socket.gethostname(), pid=gone(), time=wall)
    watch = ClockWatch(wall, time.monotonic(), wall + timedelta(days=2))
    with Ledger.open(f"sqlite:///{used.folder / 'tandem.db'}", create=False, now=wall) as ledger:
        tools = wiring.tools(
            settings_room.load(used.folder / "settings.toml"),
            ledger,
            stop=Never(),
            watch=lambda _piece: unwatched,
            clock=BelievedClock(Clock(), watch),
        )
        where = [(TenantName("minfopra"), VaultName("primary"))]
        with restic_at_work(used):
            cleared = locks.clear(tools, where, "as a test asked")
            assert cleared.removed == ()
            judged = {each.lock.id: each for each in cleared.left}
            assert judged.pop(dead.name).kind is LockKind.UNPROVEN
            assert {each.kind for each in judged.values()} == {LockKind.LIVE}
        assert dead in used.locks("primary")
        assert all(each.age is not None and each.age < timedelta(minutes=5) for each in cleared.left)


def gone() -> int:
    """The id of a process that was."""
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid

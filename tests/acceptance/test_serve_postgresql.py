"""`serve` on a PostgreSQL server that goes away and comes back: nothing is lost or doubled, and nobody serves twice."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import psycopg
import pytest

from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.tables import METADATA
from targets.host import this_process
from tests.acceptance import oracle
from tests.acceptance.faults import limited, noise
from tests.acceptance.operator import PASSWORD, SETTINGS, Operator
from tests.acceptance.serving import Daemon, SteeredClock, serving
from tests.servers.postgresql import Interruptible, interruptible_server

START: Final = datetime(2026, 3, 10, 3, 54, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
RATE: Final = 300.0
AT_WORK: Final = (
    SETTINGS.replace("[sites.primary]", "[limits]\nruns = 2\ngentle = false\n\n[sites.primary]", 1)
    .replace('replicate = {{ to = "secondary" }}', "")
    .replace("[policies.files]", '[policies.files]\nschedule = "every 60m"')
    + '\n[serve]\nlisten = "127.0.0.1:0"\n'
)
JOBS: Final = ("backup", "retention")


class Site:
    """An operator whose ledger is on a server that the test may take away."""

    def __init__(self, folder: Path, restic: Path, server: Interruptible) -> None:
        self.server, self.name = server, server.up.new_database()
        settings = AT_WORK.replace("sqlite:///tandem.db", server.up.url(self.name))
        self.operator = Operator(folder=folder, restic=restic, settings=settings).with_repositories("primary")
        self.settings = folder / "settings.toml"
        self.clock = SteeredClock.made(folder / "clock", START)
        noise(self.operator.source / "big", 3)

    def ask(self, question: str) -> list[tuple[object, ...]]:
        """What the ledger says, while the server is up; before there is one, nothing."""
        try:
            return self.server.up.run(question, self.name)
        except psycopg.errors.UndefinedTable:
            return []

    def states(self, job: str) -> list[object]:
        """In which states a job's slots are, the oldest first."""
        return [state for (state,) in self.ask(f"SELECT state FROM slot WHERE job = '{job}' ORDER BY due")]  # noqa: S608 (our own words)

    def newest(self) -> datetime:
        """The newest moment that has a slot."""
        ((micros,),) = self.ask("SELECT max(nominal) FROM slot")
        assert isinstance(micros, int)
        return oracle.EPOCH + timedelta(microseconds=micros)

    def is_at_rest(self) -> bool:
        """Whether there are slots, and no open one."""
        ((all_of_them, still_open),) = self.ask("SELECT count(*), count(*) - count(closed_at) FROM slot")
        return bool(all_of_them) and not still_open

    def in_a_file(self) -> Path:
        """The ledger as one of SQLite, which the oracle can read."""
        file = self.operator.folder / "read.db"
        Ledger.open(f"sqlite:///{file}", create=True, now=START).close()
        with closing(sqlite3.connect(file)) as copy, self.server.up.connect(self.name) as connection:
            for table in METADATA.tables:
                cursor = connection.execute(f"SELECT * FROM {table}".encode())  # noqa: S608 (a constant)
                names = [column.name for column in cursor.description or ()]
                marks = ", ".join("?" * len(names))
                statement = f"INSERT OR REPLACE INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 (ours)
                copy.executemany(statement, cursor.fetchall())
            copy.commit()
        return file

    def at_work(self, daemon: Daemon) -> None:
        """Wait until restic is in the middle of a backup, and have its clock go no faster than ours."""
        comes(daemon, lambda: bool(self.operator.locks("primary")))
        self.clock.go(1)

    def adds_up(self, daemon: Daemon) -> None:
        """Let everything end and stop; then nothing is lost, nothing doubled, and no snapshot without its run."""
        self.clock.go(20)
        comes(daemon, self.is_at_rest)
        assert daemon.stop() == 0
        file = self.in_a_file()
        moments = list(oracle.every(HOUR, START, self.newest()))
        assert oracle.differences([("files", job, "primary", at) for job in JOBS for at in moments], file) == []
        assert oracle.contradictions(file) == []
        bare = oracle.Bare(self.operator.restic, {"minfopra": PASSWORD}, self.operator.folder / "bare-cache")
        assert oracle.strangers(file, [self.operator.folder / "primary" / "minfopra"], bare) == []
        assert self.operator.locks("primary") == []


def comes(daemon: Daemon, condition: Callable[[], bool]) -> None:
    """Wait for what must come, from a daemon that lives."""
    end = time.monotonic() + 60
    while not condition():
        assert daemon.process.is_alive(), daemon.said[-3000:]
        assert time.monotonic() < end, f"what the test waited for did not come:\n{daemon.said[-3000:]}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def server() -> Iterator[Interruptible]:
    """One that the tests of this file take away, one after the other."""
    with interruptible_server() as made:
        yield made


@pytest.fixture
def site(tmp_path: Path, restic_program: Path, server: Interruptible) -> Site:
    return Site(tmp_path / "operator", restic_program, server)


def test_a_server_that_is_away_in_the_middle_of_a_backup_and_a_kill_lose_and_double_nothing(site: Site) -> None:
    limited(site.operator, "primary", upload="500KiB/s")
    with serving(site.settings, site.clock, rate=RATE) as daemon:
        site.at_work(daemon)
        assert daemon.health()[0] == 200
        site.server.stop()
        comes(daemon, lambda: daemon.health()[0] == 503)
        assert "ledger" in daemon.health()[1]
        time.sleep(8)  # restic has ended by then
        assert daemon.health()[0] == 503
        assert "cannot be put on record yet" in daemon.said
        site.server.start()
        comes(daemon, lambda: daemon.health()[0] == 200)
        with serving(site.settings, site.clock) as second:
            second.process.join(30)
            assert second.process.exitcode not in {0, None}
        site.clock.go(RATE)
        comes(daemon, lambda: "succeeded" in site.states("backup"))
        site.operator.write("a.txt", "second\n")
        noise(site.operator.source / "bigger", 4)
        comes(daemon, lambda: not site.operator.locks("primary"))
        site.at_work(daemon)
        daemon.kill()
    site.operator.write_settings(site.operator.settings)  # without the limit
    with serving(site.settings, site.clock, rate=20) as daemon:
        comes(daemon, lambda: site.states("backup").count("succeeded") >= 2)
        site.adds_up(daemon)


def test_a_server_that_stands_still_is_told_of_and_its_return_too(site: Site) -> None:
    with serving(site.settings, site.clock, rate=1) as daemon:
        comes(daemon, lambda: "/healthz at " in daemon.said and daemon.health()[0] == 200)
        with site.server.up.frozen():
            comes(daemon, lambda: "lease: no sign of life" in daemon.health()[1])
        comes(daemon, lambda: daemon.health()[0] == 200)
        comes(daemon, lambda: bool(site.ask("SELECT * FROM event WHERE topic = 'recovered'")))
        assert daemon.stop() == 0


def test_who_cannot_show_life_ends_its_restic_and_itself_and_whoever_follows_takes_it_up(site: Site) -> None:
    limited(site.operator, "primary", upload="100KiB/s")
    with serving(site.settings, site.clock, rate=RATE) as daemon:
        site.at_work(daemon)
        site.server.stop()
        site.clock.go(30)
        daemon.process.join(60)
        assert daemon.process.exitcode == 8
        assert "lease-lost" in daemon.said
        assert site.operator.locks("primary") == []  # restic was asked to end, and did
    site.server.start()
    assert site.states("backup") == ["running"]
    site.operator.write_settings(site.operator.settings)
    with serving(site.settings, site.clock) as daemon:
        comes(daemon, lambda: "succeeded" in site.states("backup"))
        site.adds_up(daemon)


def test_who_finds_another_term_in_the_ledger_ends_and_starts_nothing_more(site: Site) -> None:
    limited(site.operator, "primary", upload="100KiB/s")
    with serving(site.settings, site.clock, rate=RATE) as daemon:
        site.at_work(daemon)
        site.ask("UPDATE lease SET term = term + 1, owner_host = 'beta', owner_boot = 'another/pid:[1]'")
        site.clock.go(RATE)
        daemon.process.join(60)
        assert daemon.process.exitcode == 8
    ((runs, slots),) = site.ask("SELECT (SELECT count(*) FROM run), (SELECT count(*) FROM slot WHERE run IS NOT NULL)")
    assert (runs, slots) == (1, 1)
    assert site.states("backup")[0] == "due"  # cut off, and put on record by whom alone knew of it
    me = this_process()
    site.ask(f"UPDATE lease SET owner_host = '{me.host}', owner_boot = '{me.boot}', owner_pid = 0")  # noqa: S608 (our own words)
    site.operator.write_settings(site.operator.settings)
    with serving(site.settings, site.clock) as daemon:
        site.adds_up(daemon)

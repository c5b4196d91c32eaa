"""The migrations build exactly what tables.py says, on both databases, from nothing and from every earlier revision."""

from __future__ import annotations

import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, select, text
from sqlalchemy.exc import IntegrityError

from jobs.failure import FailureKind
from jobs.history import Job, RunState
from orchestrator.ledger.codec import point_row, repository_row, run_row
from orchestrator.ledger.ledger import Ledger, LedgerError
from orchestrator.ledger.place import HEAD, REVISIONS
from orchestrator.ledger.tables import METADATA
from orchestrator.ledger.upgrade import configuration, migrate
from tests.orchestrator.ledger.build import (
    NOW,
    OWNER,
    alarm,
    closed,
    happening,
    later,
    line,
    message,
    over,
    point,
    repository,
    run,
    slot,
)
from tests.servers.postgresql import PostgresqlServer

TABLES = {
    "run",
    "settings_version",
    "recovery_point",
    "repository",
    "line",
    "slot",
    "slot_sum",
    "event",
    "notice",
    "outbox",
    "alarm",
    "lease",
}


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def shape(connection: Connection) -> dict[str, Any]:
    """Everything a database knows about its tables, but for alembic's own."""
    found = inspect(connection)
    return {
        table: {
            "columns": [{**column, "type": str(column["type"])} for column in found.get_columns(table)],
            "primary key": found.get_pk_constraint(table),
            "checks": sorted((check["name"] or "", check["sqltext"]) for check in found.get_check_constraints(table)),
            "indexes": sorted(_plain(index) for index in found.get_indexes(table)),
            "foreign keys": found.get_foreign_keys(table),
        }
        for table in found.get_table_names()
        if table != "alembic_version"
    }


def _plain(index: Any) -> str:
    conditions = {name: str(condition) for name, condition in index.get("dialect_options", {}).items()}
    return str({**index, "dialect_options": conditions})


@pytest.fixture
def second_url(url: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Another empty place of the same kind."""
    if url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'second.db'}"
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return server.url(server.new_database())


def test_migrations_and_tables_agree_to_the_last_check(url: str, second_url: str) -> None:
    Ledger.open(url, create=True, now=NOW).close()
    with connected(second_url) as second:
        METADATA.create_all(second)
        wanted = shape(second)
    with connected(url) as first:
        assert shape(first) == wanted
        assert set(wanted) == TABLES
        assert compare_metadata(MigrationContext.configure(first, opts={"compare_type": True}), METADATA) == []


def statements(file: Path) -> set[str]:
    """What SQLite remembers of how a database was made, and the revision that it bears."""
    with closing(sqlite3.connect(file)) as connection:
        made = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
        made += [revision for (revision,) in connection.execute("SELECT version_num FROM alembic_version")]
    return {re.sub(r"\s+", " ", sql).strip() for sql in made}


def test_a_new_file_is_what_the_migrations_build_from_nothing(tmp_path: Path) -> None:
    Ledger.open(f"sqlite:///{tmp_path / 'new.db'}", create=True, now=NOW).close()
    with connected(f"sqlite:///{tmp_path / 'migrated.db'}") as connection:
        migrate(connection)
    assert statements(tmp_path / "new.db") == statements(tmp_path / "migrated.db")


def test_the_revisions_that_the_code_names_are_those_that_exist(tmp_path: Path) -> None:
    with connected(f"sqlite:///{tmp_path / 'unused.db'}") as connection:
        script = ScriptDirectory.from_config(configuration(connection))
    newest_first = [revision.revision for revision in script.walk_revisions()]
    assert tuple(reversed(newest_first)) == REVISIONS
    assert script.get_heads() == [HEAD]


def old_ledger(url: str, revision: str) -> None:
    """A ledger as an earlier version left it, with an open run in it."""
    with connected(url) as connection:
        migrate(connection, revision)
        known = {column["name"] for column in inspect(connection).get_columns("run")}
        row = {column: value for column, value in run_row(run()).items() if column in known}
        connection.execute(METADATA.tables["run"].insert(), row)


@pytest.mark.parametrize("revision", REVISIONS[:-1])
@pytest.mark.parametrize("create", [True, False])
def test_an_older_ledger_is_upgraded_with_all_that_is_in_it(url: str, revision: str, create: bool) -> None:
    old_ledger(url, revision)
    with Ledger.open(url, create=create, now=NOW) as ledger:
        assert ledger.open_runs() == (run(),)
        ledger.arrive([point()])
    with connected(url) as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == HEAD


def test_an_upgraded_ledger_takes_jobs_that_the_old_one_did_not_know(url: str) -> None:
    old_ledger(url, "0003")
    with Ledger.open(url, create=False, now=NOW) as ledger:
        for number, job in enumerate((Job.AUDIT, Job.REPORT), start=5):
            ledger.record(over(number, job=job))
        assert {one.job for one in ledger.runs()} == {run().job, Job.AUDIT, Job.REPORT}
    with connected(url) as connection, pytest.raises(IntegrityError):
        connection.execute(text("UPDATE run SET job = 'no such job'"))


@pytest.mark.parametrize("name", ["run", "settings_version", "recovery_point", "repository"])
def test_no_row_of_the_version_before_is_changed_by_an_upgrade(url: str, name: str) -> None:
    table = METADATA.tables[name]
    rows: dict[str, list[dict[str, Any]]] = {
        "run": [run_row(run()), run_row(over(2)), run_row(over(3, state=RunState.FAILED, note="\udcff"))],
        "settings_version": [{"hash": "ab", "text": "[service]", "first_used_at": 1}],
        "recovery_point": [point_row(point(number, gone_at=gone)) for number, gone in ((1, None), (2, NOW))],
        "repository": [repository_row(repository())],
    }
    with connected(url) as connection:
        migrate(connection, "0002")
        known = [column["name"] for column in inspect(connection).get_columns(name)]
        for row in rows[name]:
            connection.execute(table.insert(), {column: row[column] for column in known if column in row})
        ask = select(*(table.columns[column] for column in known)).order_by(*table.primary_key)
        before = connection.execute(ask).fetchall()
    with Ledger.open(url, create=False, now=NOW) as ledger:
        assert {one.slot for one in ledger.runs()} <= {None}
        assert (ledger.open_slots(), ledger.lease(), ledger.told_until()) == ((), None, 0)
    with connected(url) as connection:
        assert connection.execute(ask).fetchall() == before
        assert len(before) == len(rows[name])


def test_a_file_is_copied_before_it_is_upgraded(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    old_ledger(url, "0001")
    Ledger.open(url, create=False, now=NOW).close()
    kept = tmp_path / f"ledger.db.before-{HEAD}-20261121T203000Z"
    assert {path.name for path in tmp_path.iterdir()} == {"ledger.db", kept.name}
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
        assert connection.execute("SELECT id FROM run").fetchall() == [(run().id,)]


@pytest.mark.parametrize(("revision", "last"), [("0001", "repository"), ("0002", "lease")])
def test_an_upgrade_that_fails_leaves_the_old_ledger(url: str, revision: str, last: str) -> None:
    old_ledger(url, revision)
    with connected(url) as connection:
        connection.execute(text(f"CREATE TABLE {last} (title TEXT)"))  # what the next revision makes last
        before = shape(connection)
    with pytest.raises(Exception, match="already exists"):
        Ledger.open(url, create=False, now=NOW)
    with connected(url) as connection:
        assert shape(connection) == before
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == revision
        connection.execute(text(f"DROP TABLE {last}"))
    with Ledger.open(url, create=False, now=later(minutes=1)) as ledger:
        assert ledger.open_runs() == (run(),)


def test_the_tables_refuse_what_no_ledger_would_write(url: str) -> None:
    with Ledger.open(url, create=True, now=NOW) as ledger:
        ledger.claim(run())
        ledger.record(over(2))
        ledger.put_lines([], [line()])
        ledger.born([slot(1), closed(2)], {})
        ledger.queue([message()], 1)
        ledger.set_alarms([alarm()], [], NOW, [happening()])
        ledger.take_lease(OWNER, NOW)
    wrong = [
        "UPDATE run SET state = 'asleep'",
        "UPDATE run SET job = 'nap'",
        "UPDATE run SET state = 'failed', finished_at = NULL",
        "UPDATE run SET failure_kind = 'busy', failure_message = NULL",
        "UPDATE run SET state = 'running', finished_at = NULL",  # both, so two open backups of one policy
        "INSERT INTO settings_version (hash, text, first_used_at) VALUES ('ab', NULL, 0)",
        "UPDATE slot SET state = 'asleep'",
        "UPDATE slot SET job = 'nap'",
        "UPDATE slot SET state = 'missed' WHERE state = 'due'",  # ended, but nobody knows when
        "UPDATE slot SET closed_at = 1 WHERE state = 'due'",  # has an end, but has not ended
        "UPDATE slot SET state = 'missed', closed_at = 1 WHERE state = 'due'",  # ended without a reason
        "UPDATE slot SET why_text = NULL WHERE state = 'coalesced'",
        "UPDATE slot SET state = 'running' WHERE state = 'due'",  # in no run
        "UPDATE slot SET retry_at = 1 WHERE state = 'coalesced'",
        "UPDATE line SET job = 'nap'",
        "INSERT INTO line SELECT id + 1, policy, tenant, job, site, vault, source_vault, schedule, after_job, zone,"
        " splay, catch_up, settings_hash, since, cursor, until FROM line",  # a second one in force
        "UPDATE event SET severity = 'loud'",
        "UPDATE notice SET state = 'lost'",
        "UPDATE notice SET state = 'delivered'",  # nobody knows when
        "INSERT INTO alarm SELECT id + 1, key, topic, severity, tenant, policy, subject, text, raised_at, cleared_at"
        " FROM alarm",
        "INSERT INTO lease SELECT 2, owner_host, owner_boot, owner_pid, owner_started, term, 0, 0, 0 FROM lease",
        "UPDATE lease SET owner_pid = NULL",
        "INSERT INTO outbox VALUES (2, 0)",
    ]
    for statement in wrong:
        with pytest.raises(Exception, match=r"(?i)constraint|null"), connected(url) as connection:
            connection.execute(text(statement))
    with Ledger.open(url, create=False, now=NOW) as ledger:
        assert [record.state for record in ledger.runs()] == [RunState.SUCCEEDED, RunState.RUNNING]
        assert set(ledger.slots()) == {slot(1), closed(2)}


def test_what_was_never_a_ledger_is_not_upgraded(url: str) -> None:
    with connected(url) as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('somebody-elses')"))
    with pytest.raises(LedgerError) as caught:
        Ledger.open(url, create=True, now=NOW)
    assert caught.value.kind is FailureKind.LEDGER_TOO_NEW

"""A ledger that cannot be used is told before anything is done; one that is lost is begun again from the vaults."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from jobs.failure import FailureKind
from tests.acceptance.faults import done
from tests.acceptance.operator import SETTINGS, Operator
from tests.acceptance.told import refused, rows, states
from tests.servers.postgresql import PostgresqlServer, postgresql

__all__ = ["postgresql"]

LOOKS = [("status",), ("runs",), ("report", "integrity"), ("retention", "files", "--dry-run")]
WORKS = [("backup", "files"), ("run",), ("snapshots", "files"), ("restore", "files", "--to", "back")]


def ledger(operator: Operator) -> Path:
    """The ledger's file."""
    return operator.folder / "tandem.db"


def stored(operator: Operator) -> list[str]:
    """The snapshots at the first site."""
    return sorted(path.name for path in (operator.folder / "primary/minfopra/snapshots").iterdir())


# --- missing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", LOOKS[:3], ids=" ".join)
def test_who_only_looks_is_told_that_the_ledger_is_missing_and_makes_none(
    operator: Operator, words: tuple[str, ...]
) -> None:
    told = refused(operator, *words)
    assert (told.kind, told.code) == (FailureKind.LEDGER_MISSING, 1)
    assert str(ledger(operator)) in told.message
    assert told.advice == "Check [service] state; run a backup to begin a new ledger."
    assert not ledger(operator).exists()


def test_a_lost_ledger_is_begun_again_and_takes_both_repositories_over(settled: Operator) -> None:
    configs = [(settled.folder / vault / "minfopra/config").read_bytes() for vault in ("primary", "secondary")]
    ledger(settled).unlink()
    assert refused(settled, "status").kind is FailureKind.LEDGER_MISSING
    done(settled, "backup", "files")
    listed = rows(done(settled, "--json", "snapshots", "files"))
    assert sorted(row["site"]["value"]["vault"] for row in listed) == ["primary"] * 3 + ["secondary"]
    done(settled, "replicate", "files")
    assert [len(settled.snapshots(vault)) for vault in ("primary", "secondary")] == [3, 3]
    assert configs == [(settled.folder / vault / "minfopra/config").read_bytes() for vault in ("primary", "secondary")]


# --- not usable -------------------------------------------------------------------------------------------------------


class Bound(Operator):
    """An operator whom file modes bind, also where the tests run as root."""

    def command(self, *words: str) -> list[str]:
        """As an ordinary user would run it."""
        powers = "-dac_override,-dac_read_search"
        bound = ["setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}"] if os.geteuid() == 0 else []
        return [*bound, *super().command(*words)]


@pytest.mark.parametrize("words", WORKS[1:], ids=" ".join)
def test_a_ledger_that_may_not_be_written_stops_everything_that_works(
    settled: Operator, words: tuple[str, ...]
) -> None:
    bound = Bound(folder=settled.folder, restic=settled.restic, settings=settled.settings)
    before = stored(bound), ledger(bound).read_bytes()
    ledger(bound).chmod(0o400)
    told = refused(bound, *words)
    ledger(bound).chmod(0o600)
    assert (told.kind, told.code) == (FailureKind.LEDGER_READ_ONLY, 1)
    assert str(ledger(bound)) in told.message
    assert told.advice == "Give the user write access to the ledger and its folder."
    assert (stored(bound), ledger(bound).read_bytes()) == before


def test_a_ledger_that_may_only_be_read_can_be_looked_at(settled: Operator) -> None:
    bound = Bound(folder=settled.folder, restic=settled.restic, settings=settled.settings)
    ledger(bound).chmod(0o400)
    assert len(rows(done(bound, "--json", "runs"))) == 3
    assert bound.tandem("status").code == 5  # nothing was ever checked
    ledger(bound).chmod(0o600)


def from_a_newer_version(file: Path) -> None:
    """As a Tandem of years to come would leave it."""
    with closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()


def overwritten(file: Path) -> None:
    """Its first pages are somebody else's."""
    file.write_bytes(b"no database any more " * 400 + file.read_bytes()[8400:])


@pytest.mark.parametrize("words", [*LOOKS, *WORKS[:2]], ids=" ".join)
def test_a_ledger_from_a_newer_version_is_refused_before_it_is_touched(
    settled: Operator, words: tuple[str, ...]
) -> None:
    from_a_newer_version(ledger(settled))
    before = stored(settled), ledger(settled).read_bytes()
    told = refused(settled, *words)
    assert (told.kind, told.code) == (FailureKind.LEDGER_TOO_NEW, 1)
    assert f"{ledger(settled)}: its revision is 9999, and this version of Tandem knows " in told.message
    assert told.advice == "A newer Tandem wrote this ledger: install that version again."
    assert (stored(settled), ledger(settled).read_bytes()) == before


@pytest.mark.parametrize("words", [("status",), ("backup", "files")], ids=" ".join)
def test_a_damaged_ledger_is_refused_and_left_as_it_is(settled: Operator, words: tuple[str, ...]) -> None:
    overwritten(ledger(settled))
    before = stored(settled), ledger(settled).read_bytes()
    told = refused(settled, *words)
    assert (told.kind, told.code) == (FailureKind.LEDGER_DAMAGED, 1)
    assert str(ledger(settled)) in told.message
    assert told.advice == "Put the ledger back from its backup; do not edit it."
    assert (stored(settled), ledger(settled).read_bytes()) == before


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def on_postgresql(operator: Operator, url: str) -> None:
    """Keep the ledger on a server, whose address is a secret."""
    operator.write_settings(SETTINGS.replace('state = "sqlite:///tandem.db"', 'state = {{ env = "TEST_LEDGER" }}'))
    operator.environment["TEST_LEDGER"] = url


def test_a_whole_cycle_with_postgresql_as_the_ledger(operator: Operator, postgresql: PostgresqlServer) -> None:
    on_postgresql(operator, postgresql.url(postgresql.new_database()))
    assert refused(operator, "status").kind is FailureKind.LEDGER_MISSING
    cycle = states(done(operator, "--json", "run"))
    assert len(cycle) == 8
    assert {state for _, _, state in cycle} == {"succeeded"}
    assert done(operator, "status").code == 0
    assert len(rows(done(operator, "--json", "runs"))) == 8
    assert "succeeded" in done(operator, "report", "integrity").out
    assert not ledger(operator).exists()


def test_a_postgresql_that_is_away_stops_the_work_and_its_password_is_not_shown(
    newcomer: Operator, postgresql: PostgresqlServer
) -> None:
    with_password = postgresql.url("nowhere").replace("://tandem@", "://tandem:the-ledgers-own-secret@")
    on_postgresql(newcomer, with_password)
    told = refused(newcomer, "backup", "files")
    assert (told.kind, told.code) == (FailureKind.LEDGER_MISSING, 1)
    assert "nowhere" in told.message
    assert "the-ledgers-own-secret" not in told.message
    assert not (newcomer.folder / "primary").exists()


def test_a_ledger_on_postgresql_is_sent_to_its_own_tool(operator: Operator, postgresql: PostgresqlServer) -> None:
    on_postgresql(operator, postgresql.url(postgresql.new_database()))
    operator.write_settings(operator.settings + "[policies.own]\nsource = {{ tandem = true }}\n")
    told = refused(operator, "backup", "own")
    assert told.kind is FailureKind.SOURCE_MISSING
    assert "pg_dump" in told.message
    assert operator.tandem("restore", "--ledger").code == 2

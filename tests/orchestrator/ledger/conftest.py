"""A ledger on each of the two databases; what holds on one must hold on the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.tables import METADATA
from tests.orchestrator.ledger.build import NOW
from tests.servers.postgresql import PostgresqlServer, postgresql

__all__ = ["postgresql"]


@pytest.fixture(scope="session")
def made_database(postgresql: PostgresqlServer) -> str:
    """The name of a database that holds a ledger: making one takes longer than most tests."""
    name = postgresql.new_database()
    Ledger.open(postgresql.url(name), create=True, now=NOW).close()
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger may be made: a file that is not there yet, or an empty database.

    For a test that wants the ledger too, PostgreSQL's is there already, with nothing in it.
    """
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    server = request.getfixturevalue("postgresql")
    if "ledger" not in request.fixturenames:
        return str(server.url(server.new_database()))
    name = request.getfixturevalue("made_database")
    server.run(f"TRUNCATE {', '.join(METADATA.tables)} RESTART IDENTITY", name)
    return str(server.url(name))


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """A new, empty ledger."""
    with Ledger.open(url, create=True, now=NOW) as made:
        yield made


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new ledger's file, to copy."""
    path = tmp_path_factory.mktemp("empty") / "ledger.db"
    Ledger.open(f"sqlite:///{path}", create=True, now=NOW).close()
    return path

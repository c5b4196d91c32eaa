"""A PostgreSQL server that stands still, and answers again."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from jobs.failure import FailureKind
from orchestrator.ledger.faults import LedgerError
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.patience import PatientConnection
from orchestrator.ledger.postgresql import PostgresqlDatabase
from tests.servers.postgresql import PostgresqlServer, postgresql_server


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    """One of our own: others are using the session's."""
    with postgresql_server() as made:
        yield made


@pytest.mark.parametrize("by", ["port", "socket"])
def test_a_server_that_stands_still_is_an_error_in_time_and_no_trouble_afterwards(
    server: PostgresqlServer, by: str
) -> None:
    name = server.new_database()
    url = f"{server.url(name)}?connect_timeout=2" if by == "port" else f"{server.socket_url(name)}&connect_timeout=2"
    ledger = Ledger(PostgresqlDatabase.open(url, create=True, patience=1.0))
    with ledger:
        assert ledger.lease() is None
        with server.frozen():
            for _ in range(2):
                with pytest.raises(LedgerError) as caught:
                    ledger.lease()
                assert caught.value.failure.kind is FailureKind.LEDGER_MISSING
        assert ledger.lease() is None


def test_a_connection_that_nothing_came_on_is_closed(server: PostgresqlServer) -> None:
    with PatientConnection.connect(server.url("postgres").replace("+psycopg", "")) as connection:
        connection.patience = 1.0
        with pytest.raises(psycopg.OperationalError, match="silent for 1 seconds"):
            connection.execute("SELECT pg_sleep(60)")
        assert connection.closed

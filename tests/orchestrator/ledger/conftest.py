"""A ledger on each of the two databases; what holds on one must hold on the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.ledger.ledger import Ledger
from tests.orchestrator.ledger.build import NOW
from tests.servers.postgresql import postgresql

__all__ = ["postgresql"]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger may be made: a file that is not there yet, or an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    server = request.getfixturevalue("postgresql")
    return str(server.url(server.new_database()))


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """A new, empty ledger."""
    with Ledger.open(url, create=True, now=NOW) as made:
        yield made

"""The places that the suite asks, and the servers behind them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from targets.ports import Store
from tests.contract.places import ON_DISK, PLACES, Place
from tests.servers.fixtures import (  # noqa: F401 (fixtures are found by their names)
    certificate,
    official_rest_server,
    rest_server,
    s3_server,
    sshd,
)


@pytest.fixture(params=list(PLACES))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place of each kind."""
    return PLACES[request.param](request, tmp_path)


@pytest.fixture(params=ON_DISK)
def disk_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place of each kind whose files a test can see."""
    return PLACES[request.param](request, tmp_path)


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    """A store of the place, closed after the test."""
    opened = place.store
    yield opened
    opened.close()


@pytest.fixture
def disk_store(disk_place: Place) -> Iterator[Store]:
    """A store of the place on disk, closed after the test."""
    opened = disk_place.store
    yield opened
    opened.close()

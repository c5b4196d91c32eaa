"""The servers as fixtures, one of each for a whole session; a conftest imports the ones it wants."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.certificate import Certificate, make_certificate
from tests.servers.rest import RestServer, restic_rest_server
from tests.servers.s3 import S3Server
from tests.servers.sshd import Sshd

__all__ = ["certificate", "official_rest_server", "rest_server", "s3_server", "sshd"]


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """OpenSSH's server; whoever holds its user key reaches the whole file system as the tests' user."""
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 endpoint without buckets."""
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def rest_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    """rclone's REST server for restic."""
    with RestServer(tmp_path_factory.mktemp("rest")) as server:
        yield server


@pytest.fixture(scope="session")
def official_rest_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    """restic's own REST server, where there is one."""
    if restic_rest_server() is None:
        pytest.skip("restic's own REST server is not here (set RESTIC_REST_SERVER to its path)")
    with RestServer(tmp_path_factory.mktemp("official-rest"), flavour="restic") as server:
        yield server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for 127.0.0.1 that signs itself."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))

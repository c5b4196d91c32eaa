"""A place for each kind of vault: a vault in front, and the folder on disk behind it, so that a test can see both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from targets.ports import FileKind, FileRef, Store, Vault
from targets.secret import Secret
from targets.vaults.local import LocalVault
from targets.vaults.memory import MemoryVault
from targets.vaults.rest import RestVault
from targets.vaults.s3 import S3Vault
from targets.vaults.sftp import SftpVault
from tests.servers.rest import RestServer, restic_rest_server
from tests.servers.s3 import S3Server
from tests.servers.sshd import Sshd

TENANT: Final = "minfopra"
OTHER_TENANT: Final = "minsante"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A vault, and where its files lie on this machine (nowhere for memory)."""

    vault: Vault
    root: Path | None

    @property
    def folder(self) -> Path:
        """The folder of TENANT's repository."""
        assert self.root is not None
        return self.root / TENANT

    @property
    def store(self) -> Store:
        """A new store of TENANT's files."""
        return self.vault.store(TENANT)


def memory_place(_request: pytest.FixtureRequest, _folder: Path) -> Place:
    return Place(vault=MemoryVault("secondary"), root=None)


def local_place(_request: pytest.FixtureRequest, folder: Path) -> Place:
    return Place(vault=LocalVault("secondary", folder / "vault"), root=folder / "vault")


def sftp_vault(server: Sshd, folder: Path, *, name: str = "secondary") -> SftpVault:
    """A vault in folder/<name>, with its workdir beside it."""
    where = (server.host, server.port, server.user, str(folder / name))
    return SftpVault(name, *where, server.identity, server.known_hosts, folder / "work")


def sftp_place(request: pytest.FixtureRequest, folder: Path) -> Place:
    vault = sftp_vault(request.getfixturevalue("sshd"), folder)
    return Place(vault=vault, root=Path(vault.path))


def s3_vault(server: S3Server, bucket: str) -> S3Vault:
    """A vault in a bucket, below a prefix of two parts."""
    keys = (Secret(server.access_key), Secret(server.secret_key))
    return S3Vault("secondary", server.endpoint, bucket, "deep/below", "us-east-1", *keys)


def s3_place(request: pytest.FixtureRequest, _folder: Path) -> Place:
    server: S3Server = request.getfixturevalue("s3_server")
    bucket = server.make_bucket(f"bucket-{uuid4().hex[:12]}")
    return Place(vault=s3_vault(server, bucket), root=server.root / bucket / "deep" / "below")


def rest_vault(server: RestServer, below: str) -> RestVault:
    """A vault at a path of the server."""
    return RestVault("secondary", f"{server.url}/{below}", server.user, Secret(server.password))


def rest_place(request: pytest.FixtureRequest, _folder: Path, *, fixture: str = "rest_server") -> Place:
    server: RestServer = request.getfixturevalue(fixture)
    below = uuid4().hex[:12]
    return Place(vault=rest_vault(server, below), root=server.root / below)


def official_rest_place(request: pytest.FixtureRequest, folder: Path) -> Place:
    return rest_place(request, folder, fixture="official_rest_server")


OFFICIAL: Final = "rest-official"
PLACES: Final[dict[str, Callable[[pytest.FixtureRequest, Path], Place]]] = {
    "memory": memory_place,
    "local": local_place,
    "sftp": sftp_place,
    "s3": s3_place,
    "rest": rest_place,
    # Debian 12 has no package of it: then one test says that it was not shown, rather than forty.
    **({OFFICIAL: official_rest_place} if restic_rest_server() else {}),
}
ON_DISK: Final = tuple(kind for kind in PLACES if kind != "memory")


def ref_of(content: bytes, kind: FileKind = FileKind.DATA) -> FileRef:
    """The file's name as restic would give it: servers may refuse another one."""
    return FileRef(kind, "config" if kind is FileKind.CONFIG else hashlib.sha256(content).hexdigest())


def put(store: Store, content: bytes, kind: FileKind = FileKind.DATA) -> FileRef:
    """Write one file."""
    ref = ref_of(content, kind)
    store.write(ref, [content])
    return ref


def content_of(store: Store, ref: FileRef) -> bytes:
    """Read one file."""
    return b"".join(store.read(ref))


def files_on_disk(folder: Path) -> set[str]:
    """Every file below a folder, by its path."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def large(mebibytes: int) -> tuple[FileRef, Callable[[], Iterator[bytes]]]:
    """A file that is made piece by piece, so that the test itself needs no memory: its name, and its pieces anew."""

    def pieces() -> Iterator[bytes]:
        for number in range(mebibytes):
            yield number.to_bytes(4, "big") * (1 << 18)

    whole = hashlib.sha256()
    for piece in pieces():
        whole.update(piece)
    return FileRef(FileKind.DATA, whole.hexdigest()), pieces


def through(vault: Vault, port: int) -> Vault:
    """The same vault at another port of this machine."""
    match vault:
        case SftpVault():
            return replace(vault, port=port)
        case S3Vault():
            return replace(vault, endpoint=f"http://127.0.0.1:{port}")
        case RestVault():
            below = vault.url.rpartition("/")[2]
            return replace(vault, url=f"http://127.0.0.1:{port}/{below}")
        case _:
            raise AssertionError(f"{vault} has no port")


def port_of(vault: Vault) -> int:
    """The port at which a vault's server listens."""
    match vault:
        case SftpVault():
            return vault.port
        case S3Vault():
            return int(vault.endpoint.rpartition(":")[2])
        case RestVault():
            return int(vault.url.rpartition("/")[0].rpartition(":")[2])
        case _:
            raise AssertionError(f"{vault} has no port")

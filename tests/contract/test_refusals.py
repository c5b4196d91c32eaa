"""Each way in which a vault can refuse has its own name, says what it happened to, and never shows a secret."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.ports import FileKind, Store, Vault
from targets.secret import Secret
from targets.vaults.layout import CONFIG
from targets.vaults.local import LocalVault
from targets.vaults.rest import RestVault
from targets.vaults.s3 import S3Vault
from tests.contract.places import (
    PLACES,
    TENANT,
    Place,
    content_of,
    large,
    put,
    rest_vault,
    s3_vault,
    sftp_vault,
    through,
)
from tests.servers.canned import CannedServer
from tests.servers.program import free_port
from tests.servers.rest import RestServer, restic_rest_server
from tests.servers.s3 import S3Server
from tests.servers.sshd import Sshd, make_key, public_half, write_known_hosts

CALLS: dict[str, Callable[[Store], object]] = {
    "files": lambda store: list(store.files(FileKind.DATA)),
    "config": lambda store: list(store.files(FileKind.CONFIG)),
    "size": lambda store: store.size(CONFIG),
    "read": lambda store: list(store.read(CONFIG)),
    "write": lambda store: store.write(CONFIG, [b"x"]),
    "delete": lambda store: store.delete(CONFIG),
}
EVERY_CALL = pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))


def refused(vault: Vault, call: Callable[[Store], object]) -> TargetError:
    """What the vault said to a call that must fail."""
    store = vault.store(TENANT)
    try:
        with pytest.raises(TargetError) as caught:
            call(store)
    finally:
        store.close()
    assert f"vault {vault.name}" in str(caught.value)
    return caught.value


# --- nobody there -------------------------------------------------------------------------------------------------


@EVERY_CALL
@pytest.mark.parametrize("kind", ["sftp", "s3", "rest"])
def test_a_port_where_nobody_listens(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, call: Callable[[Store], object]
) -> None:
    vault = through(PLACES[kind](request, tmp_path).vault, free_port())
    assert refused(vault, call).kind is FailureKind.VAULT_UNREACHABLE


@pytest.mark.parametrize("kind", ["sftp", "s3", "rest"])
def test_a_host_that_speaks_something_else(
    request: pytest.FixtureRequest, sshd: Sshd, s3_server: S3Server, tmp_path: Path, kind: str
) -> None:
    other = s3_server.port if kind == "sftp" else sshd.port
    vault = through(PLACES[kind](request, tmp_path).vault, other)
    assert refused(vault, CALLS["files"]).kind is FailureKind.VAULT_UNREACHABLE


def test_a_web_server_that_is_no_rest_server(s3_server: S3Server) -> None:
    vault = RestVault("secondary", s3_server.endpoint)
    assert refused(vault, CALLS["files"]).kind in {FailureKind.ACCESS_DENIED, FailureKind.VAULT_UNREACHABLE}


# --- the folder above the vault is gone: a disk that is not mounted -----------------------------------------------


@EVERY_CALL
@pytest.mark.parametrize("kind", ["local", "sftp"])
def test_a_vault_whose_parent_folder_is_missing(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, call: Callable[[Store], object]
) -> None:
    missing = tmp_path / "not mounted" / "vault"
    vault: Any = PLACES[kind](request, tmp_path).vault
    vault = replace(vault, path=missing if kind == "local" else str(missing))
    assert refused(vault, call).kind is FailureKind.VAULT_UNREACHABLE
    assert not missing.parent.exists()


def test_restic_gets_no_address_below_a_missing_parent_folder(tmp_path: Path) -> None:
    vault = LocalVault("secondary", tmp_path / "not mounted" / "vault")
    with pytest.raises(TargetError, match="not mounted is not there") as caught:
        vault.address(TENANT)
    assert caught.value.kind is FailureKind.VAULT_UNREACHABLE


@pytest.mark.parametrize("kind", ["local", "sftp"])
def test_only_their_owner_may_read_files_and_folders(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    place = PLACES[kind](request, tmp_path)
    store = place.store
    put(store, b"x")
    store.close()
    assert place.root is not None
    paths = [place.root, *place.root.rglob("*")]
    assert {path.stat().st_mode & 0o7777 for path in paths if path.is_dir()} == {0o700}
    assert [path.stat().st_mode & 0o7777 for path in paths if path.is_file()] == [0o600]


# --- who we are ---------------------------------------------------------------------------------------------------


@EVERY_CALL
def test_an_unknown_host_key(sshd: Sshd, tmp_path: Path, call: Callable[[Store], object]) -> None:
    nobody = write_known_hosts(tmp_path / "known_hosts")
    error = refused(replace(sftp_vault(sshd, tmp_path), known_hosts=nobody), call)
    assert error.kind is FailureKind.HOST_KEY_UNKNOWN
    assert fingerprint(sshd.files.host_key) in str(error)


def test_no_known_hosts_file_knows_nobody(sshd: Sshd, tmp_path: Path) -> None:
    vault = replace(sftp_vault(sshd, tmp_path), known_hosts=tmp_path / "not there")
    assert refused(vault, CALLS["size"]).kind is FailureKind.HOST_KEY_UNKNOWN


@pytest.mark.parametrize("line", ["{host} ssh-ed25519 AAAAC3broken", "{host} {type}", "@revoked {host} {type} {key}"])
def test_a_known_hosts_line_that_vouches_for_nothing(sshd: Sshd, tmp_path: Path, line: str) -> None:
    type_, key = public_half(sshd.files.host_key).split()
    broken = tmp_path / "known_hosts"
    broken.write_text(line.format(host=f"[{sshd.host}]:{sshd.port}", type=type_, key=key) + "\n")
    vault = replace(sftp_vault(sshd, tmp_path), known_hosts=broken)
    assert refused(vault, CALLS["size"]).kind is FailureKind.HOST_KEY_UNKNOWN


def test_the_right_line_counts_among_others(sshd: Sshd, tmp_path: Path) -> None:
    """Comments, broken lines, a former key beside the present one, another type of key, and a host's name in a hash."""
    former, other = make_key(tmp_path / "former"), make_key(tmp_path / "other", kind="ecdsa")
    known = write_known_hosts(
        tmp_path / "known_hosts", *((sshd.port, key) for key in (other, former, sshd.files.host_key))
    )
    subprocess.run(["ssh-keygen", "-H", "-f", known], check=True, capture_output=True)
    known.write_text(f"# a comment\n\nnonsense\nother.example ssh-ed25519 AAAA\n{known.read_text()}")
    assert f"]:{sshd.port}" not in known.read_text()
    store = replace(sftp_vault(sshd, tmp_path), known_hosts=known).store(TENANT)
    assert store.size(CONFIG) is None
    store.close()


def test_a_host_key_of_another_port_does_not_count(sshd: Sshd, tmp_path: Path) -> None:
    other = write_known_hosts(tmp_path / "known_hosts", (sshd.port + 1, sshd.files.host_key))
    vault = replace(sftp_vault(sshd, tmp_path), known_hosts=other)
    assert refused(vault, CALLS["size"]).kind is FailureKind.HOST_KEY_UNKNOWN


@EVERY_CALL
def test_a_changed_host_key(sshd: Sshd, tmp_path: Path, call: Callable[[Store], object]) -> None:
    former = make_key(tmp_path / "former")
    known = write_known_hosts(tmp_path / "known_hosts", (sshd.port, former))
    error = refused(replace(sftp_vault(sshd, tmp_path), known_hosts=known), call)
    assert error.kind is FailureKind.HOST_KEY_CHANGED
    assert fingerprint(sshd.files.host_key) in str(error)
    assert fingerprint(former) in str(error)


@EVERY_CALL
def test_a_key_that_the_host_does_not_know(sshd: Sshd, tmp_path: Path, call: Callable[[Store], object]) -> None:
    vault = replace(sftp_vault(sshd, tmp_path), identity=make_key(tmp_path / "stranger"))
    assert refused(vault, call).kind is FailureKind.ACCESS_DENIED


def test_no_key_at_all(sshd: Sshd, tmp_path: Path) -> None:
    assert refused(replace(sftp_vault(sshd, tmp_path), identity=None), CALLS["size"]).kind is FailureKind.ACCESS_DENIED


@pytest.mark.parametrize("content", [None, "no key", "passphrase"])
def test_a_key_that_cannot_be_used(sshd: Sshd, tmp_path: Path, content: str | None) -> None:
    identity = tmp_path / "identity"
    if content == "passphrase":
        shutil.copy(sshd.identity, identity)
        subprocess.run(["ssh-keygen", "-q", "-p", "-N", content, "-f", identity], check=True, capture_output=True)
    elif content is not None:
        identity.write_text(content)
    error = refused(replace(sftp_vault(sshd, tmp_path), identity=identity), CALLS["size"])
    assert error.kind is FailureKind.SECRET_UNAVAILABLE
    assert str(identity) in str(error)


def fingerprint(key: Path) -> str:
    """As ssh-keygen shows it."""
    said = subprocess.run(["ssh-keygen", "-l", "-f", f"{key}.pub"], check=True, capture_output=True, text=True)
    return said.stdout.split()[1]


@EVERY_CALL
@pytest.mark.parametrize("wrong", ["access_key", "secret_key"])
def test_wrong_s3_credentials(s3_server: S3Server, wrong: str, call: Callable[[Store], object]) -> None:
    bucket = s3_server.make_bucket("refusing")
    right, not_right = s3_vault(s3_server, bucket), Secret("not-the-right-one")
    access, secret = (not_right, right.secret_key) if wrong == "access_key" else (right.access_key, not_right)
    vault = replace(right, access_key=access, secret_key=secret)
    error = refused(vault, call)
    assert error.kind is FailureKind.ACCESS_DENIED
    assert "not-the-right-one" not in str(error)


@EVERY_CALL
def test_a_missing_bucket(s3_server: S3Server, call: Callable[[Store], object]) -> None:
    error = refused(s3_vault(s3_server, "no-such-bucket"), call)
    assert error.kind is FailureKind.BUCKET_MISSING


@EVERY_CALL
@pytest.mark.parametrize("fixture", ["rest_server", "official_rest_server"])
@pytest.mark.parametrize("password", [None, "not the right one"])
def test_a_wrong_rest_password(
    request: pytest.FixtureRequest, fixture: str, password: str | None, call: Callable[[Store], object]
) -> None:
    server: RestServer = request.getfixturevalue(fixture)
    user = None if password is None else server.user
    vault = replace(rest_vault(server, "refusing"), user=user, password=Secret(password or ""))
    error = refused(vault, call)
    assert error.kind is FailureKind.ACCESS_DENIED
    assert "not the right one" not in str(error)


@pytest.mark.parametrize("flavour", ["rclone", "restic"])
def test_an_append_only_rest_server_keeps_what_it_has(tmp_path: Path, flavour: Any) -> None:
    if flavour == "restic" and restic_rest_server() is None:
        pytest.skip("restic's own REST server is not here (set RESTIC_REST_SERVER to its path)")
    with RestServer(tmp_path, flavour=flavour, append_only=True) as server:
        store = rest_vault(server, "kept").store(TENANT)
        ref = put(store, b"kept")
        for call in (lambda: store.delete(ref), lambda: put(store, b"kept")):
            with pytest.raises(TargetError) as caught:
                call()
            assert caught.value.kind is FailureKind.ACCESS_DENIED
        assert content_of(store, ref) == b"kept"
        store.close()


@pytest.mark.not_as_root
@EVERY_CALL
def test_a_local_folder_that_belongs_to_others(tmp_path: Path, call: Callable[[Store], object]) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o000)
    assert refused(LocalVault("secondary", folder), call).kind is FailureKind.ACCESS_DENIED
    folder.chmod(0o700)


# --- no secret is ever shown --------------------------------------------------------------------------------------


def test_an_address_shows_no_secret() -> None:
    rest = RestVault("secondary", "https://vault.example:8000/", "operator", Secret("pass/word@1"))
    keys = (Secret("the-access-key"), Secret("the-secret-key"))
    s3 = S3Vault("secondary", "https://s3.example", "bucket", "", "us-east-1", *keys)
    for vault in (rest, s3):
        shown = f"{vault!r} {vault.address(TENANT)!r}"
        assert not any(secret in shown for secret in ("pass/word", "pass%2Fword", "the-access-key", "the-secret-key"))
    assert rest.address(TENANT).url.reveal() == "rest:https://operator:pass%2Fword%401@vault.example:8000/minfopra/"
    assert s3.address(TENANT).url.reveal() == "s3:https://s3.example/bucket/minfopra"


@pytest.mark.parametrize("url", ["ftp://vault.example/", "vault.example:8000", "https://user:pass@vault.example/"])
def test_a_rest_address_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="REST server"):
        RestVault("secondary", url)


# --- a full disk --------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tandem-test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def place_on(kind: str, request: pytest.FixtureRequest, disk: Path, folder: Path) -> Iterator[Place]:
    """A place of a kind whose files lie on this disk."""
    if kind == "local":
        yield Place(vault=LocalVault("secondary", disk / "vault"), root=disk / "vault")
    elif kind == "sftp":
        yield Place(vault=replace(sftp_vault(request.getfixturevalue("sshd"), folder), path=str(disk)), root=disk)
    elif kind == "s3":
        with S3Server(folder / "server", disk) as s3:
            yield Place(vault=s3_vault(s3, s3.make_bucket("full")), root=disk / "full" / "deep" / "below")
    else:
        with RestServer(folder / "server", flavour="rclone" if kind == "rest" else "restic", root=disk) as rest:
            yield Place(vault=rest_vault(rest, "full"), root=disk / "full")


# rclone's servers answer a bare "Internal Error"; that is passed on as a server that failed, with a hint.
SAID_OF_A_FULL_DISK = {
    "local": FailureKind.DISK_FULL,
    "sftp": FailureKind.DISK_FULL,
    "rest-official": FailureKind.DISK_FULL,
    "s3": FailureKind.VAULT_UNREACHABLE,
    "rest": FailureKind.VAULT_UNREACHABLE,
}


@pytest.mark.as_root
@pytest.mark.parametrize("mebibytes", [3, 4, 30])
@pytest.mark.parametrize("kind", [kind for kind in SAID_OF_A_FULL_DISK if kind in PLACES])
def test_a_full_disk(request: pytest.FixtureRequest, tmp_path: Path, kind: str, mebibytes: int) -> None:
    ref, pieces = large(mebibytes)
    with small_disk(tmp_path / "disk") as disk, place_on(kind, request, disk, tmp_path) as place:
        store = place.store
        small = put(store, b"small")
        with pytest.raises(TargetError, match=r"no space|disk|full") as caught:
            store.write(ref, pieces())
        assert caught.value.kind is SAID_OF_A_FULL_DISK[kind]
        assert store.size(ref) is None
        assert content_of(store, small) == b"small"
        again = put(store, b"room again, for what failed was taken away")
        assert content_of(store, again)
        store.close()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (507, "", FailureKind.DISK_FULL),
        (413, "", FailureKind.DISK_FULL),
        (500, "write /srv/x: no space left on device", FailureKind.DISK_FULL),
        (500, "", FailureKind.VAULT_UNREACHABLE),
        (502, "", FailureKind.VAULT_UNREACHABLE),
        (301, "", FailureKind.VAULT_UNREACHABLE),
        (403, "", FailureKind.ACCESS_DENIED),
    ],
)
def test_what_a_rest_server_answers(status: int, body: str, kind: FailureKind) -> None:
    with CannedServer(status, body) as server:
        assert refused(RestVault("secondary", server.url), CALLS["write"]).kind is kind


@pytest.mark.parametrize("body", ["", "no json", '{"files": []}', '["v1-name"]', '[{"name": "x"}]'])
def test_a_rest_server_that_lists_something_else(body: str) -> None:
    with CannedServer(200, body) as server:
        assert refused(RestVault("secondary", server.url), CALLS["files"]).kind is FailureKind.VAULT_UNREACHABLE


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (507, "XMinioStorageFull", "", FailureKind.DISK_FULL),
        (403, "QuotaExceeded", "", FailureKind.DISK_FULL),
        (400, "InternalError", "write: no space left on device", FailureKind.DISK_FULL),
        (404, "NoSuchBucket", "", FailureKind.BUCKET_MISSING),
        (403, "AccessDenied", "", FailureKind.ACCESS_DENIED),
        (400, "SomethingNew", "", FailureKind.VAULT_UNREACHABLE),
    ],
)
def test_what_an_s3_service_answers(status: int, code: str, message: str, kind: FailureKind) -> None:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    with CannedServer(status, body) as server:
        vault = S3Vault("secondary", server.url, "bucket", "", "us-east-1", Secret("a"), Secret("b"))
        assert refused(vault, CALLS["write"]).kind is kind

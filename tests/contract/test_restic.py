"""What the real restic stores at a vault's address is what the vault's store shows, byte for byte."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.ports import FileKind, Store
from targets.secret import Secret
from targets.vaults.layout import CONFIG
from targets.vaults.memory import MemoryVault
from targets.vaults.rest import RestVault
from tests.contract.places import ON_DISK, PLACES, TENANT, Place, content_of, files_on_disk, sftp_vault
from tests.contract.restic import PASSWORD, Restic
from tests.repositories import lighten, prepare
from tests.servers.certificate import Certificate
from tests.servers.rest import Flavour, RestServer, restic_rest_server
from tests.servers.sshd import Sshd, write_known_hosts

NAMED_BY_CONTENT = (FileKind.KEYS, FileKind.SNAPSHOTS, FileKind.INDEX, FileKind.DATA)


def write_source(folder: Path) -> dict[str, bytes]:
    """Some files to back up, by their path."""
    content = {f"folder {number % 3}/file-{number}": os.urandom(1000 * number) for number in range(20)}
    for name, bytes_ in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes_)
    return content


@pytest.fixture(scope="module")
def restic(restic_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Restic:
    return Restic(program=restic_program, folder=tmp_path_factory.mktemp("restic"))


@pytest.fixture(scope="module", params=ON_DISK)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, restic: Restic) -> Place:
    """A place of each kind in which restic made a repository with one snapshot."""
    folder = tmp_path_factory.mktemp(request.param)
    place = PLACES[request.param](request, folder)
    write_source(folder / "source")
    address = place.vault.address(TENANT)
    restic.run(address, "init")
    lighten(place.folder, PASSWORD)
    restic.run(address, "backup", str(folder / "source"))
    return place


@pytest.fixture
def store(filled: Place) -> Iterator[Store]:
    opened = filled.store
    yield opened
    opened.close()


def test_restic_restores_what_it_stored(filled: Place, restic: Restic, tmp_path: Path) -> None:
    content = write_source(tmp_path / "source")
    address = filled.vault.address(TENANT)
    restic.run(address, "backup", "--tag", "restored", str(tmp_path / "source"))
    restic.run(address, "restore", "latest", "--tag", "restored", "--target", str(tmp_path / "back"))
    back = tmp_path / "back" / (tmp_path / "source").relative_to("/")
    assert {name: (back / name).read_bytes() for name in files_on_disk(back)} == content


def test_the_store_lists_exactly_restics_files(filled: Place, store: Store) -> None:
    listed = {(stored.ref.name, stored.size) for kind in FileKind for stored in store.files(kind)}
    paths = [filled.folder / name for name in files_on_disk(filled.folder)]
    assert listed == {(path.name, path.stat().st_size) for path in paths}
    assert len(listed) >= 5  # config, key, snapshot, index, data


def test_every_file_is_named_by_the_hash_of_what_the_store_reads(store: Store) -> None:
    for kind in NAMED_BY_CONTENT:
        refs = [stored.ref for stored in store.files(kind)]
        assert refs
        assert [hashlib.sha256(content_of(store, ref)).hexdigest() for ref in refs] == [ref.name for ref in refs]


@pytest.mark.parametrize("kind", [FileKind.DATA, FileKind.CONFIG])
def test_a_file_that_the_store_took_away_is_missed_by_restic_until_it_is_back(
    filled: Place, store: Store, restic: Restic, kind: FileKind
) -> None:
    ref = max(
        store.files(kind), key=lambda stored: stored.size
    ).ref  # of the packs the one with data: restic asks for trees again and again
    content = content_of(store, ref)
    address = filled.vault.address(TENANT)
    store.delete(ref)
    assert restic.tried(address, "check", "--no-lock").returncode != 0
    store.write(ref, [content])
    restic.run(address, "check", "--read-data")


def test_memory_says_that_restic_cannot_reach_it() -> None:
    with pytest.raises(TargetError, match="restic cannot reach it"):
        MemoryVault("secondary").address(TENANT)


def test_restic_copies_between_two_sftp_vaults(sshd: Sshd, restic: Restic, tmp_path: Path) -> None:
    """Each has a host of its own name, port and known_hosts; one `ssh` serves both."""
    write_source(tmp_path / "source")
    with Sshd(tmp_path / "other sshd") as other:
        primary = sftp_vault(sshd, tmp_path, name="primary").address(TENANT)
        secondary = sftp_vault(other, tmp_path, name="far").address(TENANT)
        assert primary.path_first == secondary.path_first
        for name in ("primary", "far"):
            prepare(tmp_path / name / TENANT, PASSWORD)
        restic.run(primary, "backup", str(tmp_path / "source"))
        restic.run(secondary, "copy", source=primary)
        [copied] = json.loads(restic.run(secondary, "snapshots", "--json"))
        [original] = json.loads(restic.run(primary, "snapshots", "--json"))
    assert copied["tree"] == original["tree"]


def test_restic_finds_its_way_through_odd_folders(sshd: Sshd, restic: Restic, tmp_path: Path) -> None:
    """ssh takes % and spaces in file names for something else, unless they are written right."""
    odd = tmp_path / "a 100%h odd $HOME place"
    odd.mkdir()
    vault = sftp_vault(sshd, tmp_path)
    identity, known_hosts = shutil.copy(sshd.identity, odd / "key"), shutil.copy(sshd.known_hosts, odd / "hosts")
    vault = replace(vault, identity=Path(identity), known_hosts=Path(known_hosts), workdir=odd)
    prepare(tmp_path / vault.name / TENANT, PASSWORD)
    assert json.loads(restic.run(vault.address(TENANT), "cat", "config"))["version"] == 2
    store = vault.store(TENANT)
    assert store.size(CONFIG)
    store.close()


def test_the_settings_for_ssh_are_readable_by_their_owner_only(sshd: Sshd, tmp_path: Path) -> None:
    vault = sftp_vault(sshd, tmp_path)
    [folder] = vault.address(TENANT).path_first
    vault.address(TENANT)
    modes = {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in folder.rglob("*")}
    assert modes == {"ssh": 0o700, "hosts": 0o700, "hosts/tandem-secondary": 0o600}


def test_an_address_needs_an_ssh_program(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError, match="OpenSSH") as caught:
        sftp_vault(sshd, tmp_path).address(TENANT)
    assert caught.value.kind is FailureKind.TOOL_MISSING


def test_an_address_needs_a_workdir_that_can_be_written_to(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file is in the way")
    with pytest.raises(TargetError, match="cannot write ssh's settings"):
        sftp_vault(sshd, tmp_path).address(TENANT)


def test_restic_refuses_a_host_that_known_hosts_does_not_name(sshd: Sshd, restic: Restic, tmp_path: Path) -> None:
    nobody = write_known_hosts(tmp_path / "nobody")
    vault = replace(sftp_vault(sshd, tmp_path), known_hosts=nobody)
    said = restic.tried(vault.address(TENANT), "init")
    assert said.returncode != 0
    # ssh's own words come through another thread of restic's, and not always before it ends.
    assert "Host key verification failed" in said.stderr or "unable to start the sftp session" in said.stderr
    assert not (tmp_path / vault.name).exists()


@pytest.mark.parametrize("flavour", ["rclone", "restic"])
def test_restic_and_the_store_trust_the_vaults_own_authority(
    certificate: Certificate, restic: Restic, tmp_path: Path, flavour: Flavour
) -> None:
    if flavour == "restic" and restic_rest_server() is None:
        pytest.skip("restic's own REST server is not here (set RESTIC_REST_SERVER to its path)")
    with RestServer(tmp_path, flavour=flavour, certificate=certificate) as server:
        keys = (server.user, Secret(server.password))
        vault = RestVault("secondary", server.url, *keys, ca=certificate.certificate)
        prepare(server.root / TENANT, PASSWORD)
        assert json.loads(restic.run(vault.address(TENANT), "cat", "config"))["version"] == 2
        assert vault.store(TENANT).size(CONFIG)
        stranger = RestVault("secondary", server.url, *keys)
        # restic itself is not asked: it tries a stranger's certificate again and again, for minutes.
        with pytest.raises(TargetError, match="certificate"):
            list(stranger.store(TENANT).files(FileKind.CONFIG))

"""A vault that refuses: each way has its own kind, names what it happened to, writes nothing and loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from jobs.failure import FailureKind
from tests.acceptance.operator import Operator
from tests.acceptance.remote import BUCKET, Remote, copy_to, remote
from tests.acceptance.told import refused
from tests.servers.sshd import Sshd, make_key, write_known_hosts

WRONG: Final = "a-wrong-secret"


def _nobody_is_known(there: Remote, folder: Path) -> Remote:
    return there.but(f"{_sshd(there).known_hosts}", f"{write_known_hosts(folder / 'empty')}")


def _another_host_key(there: Remote, folder: Path) -> Remote:
    """The host comes back with another key; known_hosts still names the one before."""
    server = _sshd(there)
    known = folder / "known"
    known.write_text(server.known_hosts.read_text())
    server.stop()
    server.files.host_key.unlink()
    make_key(server.files.host_key)
    there.restart()
    return there.but(f"{server.known_hosts}", f"{known}")


def _another_user_key(there: Remote, folder: Path) -> Remote:
    return there.but(f"{_sshd(there).identity}", f"{make_key(folder / 'another')}")


def _another_bucket(there: Remote, _folder: Path) -> Remote:
    return there.but(f'"{BUCKET}"', '"tandme"')


def _another_secret(there: Remote, _folder: Path) -> Remote:
    return replace(there, keys=f"{there.keys.partition(':')[0]}:{WRONG}")


def _another_access_key(there: Remote, _folder: Path) -> Remote:
    return replace(there, keys=f"{WRONG}:{there.keys.partition(':')[2]}")


def _sshd(there: Remote) -> Sshd:
    assert isinstance(there.server, Sshd)
    return there.server


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is wrong with a vault, and what must be told of it: what happened, and what to do."""

    vault: str
    spoil: Callable[[Remote, Path], Remote]
    kind: FailureKind
    says: str
    advises: str


_KEY, _CREDENTIALS = "shows the ssh-ed25519 key SHA256:", "Check the vault's credentials"
CASES: Final = {
    "host key unknown": Case(
        vault="sftp",
        spoil=_nobody_is_known,
        kind=FailureKind.HOST_KEY_UNKNOWN,
        says=_KEY,
        advises="Compare the host's key by another way, then add it to the vault's known_hosts.",
    ),
    "host key changed": Case(
        vault="sftp",
        spoil=_another_host_key,
        kind=FailureKind.HOST_KEY_CHANGED,
        says=_KEY,
        advises="Somebody may stand between: ask the host's owner before you change known_hosts.",
    ),
    "ssh key refused": Case(
        vault="sftp",
        spoil=_another_user_key,
        kind=FailureKind.ACCESS_DENIED,
        says="Authentication failed",
        advises=_CREDENTIALS,
    ),
    "bucket missing": Case(
        vault="s3",
        spoil=_another_bucket,
        kind=FailureKind.BUCKET_MISSING,
        says="the bucket tandme is not there",
        advises="Create the bucket, or correct its name in the settings.",
    ),
    "secret key refused": Case(
        vault="s3",
        spoil=_another_secret,
        kind=FailureKind.ACCESS_DENIED,
        says="below/minfopra/config",
        advises=_CREDENTIALS,
    ),
    "access key refused": Case(
        vault="s3",
        spoil=_another_access_key,
        kind=FailureKind.ACCESS_DENIED,
        says="below/minfopra/config",
        advises=_CREDENTIALS,
    ),
    "password refused": Case(
        vault="rest",
        spoil=_another_secret,
        kind=FailureKind.ACCESS_DENIED,
        says="HTTP status 401",
        advises=_CREDENTIALS,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_vault_that_refuses_is_told_and_nothing_is_stored(settled: Operator, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    with remote(case.vault, tmp_path) as there:
        copy_to(settled, case.spoil(there, tmp_path))
        told = refused(settled, "replicate", "files")
    assert (told.kind, told.code) == (case.kind, 4)
    assert "vault remote: " in told.message
    assert case.says in told.message
    assert case.advises in told.advice
    assert WRONG not in told.message
    assert not there.place.exists(), "something was stored"
    assert not any(path.name == "tandme" for path in there.place.parents[1].iterdir()), "a bucket was made"
    assert len(list((settled.folder / "primary/minfopra/snapshots").iterdir())) == 4


@pytest.mark.parametrize("vault", ["primary", "secondary"])
def test_a_disk_that_is_not_mounted_is_told_and_no_folder_takes_its_place(settled: Operator, vault: str) -> None:
    site = vault
    path = f'path = "{vault}"'
    settled.write_settings(settled.settings.replace(path, f'path = "not mounted/{vault}"'))
    told = refused(settled, "check", "files", "--site", site)
    assert told.kind is FailureKind.VAULT_UNREACHABLE
    assert "not mounted" in told.message
    assert not (settled.folder / "not mounted").exists()

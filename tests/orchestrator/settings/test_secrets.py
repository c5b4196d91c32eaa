"""A secret comes from where the settings say, only if it is private there, and appears in no error."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import pytest

from jobs.failure import FailureKind
from orchestrator.settings.secrets import (
    SecretCommand,
    SecretEnvironment,
    SecretFile,
    SecretRef,
    privacy_complaint,
    require_private,
    resolve,
    resolve_pair,
)
from targets.errors import TargetError
from targets.secret import Secret

TEXT: Final = "correct horse"
OTHER_USER: Final = 54_321


def never(command: tuple[str, ...]) -> str:
    raise AssertionError(f"{command} was run")


def said_by(text: str) -> SecretCommand:
    return SecretCommand(command=("say", text))


def say(command: tuple[str, ...]) -> str:
    program, text = command[0], command[-1]
    if program != "say":
        raise TargetError("run", program, FailureKind.TOOL_MISSING, "there is no such program")
    return text


def fetch(reference: SecretRef, **environment: str) -> Secret:
    return resolve(reference, "the password of tenant minfopra", environment=environment, run=say)


def refusal(reference: SecretRef, **environment: str) -> TargetError:
    with pytest.raises(TargetError) as caught:
        fetch(reference, **environment)
    assert caught.value.kind is FailureKind.SECRET_UNAVAILABLE
    assert str(caught.value).startswith("read the password of tenant minfopra: ")
    seen: BaseException | None = caught.value
    while seen is not None:
        assert TEXT not in str(seen)
        assert not isinstance(seen, UnicodeDecodeError)
        seen = seen.__cause__ or seen.__context__
    return caught.value


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "minfopra.key"
    path.write_text(f" {TEXT}\r\n", encoding="utf-8")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_private_file(mode: int, key: Path) -> None:
    key.chmod(mode)
    assert fetch(SecretFile(path=key)).reveal() == TEXT


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o601, 0o644])
def test_a_file_that_others_may_use(mode: int, key: Path) -> None:
    key.chmod(mode)
    error = refusal(SecretFile(path=key))
    assert f"(mode {mode:04o}); run: chmod 600 {key}" in str(error)
    with pytest.raises(TargetError, match="chmod 600"):
        require_private(key, "the key of vault far")


def test_whose_a_secret_may_be(key: Path) -> None:
    """Root may own what another user reads; a third user may not."""
    status = key.stat()
    theirs = os.stat_result([*status[:4], OTHER_USER, *status[5:]])
    roots = os.stat_result([*status[:4], 0, *status[5:]])
    assert privacy_complaint(key, theirs, OTHER_USER) == ""
    assert privacy_complaint(key, roots, OTHER_USER) == ""
    assert f"belongs to another user (uid {OTHER_USER}); run: chown 1 {key}" in privacy_complaint(key, theirs, 1)
    assert stat.S_IMODE(status.st_mode) == 0o600


@pytest.mark.as_root
def test_a_file_of_another_user(key: Path) -> None:
    os.chown(key, OTHER_USER, -1)
    assert "belongs to another user" in str(refusal(SecretFile(path=key)))


@pytest.mark.not_as_root
def test_a_file_that_may_not_be_read(key: Path) -> None:
    key.chmod(0o200)
    assert "cannot be read: Permission denied" in str(refusal(SecretFile(path=key)))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert f"there is no file {tmp_path}/x" in str(refusal(SecretFile(path=tmp_path / "x")))


def test_what_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "is not a file" in str(refusal(SecretFile(path=tmp_path / "pipe")))
    assert "is not a file" in str(refusal(SecretFile(path=tmp_path)))


def test_a_link_is_judged_by_what_it_leads_to(key: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(key)
    assert fetch(SecretFile(path=tmp_path / "link")).reveal() == TEXT
    key.chmod(0o644)
    assert "others than its owner" in str(refusal(SecretFile(path=tmp_path / "link")))


@pytest.mark.parametrize("content", [b"", b" \n", TEXT.encode() + b"\xe9", b"x" * 65_537])
def test_a_file_without_a_sound_secret(content: bytes, key: Path) -> None:
    key.write_bytes(content)
    assert str(key) in str(refusal(SecretFile(path=key)))


def test_a_variable() -> None:
    assert fetch(SecretEnvironment(variable="KEY"), KEY=f"{TEXT}\n").reveal() == TEXT
    for environment in ({}, {"KEY": ""}, {"OTHER": TEXT}):
        assert "environment variable KEY is not set or empty" in str(
            refusal(SecretEnvironment(variable="KEY"), **environment)
        )


def test_a_command() -> None:
    assert fetch(said_by(f"{TEXT}\n")).reveal() == TEXT
    assert "command say is not set or empty" in str(refusal(said_by("")))
    error = refusal(SecretCommand(command=("pass", "show", "x")))
    assert "command pass failed: run pass: there is no such program" in str(error)
    assert isinstance(error.__cause__, TargetError)


def test_nothing_is_run_for_a_file(key: Path) -> None:
    assert resolve(SecretFile(path=key), "a key", environment={}, run=never).reveal() == TEXT


def test_a_pair() -> None:
    first, second = resolve_pair(said_by("user:a:b"), "the credentials of vault s3", environment={}, run=say)
    assert (first.reveal(), second.reveal()) == ("user", "a:b")


@pytest.mark.parametrize("text", [TEXT, f":{TEXT}", f"{TEXT}:"])
def test_what_is_not_a_pair(text: str) -> None:
    with pytest.raises(TargetError, match="is not of the form NAME:SECRET") as caught:
        resolve_pair(said_by(text), "the credentials of vault s3", environment={}, run=say)
    assert caught.value.kind is FailureKind.SECRET_UNAVAILABLE
    assert TEXT not in str(caught.value)


def test_a_file_that_breaks_while_it_is_read() -> None:
    memory = Path("/proc/self/mem")  # ours alone, and nothing is mapped where it begins
    assert f"file {memory} cannot be read: Input/output error" in str(refusal(SecretFile(path=memory)))


def test_the_longest_secret_is_64_kibibytes_long(key: Path) -> None:
    key.write_text("x" * 65_536)
    assert len(fetch(SecretFile(path=key)).reveal()) == 65_536

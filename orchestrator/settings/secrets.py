"""Where a secret is, and how to get it: a file that only its owner reads, an environment variable, or a command."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Final

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.secret import Secret

RunCommand = Callable[[tuple[str, ...]], str]  # argv → standard output; raises TargetError
_LONGEST: Final = 65_536  # bytes; a longer "secret" is another file


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretFile:
    """The secret is a file's content; the path is absolute."""

    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretEnvironment:
    """The secret is an environment variable's value."""

    variable: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretCommand:
    """The secret is what a command writes to standard output."""

    command: tuple[str, ...]


SecretRef = SecretFile | SecretEnvironment | SecretCommand


def references(value: object) -> Iterator[SecretRef]:
    """Every secret reference inside settings' values, however deep: a new kind of setting is not forgotten."""
    if isinstance(value, SecretRef):
        yield value
    elif is_dataclass(value):
        for each in fields(value):
            yield from references(getattr(value, each.name))
    elif isinstance(value, Mapping):
        yield from references(tuple(value.values()))
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for item in value:
            yield from references(item)


def resolve(reference: SecretRef, name: str, *, environment: Mapping[str, str], run: RunCommand) -> Secret:
    """Fetch a secret, without the blanks around it (as restic reads a password file).

    `name` is what people call it: "the password of tenant minfopra".
    Raises TargetError SECRET_UNAVAILABLE, which never holds any of the secret.
    """
    match reference:
        case SecretFile(path=path):
            text = _from_file(path, name)
        case SecretEnvironment(variable=variable):
            text = environment.get(variable, "")
        case SecretCommand(command=command):
            text = _from_command(command, name, run)
    if not text.strip():
        raise _unavailable(name, f"{origin(reference)} is not set or empty")
    return Secret(text.strip())


def resolve_pair(
    reference: SecretRef, name: str, *, environment: Mapping[str, str], run: RunCommand
) -> tuple[Secret, Secret]:
    """Fetch a secret of the form "user:password" or "access key:secret key", split at the first colon.

    Raises TargetError SECRET_UNAVAILABLE.
    """
    first, colon, second = resolve(reference, name, environment=environment, run=run).reveal().partition(":")
    if not (first and colon and second):
        raise _unavailable(name, f"{origin(reference)} is not of the form NAME:SECRET")
    return Secret(first), Secret(second)


def require_private(path: Path, name: str) -> None:
    """Make sure that a key file is there and its owner's alone. Raises TargetError SECRET_UNAVAILABLE."""
    if complaint := file_complaint(path):
        raise _unavailable(name, complaint)


def origin(reference: SecretRef) -> str:
    """Where the secret is said to be, for people: never the secret."""
    match reference:
        case SecretFile(path=path):
            return f"file {path}"
        case SecretEnvironment(variable=variable):
            return f"environment variable {variable}"
        case SecretCommand(command=command):
            return f"command {command[0]}"


def file_complaint(path: Path) -> str:
    """What is wrong with a secret file, and what to do about it; empty when it is private."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return f"there is no file {path}; write the secret into it, then run: chmod 600 {path}"
    except OSError as error:
        return f"file {path} cannot be looked at: {error.strerror}"
    return privacy_complaint(path, status, os.geteuid())


def privacy_complaint(path: Path, status: os.stat_result, user: int) -> str:
    """Judge a secret file by its type, mode and owner; root may own what another user reads."""
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is not a file"
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        return f"others than its owner may use the secret {path} (mode {mode:04o}); run: chmod 600 {path}"
    if status.st_uid not in {user, 0}:
        return f"the secret {path} belongs to another user (uid {status.st_uid}); run: chown {user} {path}"
    return ""


def _from_file(path: Path, name: str) -> str:
    """Read what was judged: the open file, not whatever bears its name a moment later."""
    require_private(path, name)  # before opening, which would wait at a pipe
    try:
        with path.open("rb") as file:
            if complaint := privacy_complaint(path, os.fstat(file.fileno()), os.geteuid()):
                raise _unavailable(name, complaint)
            content = file.read(_LONGEST + 1)
    except FileNotFoundError as error:
        raise _unavailable(name, f"there is no file {path}") from error
    except OSError as error:
        raise _unavailable(name, f"file {path} cannot be read: {error.strerror}") from error
    if len(content) > _LONGEST:
        raise _unavailable(name, f"file {path} is longer than {_LONGEST} bytes")
    return _decoded(content, path, name)


def _decoded(content: bytes, path: Path, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        pass  # the error would carry the secret along
    raise _unavailable(name, f"file {path} is not UTF-8 text")


def _from_command(command: tuple[str, ...], name: str, run: RunCommand) -> str:
    try:
        return run(command)
    except TargetError as error:
        raise _unavailable(name, f"command {command[0]} failed: {error.failure.message}") from error


def _unavailable(name: str, what: str) -> TargetError:
    return TargetError("read", name, FailureKind.SECRET_UNAVAILABLE, what)

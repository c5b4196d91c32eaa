"""Every program that Tandem starts is started, watched and ended here: one session of its own for each.

The thread that starts a child must stay with it to the end: where `setpriv` exists, the kernel sends the child
SIGINT as soon as that thread is gone (prctl(2), PR_SET_PDEATHSIG), so that no child outlives a killed Tandem. Its own
children are not told, but find their pipes closed. A program with file capabilities loses this protection.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.lines import Lines
from targets.ports import Stop
from targets.secret import Secret
from targets.supervisor import Channel, Ended, Ending, Heard, Inlet, Limits, Listener, Supervisor, converse

__all__ = [
    "Completed",
    "Ended",
    "Ending",
    "Heard",
    "Limits",
    "Listener",
    "Never",
    "ProcessRequest",
    "capture",
    "children",
    "deaf",
    "pipe",
    "run",
    "supervise",
]

SECRET_LIMIT: Final = 64 << 10  # what a new pipe holds: written before anybody reads

GENTLE: Final = (("nice", "-n", "10"), ("ionice", "-c", "2", "-n", "7"))

_LISTENING: Final[dict[int, set[int]]] = {}  # who wants to know which children have ended
_CHANGING: Final = threading.Lock()


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessRequest:
    """What to start. `environment` is all that the child gets; a Secret in it is visible in /proc/PID/environ.

    `secrets` are not: each of these variables is set to `/dev/fd/N`, a pipe from which its secret can be read once.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str | Secret]
    secrets: Mapping[str, Secret] = field(default_factory=lambda: MappingProxyType({}))
    directory: Path | None = None
    gentle: bool = False  # give way to others in CPU and disk


@dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """What a short command said. Neither stream is shown: a password may have been printed."""

    code: int
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)


class Never:
    """A Stop that is never set."""

    def is_set(self) -> bool:
        """No."""
        return False


def deaf(_: bytes) -> Heard:
    """A listener to whom no line means anything."""
    return Heard.NOTHING


def run(
    request: ProcessRequest,
    *,
    limits: Limits,
    stop: Stop,
    on_line: Listener,
    on_error: Listener = deaf,
    on_sample: Callable[[int], None] | None = None,
) -> Ended:
    """Run to the end; hand over each line of both outputs, and each second how many bytes were read and written.

    Raises TargetError (TOOL_MISSING, SOURCE_MISSING for the directory, TOOL_FAILED) when it cannot be started.
    """
    with supervise(request, limits, stop, on_sample=on_sample) as supervisor:
        return converse(supervisor, on_line, on_error)


def pipe(
    request: ProcessRequest, *, limits: Limits, stop: Stop, on_error: Listener = deaf
) -> Generator[bytes, None, Ended]:
    """Standard output in pieces as they come; `ended = yield from pipe(…)` gives how it ended. Raises as `run` does.

    The child waits while the consumer is busy, and no limit but the deadline counts that time. A generator that is
    closed early ends the child.
    """
    errors = Lines()
    with supervise(request, limits, stop) as supervisor:
        for channel, piece in supervisor.pieces():
            if channel is Channel.OUTPUT:
                supervisor.progress()
                yield piece
            else:
                supervisor.heed(errors.feed(piece), on_error)
        return supervisor.ended()


def capture(
    argv: tuple[str, ...],
    environment: Mapping[str, str | Secret],
    timeout: float,
    *,
    directory: Path | None = None,
    limit: int = 1 << 20,
) -> Completed:
    """Run a short command with nothing on its standard input; keep at most the first `limit` bytes of its output.

    Raises TargetError: as `run` does, and DEADLINE after `timeout` seconds.
    """
    request = ProcessRequest(argv=argv, environment=environment, directory=directory)
    limits = Limits(deadline_seconds=timeout, grace_seconds=1.0)
    output = bytearray()
    with supervise(request, limits, Never()) as supervisor:
        for channel, piece in supervisor.pieces():
            if channel is Channel.OUTPUT:
                output += piece[: limit - len(output)]
        ended = supervisor.ended()
    if ended.ending is Ending.DEADLINE:
        raise TargetError("run", argv[0], FailureKind.DEADLINE, f"it was still running after {timeout:g} s")
    return Completed(code=ended.code, stdout=bytes(output), stderr=ended.errors)


@contextlib.contextmanager
def supervise(
    request: ProcessRequest,
    limits: Limits,
    stop: Stop,
    *,
    on_sample: Callable[[int], None] | None = None,
    stdin: int = subprocess.DEVNULL,
    inlet: Inlet | None = None,
) -> Iterator[Supervisor]:
    """Start a child and give its supervisor; the child has ended when this is left. Raises as `run` does."""
    child = _start(request, stdin)
    with _CHANGING:
        listening = tuple(_LISTENING.values())
    try:
        supervisor = Supervisor(child, limits, stop, on_sample, inlet)
    except OSError as error:
        child.kill()
        child.communicate()
        raise _not_started(request, error) from error
    try:
        yield supervisor
    except KeyboardInterrupt:  # a person who does not want to wait any longer
        supervisor.kill()
        raise
    finally:
        supervisor.close()
        for each in listening:
            each.add(child.pid)


@contextlib.contextmanager
def children() -> Iterator[Collection[int]]:
    """The process ids of the children that begin and end from now on, whichever thread waits for them."""
    found: set[int] = set()
    with _CHANGING:
        _LISTENING[id(found)] = found
    try:
        yield found
    finally:
        with _CHANGING:
            del _LISTENING[id(found)]


def _start(request: ProcessRequest, stdin: int) -> subprocess.Popen[bytes]:
    environment = {
        name: value.reveal() if isinstance(value, Secret) else value for name, value in request.environment.items()
    }
    program = _find(request.argv[0], environment.get("PATH", os.defpath))
    readers: list[int] = []
    try:
        for name, secret in request.secrets.items():
            readers.append(_pipe_holding(secret))
            environment[name] = f"/dev/fd/{readers[-1]}"
        return subprocess.Popen(
            [*_prefix(request.gentle), program, *request.argv[1:]],
            bufsize=0,
            cwd=request.directory,
            env=environment,
            pass_fds=readers,
            start_new_session=True,  # no terminal: ssh must not ask a person, and Ctrl-C is ours to hand on
            stderr=subprocess.PIPE,
            stdin=stdin,
            stdout=subprocess.PIPE,
        )
    except OSError as error:
        raise _not_started(request, error) from error
    finally:
        for reader in readers:
            os.close(reader)


def _not_started(request: ProcessRequest, error: OSError) -> TargetError:
    if request.directory is not None and not request.directory.is_dir():
        return TargetError("start", request.argv[0], FailureKind.SOURCE_MISSING, f"no folder {request.directory}")
    return TargetError("start", request.argv[0], FailureKind.TOOL_FAILED, error.strerror or str(error))


def _find(name: str, path: str) -> str:
    found = shutil.which(name, path=path)
    if found is None:
        where = "it is not there, or may not be executed" if "/" in name else f"it is in none of {path}"
        raise TargetError("start", name, FailureKind.TOOL_MISSING, where)
    return found


def _pipe_holding(secret: Secret) -> int:
    """The reading end of a pipe that already holds the secret. Its other end is closed, so a reader sees the end."""
    value = os.fsencode(secret.reveal()) + b"\n"
    if len(value) > SECRET_LIMIT:
        raise ValueError(f"a secret is longer than {SECRET_LIMIT} bytes")
    reader, writer = os.pipe()
    try:
        os.write(writer, value)
    finally:
        os.close(writer)
    return reader


@lru_cache
def _prefix(gentle: bool) -> tuple[str, ...]:
    """The programs that start the child in its own place (same process id); those that are not there are left out."""
    wanted = (("setpriv", "--pdeathsig", "INT"), *(GENTLE if gentle else ()))
    return tuple(word for words in wanted if _works(words) for word in words)


def _works(words: tuple[str, ...]) -> bool:
    """Whether a prefix can start something here: BusyBox's setpriv, for one, does not know our option."""
    if shutil.which(words[0]) is None:
        return False
    return subprocess.run([*words, "true"], capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode == 0

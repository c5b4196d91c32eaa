"""What a command writes, as a source: its standard output in pieces, counted and hashed; its exit status decides."""

from __future__ import annotations

import os
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.ports import Progress, Stop, Watch
from targets.process import Ended, Ending, Limits, ProcessRequest, pipe

_GRACE_SECONDS: Final = 10.0  # between SIGINT and SIGKILL: a dump has nothing to tidy up
_ERROR_LINES: Final = 5  # of standard error that are told
_ERROR_CHARACTERS: Final = 1000
# A command gets the service's environment (PATH, HOME, PGPASSFILE…) but for what holds the secrets of the service.
_WITHHELD: Final = ("TANDEM_", "RESTIC_", "AWS_")

_ENDINGS: Final[Mapping[Ending, tuple[FailureKind, str]]] = MappingProxyType(
    {
        Ending.CANCELLED: (FailureKind.CANCELLED, "asked to stop"),
        Ending.DEADLINE: (FailureKind.DEADLINE, "took too long"),
        Ending.NO_PROGRESS: (FailureKind.NO_PROGRESS, "wrote nothing for too long"),
    }
)


class Output:
    """The pieces of a command's standard output. To be iterated once, to the end; then ask `size` and `sha256`.

    Iterating raises TargetError: SOURCE_COMMAND_FAILED (not found, ended by a signal, exit status other than 0, with
    the end of its standard error), also after the last piece; CANCELLED, DEADLINE, NO_PROGRESS. What came before is of
    no use then. `withheld` names the environment variables that hold other secrets: one tenant's command must not
    store another tenant's password.
    """

    def __init__(
        self,
        command: tuple[str, ...],
        *,
        stop: Stop,
        watch: Watch,
        limits: Limits | None = None,
        withheld: Collection[str] = (),
    ) -> None:
        self._command, self._stop, self._watch = command, stop, watch
        self._limits = replace(limits or Limits(), grace_seconds=_GRACE_SECONDS)
        self._withheld = withheld
        self._hash = sha256()
        self._size = 0
        self._whole = False

    def __iter__(self) -> Iterator[bytes]:
        request = ProcessRequest(argv=self._command, environment=_environment(self._withheld))
        pieces = pipe(request, limits=self._limits, stop=self._stop)
        with closing(pieces):
            while (piece := self._next(pieces)) is not None:
                self._hash.update(piece)
                self._size += len(piece)
                self._watch(Progress(bytes_done=self._size))
                yield piece
        self._whole = True

    def _next(self, pieces: Generator[bytes, None, Ended]) -> bytes | None:
        """The next piece; None after the last one of a command that succeeded."""
        try:
            return next(pieces)
        except StopIteration as last:
            self._judge(last.value)
            return None
        except TargetError as error:
            raise self._error(FailureKind.SOURCE_COMMAND_FAILED, f"it cannot be started: {error}") from error

    def _judge(self, ended: Ended) -> None:
        if ended.ending in _ENDINGS:
            raise self._error(*_ENDINGS[ended.ending])
        if ended.code:
            how = f"exit status {ended.code}" if ended.code > 0 else f"ended by signal {-ended.code}"
            raise self._error(FailureKind.SOURCE_COMMAND_FAILED, f"{how}: {_end_of(ended.errors)}")

    def _error(self, kind: FailureKind, what: str) -> TargetError:
        return TargetError("run", f"command {self._command[0]}", kind, what)

    @property
    def size(self) -> int:
        """Bytes written. Raises ValueError before the end."""
        self._require_end()
        return self._size

    @property
    def sha256(self) -> str:
        """Of all that was written, in hex. Raises ValueError before the end."""
        self._require_end()
        return self._hash.hexdigest()

    def _require_end(self) -> None:
        if not self._whole:
            raise ValueError("the command's output is known only after its last piece")


def _environment(withheld: Collection[str]) -> dict[str, str]:
    return {n: value for n, value in os.environ.items() if not n.startswith(_WITHHELD) and n not in withheld}


def _end_of(errors: bytes) -> str:
    """The last lines of standard error, on one line."""
    lines = [line.strip() for line in errors.decode(errors="replace").splitlines() if line.strip()]
    return " / ".join(lines[-_ERROR_LINES:])[-_ERROR_CHARACTERS:] or "it wrote nothing on standard error"

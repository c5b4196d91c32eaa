"""A `restic backup --stdin` that runs while its stream is still being made."""

from __future__ import annotations

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.feed import Feed, StreamClosedError
from targets.ports import Stored
from targets.restic.call import Call
from targets.restic.listening import Listening


class ResticStdin:
    """Implements targets.ports.StdinBackup. One thread uses it; another, its own, watches restic."""

    def __init__(self, call: Call, feed: Feed, listening: Listening) -> None:
        self._call, self._feed, self._listening = call, feed, listening

    def write(self, piece: bytes) -> None:
        """Hand over bytes; blocks while restic is busy. Raises TargetError when restic has ended."""
        try:
            self._feed.write(piece)
        except StreamClosedError as error:
            raise self._ended_early() from error

    def finish(self) -> Stored:
        """End the stream and wait for the snapshot. Raises TargetError."""
        return self._call.stored(self._feed.finish(), self._listening)

    def abort(self) -> None:
        """End restic without a snapshot. Calling it after `finish` does nothing."""
        self._feed.abort()

    def _ended_early(self) -> TargetError:
        verdict = self._call.judge(self._feed.wait())
        words = verdict.words or "restic ended before its input did"
        return self._call.error(verdict.failure or FailureKind.TOOL_FAILED, words)

"""A child that is fed through its standard input by one thread while a thread of its own watches it."""

from __future__ import annotations

import os
import select
import threading

from targets.errors import TargetError
from targets.ports import Stop
from targets.process import ProcessRequest, deaf, supervise
from targets.supervisor import TICK_SECONDS, Ended, Inlet, Limits, Listener, converse


class StreamClosedError(Exception):
    """The child ended, or was ended, before its stream did; `Feed.wait` says how."""


class Feed(Inlet):
    """Starts the child at once. Everything but `write` may be called more than once, from any thread.

    The no-progress limit stands still while nothing is left to read for the child.
    """

    def __init__(
        self, request: ProcessRequest, *, limits: Limits, stop: Stop, on_line: Listener, on_error: Listener = deaf
    ) -> None:
        """Raises as targets.process.run does, when the child cannot be started."""
        self._request, self._limits, self._outer_stop = request, limits, stop
        self._on_line, self._on_error = on_line, on_error
        self._aborted, self._started, self._idle = threading.Event(), threading.Event(), True
        self._ended: Ended | None = None
        self._error: TargetError | None = None
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)  # who is stuck in a full pipe sees no stop
        self._lock = threading.Lock()  # a descriptor that one thread closes must not be written to by another
        self._open = True
        # Not waited for when the program ends: the child would wait for us, and we for it.
        self._thread = threading.Thread(target=self._supervise, name=f"feed {request.argv[0]}", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            self.wait()

    def write(self, piece: bytes) -> None:
        """Hand over bytes; blocks while the child is busy. Raises StreamClosedError."""
        left = memoryview(piece)
        poll = select.poll()
        poll.register(self._writer, select.POLLOUT)
        self._idle = False
        while left:
            if not self._thread.is_alive():
                raise StreamClosedError
            # Not for ever: where the child has ended and another still holds its pipe, nothing would wake us.
            if poll.poll(TICK_SECONDS * 1000):
                left = left[self._write(left) :]
        self._idle = True

    def finish(self) -> Ended:
        """End the stream and wait for the child."""
        self._idle = False
        self.close()
        return self.wait()

    def abort(self) -> Ended:
        """End the child, before its stream."""
        self._aborted.set()
        return self.wait()

    def wait(self) -> Ended:
        """Wait for the child without ending its stream."""
        self._thread.join()
        self.close()
        if self._error is not None:
            raise self._error
        if self._ended is None:
            raise RuntimeError("the supervising thread has failed; its traceback says why")
        return self._ended

    def is_set(self) -> bool:
        """Whether to end the child: this feed was aborted, or the whole run is to stop."""
        return self._aborted.is_set() or self._outer_stop.is_set()

    def is_idle(self) -> bool:
        """Whether the child has been given everything that there is."""
        return self._idle

    def close(self) -> None:
        """End the stream."""
        with self._lock:
            if self._open:
                self._open = False
                os.close(self._writer)

    def _write(self, piece: memoryview) -> int:
        with self._lock:
            if not self._open:
                raise StreamClosedError
            try:
                return os.write(self._writer, piece)
            except BlockingIOError:
                return 0
            except BrokenPipeError as error:
                raise StreamClosedError from error

    def _supervise(self) -> None:
        try:
            with supervise(self._request, self._limits, self, stdin=self._reader, inlet=self) as supervisor:
                self._begin()
                self._ended = converse(supervisor, self._on_line, self._on_error)
        except TargetError as error:
            self._error = error
        finally:
            self._begin()

    def _begin(self) -> None:
        """The child has the reading end for its own, or there is no child."""
        if not self._started.is_set():
            os.close(self._reader)
            self._started.set()

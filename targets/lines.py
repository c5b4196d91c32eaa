"""Bytes that come in pieces, as lines and as a tail: bounded in memory, and never failing on any input."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

LINE_LIMIT: Final = 1 << 20  # bytes; what is beyond is dropped up to the next newline
TAIL_LIMIT: Final = 64 << 10  # bytes


class Lines:
    """Splits pieces at newlines. A line longer than `limit` bytes is cut there; empty lines are left out."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._half = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The lines that this piece completes, without their newlines."""
        *whole, rest = piece.split(b"\n")
        for part in whole:
            self._extend(part)
            yield from self.rest()
        self._extend(rest)

    def rest(self) -> Iterator[bytes]:
        """The unfinished last line, if there is one."""
        if line := bytes(self._half).rstrip(b"\r"):
            yield line
        self._half.clear()

    def _extend(self, part: bytes) -> None:
        self._half += part[: self._limit - len(self._half)]


class Tail:
    """The last bytes of a stream: at most `limit` of them."""

    def __init__(self, limit: int = TAIL_LIMIT) -> None:
        self._limit = limit
        self._pieces: deque[bytes] = deque()
        self._size = 0

    def feed(self, piece: bytes) -> None:
        """Take in bytes, and forget the oldest ones that are beyond the limit."""
        self._pieces.append(piece[-self._limit :])
        self._size += len(self._pieces[-1])
        # By whole pieces: what is over is cut when somebody asks.
        while self._size - len(self._pieces[0]) >= self._limit:
            self._size -= len(self._pieces.popleft())

    def bytes(self) -> bytes:
        """What is kept."""
        return b"".join(self._pieces)[-self._limit :]

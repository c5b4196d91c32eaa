"""One file's bytes over an open connection: many requests under way at once, and every answer looked at.

paramiko's own pipelining is not used: its writer drops the answers that are still on their way when a file is closed,
so that a disk which fills up near the file's end goes unseen; its reader asks from a thread that dies with a traceback
on standard error when the line is cut. Both are built here from paramiko's requests, which it keeps to itself.
The protocol: https://datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-02
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from targets.vaults.layout import PIECE

if TYPE_CHECKING:
    # Any below: the calls that paramiko keeps to itself have no types.
    from paramiko import Message, SFTPClient, SFTPFile

_CHUNK: Final = 32 * 1024  # bytes in one request; what every server must take (section 3)

# Requests under way at once (8 MiB). What we did not read yet waits in the SSH channel, whose window (2 MiB) bounds our
# memory, and the speed over long distances: 2 MiB in each round trip.
_UNDER_WAY: Final = 256

_READ: Final = 5  # SSH_FXP_READ, section 3
_WRITE: Final = 6
_STATUS: Final = 101
_EXTENDED: Final = 200


class _Requests:
    """Requests for one open file. Their answers are given in the order in which they were asked."""

    def __init__(self, client: SFTPClient, file: SFTPFile) -> None:
        opened: Any = file
        self._client: Any = client
        self._handle: bytes = opened.handle
        self._numbers: deque[int] = deque()
        self._answers: dict[int, tuple[int, Message]] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def ask(self, command: int, offset: int, content: bytes | int) -> None:
        """Send one request, without waiting."""
        from paramiko.sftp import int64

        self._numbers.append(self._client._async_request(self, command, self._handle, int64(offset), content))

    def oldest(self) -> Message:
        """The answer to the oldest request. Raises OSError for a refusal, EOFError for the file's end."""
        number = self._numbers.popleft()
        while number not in self._answers:
            self._client._read_response()
        kind, message = self._answers.pop(number)
        if kind == _STATUS:
            self._client._convert_status(message)
        return message

    def _async_response(self, kind: int, message: Message, number: int) -> None:
        """paramiko calls this with each answer, by this name."""
        self._answers[number] = (kind, message)


def pieces_of(client: SFTPClient, file: SFTPFile) -> Iterator[bytes]:
    """The bytes of an open file, as long as it was when this began. Raises OSError, EOFError, SSHException."""
    size = file.stat().st_size or 0
    requests = _Requests(client, file)
    starts = deque(range(0, size, _CHUNK))
    wanted: deque[tuple[int, int]] = deque()
    piece: list[bytes] = []
    while starts or wanted:
        while starts and len(requests) < _UNDER_WAY:
            start = starts.popleft()
            wanted.append((start, min(_CHUNK, size - start)))
            requests.ask(_READ, *wanted[-1])
        piece.append(_whole(file, requests.oldest().get_string(), *wanted.popleft()))
        if len(piece) * _CHUNK == PIECE or not wanted:
            yield b"".join(piece)
            piece.clear()


def _whole(file: SFTPFile, got: bytes, start: int, length: int) -> bytes:
    """A server may give fewer bytes than were asked for; then ask for the rest, one after the other."""
    while len(got) < length:
        file.seek(start + len(got))
        more = file.read(length - len(got))
        if not more:
            raise EOFError(f"the file ends after {start + len(got)} bytes")
        got += more
    return got


class Writer:
    """Appends to a new file. Every answer is looked at by `finish`, at the latest. Raises OSError, SSHException."""

    def __init__(self, client: SFTPClient, file: SFTPFile) -> None:
        self._client: Any = client
        self._file = file
        self._requests = _Requests(client, file)
        self._offset = 0

    def write(self, piece: bytes) -> None:
        """Send the bytes; most answers come later."""
        for start in range(0, len(piece), _CHUNK):
            chunk = piece[start : start + _CHUNK]
            self._requests.ask(_WRITE, self._offset, chunk)
            self._offset += len(chunk)
            if len(self._requests) >= _UNDER_WAY:
                self._requests.oldest()

    def finish(self) -> None:
        """Wait for every answer, make the file durable at the server where it can do that, and close it."""
        while len(self._requests):
            self._requests.oldest()
        handle: Any = self._file
        try:  # https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL, 4.5
            self._client._request(_EXTENDED, "fsync@openssh.com", handle.handle)
        except OSError as error:
            if "unsupported" not in str(error).lower():
                raise
        self._file.close()


def free_space(client: SFTPClient, path: str) -> int | None:
    """Bytes free to us on the path's file system; None when the server cannot tell. Raises SSHException.

    https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL, 4.4: integers of 64 bits, of which the second is the size of a
    block and the fifth the number of blocks that are free to us.
    """
    protocol: Any = client
    try:
        _, answer = protocol._request(_EXTENDED, "statvfs@openssh.com", path)
    except OSError:
        return None
    numbers = [answer.get_int64() for _ in range(5)]
    return int(numbers[1] * numbers[4])

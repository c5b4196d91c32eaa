"""Records to systemd's journal with fields of their own, each in one datagram to its socket.

The protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/. Whether a stream leads to the journal is in $JOURNAL_STREAM:
https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#%24JOURNAL_STREAM
"""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from jobs.failure import FailureKind
from targets.errors import TargetError

SOCKET: Final = Path("/run/systemd/journal/socket")
_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_LONGEST: Final = 32_768  # bytes of one value: with all its fields a record stays below a datagram's limit


class Journal:
    """A connection to the journal. Safe to share between threads: a datagram is sent whole or not at all."""

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(1.0)

    def send(self, fields: Mapping[str, str]) -> None:
        """Write one record, such as {"MESSAGE": …, "PRIORITY": "4", "SYSLOG_IDENTIFIER": "tandem", "TANDEM_RUN": …}.

        A value of more than 32 KiB is cut off. Raises ValueError for a name that the journal would drop silently, and
        TargetError TOOL_FAILED where nobody listens (the journal is being restarted).
        """
        datagram = b"".join(_field(name, value) for name, value in fields.items())
        try:
            self._socket.sendto(datagram, str(self._path))
        except OSError as error:
            message = f"a record was not taken: {error.strerror or error}"
            raise TargetError("write", "journal", FailureKind.TOOL_FAILED, message) from error

    def close(self) -> None:
        """Give back the socket. Closing twice succeeds."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def leads_to_journal(stream: int, environment: Mapping[str, str]) -> bool:
    """Whether what is written to a file descriptor lands in the journal: $JOURNAL_STREAM is its device and inode."""
    device, colon, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    if not colon:
        return False
    try:
        there = os.fstat(stream)
    except OSError:
        return False
    return (device, inode) == (str(there.st_dev), str(there.st_ino))


def _field(name: str, value: str) -> bytes:
    """`NAME=value`, or, where the value has a newline, NAME, its length in 64 bits little-endian, and the value."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a journal field")
    content = value.encode("utf-8", "backslashreplace")[:_LONGEST]
    if b"\n" not in content:
        return name.encode() + b"=" + content + b"\n"
    return name.encode() + b"\n" + struct.pack("<Q", len(content)) + content + b"\n"

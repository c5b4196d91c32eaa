"""The journal's own protocol, read back from a real socket by the rules of systemd's documentation."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.journal import Journal, leads_to_journal


@pytest.fixture
def inlet(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "socket"))
        bound.settimeout(5)
        yield bound


def fields(datagram: bytes) -> list[tuple[str, str]]:
    """A second reader of the protocol: a line with `=`, or a name, eight bytes of length, the value."""
    found = []
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + length], rest[8 + length + 1 :]
        found.append((name.decode(), value.decode()))
        datagram = rest
    return found


def test_a_record_comes_with_its_fields(inlet: socket.socket, tmp_path: Path) -> None:
    told = {
        "MESSAGE": "échec\nligne = 2\n",
        "PRIORITY": "3",
        "SYSLOG_IDENTIFIER": "tandem",
        "TANDEM_RUN": "20261121T203000Z-4f2a9c1b",
        "TANDEM_EMPTY": "",
    }
    with Journal(tmp_path / "socket") as journal:
        journal.send(told)
        assert fields(inlet.recv(65_536)) == list(told.items())


def test_a_long_value_is_cut_off_and_the_record_arrives(inlet: socket.socket, tmp_path: Path) -> None:
    with Journal(tmp_path / "socket") as journal:
        journal.send({"MESSAGE": "x" * 1_000_000, "TANDEM_LONE": "\udce9"})
    assert fields(inlet.recv(200_000)) == [("MESSAGE", "x" * 32_768), ("TANDEM_LONE", "\\udce9")]


@pytest.mark.parametrize("name", ["", "lower", "_TRUSTED", "1ST", "A B", "É", "X" * 65, "NEW\nLINE"])
def test_a_name_that_would_be_dropped_is_refused(name: str, inlet: socket.socket, tmp_path: Path) -> None:
    with Journal(tmp_path / "socket") as journal, pytest.raises(ValueError, match="is no name"):
        journal.send({name: "x"})


def test_a_journal_that_is_away_is_an_error_and_it_is_found_again(tmp_path: Path) -> None:
    with Journal(tmp_path / "later") as journal:
        with pytest.raises(TargetError, match="write journal: ") as caught:
            journal.send({"MESSAGE": "x"})
        assert caught.value.kind is FailureKind.TOOL_FAILED
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as back:
            back.bind(str(tmp_path / "later"))
            journal.send({"MESSAGE": "y"})
            assert back.recv(100) == b"MESSAGE=y\n"


def test_a_stream_is_the_journals_when_it_is_the_very_one(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        there = os.fstat(file.fileno())
        mine = {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"}
        assert leads_to_journal(file.fileno(), mine)
        assert not leads_to_journal(file.fileno(), {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino + 1}"})
        assert not leads_to_journal(file.fileno(), {})
        closed = file.fileno()
    assert not leads_to_journal(closed, mine)

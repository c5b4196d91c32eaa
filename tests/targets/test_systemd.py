"""Datagrams to a service manager that listens on a real socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.systemd import Systemd, watchdog_every


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A bound socket, and the address that $NOTIFY_SOCKET would hold."""
    name = str(tmp_path / "notify") if request.param == "path" else f"\0tandem-test-{os.getpid()}-{id(tmp_path)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inlet:
        inlet.bind(name)
        inlet.settimeout(5)
        yield inlet, name.replace("\0", "@")


def test_what_is_told_is_what_systemd_reads(manager: tuple[socket.socket, str]) -> None:
    inlet, address = manager
    systemd = Systemd.of({"NOTIFY_SOCKET": address})
    systemd.ready("12 policies\nand more")
    systemd.alive("été")
    before = time.monotonic_ns() // 1000
    systemd.reloading()
    systemd.stopping("bye")
    systemd.more_time(timedelta(seconds=90), "2 runs")
    heard = [inlet.recv(4096).decode() for _ in range(5)]
    assert heard[:2] == ["READY=1\nSTATUS=12 policies and more\n", "STATUS=été\n"]
    assert heard[3:] == ["STOPPING=1\nSTATUS=bye\n", "EXTEND_TIMEOUT_USEC=90000000\nSTATUS=2 runs\n"]
    reloading, _, at = heard[2].partition("\nMONOTONIC_USEC=")
    assert reloading == "RELOADING=1"
    assert before <= int(at) <= time.monotonic_ns() // 1000


def test_the_watchdog_is_patted_as_often_as_it_wants_and_a_status_told_when_it_is_new(
    manager: tuple[socket.socket, str],
) -> None:
    inlet, address = manager
    systemd = Systemd(address, watchdog=timedelta(hours=1))
    for status in ("one", "one", "two"):
        systemd.alive(status)
    eager = Systemd(address, watchdog=timedelta(0))
    for _ in range(2):
        eager.alive()
    assert [inlet.recv(4096).decode() for _ in range(4)] == [
        "STATUS=one\nWATCHDOG=1\n",
        "STATUS=two\n",
        "WATCHDOG=1\n",
        "WATCHDOG=1\n",
    ]


def test_without_a_manager_nothing_is_told() -> None:
    systemd = Systemd.of({})
    systemd.ready("nobody hears it")


def test_a_manager_that_has_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="notify systemd: ") as caught:
        Systemd(str(tmp_path / "gone")).ready()
    assert caught.value.kind is FailureKind.TOOL_FAILED


@pytest.mark.parametrize(
    ("environment", "every"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, timedelta(seconds=15)),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, timedelta(seconds=15)),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "٣"}, None),
    ],
)
def test_the_watchdog_is_patted_twice_as_often_as_it_waits(
    environment: dict[str, str], every: timedelta | None
) -> None:
    assert watchdog_every(environment, pid=42) == every

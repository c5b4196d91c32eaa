"""Word to systemd: ready, reloading, stopping, alive. Datagrams to the socket in $NOTIFY_SOCKET; without it, silence.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html (states, sockets, "Standalone Implementations")
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from jobs.failure import FailureKind
from targets.errors import TargetError

_LONGEST: Final = 4096  # bytes of a status; systemd refuses datagrams of megabytes


class Systemd:
    """What the service manager is told. Every method raises TargetError TOOL_FAILED when it cannot be reached."""

    def __init__(self, address: str | None, watchdog: timedelta | None = None) -> None:
        """`address` is a path, or an abstract name behind `@`; None or empty where nobody listens.

        `watchdog` is how often it wants to hear that we live; None: never.
        """
        self._address = address or None
        self._watchdog, self._alive_at, self._status = watchdog, -math.inf, ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Systemd:
        """The service manager that started this process, if one did."""
        return cls(environment.get("NOTIFY_SOCKET"), watchdog_every(environment))

    def ready(self, status: str = "") -> None:
        """Start-up, or a reload, is complete."""
        self._tell({"READY": "1", **_status(status)})

    def reloading(self) -> None:
        """The settings are being read again; `ready` says when it is done."""
        self._tell({"RELOADING": "1", "MONOTONIC_USEC": str(time.monotonic_ns() // 1000)})

    def stopping(self, status: str = "") -> None:
        """The end has begun."""
        self._tell({"STOPPING": "1", **_status(status)})

    def alive(self, status: str = "") -> None:
        """Pat the watchdog, as often as it wants it, and say what there is new to say. Nothing of both: no word."""
        state = _status(status) if status != self._status else {}
        if self._watchdog is not None and time.monotonic() - self._alive_at >= self._watchdog.total_seconds():
            state["WATCHDOG"] = "1"
        self._tell(state)
        if "WATCHDOG" in state:
            self._alive_at = time.monotonic()
        self._status = status

    def more_time(self, by: timedelta, status: str = "") -> None:
        """Start or stop may take so long from now on, whatever the unit allows."""
        self._tell({"EXTEND_TIMEOUT_USEC": str(int(by.total_seconds() * 1_000_000)), **_status(status)})

    def _tell(self, state: Mapping[str, str]) -> None:
        if self._address is None or not state:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        text = "".join(f"{name}={value}\n" for name, value in state.items())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as outlet:
            outlet.settimeout(1.0)  # a full queue must not stall the service that it watches over
            try:
                outlet.sendto(text.encode("utf-8", "replace"), address)
            except OSError as error:
                message = f"it cannot be told anything: {error.strerror or error}"
                raise TargetError("notify", "systemd", FailureKind.TOOL_FAILED, message) from error


def watchdog_every(environment: Mapping[str, str], pid: int | None = None) -> timedelta | None:
    """How often to pat the watchdog: half of what it waits ($WATCHDOG_USEC). None: it does not wait for us."""
    text, meant = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    mine = not meant or meant == str(os.getpid() if pid is None else pid)
    if not (mine and text.isascii() and text.isdigit() and int(text)):
        return None
    return timedelta(microseconds=int(text)) / 2


def _status(text: str) -> dict[str, str]:
    line = " ".join(text.split()).encode("utf-8", "replace")[:_LONGEST].decode("utf-8", "ignore")
    return {"STATUS": line} if line else {}

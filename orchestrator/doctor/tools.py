"""The programs that Tandem stands on: restic, SQLite, the system's clock, systemd."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jobs.checkup import Finding, Grade
from jobs.failure import FailureKind
from orchestrator import wiring
from orchestrator.doctor.case import Case
from targets.errors import TargetError
from targets.process import capture

# https://www.sqlite.org/wal.html#walresetbug: two connections that write and checkpoint at one instant
_WAL_BUG: Final = ((3, 7, 0), (3, 51, 2))
_UNIT_FOLDERS: Final = tuple(
    map(Path, ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"))
)
_ASK_THE_CLOCK: Final = ("timedatectl", "show", "--property=NTPSynchronized", "--value")
_SECONDS: Final = 5.0


def restic(case: Case) -> Iterator[Finding]:
    """Which restic there is, and what it cannot do."""
    tool, lacks = wiring.restic(case.settings)
    text = f"{tool} at {case.settings.service.restic}"
    if lacks:
        text += f"; too old for: {', '.join(lacks)} (Tandem does without)"
    yield Finding(check="restic", subject="", grade=Grade.OK, text=text)


def sqlite(case: Case) -> Iterator[Finding]:
    """The library that the ledger is written with, where it is a SQLite one."""
    version = sqlite3.sqlite_version
    if case.ledger is not None and not case.ledger.files:
        yield Finding(check="sqlite", subject="", grade=Grade.INFO, text=f"SQLite {version}; the ledger is elsewhere")
        return
    if not _WAL_BUG[0] <= sqlite3.sqlite_version_info <= _WAL_BUG[1]:
        yield Finding(check="sqlite", subject="", grade=Grade.OK, text=f"SQLite {version}")
        return
    yield Finding(
        check="sqlite",
        subject="",
        grade=Grade.WARN,
        text=f"SQLite {version} has the WAL-reset bug (3.7.0 to 3.51.2): two connections that write and checkpoint at "
        "one instant may damage a file. Tandem checkpoints only when the last connection closes",
        advice="Nothing now; 3.51.3 or newer ends the matter. Let no other program write to the ledger.",
    )


def clock(case: Case) -> Iterator[Finding]:
    """Whether the machine's clock is kept right, and whether it lies behind what the ledger has seen."""
    now = case.clock.now()
    newest = case.ledger.runs(limit=1, states=None) if case.ledger is not None else ()
    if newest and newest[0].started_at > now:
        yield Finding(
            check="clock",
            subject="",
            grade=Grade.FAILED,
            text=f"it says {now:%Y-%m-%d %H:%M:%S} UTC, and run {newest[0].id} began later than that",
            advice="Set the clock right (timedatectl); until then no age is to be believed.",
        )
    yield _synchronized()


def _synchronized() -> Finding:
    try:
        said = capture(_ASK_THE_CLOCK, {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C"}, _SECONDS)
    except TargetError as error:
        missing = error.kind is FailureKind.TOOL_MISSING
        return _not_known("there is no timedatectl" if missing else error.failure.message)
    answer = said.stdout.decode("ascii", "replace").strip()
    if answer == "yes":
        return Finding(check="clock", subject="NTP", grade=Grade.OK, text="synchronized, says timedatectl")
    if answer == "no":
        return Finding(
            check="clock",
            subject="NTP",
            grade=Grade.WARN,
            text="not synchronized, says timedatectl",
            advice="Switch a time service on: timedatectl set-ntp true",
        )
    return _not_known(f"timedatectl ended with exit status {said.code}")


def _not_known(why: str) -> Finding:
    return Finding(
        check="clock",
        subject="NTP",
        grade=Grade.UNKNOWN,
        text=f"whether it is synchronized cannot be told: {why}",
        advice="Make sure that something keeps the clock right (chrony, systemd-timesyncd, the host of the container).",
    )


def systemd(_case: Case) -> Iterator[Finding]:
    """Whether a unit starts Tandem after a reboot: told, and not judged."""
    units = sorted(str(unit) for folder in _UNIT_FOLDERS for unit in folder.glob("tandem*.service"))
    text = f"installed: {', '.join(units)}" if units else "no unit tandem*.service is installed: who starts it at boot?"
    yield Finding(check="systemd", subject="", grade=Grade.INFO, text=text)

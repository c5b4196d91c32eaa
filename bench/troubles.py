"""What goes wrong in a night, when, and by what words a report names it. See bench/night.py.

The faults of the issue that a single night on one machine can have. A season's odd hours are the night's own: its
second half is without one in Europe/Paris.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from tests.acceptance.serving import fill_up

if TYPE_CHECKING:
    from bench.night import Night

_BY_IT: Final = " AND failure_message LIKE '% on elsewhere %'"
_COPYING: Final = "run WHERE vault = 'far' AND (state = 'running' OR failure_kind = 'vault-unreachable')"
_HOUR: Final = timedelta(hours=1)
_ELSEWHERE: Final = ("unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh")


@dataclass(frozen=True)
class Injection:
    """Something that happens at a moment of the night, and not before what it ends is `met` (rows of the ledger).

    `named`: a pattern of the report's words; none: it is no trouble.
    """

    at: timedelta  # after the evening
    name: str
    do: Callable[[], None]
    named: str = ""
    met: str = ""


def troubles(night: Night) -> list[Injection]:
    """What goes wrong, and how it ends, in the order of happening."""
    away, answer = Away(night), night.answer
    found = [
        _at(1.5, "restic is killed in the middle of a run", lambda: kill_restic(night), "ended it with SIGKILL"),
        _at(2.0, "the second site's disk is away", away.pull("disk2"), r"is its disk mounted\?"),
        _at(2.3, "one message is answered 500", lambda: answer_one(night, 500), "the server answered 500"),
        _at(4.0, "the disk is back", away.give("disk2"), met=_failed("vault-unreachable")),
        _at(4.5, "the clock is set forward by an hour", lambda: night.clock.step(_HOUR), r"set forward by 1:00:0\d"),
        _at(
            6.0, "the clock is set back by an hour", lambda: night.clock.step(-_HOUR), r"set back by (1:00:0|0:59:5)\d"
        ),
        _at(6.45, "the notifications' server is down", lambda: answer(503), "the server answered 503"),
        _at(6.5, "another password for taxes", lambda: night.password("taxes", "wrong"), r"\(wrong-password\)"),
        _at(7.45, "the server is up again", lambda: answer(200), met="notice WHERE error LIKE '%503'"),
        _at(
            7.7, "the right password again", lambda: night.password("taxes", "of taxes"), met=_failed("wrong-password")
        ),
        _at(
            8.2,
            "settings with mistakes",
            lambda: night.reload(night.text.replace("every 60m", "often")),
            r'often\\?" is not a schedule',
        ),
        _at(8.4, "settings without mistakes", lambda: night.reload(night.text)),
        _at(8.5, "the network is cut", night.cable.cut, "vault far: http://127"),
        _at(9.6, "the network is back", night.cable.mend, met=_failed("vault-unreachable", " AND vault = 'far'")),
        _at(9.75, "SIGSTOP for an hour", lambda: stand_still(night), _not_run(night, 9.75, 10.75)),
        _at(11.5, "a source is gone", away.take("sources/daily31"), r"\(source-missing\)"),
        _at(12.1, "the source is back", away.give("sources/daily31"), met=_failed("source-missing")),
        _at(11.6, "packs are damaged", lambda: damage(night), "damage-found"),
        _at(12.2, "not running for an hour", lambda: night.kill(asleep=_HOUR), _not_run(night, 12.2, 13.2)),
        _at(13.3, "the clock is far off for a while", lambda: leap(night), "not believed"),
    ]
    for number, (at, met) in enumerate(((0.9, ""), (3.1, ""), (5.8, ""), (9.0, _COPYING), (11.45, ""))):
        words = f"process {{pids[{number}]}} on .* last sign"
        found.append(_at(at, f"kill -9, number {number + 1}", night.kill, words, met=met))
    return sorted((*found, *_full_disks(night), *_foreign_locks(night)), key=lambda each: each.at)


def _at(hours: float, name: str, do: Callable[[], None], named: str = "", *, met: str = "") -> Injection:
    return Injection(timedelta(hours=hours), name, do, named, met)


def _failed(kind: str, more: str = "") -> str:
    """Runs that did, for such a reason."""
    return f"run WHERE failure_kind = '{kind}'{more}"


def _not_run(night: Night, since: float, until: float) -> str:
    first, last = (night.evening + timedelta(hours=hours) for hours in (since, until))
    return f"did not run from {first:%Y-%m-%d %H}:\\d\\d to {last:%Y-%m-%d %H}:\\d\\d UTC"


def _full_disks(night: Night) -> list[Injection]:
    """Where small disks may be mounted."""
    if not night.has_small_disks:
        return []
    ledger, vault = night.folder / "state", night.folder / "disk1"
    return [
        _at(3.3, "the first site's disk is full", lambda: _fill(vault), r"disk1.*no space left on device"),
        _at(3.9, "there is room in the vault again", (vault / "ballast").unlink, met=_failed("disk-full")),
        _at(11.0, "the ledger's disk is full", lambda: _fill(ledger), "It refused since"),
        _at(11.4, "there is room for the ledger again", (ledger / "ballast").unlink),
    ]


def _fill(disk: Path) -> None:
    fill_up(disk)


def _foreign_locks(night: Night) -> list[Injection]:
    """Where a process may bear another host's name."""
    if subprocess.run([*_ELSEWHERE, "true"], capture_output=True, check=False).returncode:
        return []
    locks = night.folder / "disk1" / "primary" / "health" / "locks"

    def remove() -> None:
        for lock in locks.iterdir():
            lock.unlink(missing_ok=True)

    return [
        _at(8.7, "another host's lock stands", lambda: lock(night), "by PID [0-9]+ on elsewhere"),
        _at(9.7, "a person has removed it", remove, met=_failed("repository-locked", _BY_IT)),
    ]


class Away:
    """What is moved out of sight, and back."""

    def __init__(self, night: Night) -> None:
        self._folder = night.folder

    def take(self, what: str) -> Callable[[], None]:
        """Take it away."""
        return lambda: self._move(what, f"{what}-away")

    def pull(self, disk: str) -> Callable[[], None]:
        """Take a disk away: a restic that writes to it can make no folder anew where it was, for a file is there."""

        def pulled() -> None:
            self._move(disk, f"{disk}-away")
            self._cork(self._folder / disk)

        return pulled

    def give(self, what: str) -> Callable[[], None]:
        """Bring it back."""
        return lambda: self._move(f"{what}-away", what)

    def _move(self, old: str, new: str) -> None:
        if (self._folder / new).is_file():
            (self._folder / new).unlink()
        (self._folder / old).rename(self._folder / new)

    def _cork(self, place: Path) -> None:
        while not place.is_file():
            shutil.rmtree(place, ignore_errors=True)
            with suppress(FileExistsError):
                place.touch(exist_ok=False)


def answer_one(night: Night, status: int) -> None:
    """What the notifications' server answers to one message, whenever that comes."""
    asked = night.webhook.asked
    night.answer(status)
    night.until(lambda: night.webhook.asked > asked)
    night.answer(200)


def kill_restic(night: Night) -> None:
    """kill -9 of the first restic that is seen while it backs up."""

    def killed() -> bool:
        for child in psutil.Process(night.pid).children():
            with suppress(psutil.Error):
                if "backup" in child.cmdline():
                    child.kill()
                    return True
        return False

    night.until(killed, pause=0.001)


def stand_still(night: Night) -> None:
    """Longer than any lease, beat or patience."""
    os.kill(night.pid, signal.SIGSTOP)
    night.sleep(_HOUR)
    os.kill(night.pid, signal.SIGCONT)


def leap(night: Night) -> None:
    """Thirty hours ahead, and back after twenty minutes."""
    night.clock.step(30 * _HOUR)
    night.sleep(timedelta(minutes=20))
    night.clock.step(-30 * _HOUR)


def damage(night: Night) -> None:
    """Flip a byte in the middle of each pack of one repository."""
    packs = (night.folder / "disk1" / "primary" / "health" / "data").glob("??/*")
    for pack in packs:
        content = bytearray(pack.read_bytes())
        content[len(content) // 2] ^= 0xFF
        pack.chmod(0o600)
        pack.write_bytes(content)


def lock(night: Night) -> None:
    """A restic of another host's takes a lock and is never seen again."""
    repository = night.folder / "disk1" / "primary" / "health"
    known = set((repository / "locks").iterdir())
    environment = {**os.environ, "RESTIC_PASSWORD": "of health", "RESTIC_REPOSITORY": str(repository)}
    argv = [*_ELSEWHERE, str(night.program), "--no-cache", "backup", "--stdin"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet) as process:
        night.until(lambda: bool(set((repository / "locks").iterdir()) - known))
        time.sleep(2.0)  # the first that is seen may be another's
        process.kill()

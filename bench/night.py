"""A night of a busy operator: everything that can go wrong does, and in the morning every trouble must have a name.

    python -m bench.night [--rate 500] [--seed 1] [--folder FOLDER]

Forty policies of two tenants, and Tandem's own files, from 18:00 to 08:00 by a clock that runs fast, in the night in
which Europe/Paris has no half past two; restic, vaults, ledger and notifications are real. Ends with 1 where the slots
do not add up, or where a trouble that was injected is not named in the integrity report, as JSON and as text.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from datetime import time as wall_time
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.troubles import Injection, troubles
from tests.acceptance import oracle
from tests.acceptance.serving import Daemon, SteeredClock, serving
from tests.repositories import prepare
from tests.servers.cable import Cable
from tests.servers.rest import RestServer
from tests.servers.webhook import Webhook
from tests.two_sites import settings

_ROOT: Final = Path(__file__).resolve().parent.parent
_EVENING: Final = datetime(2026, 3, 28, 17, 0, tzinfo=UTC)  # 18:00 in Douala
_MORNING: Final = _EVENING + timedelta(hours=14, minutes=4)  # what is due at 08:00 is on record by then
_TENANTS: Final = {"health": "Health", "taxes": "Taxes", "operator": "Operator"}
_PLACES: Final = ("disk1/primary", "disk2/secondary")
_DAILY: Final = 33
_HOURLY: Final = 6
_PATIENCE: Final = 180.0
_DISKS: Final = {"state": "24m", "disk1": "96m"}  # the ledger's, and the first site's
_ODD: Final = wall_time(2, 30)  # in Paris
_AT_WORK: Final = (
    "slot WHERE closed_at IS NULL",
    "event WHERE id > (SELECT told_until FROM outbox)",
    "notice WHERE state = 'pending'",
)
_REGISTERS: Final = frozenset({"setbacks", "troubles", "failures", "events", "told"})
_MORE: Final = """
[limits]
runs = 3
gentle = false
[serve]
listen = "127.0.0.1:0"
[notify.chat]
urls = ["json://{webhook}"]
[vaults.far]
site = "secondary"
kind = "rest"
url = "http://127.0.0.1:{cable}/"
credentials = {{ file = "far.key" }}
"""


class Night:
    """The operator, and what happens to it."""

    def __init__(self, folder: Path, rate: float, seed: int) -> None:
        self.folder, self.rate, self.dice = folder, rate, random.Random(seed)
        self.webhook = Webhook()
        self.webhook.open()
        self.far = RestServer(folder / "far")
        self.cable = Cable(self.far.port)
        self.program = Path(shutil.which(os.environ.get("RESTIC") or "restic") or "restic").resolve()
        self.life = ExitStack()
        self.daemon: Daemon | None = None
        self.killed: list[int] = []
        self._write()
        self.clock = SteeredClock.made(folder / "clock", _EVENING)

    # --- the operator -----------------------------------------------------------------------------------------------

    @property
    def settings(self) -> Path:
        """The operator's settings."""
        return self.folder / "settings.toml"

    @property
    def ledger(self) -> Path:
        """The operator's ledger, on a disk of its own where root may mount one."""
        return self.folder / "state" / "tandem.db"

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        if self.daemon is None:
            raise LookupError("no serve is running")
        return self.daemon.pid

    def _mounted(self, name: str, size: str) -> bool:
        (self.folder / name).mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(self.folder / name)]
        return subprocess.run(mount, capture_output=True, check=False).returncode == 0

    def _write(self) -> None:
        self.has_small_disks = all([self._mounted(name, size) for name, size in _DISKS.items()])
        head = settings("A busy operator", _TENANTS, "last = 30, minimum = 1", state="state/tandem.db", paths=_PLACES)
        head = (head + _MORE).format(restic=self.program, webhook=self.webhook.address, cable=self.cable.port)
        self.text = head + "\n".join(self._tables())
        self.settings.write_text(self.text)
        for tenant in _TENANTS:
            self.password(tenant, f"of {tenant}")
            for place in (*_PLACES, "far/root"):
                prepare(self.folder / place / tenant, f"of {tenant}")
        self.password("far", f"{self.far.user}:{self.far.password}")

    def _tables(self) -> list[str]:
        tables = ['[policies.own]\ntenant = "operator"\nsource = { tandem = true }\nschedule = "every 4h"\n']
        for number in range(_HOURLY):
            verify = 'verify = { check = "every 2h", restore_test = "every 4h" }\n' if number < 2 else ""
            tables.append(self._table(f"hourly{number}", number, "every 60m") + verify)
        tables[-1] += 'replicate = { to = "far" }\n'
        tables.append(self._table("paris", 0, f"daily at {_ODD:%H:%M}") + 'timezone = "Europe/Paris"\n')
        for number in range(_DAILY):
            minute = 20 + number * 22
            tables.append(
                self._table(f"daily{number:02}", number, f"daily at {(18 + minute // 60) % 24}:{minute % 60:02}")
            )
        return tables

    def _table(self, name: str, number: int, schedule: str) -> str:
        source = self.folder / "sources" / name
        source.mkdir(parents=True)
        for file in range(3):
            (source / f"{file}.bin").write_bytes(self.dice.randbytes(4_000))
            os.utime(source / f"{file}.bin", 2 * (_EVENING.timestamp() - 86_400,))  # not in what is to come
        tenant = ("health", "taxes")[number % 2]
        return f'[policies.{name}]\ntenant = "{tenant}"\nsource = {{ paths = ["{source}"] }}\nschedule = "{schedule}"\n'

    def password(self, tenant: str, words: str) -> None:
        """Put a password where the settings say."""
        key = self.folder / f"{tenant}.key"
        key.write_text(words)
        key.chmod(0o600)

    # --- the night --------------------------------------------------------------------------------------------------

    evening: Final = _EVENING

    def pass_by(self, injections: list[Injection]) -> None:
        """Let the night pass."""
        self.daemon = self.life.enter_context(serving(self.settings, self.clock, rate=self.rate))
        for injection in injections:
            self._wait(_EVENING + injection.at)
            if injection.met:
                self.until(partial(self._has, injection.met))
            print(f"  {self.clock.now():%H:%M} UTC  {injection.name}", flush=True)
            injection.do()
        self._wait(_MORNING)
        self.clock.go(20.0)  # an hour until something new is due: time to bring everything to its end
        self.until(lambda: not any(map(self._has, _AT_WORK)))
        if self.daemon.stop() != 0:
            raise SystemExit(f"the last serve did not end well:\n{self.daemon.said[-3000:]}")
        self.life.close()

    def _has(self, which: str) -> bool:
        return bool(oracle.rows(self.ledger, f"SELECT id FROM {which} LIMIT 1"))  # noqa: S608 (words of this file)

    def until(self, condition: Callable[[], bool], *, pause: float = 0.05) -> None:
        """Wait for what must come; look every so many seconds."""
        end = time.monotonic() + _PATIENCE
        while not condition():
            if self.daemon is None or not self.daemon.process.is_alive() or time.monotonic() > end:
                raise SystemExit(f"what the night waited for did not come:\n{self.daemon and self.daemon.said[-4000:]}")
            time.sleep(pause)

    def sleep(self, length: timedelta) -> None:
        """Let time pass, whatever the wall clock says and whether anybody serves or not."""
        end = self.clock.monotonic() + length.total_seconds()
        while self.clock.monotonic() < end:
            time.sleep(0.01)

    def _wait(self, moment: datetime) -> None:
        self.until(lambda: self.clock.now() >= moment)

    def kill(self, asleep: timedelta = timedelta(0)) -> None:
        """kill -9, and start again, so much later."""
        self.killed.append(self.pid)
        self.life.close()
        self.sleep(asleep)
        self.daemon = self.life.enter_context(serving(self.settings, self.clock))

    def reload(self, text: str) -> None:
        """Write settings and send SIGHUP."""
        self.settings.write_text(text)
        os.kill(self.pid, signal.SIGHUP)

    def answer(self, status: int) -> None:
        """What the notifications' server answers."""
        self.webhook.status = status

    # --- the morning ------------------------------------------------------------------------------------------------

    def tandem(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command."""
        argv = [sys.executable, str(_ROOT / "main.py"), "--settings", str(self.settings), *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def close(self) -> None:
        """Give everything back."""
        self.life.close()
        self.webhook.close()
        self.cable.close()
        self.far.stop()
        if self.has_small_disks:
            subprocess.run(["umount", "--lazy", *(str(self.folder / name) for name in _DISKS)], check=True)


def silent(night: Night, injected: list[Injection]) -> list[str]:
    """Prints where each trouble is named; gives the names of those that one of the report's forms does not name."""
    words = ("report", "integrity", "--period", f"{_EVENING:%Y-%m}")
    rows = [
        json.dumps(row, ensure_ascii=False) for row in _registers(json.loads(night.tandem("--json", *words).stdout))
    ]
    text = " ".join(night.tandem(*words).stdout.split())
    found = []
    print("\n  injected                                      rows of the JSON   times in the text")
    for each in injected:
        if each.named:
            pattern = re.compile(each.named.format(pids=night.killed) if "{pids" in each.named else each.named)
            many, times = sum(bool(pattern.search(row)) for row in rows), len(pattern.findall(text))
            print(f"  {each.name:44s}  {many:16d}   {times:17d}")
            found += [] if many and times else [each.name]
    return found


def _registers(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows that name what happened, and not those that count or explain."""
    for section in report["sections"]:
        for table in section["tables"]:
            if table["key"] in _REGISTERS:
                yield from table["rows"]


def contradictions(night: Night) -> list[str]:
    """What does not add up in the morning."""
    found = oracle.contradictions(night.ledger)
    counted = night.tandem("slots", "--limit", "1")
    if counted.returncode:
        found.append(f"tandem slots ended with {counted.returncode}: {counted.stdout[-1500:]}{counted.stderr}")
    internal = oracle.rows(night.ledger, "SELECT text FROM event WHERE topic = 'internal'")
    found += [f"Tandem's own fault: {row['text']}" for row in internal]
    told = Counter(json.dumps(each, sort_keys=True) for each in night.webhook.accepted)
    found += [f"told {many} times: {message[:200]}" for message, many in told.items() if many > 1]
    paris = [at for policy, job, _, at in oracle.moments(night.ledger) if (policy, job) == ("paris", "backup")]
    if paris != list(oracle.daily(_ODD, "Europe/Paris", _EVENING, _MORNING)):
        found.append(f"half past two in Paris was due at {', '.join(map(str, paris)) or 'no time at all'}")
    undelivered = oracle.rows(night.ledger, "SELECT id FROM notice WHERE state <> 'delivered'")
    return found + [f"notice {row['id']} was never delivered" for row in undelivered]


def main() -> None:
    """Let the night pass; 1 when anything was silent or does not add up."""
    parser = argparse.ArgumentParser(prog="python -m bench.night", description=__doc__)
    parser.add_argument("--rate", type=float, default=500.0, help="how much faster its clock runs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep everything but the first site's disk there")
    asked = parser.parse_args()
    if asked.folder is not None and asked.folder.exists():
        parser.error(f"{asked.folder} is there already: name one that is not")
    with tempfile.TemporaryDirectory(prefix="tandem-night-") as temporary:
        night = Night(asked.folder or Path(temporary) / "night", asked.rate, asked.seed)
        try:
            began = time.monotonic()
            injected = troubles(night)
            night.pass_by(injected)
            print(f"\n  the night took {time.monotonic() - began:.0f} s\n")
            print(night.tandem("slots", "--limit", "1").stdout)
            unnamed = silent(night, injected)
            odd = contradictions(night)
            if asked.folder is not None:
                with sqlite3.connect(night.ledger) as here, sqlite3.connect(asked.folder / "kept.db") as kept:
                    here.backup(kept)
        finally:
            night.close()
        if asked.folder is not None and (asked.folder / "kept.db").exists():
            (asked.folder / "kept.db").replace(night.ledger)
    print("".join(f"\n  NOT NAMED: {name}" for name in unnamed) or "\n  every trouble is named")
    print("".join(f"\n  DOES NOT ADD UP: {each}" for each in odd[:40]) or "  everything adds up")
    raise SystemExit(1 if unnamed or odd else 0)


if __name__ == "__main__":
    main()

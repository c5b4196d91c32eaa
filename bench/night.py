"""A night of a busy operator: everything that can go wrong does, and in the morning every trouble must have a name.

    python -m bench.night [--rate 500] [--seed 1] [--folder FOLDER]

Forty policies of two tenants, and Tandem's own files, from 18:00 to 08:00 by a clock that runs fast; restic, vaults,
ledger and notifications are real. Ends with 1 where the slots do not add up or a trouble that was injected is named
nowhere: neither in the ledger nor in the integrity report.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tests.acceptance import oracle
from tests.acceptance.serving import Daemon, SteeredClock, fill_up, serving
from tests.repositories import prepare
from tests.servers.webhook import Webhook

_ROOT: Final = Path(__file__).resolve().parent.parent
_EVENING: Final = datetime(2026, 3, 10, 17, 0, tzinfo=UTC)  # 18:00 in Douala
_MORNING: Final = _EVENING + timedelta(hours=14, minutes=4)  # what is due at 08:00 is on record by then
_TENANTS: Final = ("health", "taxes", "operator")
_DAILY: Final = 33
_HOURLY: Final = 6
_PATIENCE: Final = 180.0
_KILLED: Final = "SELECT count(*) AS many FROM event WHERE topic = 'serve-took-over' AND text LIKE ?"
_HEAD: Final = """
[service]
name = "A busy operator"
timezone = "Africa/Douala"
state = "sqlite:///{ledger}"
workdir = "work"
restic = "{restic}"
[limits]
runs = 3
gentle = false
[serve]
listen = "127.0.0.1:0"
[sites.primary]
title = "First"
[sites.secondary]
title = "Second"
[vaults.primary]
site = "primary"
kind = "local"
path = "disk1/primary"
[vaults.secondary]
site = "secondary"
kind = "local"
path = "disk2/secondary"
[tenants.health]
title = "Health"
password = {{ file = "health.key" }}
[tenants.taxes]
title = "Taxes"
password = {{ file = "taxes.key" }}
[tenants.operator]
title = "Operator"
password = {{ file = "operator.key" }}
[notify.chat]
urls = ["json://{webhook}"]
[defaults.policy]
vault = "primary"
replicate = {{ to = "secondary" }}
retention = {{ last = 30, minimum = 1 }}
objectives = {{ rpo = "24h", rto = "1h", replica_lag = "6h", check_age = "7d", restore_test_age = "7d" }}
"""


@dataclass(frozen=True)
class Injection:
    """Something that goes wrong at a moment of the night, and by what words of the record it is known."""

    at: timedelta  # after the evening
    name: str
    do: Callable[[], None]
    named: str = ""  # a question to the ledger that counts where it is named
    report: str = ""  # words of the integrity report; none: it is the ledger's alone


class Night:
    """The operator, and what happens to it."""

    def __init__(self, folder: Path, rate: float, seed: int) -> None:
        self.folder, self.rate, self.dice = folder, rate, random.Random(seed)
        self.webhook = Webhook()
        self.webhook.open()
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

    def _write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "state").mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(self.folder / "state")]
        self.has_small_disk = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        names = {"ledger": "state/tandem.db", "restic": self.program, "webhook": self.webhook.address}
        self.text = _HEAD.format(**names) + "\n".join(self._tables())
        self.settings.write_text(self.text)
        for tenant in _TENANTS:
            self.password(tenant, f"of {tenant}")
            for place in ("disk1/primary", "disk2/secondary"):
                prepare(self.folder / place / tenant, f"of {tenant}")

    def _tables(self) -> list[str]:
        tables = ['[policies.own]\ntenant = "operator"\nsource = { tandem = true }\nschedule = "every 4h"\n']
        for number in range(_HOURLY):
            verify = 'verify = { check = "every 2h", restore_test = "every 4h" }' if number < 2 else ""
            tables.append(self._table(f"hourly{number}", number, "every 60m") + verify)
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
        tenant = _TENANTS[number % 2]
        return f'[policies.{name}]\ntenant = "{tenant}"\nsource = {{ paths = ["{source}"] }}\nschedule = "{schedule}"\n'

    def password(self, tenant: str, words: str) -> None:
        """Put a password where the settings say."""
        key = self.folder / f"{tenant}.key"
        key.write_text(words)
        key.chmod(0o600)

    # --- the night --------------------------------------------------------------------------------------------------

    def pass_by(self, injections: list[Injection]) -> None:
        """Let the night pass."""
        self.daemon = self.life.enter_context(serving(self.settings, self.clock, rate=self.rate))
        for injection in sorted(injections, key=lambda each: each.at):
            self._wait(_EVENING + injection.at)
            print(f"  {self.clock.now():%H:%M} UTC  {injection.name}", flush=True)
            injection.do()
        self._wait(_MORNING)
        self.clock.go(20.0)  # an hour until something new is due: time to bring everything to its end
        self.until(
            lambda: not (self._has("slot WHERE closed_at IS NULL") or self._has("notice WHERE state = 'pending'"))
        )
        if self.daemon.stop() != 0:
            raise SystemExit(f"the last serve did not end well:\n{self.daemon.said[-3000:]}")
        self.life.close()

    def _has(self, which: str) -> bool:
        return bool(oracle.rows(self.ledger, f"SELECT id FROM {which} LIMIT 1"))  # noqa: S608 (words of this file)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what must come."""
        end = time.monotonic() + _PATIENCE
        while not condition():
            if self.daemon is None or not self.daemon.process.is_alive() or time.monotonic() > end:
                raise SystemExit(f"what the night waited for did not come:\n{self.daemon and self.daemon.said[-4000:]}")
            time.sleep(0.05)

    def _wait(self, moment: datetime) -> None:
        self.until(lambda: self.clock.now() >= moment)

    def kill(self) -> None:
        """kill -9, and start again."""
        if self.daemon is not None:
            self.killed.append(self.daemon.pid)
        self.life.close()
        self.daemon = self.life.enter_context(serving(self.settings, self.clock))

    def move(self, old: str, new: str) -> None:
        """Take a disk away, or bring it back."""
        (self.folder / old).rename(self.folder / new)

    def fill(self) -> None:
        """Leave nothing free where the ledger is."""
        fill_up(self.folder / "state")

    def free(self) -> None:
        """Free it again."""
        (self.folder / "state" / "ballast").unlink()

    def damage(self) -> None:
        """Flip a byte in the middle of each pack of one repository."""
        packs = (self.folder / "disk1" / "primary" / "health" / "data").glob("??/*")
        for pack in packs:
            content = bytearray(pack.read_bytes())
            content[len(content) // 2] ^= 0xFF
            pack.chmod(0o600)
            pack.write_bytes(content)

    def reload(self, text: str) -> None:
        """Write settings and send SIGHUP."""
        self.settings.write_text(text)
        if self.daemon is not None:
            self.daemon.signal(signal.SIGHUP)

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
        if self.has_small_disk:
            subprocess.run(["umount", "--lazy", str(self.folder / "state")], check=True)


def injections(night: Night) -> list[Injection]:
    """What goes wrong, when, and where it must be named."""

    def hours(number: float) -> timedelta:
        return timedelta(hours=number)

    slot = "SELECT count(*) AS many FROM slot WHERE why_text LIKE "
    event = "SELECT count(*) AS many FROM event WHERE topic = "
    found = [
        Injection(hours(2.0), "the second site's disk is away", lambda: night.move("disk2", "unmounted"),
                  slot + "'%is its disk mounted?%'", "is its disk mounted?"),
        Injection(hours(4.0), "the disk is back", lambda: night.move("unmounted", "disk2")),
        Injection(hours(4.5), "the clock is set forward by an hour", lambda: night.clock.step(hours(1)),
                  event + "'clock-stepped' AND text LIKE '%set forward by 1:00:0%'", "set forward by 1:00:0"),
        Injection(hours(6.0), "the clock is set back by an hour", lambda: night.clock.step(-hours(1)),
                  event + "'clock-stepped' AND text LIKE '%set back by 1:00:0%'", "set back by 1:00:0"),
        Injection(hours(6.5), "another password for taxes", lambda: night.password("taxes", "wrong"),
                  slot + "'%(wrong-password)%'", "wrong-password"),
        Injection(hours(7.7), "the right password again", lambda: night.password("taxes", "of taxes")),
        Injection(hours(8.2), "settings with mistakes", lambda: night.reload(night.text.replace("every 60m", "often")),
                  event + "'settings-refused'", "often"),
        Injection(hours(8.4), "settings without mistakes", lambda: night.reload(night.text)),
        Injection(hours(6.45), "the notifications' server is down", lambda: night.answer(503),
                  "SELECT count(*) AS many FROM notice WHERE attempts > 1 AND state = 'delivered'"),
        Injection(hours(7.45), "the server is up again", lambda: night.answer(200)),
        Injection(hours(11.5), "packs are damaged", night.damage, event + "'damage-found'", "damage"),
    ]  # fmt: skip
    if night.has_small_disk:
        found += [
            Injection(hours(10.0), "the ledger's disk is full", night.fill,
                      event + "'recovered' AND subject = 'ledger'", "It refused since"),
            Injection(hours(10.6), "there is room again", night.free),
        ]  # fmt: skip
    for number, at in enumerate((0.9, 3.1, 5.8, 9.1, 11.0)):
        name = f"kill -9, number {number + 1}"
        found.append(Injection(hours(at), name, night.kill, _KILLED, "its last sign of life"))
    return found


def judged(night: Night, wrong: list[Injection]) -> list[str]:
    """Where each trouble is named; prints the list, and gives the names of those that are named nowhere."""
    report = night.tandem("--json", "report", "integrity", "--period", "2026-03")
    text = json.dumps(json.loads(report.stdout)) if report.stdout else ""
    silent = []
    kills = iter(night.killed)
    print("\n  injected                                  in the ledger   in the report")
    for each in sorted(wrong, key=lambda each: each.at):
        if not each.named:
            continue
        values = (f"process {next(kills)} on %",) if each.named == _KILLED else ()
        (row,) = oracle.rows(night.ledger, each.named, *values)
        told = text.count(each.report) if each.report else None
        print(f"  {each.name:40s} {row['many']:10d}   {'-' if told is None else told:>12}")
        if not row["many"] or told == 0:
            silent.append(each.name)
    return silent


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
    undelivered = oracle.rows(night.ledger, "SELECT id FROM notice WHERE state <> 'delivered'")
    return found + [f"notice {row['id']} was never delivered" for row in undelivered]


def main() -> None:
    """Let the night pass; 1 when anything was silent or does not add up."""
    parser = argparse.ArgumentParser(prog="python -m bench.night", description=__doc__)
    parser.add_argument("--rate", type=float, default=500.0, help="how much faster its clock runs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep everything but the ledger's disk there")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tandem-night-") as temporary:
        night = Night(asked.folder or Path(temporary) / "night", asked.rate, asked.seed)
        try:
            began = time.monotonic()
            wrong = injections(night)
            night.pass_by(wrong)
            print(f"\n  the night took {time.monotonic() - began:.0f} s\n")
            print(night.tandem("slots", "--limit", "1").stdout)
            silent = judged(night, wrong)
            odd = contradictions(night)
            if asked.folder is not None:
                with sqlite3.connect(night.ledger) as here, sqlite3.connect(asked.folder / "kept.db") as kept:
                    here.backup(kept)
        finally:
            night.close()
    print("".join(f"\n  NAMED NOWHERE: {name}" for name in silent) or "\n  every trouble is named")
    print("".join(f"\n  DOES NOT ADD UP: {each}" for each in odd[:40]) or "  everything adds up")
    raise SystemExit(1 if silent or odd else 0)


if __name__ == "__main__":
    main()

"""kill -9 of the daemon at random moments, hundreds of times over a busy day, and then everything has to add up.

    python -m bench.campaign [--kills 300] [--seed 1] [--rate 300] [--folder FOLDER]

A real day passes in minutes by a clock that runs fast; restic, the repositories and the ledger are real. What must be
true in the end is reckoned by tests/acceptance/oracle.py, which knows nothing of Tandem but its tables.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import time as wall_time
from pathlib import Path
from typing import Final

from tests.acceptance import oracle
from tests.acceptance.serving import Daemon, SteeredClock, serving
from tests.repositories import prepare
from tests.two_sites import settings

_ROOT: Final = Path(__file__).resolve().parent.parent
_START: Final = datetime(2026, 3, 10, 0, 7, tzinfo=UTC)
_ZONE: Final = "Africa/Douala"
_TENANTS: Final = {"health": "Health", "taxes": "Taxes"}
_VAULTS: Final = ("primary", "secondary")
_PATIENCE: Final = 180.0  # seconds, for what is left to be done at the end
_LAST_RATE: Final = 6.0  # so that nothing new is due before all is done, and yet no pause takes a minute
_LIMITS: Final = """
[limits]
runs = 2
gentle = false
"""


@dataclass(frozen=True)
class Busy:
    """A policy: how often it is backed up, checked, and its restore tested; None: by a daily hour, or never."""

    name: str
    tenant: str
    backup: timedelta | wall_time
    check: timedelta | None = None
    restore_test: timedelta | None = None

    @property
    def table(self) -> str:
        """Its table of the settings."""
        proofs = {"check": self.check, "restore_test": self.restore_test}
        verify = ", ".join(f'{name} = "{_written(when)}"' for name, when in proofs.items() if when)
        return (
            f'[policies.{self.name}]\ntenant = "{self.tenant}"\nsource = {{ paths = ["sources/{self.name}"] }}\n'
            f'schedule = "{_written(self.backup)}"\n' + (f"verify = {{ {verify} }}\n" if verify else "")
        )

    def due(self, since: datetime, until: datetime) -> Iterator[oracle.Moment]:
        """Every moment of all its lines, as a person with a calendar would say."""
        chained = (("backup", 1), ("replicate", 2), ("retention", 1), ("retention", 2))
        for at in _moments(self.backup, since, until):
            yield from ((self.name, job, _VAULTS[place - 1], at) for job, place in chained)
        for job, when in (("check", self.check), ("restore-test", self.restore_test)):
            for vault in _VAULTS:
                yield from ((self.name, job, vault, at) for at in _moments(when, since, until))


def _written(when: timedelta | wall_time) -> str:
    if isinstance(when, wall_time):
        return f"daily at {when:%H:%M}"
    return f"every {when // timedelta(minutes=1)}m"


def _moments(when: timedelta | wall_time | None, since: datetime, until: datetime) -> Iterator[datetime]:
    if isinstance(when, timedelta):
        yield from oracle.every(when, since, until)
    elif when is not None:
        yield from oracle.daily(when, _ZONE, since, until)


_MINUTES: Final = {number: timedelta(minutes=number) for number in (20, 30, 60, 120, 180)}
POLICIES: Final = (
    Busy("patients", "health", _MINUTES[20], check=_MINUTES[60]),
    Busy("clinics", "health", _MINUTES[30], restore_test=_MINUTES[120]),
    Busy("pharmacy", "health", _MINUTES[60]),
    Busy("returns", "taxes", _MINUTES[30], check=_MINUTES[60], restore_test=_MINUTES[180]),
    Busy("letters", "taxes", wall_time(1, 30)),
    Busy("registers", "taxes", _MINUTES[60], check=_MINUTES[180]),
)


@dataclass
class Day:
    """A day of an operator in a folder. `hours` of it pass, `rate` times as fast as ours."""

    folder: Path
    hours: float
    rate: float
    seed: int = 1
    kills: int = 0
    states: Counter[str] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.program = Path(shutil.which(os.environ.get("RESTIC") or "restic") or "restic").resolve()
        text = settings("Campaign", _TENANTS, "last = 3, minimum = 1", zone=_ZONE).format(restic=self.program)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings.write_text(text + _LIMITS + "\n".join(policy.table for policy in POLICIES))
        for tenant in _TENANTS:
            key = self.folder / f"{tenant}.key"
            key.write_text(f"of {tenant}")
            key.chmod(0o600)
            for vault in _VAULTS:
                prepare(self.folder / vault / tenant, f"of {tenant}")
        for policy in POLICIES:
            for number in range(4):
                self._write(policy.name, number)

    @property
    def settings(self) -> Path:
        """The operator's settings."""
        return self.folder / "settings.toml"

    @property
    def ledger(self) -> Path:
        """The operator's ledger."""
        return self.folder / "tandem.db"

    def _write(self, policy: str, number: int) -> None:
        file = self.folder / "sources" / policy / f"{number}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.dice.randbytes(2_000))

    def pass_by(self, kills: int) -> None:
        """Let the day pass, with so many kills spread over it, and let everything come to rest."""
        end = _quiet(_START + timedelta(hours=self.hours))
        clock = SteeredClock.made(self.folder / "clock", _START)
        with serving(self.settings, clock, rate=self.rate):
            pass  # its lines begin, and it is killed
        seconds = (end - clock.now()).total_seconds() / self.rate
        while self.kills < kills and clock.now() < end:
            self._one_life(clock, 2 * seconds / kills)
        with serving(self.settings, clock) as daemon:
            _until(lambda: clock.now() >= end, daemon)
            clock.go(_LAST_RATE)
            _until(lambda: not self._open(), daemon)
            code = daemon.stop()
            self.troubles += [] if code == 0 else [f"the last serve ended with {code}:\n{daemon.said[-2000:]}"]
        self._judge(end)

    def _one_life(self, clock: SteeredClock, longest: float) -> None:
        """A start, some work, and kill -9: one in four within the first moments."""
        seconds = self.dice.uniform(0.0, 0.2) if self.dice.random() < 0.25 else self.dice.uniform(0.2, longest)
        self._write(self.dice.choice(POLICIES).name, self.dice.randrange(4))
        with serving(self.settings, clock) as daemon:
            time.sleep(seconds)
            if not daemon.process.is_alive():
                self.troubles.append(f"a serve ended by itself, with {daemon.process.exitcode}:\n{daemon.said[-2000:]}")
        self.kills += 1

    def _open(self) -> int:
        (row,) = oracle.rows(self.ledger, "SELECT count(*) AS many FROM slot WHERE closed_at IS NULL")
        return int(row["many"])

    def _judge(self, end: datetime) -> None:
        due = [moment for policy in POLICIES for moment in policy.due(_START, end)]
        bare = oracle.Bare(self.program, {name: f"of {name}" for name in _TENANTS}, self.folder / "bare-cache")
        repositories = [self.folder / vault / tenant for vault in _VAULTS for tenant in _TENANTS]
        self.troubles += oracle.differences(due, self.ledger)
        self.troubles += oracle.contradictions(self.ledger)
        self.troubles += oracle.strangers(self.ledger, repositories, bare)
        self.states = Counter(slot["state"] for slot in oracle.slots(self.ledger))
        told = oracle.rows(self.ledger, "SELECT text FROM event WHERE topic = 'internal'")
        self.troubles += [f"Tandem's own fault: {row['text']}" for row in told]
        argv = [sys.executable, str(_ROOT / "main.py"), "--settings", str(self.settings), "slots"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            self.troubles.append(f"tandem slots ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr}")


def _quiet(at: datetime) -> datetime:
    """Two minutes past the next half hour: nothing is due for a while."""
    half = timedelta(minutes=30)
    return oracle.EPOCH + ((at - oracle.EPOCH) // half + 1) * half + timedelta(minutes=2)


def _until(condition: Callable[[], bool], daemon: Daemon) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > end or not daemon.process.is_alive():
            raise SystemExit(f"what the campaign waited for did not come:\n{daemon.said[-4000:]}")
        time.sleep(0.02)


def main() -> None:
    """Run the campaign; 1 when anything is not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m bench.campaign", description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=300.0, help="how much faster its clock runs")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--folder", type=Path, help="keep everything there")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tandem-campaign-") as temporary:
        day = Day(asked.folder or Path(temporary), asked.hours, asked.rate, asked.seed)
        began = time.monotonic()
        day.pass_by(asked.kills)
        took = time.monotonic() - began
        (runs,) = oracle.rows(day.ledger, "SELECT count(*) AS many, sum(state = 'interrupted') AS cut FROM run")
    print(f"\n  kill -9                {day.kills:6d}   in {took:.0f} s, seed {asked.seed}")
    print(f"  runs                   {runs['many']:6d}   {runs['cut'] or 0} of them cut off")
    print(f"  slots                  {day.states.total():6d}")
    for state, many in sorted(day.states.items()):
        print(f"    {state:20s} {many:6d}")
    print(f"  contradictions         {len(day.troubles):6d}")
    for trouble in day.troubles[:40]:
        print(f"    {trouble}")
    raise SystemExit(1 if day.troubles else 0)


if __name__ == "__main__":
    main()

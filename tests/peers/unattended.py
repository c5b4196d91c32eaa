"""What the peers' tests share: a `serve` inside the test, whose clock jumps, and a restic of somebody else's."""

from __future__ import annotations

import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psutil

from jobs.event import Topic
from jobs.history import RunRecord
from jobs.policy import Policy
from jobs.slot import Slot
from orchestrator import settings as settings_room
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.serve import service
from orchestrator.serve.clockwatch import Opinion
from orchestrator.serve.watching import watch
from reports.log import LogRecord
from targets.ports import Stop
from targets.systemd import Systemd
from tests.acceptance import oracle
from tests.acceptance.faults import restics
from tests.acceptance.operator import PASSWORD, SETTINGS, Operator, until

START: Final = datetime(2026, 3, 10, 0, 30, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
HOURLY: Final = SETTINGS.replace("[policies.files]", '[policies.files]\nschedule = "every 60m"')
ALONE: Final = HOURLY.replace('replicate = {{ to = "secondary" }}\n', "")


class JumpingClock(Clock):
    """Begins at `start`, runs as fast as the machine's, and jumps when a test says so: both clocks by the same.

    Whoever asks for the wall clock and at once for the monotonic one is told what belongs together.
    """

    def __init__(self, start: datetime = START) -> None:
        self._start, self._began, self._ahead, self._off = start, time.monotonic(), 0.0, timedelta()
        self._pair = threading.local()

    def now(self) -> datetime:
        passed = self._passed()
        self._pair.told, self._pair.until = passed, time.monotonic() + 0.05
        return self._start + timedelta(seconds=passed) + self._off

    def monotonic(self) -> float:
        is_paired = time.monotonic() < getattr(self._pair, "until", 0.0)
        self._pair.until = 0.0
        return float(self._pair.told) if is_paired else self._passed()

    def sleep(self, seconds: float, stop: Stop) -> bool:
        end = self._passed() + seconds
        while not stop.is_set():
            if self._passed() >= end:
                return True
            time.sleep(0.01)
        return False

    def jump(self, by: timedelta) -> None:
        """So much time has passed."""
        self._ahead += by.total_seconds()

    def set(self, by: timedelta) -> None:
        """The wall clock is set, back where `by` is negative."""
        self._off += by

    def _passed(self) -> float:
        return time.monotonic() - self._began + self._ahead


def operator(folder: Path, restic: Path, settings: str = HOURLY, **tables: str) -> Operator:
    """One with both repositories made; `tables` adds lines to the settings' tables of these names, `_` for a dot."""
    for name, lines in tables.items():
        head = f"[{name.replace('_', '.')}]"
        settings = (
            settings.replace(head, f"{head}\n{lines}", 1) if head in settings else f"{settings}\n{head}\n{lines}\n"
        )
    return Operator(folder=folder, restic=restic, settings=settings).with_repositories()


@dataclass
class Serving:
    """A `serve` that runs in a thread of the test."""

    operator: Operator
    clock: JumpingClock
    stop: threading.Event = field(default_factory=threading.Event)
    reload: threading.Event = field(default_factory=threading.Event)
    said: list[LogRecord] = field(default_factory=list)
    ended: list[int | BaseException] = field(default_factory=list)

    def run(self) -> None:
        """Its whole life."""
        try:
            settings = settings_room.load(self.operator.folder / "settings.toml")
            terms = service.Terms(
                clock=self.clock,
                log=self.said.append,
                systemd=Systemd(None),
                version="test",
                stop=self.stop,
                reload=self.reload,
                testify=lambda *_: Opinion.KEPT,
                beat_seconds=0.05,
            )
            self.ended.append(service.serve(settings, terms))
        except BaseException as error:  # noqa: BLE001 (whoever waits for it is shown it)
            self.ended.append(error)

    @property
    def words(self) -> str:
        """Its log."""
        return "\n".join(f"{each.event}: {each.message}" for each in tuple(self.said))

    def comes(self, condition: Callable[[], object]) -> None:
        """Wait for what must come while it runs."""
        until(lambda: self.ended or condition(), seconds=60)
        assert not self.ended, f"it has ended with {self.ended}:\n{self.words}"

    def has_said(self, event: str) -> bool:
        """Whether its log tells of such an event."""
        return any(each.event == event for each in tuple(self.said))

    def passes(self, by: timedelta, *, policies: int = 1) -> None:
        """So much time passes; waits until so many policies' newest backups are due then, and all is at rest."""
        before = len(slots(self.operator))
        self.clock.jump(by)
        self.comes(lambda: len(slots(self.operator)) >= before + policies)
        self.comes(lambda: rests(self.operator))

    def watch(self) -> None:
        """Look for conditions that last; it would do so itself, once a minute of the machine's clock."""
        with opened(self.operator) as ledger:
            watch(ledger, settings_room.load(self.operator.folder / "settings.toml"), self.clock)

    def metrics(self) -> str:
        """What /metrics answers."""
        self.comes(lambda: self.has_said("listening"))
        found = next(each.message for each in tuple(self.said) if each.event == "listening")
        address = found.rpartition(" ")[2]
        with urllib.request.urlopen(f"{address}/metrics", timeout=30) as answer:  # noqa: S310 (our own, on loopback)
            return str(answer.read().decode())


@contextmanager
def served(operator: Operator, clock: JumpingClock) -> Iterator[Serving]:
    """A `serve` that has begun, and is stopped cleanly when the block ends."""
    serving = Serving(operator, clock)
    thread = threading.Thread(target=serving.run)
    thread.start()
    try:
        serving.comes(lambda: serving.has_said("serve-started"))
        yield serving
    finally:
        serving.stop.set()
        thread.join(60)
    assert serving.ended == [0], serving.words


def ledger_of(operator: Operator) -> Path:
    """The file."""
    return operator.folder / "tandem.db"


@contextmanager
def opened(operator: Operator) -> Iterator[Ledger]:
    """The operator's ledger, beside whoever else has it."""
    with Ledger.open(f"sqlite:///{ledger_of(operator)}", create=True, now=START) as ledger:
        yield ledger


def slots(operator: Operator, job: str = "%", policy: str = "%") -> list[dict[str, Any]]:
    """What the ledger's table of slots holds, the oldest due first."""
    question = "SELECT * FROM slot WHERE job LIKE ? AND policy LIKE ? ORDER BY due, id"
    return oracle.rows(ledger_of(operator), question, job, policy)


def states(operator: Operator, job: str = "%", policy: str = "%") -> list[str]:
    """The same, the states alone."""
    return [row["state"] for row in slots(operator, job, policy)]


def rests(operator: Operator) -> bool:
    """Whether nothing is under way: what is open waits for another attempt, or for what does."""
    waiting = [row for row in slots(operator) if row["state"] not in oracle.FINAL]
    retried = [row for row in waiting if row["state"] == "due" and row["retry_at"] is not None]
    return not waiting or bool(retried and all(row in retried or row["why_kind"] == "after" for row in waiting))


def all_slots(operator: Operator) -> tuple[Slot, ...]:
    """Every slot as Tandem reads it, the newest due first."""
    with opened(operator) as ledger:
        return ledger.slots()


def all_runs(operator: Operator) -> tuple[RunRecord, ...]:
    """Every run, the newest first."""
    with opened(operator) as ledger:
        return ledger.runs()


def told_of(operator: Operator, *topics: Topic) -> list[str]:
    """The texts of all events on these topics."""
    with opened(operator) as ledger:
        return [f"{event.subject}: {event.text}" for event in ledger.events(topics=topics)]


def policies(operator: Operator) -> tuple[Policy, ...]:
    """What the settings hold."""
    return tuple(settings_room.load(operator.folder / "settings.toml").policies)


def private(path: Path, text: str) -> Path:
    """A file that its owner alone can read, as a secret must be."""
    path.write_text(text)
    path.chmod(0o600)
    return path


@contextmanager
def somebody_at_work(operator: Operator, vault: str = "primary") -> Iterator[subprocess.Popen[bytes]]:
    """A restic that is none of Tandem's and holds a shared lock; it is killed at the end, and leaves that behind."""
    environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD}
    repository = operator.folder / vault / "minfopra"
    argv = [str(operator.restic), "--no-cache", "-r", str(repository), "backup", "--stdin"]
    quiet, known = subprocess.DEVNULL, set(operator.locks(vault))
    with subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet) as process:
        try:
            until(lambda: set(operator.locks(vault)) - known)
            yield process
        finally:
            process.kill()


def cut_off(command: subprocess.Popen[str], word: str) -> None:
    """kill -9 of a command and of its restic that has `word` among its arguments, which leaves its lock behind.

    Waits until nothing is left of them: restic takes a process that nobody has reaped yet for a living one.
    """
    engines = restics(command, word)
    for engine in engines:
        engine.kill()
    command.kill()
    command.communicate(timeout=60)
    until(lambda: not any(psutil.pid_exists(engine.pid) for engine in engines))

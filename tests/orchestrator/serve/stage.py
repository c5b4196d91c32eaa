"""An operator's settings and ledger, and what `serve` makes of them at moments that a test chooses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from jobs.dispatch import Moves, Start
from jobs.history import RunRecord
from jobs.policy import Policy, PolicyName
from orchestrator import settings as settings_room
from orchestrator import wiring
from orchestrator.executor import Announcements
from orchestrator.ledger.ledger import Ledger
from orchestrator.serve.board import Board
from orchestrator.serve.calendar import Calendar
from orchestrator.serve.workers import Ended, Workers
from orchestrator.settings import Settings
from orchestrator.work.tools import Tools
from targets.host import this_process
from targets.ports import Stop, unwatched
from tests.acceptance.operator import PASSWORD, SETTINGS
from tests.orchestrator.serve.clocks import START, HandClock

HOUR: Final = timedelta(hours=1)
PATIENCE: Final = 60.0  # seconds
HOURLY: Final = SETTINGS.replace("[policies.files]", '[policies.files]\nschedule = "every 60m"')
ALONE: Final = HOURLY.replace('replicate = {{ to = "secondary" }}', "").replace(
    "retention = {{ last = 2, minimum = 1 }}", ""
)


class HastyClock(HandClock):
    """By which nobody sleeps for longer than a moment."""

    sleeps = 0

    def sleep(self, seconds: float, stop: Stop) -> bool:  # noqa: ARG002 (Clock's)
        self.sleeps += 1
        threading.Event().wait(0.01)
        return not stop.is_set()


@dataclass
class Stage:
    """One operator; `names` are the policies, alike in all else. Their source is missing, unless a test makes it."""

    folder: Path
    ledger: Ledger
    restic: Path | str = "restic"
    text: str = ALONE
    names: tuple[str, ...] = ("files",)
    clock: HastyClock = field(default_factory=HastyClock)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        key = self.folder / "minfopra.key"
        key.write_text(PASSWORD)
        key.chmod(0o600)
        self.settings = self.settle(*self.names)

    def settle(self, *names: str, **edits: str) -> Settings:
        """Write settings with these policies, and read them."""
        head, _, policy = self.text.partition("[policies.files]")
        for old, new in edits.items():
            policy = policy.replace(old, new)
        text = head + "".join(f"[policies.{name}]{policy}" for name in names)
        file = self.folder / "settings.toml"
        file.write_text(text.format(restic=self.restic))
        self.settings = settings_room.load(file)
        return self.settings

    @property
    def policies(self) -> dict[PolicyName, Policy]:
        return {policy.name: policy for policy in self.settings.policies}

    def tools(self, *, needs_restic: bool = True) -> Tools:
        """Real ones."""
        return wiring.tools(
            self.settings,
            self.ledger,
            stop=self.stop,
            watch=lambda _piece: unwatched,
            clock=self.clock,
            needs_restic=needs_restic,
        )

    def due(self, after: timedelta = HOUR) -> Board:
        """A board, some time after the settings came to be in force."""
        calendar = Calendar(self.ledger)
        calendar.settle(self.settings.policies, self.clock.now())
        self.clock.go(after)
        calendar.born(self.clock.now())
        return Board(self.ledger)

    def moves(self, board: Board, *begun: RunRecord) -> Moves:
        """What the board says now, put on record but for the starts."""
        now = self.clock.now()
        made = board.moves(self.policies, self.settings.limits.concurrency, begun, now)
        if made.closings:
            self.ledger.close_slots(made.closings, now)
        self.ledger.wait_slots({wait.slot.id: wait.why for wait in made.waits})
        board.carried_out(made, now)
        return made

    def starts(self) -> tuple[Start, ...]:
        """What starts an hour after the settings came to be in force."""
        return self.moves(self.due()).starts


@dataclass
class Heard:
    """What workers said."""

    begun: list[RunRecord] = field(default_factory=list)
    ended: list[RunRecord] = field(default_factory=list)
    crashes: list[Exception] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    woken: threading.Event = field(default_factory=threading.Event)
    at_begin: Callable[[], object] = lambda: None

    def begins(self, run: RunRecord) -> None:
        self.begun.append(run)
        self.at_begin()


@contextmanager
def working(stage: Stage, heard: Heard, tools: Callable[[], Tools] | None = None) -> Iterator[Workers]:
    """Workers on a stage, whose threads end with the block."""
    workers = Workers(
        ledger=stage.ledger,
        clock=stage.clock,
        owner=this_process(),
        tools=tools or stage.tools,
        stop=stage.stop,
        tell=Announcements(begins=heard.begins, ended=heard.ended.append, crashed=heard.crashes.append),
        wake=heard.woken.set,
        trouble=heard.troubles.append,
    )
    try:
        yield workers
    finally:
        stage.stop.set()
        for thread in threading.enumerate():
            if thread.name.count("/") == 3:  # a slot's
                thread.join(PATIENCE)


def all_ended(workers: Workers, heard: Heard) -> tuple[Ended, ...]:
    """Wait until nothing is under way."""
    ended: list[Ended] = []
    while len(workers):
        assert heard.woken.wait(PATIENCE), "nothing ends"
        heard.woken.clear()
        ended += workers.ended()
    return tuple(ended)


__all__ = ["ALONE", "HOUR", "HOURLY", "START", "HastyClock", "Heard", "Stage", "all_ended", "working"]

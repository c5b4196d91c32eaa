"""`serve`: the daemon with everything around it, from the command line to the exit code."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from jobs.event import Topic, of_service
from jobs.failure import DONE
from jobs.history import Lease
from orchestrator import wiring
from orchestrator.cli import asked
from orchestrator.cli.parser import VERSION
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.serve.daemon import Daemon, Means
from orchestrator.serve.health import Health
from orchestrator.serve.metronome import Metronome
from orchestrator.serve.ownership import acquire
from orchestrator.serve.surroundings import Surroundings
from orchestrator.serve.voice import Voice
from orchestrator.settings import Settings
from orchestrator.work.tools import Tools
from reports.log import EventLog, Form, LogRecord, journal_fields
from targets.host import this_process
from targets.journal import Journal, leads_to_journal
from targets.ports import unwatched
from targets.systemd import Systemd


def serve(arguments: argparse.Namespace, stop: threading.Event) -> int:
    """Serve until asked to stop; the second on the same ledger is refused, or waits with --standby."""
    settings = asked.load(arguments)
    clock, health, owner = Clock(), Health(), this_process()
    voice = Voice(_log(settings), clock, health)
    systemd = Systemd.of(os.environ)
    with (
        _hang_up() as reload,
        Ledger.open(wiring.ledger_url(settings), create=True, now=clock.now()) as ledger,
        Metronome() as metronome,
    ):
        taken = acquire(ledger, owner, clock, stop, standby=arguments.standby)
        if taken is None:
            return DONE
        lease, former = taken
        if former is not None:
            _take_over(ledger, former, lease, clock, voice)
        with Surroundings(
            settings, ledger=ledger, clock=clock, health=health, voice=voice, version=VERSION, systemd=systemd
        ) as around:
            means = Means(
                ledger=ledger,
                clock=clock,
                owner=owner,
                voice=voice,
                health=health,
                metronome=metronome,
                tools=_tools(ledger),
                settled=around.settled,
                beaten=around.beaten,
                stopping=around.stopping,
                stop=stop,
                reload=reload,
            )
            return Daemon(settings, means, lease).run(trust_clock=arguments.trust_clock)


def _log(settings: Settings) -> Callable[[LogRecord], None]:
    """Written as the settings say; else as whoever reads standard error understands it."""
    to_journal = leads_to_journal(sys.stderr.fileno(), os.environ)
    form = Form(settings.serve.log or (Form.JOURNAL if to_journal else Form.TEXT))
    if form is Form.JOURNAL and to_journal:
        journal = Journal()
        return lambda record: journal.send(journal_fields(record))
    return EventLog(sys.stderr.buffer, form).say


def _tools(ledger: Ledger) -> Callable[[Settings, threading.Event], Tools]:
    return lambda settings, stop: wiring.tools(settings, ledger, stop=stop, watch=lambda _piece: unwatched)


def _take_over(ledger: Ledger, former: Lease, lease: Lease, clock: Clock, voice: Voice) -> None:
    owner = former.owner
    text = (
        f"process {owner.pid} on {owner.host} gave its last sign of life at {former.beaten_at:%Y-%m-%d %H:%M:%S} UTC; "
        f"this is term {lease.term}"
    )
    event = of_service(Topic.SERVE_TOOK_OVER, "serve", text, clock.now())
    voice.event(event)
    ledger.add_events([event])


@contextmanager
def _hang_up() -> Iterator[threading.Event]:
    """Set by SIGHUP: the settings are to be read again."""
    reload = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        reload.set()

    former = signal.signal(signal.SIGHUP, ask)
    try:
        yield reload
    finally:
        signal.signal(signal.SIGHUP, former)

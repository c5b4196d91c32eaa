"""`serve`: from the command line to the exit code. SIGHUP asks for the settings to be read again."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from orchestrator.cli import asked
from orchestrator.cli.parser import VERSION
from orchestrator.clock import Clock
from orchestrator.serve import service
from orchestrator.settings import Settings
from reports.log import EventLog, Form, LogRecord, journal_fields
from targets.journal import Journal, leads_to_journal
from targets.systemd import Systemd


def serve(arguments: argparse.Namespace, stop: threading.Event) -> int:
    """Serve until asked to stop; the second on the same ledger is refused, or waits with --standby."""
    with _hang_up() as reload:
        settings = asked.load(arguments)
        terms = service.Terms(
            clock=Clock(),
            log=_log(settings),
            systemd=Systemd.of(os.environ),
            version=VERSION,
            stop=stop,
            reload=reload,
            standby=arguments.standby,
            trust_clock=arguments.trust_clock,
        )
        return service.serve(settings, terms)


def _log(settings: Settings) -> Callable[[LogRecord], None]:
    """Written as the settings say; else as whoever reads standard error understands it."""
    to_journal = leads_to_journal(sys.stderr.fileno(), os.environ)
    form = Form(settings.serve.log or (Form.JOURNAL if to_journal else Form.TEXT))
    if form is Form.JOURNAL and to_journal:
        journal = Journal()
        return lambda record: journal.send(journal_fields(record))
    return EventLog(sys.stderr.buffer, form).say


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

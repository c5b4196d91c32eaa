"""What every verb that works begins with: the open ledger, the tools, somebody to tell."""

from __future__ import annotations

import argparse
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from jobs.history import Owner
from orchestrator import wiring
from orchestrator.cli.progress import Teller, teller
from orchestrator.clock import Clock
from orchestrator.executor import Announcements
from orchestrator.ledger.ledger import Ledger
from orchestrator.settings import Settings, effective_policy_json, effective_report_json
from orchestrator.work.tools import Tools
from targets.host import this_process


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """An open ledger with everything that work needs."""

    settings: Settings
    tools: Tools
    owner: Owner
    teller: Teller
    verbose: int  # how often a person said -v

    @property
    def zone(self) -> ZoneInfo:
        """The service's zone, for what people read."""
        return self.settings.service.zone

    @property
    def announcements(self) -> Announcements:
        """Whom the executor tells."""
        return Announcements(begins=self.teller.begins, ended=self.teller.ended, crashed=self._crashed)

    def _crashed(self, error: Exception) -> None:
        if self.verbose > 1:
            traceback.print_exception(error)

    def remember_settings(self) -> None:
        """Keep the text behind each hash, so that a past figure can name the rule under which it came to be.

        Of every policy, whatever was asked for: one that never ran was promised all the same. It is what the settings
        say: what one command line asked for is no rule. Raises LedgerError.
        """
        told = [(policy.settings_hash, effective_policy_json(policy)) for policy in self.settings.policies]
        told += [(report.settings_hash, effective_report_json(report)) for report in self.settings.reports]
        self.tools.ledger.remember_all_settings(told, self.tools.clock.now())


@contextmanager
def at_work(
    arguments: argparse.Namespace,
    settings: Settings,
    stop: threading.Event,
    *,
    create: bool = True,
    needs_restic: bool = True,
) -> Iterator[Session]:
    """A session for work; with `create` the ledger is made when there is none. Raises LedgerError, TargetError.

    Print nothing on standard output while it lasts: its progress has the terminal.
    """
    clock = Clock()
    with (
        Ledger.open(wiring.ledger_url(settings), create=create, now=clock.now()) as ledger,
        teller(clock, quiet=arguments.quiet) as tell,
    ):
        tools = wiring.tools(settings, ledger, stop=stop, watch=tell.watch, needs_restic=needs_restic)
        yield Session(settings=settings, tools=tools, owner=this_process(), teller=tell, verbose=arguments.verbose)

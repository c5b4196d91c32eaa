"""What every verb that works begins with: the open ledger, the tools, somebody to tell."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from jobs.history import Owner
from jobs.policy import Policy, PolicyName
from orchestrator import wiring
from orchestrator.cli.progress import Teller, teller
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.settings import Settings
from orchestrator.work.tools import Tools
from targets.host import this_process


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """An open ledger with everything that work needs."""

    settings: Settings
    tools: Tools
    owner: Owner
    teller: Teller

    def policies(self) -> dict[PolicyName, Policy]:
        """The settings' policies by name."""
        return {policy.name: policy for policy in self.settings.policies}


@contextmanager
def at_work(arguments: argparse.Namespace, settings: Settings, stop: threading.Event) -> Iterator[Session]:
    """A session for work that leaves a run: the ledger is made when there is none. Raises LedgerError, TargetError."""
    clock = Clock()
    with (
        Ledger.open(wiring.ledger_url(settings), create=True, now=clock.now()) as ledger,
        teller(clock, quiet=arguments.quiet) as tell,
    ):
        tools = wiring.tools(settings, ledger, stop=stop, watch=tell.watch)
        yield Session(settings=settings, tools=tools, owner=this_process(), teller=tell)

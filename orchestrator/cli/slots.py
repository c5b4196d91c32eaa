"""`slots`: what was due and what became of it, counted twice."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Sequence
from datetime import timedelta
from itertools import chain
from typing import Final

from jobs.failure import DONE, JOB_FAILED
from jobs.slot import Slot, SlotState
from orchestrator import wiring
from orchestrator.cli import asked, printing
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.reporting import due
from orchestrator.settings import Settings
from reports import slots as told
from reports.slots import Asked

_LOOKS: Final = timedelta(minutes=1)  # serve looks every second; what is not made by then is not looked at


def slots(arguments: argparse.Namespace, _stop: threading.Event) -> int:
    """The newest slots that fit, and whether all of them add up; 4 when they do not."""
    settings = asked.load(arguments)
    zone = settings.service.zone
    now = Clock().now()
    wanted = Asked(
        since=asked.moment("--since", arguments.since, zone, begin=True),
        until=asked.moment("--until", arguments.until, zone),
        states=[SlotState(state) for state in dict.fromkeys(arguments.state)],
    )
    with Ledger.open(wiring.ledger_url(settings), create=False, now=now) as ledger:
        policies = _policies(settings, ledger, arguments.policies)
        latest_splay = max((line.splay for line in ledger.lines_in_force()), default=timedelta())
        counted = due.reckoned(ledger, policies, wanted.since, wanted.until, now - _LOOKS - latest_splay)
        listed = _listed(ledger, policies, wanted, arguments.limit)
    printing.show(arguments, told.slots(listed, counted, wanted, zone=zone))
    return DONE if counted.adds_up else JOB_FAILED


def _policies(settings: Settings, ledger: Ledger, names: Sequence[str]) -> Sequence[str]:
    """The named ones. A policy that the settings no longer hold has a past all the same. Raises UsageError."""
    known = {line.policy for line in ledger.lines()} if names else set()
    asked.named(settings, [name for name in names if name not in known])
    return names


def _listed(ledger: Ledger, policies: Sequence[str], wanted: Asked, limit: int) -> list[Slot]:
    parts = [
        ledger.slots(policy=policy, states=wanted.states or None, since=wanted.since, until=wanted.until, limit=limit)
        for policy in dict.fromkeys(policies or (None,))
    ]
    newest = sorted(chain.from_iterable(parts), key=lambda slot: (slot.due, slot.id), reverse=True)
    return newest[:limit]

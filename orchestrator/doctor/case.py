"""What the checks look at: the settings, the ledger where there is one, the clock."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.failure import Failure
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """`ledger` None: it could not be opened, and `refused` says why."""

    settings: Settings
    clock: Clock
    ledger: Ledger | None
    refused: Failure | None = None

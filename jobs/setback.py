"""Runs that went wrong alike, counted: one value for each trouble, however often it came."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jobs.history import Job, RunState
from jobs.policy import SiteName, VaultName


@dataclass(frozen=True, kw_only=True, slots=True)
class Setback:
    """Runs of one job in one vault that ended in one state for one kind of reason.

    `kind` is the failure's; empty where there was none (an interrupted run). `first` and `last` are when the first and
    the newest of them began, `first_text` and `text` what those two said.
    """

    job: Job
    site: SiteName
    vault: VaultName
    state: RunState
    kind: str
    runs: int
    policies: int
    first: datetime
    last: datetime
    first_text: str
    text: str

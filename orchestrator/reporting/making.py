"""The work of a report's run: build it, write it, say what was written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from jobs.history import ReportResult
from jobs.period import Period
from jobs.reporting import Reporting
from orchestrator.ledger.ledger import Ledger
from orchestrator.reporting.building import Asked, build
from orchestrator.reporting.files import publish
from orchestrator.reporting.forms import rendered
from orchestrator.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """Which report is to be made, of which period (it is over), as of when, under which settings, by which version.

    No restic and no vault is needed for it: reports are made when all of these are away.
    """

    reporting: Reporting
    period: Period
    settings: Settings
    now: datetime
    version: str


def make(order: Order, ledger: Ledger) -> ReportResult:
    """Make it. Raises LedgerError, and TargetError where it cannot be written."""
    reporting, period = order.reporting, order.period
    asked = Asked(
        period=period,
        zone=ZoneInfo(reporting.zone),
        now=order.now,
        version=order.version,
        tenant=reporting.tenant,
    )
    document = build(reporting.subject, asked, order.settings, ledger)
    contents = {reporting.file_name(period, form): rendered(document, form).encode() for form in reporting.forms}
    published = publish(Path(reporting.folder), contents)
    return ReportResult(period=period.text, folder=reporting.folder, files=published.files, kept=published.kept)

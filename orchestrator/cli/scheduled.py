"""`report scheduled NAME`: make one of the reports that make themselves, now and by hand."""

from __future__ import annotations

import argparse
import threading
from datetime import datetime
from zoneinfo import ZoneInfo

from jobs.history import Job, Outcome, RunRecord, RunState
from jobs.period import Period
from jobs.plan import report_step
from jobs.reporting import Reporting
from orchestrator.cli import asked, printing
from orchestrator.cli.endings import UsageError
from orchestrator.cli.parser import VERSION
from orchestrator.cli.session import Session, at_work
from orchestrator.cli.work import exit_code
from orchestrator.executor import attempt, intent
from orchestrator.recovery import recover
from orchestrator.reporting.making import Order, make


def scheduled(arguments: argparse.Namespace, stop: threading.Event) -> int:
    """Of the last complete period, or of the one that is asked for; on record as a run, like those that are due."""
    from reports import answers

    refused = [f"--{name}" for name in ("tenant", "format", "output") if getattr(arguments, name) is not None]
    if refused:
        raise UsageError(f"{' and '.join(refused)}: what the settings say of the report holds")
    settings = asked.load(arguments)
    reporting = asked.reporting(settings, arguments.name)
    with at_work(arguments, settings, stop, needs_restic=False) as session:
        period = _period(reporting, arguments.period, session.tools.clock.now())
        session.remember_settings()
        record = _made(session, reporting, period)
    now = session.tools.clock.now()
    printing.show(arguments, answers.cycle([record], (), now=now))
    return exit_code([record], (), stopped=stop.is_set())


def _period(reporting: Reporting, text: str | None, now: datetime) -> Period:
    if text is None:
        return reporting.period_at(now)
    wanted = asked.period(text, ZoneInfo(reporting.zone), now)
    if wanted.end > now:
        raise UsageError(f"the period {text} has not ended yet; see it so far with: tandem report {reporting.subject}")
    return wanted


def _made(session: Session, reporting: Reporting, period: Period) -> RunRecord:
    """The run, once one that was cut off is explained. Raises Busy where another is making it."""
    tools = session.tools
    recovered = recover(tools, (), works={(reporting.name, Job.REPORT)})
    for record in recovered.resolved:
        printing.note(f"{record.job} {record.policy} ({record.id}) was cut off: {record.state}. {record.note}")
    now = tools.clock.now()
    order = Order(reporting=reporting, period=period, settings=session.settings, now=now, version=VERSION)

    def work(_run: str) -> Outcome:
        return Outcome(state=RunState.SUCCEEDED, result=make(order, tools.ledger))

    return attempt(intent(report_step(reporting), now, session.owner, tool=""), work, tools, session.announcements)

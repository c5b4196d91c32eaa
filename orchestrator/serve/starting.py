"""What a start does, under the settings as they are when it begins: what changes while it runs is for the next one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from jobs.dispatch import Start
from jobs.failure import FailureKind
from jobs.history import Job, Outcome
from jobs.policy import Policy, PolicyName
from jobs.reporting import Reporting
from jobs.slot import Slot
from orchestrator.executor import bound
from orchestrator.reporting.apart import make_apart
from orchestrator.reporting.making import Order
from orchestrator.settings import Settings, report_told
from orchestrator.work.tools import Tools
from targets.errors import TargetError

Work = Callable[[Tools], Callable[[str], Outcome]]  # in want of its tools, and then of its run's id


def work_of(
    start: Start, policies: Mapping[PolicyName, Policy], settings: Settings, now: datetime, version: str
) -> Work:
    """The work of a slot's run; `policies` are the settings' own. A report is of what its slot was due for."""
    if start.slot.job is not Job.REPORT:
        policy = policies[start.slot.policy]
        return lambda tools: bound(start.step, policy, tools)
    reporting = next(each for each in settings.reports if each.name == start.slot.policy)

    def made(run: str, tools: Tools) -> Outcome:
        due = _as_it_was_due(start.slot, reporting, tools)
        period = due.period_at(start.slot.nominal)
        order = Order(reporting=due, period=period, settings=settings, now=now, version=version)
        return make_apart(order, run, tools)

    return lambda tools: lambda run: made(run, tools)


def _as_it_was_due(slot: Slot, reporting: Reporting, tools: Tools) -> Reporting:
    """With the period and the zone of the settings by which the slot was made: what was due is not edited later.

    Where it is written, and in which forms, is of now. Raises LedgerError and TargetError.
    """
    if slot.settings_hash == reporting.settings_hash:
        return reporting
    try:
        told = report_told(tools.ledger.settings_text(slot.settings_hash) or "")
    except ValueError as cause:
        what = f"the settings that {slot.settings_hash} stands for, by which it was due, cannot be read"
        raise TargetError("make report", reporting.name, FailureKind.LEDGER_DAMAGED, what) from cause
    return replace(reporting, period=told.period, zone=told.zone)

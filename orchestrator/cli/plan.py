"""`plan`: what `serve` would do at a time, and for as long after it as one asks. It decides by the same rules."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from jobs.agenda import births, changes
from jobs.dispatch import Situation, dispatch, related_ids
from jobs.failure import DONE, FailureKind
from jobs.forecast import forecast
from jobs.history import Job, RunRecord, RunState
from jobs.policy import Policy, PolicyName, VaultName
from jobs.reporting import Reporting
from jobs.slot import Line, Slot
from orchestrator import wiring
from orchestrator.cli import asked, printing
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger, LedgerError
from orchestrator.settings import Settings
from reports.document import Document, Section
from targets.host import is_alive

_GOOD: Final = (RunState.SUCCEEDED, RunState.PARTIAL)
_FINISHED: Final = (*_GOOD, RunState.FAILED, RunState.INTERRUPTED)
_A_WHILE: Final = timedelta(minutes=1)
_HINDSIGHT: Final = (
    Section(
        key="hindsight",
        title="",
        paragraphs=("That time is past: the ledger is as it is now, and what was due until now has slots already.",),
    ),
)
_Place = tuple[PolicyName, Job, VaultName]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """What the ledger holds; of one that is not there, nothing."""

    is_there: bool
    lines: Sequence[Line] = ()
    slots: Sequence[Slot] = ()
    under_way: Sequence[RunRecord] = ()
    good: Mapping[_Place, RunRecord]
    backups: Iterable[RunRecord] = ()
    closed: Mapping[str, Slot]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wanted:
    """What is to be planned: some policies or all, and those that are gone; at a time, and for how long after it."""

    names: Sequence[PolicyName]
    all: bool
    at: datetime
    horizon: timedelta | None


def plan(arguments: argparse.Namespace, _stop: threading.Event) -> int:
    """Print it; nothing is done and nothing written."""
    settings = asked.load(arguments)
    names = asked.named(settings, arguments.policies)
    today = Clock().now()
    now = asked.moment("--at", arguments.at, settings.service.zone, begin=True) or today
    horizon = None if arguments.horizon is None else asked.duration("--for", arguments.horizon)
    known = _known(settings)
    late = known.is_there and now < today - _A_WHILE
    told = _told(settings, known, _Wanted(names=names, all=not arguments.policies, at=now, horizon=horizon))
    printing.show(arguments, replace(told, sections=(*_HINDSIGHT, *told.sections)) if late else told)
    return DONE


def _told(settings: Settings, known: _Known, wanted: _Wanted) -> Document:
    """All policies are planned, because they share repositories and limits; those that are wanted are shown."""
    from reports import schedule

    now, zone = wanted.at, settings.service.zone
    by_name = {policy.name: policy for policy in settings.policies}
    lines, slots = _as_of(known, settings.scheduled, now)
    situation = Situation(
        policies=by_name,
        related={**known.closed, **{slot.id: slot for slot in slots}},
        under_way=known.under_way,
        good=known.good,
        last_backups={run.policy: run for run in sorted(known.backups, key=lambda run: run.started_at)},
        limits=settings.limits.concurrency,
        reports={reporting.name: reporting for reporting in settings.reports},
        dead=tuple(run.id for run in known.under_way if is_alive(run.owner) is False),
    )
    if wanted.horizon is None:
        gone = sorted({slot.policy for slot in slots} - set(wanted.names)) if wanted.all else []
        return schedule.now([*wanted.names, *gone], lines, slots, dispatch(slots, situation, now), at=now, zone=zone)
    until = now + wanted.horizon
    durations = {place: (run.finished_at or run.started_at) - run.started_at for place, run in known.good.items()}
    planned = forecast(lines, slots, situation, durations, now, until)
    coming = tuple(each for each in planned if wanted.all or each.slot.policy in wanted.names)
    return schedule.coming(coming, at=now, until=until, zone=zone)


def _as_of(
    known: _Known, policies: Sequence[Policy | Reporting], now: datetime
) -> tuple[tuple[Line, ...], tuple[Slot, ...]]:
    """The lines that are in force then, and the slots that are open then, as `serve` would have made them."""
    slots = {slot.id: slot for slot in known.slots}
    lines = []
    for line in known.lines:
        more = True
        while more:
            born = births(line, now)
            for slot in born.slots:
                slots.setdefault(slot.id, slot)
            line, more = replace(line, cursor=born.cursor), born.more
        lines.append(line)
    changed = changes(lines, policies, now)
    for slot in changed.slots:
        slots.setdefault(slot.id, slot)
    ended = {number for number, _ in changed.ended}
    begun = (replace(line, id=-number) for number, line in enumerate(changed.begun, start=1))
    return (*(line for line in lines if line.id not in ended), *begun), tuple(slots.values())


def _known(settings: Settings) -> _Known:
    try:
        with Ledger.open(wiring.ledger_url(settings), create=False, now=Clock().now()) as ledger:
            return _asked(ledger, {policy.name: policy for policy in settings.policies})
    except LedgerError as error:
        if error.kind is not FailureKind.LEDGER_MISSING:
            raise
        return _Known(is_there=False, good={}, closed={})


def _asked(ledger: Ledger, policies: Mapping[PolicyName, Policy]) -> _Known:
    slots = ledger.open_slots()
    wanted = {each for slot in slots for each in related_ids(slot, policies)} - {slot.id for slot in slots}
    return _Known(
        is_there=True,
        lines=ledger.lines_in_force(),
        slots=slots,
        under_way=ledger.open_runs(),
        good=ledger.last_runs(_GOOD),
        backups=tuple(ledger.last_runs(_FINISHED, (Job.BACKUP,)).values()),
        closed={slot.id: slot for each in sorted(wanted) if (slot := ledger.slot(each)) is not None},
    )

"""`plan`: what `serve` would do at a time, and for as long after it as one asks. It decides by the same rules."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from jobs.agenda import births, changes
from jobs.dispatch import Situation, dispatch, related_ids
from jobs.failure import DONE, FailureKind
from jobs.forecast import forecast
from jobs.history import Job, RunRecord, RunState
from jobs.policy import Policy, PolicyName, VaultName
from jobs.slot import Line, Slot
from orchestrator import wiring
from orchestrator.cli import asked, printing
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger, LedgerError
from orchestrator.settings import Settings
from reports.document import Document

_GOOD: Final = (RunState.SUCCEEDED, RunState.PARTIAL)
_FINISHED: Final = (*_GOOD, RunState.FAILED, RunState.INTERRUPTED)
_Place = tuple[PolicyName, Job, VaultName]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """What the ledger holds; of one that is not there, nothing."""

    lines: Sequence[Line] = ()
    slots: Sequence[Slot] = ()
    under_way: Sequence[RunRecord] = ()
    good: Mapping[_Place, RunRecord]
    backups: Iterable[RunRecord] = ()
    closed: Mapping[str, Slot]


def plan(arguments: argparse.Namespace, _stop: threading.Event) -> int:
    """Print it; nothing is done and nothing written."""
    settings = asked.load(arguments)
    policies = asked.chosen(settings, arguments.policies)
    now = asked.moment("--at", arguments.at, settings.service.zone) or Clock().now()
    horizon = None if arguments.horizon is None else asked.duration("--for", arguments.horizon)
    printing.show(arguments, _told(settings, {policy.name for policy in policies}, now, horizon))
    return DONE


def _told(settings: Settings, wanted: set[PolicyName], now: datetime, horizon: timedelta | None) -> Document:
    """All policies are planned, because they share repositories and limits; those that are wanted are shown."""
    from reports import schedule

    known = _known(settings)
    by_name = {policy.name: policy for policy in settings.policies}
    lines, slots = _as_of(known, settings.policies, now)
    situation = Situation(
        policies=by_name,
        related={**known.closed, **{slot.id: slot for slot in slots}},
        under_way=known.under_way,
        good=known.good,
        last_backups={run.policy: run for run in sorted(known.backups, key=lambda run: run.started_at)},
        limits=settings.limits.concurrency,
    )
    zone = settings.service.zone
    shown = [policy for policy in settings.policies if policy.name in wanted]
    if horizon is None:
        moves = dispatch(slots, situation, now)
        return schedule.now(shown, lines, slots, moves, at=now, zone=zone)
    durations = {place: (run.finished_at or run.started_at) - run.started_at for place, run in known.good.items()}
    planned = forecast(lines, slots, situation, durations, now, now + horizon)
    coming = tuple(each for each in planned if each.slot.policy in wanted)
    return schedule.coming(coming, at=now, until=now + horizon, zone=zone)


def _as_of(known: _Known, policies: Sequence[Policy], now: datetime) -> tuple[tuple[Line, ...], tuple[Slot, ...]]:
    """The lines that are in force then, and the slots that are open then, as `serve` would have made them."""
    changed = changes(known.lines, policies, now)
    ended = {number for number, _ in changed.ended}
    begun = [replace(line, id=-number) for number, line in enumerate(changed.begun, start=1)]
    slots = {slot.id: slot for slot in (*known.slots, *changed.slots)}
    lines = []
    for line in known.lines:
        for slot in _born(line, now):
            slots.setdefault(slot.id, slot)
    for line in (*(line for line in known.lines if line.id not in ended), *begun):
        cursor = max([line.cursor, *(slot.nominal for slot in slots.values() if slot.line == line.id)])
        lines.append(replace(line, cursor=cursor))
    return tuple(lines), tuple(slots.values())


def _born(line: Line, now: datetime) -> Iterator[Slot]:
    more = True
    while more:
        born = births(line, now)
        yield from born.slots
        line, more = replace(line, cursor=born.cursor), born.more


def _known(settings: Settings) -> _Known:
    try:
        with Ledger.open(wiring.ledger_url(settings), create=False, now=Clock().now()) as ledger:
            return _asked(ledger, {policy.name: policy for policy in settings.policies})
    except LedgerError as error:
        if error.kind is not FailureKind.LEDGER_MISSING:
            raise
        return _Known(good={}, closed={})


def _asked(ledger: Ledger, policies: Mapping[PolicyName, Policy]) -> _Known:
    slots = ledger.open_slots()
    wanted = {each for slot in slots for each in related_ids(slot, policies)} - {slot.id for slot in slots}
    return _Known(
        lines=ledger.lines_in_force(),
        slots=slots,
        under_way=ledger.open_runs(),
        good=ledger.last_runs(_GOOD),
        backups=tuple(ledger.last_runs(_FINISHED, (Job.BACKUP,)).values()),
        closed={slot.id: slot for each in sorted(wanted) if (slot := ledger.slot(each)) is not None},
    )

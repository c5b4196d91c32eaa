"""The pure planner on its own, in a process of its own: `python -m bench.deciding WHAT SETTINGS` prints its figures."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final

from jobs.agenda import births, lines_of
from jobs.dispatch import Concurrency, Situation, dispatch
from jobs.forecast import forecast
from jobs.history import Job, Owner, RunRecord, RunState
from jobs.policy import Policy
from jobs.slot import Line
from orchestrator import settings as settings_room

_BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
_NOON: Final = _BEGIN + timedelta(hours=12)  # every window is open
_DAY: Final = timedelta(days=1)
_LIMITS: Final = Concurrency(runs=8)
Figures = Mapping[str, float | int | str]


def _due(policies: Sequence[Policy]) -> Figures:
    """A day's moment of every backup at once: making the slots, and answering each of them."""
    found = [line for policy in policies for line in lines_of(policy, _NOON) if line.job is Job.BACKUP]
    lines = [replace(line, id=number) for number, line in enumerate(found, start=1)]
    now = _NOON + _DAY
    began = time.perf_counter()
    slots = [slot for line in lines for slot in births(line, now).slots]
    born = time.perf_counter() - began
    good = {line.key: _good(line) for line in lines}
    known = Situation(
        policies={policy.name: policy for policy in policies},
        related={},
        under_way=(),
        good=good,
        last_backups={run.policy: run for run in good.values()},
        limits=_LIMITS,
    )
    began = time.perf_counter()
    moves = dispatch(slots, known, now)
    answered = len(moves.closings) + len(moves.starts) + len(moves.waits)
    return {
        "lines": len(lines),
        "births": born,
        "slots": len(slots),
        "answered": answered,
        "started": len(moves.starts),
        "dispatch": time.perf_counter() - began,
    }


def _good(line: Line) -> RunRecord:
    ended = _BEGIN - timedelta(hours=1)
    return RunRecord(
        id=f"run-{line.id}",
        job=line.job,
        tenant=line.tenant,
        policy=line.policy,
        site=line.site,
        vault=line.vault,
        settings_hash=line.settings_hash,
        state=RunState.SUCCEEDED,
        owner=Owner(host="bench", boot="", pid=1, started=""),
        started_at=ended,
        finished_at=ended,
    )


def _year(policies: Sequence[Policy]) -> Figures:
    """Everything that happens in a year, and the hash of a line of text for each slot."""
    lines = [line for policy in policies for line in lines_of(policy, _BEGIN)]
    known = Situation(
        policies={policy.name: policy for policy in policies},
        related={},
        under_way=(),
        good={},
        last_backups={},
        limits=_LIMITS,
    )
    hashed, states = sha256(), Counter[str]()
    began, used = time.perf_counter(), time.process_time()
    for each in forecast(lines, (), known, {}, _BEGIN, _BEGIN + 365 * _DAY):
        why = "" if each.why is None else each.why.text
        hashed.update(f"{each.slot.id} {each.state} {each.starts_at} {each.ends_at} {why}\n".encode())
        states[each.state.value] += 1
    return {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - used,
        "slots": states.total(),
        "sha256": hashed.hexdigest(),
        **states,
    }


def _cron(policies: Sequence[Policy]) -> Figures:
    """The same moments by APScheduler's cron triggers alone, one for each line: no windows, no turns, no slots."""
    from apscheduler.triggers.cron import CronTrigger

    found = 0
    triggers: list[CronTrigger] = []
    for line in (line for policy in policies for line in lines_of(policy, _BEGIN)):
        words = line.schedule.text.split()
        hour, minute = words[-1].split(":")
        weekday = {"day_of_week": words[2]} if words[0] == "weekly" else {}
        triggers.append(CronTrigger(hour=int(hour), minute=int(minute), second=0, timezone=line.zone, **weekday))
    began, used = time.perf_counter(), time.process_time()
    for trigger in triggers:
        found += sum(1 for _ in _fires(trigger.get_next_fire_time))
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - used, "moments": found}


def _fires(following: Callable[[datetime | None, datetime], datetime | None]) -> Iterator[datetime]:
    at = following(None, _BEGIN + timedelta(seconds=1))
    while at is not None and at <= _BEGIN + 365 * _DAY:
        yield at
        at = following(at, at)


_WHATS: Final[Mapping[str, Callable[[Sequence[Policy]], Figures]]] = MappingProxyType(
    {"due": _due, "year": _year, "cron": _cron}
)

if __name__ == "__main__":
    what, file = sys.argv[1:]
    sys.stdout.write(json.dumps(_WHATS[what](settings_room.load(Path(file), check_secrets=False).policies)))

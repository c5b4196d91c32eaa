"""`slots`: what was due and what became of it, counted twice."""

from __future__ import annotations

import argparse
import threading
from collections import Counter
from collections.abc import Collection, Mapping
from itertools import chain

from jobs.failure import DONE, JOB_FAILED
from jobs.history import Job
from jobs.slot import SlotState
from jobs.tally import Tally, tally
from orchestrator import wiring
from orchestrator.cli import asked, printing
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger


def slots(arguments: argparse.Namespace, _stop: threading.Event) -> int:
    """The newest slots that fit, and whether all of them add up; 4 when they do not."""
    settings = asked.load(arguments)
    zone = settings.service.zone
    since, until = asked.moment("--since", arguments.since, zone), asked.moment("--until", arguments.until, zone)
    states = [SlotState(state) for state in arguments.state] or None
    with Ledger.open(wiring.ledger_url(settings), create=False, now=Clock().now()) as ledger:
        by_job = _by_job(ledger, arguments.policies)
        counted = _counted(ledger, arguments.policies, by_job)
        parts = [
            ledger.slots(policy=policy, states=states, since=since, until=until, limit=arguments.limit)
            for policy in arguments.policies or [None]
        ]
    from reports import slots as told

    newest = sorted(chain.from_iterable(parts), key=lambda slot: (slot.due, slot.id), reverse=True)
    printing.show(arguments, told.slots(newest[: arguments.limit], counted, by_job, zone=zone))
    return DONE if counted.adds_up else JOB_FAILED


def _by_job(ledger: Ledger, policies: Collection[str]) -> dict[Job, Mapping[SlotState, int]]:
    """How many slots each job has in each state. A policy that the settings no longer hold has a past all the same."""
    names: tuple[str | None, ...] = tuple(policies) or (None,)
    return {
        job: sum((Counter(ledger.slot_counts(job=job, policy=policy)) for policy in names), Counter()) for job in Job
    }


def _counted(ledger: Ledger, policies: Collection[str], by_job: Mapping[Job, Mapping[SlotState, int]]) -> Tally:
    lines = [line for line in ledger.lines() if not policies or line.policy in policies]
    by_state = sum((Counter(states) for states in by_job.values()), Counter[SlotState]())
    return tally(lines, ledger.slot_keys, {state: by_state[state] for state in SlotState})

"""What becomes of every open slot now: closed, started, or waiting, each with its reason. Every one exactly once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from jobs.history import Job
from jobs.moves import Closing, Concurrency, Moves, Situation, Start, Wait
from jobs.plan import step_of
from jobs.planner import CYCLE
from jobs.policy import Policy, PolicyName
from jobs.ruling import Facts, Ready, awaited, rule, still
from jobs.slot import Slot, SlotState, Why, WhyKind
from jobs.turns import Turns

__all__ = ["Closing", "Concurrency", "Moves", "Situation", "Start", "Wait", "dispatch", "related_ids"]

_ITS_TURN: Final = Why(kind=WhyKind.LIMIT, text="it is not its turn yet")


def related_ids(slot: Slot, policies: Mapping[PolicyName, Policy]) -> tuple[str, ...]:
    """The ids of the slots that dispatch must be told of to answer this one, open or closed."""
    policy = policies.get(slot.policy)
    other = awaited(slot, policy) if policy is not None else None
    return () if other is None else (other,)


def dispatch(slots: Sequence[Slot], known: Situation, now: datetime) -> Moves:
    """Answer every open slot once. Everything that became due by `now` must be among them: its births come first."""
    due = sorted((slot for slot in slots if slot.state is SlotState.DUE), key=in_order)
    facts = Facts(known.policies, known.good, known.last_backups)
    for slot in (*known.related.values(), *slots):
        facts.is_there(slot, now)
    closings: list[Closing] = []
    waits: list[Wait] = []
    ready: list[Ready] = []
    for slot in due:  # who is waited for comes before who waits, so that a chain ends at once
        answer = rule(slot, facts, now)
        if isinstance(answer, Closing):
            facts.ended(slot.id, answer.state, now)
            closings.append(answer)
        elif isinstance(answer, Wait):
            waits.append(answer)
        else:
            ready.append(answer)
    starts, behind = _in_turn(ready, Turns(known.limits, known.under_way), now)
    return Moves(closings=tuple(closings), starts=tuple(starts), waits=(*waits, *behind))


def in_order(slot: Slot) -> tuple[int, datetime, str]:
    """Sorts who is waited for before who waits."""
    return (CYCLE.index(slot.job), slot.due, slot.id)


def _in_turn(ready: list[Ready], turns: Turns, now: datetime) -> tuple[list[Start], list[Wait]]:
    """Start as many as may, the most urgent first."""
    for each in ready:
        turns.enter(each, now)
    starts: list[Start] = []
    while (next_one := turns.next(now)) is not None:
        starts.append(start(next_one, turns, now))
    begun = {each.slot.id for each in starts}
    waits = []
    for each in ready:
        if each.slot.id not in begun:
            obstacle = turns.obstacle(each, now)
            waits.append(Wait(slot=each.slot, why=still(each.slot, obstacle.why if obstacle else _ITS_TURN)))
    return starts, waits


def start(ready: Ready, turns: Turns, now: datetime) -> Start:
    """Give it its turn."""
    slot = ready.slot
    read_data = turns.read_data(slot) if slot.job is Job.CHECK else "none"
    turns.leave(slot, now)
    turns.begins(slot)
    step = step_of(ready.policy, slot.job, (slot.site, slot.vault), source=slot.source_vault, read_data=read_data)
    return Start(slot=slot, step=step)

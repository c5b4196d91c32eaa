"""What becomes of every open slot now: closed, started, or waiting, each with its reason. Every one exactly once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from jobs.history import Job
from jobs.moves import Closing, Concurrency, Moves, Situation, Start, Wait
from jobs.plan import step_of
from jobs.planner import CYCLE
from jobs.policy import Policy, PolicyName
from jobs.ruling import Facts, Ready, awaited, rule, still
from jobs.slot import Slot, SlotState, Why
from jobs.turns import Turns

__all__ = ["Closing", "Concurrency", "Moves", "Situation", "Start", "Wait", "dispatch", "related_ids"]


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
        turns.enter(each)
    starts: list[Start] = []
    kept: dict[str, Why | None] = {}  # None: it starts

    def ask(each: Ready) -> None:
        obstacle = turns.obstacle(each, now)
        if obstacle is None:
            starts.append(start(each, turns))
            kept[each.slot.id] = None
            return
        if obstacle.behind is not None and obstacle.behind.slot.id not in kept:
            ask(obstacle.behind)
        kept[each.slot.id] = obstacle.why

    for each in sorted(ready, key=lambda each: each.rank):
        if each.slot.id not in kept:
            ask(each)
    waits = [Wait(slot=each.slot, why=still(each.slot, why)) for each in ready if (why := kept[each.slot.id])]
    return starts, waits


def start(ready: Ready, turns: Turns) -> Start:
    """Give it its turn."""
    slot = ready.slot
    read_data = turns.read_data(slot) if slot.job is Job.CHECK else "none"
    turns.leave(slot)
    turns.begins(slot)
    step = step_of(ready.policy, slot.job, (slot.site, slot.vault), source=slot.source_vault, read_data=read_data)
    return Start(slot=slot, step=step)

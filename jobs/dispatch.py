"""What becomes of every open slot now: closed, started, or waiting, each with its reason. Every one exactly once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from jobs.facts import Facts, awaited
from jobs.history import Job
from jobs.moves import Closing, Concurrency, Moves, Situation, Start, Wait
from jobs.plan import report_step, step_of
from jobs.policy import Policy, PolicyName
from jobs.reporting import Reporting
from jobs.ruling import ORDER, Ready, rule, still
from jobs.slot import Slot, SlotState, Why, WhyKind
from jobs.turns import Turns

__all__ = ["Closing", "Concurrency", "Moves", "Situation", "Start", "Wait", "dispatch", "over", "related_ids"]

_ITS_TURN: Final = Why(kind=WhyKind.LIMIT, text="it is not its turn yet")


def related_ids(slot: Slot, policies: Mapping[PolicyName, Policy]) -> tuple[str, ...]:
    """The ids of the slots that dispatch must be told of to answer this one, open or closed."""
    policy = policies.get(slot.policy)
    other = awaited(slot, policy) if policy is not None else None
    return () if other is None else (other,)


def dispatch(slots: Sequence[Slot], known: Situation, now: datetime) -> Moves:
    """Answer every open slot once. Everything that became due by `now` must be among them: its births come first."""
    facts = Facts(known.policies, known.good, known.last_backups, known.reports)
    closings, waits, ready = _answered(slots, known, facts, now)
    starts, behind = _in_turn(ready, Turns(known.limits, known.under_way, known.dead), now)
    if any([facts.begins(each.slot) for each in starts]):
        waits, more = _stood_for(waits, facts, now)
        closings += more
    return Moves(closings=tuple(closings), starts=tuple(starts), waits=(*waits, *behind))


def over(slots: Sequence[Slot], known: Situation, now: datetime) -> tuple[Closing, ...]:
    """Only what ends at once, whoever's turn it is: what dispatch says of it too.

    All open slots of a policy must be among them, or none; other policies' change nothing.
    """
    facts = Facts(known.policies, known.good, known.last_backups, known.reports)
    return tuple(_answered(slots, known, facts, now)[0])


def _answered(
    slots: Sequence[Slot], known: Situation, facts: Facts, now: datetime
) -> tuple[list[Closing], list[Wait], list[Ready]]:
    due = sorted((slot for slot in slots if slot.state is SlotState.DUE), key=in_order)
    # All before the first is answered: whether a newer one stands for it is asked of each.
    for slot in (*known.related.values(), *slots):
        facts.is_there(slot, now)
    closings: list[Closing] = []
    waits: list[Wait] = []
    ready: list[Ready] = []
    while due:  # who is waited for comes before who waits, so that a chain ends at once
        ended = []
        for slot in due:
            answer = rule(slot, facts, now)
            if isinstance(answer, Closing):
                facts.ended(slot.id, answer.state, now)
                ended.append(answer)
            elif isinstance(answer, Wait):
                waits.append(answer)
            else:
                ready.append(answer)
        closings += ended
        due, waits = _asked_again(waits) if any(facts.has_older(each.slot) for each in ended) else ([], waits)
    return closings, waits, ready


def _asked_again(waits: list[Wait]) -> tuple[list[Slot], list[Wait]]:
    """Those who may have waited for one that has ended since, in their order; and the others."""
    slots = sorted((wait.slot for wait in waits if wait.slot.after is not None), key=in_order)
    return slots, [wait for wait in waits if wait.slot.after is None]


def _stood_for(waits: list[Wait], facts: Facts, now: datetime) -> tuple[list[Wait], list[Closing]]:
    """Who still waits, and who ends, because the one that it stood back for has begun."""
    asked, still_waiting = _asked_again(waits)
    before = {wait.slot.id: wait for wait in waits}
    closings: list[Closing] = []
    for slot in asked:
        answer = rule(slot, facts, now)
        if isinstance(answer, Closing):
            facts.ended(slot.id, answer.state, now)
            closings.append(answer)
        else:
            still_waiting.append(before[slot.id])
    return still_waiting, closings


def in_order(slot: Slot) -> tuple[int, datetime, str]:
    """Sorts who is waited for before who waits."""
    return (ORDER[slot.job], slot.due, slot.id)


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
    if isinstance(ready.policy, Reporting):
        return Start(slot=slot, step=report_step(ready.policy))
    step = step_of(ready.policy, slot.job, (slot.site, slot.vault), source=slot.source_vault, read_data=read_data)
    return Start(slot=slot, step=step)

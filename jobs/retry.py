"""Retry is a decision: by the kind of failure, after a pause that grows, and never past the slot's end.

A stop or a crash says nothing about the work, so that what was cut off is taken up again at once and uses up no
attempt; but a run that kills its machine must not do so for ever, and is given up after five crashes in a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from types import MappingProxyType
from typing import Final

from jobs.failure import Failure, FailureKind
from jobs.history import Outcome, RunRecord, RunState
from jobs.schedule import splay
from jobs.slot import ENDS, Slot, SlotState, Why, WhyKind

ATTEMPTS: Final = 8
CRASHES: Final = 5
PAUSES: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 30, 60))  # the last one from then on
_SPREAD: Final = 5  # a pause is longer by up to a fifth, so that what failed together is not tried again together
LONGEST_PAUSE: Final = PAUSES[-1] * (_SPREAD + 1) / _SPREAD

# What somebody else's hold says nothing of the work either; at the end the slot is blocked, not failed.
_HELD: Final[Mapping[FailureKind, WhyKind]] = MappingProxyType(
    {FailureKind.BUSY: WhyKind.HELD, FailureKind.REPOSITORY_LOCKED: WhyKind.LOCKED}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotEnd:
    """What a run's end makes of its slot. DUE means another attempt, not before `retry_at`."""

    slot: str
    state: SlotState
    why: Why
    retry_at: datetime | None = None


def slot_end(slot: Slot, outcome: Outcome, run: str, now: datetime, before: Sequence[RunRecord] = ()) -> SlotEnd:
    """What becomes of a slot whose run (its `attempts`-th) ended so.

    `before` are the slot's earlier runs in the order they began; without them every earlier one counts against it.
    """
    if outcome.state is RunState.INTERRUPTED:
        return _cut_off(slot, outcome, run, now, before)
    if outcome.state is RunState.FAILED and outcome.failure is not None:
        return _failed(slot, outcome.failure, run, now, before)
    words = outcome.note or f"run {run} {ENDS[outcome.state]}"
    return SlotEnd(slot=slot.id, state=ENDS[outcome.state], why=Why(kind=WhyKind.RAN, text=words, other=run))


def _cut_off(slot: Slot, outcome: Outcome, run: str, now: datetime, before: Sequence[RunRecord]) -> SlotEnd:
    words = f"run {run} was cut off: {_words(outcome)}"
    ended = SlotEnd(
        slot=slot.id, state=SlotState.INTERRUPTED, why=Why(kind=WhyKind.RAN, text=words, other=run), retry_at=None
    )
    crashes = 1 + (sum(1 for _ in takewhile(_is_crash, reversed(before))) if before else max(slot.attempts - 1, 0))
    if not _in_time(slot, now) or (_is_crash(outcome) and crashes >= CRASHES):
        return ended
    return SlotEnd(
        slot=slot.id, state=SlotState.DUE, why=Why(kind=WhyKind.CUT_OFF, text=words, other=run), retry_at=now
    )


def _is_crash(ended: Outcome | RunRecord) -> bool:
    """Whether it was cut off, and not because Tandem was asked to stop."""
    stopped = ended.failure is not None and ended.failure.kind is FailureKind.CANCELLED
    return ended.state is RunState.INTERRUPTED and not stopped


def _failed(slot: Slot, failure: Failure, run: str, now: datetime, before: Sequence[RunRecord]) -> SlotEnd:
    attempt = 1 + sum(run.state is not RunState.INTERRUPTED for run in before) if before else max(slot.attempts, 1)
    again = now + pause(slot.id, attempt)
    held = _HELD.get(failure.kind)
    words = f"attempt {attempt} failed ({failure.kind}): {failure.message}"
    if failure.retryable and attempt < ATTEMPTS and _in_time(slot, again):
        why = Why(kind=held or WhyKind.RETRY, text=words, other=run)
        return SlotEnd(slot=slot.id, state=SlotState.DUE, why=why, retry_at=again)
    state = SlotState.FAILED if held is None else SlotState.BLOCKED
    return SlotEnd(slot=slot.id, state=state, why=Why(kind=held or WhyKind.RAN, text=words, other=run))


def pause(slot: str, attempt: int) -> timedelta:
    """How long to wait after the first, second, … failure; the same for the same slot, and another for others."""
    least = PAUSES[min(attempt, len(PAUSES)) - 1]
    return least + splay(slot, f"attempt {attempt}", least / _SPREAD)


def _in_time(slot: Slot, at: datetime) -> bool:
    """When it is too late for what came after another is for dispatch to say: it knows when that one ended."""
    return slot.after is not None or slot.until is None or at < slot.until


def _words(outcome: Outcome) -> str:
    return outcome.failure.message if outcome.failure is not None else outcome.note or "it left no word"

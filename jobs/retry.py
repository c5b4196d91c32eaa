"""Retry is a decision: by the kind of failure, after a pause that grows, and never past the slot's end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jobs.history import Outcome
from jobs.slot import Slot, SlotState, Why


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotEnd:
    """What a run's end makes of its slot. DUE means another attempt, not before `retry_at`."""

    slot: str
    state: SlotState
    why: Why
    retry_at: datetime | None = None


def slot_end(slot: Slot, outcome: Outcome, run: str, now: datetime) -> SlotEnd:
    """What becomes of a slot whose run (its `attempts`-th) ended so."""
    raise NotImplementedError

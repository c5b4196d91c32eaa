"""What was due: gathered from the ledger for whoever counts it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Final

from jobs.policy import TenantName
from jobs.slot import SlotState
from jobs.tally import tally
from orchestrator.ledger.ledger import Ledger
from reports.unattended import Unattended, as_of

_SPLAY: Final = timedelta(days=1)  # a slot is due this much after its moment, at most


def of_period(ledger: Ledger, start: datetime, end: datetime, tenant: TenantName | None) -> Unattended:
    """The slots whose moments lie in a time, as they stood at its end, counted twice; and what happened in it."""
    near = ledger.slots(tenant=tenant, since=start, until=end + _SPLAY)
    slots = [as_of(slot, end) for slot in near if start < slot.nominal <= end and slot.known_at <= end]
    states = Counter(slot.state for slot in slots)
    lines = [line for line in ledger.lines() if tenant in {None, line.tenant}]
    counted = tally(lines, ledger.slot_keys, {state: states[state] for state in SlotState}, since=start, until=end)
    return Unattended(counted=counted, slots=slots, events=ledger.events(since=start, until=end))

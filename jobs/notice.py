"""Who is told what of an event, and when again: routing, deduplication, digest. Decided here, delivered elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from jobs.event import Severity, Topic
from jobs.policy import TenantName
from jobs.schedule import Schedule


class NoticeState(StrEnum):
    """`pending` is tried until it is delivered, or given up after three days."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given-up"


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """What one channel wants to be told. `tenants` None: of all, and of what belongs to none."""

    name: str
    on: frozenset[Topic]
    tenants: frozenset[TenantName] | None = None
    repeat: timedelta = timedelta(hours=24)
    digest: Schedule | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """One message to one channel."""

    id: int = 0
    channel: str
    made_at: datetime
    key: str  # what repeats of the same trouble share
    severity: Severity
    tenant: TenantName | None = None
    subject: str
    body: str
    state: NoticeState = NoticeState.PENDING
    attempts: int = 0
    next_at: datetime
    delivered_at: datetime | None = None
    error: str = ""

"""Conditions that last: raised when they begin, cleared when they end, told once each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jobs.event import Severity, Topic
from jobs.policy import PolicyName, TenantName


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """One condition that holds. `key` tells it from every other; `raised_at` is when it was first seen."""

    key: str
    topic: Topic
    severity: Severity
    tenant: TenantName | None = None
    policy: PolicyName | None = None
    subject: str
    text: str
    raised_at: datetime

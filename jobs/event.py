"""What happened that somebody may want to be told, as values; the ledger keeps them in the order they happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from jobs.policy import PolicyName, TenantName


class Severity(StrEnum):
    """How loud: `info` is a record, `warning` wants a look, `critical` wants somebody now."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Topic(StrEnum):
    """What kind of thing happened; `[notify.*] on` names these."""

    SUCCEEDED = "succeeded"  # the states in which a slot ends
    PARTIAL = "partial"
    FAILED = "failed"
    MISSED = "missed"
    COALESCED = "coalesced"
    SKIPPED = "skipped"
    BLOCKED = "blocked"
    INTERRUPTED = "interrupted"
    DAMAGE_FOUND = "damage-found"  # a check or a restore test found what should not be
    OBJECTIVE_MISSED = "objective-missed"
    RECOVERED = "recovered"  # what was troubled is well again
    RETENTION_DEAD = "retention-dead"  # backups go well while retention or checks do not
    LOCK_STALE = "lock-stale"
    LOCK_REMOVED = "lock-removed"
    CLOCK_STEPPED = "clock-stepped"
    SERVE_STARTED = "serve-started"
    SERVE_STOPPED = "serve-stopped"
    SERVE_TOOK_OVER = "serve-took-over"
    SETTINGS_RELOADED = "settings-reloaded"
    SETTINGS_REFUSED = "settings-refused"
    RUN_GIVEN_UP = "run-given-up"
    DELIVERY_FAILED = "delivery-failed"
    INTERNAL = "internal"  # Tandem's own fault
    TEST = "test"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One thing that happened. `subject` is what it happened to (a slot, a lock, a vault); it may be told in mails:
    no secret is ever in it, and an event of one tenant names nothing of another. `key` is what repeats of the same
    trouble share, so that they can be told once."""

    id: int = 0  # the ledger's, in the order of happening; 0 before it is there
    at: datetime
    topic: Topic
    severity: Severity
    tenant: TenantName | None = None
    policy: PolicyName | None = None
    subject: str
    text: str
    key: str = ""

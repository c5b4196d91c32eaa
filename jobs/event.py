"""What happened that somebody may want to be told, as values; the ledger keeps them in the order they happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from jobs.failure import Failure, FailureKind
from jobs.policy import PolicyName, TenantName
from jobs.reporting import EVERYBODY, called
from jobs.slot import Slot, SlotState, Why


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
    RETENTION_DEAD = "retention-dead"  # backups go well while retention, checks or copies do not
    LOCK_STALE = "lock-stale"
    LOCK_REMOVED = "lock-removed"
    DISK_FILLING = "disk-filling"  # it lasts less than a week at the growth seen
    CLOCK_STEPPED = "clock-stepped"
    SERVE_STARTED = "serve-started"
    SERVE_STOPPED = "serve-stopped"
    SERVE_TOOK_OVER = "serve-took-over"
    OUTAGE = "outage"  # nothing ran for a while, and moments passed
    SETTINGS_RELOADED = "settings-reloaded"
    SETTINGS_REFUSED = "settings-refused"
    POLICIES_REMOVED = "policies-removed"
    RUN_GIVEN_UP = "run-given-up"
    LEDGER_TRIMMED = "ledger-trimmed"  # what is older than it is kept was removed
    DELIVERY_FAILED = "delivery-failed"
    CHANNEL_AWAY = "channel-away"  # it did not accept a message; a record of each time, where `delivery-failed` alarms
    CHANNEL_BACK = "channel-back"  # it accepted one again
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


# What a check or a restore test found, and not what kept it from looking.
DAMAGE: Final = frozenset(
    {
        FailureKind.REPOSITORY_DAMAGED,
        FailureKind.REPOSITORY_MISSING,
        FailureKind.REPOSITORY_FOREIGN,
        FailureKind.SOURCE_DAMAGED,
        FailureKind.DIFFERENCES_FOUND,
    }
)

SEVERITIES: Final[Mapping[Topic, Severity]] = MappingProxyType(
    {
        **dict.fromkeys(Topic, Severity.INFO),
        **dict.fromkeys(
            (
                Topic.PARTIAL,
                Topic.MISSED,
                Topic.BLOCKED,
                Topic.INTERRUPTED,
                Topic.LOCK_STALE,
                Topic.DISK_FILLING,
                Topic.CLOCK_STEPPED,
                Topic.SETTINGS_REFUSED,
                Topic.POLICIES_REMOVED,
                Topic.SERVE_TOOK_OVER,
                Topic.OUTAGE,
            ),
            Severity.WARNING,
        ),
        **dict.fromkeys(
            (
                Topic.FAILED,
                Topic.DAMAGE_FOUND,
                Topic.OBJECTIVE_MISSED,
                Topic.RETENTION_DEAD,
                Topic.DELIVERY_FAILED,
                Topic.INTERNAL,
            ),
            Severity.CRITICAL,
        ),
    }
)


def of_slot(slot: Slot, state: SlotState, why: Why, at: datetime, failure: Failure | None = None) -> Event:
    """What there is to tell of a slot's end."""
    topic = Topic.DAMAGE_FOUND if failure is not None and failure.kind in DAMAGE else Topic(state.value)
    advice = f" Next: {failure.advice}" if failure is not None else ""
    return Event(
        at=at,
        topic=topic,
        severity=SEVERITIES[topic],
        tenant=_tenant(slot),
        policy=slot.policy,
        subject=f"{slot.job} {called(slot.policy, slot.site)}",
        text=f"Due {slot.due:%Y-%m-%d %H:%M} UTC, {state}: {why.text}.{advice}",
        key="/".join(slot.line_key),
    )


def recovered(slot: Slot, at: datetime) -> Event:
    """A line whose slots had ended badly has one that ended well."""
    return Event(
        at=at,
        topic=Topic.RECOVERED,
        severity=SEVERITIES[Topic.RECOVERED],
        tenant=_tenant(slot),
        policy=slot.policy,
        subject=f"{slot.job} {called(slot.policy, slot.site)}",
        text=f"The slot due {slot.due:%Y-%m-%d %H:%M} UTC ended well, after trouble.",
        key="/".join(slot.line_key),
    )


def _tenant(slot: Slot) -> TenantName | None:
    return None if slot.tenant == EVERYBODY else slot.tenant


def of_service(topic: Topic, subject: str, text: str, at: datetime, *, key: str = "") -> Event:
    """What happened to the service as a whole, and to no tenant."""
    return Event(at=at, topic=topic, severity=SEVERITIES[topic], subject=subject, text=text, key=key or subject)


def took_over(term: int, text: str, at: datetime) -> Event:
    """Another scheduler serves from now on, in this term. Each take-over is a matter of its own."""
    return of_service(Topic.SERVE_TOOK_OVER, "serve", text, at, key=f"took-over/{term}")


def outage(since: datetime, until: datetime, moments: int) -> Event:
    """Tandem did not run from one instant to another, and so many moments came to be due meanwhile.

    An outage in which nothing was due is a record. Each is a matter of its own: a second one within a day is told too.
    """
    passed = {0: "no moment passed", 1: "1 moment passed"}.get(moments, f"{moments:,} moments passed")
    return Event(
        at=until,
        topic=Topic.OUTAGE,
        severity=SEVERITIES[Topic.OUTAGE] if moments else Severity.INFO,
        subject="serve",
        text=f"Tandem did not run from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC; {passed}.",
        key=f"outage/{since:%Y-%m-%dT%H:%M:%SZ}",
    )

"""Recovery points that went without a retention of Tandem's: told once, and asked for until they are there or given up.

Each is an event on record, of whoever first saw that it is not there; it stays open until another event of the same
subject closes it. So whoever merely looks can hide no loss from an audit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Final

from jobs.event import SEVERITIES, Event, Topic
from jobs.history import Job, KnownRepository, RecoveryPoint, RetentionResult, RunState
from jobs.policy import PolicyName, TenantName
from jobs.quantity import counted
from orchestrator.ledger.ledger import Ledger

_TOPICS: Final = (Topic.DAMAGE_FOUND, Topic.RECOVERED)
_BROKEN_OFF: Final = (RunState.RUNNING, RunState.FAILED, RunState.INTERRUPTED)
_ABBREVIATION: Final = 8
_HASH: Final = 16  # hex digits that tell one repository from another: its vault's name may change


def expected(ledger: Ledger, known: KnownRepository) -> frozenset[str]:
    """The snapshots that must be in a repository: those last seen there, and those that were lost from it.

    Not what a retention that broke off had set out to remove: nobody may have listed the repository since.
    """
    there = {point.snapshot for point in ledger.points(tenant=known.tenant, vault=known.vault)}
    return frozenset((there | still_lost(ledger, known).keys()) - _intended(ledger, known.tenant))


def unaccounted(ledger: Ledger, tenant: TenantName, points: Collection[RecoveryPoint]) -> tuple[RecoveryPoint, ...]:
    """Those of these points that no retention of ours had set out to remove."""
    intended = _intended(ledger, tenant) if points else frozenset[str]()
    return tuple(point for point in points if point.snapshot not in intended)


def _intended(ledger: Ledger, tenant: TenantName) -> frozenset[str]:
    """What retentions wanted to remove that have not ended well: those that have, have noted it themselves."""
    begun = (run.result for run in ledger.runs(tenant=tenant, job=Job.RETENTION, states=_BROKEN_OFF))
    return frozenset(name for result in begun if isinstance(result, RetentionResult) for name in result.intended)


def told(known: KnownRepository, lost: Collection[RecoveryPoint], now: datetime) -> list[Event]:
    """One event for each; those that one listing lacked are one matter, which is told once."""
    many = f", one of {counted(len(lost), 'recovery point')} that went" if len(lost) > 1 else ""
    return [
        Event(
            at=now,
            topic=Topic.DAMAGE_FOUND,
            severity=SEVERITIES[Topic.DAMAGE_FOUND],
            tenant=point.tenant,
            policy=point.policy,
            subject=_subject(known, point.snapshot),
            text=f"The recovery point of {point.time:%Y-%m-%d %H:%M} UTC is not there any more{many}; no retention of "
            f"Tandem's has removed it. Next: find out who did; put it back, or copy it from the other site.",
            key=f"{_prefix(known)}{min(each.snapshot for each in lost)[:_ABBREVIATION]}",
        )
        for point in lost
    ]


def still_lost(ledger: Ledger, known: KnownRepository) -> Mapping[str, Event]:
    """By the snapshot: the event of each that was lost from a repository, and is not there again or given up."""
    found: dict[str, Event] = {}
    for event in ledger.events(topics=_TOPICS, tenant=known.tenant):
        if event.key.startswith(_prefix(known)):
            snapshot = event.subject.split()[1]
            if event.topic is Topic.DAMAGE_FOUND:
                found[snapshot] = event
            else:
                found.pop(snapshot, None)
    return found


def settled(open_: Iterable[Event], text: str, now: datetime) -> list[Event]:
    """These losses are none any more, for a reason."""
    return [
        Event(
            at=now,
            topic=Topic.RECOVERED,
            severity=SEVERITIES[Topic.RECOVERED],
            tenant=loss.tenant,
            policy=loss.policy,
            subject=loss.subject,
            text=text,
            key=loss.key,
        )
        for loss in open_
    ]


def come_back(ledger: Ledger, known: KnownRepository, listed: Collection[RecoveryPoint], now: datetime) -> None:
    """Close the losses of what was listed, itself or as another copy of the same recovery point."""
    lost = still_lost(ledger, known)
    if not lost:
        return
    there = {name for point in listed for name in (point.snapshot, point.origin)}
    origins = {point.snapshot: point.origin for point in ledger.points_ever(now)}
    back = [event for name, event in lost.items() if {name, origins.get(name, name)} & there]
    ledger.add_events(settled(back, "The recovery point is there again.", now))


def give_up(ledger: Ledger, known: KnownRepository, policy: PolicyName, why: str, now: datetime) -> None:
    """A person's word that what this policy lost from a repository is not asked for any more."""
    lost = [event for event in still_lost(ledger, known).values() if event.policy == policy]
    ledger.add_events(settled(lost, f"The loss was accepted: {why}", now))


def _prefix(known: KnownRepository) -> str:
    return f"lost/{known.tenant}/{known.config_sha256[:_HASH]}/"


def _subject(known: KnownRepository, snapshot: str) -> str:
    return f"snapshot {snapshot} of {known.tenant}@{known.vault}"

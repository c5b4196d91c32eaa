"""From the ledger to a report's document: what was known at the end of its period, and nothing that came later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from jobs.failure import Failure, FailureKind
from jobs.history import Job, RunRecord
from jobs.period import Period
from jobs.policy import Policy, TenantName
from jobs.reporting import ReportKind
from jobs.tally import Ran
from orchestrator.ledger.ledger import Ledger, LedgerError
from orchestrator.reporting import due
from orchestrator.settings import Settings, is_of_report, policy_told
from reports.cover import Cover
from reports.document import Document
from reports.integrity import integrity

_NO_POLICY: Final = frozenset({Job.RESTORE, Job.REPORT})  # runs that say nothing of which policies were in force


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Which report is asked for: of what time (in which zone), of one tenant or all; and when and by what it is made.

    The period has begun by `now`.
    """

    period: Period
    zone: ZoneInfo
    now: datetime
    version: str  # Tandem's
    tenant: TenantName | None = None


def build(kind: ReportKind, asked: Asked, settings: Settings, ledger: Ledger) -> Document:
    """The report. Raises LedgerError."""
    return _BUILDERS[kind](asked, settings, ledger)


def _integrity(asked: Asked, settings: Settings, ledger: Ledger) -> Document:
    start, until = asked.period.start, asked.period.as_of(asked.now)
    seen = ledger.hindsight(start, until)
    ran = ledger.ran(start, until, tenant=asked.tenant)
    unattended = due.of_period(ledger, start, until, asked.tenant)
    is_over = until < asked.now
    policies = _as_they_stood(ledger, settings, asked.period, seen.runs, ran) if is_over else settings.policies
    newest = [*seen.runs, *filter(None, (ran.newest,))]
    cover = Cover(
        operator=settings.service.name,
        period=asked.period,
        now=asked.now,
        zone=asked.zone,
        tandem=asked.version,
        restic=max(newest, key=_age).tool if newest else "",
        settings_hash=_hash_of(policies, asked.tenant),
        tenants={name: each.title for name, each in settings.tenants.items()},
        sites={name: each.title for name, each in settings.sites.items()},
        tenant=asked.tenant,
        kept_since=due.kept_since(ledger, start, asked.now - settings.keep, unattended.counted),
    )
    return integrity(cover, policies, seen.runs, seen.points, unattended, ran)


_BUILDERS: Final[Mapping[ReportKind, Callable[[Asked, Settings, Ledger], Document]]] = MappingProxyType(
    {ReportKind.INTEGRITY: _integrity}
)


def _age(run: RunRecord) -> tuple[object, str]:
    return run.started_at, run.id


def _hash_of(policies: Iterable[Policy], tenant: TenantName | None) -> str:
    """SHA-256 of the policies' own settings' hashes, sorted, a line each: what a report's figures were judged by."""
    hashes = sorted(policy.settings_hash for policy in policies if tenant in {None, policy.tenant})
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _as_they_stood(
    ledger: Ledger, settings: Settings, over: Period, runs: Iterable[RunRecord], ran: Ran
) -> tuple[Policy, ...]:
    """The policies of a period that is over, as they were last known in it: a later edit changes no past figure.

    A policy is known from the first command that did any work under its settings, whether it ever ran itself or not.
    One that is gone from the settings, and of which nothing was heard in the period, was gone.
    """
    known, heard = {}, []
    for settings_hash, text, moment in ledger.settings_before(over.end):
        if not is_of_report(text):
            known[settings_hash] = _policy(ledger, settings_hash, text)
            heard.append((moment, settings_hash))
    heard += [(run.started_at, run.settings_hash) for run in runs if run.job not in _NO_POLICY]
    heard += [(moment, settings_hash) for settings_hash, moment in ran.heard.items()]
    today = {policy.name for policy in settings.policies}
    last = {}
    for moment, settings_hash in sorted(heard):
        policy = known.get(settings_hash) or _policy(ledger, settings_hash, ledger.settings_text(settings_hash))
        if policy.name in today or moment in over:
            last[policy.name] = policy
    return tuple(last.values())


def _policy(ledger: Ledger, settings_hash: str, text: str | None) -> Policy:
    """What was remembered of a policy. Raises LedgerError: leaving it out would make a report look better."""
    try:
        policy = policy_told(text or "")
    except ValueError as cause:
        raise _unreadable(ledger, settings_hash) from cause
    if policy.settings_hash != settings_hash:
        raise _unreadable(ledger, settings_hash)
    return policy


def _unreadable(ledger: Ledger, settings_hash: str) -> LedgerError:
    message = f"read the ledger {ledger.label}: the settings that {settings_hash} stands for cannot be read"
    return LedgerError(Failure(kind=FailureKind.LEDGER_DAMAGED, message=message))

"""The verbs that only look: `status`, `snapshots`, `runs`, `report`."""

from __future__ import annotations

import argparse
import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from jobs import period
from jobs.failure import DONE, OBJECTIVE_MISSED, Failure, FailureKind
from jobs.history import Job, RunRecord, RunState
from jobs.integrity import Assessment, assess
from jobs.period import Period
from jobs.policy import Policy, TenantName, Timetable
from orchestrator import wiring
from orchestrator.cli import asked, due, printing
from orchestrator.cli.endings import UsageError
from orchestrator.cli.parser import VERSION
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Busy, Ledger, LedgerError
from orchestrator.settings import Settings, SettingsError, policy_told
from reports import checks, listing
from targets.host import is_alive

_DAY: Final = timedelta(hours=24)
_NOTICES: Final = timedelta(days=4)  # they are given up after three


@contextmanager
def _opened(settings: Settings) -> Iterator[Ledger]:
    """The ledger as it is; looking never makes one. Raises LedgerError (LEDGER_MISSING)."""
    with Ledger.open(wiring.ledger_url(settings), create=False, now=Clock().now()) as ledger:
        yield ledger


def status(arguments: argparse.Namespace, _stop: threading.Event) -> int:
    """Every policy at every site in one line each; 5 when one of them is not as promised."""
    if arguments.nagios:
        return _nagios(arguments)
    settings = asked.load(arguments)
    now = Clock().now()
    runs, judged, service = _seen(settings, now)
    said = checks.of_service(service, now)
    zone, operator = settings.service.zone, settings.service.name
    printing.show(arguments, listing.status(judged, runs, said, now=now, zone=zone, operator=operator))
    return OBJECTIVE_MISSED if any(each.verdict.fails for each in judged) else DONE


def _nagios(arguments: argparse.Namespace) -> int:
    """The same as a plugin of Nagios's tells it, with such a plugin's exit code: 3 also where nothing can be seen."""
    now = Clock().now()
    try:
        _, judged, service = _seen(asked.load(arguments), now)
    except SettingsError as error:
        text, level = checks.unknown(f"the settings are not valid: {error}", "tandem config validate")
    except LedgerError as error:
        text, level = checks.unknown(error.failure.message, error.failure.advice)
    else:
        found = checks.checks(judged, service, now)
        text, level = checks.nagios(found)
        if arguments.json:
            printing.show(arguments, checks.document(found))
            return int(level)
    printing.say(text)
    return int(level)


def _seen(settings: Settings, now: datetime) -> tuple[Sequence[RunRecord], Sequence[Assessment], checks.Service]:
    with _opened(settings) as ledger:
        seen = ledger.glance(now)
        service = _service(ledger, settings, now)
    return seen.runs, assess(settings.policies, seen.runs, seen.points, now), service


def _service(ledger: Ledger, settings: Settings, now: datetime) -> checks.Service:
    lease = ledger.lease()
    return checks.Service(
        scheduled=any(policy.timetable != Timetable() for policy in settings.policies),
        lease=lease,
        alive=None if lease is None else is_alive(lease.owner),
        day=ledger.slot_counts(since=now - _DAY, until=now),
        alarms=ledger.alarms(),
        channels=[channel.name for channel in settings.notify],
        notices=ledger.notices(since=now - _NOTICES),
    )


def runs(arguments: argparse.Namespace, _stop: threading.Event) -> int:
    """What ran, newest first; with --run one of them alone."""
    settings = asked.load(arguments)
    policies = asked.chosen(settings, arguments.policies)
    with _opened(settings) as ledger:
        if arguments.give_up is not None:
            found = _given_up(ledger, arguments)
        elif arguments.run:
            found = _one(ledger, arguments.run)
        else:
            found = ledger.runs(limit=arguments.limit)
            if arguments.policies:
                each = (ledger.runs(policy=policy.name, limit=arguments.limit) for policy in policies)
                newest = sorted((run for runs in each for run in runs), key=_age, reverse=True)
                found = tuple(newest[: arguments.limit])
    printing.show(arguments, listing.runs(found, now=Clock().now(), zone=settings.service.zone))
    return DONE


def _given_up(ledger: Ledger, arguments: argparse.Namespace) -> tuple[RunRecord, ...]:
    """A person's word that nothing of a run is at work any more. Raises Busy where its process is seen to live."""
    if not arguments.run:
        raise UsageError("--give-up needs --run ID: which run nobody works on any more")
    (record,) = _one(ledger, arguments.run)
    if record.state is not RunState.RUNNING:
        raise UsageError(f"run {record.id} is {record.state}: there is nothing to give up")
    if is_alive(record.owner):
        message = f"run {record.id} is being worked on by process {record.owner.pid} of this host: end that first"
        raise Busy(Failure(kind=FailureKind.BUSY, message=message), record)
    ledger.give_up(record.id, Clock().now(), arguments.give_up)
    return _one(ledger, arguments.run)


def _one(ledger: Ledger, run: str) -> tuple[RunRecord, ...]:
    record = ledger.run(run)
    if record is None:
        raise UsageError(f"there is no run {run!r} in the ledger; list them with: tandem runs")
    return (record,)


def _age(run: RunRecord) -> tuple[object, str]:
    return run.started_at, run.id


def snapshots(arguments: argparse.Namespace, stop: threading.Event) -> int:
    """The policy's recovery points as the vaults list them now; the ledger is brought in line."""
    from orchestrator.cli.session import at_work
    from orchestrator.work import repositories

    settings = asked.load(arguments)
    (policy,) = asked.chosen(settings, arguments.policies)
    site = asked.site(settings, arguments.site, [policy])
    with at_work(arguments, settings, stop) as session:
        tools = session.tools
        for at, vault in policy.places:
            if site in {None, at}:
                of = repositories.existing(tools, policy.tenant, vault)
                listed = repositories.ours(tools, of, policy.name)
                repositories.note_points(tools, (policy.tenant, at, vault), policy.name, listed)
        now = tools.clock.now()
        points = [point for point in tools.ledger.points(policy=policy.name, at=now) if site in {None, point.site}]
        newest_first = sorted(points, key=lambda point: (point.time, point.site), reverse=True)
    printing.show(arguments, listing.snapshots(newest_first, now=now, zone=settings.service.zone))
    return DONE


def report(arguments: argparse.Namespace, _stop: threading.Event) -> int:
    """The integrity report. 0 even where it is red: the report was made. See `status` for a code that judges."""
    from reports.cover import Cover
    from reports.integrity import integrity

    settings = asked.load(arguments)
    now = Clock().now()
    service = settings.service
    text = arguments.period or now.astimezone(service.zone).strftime("%Y-%m")
    try:
        asked_for = period.parse(text, service.zone)
        asked_for.as_of(now)
    except ValueError as mistake:
        raise UsageError(str(mistake)) from mistake
    with _opened(settings) as ledger:
        until = asked_for.as_of(now)
        seen = ledger.hindsight(asked_for.start, until)
        records, points = seen.runs, seen.points
        tenant = asked.tenant(settings, arguments.tenant)
        unattended = due.of_period(ledger, asked_for.start, until, tenant)
        policies = settings.policies if until == now else _as_they_stood(ledger, settings, asked_for, records)
    cover = Cover(
        operator=service.name,
        period=asked_for,
        now=now,
        zone=service.zone,
        tandem=VERSION,
        restic=max(records, key=_age).tool if records else "",
        settings_hash=_hash_of(policies, tenant),
        tenants={name: each.title for name, each in settings.tenants.items()},
        sites={name: each.title for name, each in settings.sites.items()},
        tenant=tenant,
    )
    document = integrity(cover, policies, records, points, unattended)
    form = "json" if arguments.json and arguments.format == "text" else arguments.format
    if form == "text" and arguments.output is None:
        printing.show(arguments, document)
    else:
        printing.write(printing.rendered(document, form), arguments.output)
    return DONE


def _hash_of(policies: Iterable[Policy], tenant: TenantName | None) -> str:
    """SHA-256 of the policies' own settings' hashes, sorted, a line each: what a report's figures were judged by."""
    hashes = sorted(policy.settings_hash for policy in policies if tenant in {None, policy.tenant})
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _as_they_stood(ledger: Ledger, settings: Settings, over: Period, runs: Iterable[RunRecord]) -> tuple[Policy, ...]:
    """The policies of a period that is over, as they were last known in it: a later edit changes no past figure.

    A policy is known from the first command that did any work under its settings, whether it ever ran itself or not.
    One that is gone from the settings, and of which nothing was heard in the period, was gone.
    """
    known, heard = {}, []
    for settings_hash, text, moment in ledger.settings_before(over.end):
        known[settings_hash] = _policy(ledger, settings_hash, text)
        heard.append((moment, settings_hash))
    heard += [(run.started_at, run.settings_hash) for run in runs if run.job is not Job.RESTORE]
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

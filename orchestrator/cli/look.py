"""The verbs that only look: `status`, `snapshots`, `runs`, `report`."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from jobs.failure import DONE, OBJECTIVE_MISSED, Failure, FailureKind
from jobs.history import RunRecord, RunState
from jobs.integrity import Assessment, assess
from jobs.policy import Timetable
from jobs.reporting import Form, ReportKind
from orchestrator import wiring
from orchestrator.cli import asked, printing
from orchestrator.cli.endings import UsageError
from orchestrator.cli.parser import VERSION
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Busy, Ledger, LedgerError
from orchestrator.settings import Settings, SettingsError
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
        scheduled=bool(settings.reports) or any(policy.timetable != Timetable() for policy in settings.policies),
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
    names = asked.named(settings, arguments.policies)
    with _opened(settings) as ledger:
        if arguments.give_up is not None:
            found = _given_up(ledger, arguments)
        elif arguments.run:
            found = _one(ledger, arguments.run)
        else:
            found = ledger.runs(limit=arguments.limit)
            if arguments.policies:
                each = (ledger.runs(policy=name, limit=arguments.limit) for name in names)
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
    from orchestrator.work import losses, repositories

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
                repository = tools.ledger.repository(policy.tenant, vault)
                if arguments.accept_lost and repository is not None:
                    losses.give_up(tools.ledger, repository, policy.name, arguments.accept_lost, tools.clock.now())
        now = tools.clock.now()
        points = [point for point in tools.ledger.points(policy=policy.name, at=now) if site in {None, point.site}]
        newest_first = sorted(points, key=lambda point: (point.time, point.site), reverse=True)
    printing.show(arguments, listing.snapshots(newest_first, now=now, zone=settings.service.zone))
    return DONE


def report(arguments: argparse.Namespace, stop: threading.Event) -> int:
    """The report of a period. 0 even where it is red: the report was made. See `status` for a code that judges."""
    if arguments.subject == "scheduled":
        from orchestrator.cli.scheduled import scheduled

        return scheduled(arguments, stop)
    if arguments.name is not None:
        raise UsageError(f"{arguments.name!r}: only `tandem report scheduled` takes the name of a report")
    from orchestrator.reporting.building import Asked, build
    from orchestrator.reporting.forms import rendered

    settings = asked.load(arguments)
    now = Clock().now()
    zone = settings.service.zone
    text = arguments.period or now.astimezone(zone).strftime("%Y-%m")
    wanted = Asked(
        period=asked.period(text, zone, now),
        zone=zone,
        now=now,
        version=VERSION,
        tenant=asked.tenant(settings, arguments.tenant),
    )
    with _opened(settings) as ledger:
        document = build(ReportKind(arguments.subject), wanted, settings, ledger)
    form = Form(arguments.format or Form.TEXT)
    form = Form.JSON if arguments.json and form is Form.TEXT else form
    if form is Form.TEXT and arguments.output is None:
        printing.show(arguments, document)
    else:
        printing.write(rendered(document, form), arguments.output)
    return DONE

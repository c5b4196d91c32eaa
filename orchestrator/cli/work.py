"""The verbs that do something: `run`, and each job by its name."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from jobs.failure import DONE, INTERNAL, INTERRUPTED, JOB_FAILED, PARTIAL, FailureKind
from jobs.history import Job, KnownRepository, RunRecord, RunState
from jobs.plan import Plan, Skip
from jobs.planner import CYCLE
from jobs.planner import plan as make_plan
from jobs.policy import Policy, PolicyName, SiteName
from orchestrator.cli import asked, printing
from orchestrator.cli.endings import UsageError
from orchestrator.cli.session import Session, at_work
from orchestrator.clock import Clock
from orchestrator.executor import WITHOUT_RESTIC, execute, record_refusals
from orchestrator.ledger.ledger import LedgerError
from orchestrator.recovery import Repository, recover
from orchestrator.settings import Settings
from orchestrator.settings.units import parse_share
from orchestrator.work import repositories, retention
from orchestrator.work.tools import Tools

if TYPE_CHECKING:
    from reports.document import Document

JOBS: Final = {
    "backup": Job.BACKUP,
    "replicate": Job.REPLICATE,
    "audit": Job.AUDIT,
    "check": Job.CHECK,
    "test-restore": Job.RESTORE_TEST,
    "retention": Job.RETENTION,
}
# How an attempt can have ended: what was blocked or skipped was none.
_FINISHED: Final = (RunState.SUCCEEDED, RunState.PARTIAL, RunState.FAILED, RunState.INTERRUPTED)
_BEGUN_ANEW: Final = "begun anew: the former repository was given up"


def run(arguments: argparse.Namespace, stop: threading.Event) -> int:
    """Every job of the cycle, for all policies or the named ones."""
    return _work(arguments, stop, CYCLE)


def job(arguments: argparse.Namespace, stop: threading.Event) -> int:
    """One job of one policy."""
    return _work(arguments, stop, (JOBS[arguments.verb],))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """What the command line asks for: jobs of policies, at one site or at all, of one snapshot or the newest."""

    policies: tuple[Policy, ...]
    jobs: Sequence[Job]
    site: SiteName | None
    snapshot: str | None
    begin_anew: bool

    @property
    def by_name(self) -> dict[PolicyName, Policy]:
        """The policies by name."""
        return {policy.name: policy for policy in self.policies}


def _work(arguments: argparse.Namespace, stop: threading.Event, jobs: Sequence[Job]) -> int:
    settings = asked.load(arguments)
    policies = tuple(_as_asked(policy, arguments) for policy in asked.chosen(settings, arguments.policies))
    ask = _Asked(
        policies=policies,
        jobs=_wanted(jobs, policies),
        site=asked.site(settings, getattr(arguments, "site", None), asked.chosen(settings, arguments.policies)),
        snapshot=getattr(arguments, "snapshot", None),
        begin_anew=getattr(arguments, "begin_anew", False),
    )
    printing.prepare(arguments)
    if arguments.dry_run:
        printing.show(arguments, _previewed(arguments, settings, ask, stop))
        return DONE
    with at_work(arguments, settings, stop, needs_restic=not WITHOUT_RESTIC.issuperset(ask.jobs)) as session:
        records, skips = _carried_out(session, ask)
    from reports import answers  # only now, and the result too: while the session lasts, progress has the terminal

    printing.show(arguments, answers.cycle(records, skips, now=session.tools.clock.now()))
    return exit_code(records, skips, stopped=stop.is_set())


def _wanted(jobs: Sequence[Job], policies: Iterable[Policy]) -> Sequence[Job]:
    """The jobs, without audits where no policy wants any: a plan has nothing to say of them then."""
    if len(jobs) == 1 or any(policy.is_audited for policy in policies):
        return jobs
    return tuple(job for job in jobs if job is not Job.AUDIT)


def _carried_out(session: Session, ask: _Asked) -> tuple[tuple[RunRecord, ...], tuple[Skip, ...]]:
    session.remember_settings()
    made = _planned(session.tools, ask)
    lost = _lost(session.tools, made) if ask.begin_anew else {}
    _explain_what_was_interrupted(session, made, lost=lost)
    made = _planned(session.tools, ask)  # what recovery found out may change it
    refused = [skip for skip in made.skips if skip.refused]
    record_refusals(refused, ask.by_name, ask.site, session.tools, session.owner)
    note, tools = _BEGUN_ANEW if ask.begin_anew else "", replace(session.tools, lost=lost)
    return execute(made, ask.by_name, tools, session.owner, session.announcements, note=note), made.skips


def _lost(tools: Tools, made: Plan) -> dict[Repository, KnownRepository | None]:
    """What the steps write, as it is known until their runs forget it. Raises TargetError where one stands there."""
    written = dict.fromkeys((step.tenant, step.vault) for step in made.steps)
    return {each: repositories.given_up(tools, *each) for each in written}


def _as_asked(policy: Policy, arguments: argparse.Namespace) -> Policy:
    """The policy, with the share of data to read that the command line asks for."""
    read_data = getattr(arguments, "read_data", None)
    if read_data is None:
        return policy
    try:
        return replace(policy, read_data=parse_share(read_data))
    except ValueError as mistake:
        raise UsageError(f"--read-data: {mistake}") from mistake


def _planned(tools: Tools, ask: _Asked) -> Plan:
    last = {policy.name: tools.ledger.last(policy.name, Job.BACKUP, states=_FINISHED) for policy in ask.policies}
    return _plan(ask, {name: record for name, record in last.items() if record is not None}, tools.clock.now())


def _plan(ask: _Asked, last_backups: Mapping[PolicyName, RunRecord], now: datetime) -> Plan:
    made = make_plan(ask.policies, ask.jobs, last_backups, now, site=ask.site)
    return replace(made, steps=tuple(replace(step, snapshot=ask.snapshot) for step in made.steps))


def _previewed(arguments: argparse.Namespace, settings: Settings, ask: _Asked, stop: threading.Event) -> Document:
    """The plan that would run. It makes no ledger: without one, nothing has ever run."""
    zone = settings.service.zone
    try:
        with at_work(arguments, settings, stop, create=False) as session:
            return _preview(session, _planned(session.tools, ask), ask)
    except LedgerError as error:
        if error.kind is not FailureKind.LEDGER_MISSING:
            raise
        from reports import listing

        return listing.plan(_plan(ask, {}, Clock().now()), zone=zone)


def _preview(session: Session, made: Plan, ask: _Asked) -> Document:
    """The plan; of a retention alone, each point with the reason why it stays or goes."""
    from reports import listing

    if not made.steps or ask.jobs != (Job.RETENTION,):
        return listing.plan(made, zone=session.zone)
    removals = [
        listing.Removal(
            tenant=step.tenant,
            policy=step.policy,
            site=step.site,
            vault=step.vault,
            decision=retention.preview(step, ask.by_name[step.policy], session.tools),
        )
        for step in made.steps
    ]
    return listing.retention(removals, zone=session.zone)


def _explain_what_was_interrupted(session: Session, made: Plan, *, lost: Collection[Repository]) -> None:
    touched = {(step.tenant, vault) for step in made.steps for vault in (step.vault, step.source_vault) if vault}
    works = {(step.policy, step.job) for step in made.steps}
    recovered = recover(session.tools, touched, works=works, tenants=session.settings.tenants, lost=lost)
    if recovered.still_open and len(made.steps) == 1:
        raise recovered.still_open[0][1]  # nothing else was asked for
    for record, error in recovered.still_open:
        printing.note(f"{record.job} {record.policy} ({record.id}) was cut off, and cannot be resolved yet: {error}")
    for record in recovered.resolved:
        printing.note(f"{record.job} {record.policy} ({record.id}) was cut off: {record.state}. {record.note}")


def exit_code(records: Sequence[RunRecord], skips: Iterable[Skip], *, stopped: bool) -> int:
    """The worst of what happened: interrupted, our own fault, a failure's code, a refusal, partial, done.

    What was blocked by another step of the same plan adds no code of its own: the other step tells it.
    """
    if stopped or any(record.state is RunState.INTERRUPTED for record in records):
        return INTERRUPTED
    failures = [record for record in records if record.state in {RunState.FAILED, RunState.BLOCKED}]
    if failures:
        codes = {record.failure.exit_code for record in failures if record.failure}
        if any(record.failure.kind is FailureKind.INTERNAL for record in failures if record.failure):
            return INTERNAL
        return codes.pop() if len(codes) == 1 else JOB_FAILED
    if any(skip.refused for skip in skips):
        return JOB_FAILED
    return PARTIAL if any(record.state is RunState.PARTIAL for record in records) else DONE

"""The verbs that do something: `run`, each job by its name, and `plan`, which only says what `run` would do."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from jobs.failure import DONE, INTERRUPTED, JOB_FAILED, PARTIAL
from jobs.history import Job, RunRecord, RunState
from jobs.plan import Plan, Skip
from jobs.planner import CYCLE
from jobs.planner import plan as make_plan
from jobs.policy import Policy, SiteName
from orchestrator.cli import asked, printing
from orchestrator.cli.endings import UsageError
from orchestrator.cli.session import Session, at_work
from orchestrator.executor import execute
from orchestrator.recovery import recover
from orchestrator.settings.units import parse_share
from orchestrator.work import repositories, retention
from reports import answers, listing

JOBS: Final = {
    "backup": Job.BACKUP,
    "replicate": Job.REPLICATE,
    "check": Job.CHECK,
    "test-restore": Job.RESTORE_TEST,
    "retention": Job.RETENTION,
}


def run(arguments: argparse.Namespace, stop: threading.Event) -> int:
    """Every job of the cycle, for all policies or the named ones."""
    return _work(arguments, stop, CYCLE)


def job(arguments: argparse.Namespace, stop: threading.Event) -> int:
    """One job of one policy."""
    return _work(arguments, stop, (JOBS[arguments.verb],))


def plan(arguments: argparse.Namespace, stop: threading.Event) -> int:
    """What `run` would do now."""
    arguments.dry_run = True
    return _work(arguments, stop, CYCLE)


def _work(arguments: argparse.Namespace, stop: threading.Event, jobs: Sequence[Job]) -> int:
    settings = asked.load(arguments)
    policies = [_as_asked(policy, arguments) for policy in asked.chosen(settings, arguments.policies)]
    site = asked.site(settings, getattr(arguments, "site", None))
    with at_work(arguments, settings, stop) as session:
        made = _planned(session, policies, jobs, site, arguments)
        if arguments.dry_run:
            return _preview(arguments, session, made, policies)
        if getattr(arguments, "begin_anew", False):
            for step in made.steps:
                repositories.begin_anew(session.tools, step.tenant, step.vault)
        _explain_what_was_interrupted(session, made)
        made = _planned(session, policies, jobs, site, arguments)
        _remember_settings(session, policies)
        by_name = {policy.name: policy for policy in policies}
        records = execute(made, by_name, session.tools, session.owner, session.announcements)
        printing.show(arguments, answers.cycle(records, made.skips, now=session.tools.clock.now(), zone=session.zone))
    return exit_code(records, made.skips, stopped=stop.is_set())


def _as_asked(policy: Policy, arguments: argparse.Namespace) -> Policy:
    """The policy, with the share of data to read that the command line asks for."""
    read_data = getattr(arguments, "read_data", None)
    if read_data is None:
        return policy
    try:
        return replace(policy, read_data=parse_share(read_data))
    except ValueError as mistake:
        raise UsageError(f"--read-data: {mistake}") from mistake


def _planned(
    session: Session,
    policies: Sequence[Policy],
    jobs: Iterable[Job],
    site: SiteName | None,
    arguments: argparse.Namespace,
) -> Plan:
    ledger = session.tools.ledger
    last = {policy.name: ledger.last(policy.name, Job.BACKUP, states=FINISHED) for policy in policies}
    known = {name: record for name, record in last.items() if record is not None}
    made = make_plan(policies, jobs, known, session.tools.clock.now(), site=site)
    snapshot = getattr(arguments, "snapshot", None)
    return replace(made, steps=tuple(replace(step, snapshot=snapshot) for step in made.steps)) if snapshot else made


FINISHED: Final = tuple(state for state in RunState if state is not RunState.RUNNING)


def _preview(arguments: argparse.Namespace, session: Session, made: Plan, policies: Sequence[Policy]) -> int:
    """Print the plan that would run; for retention alone, each point with the reason why it stays or goes."""
    by_name = {policy.name: policy for policy in policies}
    removals = [step for step in made.steps if step.job is Job.RETENTION]
    if not removals or len(removals) < len(made.steps):
        printing.show(arguments, listing.plan(made, zone=session.zone))
        return DONE
    previews = [
        listing.Removal(
            tenant=step.tenant,
            policy=step.policy,
            site=step.site,
            vault=step.vault,
            decision=retention.preview(step, by_name[step.policy], session.tools),
        )
        for step in removals
    ]
    printing.show(arguments, listing.retention(previews, zone=session.zone))
    return DONE


def _explain_what_was_interrupted(session: Session, made: Plan) -> None:
    touched = {(step.tenant, vault) for step in made.steps for vault in (step.vault, step.source_vault) if vault}
    for record in recover(session.tools, touched):
        printing.note(f"{record.job} {record.policy} ({record.id}) was cut off: {record.state}. {record.note}")


def _remember_settings(session: Session, policies: Sequence[Policy]) -> None:
    """Keep the text behind each hash, so that a past figure can name the rule under which it came to be."""
    now = session.tools.clock.now()
    for policy in policies:
        session.tools.ledger.remember_settings(policy.settings_hash, session.effective(policy), now)


def exit_code(records: Sequence[RunRecord], skips: Iterable[Skip], *, stopped: bool) -> int:
    """The worst of what happened: interrupted, then a failure's own code, then a refusal, then partial, then done."""
    if stopped or any(record.state is RunState.INTERRUPTED for record in records):
        return INTERRUPTED
    failures = [record for record in records if record.state in {RunState.FAILED, RunState.BLOCKED}]
    codes = {record.failure.exit_code if record.failure else JOB_FAILED for record in failures}
    if codes:
        return codes.pop() if len(codes) == 1 else JOB_FAILED
    if any(skip.refused for skip in skips):
        return JOB_FAILED
    return PARTIAL if any(record.state is RunState.PARTIAL for record in records) else DONE

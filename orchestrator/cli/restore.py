"""`restore`: a person wants data back. Nothing that exists is touched unless they say so."""

from __future__ import annotations

import argparse
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from jobs.failure import DONE
from jobs.history import Job, Outcome, RunRecord
from jobs.patterns import PatternError
from jobs.patterns import compile as compile_patterns
from jobs.plan import Step
from jobs.policy import Policy
from orchestrator.cli import asked, printing
from orchestrator.cli.endings import UsageError
from orchestrator.cli.session import Session, at_work
from orchestrator.cli.work import exit_code
from orchestrator.clock import new_run_id
from orchestrator.executor import attempt, intent
from orchestrator.recovery import recover
from orchestrator.settings import Settings
from orchestrator.work import repositories
from orchestrator.work import restore as bring_back
from orchestrator.work.restore import Request
from reports import answers
from reports.document import Document


def restore(arguments: argparse.Namespace, stop: threading.Event) -> int:
    """Restore, or with --dry-run say what would be restored."""
    if len(arguments.policies) != 1 or arguments.to is None:
        raise UsageError("restore needs one POLICY and --to FOLDER, or --ledger to bring Tandem itself back")
    settings = asked.load(arguments)
    (policy,) = asked.chosen(settings, arguments.policies)
    wanted = request(arguments, settings, policy, arguments.to.absolute())
    with at_work(arguments, settings, stop) as session:
        recovered = recover(session.tools, {(policy.tenant, wanted.vault)})
        if recovered.still_open:
            raise recovered.still_open[0][1]
        for record in recovered.resolved:
            printing.note(f"{record.job} {record.policy} ({record.id}) was cut off: {record.state}. {record.note}")
        if not arguments.dry_run:
            record = run(session, wanted, lambda run: bring_back.work(run, wanted, session.tools))
            document = answers.cycle((record,), (), now=session.tools.clock.now())
            code = exit_code((record,), (), stopped=stop.is_set())
        else:
            document, code = preview(session, wanted), DONE
    printing.show(arguments, document)
    return code


def request(arguments: argparse.Namespace, settings: Settings, policy: Policy, target: Path) -> Request:
    """What the command line asks for. Raises UsageError."""
    site = asked.site(settings, arguments.site, [policy])
    places = [place for place in policy.places if site in {None, place[0]}]
    try:
        compile_patterns(arguments.path)
    except PatternError as mistake:
        raise UsageError(f"--path: {mistake}") from mistake
    return Request(
        policy=policy,
        site=places[0][0],
        vault=places[0][1],
        target=target,
        at=asked.moment("--at", arguments.at, settings.service.zone),
        snapshot=arguments.snapshot,
        patterns=tuple(arguments.path),
        overwrite=arguments.overwrite,
    )


def run(session: Session, request: Request, work: Callable[[str], Outcome]) -> RunRecord:
    """One restore, on record from its beginning to its end."""
    policy = request.policy
    step = Step(
        job=Job.RESTORE,
        policy=policy.name,
        tenant=policy.tenant,
        site=request.site,
        vault=request.vault,
        settings_hash=policy.settings_hash,
    )
    tools = session.tools
    begun = intent(step, tools.clock.now(), session.owner, tool=tools.engine.tool, note=str(request.target))
    return attempt(begun, work, tools, session.announcements)


def preview(session: Session, request: Request) -> Document:
    """What would be restored."""
    tools = session.tools
    of = repositories.existing(tools, request.policy.tenant, request.vault)
    scratch = tools.folder("scratch", new_run_id(tools.clock.now()))
    try:
        selection = bring_back.select(request, of, scratch, tools)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return answers.restore_preview(
        selection.point,
        target=str(request.target),
        files=selection.files,
        total_bytes=selection.bytes,
        in_the_way=selection.in_the_way_count,
        zone=session.zone,
    )

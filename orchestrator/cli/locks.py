"""`locks`: the locks that stand in the repositories, what they stand for, and the removal of what is provably dead."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterable

from jobs.failure import BUSY_OR_LOCKED, DONE, INTERRUPTED, JOB_FAILED
from jobs.policy import Policy, TenantName, VaultName
from orchestrator.cli import asked, printing
from orchestrator.cli.session import at_work
from orchestrator.work import locks as work
from orchestrator.work.locks import Survey
from targets.host import user_name


def locks(arguments: argparse.Namespace, stop: threading.Event) -> int:
    """List the locks, and with --remove remove the dead and the orphaned ones; 8 while one is in the way."""
    settings = asked.load(arguments)
    policies = asked.chosen(settings, arguments.policies)
    removals: tuple[work.Removal, ...] = ()
    with at_work(arguments, settings, stop) as session:
        found = work.survey(session.tools, _repositories(policies))
        if arguments.remove:
            removals = work.remove(session.tools, found.locks, f"as {user_name()} asked")
        waiting = session.tools.ledger.open_slots()
    from reports import locks as report

    sites = {name: vault.site for name, vault in settings.vaults.items()}
    told = report.locks(
        found.locks, found.unasked, {each.judged.lock.id: each.why_not for each in removals}, waiting, sites
    )
    printing.show(arguments, told)
    return INTERRUPTED if stop.is_set() else exit_code(found, removals)


def _repositories(policies: Iterable[Policy]) -> tuple[tuple[TenantName, VaultName], ...]:
    """Each repository of the policies once, in their order."""
    return tuple(dict.fromkeys((policy.tenant, vault) for policy in policies for _, vault in policy.places))


def exit_code(found: Survey, removals: Iterable[work.Removal]) -> int:
    """8 when what is no living process's is left in the way, 4 when a repository could not be asked."""
    removed = {each.judged.lock.id for each in removals if not each.why_not}
    if any(each.in_the_way and each.lock.id not in removed for each in found.locks):
        return BUSY_OR_LOCKED
    return JOB_FAILED if found.unasked else DONE

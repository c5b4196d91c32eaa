"""`doctor`: the whole installation checked, a line for each thing with the next step."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from jobs.checkup import Finding, Grade, worst
from jobs.failure import DONE, JOB_FAILED, SETTINGS_INVALID
from jobs.quantity import counted
from orchestrator import settings as settings_room
from orchestrator import wiring
from orchestrator.cli import printing
from orchestrator.clock import Clock
from orchestrator.doctor import protection, reports, secrets, state, tools, vaults
from orchestrator.doctor.case import Case
from orchestrator.doctor.examination import Check, examine
from orchestrator.ledger.ledger import Ledger, LedgerError
from orchestrator.settings import Settings, SettingsError
from reports import doctor as report
from targets.errors import TargetError

Look = Callable[[Case], Iterable[Finding]]

_CHECKS: Final[tuple[tuple[str, Look], ...]] = (
    ("restic", tools.restic),
    ("sqlite", tools.sqlite),
    ("clock", tools.clock),
    ("ledger", state.ledger),
    ("serve", state.serve),
    ("systemd", tools.systemd),
    ("notify", state.notifications),
    ("workdir", state.workdir),
    ("report", reports.folders),
    ("secret", secrets.secrets),
    ("policy", protection.policies),
    ("mount", protection.uncovered_mounts),
    ("database", protection.uncovered_servers),
    ("database", protection.uncovered_files),
)


def doctor(arguments: argparse.Namespace, _stop: threading.Event) -> int:
    """4 when a check failed, 7 when the settings are invalid; warnings are no failure."""
    clock = Clock()
    try:
        settings = settings_room.load(arguments.settings, check_secrets=False)
    except SettingsError as error:
        printing.show(arguments, report.doctor([_invalid(arguments.settings, error)]))
        return SETTINGS_INVALID
    with _case(settings, clock) as case:
        findings = (_valid(settings), *examine(tuple(_checks(case)), clock))
    printing.show(arguments, report.doctor(findings))
    return JOB_FAILED if worst(findings) is Grade.FAILED else DONE


def _checks(case: Case) -> Iterator[Check]:
    for name, look in _CHECKS:
        yield Check(name=name, look=partial(look, case))
    yield from vaults.checks(case)


@contextmanager
def _case(settings: Settings, clock: Clock) -> Iterator[Case]:
    """The ledger, if it can be opened; looking never makes one."""
    try:
        ledger = Ledger.open(wiring.ledger_url(settings), create=False, now=clock.now())
    except (LedgerError, TargetError) as error:
        yield Case(settings=settings, clock=clock, ledger=None, refused=error.failure)
        return
    with ledger:
        yield Case(settings=settings, clock=clock, ledger=ledger)


def _valid(settings: Settings) -> Finding:
    counts = (
        counted(len(settings.policies), "policy", "policies"),
        counted(len(settings.vaults), "vault"),
        counted(len(settings.tenants), "tenant"),
    )
    text = f"valid: {', '.join(counts)}"
    return Finding(check="settings", subject=str(settings.file), grade=Grade.OK, text=text)


def _invalid(file: Path, error: SettingsError) -> Finding:
    advice = "Correct the settings, then: tandem config validate"
    return Finding(check="settings", subject=str(file), grade=Grade.FAILED, text=str(error), advice=advice)

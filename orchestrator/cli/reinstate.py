"""`restore --ledger`: Tandem itself was lost. It works without a ledger, by settings that know a single vault."""

from __future__ import annotations

import argparse
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from jobs.failure import DONE, FailureKind
from jobs.history import RunRecord
from jobs.policy import Own, Policy
from orchestrator import wiring
from orchestrator.cli import asked, printing
from orchestrator.cli.endings import UsageError
from orchestrator.cli.restore import preview, request, run
from orchestrator.cli.session import at_work
from orchestrator.cli.work import exit_code
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.place import sqlite_path
from orchestrator.settings import Settings
from orchestrator.work.reinstate import Reinstatement, Request, require_a_place
from orchestrator.work.tools import remove_tree
from reports import answers
from reports.document import Document
from targets.errors import TargetError

_PLACE: Final = "reinstating"  # below the workdir: the ledger of this one command, which nobody keeps


def reinstate(arguments: argparse.Namespace, stop: threading.Event) -> int:
    """Bring the ledger back to where the settings want it, and the settings files to a folder of their own."""
    settings = asked.load(arguments)
    now = Clock().now()
    wanted = _request(arguments, settings, now)
    require_a_place(wanted)
    with (
        _alone(settings.service.workdir / _PLACE) as folder,
        at_work(arguments, _with_ledger_in(folder, settings), stop) as session,
    ):
        if arguments.dry_run:
            document, code = preview(session, wanted.found), DONE
        else:
            back = Reinstatement(wanted, session.tools)
            record = run(session, wanted.found, back.work)
            document, code = _told(back, record, settings), exit_code((record,), (), stopped=stop.is_set())
    printing.show(arguments, document)
    return code


def _request(arguments: argparse.Namespace, settings: Settings, now: datetime) -> Request:
    if arguments.path:
        raise UsageError("--path does not go with --ledger, which comes back whole")
    place = sqlite_path(wiring.ledger_url(settings))
    if place is None:
        raise UsageError("[service] state is on a PostgreSQL server: restore its dump, then bring it back with psql")
    folder = arguments.to or settings.service.workdir / f"restored-settings-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    found = request(arguments, settings, _policy(arguments, settings), place)
    return Request(found=found, ledger=place, settings=folder.absolute())


def _policy(arguments: argparse.Namespace, settings: Settings) -> Policy:
    """The policy that was named, or the only one whose source is Tandem itself. Raises UsageError."""
    own = [policy for policy in settings.policies if isinstance(policy.source, Own)]
    if arguments.policies:
        (policy,) = asked.chosen(settings, arguments.policies)
        if policy not in own:
            raise UsageError(f"policy {policy.name} does not back up Tandem: source = {{ tandem = true }} does")
        return policy
    if len(own) != 1:
        names = ", ".join(policy.name for policy in own) or "none"
        raise UsageError(f"name the policy with source = {{ tandem = true }}; in {settings.file} there are: {names}")
    return own[0]


@contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """A folder of ours, emptied of what a killed one left; the lock goes with its process. Raises TargetError BUSY."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        message = f"{error.strerror or error}; [service] workdir must be a folder that can be written"
        raise TargetError("make", str(folder), FailureKind.TARGET_UNWRITABLE, message) from error
    try:
        _lock(lock, folder)
        _empty(folder)
        yield folder
        _empty(folder)
    finally:
        os.close(lock)


def _lock(opened: int, folder: Path) -> None:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        message = "another `tandem restore --ledger` is at work: wait for its end"
        raise TargetError("use", str(folder), FailureKind.BUSY, message) from error


def _empty(folder: Path) -> None:
    for each in folder.iterdir():
        remove_tree(each) if each.is_dir() else each.unlink()


def _with_ledger_in(folder: Path, settings: Settings) -> Settings:
    """The same settings, but for a ledger that knows nothing yet and that nobody keeps."""
    return replace(settings, service=replace(settings.service, state=f"sqlite:///{folder}/ledger.db", workdir=folder))


def _told(back: Reinstatement, record: RunRecord, settings: Settings) -> Document:
    """What came back; and the same on the record of the ledger that did, which shows that it can be used."""
    clock = Clock()
    zone = settings.service.zone
    returned = back.returned
    if returned is None:
        return answers.cycle((record,), (), now=clock.now())
    with Ledger.open(f"sqlite:///{back.request.ledger}", create=False, now=clock.now()) as ledger:
        ledger.record(record)
    return answers.reinstated(
        record,
        answers.Reinstated(
            ledger=str(back.request.ledger),
            settings=str(back.request.settings),
            kept=None if returned.kept is None else str(returned.kept),
            open_runs=returned.open_runs,
            adopted=returned.adopted,
        ),
        now=clock.now(),
        zone=zone,
    )

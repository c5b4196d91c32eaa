"""What Tandem remembers and where it works: the ledger, the lease of `serve`, the workdir, the notices."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Final

from jobs.checkup import Finding, Grade
from jobs.failure import FailureKind
from jobs.history import BackupResult, Job, Lease, RunRecord, RunState
from jobs.notice import Notice, NoticeState
from jobs.policy import Own, Timetable
from jobs.quantity import counted, duration, size
from orchestrator.doctor.case import Case
from orchestrator.ledger.place import sqlite_connection
from orchestrator.settings import Settings
from targets.host import free_space, is_alive

_SILENT: Final = timedelta(minutes=2)  # a lease without a sign of life: docs/unattended.md
_LOOK_BACK: Final = timedelta(days=30)
_GOOD: Final = (RunState.SUCCEEDED, RunState.PARTIAL)
_OWN_EXAMPLE: Final = "Add a policy whose source is { tandem = true }, and keep it in a vault at the other site."


def ledger(case: Case) -> Iterator[Finding]:
    """Opens, can be written, holds together, and is itself backed up."""
    opened = case.ledger
    if opened is None:
        yield _unopened(case)
        return
    opened.set_alarms((), (), case.clock.now())  # a transaction that writes nothing, as the database lets only writers
    yield Finding(check="ledger", subject=opened.label, grade=Grade.OK, text="opens, is up to date, and can be written")
    for file in opened.files[:1]:
        yield _integrity(file)
        yield _room(file)
    yield _own_backup(case)


def _unopened(case: Case) -> Finding:
    failure = case.refused
    if failure is None or failure.kind is FailureKind.LEDGER_MISSING:
        text = failure.message if failure is not None else "there is none"
        return Finding(
            check="ledger",
            subject="",
            grade=Grade.WARN,
            text=text,
            advice="Was there one? Check [service] state, or: tandem restore --ledger. Else the first run makes it.",
        )
    return Finding(check="ledger", subject="", grade=Grade.FAILED, text=failure.message, advice=failure.advice)


def _integrity(file: Path) -> Finding:
    with closing(sqlite_connection(file)) as connection:
        try:
            said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)")]
        except sqlite3.DatabaseError as error:
            said = [str(error)]
    if said == ["ok"]:
        return Finding(check="ledger", subject="integrity", grade=Grade.OK, text="SQLite finds no damage")
    return Finding(
        check="ledger",
        subject="integrity",
        grade=Grade.FAILED,
        text="; ".join(said) or "SQLite gave no answer",
        advice="Put the ledger back from its backup: tandem restore --ledger",
    )


def _room(file: Path) -> Finding:
    free, used = free_space(file), file.stat().st_size
    text = f"{size(used)}, with {size(free)} free on its disk"
    if free > max(used, 64 << 20):  # an upgrade copies it
        return Finding(check="ledger", subject="room", grade=Grade.OK, text=text)
    return Finding(
        check="ledger",
        subject="room",
        grade=Grade.WARN if free else Grade.FAILED,
        text=text,
        advice="Make room on that disk: without it nothing can be put on record, so nothing runs.",
    )


def _own_backup(case: Case) -> Finding:
    own = [policy for policy in case.settings.policies if isinstance(policy.source, Own)]
    if not own:
        text = "no policy backs up Tandem's own ledger and settings"
        return Finding(check="ledger", subject="backup", grade=Grade.WARN, text=text, advice=_OWN_EXAMPLE)
    newest = _newest_backup(case, [policy.name for policy in own])
    if newest is None:
        return Finding(
            check="ledger",
            subject="backup",
            grade=Grade.WARN,
            text=f"policy {own[0].name} backs it up, and has never succeeded",
            advice=f"Run it: tandem backup {own[0].name}",
        )
    age = max(timedelta(), case.clock.now() - newest.started_at)
    return Finding(
        check="ledger", subject="backup", grade=Grade.OK, text=f"backed up {duration(age)} ago by {newest.policy}"
    )


def _newest_backup(case: Case, policies: Sequence[str]) -> RunRecord | None:
    if case.ledger is None:
        return None
    runs = (case.ledger.last(policy, Job.BACKUP, states=_GOOD) for policy in policies)
    return max((run for run in runs if run is not None), key=lambda run: run.started_at, default=None)


def serve(case: Case) -> Iterator[Finding]:
    """Who makes slots due and starts runs, since when, and whether it lives."""
    lease = case.ledger.lease() if case.ledger is not None else None
    if lease is None:
        scheduled = _scheduled(case.settings)
        yield Finding(
            check="serve",
            subject="",
            grade=Grade.WARN if scheduled else Grade.INFO,
            text=f"nothing runs by itself; with a schedule: {scheduled}" if scheduled else "not running, nor needed",
            advice="Start it: tandem serve (or: systemctl enable --now tandem)" if scheduled else "",
        )
        return
    yield _lease(case, lease)


def _scheduled(settings: Settings) -> str:
    """How many policies and reports wait for `serve`; empty where none does."""
    policies = sum(policy.timetable != Timetable() for policy in settings.policies)
    kinds = ((policies, "policy", "policies"), (len(settings.reports), "report", "reports"))
    return " and ".join(counted(*kind) for kind in kinds if kind[0])


def _lease(case: Case, lease: Lease) -> Finding:
    who = f"process {lease.owner.pid} on {lease.owner.host}"
    alive, silent = is_alive(lease.owner), max(timedelta(), case.clock.now() - lease.beaten_at)
    since = f"since {lease.taken_at:%Y-%m-%d %H:%M} UTC"
    if alive is not False and silent <= _SILENT:
        return Finding(check="serve", subject="", grade=Grade.OK, text=f"{who} serves {since}")
    if alive is False:
        text = f"{who} served {since}, and is dead; its last sign of life was {duration(silent)} ago"
        return Finding(check="serve", subject="", grade=Grade.FAILED, text=text, advice="Start it again: tandem serve")
    return Finding(
        check="serve",
        subject="",
        grade=Grade.FAILED if alive else Grade.WARN,
        text=f"{who} serves {since}, but gave no sign of life for {duration(silent)}",
        advice="Look at it there; if it hangs, end it and start another: tandem serve",
    )


def workdir(case: Case) -> Iterator[Finding]:
    """Its own user's alone, writable, with room for what a restore test restores."""
    folder = case.settings.service.workdir
    if not folder.exists():
        yield Finding(
            check="workdir", subject=str(folder), grade=Grade.INFO, text="not there yet: the first run makes it"
        )
    elif not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(
            check="workdir",
            subject=str(folder),
            grade=Grade.FAILED,
            text="it is no folder that can be written",
            advice="Give it to the user that Tandem runs as, or set [service] workdir to another folder.",
        )
        return
    elif (mode := folder.stat().st_mode & 0o777) & 0o077:
        yield Finding(
            check="workdir",
            subject=str(folder),
            grade=Grade.WARN,
            text=f"others may look into it (mode {mode:04o}): manifests and restored files lie there",
            advice=f"chmod 700 {folder}",
        )
    yield _scratch(case, folder)


def _scratch(case: Case, folder: Path) -> Finding:
    free = free_space(folder)
    runs = (_newest_backup(case, [policy.name]) for policy in case.settings.policies)
    sizes = [run.result.bytes for run in runs if run is not None and isinstance(run.result, BackupResult)]
    most = max(sizes, default=0)
    text = f"{size(free)} free"
    if free > most:
        return Finding(check="workdir", subject=str(folder), grade=Grade.OK, text=text)
    return Finding(
        check="workdir",
        subject=str(folder),
        grade=Grade.WARN if free else Grade.FAILED,
        text=f"{text}; a restore test of the largest source needs {size(most)}",
        advice="Make room there, or set [service] workdir to a larger disk.",
    )


def notifications(case: Case) -> Iterator[Finding]:
    """Who is told, and whether the telling worked."""
    channels = case.settings.notify
    if not channels:
        yield Finding(
            check="notify",
            subject="",
            grade=Grade.WARN,
            text="nobody is told when something goes wrong",
            advice='Add a channel: [notify.mail] urls = [{ file = "/etc/tandem/mail.url" }]',
        )
    told = case.ledger.notices(since=case.clock.now() - _LOOK_BACK) if case.ledger is not None else ()
    for channel in channels:
        yield _channel(channel.name, [notice for notice in told if notice.channel == channel.name])


def _channel(name: str, told: Sequence[Notice]) -> Finding:
    delivered = [notice.delivered_at for notice in told if notice.delivered_at is not None]
    failing = [notice for notice in told if notice.state is not NoticeState.DELIVERED and notice.attempts]
    if failing:
        return Finding(
            check="notify",
            subject=name,
            grade=Grade.FAILED,
            text=f"{counted(len(failing), 'notice')} could not be delivered; the last: {failing[-1].error}",
            advice=f"Check the addresses in [notify.{name}] and their server.",
        )
    if not delivered:
        return Finding(
            check="notify",
            subject=name,
            grade=Grade.INFO,
            text=f"nothing was sent to it in the last {duration(_LOOK_BACK)}",
        )
    text = f"last delivered {max(delivered):%Y-%m-%d %H:%M} UTC"
    return Finding(check="notify", subject=name, grade=Grade.OK, text=text)

"""The locks of the repositories: whose they are, whether that process lives, what they block, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from jobs.claim import HOLDS, LOCKING
from jobs.failure import Failure
from jobs.history import Job, RunState
from jobs.lock import ADVICE, Judged, LockKind, Tie
from jobs.policy import SiteName, TenantName, VaultName
from jobs.quantity import counted, duration
from jobs.slot import Slot
from reports.cells import iso, seconds, words
from reports.document import ABSENT, Cell, Column, Document, Section, Severity, Table
from reports.wording import JOBS

_SEVERITY: Final[Mapping[LockKind, Severity]] = {
    LockKind.LIVE: Severity.GOOD,
    LockKind.DEAD: Severity.BAD,
    LockKind.ORPHANED: Severity.BAD,
    LockKind.FOREIGN: Severity.WARNING,
    LockKind.UNPROVEN: Severity.WARNING,
}

_COLUMNS: Final = (
    Column(key="repository", title="Repository"),
    Column(key="kind", title="Lock"),
    Column(key="maker", title="Made by"),
    Column(key="age", title="Age", align="right"),
    Column(key="blocks", title="Blocks"),
    Column(key="next", title="What to do"),
)
_LOCKED: Final = frozenset(job for job, hold in HOLDS.items() if hold in LOCKING)  # all that restic could refuse
_UNASKED: Final = (Column(key="repository", title="Repository"), Column(key="why", title="Why"))


def locks(
    found: Sequence[Judged],
    unasked: Iterable[tuple[tuple[TenantName, VaultName], Failure]],
    removals: Mapping[str, str],
    waiting: Iterable[Slot],
    sites: Mapping[VaultName, SiteName],
) -> Document:
    """Every lock in one row. `removals`: by a lock's id why it was not removed, or nothing where it was."""
    slots = tuple(waiting)
    rows = tuple(_row(each, removals.get(each.lock.id), slots, sites) for each in found)
    table = Table(key="locks", columns=_COLUMNS, rows=rows, empty="No repository holds a lock.")
    sections = [Section(key="locks", title="", tables=(table,))]
    silent = tuple(
        (
            Cell(text=f"{tenant}@{vault}", value={"tenant": tenant, "vault": vault}),
            Cell(text=failure.message, value=failure.kind.value, severity=Severity.BAD, details=(failure.advice,)),
        )
        for (tenant, vault), failure in unasked
    )
    if silent:
        asked = Table(key="unasked", columns=_UNASKED, rows=silent)
        sections.append(Section(key="unasked", title="Could not be asked", tables=(asked,)))
    return Document(
        kind="locks", title="Locks", headline=_headline(found, removals, len(silent)), sections=tuple(sections)
    )


def _headline(found: Sequence[Judged], removals: Mapping[str, str], silent: int) -> Cell:
    gone = {lock for lock, why_not in removals.items() if not why_not}
    left = [each for each in found if each.in_the_way and each.lock.id not in gone]
    done = f"{counted(len(gone), 'lock')} removed; " if gone else ""
    if left:
        text = f"{done}{counted(len(left), 'lock')} in the way"
        return Cell(text=text, value="in-the-way", severity=Severity.BAD, badge=True)
    if silent:
        text = f"{done}{counted(silent, 'repository', 'repositories')} could not be asked"
        return Cell(text=text, value="unasked", severity=Severity.BAD, badge=True)
    return Cell(text=f"{done}nothing is in the way", value="free", severity=Severity.GOOD, badge=True)


def _row(
    judged: Judged, why_not: str | None, slots: Sequence[Slot], sites: Mapping[VaultName, SiteName]
) -> tuple[Cell, ...]:
    lock = judged.lock
    site = sites.get(judged.vault, "")
    return (
        Cell(
            text=f"{judged.tenant}@{judged.vault}",
            value={"tenant": judged.tenant, "vault": judged.vault, "site": site, "lock": lock.id},
            details=(f"at {site}", lock.id[:8]),
        ),
        Cell(
            text=judged.kind.value,
            value={"kind": judged.kind.value, "why": judged.why, "exclusive": lock.exclusive},
            severity=_SEVERITY[judged.kind],
            details=("exclusive" if lock.exclusive else "shared", judged.why),
            badge=True,
        ),
        _maker(judged),
        _age(judged),
        _blocks(judged, slots),
        _next(judged, why_not),
    )


def _maker(judged: Judged) -> Cell:
    lock = judged.lock
    runs = tuple(f"{JOBS[tie.run.job]} {tie.run.policy}, run {tie.run.id} ({_ended(tie)})" for tie in judged.ties)
    return Cell(
        text=f"process {lock.pid} on {lock.host}" if lock.time else ABSENT,
        value={
            "host": lock.host,
            "pid": lock.pid,
            "user": lock.user,
            "run": judged.ties[0].run.id if len(judged.ties) == 1 else None,
            "runs": ", ".join(tie.run.id for tie in judged.ties),
        },
        details=(*((f"user {lock.user}",) if lock.user else ()), *(runs or ("no run of this ledger",))),
    )


def _ended(tie: Tie) -> str:
    return "its Tandem is dead" if tie.over and tie.run.state is RunState.RUNNING else tie.run.state.value


def _age(judged: Judged) -> Cell:
    lock = judged.lock
    if judged.age is None or lock.time is None:
        return words("unknown", "")
    value = {"since": iso(lock.time), "seconds": seconds(judged.age), "stale": judged.stale}
    details = ("stale, as restic counts",) if judged.stale else ()
    return Cell(text=duration(judged.age), value=value, details=details)


def _blocks(judged: Judged, slots: Sequence[Slot]) -> Cell:
    """The jobs that restic refuses, and how many slots are open for them. What one may not remove blocks as well."""
    jobs = [job for job in Job if job in judged.blocks]
    place = (judged.tenant, judged.vault)
    open_now = [
        slot
        for slot in slots
        if slot.job in judged.blocks and place in {(slot.tenant, slot.vault), (slot.tenant, slot.source_vault)}
    ]
    text = "everything" if judged.blocks == _LOCKED else ", ".join(JOBS[job] for job in jobs)
    waiting = (f"{counted(len(open_now), 'open slot')}",) if open_now else ()
    return Cell(
        text=text, value=tuple([*(job.value for job in jobs), *(slot.id for slot in open_now)]), details=waiting
    )


def _next(judged: Judged, why_not: str | None) -> Cell:
    if why_not is None:
        return Cell(text=ADVICE[judged.kind], value="none" if not judged.removable else "removable")
    if why_not:
        return Cell(text=f"Not removed: {why_not}", value="not-removed", severity=Severity.BAD)
    return Cell(text="Removed.", value="removed", severity=Severity.GOOD)

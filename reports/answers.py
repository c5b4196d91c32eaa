"""What a command says when it is done: a cycle's runs, a restore's preview, the settings with their origins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo

from jobs.history import RunRecord, RunState
from jobs.plan import Plan, Skip
from jobs.proof import short
from jobs.quantity import size
from jobs.snapshot import Snapshot
from reports import listing
from reports.cells import count, instant, lasting, state, words
from reports.document import Cell, Column, Document, Fact, Section, Severity, Table
from reports.results import found
from reports.wording import JOBS

_RAN = (
    Column(key="job", title="Job"),
    Column(key="policy", title="Policy"),
    Column(key="took", title="Took", align="right"),
    Column(key="found", title="What it did"),
    Column(key="state", title="State"),
)
_BAD = (RunState.FAILED, RunState.INTERRUPTED, RunState.BLOCKED)


def cycle(records: Sequence[RunRecord], skips: Sequence[Skip], *, now: datetime, zone: tzinfo) -> Document:
    """What ran, in order, with what came of it and what to do next; then what did not run, and why."""
    rows = tuple(_row(record, now) for record in records)
    ran = Table(key="runs", columns=_RAN, rows=rows, empty="Nothing ran.")
    left_out = listing.plan(Plan(at=now, steps=(), skips=tuple(skips)), zone=zone).sections[-1:] if skips else ()
    advice = {record.failure.advice: record for record in records if record.failure is not None}
    next_steps = tuple(f"{record.job} {record.policy}: {text}" for text, record in advice.items())
    todo = (Section(key="next", title="What to do next", paragraphs=next_steps),) if next_steps else ()
    return Document(
        kind="outcome",
        title="What was done",
        headline=_headline(records, skips),
        sections=(Section(key="runs", title="Runs", tables=(ran,)), *left_out, *todo),
    )


def _row(run: RunRecord, now: datetime) -> tuple[Cell, ...]:
    where = {"tenant": run.tenant, "policy": run.policy, "site": run.site, "vault": run.vault, "run": run.id}
    return (
        words(JOBS[run.job], run.job.value),
        Cell(text=f"{run.policy} at {run.site}", value=where),
        lasting((run.finished_at or now) - run.started_at),
        found(run),
        state(run.state),
    )


def _headline(records: Sequence[RunRecord], skips: Sequence[Skip]) -> Cell:
    bad = [(state, sum(record.state is state for record in records)) for state in _BAD]
    bad = [(state, amount) for state, amount in bad if amount]
    partial = [record for record in records if record.state is RunState.PARTIAL]
    refused = [skip for skip in skips if skip.refused]
    if bad:
        text = f"of {len(records)}: " + ", ".join(f"{amount} {state}" for state, amount in bad)
        return Cell(text=text, value="failed", severity=Severity.BAD, badge=True)
    if refused:
        return Cell(text=f"{len(refused)} refused", value="refused", severity=Severity.BAD, badge=True)
    if partial:
        text = f"{len(partial)} of {len(records)} partial"
        return Cell(text=text, value="partial", severity=Severity.WARNING, badge=True)
    if not records:
        return Cell(text="nothing to do", value="nothing", severity=Severity.NEUTRAL, badge=True)
    return Cell(text=f"all {len(records)} done", value="done", severity=Severity.GOOD, badge=True)


def restore_preview(
    point: Snapshot, *, target: str, files: int, total_bytes: int, in_the_way: int, zone: tzinfo
) -> Document:
    """What a restore would bring back, and how many files stand in its way."""
    standing = count(in_the_way, Severity.WARNING if in_the_way else Severity.NEUTRAL)
    facts = (
        Fact(key="snapshot", label="Recovery point", cell=words(short(point.id), point.id)),
        Fact(key="time", label="Taken", cell=instant(point.time, zone)),
        Fact(key="target", label="To", cell=words(target)),
        Fact(key="files", label="Files", cell=count(files)),
        Fact(key="bytes", label="Size", cell=Cell(text=size(total_bytes), value=total_bytes)),
        Fact(key="in_the_way", label="Already there", cell=standing),
    )
    return Document(kind="restore-preview", title="Would be restored", facts=facts)


_SETTINGS = (
    Column(key="key", title="Setting", code=True),
    Column(key="value", title="Value", code=True),
    Column(key="origin", title="From"),
)


def settings(rows: Iterable[tuple[str, str, str]]) -> Document:
    """Each effective setting with where it came from; secrets only as references."""
    cells = tuple((words(key), words(value), words(origin)) for key, value, origin in rows)
    table = Table(key="settings", columns=_SETTINGS, rows=cells, empty="Nothing is set.")
    return Document(
        kind="settings", title="Settings", sections=(Section(key="settings", title="In force", tables=(table,)),)
    )

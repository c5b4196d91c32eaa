"""What a command says when it is done: a cycle's runs, a restore's preview, the settings with their origins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from jobs.history import RestoreResult, RunRecord, RunState
from jobs.plan import Skip
from jobs.proof import short
from jobs.quantity import duration, size
from jobs.reporting import called
from jobs.snapshot import Snapshot
from reports import listing
from reports.cells import count, instant, lasting, state, words
from reports.document import ABSENT, Cell, Column, Document, Fact, Section, Severity, Table
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


def cycle(records: Sequence[RunRecord], skips: Sequence[Skip], *, now: datetime) -> Document:
    """What ran, in order, with what came of it and what to do next; then what did not run, and why."""
    rows = tuple(_row(record, now) for record in records)
    ran = Table(key="runs", columns=_RAN, rows=rows, empty="Nothing ran.")
    left_out = (listing.left_out(skips, "Did not run"),) if skips else ()
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
        Cell(text=called(run.policy, run.site), value=where),
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Reinstated:
    """What came back of a lost orchestrator, and where to. `open_runs` are those that nobody ends any more."""

    ledger: str
    settings: str
    kept: str | None  # where the ledger is that was there
    open_runs: tuple[RunRecord, ...]
    adopted: bool  # the repository is another one than the ledger knew in its place


def reinstated(record: RunRecord, back: Reinstated, *, now: datetime, zone: tzinfo) -> Document:
    """What came back, up to when it knows, what was lost with the rest, and what to do next."""
    result = record.result
    if not isinstance(result, RestoreResult) or result.snapshot_time is None:
        raise TypeError(f"run {record.id} is no restore of a recovery point")
    taken_at = result.snapshot_time
    unproven = record.failure is not None
    facts = (
        Fact(key="snapshot", label="Recovery point", cell=words(short(result.snapshot), result.snapshot)),
        Fact(key="from", label="From", cell=words(f"{record.tenant} at {record.site}", record.vault)),
        Fact(key="taken_at", label="Taken", cell=instant(taken_at, zone)),
        Fact(key="ledger", label="Ledger", cell=words(back.ledger)),
        Fact(key="kept", label="Ledger before", cell=words(back.kept) if back.kept else Cell(text=ABSENT)),
        Fact(key="settings", label="Settings files", cell=words(back.settings)),
        Fact(key="verified", label="Files verified", cell=count(result.verified)),
        Fact(key="open_runs", label="Runs open then", cell=count(len(back.open_runs))),
    )
    return Document(
        kind="reinstated",
        title="Tandem is back",
        headline=Cell(
            text="but not verified: the recovery point has no readable manifest"
            if unproven
            else "its ledger is in place",
            value="unverified" if unproven else "done",
            severity=Severity.WARNING if unproven else Severity.GOOD,
            badge=True,
        ),
        facts=facts,
        sections=(
            Section(key="lost", title="What is lost", paragraphs=tuple(_lost(record, back, now - taken_at))),
            Section(key="next", title="What to do next", paragraphs=_after_reinstatement(back)),
        ),
    )


def _lost(record: RunRecord, back: Reinstated, age: timedelta) -> Iterator[str]:
    yield (
        f"The ledger knows nothing of the {duration(age)} since this point was taken. Recovery points made since are "
        "found by the next listing; what was checked, tested or told since is not known, and counts as not done."
    )
    if back.open_runs:
        names = ", ".join(f"{run.job} {run.policy} ({run.id})" for run in back.open_runs)
        yield f"Open when it was taken, and asked of their repositories by the next command: {names}."
    yield (
        f"Without a ledger nobody could know which repository belongs at {record.tenant}@{record.vault}: the one that "
        "stands there was trusted, because the tenant's password opens it."
    )
    if back.adopted:
        yield "This ledger knew another one in its place (begun anew since?): it knows this one now."


def _after_reinstatement(back: Reinstated) -> tuple[str, ...]:
    return (
        f"1. Compare the settings files in {back.settings} with those in force, and put them where they belong.",
        "2. Put the secrets in place that they name: none of them is in a backup.",
        "3. tandem doctor",
        "4. tandem run, or tandem serve",
    )


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

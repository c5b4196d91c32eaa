"""The tables of everyday work: status at a glance, runs, snapshots, and previews of a plan and of a retention."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from jobs.history import Job, RecoveryPoint, RunRecord, RunState
from jobs.integrity import Assessment
from jobs.plan import Plan, Skip, Step
from jobs.policy import PolicyName, SiteName, TenantName, VaultName
from jobs.proof import short
from jobs.quantity import duration
from jobs.retention import Decision, Point
from jobs.verdict import ControlName
from reports.cells import at_site, clock, count, instant, iso, judgement, lasting, seconds, state, words
from reports.checks import Check, section
from reports.document import ABSENT, Cell, Column, Document, Fact, Scalar, Section, Severity, Table
from reports.integrity import headline
from reports.results import found
from reports.wording import CONTROLS, JOBS

_STATUS: Final = (
    Column(key="verdict", title="Verdict"),
    Column(key="policy", title="Policy"),
    Column(key="site", title="Site"),
    Column(key="newest", title="Newest point", align="right"),
    Column(key="last", title="Last run"),
    Column(key="running", title="Running"),
)
_FAILING: Final = (
    Column(key="policy", title="Policy"),
    Column(key="site", title="Site"),
    Column(key="controls", title="Missed or not proven"),
)


def status(
    assessments: Sequence[Assessment],
    runs: Iterable[RunRecord],
    service: Iterable[Check] = (),
    *,
    now: datetime,
    zone: tzinfo,
    operator: str,
) -> Document:
    """One line for each policy at each site, and for each check of the service.

    `runs` are the recent and the open ones; one named twice counts once.
    """
    recent = sorted({run.id: run for run in runs}.values(), key=lambda run: (run.started_at, run.id))
    at: defaultdict[tuple[str, str, str], list[RunRecord]] = defaultdict(list)
    for run in recent:
        at[run.tenant, run.policy, run.vault].append(run)
    glance = Table(
        key="status",
        columns=_STATUS,
        rows=tuple(_status_row(each, at[each.tenant, each.policy, each.vault], now) for each in assessments),
        empty="The settings name no policy.",
    )
    failing = Table(
        key="failing",
        columns=_FAILING,
        rows=tuple(_failing_row(judged) for judged in assessments if judged.verdict.fails),
        empty="Nothing is missed, and nothing is unproven.",
    )
    return Document(
        kind="status",
        title="Status",
        subtitle=f"{operator} · {clock(now, zone)}",
        headline=headline(assessments),
        sections=(
            Section(key="status", title="Policies", tables=(glance,)),
            Section(key="failing", title="What to look at", tables=(failing,)),
            *((section(said),) if (said := tuple(service)) else ()),
        ),
    )


def _status_row(judged: Assessment, here: Sequence[RunRecord], now: datetime) -> tuple[Cell, ...]:
    wanted = Job.REPLICATE if judged.is_replica else Job.BACKUP
    last = next((run for run in reversed(here) if run.job is wanted and run.state is not RunState.RUNNING), None)
    return (
        judgement(judged.verdict),
        Cell(text=judged.policy, value={"tenant": judged.tenant, "policy": judged.policy}),
        Cell(text=judged.site, value={"site": judged.site, "vault": judged.vault}),
        _age_of_newest(judged),
        words("never", "never") if last is None else state(last.state),
        _running([run for run in here if run.state is RunState.RUNNING], now),
    )


def _failing_row(judged: Assessment) -> tuple[Cell, ...]:
    failing = [control.name for control in judged.controls if control.verdict.fails]
    named = ", ".join(CONTROLS[name].lower() for name in failing) or "no objective is set"
    return (
        Cell(text=judged.policy, value={"tenant": judged.tenant, "policy": judged.policy}),
        Cell(text=judged.site, value={"site": judged.site, "vault": judged.vault}),
        Cell(text=named, value=tuple(name.value for name in failing)),
    )


def _age_of_newest(judged: Assessment) -> Cell:
    control = judged.control(ControlName.RECOVERY_POINT)
    if control is None or control.measured is None:
        return words("none", "none", Severity.BAD)
    return Cell(
        text=f"{duration(control.measured, limit=control.objective)} ago",
        value=seconds(control.measured),
        severity=Severity.BAD if control.verdict.fails else Severity.NEUTRAL,
    )


def _running(runs: Sequence[RunRecord], now: datetime) -> Cell:
    if not runs:
        return Cell(text=ABSENT, value=())
    texts = tuple(f"{JOBS[run.job]}, for {duration(max(now - run.started_at, timedelta()))}" for run in runs)
    return Cell(text=texts[0], value=tuple(run.id for run in runs), details=texts[1:])


_RUNS: Final = (
    Column(key="run", title="Run"),
    Column(key="started", title="Started"),
    Column(key="found", title="What it did"),
    Column(key="state", title="State"),
)


def runs(records: Iterable[RunRecord], *, now: datetime, zone: tzinfo) -> Document:
    """Runs in the order given, each with its result or with the reason of its failure."""
    rows = tuple(_run_row(run, now, zone) for run in records)
    return _listing("Runs", Table(key="runs", columns=_RUNS, rows=rows, empty="There are no runs."))


def _run_row(run: RunRecord, now: datetime, zone: tzinfo) -> tuple[Cell, ...]:
    took = (run.finished_at or now) - run.started_at
    lasted = "for" if run.state is RunState.RUNNING else "took"
    return (
        Cell(
            text=f"{JOBS[run.job]} {run.policy}",
            value={
                "run": run.id,
                "job": run.job.value,
                "tenant": run.tenant,
                "policy": run.policy,
                "site": run.site,
                "vault": run.vault,
                "source_vault": run.source_vault,
            },
            details=(*at_site(run.site), run.id),
        ),
        Cell(
            text=clock(run.started_at, zone),
            value={"at": iso(run.started_at), "seconds": seconds(took)},
            details=(f"{lasted} {duration(took)}",),
        ),
        found(run),
        state(run.state),
    )


_SNAPSHOTS: Final = (
    Column(key="snapshot", title="Snapshot"),
    Column(key="time", title="Time"),
    Column(key="policy", title="Policy"),
    Column(key="site", title="Site"),
    Column(key="age", title="Age", align="right"),
)


def snapshots(points: Iterable[RecoveryPoint], *, now: datetime, zone: tzinfo) -> Document:
    """Recovery points in the order given; the short id is what every restic takes."""
    rows = tuple(_snapshot_row(point, now, zone) for point in points)
    table = Table(key="snapshots", columns=_SNAPSHOTS, rows=rows, empty="There is no recovery point.")
    return _listing("Recovery points", table)


def _snapshot_row(point: RecoveryPoint, now: datetime, zone: tzinfo) -> tuple[Cell, ...]:
    whose: Mapping[str, Scalar] = {
        "tenant": point.tenant,
        "policy": point.policy,
        "run": point.run,
        "complete": point.complete,
    }
    return (
        Cell(
            text=short(point.snapshot),
            value=point.snapshot,
            severity=Severity.NEUTRAL if point.complete else Severity.WARNING,
            details=() if point.complete else ("partial",),
        ),
        instant(point.time, zone),
        Cell(text=point.policy, value=whose),
        Cell(text=point.site, value={"site": point.site, "vault": point.vault}),
        lasting(now - point.time),
    )


def _listing(title: str, table: Table) -> Document:
    return Document(
        kind=table.key,
        title=title,
        summary=(Fact(key="count", label="Listed", cell=count(len(table.rows))),),
        sections=(Section(key=table.key, title="", tables=(table,)),),
    )


_STEPS: Final = (
    Column(key="step", title="Step", align="right"),
    Column(key="job", title="Job"),
    Column(key="policy", title="Policy"),
    Column(key="place", title="Where"),
    Column(key="after", title="Only after"),
)
_SKIPS: Final = (
    Column(key="policy", title="Policy"),
    Column(key="job", title="Job"),
    Column(key="reason", title="Reason"),
)


def plan(preview: Plan, *, zone: tzinfo) -> Document:
    """What would run, in order, and what would not, each with its reason."""
    numbers = {step.key: place for place, step in enumerate(preview.steps, start=1)}
    steps = tuple(
        (
            count(numbers[step.key]),
            words(JOBS[step.job], step.job.value),
            Cell(text=step.policy, value={"tenant": step.tenant, "policy": step.policy}),
            _place(step),
            words(", ".join(f"step {numbers[key]}" for key in step.after if key in numbers) or ABSENT),
        )
        for step in preview.steps
    )
    return Document(
        kind="plan",
        title="Plan",
        subtitle=clock(preview.at, zone),
        summary=(
            Fact(key="steps", label="Would run", cell=count(len(preview.steps))),
            Fact(key="skips", label="Would not run", cell=count(len(preview.skips))),
        ),
        facts=(Fact(key="at", label="Planned", cell=instant(preview.at, zone)),),
        sections=(
            Section(
                key="steps",
                title="Would run",
                tables=(Table(key="steps", columns=_STEPS, rows=steps, empty="Nothing."),),
            ),
            left_out(preview.skips, "Would not run"),
        ),
    )


def _place(step: Step) -> Cell:
    text = step.vault if step.source_vault is None else f"{step.source_vault} to {step.vault}"
    return Cell(text=text, value={"site": step.site, "vault": step.vault, "source_vault": step.source_vault})


def left_out(skips: Sequence[Skip], title: str) -> Section:
    """What would not run, or did not, each with its reason."""
    rows = tuple(
        (
            words(skip.policy),
            words(JOBS[skip.job], skip.job.value),
            Cell(
                text=skip.reason.words,
                value={"code": type(skip.reason).__name__, "vault": skip.vault, "refused": skip.refused},
                severity=Severity.BAD if skip.refused else Severity.NEUTRAL,
            ),
        )
        for skip in skips
    )
    table = Table(key="skips", columns=_SKIPS, rows=rows, empty="Nothing is left out.")
    return Section(key="skips", title=title, tables=(table,))


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """What a retention would do to one policy's points in one vault, or has done."""

    tenant: TenantName
    policy: PolicyName
    site: SiteName
    vault: VaultName
    decision: Decision


_RETENTION: Final = (
    Column(key="time", title="Recovery point"),
    Column(key="snapshot", title="Snapshot", code=True),
    Column(key="reasons", title="Why"),
    Column(key="decision", title="Decision"),
)


_NO_RETENTION: Final = Section(
    key="none", title="", tables=(Table(key="points", columns=_RETENTION, empty="No policy sets a retention."),)
)


def retention(removals: Iterable[Removal], *, zone: tzinfo) -> Document:
    """For each copy every point, newest first, and whether it stays, with the reason."""
    asked = tuple(removals)
    kept = sum(len(each.decision.keep) for each in asked)
    gone = sum(len(each.decision.remove) for each in asked)
    return Document(
        kind="retention",
        title="Retention",
        summary=(
            Fact(key="keep", label="Would stay", cell=count(kept)),
            Fact(key="remove", label="Would go", cell=count(gone, Severity.WARNING if gone else Severity.NEUTRAL)),
        ),
        sections=tuple(_removal(each, zone) for each in asked) or (_NO_RETENTION,),
    )


def _removal(asked: Removal, zone: tzinfo) -> Section:
    stays = {kept.point.run: kept.reasons for kept in asked.decision.keep}
    every = [*(kept.point for kept in asked.decision.keep), *asked.decision.remove]
    rows = tuple(
        _retention_row(point, stays.get(point.run), zone)
        for point in sorted(every, key=lambda point: (point.time, point.run), reverse=True)
    )
    table = Table(key="points", columns=_RETENTION, rows=rows, empty="There is no recovery point.")
    title = f"{asked.policy} at {asked.site} (vault {asked.vault})"
    return Section(key=f"{asked.tenant}-{asked.policy}-{asked.vault}", title=title, tables=(table,))


def _retention_row(point: Point, reasons: tuple[str, ...] | None, zone: tzinfo) -> tuple[Cell, ...]:
    first = point.snapshots[0]
    why = (
        words("no rule keeps it", "") if reasons is None else Cell(text=reasons[0], value=reasons, details=reasons[1:])
    )
    stays = Cell(text="keep", value="keep", severity=Severity.GOOD, badge=True)
    goes = Cell(text="remove", value="remove", severity=Severity.WARNING, badge=True)
    return (instant(point.time, zone), words(short(first.id), first.id), why, goes if reasons is None else stays)

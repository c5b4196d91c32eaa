"""What ran in a period and how it ended, and the recovery points that stand at each site: counted, none left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from types import MappingProxyType
from typing import Final

from jobs.history import Job, RecoveryPoint, RunRecord, RunState
from jobs.integrity import Assessment, SiteParity
from jobs.period import Period
from jobs.policy import PolicyName, TenantName, VaultName
from jobs.quantity import number
from jobs.tally import Ran
from reports.cells import at_site, clock, count, iso, state, words
from reports.document import ABSENT, Cell, Column, Section, Severity, Table
from reports.results import found
from reports.wording import JOBS

_MOST_FAILURES: Final = 200  # a year of a broken link would bury the page; the count above is always whole
_BAD: Final = (RunState.PARTIAL, RunState.FAILED, RunState.BLOCKED, RunState.INTERRUPTED)
_ALWAYS: Final = frozenset({RunState.SUCCEEDED, RunState.FAILED})  # a column that says 0; others only where they count
_FAILURES: Final = (
    Column(key="run", title="Run"),
    Column(key="reason", title="Reason and next step"),
    Column(key="state", title="Ended"),
)
_POINTS: Final = (
    Column(key="copy", title="Policy and site"),
    Column(key="points", title="Points", align="right"),
    Column(key="arrived", title="New", align="right"),
    Column(key="gone", title="Gone", align="right"),
    Column(key="newest", title="Newest"),
    Column(key="parity", title="Parity"),
)


def state_at(run: RunRecord, as_of: datetime) -> RunState:
    """The run's state as it was known then: one that ended later was still running."""
    return RunState.RUNNING if run.finished_at is not None and run.finished_at > as_of else run.state


def ran_in(runs: Iterable[RunRecord], period: Period, as_of: datetime) -> Ran:
    """What started in the period, of all the runs there are; those that went wrong newest first."""
    within = [run for run in runs if run.started_at in period and run.started_at <= as_of]
    newest_first = sorted(within, key=lambda run: (run.started_at, run.id), reverse=True)
    return Ran(
        counted=Counter((run.tenant, run.policy, run.job, state_at(run, as_of)) for run in within),
        bad=tuple(run for run in newest_first if state_at(run, as_of) in _BAD),
    )


# What stands for no failures, by whether any run is there, and whether some were removed.
_EMPTY: Final[Mapping[tuple[bool, bool], str]] = MappingProxyType(
    {
        (True, False): "Every run that ended in this period succeeded.",
        (False, False): "No run started in this period.",
        (True, True): "Every run that is kept and ended in this period succeeded.",
        (False, True): "No run of this period is kept.",
    }
)


def runs_section(ran: Ran, as_of: datetime, zone: tzinfo, kept_since: datetime | None = None) -> Section:
    """Every run that started in the period, counted by job and state, and each that went wrong with its reason."""
    tally: Counter[tuple[Job, RunState]] = Counter()
    for (_, _, job, ended), many in ran.counted.items():
        tally[job, ended] += many
    unlisted = sum(many for (_, ended), many in tally.items() if ended in _BAD) - _MOST_FAILURES
    more = (f"{number(unlisted)} older ones are not listed here.",) if unlisted > 0 else ()
    failures = Table(
        key="failures",
        title="Runs that did not succeed",
        columns=_FAILURES,
        rows=tuple(_failure(run, as_of, zone) for run in ran.bad[:_MOST_FAILURES]),
        empty=_EMPTY[bool(tally), kept_since is not None],
    )
    return Section(
        key="runs",
        title="Runs of the period",
        paragraphs=(*_removed(kept_since, zone), *more),
        tables=(_counts(tally), failures),
    )


def _removed(kept_since: datetime | None, zone: tzinfo) -> tuple[str, ...]:
    """That a part of the period is older than what is kept."""
    if kept_since is None:
        return ()
    removed = f"Runs that ended before {clock(kept_since, zone)} were removed, as [ledger] keep says"
    return (f"{removed}, but for those that a verdict rests on; only what is kept is counted.",)


def _counts(tally: Counter[tuple[Job, RunState]]) -> Table:
    states = [each for each in RunState if each in _ALWAYS or any(tally[job, each] for job in Job)]
    rows = [
        (words(JOBS[job], job.value), *_tallied({each: tally[job, each] for each in states}))
        for job in Job
        if any(tally[job, each] for each in states)
    ]
    total = {each: sum(tally[job, each] for job in Job) for each in states}
    columns = (
        Column(key="job", title="Job"),
        *(Column(key=each.value, title=each.value, align="right") for each in states),
        Column(key="all", title="all", align="right"),
    )
    return Table(key="counts", columns=columns, rows=(*rows, (words("all"), *_tallied(total))))


def _tallied(amounts: Mapping[RunState, int]) -> tuple[Cell, ...]:
    cells = [
        count(amount, Severity.BAD if amount and each in _BAD else Severity.NEUTRAL) for each, amount in amounts.items()
    ]
    return (*cells, count(sum(amounts.values())))


def _failure(run: RunRecord, as_of: datetime, zone: tzinfo) -> tuple[Cell, ...]:
    return (
        Cell(
            text=f"{JOBS[run.job]} {run.policy}",
            value={
                "run": run.id,
                "started": iso(run.started_at),
                "job": run.job.value,
                "policy": run.policy,
                "site": run.site,
                "vault": run.vault,
            },
            details=(clock(run.started_at, zone), ", ".join((*at_site(run.site), f"run {run.id}"))),
        ),
        found(run),
        state(state_at(run, as_of)),
    )


_POINTS_LEAD: Final = (
    "New and gone count what was first seen, and what was first found missing, within the period. Parity compares a "
    "replica with the primary: missing stands at the primary only, surplus at the replica only."
)
_Copy = tuple[TenantName, PolicyName, VaultName]


def points_section(
    assessments: Sequence[Assessment], points: Iterable[RecoveryPoint], period: Period, as_of: datetime, zone: tzinfo
) -> Section:
    """The points of every copy that was judged, and of every other one that still holds some."""
    groups: dict[_Copy, list[RecoveryPoint]] = {}
    judged = {(each.tenant, each.policy, each.vault): each for each in assessments}
    for copy in judged:
        groups[copy] = []
    for point in sorted(points, key=lambda point: (point.tenant, point.policy, point.vault, point.time)):
        if point.seen_at <= as_of:
            groups.setdefault((point.tenant, point.policy, point.vault), []).append(point)
    rows = [_points_row(copy, groups[copy], judged.get(copy), period, (as_of, zone)) for copy in groups]
    table = Table(key="points", columns=_POINTS, rows=tuple(rows), empty="There is no recovery point anywhere.")
    return Section(key="points", title="Recovery points", paragraphs=(_POINTS_LEAD,), tables=(table,))


def _points_row(
    copy: _Copy,
    seen: Sequence[RecoveryPoint],
    judged: Assessment | None,
    period: Period,
    at: tuple[datetime, tzinfo],
) -> tuple[Cell, ...]:
    as_of, zone = at
    tenant, policy, vault = copy
    alive = [point for point in seen if point.gone_at is None or point.gone_at > as_of]
    gone = [point for point in seen if point.gone_at is not None and point.gone_at <= as_of]
    site = judged.site if judged else seen[0].site
    details = (f"at {site}", *(() if judged else ("no longer in the settings",)))
    value: Mapping[str, str] = {"tenant": tenant, "policy": policy, "site": site, "vault": vault}
    return (
        Cell(text=policy, value=value, details=details),
        count(len(alive), Severity.NEUTRAL if alive else Severity.BAD),
        count(sum(point.seen_at in period for point in seen)),
        count(sum(point.gone_at in period for point in gone if point.gone_at is not None)),
        _span(alive, zone),
        _parity(judged.parity if judged else None),
    )


def _parity(parity: SiteParity | None) -> Cell:
    if parity is None:
        return Cell(text=ABSENT)
    figures = {
        "equal": parity.equal,
        "missing": parity.missing,
        "surplus": parity.surplus,
        "differing": parity.differing,
        "waiting": parity.waiting,
        "overtaken": parity.overtaken,
    }
    odd = tuple(name for name in ("missing", "surplus", "differing") if figures[name])
    bad = parity.differing or parity.overtaken or not parity.equal
    return Cell(
        text=f"{number(parity.equal)} equal",
        value=figures,
        severity=Severity.BAD if bad else Severity.GOOD,
        details=tuple(f"{number(figures[name])} {name}" for name in odd),
    )


def _span(alive: Sequence[RecoveryPoint], zone: tzinfo) -> Cell:
    if not alive:
        return words("none", "none", Severity.BAD)
    first, last = alive[0].time, alive[-1].time
    return Cell(
        text=clock(last, zone),
        value={"newest": iso(last), "oldest": iso(first)},
        details=(f"since {first.astimezone(zone):%Y-%m-%d}",),
    )

"""All that a reader must not overlook: each miss, each missing proof, each reservation, and jobs that keep failing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from jobs.integrity import Assessment, Trouble
from jobs.quantity import number
from jobs.verdict import ControlName, Gap, GapCode, Verdict
from reports.cells import clock, judgement, seconds, state
from reports.cover import Cover, copy_cell
from reports.document import Cell, Column, Scalar, Severity, Table
from reports.results import found
from reports.wording import CONTROLS, JOBS, sentence

_GAPS: Final = (
    Column(key="copy", title="Policy and site"),
    Column(key="finding", title="Finding"),
    Column(key="effect", title="Effect"),
)


def gaps_table(cover: Cover, assessments: Sequence[Assessment]) -> Table:
    """What each copy misses, does not prove, or proves with a reservation; the heaviest first."""
    return Table(
        key="gaps",
        title="What is missed and what is not proven",
        columns=_GAPS,
        rows=tuple(_gap_rows(cover, assessments)),
        empty="Nothing: every control was met without reservation.",
    )


def _gap_rows(cover: Cover, assessments: Sequence[Assessment]) -> Iterable[tuple[Cell, ...]]:
    for judged in assessments:
        found = [
            (control.name, gap)
            for control in judged.controls
            for gap in control.gaps
            if gap.code is not GapCode.NO_OBJECTIVE
        ]
        for name, gap in sorted(found, key=lambda pair: list(Verdict).index(pair[1].effect)):
            yield _gap_row(cover, judged, name, gap)
        yield from _without_objective(cover, judged)
        for trouble in judged.troubles:
            yield _trouble_row(cover, judged, trouble)


def _gap_row(cover: Cover, judged: Assessment, control: ControlName | None, gap: Gap) -> tuple[Cell, ...]:
    value: Mapping[str, Scalar] = {
        "code": gap.code.value,
        "control": control.value if control else None,
        "count": gap.count,
        "measured_seconds": seconds(gap.measured),
        "objective_seconds": seconds(gap.limit),
        "detail": gap.detail or None,
    }
    of = CONTROLS[control].lower() if control else "objectives"
    effect = judgement(gap.effect, (of,)) if gap.effect.fails else _noted(of)
    return (_place(cover, judged), Cell(text=sentence(gap, cover.site(judged.site)), value=value), effect)


def _noted(of: str) -> Cell:
    return Cell(text="noted", value="noted", severity=Severity.WARNING, details=(of,), badge=True)


def _without_objective(cover: Cover, judged: Assessment) -> Iterable[tuple[Cell, ...]]:
    """One row for all that was not promised: several would bury what is missing."""
    last = judged.gaps[-1] if judged.gaps else None
    if last is not None and last.code is GapCode.NOTHING_PROMISED:
        yield _gap_row(cover, judged, None, last)
        return
    unset = [
        control.name for control in judged.controls if any(gap.code is GapCode.NO_OBJECTIVE for gap in control.gaps)
    ]
    if unset:
        text = f"No objective is set for: {', '.join(CONTROLS[name].lower() for name in unset)}."
        value = {"code": GapCode.NO_OBJECTIVE.value, "controls": ", ".join(name.value for name in unset)}
        yield (_place(cover, judged), Cell(text=text, value=value), _noted("objectives"))


def _trouble_row(cover: Cover, judged: Assessment, trouble: Trouble) -> tuple[Cell, ...]:
    last = trouble.last
    when = clock(last.finished_at or last.started_at, cover.zone)
    times = "" if trouble.count == 1 else f" ({number(trouble.count)} times since the last success)"
    reason = found(last)
    shown = Cell(
        text=f"The last {JOBS[trouble.job]} ended {last.state.value}{times} at {when}: {reason.text}",
        value={"code": "last-run-bad", "run": last.id, "count": trouble.count},
        details=reason.details,
    )
    ended = state(last.state)
    of = (f"{JOBS[trouble.job]} run",)
    effect = Cell(text=ended.text, value=ended.value, severity=ended.severity, details=of, badge=True)
    return (_place(cover, judged), shown, effect)


def _place(cover: Cover, judged: Assessment) -> Cell:
    copy = copy_cell(cover, judged)
    return Cell(text=copy.text, value=copy.value, details=copy.details[:1])

"""The integrity report: for every policy at every site what is proven, what is not, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from jobs.history import RecoveryPoint, RunRecord
from jobs.integrity import Assessment, assess
from jobs.policy import Policy
from jobs.quantity import counted, duration, number, size
from jobs.tally import Ran
from jobs.verdict import Control, ControlName, Verdict, heaviest
from reports.cells import clock, count, instant, iso, judgement, seconds, words
from reports.cover import Cover, copy_cell
from reports.document import ABSENT, Cell, Column, Document, Fact, Scalar, Section, Severity, Table
from reports.gaps import gaps_table
from reports.register import points_section, ran_in, runs_section
from reports.unattended import Unattended, fact, sections, was_due
from reports.wording import CONTROLS, METHOD, read_share


def integrity(
    cover: Cover,
    policies: Iterable[Policy],
    runs: Iterable[RunRecord],
    points: Iterable[RecoveryPoint],
    unattended: Unattended | None = None,
    ran: Ran | None = None,
) -> Document:
    """Build the report. Its headline is bad unless every copy in scope is met; ValueError before the period begins.

    `ran` is what ran in the period; without it, `runs` are all that did, and not only those that are judged.
    """
    chosen = [policy for policy in policies if cover.within(policy.tenant, policy.name)]
    theirs = [run for run in runs if cover.tenant in {None, run.tenant}]  # a check may bear another policy's name
    seen = [point for point in points if cover.within(point.tenant, point.policy)]
    assessments = assess(chosen, theirs, seen, cover.as_of)
    whole = ran or ran_in(theirs, cover.period, cover.as_of)
    own = Ran(
        counted={of: many for of, many in whole.counted.items() if cover.within(*of[:2])},
        bad=tuple(run for run in whole.bad if cover.within(run.tenant, run.policy)),
    )
    return Document(
        kind="integrity",
        title="Integrity report",
        subtitle=f"{cover.operator} · {cover.period.text}",
        headline=headline(assessments, unattended),
        summary=(*_summary(assessments), *_due(unattended)),
        facts=_facts(cover),
        sections=(
            *_tenant_sections(cover, assessments),
            runs_section(own, cover.as_of, cover.zone, cover.kept_since),
            points_section(assessments, seen, cover.period, cover.as_of, cover.zone),
            *(() if unattended is None else sections(cover, unattended)),
            _method(),
        ),
    )


def _due(unattended: Unattended | None) -> tuple[Fact, ...]:
    return () if unattended is None or not was_due(unattended) else (fact(unattended),)


def headline(assessments: Sequence[Assessment], unattended: Unattended | None = None) -> Cell:
    """The verdict of all in one sentence, and in another that slots do not add up: then no verdict can be good.

    Where there is nothing to judge, nothing is proven.
    """
    verdict = _verdict_of_all(assessments)
    if unattended is None or unattended.counted.adds_up:
        return verdict
    value = Verdict.NOT_PROVEN.value if verdict.severity is Severity.GOOD else verdict.value
    return Cell(text=f"{verdict.text} What was due does not add up.", value=value, severity=Severity.BAD)


def _verdict_of_all(assessments: Sequence[Assessment]) -> Cell:
    if not assessments:
        return words("Nothing is proven: no policy is in scope.", Verdict.NOT_PROVEN.value, Severity.BAD)
    verdict = heaviest(assessment.verdict for assessment in assessments)
    if not verdict.fails:
        subject = "The one copy is" if len(assessments) == 1 else f"All {_copies(len(assessments))} are"
        return words(f"{subject} proven and within objectives.", verdict.value, Severity.GOOD)
    parts = [
        f"{number(amount)} {name}"
        for name, amount in (("missed", _tally(assessments, Verdict.MISSED)), ("not proven", _unproven(assessments)))
        if amount
    ]
    failing = sum(assessment.verdict.fails for assessment in assessments)
    text = (
        f"{number(failing)} of {_copies(len(assessments))} {'fails' if failing == 1 else 'fail'}: {', '.join(parts)}."
    )
    return words(text, verdict.value, Severity.BAD)


def _copies(amount: int) -> str:
    return counted(amount, "copy", "copies")


def _tally(assessments: Sequence[Assessment], verdict: Verdict) -> int:
    return sum(assessment.verdict is verdict for assessment in assessments)


def _unproven(assessments: Sequence[Assessment]) -> int:
    return _tally(assessments, Verdict.NOT_PROVEN)


def _summary(assessments: Sequence[Assessment]) -> tuple[Fact, ...]:
    met, missed = _tally(assessments, Verdict.MET), _tally(assessments, Verdict.MISSED)
    unproven = _unproven(assessments)
    return (
        Fact(key="copies", label="Copies judged", cell=count(len(assessments))),
        Fact(key="met", label="Met", cell=count(met, Severity.GOOD if met else Severity.NEUTRAL)),
        Fact(key="missed", label="Missed", cell=count(missed, Severity.BAD if missed else Severity.NEUTRAL)),
        Fact(
            key="not_proven", label="Not proven", cell=count(unproven, Severity.BAD if unproven else Severity.NEUTRAL)
        ),
    )


def _facts(cover: Cover) -> tuple[Fact, ...]:
    period = cover.period
    whole = f"{clock(period.start, cover.zone)} to {clock(period.end, cover.zone)}"
    span: Mapping[str, Scalar] = {"name": period.text, "start": iso(period.start), "end": iso(period.end)}
    return (
        Fact(key="operator", label="Operator", cell=words(cover.operator)),
        Fact(key="scope", label="Scope", cell=_scope(cover)),
        Fact(key="period", label="Period", cell=Cell(text=whole, value=span)),
        Fact(key="as_of", label="As of", cell=instant(cover.as_of, cover.zone)),
        Fact(key="generated_at", label="Generated", cell=instant(cover.now, cover.zone)),
        Fact(key="time_zone", label="Time zone", cell=words(str(cover.zone))),
        Fact(
            key="software",
            label="Software",
            cell=words(", ".join(filter(None, (f"Tandem {cover.tandem}", cover.restic)))),
        ),
        Fact(key="settings_hash", label="Policies' settings (SHA-256)", cell=words(cover.settings_hash)),
    )


def _scope(cover: Cover) -> Cell:
    tenant = "all tenants" if cover.tenant is None else f"only {cover.tenants.get(cover.tenant, cover.tenant)}"
    policy = "" if cover.policy is None else f", only policy {cover.policy}"
    return Cell(text=tenant + policy, value={"tenant": cover.tenant, "policy": cover.policy})


# Under a tenant stand first the verdicts on one page, then all that is missing.
_VERDICTS: Final = (
    Column(key="copy", title="Policy and site"),
    Column(key="recovery_point", title="Newest recovery point"),
    Column(key="replica", title="Replica lag and parity"),
    Column(key="check", title="Last check"),
    Column(key="restore_test", title="Last restore test"),
    Column(key="verdict", title="Verdict"),
)


_NAMED: Final = 3  # damaged files, by name; all that are kept: tandem --json runs --run


def _tenant_sections(cover: Cover, assessments: Sequence[Assessment]) -> Iterable[Section]:
    for tenant in dict.fromkeys(assessment.tenant for assessment in assessments):
        own = [assessment for assessment in assessments if assessment.tenant == tenant]
        yield Section(
            key=f"tenant-{tenant}",
            title=cover.tenants.get(tenant, tenant),
            tables=(
                Table(key="verdicts", columns=_VERDICTS, rows=tuple(_verdict_row(cover, each) for each in own)),
                gaps_table(cover, own),
            ),
        )


def _verdict_row(cover: Cover, judged: Assessment) -> tuple[Cell, ...]:
    failing = tuple(CONTROLS[control.name].lower() for control in judged.controls if control.verdict.fails)
    return (
        copy_cell(cover, judged),
        _newest(cover, judged),
        _replica(judged),
        _check(cover, judged),
        _restore_test(cover, judged),
        judgement(judged.verdict, failing),
    )


_SEVERITIES: Final[Mapping[Verdict, Severity]] = {
    Verdict.MET: Severity.GOOD,
    Verdict.MISSED: Severity.BAD,
    Verdict.NOT_PROVEN: Severity.BAD,
    Verdict.NO_OBJECTIVE: Severity.NEUTRAL,
}


def _figures(control: Control, prefix: str = "") -> dict[str, Scalar]:
    return {
        f"{prefix}seconds": seconds(control.measured),
        f"{prefix}objective_seconds": seconds(control.objective),
        f"{prefix}verdict": control.verdict.value,
    }


def _of(control: Control) -> str:
    """A figure beside its objective: "5 h 13 min of 24 h"."""
    if control.measured is None:
        return "unknown" if control.objective is None else f"unknown, {duration(control.objective)} allowed"
    figure = duration(control.measured, limit=control.objective)
    return f"{figure}, no objective" if control.objective is None else f"{figure} of {duration(control.objective)}"


def _control(judged: Assessment, name: ControlName) -> Control:
    control = judged.control(name)
    if control is None:
        raise LookupError(f"{judged.policy} at {judged.site} was assessed without {name}")
    return control


def _newest(cover: Cover, judged: Assessment) -> Cell:
    control = _control(judged, ControlName.RECOVERY_POINT)
    point = judged.newest
    return Cell(
        text="none" if point is None else clock(point.time, cover.zone),
        value={
            "at": None if point is None else iso(point.time),
            "snapshot": None if point is None else point.snapshot,
            "points": judged.points,
            **_figures(control, "age_"),
        },
        severity=_SEVERITIES[control.verdict],
        details=() if point is None else (f"age {_of(control)}",),
    )


def _replica(judged: Assessment) -> Cell:
    control, parity = judged.control(ControlName.REPLICA_LAG), judged.parity
    if control is None or parity is None:
        return Cell(text=ABSENT)
    sides = _control(judged, ControlName.PARITY).verdict
    odd = ((parity.waiting, "waiting"), (parity.overtaken, "never copied"), (parity.differing, "differing"))
    return Cell(
        text=_of(control),
        value={
            **_figures(control, "lag_"),
            "parity_verdict": sides.value,
            "equal": parity.equal,
            "waiting": parity.waiting,
            "overtaken": parity.overtaken,
            "differing": parity.differing,
        },
        severity=_SEVERITIES[heaviest((control.verdict, sides))],
        details=(f"{counted(parity.equal, 'point')} equal", *(f"{number(many)} {what}" for many, what in odd if many)),
    )


def _check(cover: Cover, judged: Assessment) -> Cell:
    """The last check, and below it the last audit where there are audits: both are of the stored files themselves."""
    control, proof = _control(judged, ControlName.CHECK), judged.check
    audit, audited = judged.control(ControlName.AUDIT), _audit(cover, judged)
    severity = _SEVERITIES[(audit if audit is not None and audit.verdict.fails else control).verdict]
    figures = {**_figures(control, "age_"), **_audit_figures(judged)}
    if proof is None:
        return Cell(text="never", value={"at": None, **figures}, severity=severity, details=audited)
    result = proof.result
    read = f"read {read_share(result.read_data)}, {counted(result.errors, 'error')}"
    return Cell(
        text=clock(proof.at, cover.zone),
        value={
            "at": iso(proof.at),
            "run": proof.run.id,
            "read_data": result.read_data,
            "errors": result.errors,
            **figures,
        },
        severity=severity,
        details=(f"age {_of(control)}", read, *audited),
    )


def _audit(cover: Cover, judged: Assessment) -> tuple[str, ...]:
    """When every stored file was read last, of what age that is, and what was found; damaged files by their names."""
    control, proof = judged.control(ControlName.AUDIT), judged.audit
    if control is None:
        return ()
    if proof is None:
        return ("audit: never",)
    result = proof.result
    more = result.damaged - _NAMED
    return (
        f"audit: {clock(proof.at, cover.zone)}, age {_of(control)}",
        f"read {counted(result.files, 'file')}, {size(result.bytes)}, {number(result.damaged)} damaged",
        *result.findings[:_NAMED],
        *((f"and {number(more)} more",) if more > 0 else ()),
    )


def _audit_figures(judged: Assessment) -> dict[str, Scalar]:
    """The same for machines; nothing where there are no audits."""
    control, proof = judged.control(ControlName.AUDIT), judged.audit
    if control is None:
        return {}
    found: dict[str, Scalar] = {"audit_at": None}
    if proof is not None:
        found = {
            "audit_at": iso(proof.at),
            "audit_run": proof.run.id,
            "audit_files": proof.result.files,
            "audit_bytes": proof.result.bytes,
            "audit_damaged": proof.result.damaged,
        }
    return {**found, **_figures(control, "audit_age_")}


def _restore_test(cover: Cover, judged: Assessment) -> Cell:
    control, took = _control(judged, ControlName.RESTORE_TEST), _control(judged, ControlName.RESTORE_TIME)
    proof = judged.restore_test
    figures = {**_figures(control, "age_"), **_figures(took, "restore_")}
    severity = _SEVERITIES[heaviest((control.verdict, took.verdict))]
    if proof is None:
        return Cell(text="never", value={"at": None, **figures}, severity=severity)
    result = proof.result
    return Cell(
        text=clock(proof.at, cover.zone),
        value={
            "at": iso(proof.at),
            "run": proof.run.id,
            "snapshot": result.snapshot,
            "files_compared": result.files_compared,
            "bytes_compared": result.bytes_compared,
            "differences": result.differences,
            "changed": result.changed,
            "not_compared": result.not_compared,
            **figures,
        },
        severity=severity,
        details=(
            f"age {_of(control)}",
            f"compared {counted(result.files_compared, 'file')}, {size(result.bytes_compared)}",
            counted(result.differences, "difference"),
            f"restore time {_of(took)}",
        ),
    )


def _method() -> Section:
    columns = (Column(key="term", title="Term"), Column(key="meaning", title="How it is found"))
    rows = tuple((words(term), words(meaning)) for term, meaning in METHOD)
    return Section(
        key="method",
        title="How the figures are made",
        tables=(Table(key="method", columns=columns, rows=rows),),
        annex=True,
    )

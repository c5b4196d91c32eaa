"""The check of the whole installation: a line for each thing that was looked at, and the gravest in the headline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from jobs.checkup import Finding, Grade, worst
from jobs.quantity import number
from reports.document import Cell, Column, Document, Section, Severity, Table

_SEVERITY: Final[Mapping[Grade, Severity]] = {
    Grade.OK: Severity.GOOD,
    Grade.INFO: Severity.NEUTRAL,
    Grade.WARN: Severity.WARNING,
    Grade.UNKNOWN: Severity.WARNING,
    Grade.FAILED: Severity.BAD,
}
_WORDS: Final[Mapping[Grade, str]] = {
    Grade.OK: "OK",
    Grade.INFO: "info",
    Grade.WARN: "WARN",
    Grade.UNKNOWN: "not known",
    Grade.FAILED: "FAILED",
}
_COLUMNS: Final = (
    Column(key="grade", title="Result"),
    Column(key="check", title="Check"),
    Column(key="found", title="Found"),
)


def doctor(findings: Sequence[Finding]) -> Document:
    """Every finding in the order given."""
    rows = tuple(_row(finding) for finding in findings)
    table = Table(key="checks", columns=_COLUMNS, rows=rows, empty="Nothing was checked.")
    return Document(
        kind="doctor",
        title="Doctor",
        headline=_headline(findings),
        sections=(Section(key="checks", title="", tables=(table,)),),
    )


def _headline(findings: Sequence[Finding]) -> Cell:
    counted = ((grade, sum(finding.grade is grade for finding in findings)) for grade in reversed(Grade))
    text = ", ".join(f"{number(amount)} {_WORDS[grade]}" for grade, amount in counted if amount)
    gravest = worst(findings)
    return Cell(text=text, value=gravest.value, severity=_SEVERITY[gravest], badge=True)


def _row(finding: Finding) -> tuple[Cell, ...]:
    return (
        Cell(text=_WORDS[finding.grade], value=finding.grade.value, severity=_SEVERITY[finding.grade], badge=True),
        Cell(
            text=finding.check,
            value={"check": finding.check, "subject": finding.subject},
            details=(finding.subject,) if finding.subject else (),
        ),
        Cell(
            text=finding.text,
            value={"text": finding.text, "next": finding.advice},
            details=(f"Next: {finding.advice}",) if finding.advice else (),
        ),
    )

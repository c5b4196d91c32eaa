"""Cells for the values that every report shows, so that an instant or an age looks the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from jobs.history import RunState
from jobs.quantity import duration, number, size, whole_seconds
from jobs.reporting import NOWHERE
from jobs.verdict import Verdict
from reports.document import ABSENT, Cell, Scalar, Severity

VERDICTS: Final[Mapping[Verdict, tuple[str, Severity]]] = {
    Verdict.MET: ("met", Severity.GOOD),
    Verdict.MISSED: ("missed", Severity.BAD),
    Verdict.NOT_PROVEN: ("not proven", Severity.BAD),
    Verdict.NO_OBJECTIVE: ("no objective", Severity.WARNING),
}

STATES: Final[Mapping[RunState, Severity]] = {
    RunState.RUNNING: Severity.NEUTRAL,
    RunState.SUCCEEDED: Severity.GOOD,
    RunState.PARTIAL: Severity.WARNING,
    RunState.FAILED: Severity.BAD,
    RunState.SKIPPED: Severity.NEUTRAL,
    RunState.BLOCKED: Severity.BAD,
    RunState.INTERRUPTED: Severity.BAD,
}


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC to the second, for machines."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def at_site(site: str, title: str = "") -> tuple[str, ...]:
    """Where a job is done, as a line below its name; a report is made at no site."""
    return () if site == NOWHERE[0] else (f"at {title or site}",)


def clock(moment: datetime, zone: tzinfo) -> str:
    """The same instant for people: the service's wall clock, and how far it is from UTC."""
    local = moment.astimezone(zone)
    offset = local.strftime("%z")
    return f"{local:%Y-%m-%d %H:%M} {offset[:3]}:{offset[3:5]}"


def instant(moment: datetime | None, zone: tzinfo, missing: str = "never") -> Cell:
    """A moment, or the word for its absence."""
    return Cell(text=missing) if moment is None else Cell(text=clock(moment, zone), value=iso(moment))


def seconds(value: timedelta | None) -> int | None:
    """A duration in whole seconds for machines, or None."""
    return None if value is None else whole_seconds(value)


def lasting(value: timedelta | None, missing: str = ABSENT) -> Cell:
    """A duration, rounded up; its value in whole seconds."""
    return Cell(text=missing) if value is None else Cell(text=duration(value), value=whole_seconds(value))


def count(value: int, severity: Severity = Severity.NEUTRAL) -> Cell:
    """A number of things."""
    return Cell(text=number(value), value=value, severity=severity)


def volume(value: int) -> Cell:
    """An amount of data; its value in bytes."""
    return Cell(text=size(value), value=value)


def words(text: str, value: Scalar = None, severity: Severity = Severity.NEUTRAL) -> Cell:
    """A text whose value is the text itself, unless a code is given."""
    return Cell(text=text, value=text if value is None else value, severity=severity)


def judgement(verdict: Verdict, details: tuple[str, ...] = ()) -> Cell:
    """A verdict, to be shown with its symbol."""
    text, severity = VERDICTS[verdict]
    return Cell(text=text, value=verdict.value, severity=severity, details=details, badge=True)


def state(value: RunState) -> Cell:
    """How a run ended, or that it has not."""
    return Cell(text=value.value, value=value.value, severity=STATES[value], badge=True)

"""What the scheduler does now, and what is to come: every line of every policy once, with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from itertools import groupby
from typing import Final

from jobs.agenda import next_due
from jobs.dispatch import Moves
from jobs.forecast import Planned
from jobs.history import Job
from jobs.policy import PolicyName, VaultName
from jobs.quantity import counted
from jobs.slot import Line, Slot, SlotState
from reports.cells import at_site, clock, count, instant, iso
from reports.document import ABSENT, Cell, Column, Document, Fact, Scalar, Section, Severity, Table
from reports.slots import SLOT_STATES
from reports.wording import JOBS

_NOW: Final = (
    Column(key="job", title="Job"),
    Column(key="why", title="Why"),
    Column(key="next", title="Next due"),
    Column(key="what", title="Now"),
)
_COMING: Final = (
    Column(key="time", title="Time"),
    Column(key="job", title="Job"),
    Column(key="why", title="Why"),
    Column(key="state", title="What"),
)

# Of what is to come nothing has succeeded yet; the others end as they are called.
_TO_COME: Final[Mapping[SlotState, str]] = {
    SlotState.SUCCEEDED: "runs",
    SlotState.RUNNING: "runs until later",
    SlotState.DUE: "waits until later",
}

LineKey = tuple[PolicyName, Job, VaultName]
_Answer = tuple[str, str, Severity]


def now(
    policies: Sequence[PolicyName],
    lines: Iterable[Line],
    slots: Sequence[Slot],
    moves: Moves,
    *,
    at: datetime,
    zone: tzinfo,
) -> Document:
    """What would start now, what would end without a run, what waits and for what; and when the rest is due.

    Each line of these policies is there once, also one that has ended and left slots open.
    """
    shown = frozenset(policies)
    of: dict[PolicyName, dict[LineKey, Line | Slot]] = {policy: {} for policy in policies}
    for each in slots:
        if each.policy in shown:
            of[each.policy][each.line_key] = each
    for line in lines:
        if line.policy in shown:
            of[line.policy][line.key] = line
    answers = _answers(moves, slots, zone)
    sections = tuple(_section(policy, of[policy], answers, zone) for policy in policies)
    figures = {
        "start": sum(start.slot.policy in shown for start in moves.starts),
        "wait": sum(wait.slot.policy in shown for wait in moves.waits),
        "end": sum(closing.slot.policy in shown for closing in moves.closings),
    }
    return Document(
        kind="plan",
        title="Plan",
        subtitle=clock(at, zone),
        summary=(
            Fact(key="start", label="Would start", cell=count(figures["start"])),
            Fact(key="wait", label="Wait", cell=count(figures["wait"])),
            Fact(key="end", label="Would end without a run", cell=count(figures["end"])),
        ),
        facts=(Fact(key="at", label="Planned", cell=instant(at, zone)),),
        sections=sections,
    )


def _answers(moves: Moves, slots: Iterable[Slot], zone: tzinfo) -> Mapping[LineKey, tuple[Slot, _Answer]]:
    """By line: what becomes of its newest open slot."""
    told: list[tuple[Slot, _Answer]] = [
        (slot, ("runs", f"run {slot.run}", Severity.NEUTRAL)) for slot in slots if slot.state is SlotState.RUNNING
    ]
    told += [(each.slot, (f"ends {each.state}", each.why.text, Severity.WARNING)) for each in moves.closings]
    for wait in moves.waits:
        until = "" if wait.until is None else f", until {clock(wait.until, zone)} at least"
        told.append((wait.slot, ("waits", f"{wait.why.text}{until}", Severity.NEUTRAL)))
    told += [(start.slot, ("starts", f"due {clock(start.slot.due, zone)}", Severity.NEUTRAL)) for start in moves.starts]
    return {slot.line_key: (slot, answer) for slot, answer in sorted(told, key=lambda each: each[0].due)}


def _section(
    policy: PolicyName,
    lines: Mapping[LineKey, Line | Slot],
    answers: Mapping[LineKey, tuple[Slot, _Answer]],
    zone: tzinfo,
) -> Section:
    order = sorted(lines.items(), key=lambda each: (list(Job).index(each[0][1]), each[0][2]))
    rows = tuple(_row(line, answers.get(key), zone) for key, line in order)
    empty = "No schedule: it runs only when a person says so (tandem run)."
    table = Table(key="lines", columns=_NOW, rows=rows, empty=empty)
    return Section(key=f"policy-{policy}", title=policy, tables=(table,))


def _row(line: Line | Slot, answered: tuple[Slot, _Answer] | None, zone: tzinfo) -> tuple[Cell, ...]:
    schedule = f"schedule: {line.schedule.text}" if isinstance(line, Line) else "no longer scheduled"
    slot, (what, why, severity) = answered or (None, (ABSENT, schedule, Severity.NEUTRAL))
    coming = next_due(line) if isinstance(line, Line) else None
    return (
        Cell(text=JOBS[line.job], value=_named(line), details=at_site(line.site)),
        Cell(text=why, value=None if slot is None else slot.id),
        instant(coming, zone),
        Cell(text=what, value=None if slot is None else what, severity=severity, badge=slot is not None),
    )


def _named(line: Line | Slot) -> Mapping[str, Scalar]:
    return {
        "tenant": line.tenant,
        "policy": line.policy,
        "job": line.job.value,
        "site": line.site,
        "vault": line.vault,
    }


def coming(planned: Sequence[Planned], *, at: datetime, until: datetime, zone: tzinfo) -> Document:
    """What becomes of every slot until then, if every run goes well and takes as long as the last good one."""
    alike = groupby(sorted(planned, key=_order), key=_alike)
    rows = tuple(_coming_row(tuple(group), zone) for _, group in alike)
    return Document(
        kind="forecast",
        title="Plan",
        subtitle=f"{clock(at, zone)} to {clock(until, zone)}",
        summary=(
            Fact(key="runs", label="To run", cell=count(sum(each.starts_at is not None for each in planned))),
            Fact(key="others", label="To end without a run", cell=count(sum(map(_ends_so, planned)))),
            Fact(key="waiting", label="To wait until later", cell=count(sum(map(_waits, planned)))),
        ),
        sections=(
            Section(
                key="coming",
                title="",
                paragraphs=(
                    "If every run goes well, and takes as long as its last good one (a minute, where there was none).",
                ),
                tables=(Table(key="coming", columns=_COMING, rows=rows, empty="Nothing is due."),),
            ),
        ),
    )


def _ends_so(each: Planned) -> bool:
    return each.starts_at is None and each.state is not SlotState.DUE


def _waits(each: Planned) -> bool:
    return each.starts_at is None and each.state is SlotState.DUE


def _moment(each: Planned) -> datetime:
    return each.starts_at or each.ends_at or each.slot.due


def _order(each: Planned) -> tuple[datetime, LineKey, datetime, str]:
    return (_moment(each), each.slot.line_key, each.slot.due, each.slot.id)


def _alike(each: Planned) -> tuple[object, ...]:
    """What ends in one moment without a run, for the same kind of reason: the moments of one outage, say."""
    own = each.slot.id if each.why is None or each.ends_at is None else each.why.kind
    return (_moment(each), each.slot.line_key, each.state, own)


def _coming_row(alike: Sequence[Planned], zone: tzinfo) -> tuple[Cell, ...]:
    first, last = alike[0], alike[-1]
    moment, slot = _moment(first), first.slot
    due = () if clock(slot.due, zone) == clock(moment, zone) else (f"due {clock(slot.due, zone)}",)
    if first is not last:
        due = (f"{counted(len(alike), 'slot')} due {clock(slot.due, zone)} to {clock(last.slot.due, zone)}",)
    return (
        Cell(
            text=clock(moment, zone),
            value={"at": iso(moment), "due": iso(slot.due), "last_due": iso(last.slot.due), "slots": len(alike)},
            details=due,
        ),
        Cell(
            text=f"{JOBS[slot.job]} {slot.policy}",
            value={**_named(slot), "slot": slot.id},
            details=at_site(slot.site),
        ),
        _why(alike),
        _state(first.state),
    )


def _why(alike: Sequence[Planned]) -> Cell:
    """The first one's reason; that others' differ in whom they name alone needs no line for each."""
    why = alike[0].why
    if why is None:
        return Cell(text=ABSENT)
    details = () if all(each.why == why for each in alike) else ("and so the others",)
    return Cell(text=why.text, value=why.kind.value, details=details)


def _state(state: SlotState) -> Cell:
    severity = Severity.NEUTRAL if state in _TO_COME else SLOT_STATES[state]
    return Cell(text=_TO_COME.get(state, f"ends {state}"), value=state.value, severity=severity, badge=True)

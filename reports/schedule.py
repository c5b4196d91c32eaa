"""What the scheduler does now, and what is to come: every line of every policy once, with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Final

from jobs.agenda import next_due
from jobs.dispatch import Moves
from jobs.forecast import Planned
from jobs.policy import Policy, PolicyName
from jobs.slot import Line, Slot, SlotState
from reports.cells import clock, count, instant, iso, words
from reports.document import ABSENT, Cell, Column, Document, Fact, Scalar, Section, Severity, Table
from reports.slots import slot_state
from reports.wording import JOBS

_NOW: Final = (
    Column(key="job", title="Job"),
    Column(key="what", title="Now"),
    Column(key="why", title="Why"),
    Column(key="next", title="Next due"),
)
_COMING: Final = (
    Column(key="time", title="Time"),
    Column(key="job", title="Job"),
    Column(key="why", title="Why"),
    Column(key="state", title="State"),
)

_Answer = tuple[str, str, Severity]


def now(
    policies: Sequence[Policy],
    lines: Iterable[Line],
    slots: Iterable[Slot],
    moves: Moves,
    *,
    at: datetime,
    zone: tzinfo,
) -> Document:
    """What would start now, what would end without a run, what waits and for what; and when the rest is due."""
    of: dict[PolicyName, list[Line]] = {policy.name: [] for policy in policies}
    for line in lines:
        if line.policy in of:
            of[line.policy].append(line)
    answers = dict(_answers(moves, slots, zone))
    sections = tuple(_section(policy, of[policy.name], answers, zone) for policy in policies)
    shown = {policy.name for policy in policies}
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


def _answers(moves: Moves, slots: Iterable[Slot], zone: tzinfo) -> Iterator[tuple[tuple[str, str, str], _Answer]]:
    """By line: of a line with several open slots, what becomes of the newest is said."""
    for slot in slots:
        if slot.state is SlotState.RUNNING:
            yield _key(slot), ("runs", f"run {slot.run}", Severity.NEUTRAL)
    for closing in moves.closings:
        yield _key(closing.slot), (f"ends {closing.state}", closing.why.text, Severity.WARNING)
    for wait in moves.waits:
        until = "" if wait.until is None else f", until {clock(wait.until, zone)} at least"
        yield _key(wait.slot), ("waits", f"{wait.why.text}{until}", Severity.NEUTRAL)
    for start in moves.starts:
        yield _key(start.slot), ("starts", f"due {clock(start.slot.due, zone)}", Severity.GOOD)


def _key(slot: Slot) -> tuple[str, str, str]:
    return (slot.policy, slot.job.value, slot.vault)


def _section(
    policy: Policy, lines: Sequence[Line], answers: Mapping[tuple[str, str, str], _Answer], zone: tzinfo
) -> Section:
    rows = []
    for line in lines:
        what, why, severity = answers.get((line.policy, line.job.value, line.vault), (ABSENT, "", Severity.NEUTRAL))
        rows.append(
            (
                Cell(text=JOBS[line.job], value=_named(line), details=(f"at {line.site}",)),
                Cell(text=what, value=what, severity=severity, badge=what != ABSENT),
                words(why or f"schedule: {line.schedule.text}"),
                instant(next_due(line), zone),
            )
        )
    empty = "No schedule: it runs only when a person says so (tandem run)."
    table = Table(key="lines", columns=_NOW, rows=tuple(rows), empty=empty)
    return Section(key=f"policy-{policy.name}", title=policy.name, tables=(table,))


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
    rows = tuple(_coming_row(each, zone) for each in sorted(planned, key=_order))
    return Document(
        kind="forecast",
        title="Plan",
        subtitle=f"{clock(at, zone)} to {clock(until, zone)}",
        summary=(
            Fact(key="runs", label="Runs", cell=count(sum(each.starts_at is not None for each in planned))),
            Fact(key="others", label="Without a run", cell=count(sum(each.starts_at is None for each in planned))),
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


def _order(each: Planned) -> tuple[datetime, str]:
    return (each.starts_at or each.ends_at or each.slot.due, each.slot.id)


def _coming_row(each: Planned, zone: tzinfo) -> tuple[Cell, ...]:
    moment = each.starts_at or each.ends_at or each.slot.due
    due = () if each.slot.due == moment else (f"due {clock(each.slot.due, zone)}",)
    return (
        Cell(text=clock(moment, zone), value={"at": iso(moment), "due": iso(each.slot.due)}, details=due),
        Cell(
            text=f"{JOBS[each.slot.job]} {each.slot.policy}",
            value={**_named(each.slot), "slot": each.slot.id},
            details=(f"at {each.slot.site}",),
        ),
        Cell(text=ABSENT) if each.why is None else Cell(text=each.why.text, value=each.why.kind.value),
        slot_state(each.state),
    )

"""Slots, counted twice: by the rows that are there, and by the schedules that made them; and each with its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from typing import Final

from jobs.history import Job
from jobs.quantity import number
from jobs.slot import Slot, SlotState
from jobs.tally import Tally
from reports.cells import clock, count, iso, words
from reports.document import ABSENT, Cell, Column, Document, Fact, Section, Severity, Table
from reports.wording import JOBS

SLOT_STATES: Final[Mapping[SlotState, Severity]] = {
    SlotState.DUE: Severity.NEUTRAL,
    SlotState.RUNNING: Severity.NEUTRAL,
    SlotState.SUCCEEDED: Severity.GOOD,
    SlotState.PARTIAL: Severity.WARNING,
    SlotState.FAILED: Severity.BAD,
    SlotState.MISSED: Severity.BAD,
    SlotState.COALESCED: Severity.NEUTRAL,
    SlotState.SKIPPED: Severity.NEUTRAL,
    SlotState.BLOCKED: Severity.BAD,
    SlotState.INTERRUPTED: Severity.BAD,
}

_SLOTS: Final = (
    Column(key="slot", title="Slot"),
    Column(key="due", title="Due"),
    Column(key="why", title="Why"),
    Column(key="state", title="State"),
)
_MISMATCH: Final = (Column(key="slot", title="Slot", code=True), Column(key="what", title="What is wrong"))


def slots(
    listed: Sequence[Slot], counted: Tally, by_job: Mapping[Job, Mapping[SlotState, int]], *, zone: tzinfo
) -> Document:
    """The newest slots, how many there are of each state and job, and whether they add up."""
    return Document(
        kind="slots",
        title="Slots",
        headline=adds_up(counted),
        summary=(
            Fact(key="due", label="Were due", cell=count(counted.expected)),
            Fact(key="found", label="On record", cell=count(counted.found)),
            *(
                Fact(key=state.value, label=state.value.capitalize(), cell=count(many, _severity(state)))
                for state, many in counted.by_state.items()
                if many
            ),
        ),
        sections=(
            *_mismatches(counted),
            Section(key="states", title="By job", tables=(states_table(by_job),)),
            Section(key="slots", title=f"The newest {number(len(listed))}", tables=(_table(listed, zone),)),
        ),
    )


def adds_up(counted: Tally) -> Cell:
    """Whether every moment that was due has exactly one slot in exactly one state."""
    if counted.adds_up:
        text = f"It adds up: {number(counted.expected)} were due, and each is in exactly one state"
        return Cell(text=text, value=True, severity=Severity.GOOD, badge=True)
    text = (
        f"It does not add up: {number(counted.expected)} were due, {number(counted.found)} are on record, "
        f"{number(counted.missing_count)} are missing and {number(counted.surplus_count)} were never due"
    )
    return Cell(text=text, value=False, severity=Severity.BAD, badge=True)


def states_table(by_job: Mapping[Job, Mapping[SlotState, int]]) -> Table:
    """Jobs by states, with sums."""
    present = [state for state in SlotState if any(states.get(state) for states in by_job.values())]
    columns = (
        Column(key="job", title="Job"),
        *(Column(key=state.value, title=state.value.capitalize(), align="right") for state in present),
        Column(key="sum", title="Sum", align="right"),
    )
    jobs = [job for job in Job if sum(by_job.get(job, {}).values())]
    rows = [_sums(JOBS[job], job.value, by_job[job], present) for job in jobs]
    total = Counter({state: sum(by_job[job].get(state, 0) for job in jobs) for state in present})
    if len(jobs) > 1:
        rows.append(_sums("all", "all", total, present))
    return Table(key="states", columns=columns, rows=tuple(rows), empty="Nothing was due.")


def _sums(name: str, code: str, states: Mapping[SlotState, int], present: Iterable[SlotState]) -> tuple[Cell, ...]:
    figures = (
        count(states.get(state, 0), _severity(state) if states.get(state) else Severity.NEUTRAL) for state in present
    )
    return (words(name, code), *figures, count(sum(states.values())))


def _severity(state: SlotState) -> Severity:
    """Of a mere number: what is good needs no colour."""
    return Severity.NEUTRAL if SLOT_STATES[state] is Severity.GOOD else SLOT_STATES[state]


def _mismatches(counted: Tally) -> tuple[Section, ...]:
    missing = ((name, "was due, and is not on record") for name in counted.missing)
    surplus = ((name, "is on record, and was never due") for name in counted.surplus)
    rows = tuple((words(name), words(what)) for name, what in (*missing, *surplus))
    if not rows:
        return ()
    return (
        Section(
            key="mismatches",
            title="What does not add up",
            tables=(Table(key="mismatches", columns=_MISMATCH, rows=rows),),
        ),
    )


def _table(listed: Iterable[Slot], zone: tzinfo) -> Table:
    rows = tuple(_row(slot, zone) for slot in listed)
    return Table(key="slots", columns=_SLOTS, rows=rows, empty="There are no slots.")


def _row(slot: Slot, zone: tzinfo) -> tuple[Cell, ...]:
    return (
        Cell(
            text=f"{JOBS[slot.job]} {slot.policy}",
            value={
                "slot": slot.id,
                "job": slot.job.value,
                "tenant": slot.tenant,
                "policy": slot.policy,
                "site": slot.site,
                "vault": slot.vault,
                "settings": slot.settings_hash,
                "attempts": slot.attempts,
            },
            details=(f"at {slot.site}",),
        ),
        Cell(
            text=clock(slot.due, zone),
            value={
                "due": iso(slot.due),
                "nominal": iso(slot.nominal),
                "known": iso(slot.known_at),
                "until": None if slot.until is None else iso(slot.until),
                "closed": None if slot.closed_at is None else iso(slot.closed_at),
            },
            details=_when(slot, zone),
        ),
        Cell(text=ABSENT)
        if slot.why is None
        else Cell(text=slot.why.text, value={"kind": slot.why.kind.value, "other": slot.why.other or None}),
        slot_state(slot.state),
    )


def _when(slot: Slot, zone: tzinfo) -> tuple[str, ...]:
    again = () if slot.retry_at is None else (f"again at {clock(slot.retry_at, zone)}",)
    ended = () if slot.closed_at is None else (f"ended {clock(slot.closed_at, zone)}",)
    tries = (f"{number(slot.attempts)} attempts",) if slot.attempts > 1 else ()
    return (*ended, *again, *tries)


def slot_state(value: SlotState) -> Cell:
    """The state a slot is in."""
    return Cell(text=value.value, value=value.value, severity=SLOT_STATES[value], badge=True)

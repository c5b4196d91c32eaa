"""Slots, counted twice: by the rows that are there, and by the schedules that made them; and each with its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from jobs.history import Job
from jobs.quantity import number
from jobs.slot import Slot, SlotState
from jobs.tally import Tally
from reports.cells import at_site, clock, count, iso, words
from reports.document import ABSENT, Cell, Column, Document, Fact, Scalar, Section, Severity, Table
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Which slots are spoken of: those of a time (`since`, and before `until`), some states of which may be listed."""

    since: datetime | None = None
    until: datetime | None = None
    states: Sequence[SlotState] = ()


def slots(listed: Sequence[Slot], counted: Tally, asked: Asked, *, zone: tzinfo) -> Document:
    """The newest slots, how many there are of each state and job, and whether they add up."""
    which = f", {' or '.join(asked.states)}" if asked.states else ""
    return Document(
        kind="slots",
        title="Slots",
        subtitle=_span(asked, zone),
        headline=adds_up(counted),
        summary=(
            Fact(key="due", label="Were due", cell=count(counted.expected)),
            Fact(key="found", label="On record", cell=count(counted.found)),
            Fact(key="unmade", label="Not looked at yet", cell=_unmade(counted)),
            *removed(counted, zone),
        ),
        facts=_facts(asked, zone),
        sections=(
            *mismatches(counted),
            Section(key="states", title="By job", tables=(states_table(counted.by_job),)),
            Section(
                key="slots",
                title=f"The newest {number(len(listed))}{which}" if listed else f"Slots{which}",
                tables=(_table(listed, zone),),
            ),
        ),
    )


def _span(asked: Asked, zone: tzinfo) -> str:
    since = () if asked.since is None else (f"since {clock(asked.since, zone)}",)
    until = () if asked.until is None else (f"before {clock(asked.until, zone)}",)
    return ", ".join((*since, *until))


def _facts(asked: Asked, zone: tzinfo) -> tuple[Fact, ...]:
    if asked.since is None and asked.until is None:
        return ()
    span = {
        "since": None if asked.since is None else iso(asked.since),
        "until": None if asked.until is None else iso(asked.until),
    }
    return (Fact(key="span", label="Due", cell=Cell(text=_span(asked, zone), value=span)),)


def _unmade(counted: Tally) -> Cell:
    many = sum(counted.unmade.values())
    return count(many, Severity.WARNING if many else Severity.NEUTRAL)


def removed(counted: Tally, zone: tzinfo) -> tuple[Fact, ...]:
    """How many are no more, because the settings keep none so old; nothing where all are there."""
    if counted.removed_before is None:
        return ()
    day = f"{counted.removed_before.astimezone(zone):%Y-%m-%d}"
    text = f"{number(counted.removed)} older than {day}, as [ledger] keep says"
    value: Mapping[str, Scalar] = {"slots": counted.removed, "before": iso(counted.removed_before)}
    return (Fact(key="removed", label="Removed", cell=Cell(text=text, value=value)),)


def adds_up(counted: Tally) -> Cell:
    """Whether every moment that was due has exactly one slot in exactly one state, and whether anybody looks at all."""
    if not counted.adds_up:
        text = (
            f"It does not add up: {number(counted.expected)} {_were(counted.expected)} due, "
            f"{number(counted.found)} {_are(counted.found)} on record, "
            f"{number(counted.missing_count)} {_are(counted.missing_count)} missing, and "
            f"{number(counted.surplus_count)} {_were(counted.surplus_count)} never due"
        )
        return Cell(text=text, value=False, severity=Severity.BAD, badge=True)
    text = f"It adds up: {number(counted.expected)} {_were(counted.expected)} due, and each is in exactly one state"
    many = sum(counted.unmade.values())
    if not many:
        return Cell(text=text, value=True, severity=Severity.GOOD, badge=True)
    text += f"; {number(many)} more {'has' if many == 1 else 'have'} come since serve last looked"
    return Cell(text=text, value=True, severity=Severity.WARNING, badge=True)


def _were(many: int) -> str:
    return "was" if many == 1 else "were"


def _are(many: int) -> str:
    return "is" if many == 1 else "are"


def states_table(by_job: Mapping[Job, Mapping[SlotState, int]]) -> Table:
    """Jobs by states, with sums. States stand below each other where there are more of them than a page is wide."""
    jobs = [job for job in Job if sum(by_job.get(job, {}).values())]
    columns = (
        Column(key="state", title="State"),
        *(Column(key=job.value, title=JOBS[job], align="right") for job in jobs),
        Column(key="sum", title="all", align="right"),
    )
    rows = [_sums(state, [by_job[job].get(state, 0) for job in jobs]) for state in SlotState]
    total = [sum(by_job[job].values()) for job in jobs]
    everything = (words("all"), *map(count, total), count(sum(total)))
    return Table(key="states", columns=columns, rows=(*rows, everything) if jobs else (), empty="Nothing was due.")


def _sums(state: SlotState, figures: Sequence[int]) -> tuple[Cell, ...]:
    """Of a mere number what is good needs no colour, and what is nothing none either."""
    loud = Severity.NEUTRAL if SLOT_STATES[state] is Severity.GOOD else SLOT_STATES[state]
    cells = (count(many, loud if many else Severity.NEUTRAL) for many in (*figures, sum(figures)))
    return (words(state.value), *cells)


def mismatches(counted: Tally) -> tuple[Section, ...]:
    """The slots that are missing, and those that were never due, by name; nothing where it adds up."""
    missing = ((name, "was due, and is not on record") for name in counted.missing)
    surplus = ((name, "is on record, and was never due") for name in counted.surplus)
    rows = tuple((words(name), words(what)) for name, what in (*missing, *surplus))
    if not rows:
        return ()
    more = counted.missing_count + counted.surplus_count - len(rows)
    return (
        Section(
            key="mismatches",
            title="What does not add up",
            paragraphs=(f"{number(more)} more are not named here.",) if more else (),
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
                "run": slot.run,
            },
            details=at_site(slot.site),
        ),
        Cell(
            text=clock(slot.due, zone),
            value={
                "due": iso(slot.due),
                "nominal": iso(slot.nominal),
                "known": iso(slot.known_at),
                "until": None if slot.until is None else iso(slot.until),
                "closed": None if slot.closed_at is None else iso(slot.closed_at),
                "retry": None if slot.retry_at is None else iso(slot.retry_at),
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

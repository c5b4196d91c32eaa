"""What was due in a period and what became of it: counted twice, and every trouble named. For the integrity report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from jobs import event
from jobs.event import Event, Topic
from jobs.history import Job
from jobs.policy import SiteName
from jobs.quantity import counted
from jobs.slot import OPEN, Slot, SlotState
from jobs.tally import Tally
from reports.cells import clock, count, iso, words
from reports.cover import Cover
from reports.document import Cell, Column, Fact, Section, Severity, Table
from reports.slots import adds_up, slot_state, states_table
from reports.wording import JOBS

TROUBLE: Final = frozenset(
    {
        SlotState.PARTIAL,
        SlotState.FAILED,
        SlotState.MISSED,
        SlotState.COALESCED,
        SlotState.BLOCKED,
        SlotState.INTERRUPTED,
    }
)
# The ends of slots have a register of their own.
_OF_SLOTS: Final = frozenset(Topic(state.value) for state in SlotState if state not in OPEN)
_UNTOLD: Final = _OF_SLOTS | {Topic.TEST}
# What tells a tenant nothing of another one.
_FOR_ALL: Final = frozenset({Topic.SERVE_STARTED, Topic.SERVE_STOPPED, Topic.SERVE_TOOK_OVER, Topic.CLOCK_STEPPED})
_REASONS: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Unattended:
    """What was due in the period, as it stood at its end, and what happened meanwhile."""

    counted: Tally
    slots: Sequence[Slot]
    events: Sequence[Event]


_SLOTS: Final = (
    Column(key="job", title="Job"),
    Column(key="slots", title="Slots", align="right"),
    Column(key="when", title="Due"),
    Column(key="why", title="Why"),
    Column(key="state", title="State"),
)
_EVENTS: Final = (
    Column(key="at", title="Time"),
    Column(key="what", title="What"),
    Column(key="text", title="What is known"),
)


def sections(cover: Cover, known: Unattended) -> tuple[Section, ...]:
    """Whether the slots add up, the troubles among them, and what else happened. Nothing where nothing was ever due."""
    slots = [slot for slot in known.slots if cover.within(slot.tenant, slot.policy)]
    events = [each for each in known.events if each.topic not in _UNTOLD and _is_for(cover, each)]
    if not slots and not events and not known.counted.expected:
        return ()
    verdict = adds_up(known.counted)
    return (
        Section(
            key="slots",
            title="What was due",
            paragraphs=(f"{verdict.text}.", *_mismatches(known.counted)),
            tables=(states_table(_by_job(slots)), _troubles(slots, cover)),
        ),
        Section(key="events", title="What happened meanwhile", tables=(_register(events, cover),)),
    )


def fact(known: Unattended) -> Fact:
    """Whether the slots add up, for the head of a report."""
    return Fact(key="slots_add_up", label="Slots", cell=adds_up(known.counted))


def _is_for(cover: Cover, happened: Event) -> bool:
    if cover.tenant is None:
        return True
    return happened.tenant == cover.tenant or (happened.tenant is None and happened.topic in _FOR_ALL)


def _mismatches(found: Tally) -> tuple[str, ...]:
    missing = (f"Missing: {', '.join(found.missing)}.",) if found.missing else ()
    surplus = (f"Never due: {', '.join(found.surplus)}.",) if found.surplus else ()
    return (*missing, *surplus)


def _by_job(slots: Iterable[Slot]) -> Mapping[Job, Mapping[SlotState, int]]:
    by_job: dict[Job, Counter[SlotState]] = {}
    for slot in slots:
        by_job.setdefault(slot.job, Counter())[slot.state] += 1
    return by_job


def _troubles(slots: Iterable[Slot], cover: Cover) -> Table:
    """Slots that did not simply succeed, those of one job that ended alike together, the worst first."""
    alike: dict[tuple[str, Job, SiteName, SlotState], list[Slot]] = {}
    for slot in sorted(slots, key=lambda slot: (slot.due, slot.id)):
        if slot.state in TROUBLE:
            alike.setdefault((slot.policy, slot.job, slot.site, slot.state), []).append(slot)
    order = sorted(alike.values(), key=lambda each: (list(SlotState).index(each[0].state), each[0].due, each[0].id))
    return Table(
        key="troubles",
        title="What did not simply succeed",
        columns=_SLOTS,
        rows=tuple(_trouble(each, cover) for each in order),
        empty="Nothing: every slot that has ended succeeded.",
    )


def _trouble(alike: Sequence[Slot], cover: Cover) -> tuple[Cell, ...]:
    first, last = alike[0], alike[-1]
    reasons = tuple(dict.fromkeys(slot.why.text for slot in reversed(alike) if slot.why is not None))
    more = (f"and {counted(len(reasons) - _REASONS, 'other reason')}",) if len(reasons) > _REASONS else ()
    until = () if first is last else (f"to {clock(last.due, cover.zone)}",)
    return (
        Cell(
            text=f"{JOBS[first.job]} {first.policy}",
            value={
                "job": first.job.value,
                "tenant": first.tenant,
                "policy": first.policy,
                "site": first.site,
                "vault": first.vault,
            },
            details=(f"at {cover.sites.get(first.site, first.site)}",),
        ),
        count(len(alike)),
        Cell(text=clock(first.due, cover.zone), value={"first": iso(first.due), "last": iso(last.due)}, details=until),
        Cell(text=reasons[0] if reasons else "", value=reasons, details=(*reasons[1:_REASONS], *more)),
        slot_state(first.state),
    )


_SEVERITIES: Final[Mapping[event.Severity, Severity]] = {
    event.Severity.INFO: Severity.NEUTRAL,
    event.Severity.WARNING: Severity.WARNING,
    event.Severity.CRITICAL: Severity.BAD,
}


def _register(events: Iterable[Event], cover: Cover) -> Table:
    rows = tuple(
        (
            Cell(text=clock(each.at, cover.zone), value=iso(each.at)),
            Cell(
                text=each.topic.value,
                value={
                    "topic": each.topic.value,
                    "tenant": each.tenant,
                    "policy": each.policy,
                    "subject": each.subject,
                },
                severity=_SEVERITIES[each.severity],
                details=(each.subject,),
                badge=each.severity is not event.Severity.INFO,
            ),
            words(each.text),
        )
        for each in events
    )
    return Table(key="events", columns=_EVENTS, rows=rows, empty="Nothing else is on record.")


def as_of(slot: Slot, moment: datetime) -> Slot:
    """The slot as it stood then: what ended later was still open."""
    if slot.closed_at is None or slot.closed_at <= moment:
        return slot
    return replace(slot, state=SlotState.DUE, why=None, closed_at=None)

"""What was due in a period and what became of it: counted twice, and every trouble named. For the integrity report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from jobs import event
from jobs.event import Event, Topic
from jobs.history import Job
from jobs.notice import Deliveries
from jobs.policy import SiteName
from jobs.quantity import counted, number
from jobs.setback import Setback
from jobs.slot import OPEN, Slot, SlotState
from jobs.tally import Tally
from reports.cells import at_site, clock, count, iso, state
from reports.cover import Cover
from reports.deliveries import OF_CHANNELS, told
from reports.document import Cell, Column, Fact, Section, Severity, Table
from reports.slots import adds_up, mismatches, removed, slot_state, states_table
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
TOLD: Final = frozenset(Topic) - _OF_SLOTS - {Topic.TEST}
# What tells a tenant nothing of another one, in words of their own: the event's may count or name what is not his.
_FOR_ALL: Final[Mapping[Topic, str]] = {
    Topic.SERVE_STARTED: "The scheduler was started.",
    Topic.SERVE_STOPPED: "The scheduler was stopped.",
    Topic.SERVE_TOOK_OVER: "Another scheduler took over from one that had given no sign of life.",
    Topic.CLOCK_STEPPED: "The scheduler's clock was set.",
    Topic.OUTAGE: "The scheduler did not run for a while.",
}
_REASONS: Final = 3
_TEXTS: Final = 10  # of what is worse than a record: each crash of a bad night bears its own moment
_SUBJECTS: Final = 3
_UNPROVEN: Final = "unproven/"  # the alarms of what was never proven yet: with every new policy there are some


@dataclass(frozen=True, kw_only=True, slots=True)
class Unattended:
    """What was due in the period, as it stood at its end, and what happened meanwhile.

    `troubled` are the slots that had ended in a state of TROUBLE by then, the earliest due first; `setbacks` why runs
    had not succeeded; `deliveries` what had become of the notices.
    """

    counted: Tally
    troubled: Sequence[Slot]
    events: Sequence[Event]
    deliveries: Sequence[Deliveries] = ()
    setbacks: Sequence[Setback] = ()


_SLOTS: Final = (
    Column(key="job", title="Job"),
    Column(key="slots", title="Slots", align="right"),
    Column(key="when", title="Due"),
    Column(key="why", title="Why"),
    Column(key="state", title="State"),
)
_SETBACKS: Final = (
    Column(key="reason", title="Reason"),
    Column(key="runs", title="Runs", align="right"),
    Column(key="when", title="When"),
    Column(key="text", title="The newest said"),
    Column(key="state", title="Ended"),
)
_EVENTS: Final = (
    Column(key="subject", title="Of what"),
    Column(key="when", title="When"),
    Column(key="times", title="Times", align="right"),
    Column(key="text", title="What is known"),
    Column(key="what", title="What"),
)


def sections(cover: Cover, known: Unattended) -> tuple[Section, ...]:
    """Whether the slots add up, the troubles among them, and what else happened. Nothing where nothing was ever due."""
    troubled = [slot for slot in known.troubled if cover.within(slot.tenant, slot.policy)]
    others = TOLD - OF_CHANNELS
    events = [mine for each in known.events if each.topic in others and (mine := _told_to(cover, each)) is not None]
    deliveries = told(cover, known.deliveries, known.events)
    if not events and not was_due(known):
        return ()
    return (
        Section(
            key="slots",
            title="What was due",
            paragraphs=(f"{adds_up(known.counted).text}.", *_removed(known.counted, cover), *_open(known.counted)),
            tables=(
                states_table(known.counted.by_job),
                *(() if cover.policy is not None else (_setbacks(known.setbacks, cover),)),
                _troubles(troubled, cover),
            ),
        ),
        *mismatches(known.counted),
        Section(key="events", title="What happened meanwhile", tables=(_register(events, cover),)),
        *(() if deliveries is None else (deliveries,)),
    )


def _removed(counted: Tally, cover: Cover) -> tuple[str, ...]:
    """That a part of the time is older than what is kept."""
    return tuple(f"Slots are not kept for ever: {each.cell.text}." for each in removed(counted, cover.zone))


def was_due(known: Unattended) -> bool:
    """Whether anything was due, or is on record as if it had been."""
    return bool(known.counted.expected or known.counted.found)


def fact(known: Unattended) -> Fact:
    """Whether the slots add up, for the head of a report."""
    verdict = adds_up(known.counted)
    cell = replace(verdict, text="add up" if known.counted.adds_up else "do not add up", badge=False)
    return Fact(key="slots", label="Slots", cell=cell)


def _told_to(cover: Cover, happened: Event) -> Event | None:
    """The event as this report may tell it."""
    if cover.policy is not None and happened.policy not in {None, cover.policy}:
        return None
    if cover.tenant in {None, happened.tenant}:
        return happened
    if happened.tenant is None and happened.topic in _FOR_ALL:
        return replace(happened, text=_FOR_ALL[happened.topic])
    return None


def _open(counted: Tally) -> tuple[str, ...]:
    """What waits at the end of a period waits for somebody to look, too: where nobody serves, all of it."""
    many = sum(counted.by_state[state] for state in OPEN)
    return (f"{number(many)} of them had not ended by the end of the period, or by now.",) if many else ()


def _setbacks(setbacks: Iterable[Setback], cover: Cover) -> Table:
    """One row for each trouble that runs met, also where another attempt went well."""
    return Table(
        key="setbacks",
        title="Why runs did not succeed",
        columns=_SETBACKS,
        rows=tuple(_setback(each, cover) for each in setbacks),
        empty="Every run that ended succeeded.",
    )


def _setback(of: Setback, cover: Cover) -> tuple[Cell, ...]:
    until = () if of.first == of.last else (f"to {clock(of.last, cover.zone)}",)
    return (
        Cell(
            text=of.kind or of.state.value,
            value={"kind": of.kind or None, "job": of.job.value, "site": of.site, "vault": of.vault},
            details=(f"{JOBS[of.job]} at {cover.site(of.site)}, vault {of.vault}",),
        ),
        Cell(
            text=number(of.runs),
            value={"runs": of.runs, "policies": of.policies},
            details=(f"of {counted(of.policies, 'policy', 'policies')}",),
        ),
        Cell(text=clock(of.first, cover.zone), value={"first": iso(of.first), "last": iso(of.last)}, details=until),
        Cell(text=of.text, value=of.text, details=() if of.text == of.first_text else (f"the first: {of.first_text}",)),
        state(of.state),
    )


def _troubles(slots: Iterable[Slot], cover: Cover) -> Table:
    """Slots that did not simply succeed, those of one job that ended alike together, the worst first."""
    alike: dict[tuple[str, Job, SiteName, SlotState], list[Slot]] = {}
    for slot in sorted(slots, key=lambda slot: (slot.due, slot.id)):
        alike.setdefault((slot.policy, slot.job, slot.site, slot.state), []).append(slot)
    order = sorted(alike.values(), key=lambda each: (list(SlotState).index(each[0].state), each[0].due, each[0].id))
    return Table(
        key="troubles",
        title="What did not simply succeed",
        columns=_SLOTS,
        rows=tuple(_trouble(each, cover) for each in order),
        empty="Nothing: every slot that has ended succeeded, or had nothing to do.",
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
            details=at_site(first.site, cover.sites.get(first.site, "")),
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
    """What repeats (the same topic of the same matter) is one row, at the place where it was first seen."""
    alike: dict[tuple[str | None, Topic, str], list[Event]] = {}
    for each in events:
        alike.setdefault((each.tenant, each.topic, _matter(each)), []).append(each)
    rows = tuple(_row(each, cover) for each in alike.values())
    return Table(key="events", columns=_EVENTS, rows=rows, empty="Nothing else is on record.")


def _matter(happened: Event) -> str:
    """What was never proven is one matter, and so are all policies that are well again."""
    if happened.topic is Topic.RECOVERED and happened.policy is not None:
        return ""
    return _UNPROVEN if happened.key.startswith(_UNPROVEN) else happened.key or happened.subject


def _row(alike: Sequence[Event], cover: Cover) -> tuple[Cell, ...]:
    first, last = alike[0], alike[-1]
    worst = max((each.severity for each in alike), key=list(event.Severity).index)
    subjects = tuple(dict.fromkeys(each.subject for each in alike))
    more = (f"and {counted(len(subjects) - _SUBJECTS, 'other')}",) if len(subjects) > _SUBJECTS else ()
    texts = tuple(dict.fromkeys(each.text for each in reversed(alike)))
    most = _REASONS if worst is event.Severity.INFO else _TEXTS
    others = (f"and {counted(len(texts) - most, 'other text')}",) if len(texts) > most else ()
    return (
        Cell(text=subjects[0], value=subjects, details=(*subjects[1:_SUBJECTS], *more)),
        Cell(
            text=clock(first.at, cover.zone),
            value={"first": iso(first.at), "last": iso(last.at)},
            details=() if len(alike) == 1 else (f"to {clock(last.at, cover.zone)}",),
        ),
        count(len(alike)),
        Cell(text=texts[0], value=texts, details=(*texts[1:most], *others)),
        Cell(
            text=first.topic.value,
            value={
                "topic": first.topic.value,
                "severity": worst.value,
                "tenant": first.tenant,
                "policy": first.policy if len({each.policy for each in alike}) == 1 else None,
            },
            severity=_SEVERITIES[worst],
            badge=True,
        ),
    )

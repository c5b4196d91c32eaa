"""What people were told in a period, channel by channel: at once, late, or never, and when a channel took nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jobs.event import Event, Topic
from jobs.notice import Deliveries, delivery
from jobs.quantity import counted, duration, number
from reports.cells import clock, iso, seconds, words
from reports.cover import Cover
from reports.document import ABSENT, Cell, Column, Section, Severity, Table

OF_CHANNELS: Final = frozenset({Topic.CHANNEL_AWAY, Topic.CHANNEL_BACK})
_SPANS: Final = 3  # that people are shown
_MOST: Final = 100  # that machines are
_TOLD: Final = (
    Column(key="channel", title="Channel"),
    Column(key="notices", title="Notices", align="right"),
    Column(key="became", title="What became of them"),
    Column(key="away", title="When it took nothing"),
    Column(key="state", title="State"),
)
_EMPTY: Final = "There was nothing to tell, or nobody to be told: no notice was made."
_EMPTY_FOR_ONE: Final = "No notice was made that tells of this tenant alone."


@dataclass(frozen=True, kw_only=True, slots=True)
class _Away:
    """A time in which a channel took nothing, and why. `since` None: from before the period; `until`: to beyond it."""

    since: datetime | None
    until: datetime | None
    why: str = ""


def told(cover: Cover, deliveries: Sequence[Deliveries], events: Iterable[Event]) -> Section | None:
    """What became of the notices; of a tenant's own alone where the report is cut to one, and no word on channels.

    None in a report that is cut to a policy: a notice may tell of several.
    """
    if cover.policy is not None:
        return None
    away = _spans(events) if cover.tenant is None else {}
    made = {each.channel: each for each in deliveries}
    named = sorted({*made, *away})
    rows = tuple(_row(made.get(name, Deliveries(channel=name, made=0)), away.get(name, ()), cover) for name in named)
    empty = _EMPTY if cover.tenant is None else _EMPTY_FOR_ONE
    return Section(
        key="told",
        title="What was told, and what came late or never",
        tables=(Table(key="told", columns=_TOLD, rows=rows, empty=empty),),
    )


def _spans(events: Iterable[Event]) -> Mapping[str, Sequence[_Away]]:
    """By channel, from the events of the period alone, in the order in which they were put on record."""
    found: dict[str, list[_Away]] = {}
    for each in events:
        if each.topic not in OF_CHANNELS:
            continue
        own = found.setdefault(each.key.removeprefix(delivery("")), [])
        is_open = bool(own) and own[-1].until is None
        if each.topic is Topic.CHANNEL_AWAY:
            own += [] if is_open else [_Away(since=each.at, until=None, why=each.text)]
        elif is_open:
            own[-1] = _Away(since=own[-1].since, until=each.at, why=own[-1].why)
        elif not own:
            own.append(_Away(since=None, until=each.at))
    return found


def _row(of: Deliveries, away: Sequence[_Away], cover: Cover) -> tuple[Cell, ...]:
    carried = (f"{number(of.carried)} made before",) if of.carried else ()
    figures = {"made": of.made, "carried": of.carried}
    return (
        words(of.channel),
        Cell(text=number(of.made + of.carried), value=figures, details=carried),
        _became(of),
        _when(away, cover),
        _state(of, away),
    )


def _became(of: Deliveries) -> Cell:
    latest = () if of.longest is None else (f"the latest after {duration(of.longest)}",)
    parts = ((of.at_once, "at once"), (of.late, "late"), (of.given_up, "given up"), (of.waiting, "still waiting"))
    told = [f"{number(many)} {what}" for many, what in parts if many]
    return Cell(
        text=", ".join(told) or ABSENT,
        value={
            "at_once": of.at_once,
            "late": of.late,
            "given_up": of.given_up,
            "waiting": of.waiting,
            "longest_seconds": seconds(of.longest),
        },
        details=latest,
    )


def _when(away: Sequence[_Away], cover: Cover) -> Cell:
    if not away:
        return Cell(text=ABSENT, value=())
    newest = [_spoken(each, cover) for each in away[: -_SPANS - 1 : -1]]
    more = (f"and {counted(len(away) - _SPANS, 'other time')}",) if len(away) > _SPANS else ()
    return Cell(
        text=newest[0],
        value=tuple(f"{_iso(each.since)}/{_iso(each.until)} {each.why}".rstrip() for each in away[-_MOST:]),
        details=(*newest[1:], *more),
    )


def _iso(moment: datetime | None) -> str:
    """As ISO 8601-2 has it: an end that is not known is two dots."""
    return ".." if moment is None else iso(moment)


def _spoken(away: _Away, cover: Cover) -> str:
    since = "before the period" if away.since is None else clock(away.since, cover.zone)
    until = "the end" if away.until is None else clock(away.until, cover.zone)
    return f"{since} to {until}" + (f": {away.why}" if away.why else "")


def _state(of: Deliveries, away: Sequence[_Away]) -> Cell:
    """The worst that a channel's notices came to; machines read the same word."""
    is_away = bool(away) and away[-1].until is None
    states = (
        (of.given_up, "given up", Severity.BAD),
        (is_away, "away", Severity.BAD),
        (of.waiting, "waiting", Severity.WARNING),
        (of.late, "late", Severity.WARNING),
        (away, "was away", Severity.WARNING),
        (True, "delivered", Severity.GOOD),
    )
    text, severity = next((text, severity) for holds, text, severity in states if holds)
    return Cell(text=text, value=text, severity=severity, badge=True)

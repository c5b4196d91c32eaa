"""Rows of what runs unattended: lines, slots, events, notices, alarms, the lease. The rules are codec.py's.

What an alarm is brings half of jobs/ along, and most commands never see one: it is imported where there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from sys import intern
from typing import TYPE_CHECKING, Any, Final

from jobs.event import Event, Severity, Topic
from jobs.history import Job, Lease
from jobs.notice import Notice, NoticeState
from jobs.schedule import Schedule
from jobs.slot import Line, Slot, SlotState, Why, WhyKind
from orchestrator.ledger.codec import (
    Row,
    escape,
    micros,
    micros_or_none,
    moment,
    moment_or_none,
    owner_of,
    reading,
    span,
    span_micros,
    unescape,
)

if TYPE_CHECKING:
    from jobs.alarm import Alarm


# A large operator has ten thousands of lines, all made of the same few names, schedules and moments.
_schedule = lru_cache(maxsize=4096)(Schedule)
_name: Final[Callable[[str], Any]] = intern
_shared = lru_cache(maxsize=4096)(moment)
_span = lru_cache(maxsize=256)(span)


def _work_row(of: Line | Slot) -> dict[str, Any]:
    """What a slot has of its line: the work, whose it is, where, after which other, and by which settings."""
    return {
        "policy": of.policy,
        "tenant": of.tenant,
        "job": of.job.value,
        "site": of.site,
        "vault": of.vault,
        "source_vault": of.source_vault,
        "settings_hash": of.settings_hash,
        "after_job": None if of.after is None else of.after.value,
    }


def _work_of(row: Row) -> dict[str, Any]:
    return {
        "policy": _name(row["policy"]),
        "tenant": _name(row["tenant"]),
        "job": Job(row["job"]),
        "site": _name(row["site"]),
        "vault": _name(row["vault"]),
        "source_vault": None if row["source_vault"] is None else _name(row["source_vault"]),
        "settings_hash": _name(row["settings_hash"]),
        "after": None if row["after_job"] is None else Job(row["after_job"]),
    }


def line_row(line: Line) -> dict[str, Any]:
    """A line's columns, but for its number, which the database gives."""
    return {
        **_work_row(line),
        "schedule": line.schedule.text,
        "zone": " ".join((line.zone, *line.taken)),  # no zone's name has a space
        "splay": span_micros(line.splay),
        "catch_up": None if line.catch_up is None else span_micros(line.catch_up),
        "since": micros(line.since),
        "cursor": micros(line.cursor),
        "until": micros_or_none(line.until),
    }


def line_of(row: Row) -> Line:
    """The line that `line_row` was given, with its number. Raises UnreadableRowError."""
    with reading(f"line {row['id']}"):
        zone, *taken = row["zone"].split(" ")
        return Line(
            id=row["id"],
            **_work_of(row),
            schedule=_schedule(row["schedule"]),
            zone=_name(zone),
            splay=_span(row["splay"]),
            catch_up=None if row["catch_up"] is None else span(row["catch_up"]),
            since=_shared(row["since"]),
            cursor=_shared(row["cursor"]),
            until=moment_or_none(row["until"]),
            taken=tuple(map(_name, taken)),
        )


def why_row(why: Why | None) -> dict[str, Any]:
    """The columns of a slot that say why."""
    if why is None:
        return {"why_kind": None, "why_text": None, "why_other": None}
    return {"why_kind": why.kind.value, "why_text": escape(why.text), "why_other": why.other}


def _why_of(row: Row) -> Why | None:
    if row["why_kind"] is None:
        return None
    return Why(kind=WhyKind(row["why_kind"]), text=unescape(row["why_text"]), other=row["why_other"])


def slot_row(slot: Slot) -> dict[str, Any]:
    """A slot's columns."""
    return {
        "id": slot.id,
        "line": slot.line,
        **_work_row(slot),
        "key": slot.key,
        "nominal": micros(slot.nominal),
        "due": micros(slot.due),
        "until": micros_or_none(slot.until),
        "known_at": micros(slot.known_at),
        "state": slot.state.value,
        **why_row(slot.why),
        "run": slot.run,
        "attempts": slot.attempts,
        "retry_at": micros_or_none(slot.retry_at),
        "closed_at": micros_or_none(slot.closed_at),
    }


def slot_of(row: Row) -> Slot:
    """The slot that `slot_row` was given. Raises UnreadableRowError."""
    with reading(f"slot {row['id']}"):
        return Slot(
            id=row["id"],
            line=row["line"],
            **_work_of(row),
            key=row["key"],
            nominal=moment(row["nominal"]),
            due=moment(row["due"]),
            until=moment_or_none(row["until"]),
            known_at=moment(row["known_at"]),
            state=SlotState(row["state"]),
            why=_why_of(row),
            run=row["run"],
            attempts=row["attempts"],
            retry_at=moment_or_none(row["retry_at"]),
            closed_at=moment_or_none(row["closed_at"]),
        )


def _told_row(of: Event | Alarm) -> dict[str, Any]:
    """What an event and an alarm have in common: what is told, how grave it is, of whom, and by which key."""
    return {
        "key": escape(of.key),
        "topic": of.topic.value,
        "severity": of.severity.value,
        "tenant": of.tenant,
        "policy": of.policy,
        "subject": escape(of.subject),
        "text": escape(of.text),
    }


def _told_of(row: Row) -> dict[str, Any]:
    return {
        "key": unescape(row["key"]),
        "topic": Topic(row["topic"]),
        "severity": Severity(row["severity"]),
        "tenant": row["tenant"],
        "policy": row["policy"],
        "subject": unescape(row["subject"]),
        "text": unescape(row["text"]),
    }


def event_row(event: Event) -> dict[str, Any]:
    """An event's columns, but for its number, which the database gives."""
    return {**_told_row(event), "at": micros(event.at)}


def event_of(row: Row) -> Event:
    """The event that `event_row` was given, with its number. Raises UnreadableRowError."""
    with reading(f"event {row['id']}"):
        return Event(id=row["id"], at=moment(row["at"]), **_told_of(row))


def notice_row(notice: Notice) -> dict[str, Any]:
    """A notice's columns, but for its number, which the database gives."""
    return {
        "channel": notice.channel,
        "made_at": micros(notice.made_at),
        "key": escape(notice.key),
        "through": notice.through,
        "severity": notice.severity.value,
        "tenant": notice.tenant,
        "subject": escape(notice.subject),
        "body": escape(notice.body),
        "state": notice.state.value,
        "attempts": notice.attempts,
        "next_at": micros(notice.next_at),
        "delivered_at": micros_or_none(notice.delivered_at),
        "error": escape(notice.error),
    }


def notice_of(row: Row) -> Notice:
    """The notice that `notice_row` was given, with its number. Raises UnreadableRowError."""
    with reading(f"notice {row['id']}"):
        return Notice(
            id=row["id"],
            channel=row["channel"],
            made_at=moment(row["made_at"]),
            key=unescape(row["key"]),
            through=row["through"],
            severity=Severity(row["severity"]),
            tenant=row["tenant"],
            subject=unescape(row["subject"]),
            body=unescape(row["body"]),
            state=NoticeState(row["state"]),
            attempts=row["attempts"],
            next_at=moment(row["next_at"]),
            delivered_at=moment_or_none(row["delivered_at"]),
            error=unescape(row["error"]),
        )


def alarm_row(alarm: Alarm) -> dict[str, Any]:
    """An alarm's columns while it stands."""
    return {**_told_row(alarm), "raised_at": micros(alarm.raised_at)}


def alarm_of(row: Row) -> Alarm:
    """The alarm that `alarm_row` was given. Raises UnreadableRowError."""
    from jobs.alarm import Alarm

    with reading(f"alarm {row['id']}"):
        return Alarm(raised_at=moment(row["raised_at"]), **_told_of(row))


def lease_of(row: Row) -> Lease:
    """The lease of a row that has an owner."""
    return Lease(
        owner=owner_of(row),
        term=row["term"],
        beat=row["beat"],
        taken_at=moment(row["taken_at"]),
        beaten_at=moment(row["beaten_at"]),
    )

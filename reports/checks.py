"""Named checks, one line each: what stands how, and what to do next. For `status`, and for Nagios and its kin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

from jobs import event
from jobs.alarm import Alarm
from jobs.history import Lease
from jobs.integrity import Assessment
from jobs.notice import Notice, NoticeState
from jobs.quantity import counted, duration, number
from jobs.slot import SlotState
from jobs.verdict import ControlName
from reports.document import Cell, Column, Document, Section, Severity, Table, printable
from reports.wording import CONTROLS


class Level(IntEnum):
    """As Nagios's plugins end (https://nagios-plugins.org/doc/guidelines.html#AEN78); the value is the exit code."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One line: a name that stays, how it stands, the facts, and what to do next where it is not well."""

    name: str
    level: Level
    text: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """What is known of the service itself.

    `scheduled` is whether anything is due by itself; `alive` whether the lease's holder lives (None: it cannot be
    seen from here); `day` counts the slots of the last 24 hours; `channels` are the settings'; `notices` are those of
    the last four days.
    """

    scheduled: bool
    lease: Lease | None
    alive: bool | None
    day: Mapping[SlotState, int]
    alarms: Sequence[Alarm] = ()
    channels: Sequence[str] = ()
    notices: Sequence[Notice] = ()


_SILENT: Final = timedelta(minutes=2)
_LATE: Final = timedelta(hours=1)
_SERVE: Final = "tandem serve (as a systemd service: systemctl start tandem)"
_TROUBLE: Final = (SlotState.FAILED, SlotState.MISSED, SlotState.BLOCKED, SlotState.INTERRUPTED)
_HINTS: Final[Mapping[ControlName, str]] = {
    ControlName.RECOVERY_POINT: "tandem backup {policy}",
    ControlName.REPLICA_LAG: "tandem replicate {policy}",
    ControlName.PARITY: "tandem replicate {policy}, then tandem report integrity",
    ControlName.AUDIT: "tandem audit {policy} --site {site}",
    ControlName.CHECK: "tandem check {policy} --site {site}",
    ControlName.RESTORE_TEST: "tandem test-restore {policy} --site {site}",
    ControlName.RESTORE_TIME: "tandem test-restore {policy} --site {site}",
}
_REPLICA_HINTS: Final = {**_HINTS, ControlName.RECOVERY_POINT: "tandem replicate {policy}"}
_NAMED: Final = 3  # in the first line
_TOLD_ELSEWHERE: Final = frozenset({event.Topic.OBJECTIVE_MISSED, event.Topic.DELIVERY_FAILED})  # by other checks
_NEXT: Final = " Next: "  # where an alarm's text goes over to what to do
_LEVELS: Final[Mapping[event.Severity, Level]] = {
    event.Severity.INFO: Level.OK,
    event.Severity.WARNING: Level.WARNING,
    event.Severity.CRITICAL: Level.CRITICAL,
}


_NOTHING_PROTECTED: Final = Check(
    name="policies",
    level=Level.CRITICAL,
    text="there is none: nothing is protected",
    hint="write one in the settings, or look for the file that held them: tandem config show",
)


def checks(assessments: Iterable[Assessment], service: Service, now: datetime) -> tuple[Check, ...]:
    """Every check: those of the service first, then each policy at each site."""
    return (*of_service(service, now), *(tuple(map(_promise, assessments)) or (_NOTHING_PROTECTED,)))


def of_service(service: Service, now: datetime) -> tuple[Check, ...]:
    """The checks of the service itself."""
    alarms = (alarm for alarm in service.alarms if alarm.topic not in _TOLD_ELSEWHERE)
    return (_scheduler(service, now), _slots(service), *_notices(service, now), *map(_alarm, alarms))


def _scheduler(service: Service, now: datetime) -> Check:
    lease, name = service.lease, "scheduler"
    if lease is None and not service.scheduled:
        return Check(name=name, level=Level.OK, text="nothing is due by itself: no policy has a schedule")
    if lease is None:
        return Check(name=name, level=Level.CRITICAL, text="no serve runs, and policies have schedules", hint=_SERVE)
    owner, silent = lease.owner, max(now - lease.beaten_at, timedelta(0))
    who = f"serve, process {owner.pid} on {owner.host}"
    if service.alive is False:
        return Check(
            name=name, level=Level.CRITICAL, text=f"{who} is dead; it was alive {duration(silent)} ago", hint=_SERVE
        )
    if silent > _SILENT:
        text = f"{who} has given no sign of life for {duration(silent)}"
        return Check(name=name, level=Level.CRITICAL, text=text, hint="ask its /healthz, or read its log")
    return Check(name=name, level=Level.OK, text=f"{who} runs, in term {lease.term}")


def _slots(service: Service) -> Check:
    bad = {state: service.day.get(state, 0) for state in _TROUBLE if service.day.get(state, 0)}
    due = sum(service.day.values())
    text = f"{counted(due, 'slot')} due in the last 24 h"
    if not bad and service.scheduled and (service.lease is None or service.alive is False):
        text += " on record; no serve runs, so whatever has come since is not"
        return Check(name="slots", level=Level.WARNING, text=text, hint=_SERVE)
    if not bad:
        return Check(name="slots", level=Level.OK, text=f"{text}, none in trouble")
    told = ", ".join(f"{many} {state}" for state, many in bad.items())
    states = " ".join(f"--state {state}" for state in bad)
    return Check(name="slots", level=Level.WARNING, text=f"{text}: {told}", hint=f"tandem slots {states}")


def _notices(service: Service, now: datetime) -> Iterator[Check]:
    """One for each channel of the settings, and for one that is gone while somebody was not told by it."""
    by_channel: dict[str, list[Notice]] = {channel: [] for channel in service.channels}
    for notice in service.notices:
        if notice.channel in by_channel or notice.state is not NoticeState.DELIVERED:
            by_channel.setdefault(notice.channel, []).append(notice)
    for channel, notices in sorted(by_channel.items()):
        yield _channel(channel, notices, now)


def _channel(channel: str, notices: Sequence[Notice], now: datetime) -> Check:
    name, hint = f"notify {channel}", f"check [notify.{channel}] and its server"
    text = f"{counted(len(notices), 'notice')} in the last four days"
    lost = [notice for notice in notices if notice.state is NoticeState.GIVEN_UP]
    pending = [notice for notice in notices if notice.state is NoticeState.PENDING]
    late = [notice for notice in pending if now - notice.made_at > _LATE]
    parts = [
        f"{number(len(each))} {what}{_said(each)}"
        for each, what in ((lost, "given up"), (pending, "not delivered yet"))
        if each
    ]
    if late:
        parts.append(f"the oldest for {duration(now - min(notice.made_at for notice in late))}")
    text += f": {', '.join(parts)}" if parts else ", none undelivered"
    if not lost and not late:
        return Check(name=name, level=Level.OK, text=text)
    return Check(name=name, level=Level.CRITICAL if lost else Level.WARNING, text=text, hint=hint)


def _said(notices: Sequence[Notice]) -> str:
    """What the channel last answered."""
    said = [notice.error for notice in notices if notice.error]
    return f" ({said[-1]})" if said else ""


def _alarm(alarm: Alarm) -> Check:
    text, _, hint = alarm.text.partition(_NEXT)
    return Check(
        name=f"{alarm.topic} {alarm.subject}",
        level=max(Level.WARNING, _LEVELS[alarm.severity]),
        text=f"{text.rstrip('.')} (since {alarm.raised_at:%Y-%m-%d %H:%M} UTC)",
        hint=hint or "tandem slots",
    )


def _promise(judged: Assessment) -> Check:
    name = f"policy {judged.policy} at {judged.site}"
    if not judged.verdict.fails:
        return Check(name=name, level=Level.OK, text="as promised")
    failing = [control.name for control in judged.controls if control.verdict.fails]
    if not failing:
        return Check(name=name, level=Level.CRITICAL, text="nothing was promised", hint="set objectives for it")
    text = f"missed or not proven: {', '.join(CONTROLS[control].lower() for control in failing)}"
    hints = _REPLICA_HINTS if judged.is_replica else _HINTS
    hint = hints[failing[0]].format(policy=judged.policy, site=judged.site)
    return Check(name=name, level=Level.CRITICAL, text=text, hint=hint)


def unknown(why: str, hint: str) -> tuple[str, Level]:
    """A plugin's output where nothing could be found out."""
    return _safe(f"TANDEM {Level.UNKNOWN.name} - {why} (next: {hint})") + "\n", Level.UNKNOWN


def nagios(found: Sequence[Check]) -> tuple[str, Level]:
    """A plugin's output: one line of judgement with figures, then a line for each check, the worst first."""
    worst = max((check.level for check in found), default=Level.UNKNOWN)
    ordered = sorted(found, key=lambda check: -check.level)
    bad = [check.name for check in ordered if check.level is not Level.OK]
    whole = counted(len(found), "check")
    told = f"{number(len(bad))} of {whole} not well: {', '.join(bad[:_NAMED])}"
    told += f" and {counted(len(bad) - _NAMED, 'other')}" if len(bad) > _NAMED else ""
    head = _safe(f"TANDEM {worst.name} - {told if bad else f'{whole}, all well'}")
    return f"{head} | checks={len(found)} bad={len(bad)}\n" + "".join(map(_line, ordered)), worst


def _line(check: Check) -> str:
    hint = f" (next: {check.hint})" if check.hint else ""
    return _safe(f"{check.level.name} {check.name}: {check.text}{hint}") + "\n"


def _safe(line: str) -> str:
    """A bar would begin figures, and a line break another line."""
    return printable(line).replace("|", "¦")


_COLUMNS: Final = (
    Column(key="check", title="Check"),
    Column(key="text", title="What is known"),
    Column(key="hint", title="Next"),
    Column(key="level", title="State"),
)
_SEVERITIES: Final[Mapping[Level, Severity]] = {
    Level.OK: Severity.GOOD,
    Level.WARNING: Severity.WARNING,
    Level.CRITICAL: Severity.BAD,
    Level.UNKNOWN: Severity.WARNING,
}


def document(found: Sequence[Check]) -> Document:
    """The same for machines."""
    worst = max((check.level for check in found), default=Level.UNKNOWN)
    headline = Cell(text=worst.name, value=worst.name, severity=_SEVERITIES[worst], badge=True)
    return Document(kind="checks", title="Checks", headline=headline, sections=(section(found),))


def section(found: Iterable[Check]) -> Section:
    """The checks as a part of a report."""
    rows = tuple(
        (
            Cell(text=check.name, value=check.name),
            Cell(text=check.text, value=check.text),
            Cell(text=check.hint or "—", value=check.hint or None),
            Cell(text=check.level.name, value=check.level.name, severity=_SEVERITIES[check.level], badge=True),
        )
        for check in found
    )
    return Section(key="service", title="Service", tables=(Table(key="checks", columns=_COLUMNS, rows=rows),))

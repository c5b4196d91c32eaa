"""What a command line names, looked up in the settings; a wrong name gets the nearest right one."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from jobs.period import Period, parse
from jobs.policy import Policy, PolicyName, SiteName, TenantName
from jobs.reporting import Reporting
from orchestrator import settings as settings_room
from orchestrator.cli.endings import UsageError
from orchestrator.settings import Settings
from orchestrator.settings.units import parse_duration


def load(arguments: argparse.Namespace) -> Settings:
    """The settings that the command line names. Raises SettingsError with every mistake."""
    return settings_room.load(arguments.settings)


def chosen(settings: Settings, names: Sequence[str]) -> tuple[Policy, ...]:
    """The named policies in the settings' order; all of them when none is named. Raises UsageError."""
    known = [policy.name for policy in settings.policies]
    reports = {reporting.name for reporting in settings.reports}
    for name in names:
        if name in reports:
            raise UsageError(f"{name!r} is a report, and no policy; make it with: tandem report scheduled {name}")
        if name not in known:
            raise UsageError(f"there is no policy {name!r} in {settings.file}{_nearest(name, known)}")
    return tuple(policy for policy in settings.policies if not names or policy.name in names)


def named(settings: Settings, names: Sequence[str]) -> tuple[PolicyName, ...]:
    """The named policies and reports in the settings' order; all of them when none is named. Raises UsageError."""
    known = [each.name for each in settings.scheduled]
    for name in names:
        if name not in known:
            raise UsageError(f"there is no policy or report {name!r} in {settings.file}{_nearest(name, known)}")
    return tuple(name for name in known if not names or name in names)


def reporting(settings: Settings, name: str | None) -> Reporting:
    """The named report of those that are made by themselves. Raises UsageError."""
    known = {each.name: each for each in settings.reports}
    if name is None:
        raise UsageError(f"which report? In {settings.file} there are: {', '.join(known) or 'none'}")
    if name not in known:
        raise UsageError(f"there is no report {name!r} in {settings.file}{_nearest(name, list(known))}")
    return known[PolicyName(name)]


def period(text: str, zone: ZoneInfo, now: datetime) -> Period:
    """The period that the command line names, which has begun. Raises UsageError."""
    try:
        asked_for = parse(text, zone)
        asked_for.as_of(now)
    except ValueError as mistake:
        raise UsageError(str(mistake)) from mistake
    return asked_for


def site(settings: Settings, name: str | None, policies: Sequence[Policy] = ()) -> SiteName | None:
    """The named site, if one is named. Raises UsageError, also where one of the policies keeps nothing there."""
    if name is None:
        return None
    if name not in settings.sites:
        raise UsageError(f"there is no site {name!r} in {settings.file}{_nearest(name, list(settings.sites))}")
    for policy in policies:
        sites = [at for at, _ in policy.places]
        if name not in sites:
            raise UsageError(f"policy {policy.name} keeps nothing at site {name}; it has: {', '.join(sites)}")
    return SiteName(name)


def tenant(settings: Settings, name: str | None) -> TenantName | None:
    """The named tenant, if one is named. Raises UsageError."""
    if name is None:
        return None
    if name not in settings.tenants:
        raise UsageError(f"there is no tenant {name!r} in {settings.file}{_nearest(name, list(settings.tenants))}")
    return TenantName(name)


def moment(option: str, text: str | None, zone: ZoneInfo, *, begin: bool = False) -> datetime | None:
    """What an option says, in ISO 8601; without an offset it is the service's wall clock. A bare date means the end of
    that day, or its beginning. Raises UsageError.
    """
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as mistake:
        raise UsageError(f"{option}: {text!r} is no time; write 2026-11-21T14:00 or 2026-11-21") from mistake
    if len(text) == len("2026-11-21") and not begin:
        at = at.replace(hour=23, minute=59, second=59, microsecond=999_999)
    return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)


def duration(option: str, text: str) -> timedelta:
    """What an option says, as durations are written in the settings. Raises UsageError."""
    try:
        return parse_duration(text)
    except ValueError as mistake:
        raise UsageError(f"{option}: {mistake}") from mistake


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known) or 'none'}"

"""What is promised of reports, as values: which one is made when, of what, and in which forms. Valid from birth.

A report is of no vault and of no site, and may be of no tenant. Where a line, a slot or a run has a column for one, a
dash stands there: no name can be that (a name begins with a letter or a digit), and people read it as "none".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from jobs.period import Period, PeriodKind, last_complete
from jobs.policy import PolicyName, SiteName, TenantName, VaultName
from jobs.schedule import Schedule

NOWHERE: Final = (SiteName("-"), VaultName("-"))
EVERYBODY: Final = TenantName("-")
# After an outage of a year every month's report is still made; of what was due before that the slots say "missed".
CATCH_UP: Final = timedelta(days=400)


class ReportKind(StrEnum):
    """What a report is about."""

    INTEGRITY = "integrity"


class Form(StrEnum):
    """How a report is written; every form of one report shows the same figures."""

    HTML = "html"
    JSON = "json"
    TEXT = "text"


ENDINGS: Final[Mapping[Form, str]] = MappingProxyType({Form.HTML: "html", Form.JSON: "json", Form.TEXT: "txt"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Reporting:
    """One report that is made by itself, again and again. No policy has the same name.

    It is of the last complete period, as the calendar of its zone has it, before each moment of its schedule.
    """

    name: PolicyName
    subject: ReportKind = ReportKind.INTEGRITY
    schedule: Schedule
    zone: str = "UTC"  # IANA name: of the schedule's wall clocks, of the period, and of the times that the report shows
    period: PeriodKind = PeriodKind.MONTH
    tenant: TenantName | None = None  # nothing but this one's; None: of all
    forms: tuple[Form, ...] = tuple(Form)
    folder: str
    catch_up: timedelta = CATCH_UP  # how late it may still be made
    settings_hash: str = ""  # SHA-256 of the report's effective settings

    def __post_init__(self) -> None:
        if self.schedule.after is not None:
            raise ValueError("a report has moments of its own: it comes after no backup")
        if not self.forms or len(set(self.forms)) != len(self.forms):
            raise ValueError("a report needs a form at least, and each of them once")
        if not self.folder.startswith("/"):
            raise ValueError("the folder's path must be absolute")

    @property
    def owner(self) -> TenantName:
        """Whose the slots and runs are."""
        return self.tenant or EVERYBODY

    @property
    def window(self) -> None:
        """None: it needs no repository, no link and nobody's disk, so any hour will do."""
        return

    def period_at(self, moment: datetime) -> Period:
        """The period that a slot of this moment is for."""
        return last_complete(self.period, moment, ZoneInfo(self.zone))

    def file_name(self, period: Period, form: Form) -> str:
        """What the file is called: "integrity-health-2026-02.html"."""
        return f"{self.subject}-{self.name}-{period.text}.{ENDINGS[form]}"


def called(policy: PolicyName, site: SiteName) -> str:
    """What people call a policy's job by, beside the job: "files at primary"; a report is at no site."""
    return policy if site == NOWHERE[0] else f"{policy} at {site}"

"""What a report says of itself, and what may appear in it: nothing outside the tenant and policy it is cut to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from jobs.integrity import Assessment
from jobs.period import Period
from jobs.policy import PolicyName, SiteName, TenantName
from reports.document import Cell


@dataclass(frozen=True, kw_only=True, slots=True)
class Cover:
    """What a report says of itself. `now` is when it is made; `tenants` and `sites` hold titles for people.

    `settings_hash` stands for the settings of the policies that it judges, as they stood.
    `restic` is the tool as the runs name it ("restic 0.14.0"), or empty where none ever ran.
    Runs that ended before `kept_since` were removed, but for those that are judged; None: none that would be here.
    With `tenant` (or `policy`) the report is cut to it: nothing of any other appears.
    """

    operator: str
    period: Period
    now: datetime
    zone: tzinfo
    tandem: str
    restic: str
    settings_hash: str
    tenants: Mapping[TenantName, str] = field(default_factory=dict)
    sites: Mapping[SiteName, str] = field(default_factory=dict)
    tenant: TenantName | None = None
    policy: PolicyName | None = None
    kept_since: datetime | None = None

    @property
    def as_of(self) -> datetime:
        """The instant of which the report speaks. Raises ValueError when the period has not begun."""
        return self.period.as_of(self.now)

    def within(self, tenant: TenantName, policy: PolicyName) -> bool:
        """Whether something of this tenant and policy may appear."""
        return self.tenant in {None, tenant} and self.policy in {None, policy}

    def site(self, name: SiteName) -> str:
        """The site's title for people."""
        return self.sites.get(name, name)


def copy_cell(cover: Cover, judged: Assessment) -> Cell:
    """Which copy a row speaks of: policy, site, and what it is there."""
    return Cell(
        text=judged.policy,
        value={"tenant": judged.tenant, "policy": judged.policy, "site": judged.site, "vault": judged.vault},
        details=(cover.site(judged.site), f"vault {judged.vault}" + (", replica" if judged.is_replica else "")),
    )

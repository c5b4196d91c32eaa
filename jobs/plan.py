"""A plan is a value: steps in order, and for whatever does not run, a typed reason. The executor only walks it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jobs.history import Job, RunState
from jobs.policy import Policy, PolicyName, SiteName, TenantName, VaultName
from jobs.reporting import NOWHERE, Reporting


@dataclass(frozen=True, kw_only=True, slots=True)
class StepKey:
    """What a step is known by within one plan, and how others refer to it."""

    job: Job
    policy: PolicyName
    vault: VaultName


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One job on one policy in one vault. It must not run unless the steps that `after` names succeeded."""

    job: Job
    policy: PolicyName
    tenant: TenantName
    site: SiteName
    vault: VaultName
    source_vault: VaultName | None = None
    settings_hash: str = ""
    read_data: str = "none"  # of a check: the share of the data to read
    snapshot: str | None = None  # a restore test of this one instead of the newest
    after: tuple[StepKey, ...] = ()

    @property
    def key(self) -> StepKey:
        """The step's identity within its plan."""
        return StepKey(job=self.job, policy=self.policy, vault=self.vault)


def step_of(
    policy: Policy,
    job: Job,
    place: tuple[SiteName, VaultName],
    *,
    source: VaultName | None = None,
    read_data: str = "none",
    after: tuple[StepKey, ...] = (),
) -> Step:
    """The step that does a policy's job at one of its places, under its settings as they are."""
    return Step(
        job=job,
        policy=policy.name,
        tenant=policy.tenant,
        site=place[0],
        vault=place[1],
        source_vault=source,
        settings_hash=policy.settings_hash,
        read_data=read_data,
        after=after,
    )


def report_step(reporting: Reporting) -> Step:
    """The step that makes a report, under its settings as they are."""
    site, vault = NOWHERE
    return Step(
        job=Job.REPORT,
        policy=reporting.name,
        tenant=reporting.owner,
        site=site,
        vault=vault,
        settings_hash=reporting.settings_hash,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class NoReplica:
    """The policy keeps one copy only, so there is nothing to replicate."""

    @property
    def words(self) -> str:
        """The reason for people."""
        return "the policy has no replica"


@dataclass(frozen=True, kw_only=True, slots=True)
class NoRetention:
    """The policy sets no retention, so everything is kept."""

    @property
    def words(self) -> str:
        """The reason for people."""
        return "the policy sets no retention: everything is kept"


@dataclass(frozen=True, kw_only=True, slots=True)
class NoAudit:
    """The policy asks for no audits, and nobody asked for one by name."""

    @property
    def words(self) -> str:
        """The reason for people."""
        return "the policy asks for no audits"


@dataclass(frozen=True, kw_only=True, slots=True)
class SameRepository:
    """Another policy of the same tenant already has this repository checked, or audited, in this plan."""

    policy: PolicyName
    vault: VaultName
    job: Job = Job.CHECK

    @property
    def words(self) -> str:
        """The reason for people."""
        return f"the {self.job} of {self.policy} at {self.vault} covers the same repository"


@dataclass(frozen=True, kw_only=True, slots=True)
class LastBackupBad:
    """Nothing may be removed while the newest backup is not a good one: the old points may be all there is."""

    run: str
    state: RunState
    at: datetime

    @property
    def words(self) -> str:
        """The reason for people."""
        return f"the last backup ({self.run}) ended {self.state} at {self.at:%Y-%m-%d %H:%M} UTC; make a good one first"


@dataclass(frozen=True, kw_only=True, slots=True)
class NeverBackedUp:
    """The policy has no backup yet, so nothing can be removed."""

    @property
    def words(self) -> str:
        """The reason for people."""
        return "there is no backup yet"


@dataclass(frozen=True, kw_only=True, slots=True)
class NotAtSite:
    """The policy keeps nothing at the site that was asked for."""

    site: SiteName

    @property
    def words(self) -> str:
        """The reason for people."""
        return f"the policy keeps nothing at site {self.site}"


Reason = NoReplica | NoRetention | NoAudit | SameRepository | LastBackupBad | NeverBackedUp | NotAtSite


@dataclass(frozen=True, kw_only=True, slots=True)
class Skip:
    """A job of a policy that does not run (at one vault, or at all), and why."""

    job: Job
    policy: PolicyName
    reason: Reason
    vault: VaultName | None = None

    @property
    def refused(self) -> bool:
        """True where the reason is trouble, so that a person asked in vain, rather than that there is nothing to do."""
        return isinstance(self.reason, LastBackupBad | NeverBackedUp | NotAtSite)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What will run, in order, and what will not, for every policy and job that was asked for exactly once."""

    at: datetime
    steps: tuple[Step, ...]
    skips: tuple[Skip, ...]

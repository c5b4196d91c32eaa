"""What runs now, in which order, and why the rest does not. Every (policy, job) asked for is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from typing import Final

from jobs.history import OF_REPOSITORY, Job, RunRecord, RunState
from jobs.plan import (
    LastBackupBad,
    NeverBackedUp,
    NoAudit,
    NoReplica,
    NoRetention,
    NotAtSite,
    Plan,
    Reason,
    SameRepository,
    Skip,
    Step,
    step_of,
)
from jobs.policy import Policy, PolicyName, SiteName, TenantName, VaultName
from jobs.proof import share

# Backups first, because nothing else is worth more; retention last, because it alone can lose something.
CYCLE: Final = (Job.BACKUP, Job.REPLICATE, Job.AUDIT, Job.CHECK, Job.RESTORE_TEST, Job.RETENTION)
_GOOD: Final = frozenset({RunState.SUCCEEDED, RunState.PARTIAL})

Answer = Step | Skip


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ask:
    """What one rule needs to know to answer for one policy."""

    policy: Policy
    wanted: frozenset[Job]
    site: SiteName | None
    last_backup: RunRecord | None


def plan(
    policies: Sequence[Policy],
    jobs: Iterable[Job],
    last_backups: Mapping[PolicyName, RunRecord],
    now: datetime,
    *,
    site: SiteName | None = None,
) -> Plan:
    """Answer every policy once for every wanted job: with steps, or with the reason there are none.

    `last_backups` holds each policy's newest finished backup; `site` limits the jobs that act on a copy to one site.
    """
    wanted = frozenset(jobs)
    answers: list[Answer] = []
    for job in CYCLE:
        if job in wanted:
            for policy in policies:
                ask = _Ask(policy=policy, wanted=wanted, site=site, last_backup=last_backups.get(policy.name))
                answers += _RULES[job](ask)
    answers = _each_repository_once(answers, {policy.name: policy.read_data for policy in policies})
    return Plan(
        at=now,
        steps=tuple(answer for answer in answers if isinstance(answer, Step)),
        skips=tuple(answer for answer in answers if isinstance(answer, Skip)),
    )


def _backup(ask: _Ask) -> list[Answer]:
    return [step_of(ask.policy, Job.BACKUP, (ask.policy.site, ask.policy.vault))]


def _replicate(ask: _Ask) -> list[Answer]:
    policy = ask.policy
    if policy.replica is None or policy.replica_site is None:
        return [_skip(policy, Job.REPLICATE, NoReplica())]
    return [step_of(policy, Job.REPLICATE, (policy.replica_site, policy.replica), source=policy.vault)]


def _at_places(job: Job) -> Callable[[_Ask], list[Answer]]:
    def rule(ask: _Ask) -> list[Answer]:
        places = _places(ask)
        if not places and ask.site is not None:
            return [_skip(ask.policy, job, NotAtSite(site=ask.site))]
        return [step_of(ask.policy, job, place) for place in places]

    return rule


def _audit(ask: _Ask) -> list[Answer]:
    """Beside other jobs only where the policy wants it: a check reads the same bytes, and more of them."""
    if not ask.policy.is_audited and ask.wanted != {Job.AUDIT}:
        return [_skip(ask.policy, Job.AUDIT, NoAudit())]
    return _at_places(Job.AUDIT)(ask)


def _retention(ask: _Ask) -> list[Answer]:
    reason = _why_no_retention(ask)
    if reason is not None:
        return [_skip(ask.policy, Job.RETENTION, reason)]
    before = [job for job in (Job.BACKUP, Job.REPLICATE) if job in ask.wanted]
    after = tuple(step.key for job in before for step in _RULES[job](ask) if isinstance(step, Step))
    places = _places(ask)
    if not places and ask.site is not None:
        return [_skip(ask.policy, Job.RETENTION, NotAtSite(site=ask.site))]
    return [step_of(ask.policy, Job.RETENTION, place, after=after) for place in places]


def _why_no_retention(ask: _Ask) -> Reason | None:
    if ask.policy.retention is not None and Job.BACKUP in ask.wanted:
        return None  # the step waits for that backup instead of judging the one before
    return why_no_retention(ask.policy, ask.last_backup)


def why_no_retention(policy: Policy, last_backup: RunRecord | None) -> Reason | None:
    """Why nothing may be removed, given the policy's newest finished backup; None where it may."""
    if policy.retention is None:
        return NoRetention()
    if last_backup is None:
        return NeverBackedUp()
    if last_backup.state in _GOOD:
        return None
    return LastBackupBad(
        run=last_backup.id, state=last_backup.state, at=last_backup.finished_at or last_backup.started_at
    )


_RULES: Final[Mapping[Job, Callable[[_Ask], list[Answer]]]] = {
    Job.BACKUP: _backup,
    Job.REPLICATE: _replicate,
    Job.AUDIT: _audit,
    Job.CHECK: _at_places(Job.CHECK),
    Job.RESTORE_TEST: _at_places(Job.RESTORE_TEST),
    Job.RETENTION: _retention,
}


def _places(ask: _Ask) -> tuple[tuple[SiteName, VaultName], ...]:
    return tuple(place for place in ask.policy.places if ask.site is None or place[0] == ask.site)


def _skip(policy: Policy, job: Job, reason: Reason) -> Skip:
    return Skip(job=job, policy=policy.name, reason=reason)


_Once = tuple[Job, TenantName, VaultName]  # of which a plan has one step


def _each_repository_once(answers: list[Answer], shares: Mapping[PolicyName, str]) -> list[Answer]:
    """Policies of one tenant share repositories: one audit serves all, and one check, which reads the most that any of
    them asks for."""
    first: dict[_Once, Step] = {}
    most: dict[_Once, str] = {}
    for step in answers:
        if isinstance(step, Step) and step.job in OF_REPOSITORY:
            place, asked = _place_of(step), shares[step.policy]
            first.setdefault(place, step)
            most[place] = most_asked((most.get(place, asked), asked))
    return [_once(answer, first, most) for answer in answers]


def _once(answer: Answer, first: Mapping[_Once, Step], most: Mapping[_Once, str]) -> Answer:
    if not isinstance(answer, Step) or answer.job not in OF_REPOSITORY:
        return answer
    serving = first[_place_of(answer)]
    if serving is not answer:
        reason = SameRepository(policy=serving.policy, vault=serving.vault, job=answer.job)
        return Skip(job=answer.job, policy=answer.policy, reason=reason, vault=answer.vault)
    return replace(answer, read_data=most[_place_of(answer)]) if answer.job is Job.CHECK else answer


def _place_of(step: Step) -> _Once:
    return (step.job, step.tenant, step.vault)


def most_asked(shares: Iterable[str]) -> str:
    """The share of the data that a check must read to serve all who ask for these."""
    return max(shares, key=_amount)


def _amount(read_data: str) -> Fraction:
    """A share as a number to compare by; a size is more than nothing and less than any part."""
    known = share(read_data)
    return Fraction(1, 1_000_000) if known is None else known

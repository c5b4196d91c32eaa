"""What is proven of each policy at each site, judged against what was promised. Missing proof fails, like a miss.

Only facts known at `as_of` count: runs that had finished, points that had been seen and were not yet gone. Six
controls, each with the exact rule of its figure; a figure equal to its objective is met.

- recovery point: `as_of` minus the time of the newest complete point. A point from the future, or one whose backup
  was partial, is named but proves nothing. No point: not proven.
- replica lag: 0 when the primary's newest point is at the replica; else `as_of` minus the time of the oldest
  primary point that never arrived and is newer than all that the replica holds: how long it has been waiting.
- parity: a point of both sites whose trees differ, or a point that was overtaken (older than what the replica
  holds, and never seen there), is a miss. One that retention removed on one side is not.
- audit: `as_of` minus the end of the last audit of the repository that read every stored file and found each equal to
  its name; damage stands until another finds none. It is judged where audits are due or promised, or one was made.
- check: `as_of` minus the end of the last clean check of the repository that read at least the policy's share; any
  policy of the tenant may have had it made. Damage stands until a check that reads as much comes out clean.
- restore test: `as_of` minus the end of the last clean test that compared at least one file. Differences stand
  until the same snapshot is tested clean or is gone. Its measured seconds are what RTO is compared with.

Without an objective, recovery point, check and restore test are still expected at least once; beyond that the
figure is shown, and the control says "no objective", which neither fails nor is green. A place where nothing at all
was promised is not proven. A miss outweighs missing proof, and either outweighs all that is met.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from jobs.history import (
    OF_REPOSITORY,
    AuditResult,
    BackupResult,
    CheckResult,
    Job,
    RecoveryPoint,
    RestoreTestResult,
    RunRecord,
    RunState,
)
from jobs.policy import Policy, PolicyName, SiteName, TenantName, VaultName
from jobs.proof import Proof, audits, checks, judge_audits, judge_checks, judge_restore_tests, restore_tests
from jobs.verdict import Control, ControlName, Gap, GapCode, Verdict, against, heaviest


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteParity:
    """Recovery points of a replica joined with the primary's on their origin."""

    equal: int
    missing: int  # at the primary only, whatever the reason
    surplus: int  # at the replica only: the primary forgot them
    differing: int
    waiting: int  # never arrived, and newer than all that the replica holds
    overtaken: int  # never arrived, though newer ones did


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """A job that has not succeeded since: how many attempts ended badly, and the last of them."""

    job: Job
    count: int
    last: RunRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Assessment:
    """All that is known of one policy at one site, as of one instant."""

    tenant: TenantName
    policy: PolicyName
    site: SiteName
    vault: VaultName
    as_of: datetime
    is_replica: bool
    newest: RecoveryPoint | None
    points: int
    parity: SiteParity | None
    audit: Proof[AuditResult] | None = None
    check: Proof[CheckResult] | None
    restore_test: Proof[RestoreTestResult] | None
    controls: tuple[Control, ...]
    troubles: tuple[Trouble, ...] = ()

    def control(self, name: ControlName) -> Control | None:
        """The control of that name, or None where it does not apply."""
        return next((control for control in self.controls if control.name is name), None)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Every gap of every control, and that nothing was promised where that is so."""
        found = tuple(gap for control in self.controls for gap in control.gaps)
        return (*found, Gap(code=GapCode.NOTHING_PROMISED)) if self._nothing_promised else found

    @property
    def verdict(self) -> Verdict:
        """Missed or not proven if any control is; else met. A control without an objective does not count."""
        worst = heaviest(control.verdict for control in self.controls)
        if worst.fails:
            return worst
        return Verdict.NOT_PROVEN if self._nothing_promised else Verdict.MET

    @property
    def _nothing_promised(self) -> bool:
        return all(control.objective is None for control in self.controls)


def assess(
    policies: Iterable[Policy], runs: Iterable[RunRecord], points: Iterable[RecoveryPoint], as_of: datetime
) -> tuple[Assessment, ...]:
    """Judge every policy at every place where its points must be, by tenant and policy, the primary first."""
    history = _History.known_at(as_of, runs, points)
    ordered = sorted(policies, key=lambda policy: (policy.tenant, policy.name))
    return tuple(_judge(policy, place, history) for policy in ordered for place in policy.places)


_Repository = tuple[TenantName, VaultName]
_Place = tuple[TenantName, VaultName, PolicyName]  # where one policy's are, in a repository that it may share


@dataclass(frozen=True, kw_only=True, slots=True)
class _History:
    """What was known at `as_of`: runs in the order in which they ended, points by time."""

    as_of: datetime
    runs: Mapping[_Place, Sequence[RunRecord]]
    proofs: Mapping[_Repository, Sequence[RunRecord]]  # audits and checks, that speak for all of the repository
    audited: Mapping[_Repository, Sequence[Proof[AuditResult]]]
    checked: Mapping[_Repository, Sequence[Proof[CheckResult]]]
    points: Mapping[_Place, Sequence[RecoveryPoint]]

    @classmethod
    def known_at(cls, as_of: datetime, runs: Iterable[RunRecord], points: Iterable[RecoveryPoint]) -> _History:
        runs_of: dict[_Place, list[RunRecord]] = defaultdict(list)
        proofs_of: dict[_Repository, list[RunRecord]] = defaultdict(list)
        points_of: dict[_Place, list[RecoveryPoint]] = defaultdict(list)
        ended = [run for run in runs if run.finished_at is not None and run.finished_at <= as_of]
        for run in sorted(ended, key=lambda run: (run.finished_at or as_of, run.started_at, run.id)):
            runs_of[run.tenant, run.vault, run.policy].append(run)
            if run.job in OF_REPOSITORY:
                proofs_of[run.tenant, run.vault].append(run)
        for point in sorted(points, key=_age):
            if point.seen_at <= as_of:
                points_of[point.tenant, point.vault, point.policy].append(point)
        audited = {repository: audits(made, as_of) for repository, made in proofs_of.items()}
        checked = {repository: checks(made, as_of) for repository, made in proofs_of.items()}
        return cls(as_of=as_of, runs=runs_of, proofs=proofs_of, audited=audited, checked=checked, points=points_of)

    def runs_at(self, policy: Policy, vault: VaultName) -> Sequence[RunRecord]:
        return self.runs.get((policy.tenant, vault, policy.name), ())

    def proofs_at(self, policy: Policy, vault: VaultName) -> Sequence[RunRecord]:
        """The audits and checks of the repository, whichever policies they were made for."""
        return self.proofs.get((policy.tenant, vault), ())

    def seen(self, policy: Policy, vault: VaultName) -> Sequence[RecoveryPoint]:
        """The policy's points that were ever seen in the vault, gone ones too."""
        return self.points.get((policy.tenant, vault, policy.name), ())

    def alive(self, policy: Policy, vault: VaultName) -> list[RecoveryPoint]:
        return [p for p in self.seen(policy, vault) if p.gone_at is None or p.gone_at > self.as_of]


def _judge(policy: Policy, place: tuple[SiteName, VaultName], history: _History) -> Assessment:
    site, vault = place
    is_replica = vault != policy.vault
    here = history.alive(policy, vault)
    newest, point_control = _recovery_point(policy, here, history)
    parity, copy_controls = _copies(policy, vault, history) if is_replica else (None, ())
    own, shared = history.runs_at(policy, vault), history.proofs_at(policy, vault)
    audit, audit_control = judge_audits(policy, history.audited.get((policy.tenant, vault), ()), history.as_of)
    check, check_control = judge_checks(policy, history.checked.get((policy.tenant, vault), ()), history.as_of)
    tests = restore_tests(own, history.as_of)
    test, test_controls = judge_restore_tests(policy, tests, here, newest, history.as_of)
    return Assessment(
        tenant=policy.tenant,
        policy=policy.name,
        site=site,
        vault=vault,
        as_of=history.as_of,
        is_replica=is_replica,
        newest=newest,
        points=len(here),
        parity=parity,
        audit=audit,
        check=check,
        restore_test=test,
        controls=(point_control, *copy_controls, *filter(None, (audit_control,)), check_control, *test_controls),
        troubles=_troubles(own, shared),
    )


def _age(point: RecoveryPoint) -> tuple[datetime, str, str]:
    """As jobs/snapshot.py has it: of two points in one second the run tells the newer."""
    return point.time, point.run, point.origin


def _recovery_point(
    policy: Policy, here: Sequence[RecoveryPoint], history: _History
) -> tuple[RecoveryPoint | None, Control]:
    limit = policy.objectives.rpo
    partial = {
        point.origin for place in policy.places for point in history.seen(policy, place[1]) if not point.complete
    }
    past = [point for point in here if point.time <= history.as_of]
    newest = next((point for point in reversed(past) if point.origin not in partial), None)
    later = [point for point in past if newest is None or _age(point) > _age(newest)]
    gaps = [Gap(code=GapCode.POINT_IN_FUTURE, count=len(here) - len(past))] if len(past) < len(here) else []
    if later:
        gaps.append(Gap(code=GapCode.POINT_INCOMPLETE, count=len(later)))
    if newest is None:
        gaps.append(Gap(code=GapCode.NO_RECOVERY_POINT, limit=limit))
        return None, Control(name=ControlName.RECOVERY_POINT, objective=limit, gaps=tuple(gaps))
    changing = _changing(newest, history.runs_at(policy, policy.vault))
    if changing:
        gaps.append(Gap(code=GapCode.FILES_WERE_CHANGING, count=changing))
    age = history.as_of - newest.time
    gaps += against(age, limit, GapCode.POINT_TOO_OLD)
    return newest, Control(name=ControlName.RECOVERY_POINT, measured=age, objective=limit, gaps=tuple(gaps))


def _changing(newest: RecoveryPoint, runs: Sequence[RunRecord]) -> int:
    backups = (run.result for run in runs if run.id == newest.run and isinstance(run.result, BackupResult))
    return sum(result.changed_count for result in backups)


def _copies(policy: Policy, vault: VaultName, history: _History) -> tuple[SiteParity, tuple[Control, ...]]:
    first = {p.origin: p for p in history.alive(policy, policy.vault) if p.time <= history.as_of}
    there = {p.origin: p for p in history.alive(policy, vault) if p.time <= history.as_of}
    arrived = {point.origin for point in history.seen(policy, vault)}
    front = max((point.time for point in there.values()), default=None)
    absent = [point for origin, point in first.items() if origin not in arrived]
    waiting = [point for point in absent if front is None or point.time > front]
    both = first.keys() & there.keys()
    # A tree is empty until a listing told it, and then neither equal nor differing.
    trees = [(first[o].tree, there[o].tree) for o in both if first[o].tree and there[o].tree]
    parity = SiteParity(
        equal=sum(pair[0] == pair[1] for pair in trees),
        missing=len(first.keys() - there.keys()),
        surplus=len(there.keys() - first.keys()),
        differing=sum(pair[0] != pair[1] for pair in trees),
        waiting=len(waiting),
        overtaken=len(absent) - len(waiting),
    )
    comparable = bool(first and there)
    lag = history.as_of - min((point.time for point in waiting), default=history.as_of)
    return parity, (_lag(policy, lag if comparable else None), _parity(parity))


def _lag(policy: Policy, lag: timedelta | None) -> Control:
    limit = policy.objectives.replica_lag
    gaps = (Gap(code=GapCode.LAG_UNKNOWN, limit=limit),) if lag is None else against(lag, limit, GapCode.REPLICA_LATE)
    return Control(name=ControlName.REPLICA_LAG, measured=lag, objective=limit, gaps=gaps)


def _parity(parity: SiteParity) -> Control:
    found = (
        (GapCode.NOTHING_IN_COMMON, int(parity.equal + parity.differing == 0)),
        (GapCode.TREES_DIFFER, parity.differing),
        (GapCode.POINTS_OVERTAKEN, parity.overtaken),
    )
    return Control(
        name=ControlName.PARITY, gaps=tuple(Gap(code=code, count=count) for code, count in found if count > 0)
    )


_BAD: Final = frozenset({RunState.FAILED, RunState.PARTIAL, RunState.BLOCKED, RunState.INTERRUPTED})
_WATCHED: Final = (Job.BACKUP, Job.REPLICATE, Job.AUDIT, Job.CHECK, Job.RESTORE_TEST, Job.RETENTION)


def _troubles(own: Sequence[RunRecord], shared: Sequence[RunRecord]) -> tuple[Trouble, ...]:
    """For each job what went wrong since its last success, in the order of the daily cycle."""
    found = []
    for job in _WATCHED:
        bad: list[RunRecord] = []
        for run in shared if job in OF_REPOSITORY else own:
            if run.job is job:
                bad = [] if run.state is RunState.SUCCEEDED else [*bad, run] if run.state in _BAD else bad
        if bad:
            found.append(Trouble(job=job, count=len(bad), last=bad[-1]))
    return tuple(found)

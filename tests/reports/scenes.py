"""Four operators as they may be found one morning: all proven, a mixture, all red, and one with hostile names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from jobs.failure import Failure, FailureKind
from jobs.history import (
    BackupResult,
    CheckResult,
    Job,
    Owner,
    RecoveryPoint,
    ReplicateResult,
    RestoreTestResult,
    Result,
    RunRecord,
    RunState,
)
from jobs.period import parse
from jobs.policy import Objectives, Paths, Policy, PolicyName, SiteName, TenantName, VaultName
from reports.cover import Cover
from reports.document import Document
from reports.integrity import integrity

ZONE: Final = timezone(timedelta(hours=1), "Africa/Douala")
NOW: Final = datetime(2026, 11, 21, 7, 30, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
PROMISED: Final = Objectives(rpo=DAY, rto=4 * HOUR, replica_lag=6 * HOUR, check_age=8 * DAY, restore_test_age=8 * DAY)
_OWNER: Final = Owner(host="backup1", boot="b7", pid=4711, started="123456")
_TITLES: Final = {
    TenantName("minfopra"): "Ministry of Public Service and Administrative Reform",
    TenantName("customs"): "Directorate General of Customs",
}
_SITES: Final = {SiteName("primary"): "Yaoundé data center", SiteName("secondary"): "Douala data center"}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All that a report is built from."""

    cover: Cover
    policies: tuple[Policy, ...]
    runs: tuple[RunRecord, ...]
    points: tuple[RecoveryPoint, ...]


def policy(name: str, tenant: str, objectives: Objectives = PROMISED) -> Policy:
    """A policy with a replica."""
    return Policy(
        name=PolicyName(name),
        tenant=TenantName(tenant),
        source=Paths(paths=(f"/srv/{name}",)),
        vault=VaultName("primary"),
        site=SiteName("primary"),
        replica=VaultName("secondary"),
        replica_site=SiteName("secondary"),
        objectives=objectives,
        settings_hash="5e" * 32,
    )


def run(
    of: Policy,
    job: Job,
    ended: datetime,
    result: Result | None = None,
    *,
    at: str = "primary",
    state: RunState = RunState.SUCCEEDED,
    failure: Failure | None = None,
) -> RunRecord:
    """A finished run of two minutes; its id is made of what it is, so that golden files stay."""
    return RunRecord(
        id=f"{job.value[0]}{at[0]}-{of.name[:12]}-{ended:%d%H%M}",
        job=job,
        tenant=of.tenant,
        policy=of.name,
        site=SiteName(at),
        vault=VaultName(at),
        source_vault=VaultName("primary") if job is Job.REPLICATE else None,
        settings_hash=of.settings_hash,
        state=state,
        owner=_OWNER,
        started_at=ended - timedelta(minutes=2),
        finished_at=ended,
        failure=failure,
        result=result,
        tool="restic 0.14.0",
    )


def point(of: Policy, number: int, time: datetime, *, at: str = "primary", tree: str = "") -> RecoveryPoint:
    """The n-th recovery point, which has its own id at each site and the same origin and tree."""
    return RecoveryPoint(
        snapshot=f"{number:04x}{'a' if at == 'primary' else 'b'}{of.name.encode().hex()}".ljust(64, "0")[:64],
        origin=f"{number:04x}a{of.name.encode().hex()}".ljust(64, "0")[:64],
        tenant=of.tenant,
        policy=of.name,
        site=SiteName(at),
        vault=VaultName(at),
        run=f"bp-{of.name[:12]}-{time + timedelta(minutes=3):%d%H%M}",
        time=time,
        tree=tree or f"{number:04x}".ljust(64, "7"),
        seen_at=time + (timedelta(minutes=3) if at == "primary" else timedelta(minutes=20)),
    )


def tested(of: RecoveryPoint, **changes: object) -> RestoreTestResult:
    """A clean restore test of a point."""
    clean = RestoreTestResult(
        snapshot=of.snapshot,
        snapshot_time=of.time,
        files_compared=8_158,
        bytes_compared=6_443_127_809,
        seconds=421.7,
    )
    return replace(clean, **changes)  # type: ignore[arg-type] # the test names fields of one dataclass


def cover(period: str = "2026-11", **changes: object) -> Cover:
    """The report's cover, made on the morning of 21 November."""
    made = Cover(
        operator="National Data Centre",
        period=parse(period, ZONE),
        now=NOW,
        zone=ZONE,
        tandem="0.1.0",
        restic="restic 0.14.0",
        settings_hash="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        tenants=_TITLES,
        sites=_SITES,
    )
    return replace(made, **changes)  # type: ignore[arg-type] # the test names fields of one dataclass


def _nights(of: Policy, count: int, last: datetime) -> tuple[list[RunRecord], list[RecoveryPoint]]:
    """`count` nights of backup and copy, the newest at `last`."""
    runs: list[RunRecord] = []
    points: list[RecoveryPoint] = []
    for number in range(count):
        time = last - (count - 1 - number) * DAY
        result = BackupResult(snapshot=f"{number:04x}a", files=8_158, bytes=6_443_127_809, bytes_added=73_400_320)
        runs.append(run(of, Job.BACKUP, time + timedelta(minutes=3), result))
        runs.append(run(of, Job.REPLICATE, time + timedelta(minutes=20), ReplicateResult(copied=1), at="secondary"))
        points += [point(of, number, time), point(of, number, time, at="secondary")]
    return runs, points


def _proofs(of: Policy, points: list[RecoveryPoint], ended: datetime) -> list[RunRecord]:
    newest = {each.site: each for each in points}
    return [
        made
        for site, each in newest.items()
        for made in (
            run(of, Job.CHECK, ended, CheckResult(read_data="100%"), at=site),
            run(of, Job.RESTORE_TEST, ended + HOUR, tested(each), at=site),
        )
    ]


def green() -> Scene:
    """Two tenants, everything proven."""
    policies = (policy("career-files", "minfopra"), policy("payroll", "minfopra"), policy("declarations", "customs"))
    runs: list[RunRecord] = []
    points: list[RecoveryPoint] = []
    for place, each in enumerate(policies):
        made, seen = _nights(each, 20, NOW - 6 * HOUR + place * timedelta(minutes=11))
        runs += made + _proofs(each, seen, NOW - 3 * HOUR + place * timedelta(minutes=9))
        points += seen
    return Scene(cover=cover(), policies=policies, runs=tuple(runs), points=tuple(points))


def mixed() -> Scene:
    """One policy sound, one whose replica is late and was never restored, one that never ran and promises nothing."""
    sound = green()
    career, payroll, declarations = sound.policies
    cut = Failure(kind=FailureKind.VAULT_UNREACHABLE, message="replicate vault secondary: no route to 10.20.0.5:22")
    waiting = [p for p in sound.points if p.policy == payroll.name and p.site == "secondary"][-2:]
    runs = [
        made
        for made in sound.runs
        if made.policy != declarations.name
        and not (made.policy == payroll.name and made.site == "secondary" and made.job is not Job.CHECK)
    ]
    runs += [
        run(payroll, Job.REPLICATE, NOW - n * DAY, at="secondary", state=RunState.FAILED, failure=cut) for n in (0, 1)
    ]
    unset = replace(declarations, objectives=Objectives())
    newer = point(career, 20, NOW - timedelta(minutes=40))
    changing = BackupResult(snapshot="0014a", files=8_160, bytes=6_443_127_900, changed_count=3)
    runs.append(run(career, Job.BACKUP, newer.time + timedelta(minutes=3), changing))
    points = [p for p in sound.points if p.policy != declarations.name and p not in waiting]
    return Scene(cover=cover(), policies=(career, payroll, unset), runs=tuple(runs), points=(*points, newer))


def red() -> Scene:
    """Damage at the primary, differences at the secondary, old points, and a tenant of which nothing is known."""
    career = policy("career-files", "minfopra")
    runs, points = _nights(career, 12, NOW - 30 * HOUR)
    locked = Failure(
        kind=FailureKind.REPOSITORY_LOCKED,
        message="backup minfopra@primary: repository is already locked by PID 812 on backup1 since 2026-11-20 00:31",
    )
    runs += [
        run(career, Job.BACKUP, NOW - 5 * HOUR, state=RunState.FAILED, failure=locked),
        run(career, Job.BACKUP, NOW - 29 * HOUR, state=RunState.INTERRUPTED),
        run(career, Job.CHECK, NOW - 12 * DAY, CheckResult(read_data="10%"), at="secondary"),
        run(career, Job.CHECK, NOW - 2 * HOUR, CheckResult(read_data="100%", errors=4), state=RunState.FAILED),
        run(
            career,
            Job.RESTORE_TEST,
            NOW - 2 * DAY,
            tested(points[-1], differences=17, changed=2),
            at="secondary",
            state=RunState.FAILED,
        ),
        run(career, Job.RESTORE_TEST, NOW - 9 * DAY, tested(points[0], seconds=16_021.0)),
    ]
    differing = replace(points[-1], tree="0" * 64)
    nothing = policy("declarations", "customs")
    return Scene(cover=cover(), policies=(career, nothing), runs=tuple(runs), points=(*points[:-1], differing))


HOSTILE: Final = 'invoice [red]paid[/red] <script>alert("x")</script>\x1b[31m\u202etxt.exe\udcff'


def hostile() -> Scene:
    """Names and messages that would act on a page or a terminal if anything read them."""
    scene = green()
    failure = Failure(kind=FailureKind.SOURCE_UNREADABLE, message=f"backup /srv/{HOSTILE}: permission denied")
    bad = run(scene.policies[0], Job.BACKUP, NOW - HOUR, state=RunState.FAILED, failure=failure)
    return replace(scene, cover=cover(operator=f"Operator {HOSTILE}"), runs=(*scene.runs, bad))


SCENES: Final[Mapping[str, Callable[[], Scene]]] = {"green": green, "mixed": mixed, "red": red, "hostile": hostile}


def document(scene: Scene) -> Document:
    """The scene's integrity report."""
    return integrity(scene.cover, scene.policies, scene.runs, scene.points)

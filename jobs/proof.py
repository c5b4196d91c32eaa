"""What audits, checks and restore tests prove of one repository, and how long damage that one of them found stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final, Generic, TypeVar

from jobs.history import AuditResult, CheckResult, Job, RecoveryPoint, RestoreTestResult, RunRecord, RunState
from jobs.policy import Policy
from jobs.verdict import Control, ControlName, Gap, GapCode, against

R = TypeVar("R", AuditResult, CheckResult, RestoreTestResult)

_PROVES: Final = frozenset({RunState.SUCCEEDED, RunState.PARTIAL})


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof(Generic[R]):
    """An audit, check or restore test that came to a result, and when it ended. Only a clean one proves anything."""

    run: RunRecord
    at: datetime
    result: R
    clean: bool


def share(read_data: str) -> Fraction | None:
    """The part of a repository's data that `--read-data-subset` names; None for a size ("500M"), which is no share.

    "2/4" reads the second of four groups, so a quarter: https://restic.readthedocs.io/en/stable/045_working_with_repos.html
    """
    if read_data == "none":
        return Fraction(0)
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)%", read_data):
        return Fraction(found[1]) / 100
    if found := re.fullmatch(r"\d+/([1-9]\d*)", read_data):
        return Fraction(1, int(found[1]))
    return None


def reads_at_least(read_data: str, promised: str) -> bool:
    """Whether a check that read the first proves what the second asks for. A size only proves the same size."""
    if read_data == promised:
        return True
    done, asked = share(read_data), share(promised)
    if done is None or asked is None:
        return done == 1 or asked == 0
    return done >= asked


def audits(runs: Sequence[RunRecord], as_of: datetime) -> tuple[Proof[AuditResult], ...]:
    """The audits among a repository's finished runs, whichever policy they were made for, in the order they ended."""
    return tuple(
        Proof(run=run, at=run.finished_at or as_of, result=run.result, clean=_clean_audit(run.state, run.result))
        for run in runs
        if run.job is Job.AUDIT and isinstance(run.result, AuditResult)
    )


def _clean_audit(state: RunState, result: AuditResult) -> bool:
    return state in _PROVES and result.damaged == 0 and result.control and result.files > 0


def judge_audits(
    policy: Policy, made: Sequence[Proof[AuditResult]], as_of: datetime
) -> tuple[Proof[AuditResult] | None, Control | None]:
    """The audit that counts, and the control; None where nobody asks for audits, and none was ever made.

    Each reads every file, so that the last one that found damage or none says how it stands.
    """
    conclusive = [proof for proof in made if proof.clean or proof.result.damaged]
    shown = _last(conclusive) or _last(made)
    limit = policy.objectives.audit_age
    if shown is None and not policy.is_audited:
        return None, None
    return shown, Control(
        name=ControlName.AUDIT,
        measured=as_of - shown.at if shown else None,
        objective=limit,
        gaps=_audit_gaps(shown, limit, as_of),
    )


def _audit_gaps(shown: Proof[AuditResult] | None, limit: timedelta | None, as_of: datetime) -> tuple[Gap, ...]:
    if shown is None:
        return (Gap(code=GapCode.NEVER_AUDITED),)
    result = shown.result
    if result.damaged:
        first = result.findings[0] if result.findings else ""
        return (Gap(code=GapCode.STORED_FILES_DAMAGED, count=result.damaged, detail=first),)
    if not shown.clean:
        return (Gap(code=GapCode.NO_CLEAN_AUDIT),)
    return against(as_of - shown.at, limit, GapCode.AUDIT_TOO_OLD)


def checks(runs: Sequence[RunRecord], as_of: datetime) -> tuple[Proof[CheckResult], ...]:
    """The checks among a repository's finished runs, whichever policy they were made for, in the order they ended."""
    return tuple(
        Proof(
            run=run,
            at=run.finished_at or as_of,
            result=run.result,
            clean=run.state in _PROVES and run.result.errors == 0,
        )
        for run in runs
        if run.job is Job.CHECK and isinstance(run.result, CheckResult)
    )


def judge_checks(
    policy: Policy, made: Sequence[Proof[CheckResult]], as_of: datetime
) -> tuple[Proof[CheckResult] | None, Control]:
    """The check that counts (damage first, then the last one that read enough, then any), and the control."""
    damage = _standing_damage(made)
    clean = [proof for proof in made if proof.clean]
    enough = [proof for proof in clean if reads_at_least(proof.result.read_data, policy.read_data)]
    shown = damage or _last(enough) or _last(clean) or _last(made)
    limit = policy.objectives.check_age
    return shown, Control(
        name=ControlName.CHECK,
        measured=as_of - shown.at if shown else None,
        objective=limit,
        gaps=_check_gaps(shown, policy, as_of, enough=bool(enough)),
    )


def _check_gaps(shown: Proof[CheckResult] | None, policy: Policy, as_of: datetime, *, enough: bool) -> tuple[Gap, ...]:
    if shown is None:
        return (Gap(code=GapCode.NEVER_CHECKED),)
    if shown.result.errors:
        return (Gap(code=GapCode.DAMAGE_FOUND, count=shown.result.errors),)
    if not shown.clean:
        return (Gap(code=GapCode.NO_CLEAN_CHECK),)
    read = shown.result.read_data
    if not enough:
        return (Gap(code=GapCode.CHECKED_TOO_LITTLE, detail=read, wanted=policy.read_data),)
    part = () if share(read) == 1 else (Gap(code=GapCode.CHECK_READ_PART, detail=read),)
    return (*against(as_of - shown.at, policy.objectives.check_age, GapCode.CHECK_TOO_OLD), *part)


def _standing_damage(made: Sequence[Proof[CheckResult]]) -> Proof[CheckResult] | None:
    standing: list[Proof[CheckResult]] = []
    for proof in made:
        if proof.result.errors:
            standing.append(proof)
        elif proof.clean:
            standing = [bad for bad in standing if not _looked_again(proof.result.read_data, bad.result.read_data)]
    return _last(standing)


def _looked_again(read_data: str, damaged: str) -> bool:
    """Whether a clean check saw the place of earlier damage. A percentage or a size reads other packs every time."""
    return share(read_data) == 1 or share(damaged) == 0 or (read_data == damaged and "/" in read_data)


def restore_tests(runs: Sequence[RunRecord], as_of: datetime) -> tuple[Proof[RestoreTestResult], ...]:
    """The restore tests among one policy's finished runs at one place, in the order they ended."""
    return tuple(
        Proof(run=run, at=run.finished_at or as_of, result=run.result, clean=_clean_test(run.state, run.result))
        for run in runs
        if run.job is Job.RESTORE_TEST and isinstance(run.result, RestoreTestResult)
    )


def _clean_test(state: RunState, result: RestoreTestResult) -> bool:
    return state in _PROVES and result.differences == 0 and result.files_compared > 0


def judge_restore_tests(
    policy: Policy,
    made: Sequence[Proof[RestoreTestResult]],
    here: Sequence[RecoveryPoint],
    newest: RecoveryPoint | None,
    as_of: datetime,
) -> tuple[Proof[RestoreTestResult] | None, tuple[Control, Control]]:
    """The test that counts (differences first, then the last clean one, then any), and the controls of age and time."""
    good = _last([proof for proof in made if proof.clean])
    shown = _standing_differences(made, here) or good or _last(made)
    age = Control(
        name=ControlName.RESTORE_TEST,
        measured=as_of - shown.at if shown else None,
        objective=policy.objectives.restore_test_age,
        gaps=_test_gaps(shown, policy, newest, as_of),
    )
    return shown, (age, _restore_time(policy, good))


def _test_gaps(
    shown: Proof[RestoreTestResult] | None, policy: Policy, newest: RecoveryPoint | None, as_of: datetime
) -> tuple[Gap, ...]:
    if shown is None:
        return (Gap(code=GapCode.NEVER_RESTORED),)
    result = shown.result
    if result.differences:
        return (Gap(code=GapCode.DIFFERENCES_FOUND, count=result.differences, detail=short(result.snapshot)),)
    if not shown.clean:
        return (Gap(code=GapCode.NO_CLEAN_TEST),)
    late = against(as_of - shown.at, policy.objectives.restore_test_age, GapCode.RESTORE_TEST_TOO_OLD)
    notes = (
        (GapCode.NEWER_THAN_TESTED, int(newest is not None and _is_newer(newest, result))),
        (GapCode.FILES_CHANGED_IN_TEST, result.changed),
        (GapCode.FILES_NOT_COMPARED, result.not_compared),
    )
    return (*late, *(Gap(code=code, count=count, detail=short(result.snapshot)) for code, count in notes if count > 0))


def _standing_differences(
    made: Sequence[Proof[RestoreTestResult]], here: Sequence[RecoveryPoint]
) -> Proof[RestoreTestResult] | None:
    conclusive = [proof for proof in made if proof.clean or proof.result.differences]
    of_snapshot = {short(proof.result.snapshot): proof for proof in conclusive}
    alive = {short(point.snapshot) for point in here}
    standing = [
        proof
        for snapshot, proof in of_snapshot.items()
        if proof.result.differences and (snapshot in alive or proof is conclusive[-1])
    ]
    return max(standing, key=lambda proof: proof.at, default=None)


def _restore_time(policy: Policy, good: Proof[RestoreTestResult] | None) -> Control:
    limit = policy.objectives.rto
    if good is None or good.result.seconds <= 0:  # a timer that shows nothing has measured nothing
        code = GapCode.NO_OBJECTIVE if limit is None else GapCode.RESTORE_TIME_UNKNOWN
        return Control(name=ControlName.RESTORE_TIME, objective=limit, gaps=(Gap(code=code, limit=limit),))
    took = timedelta(seconds=good.result.seconds)
    gaps = against(took, limit, GapCode.RESTORE_TOO_SLOW)
    return Control(name=ControlName.RESTORE_TIME, measured=took, objective=limit, gaps=gaps)


def short(snapshot: str) -> str:
    """The eight digits that every restic version prints; older ones give no more."""
    return snapshot[:8]


def _is_newer(newest: RecoveryPoint, tested: RestoreTestResult) -> bool:
    if short(newest.snapshot) == short(tested.snapshot):
        return False
    return tested.snapshot_time is None or newest.time > tested.snapshot_time


P = TypeVar("P")


def _last(proofs: Sequence[P]) -> P | None:
    return proofs[-1] if proofs else None

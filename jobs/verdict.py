"""The words of judgement: verdicts, controls, and every way in which a proof can be missing. Missing proof fails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Verdict(StrEnum):
    """In the order of their weight, the heaviest first; the first two fail."""

    MISSED = "missed"
    NOT_PROVEN = "not-proven"
    NO_OBJECTIVE = "no-objective"
    MET = "met"

    @property
    def fails(self) -> bool:
        """Whether it turns a report red."""
        return self in {Verdict.MISSED, Verdict.NOT_PROVEN}


class ControlName(StrEnum):
    """What is judged at a place; lag and parity at a replica only."""

    RECOVERY_POINT = "recovery-point"
    REPLICA_LAG = "replica-lag"
    PARITY = "parity"
    AUDIT = "audit"
    CHECK = "check"
    RESTORE_TEST = "restore-test"
    RESTORE_TIME = "restore-time"


class GapCode(StrEnum):
    """Each way in which something is missed or not proven."""

    NO_RECOVERY_POINT = "no-recovery-point"
    POINT_TOO_OLD = "recovery-point-too-old"
    POINT_INCOMPLETE = "recovery-point-incomplete"
    POINT_IN_FUTURE = "recovery-point-in-future"
    FILES_WERE_CHANGING = "files-were-changing"
    LAG_UNKNOWN = "replica-lag-unknown"
    REPLICA_LATE = "replica-late"
    NOTHING_IN_COMMON = "nothing-in-common"
    TREES_DIFFER = "trees-differ"
    POINTS_OVERTAKEN = "points-never-copied"
    NEVER_AUDITED = "never-audited"
    STORED_FILES_DAMAGED = "stored-files-damaged"
    NO_CLEAN_AUDIT = "no-clean-audit"
    AUDIT_TOO_OLD = "audit-too-old"
    NEVER_CHECKED = "never-checked"
    DAMAGE_FOUND = "damage-found"
    NO_CLEAN_CHECK = "no-clean-check"
    CHECKED_TOO_LITTLE = "checked-less-than-promised"
    CHECK_TOO_OLD = "check-too-old"
    CHECK_READ_PART = "check-read-part"
    NEVER_RESTORED = "never-restored"
    DIFFERENCES_FOUND = "differences-found"
    NO_CLEAN_TEST = "no-clean-restore-test"
    RESTORE_TEST_TOO_OLD = "restore-test-too-old"
    NEWER_THAN_TESTED = "newest-point-not-tested"
    FILES_CHANGED_IN_TEST = "tested-files-were-changing"
    FILES_NOT_COMPARED = "files-not-compared"
    RESTORE_TIME_UNKNOWN = "restore-time-unknown"
    RESTORE_TOO_SLOW = "restore-too-slow"
    NO_OBJECTIVE = "no-objective"
    NOTHING_PROMISED = "nothing-promised"


_NOTE: Final = Verdict.MET  # listed, but no control turns red for it
EFFECT: Final[Mapping[GapCode, Verdict]] = MappingProxyType(
    {
        GapCode.NO_RECOVERY_POINT: Verdict.NOT_PROVEN,
        GapCode.POINT_TOO_OLD: Verdict.MISSED,
        GapCode.POINT_INCOMPLETE: _NOTE,
        GapCode.POINT_IN_FUTURE: _NOTE,
        GapCode.FILES_WERE_CHANGING: _NOTE,
        GapCode.LAG_UNKNOWN: Verdict.NOT_PROVEN,
        GapCode.REPLICA_LATE: Verdict.MISSED,
        GapCode.NOTHING_IN_COMMON: Verdict.NOT_PROVEN,
        GapCode.TREES_DIFFER: Verdict.MISSED,
        GapCode.POINTS_OVERTAKEN: Verdict.MISSED,
        GapCode.NEVER_AUDITED: Verdict.NOT_PROVEN,
        GapCode.STORED_FILES_DAMAGED: Verdict.MISSED,
        GapCode.NO_CLEAN_AUDIT: Verdict.NOT_PROVEN,
        GapCode.AUDIT_TOO_OLD: Verdict.MISSED,
        GapCode.NEVER_CHECKED: Verdict.NOT_PROVEN,
        GapCode.DAMAGE_FOUND: Verdict.MISSED,
        GapCode.NO_CLEAN_CHECK: Verdict.NOT_PROVEN,
        GapCode.CHECKED_TOO_LITTLE: Verdict.NOT_PROVEN,
        GapCode.CHECK_TOO_OLD: Verdict.MISSED,
        GapCode.CHECK_READ_PART: _NOTE,
        GapCode.NEVER_RESTORED: Verdict.NOT_PROVEN,
        GapCode.DIFFERENCES_FOUND: Verdict.MISSED,
        GapCode.NO_CLEAN_TEST: Verdict.NOT_PROVEN,
        GapCode.RESTORE_TEST_TOO_OLD: Verdict.MISSED,
        GapCode.NEWER_THAN_TESTED: _NOTE,
        GapCode.FILES_CHANGED_IN_TEST: _NOTE,
        GapCode.FILES_NOT_COMPARED: _NOTE,
        GapCode.RESTORE_TIME_UNKNOWN: Verdict.NOT_PROVEN,
        GapCode.RESTORE_TOO_SLOW: Verdict.MISSED,
        GapCode.NO_OBJECTIVE: Verdict.NO_OBJECTIVE,
        GapCode.NOTHING_PROMISED: Verdict.NOT_PROVEN,
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """One thing that is missed or not proven, with its numbers; the words are the report's."""

    code: GapCode
    count: int = 0
    measured: timedelta | None = None
    limit: timedelta | None = None
    detail: str = ""  # a snapshot's id, a damaged file, or the share of the data that was read
    wanted: str = ""  # the share that was promised

    @property
    def effect(self) -> Verdict:
        """What it does to its control."""
        return EFFECT[self.code]


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """One judged figure. `measured` is None where there is nothing to measure."""

    name: ControlName
    measured: timedelta | None = None
    objective: timedelta | None = None
    gaps: tuple[Gap, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The heaviest effect of its gaps; met without any."""
        return heaviest(gap.effect for gap in self.gaps)


def heaviest(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of many: one miss is a miss. Of none it is met, so ask only where there is something to judge."""
    weight = list(Verdict)
    return min(verdicts, key=weight.index, default=Verdict.MET)


def against(measured: timedelta, limit: timedelta | None, code: GapCode) -> tuple[Gap, ...]:
    """The gap of a figure beyond its limit, or of a limit that nobody set. A figure equal to its limit has none."""
    if limit is None:
        return (Gap(code=GapCode.NO_OBJECTIVE, measured=measured),)
    return (Gap(code=code, measured=measured, limit=limit),) if measured > limit else ()

"""What `tandem status` judges: as few runs as give the verdicts that all runs would give.

Of every job the runs that ended at or after the last one that settles it. What came before such a one cannot count:
- of backups, copies and retentions, one that succeeded;
- of a repository's checks, a clean one that read everything: it proves any share, and no earlier damage outlives it;
- of a policy's restore tests at a place, one that compared files and found them equal; but differences may stand for
  as long as their snapshot is there, so all since the first that found any are taken.
And the backup of each recovery point that is there, which knows whether files were changing.

jobs/integrity.py and jobs/proof.py have the rules; a property test holds this to them. It reads results as the codec
writes them, and where it does not know one it takes more runs, never fewer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from jobs.history import CheckResult, RecoveryPoint, RunRecord
from orchestrator.ledger.codec import micros, result_text

_JUDGED: Final = """
    WITH settled AS (
        SELECT tenant, vault, job, CASE job WHEN 'check' THEN '' ELSE policy END AS whose, max(finished_at) AS since
        FROM run WHERE state = 'succeeded' AND finished_at <= :at AND CASE job
            WHEN 'check' THEN result = :all_read_clean
            WHEN 'restore-test' THEN result LIKE :equal AND result NOT LIKE :nothing_compared
            ELSE job <> 'restore' END AND {whose_runs}
        GROUP BY 1, 2, 3, 4
    ), differing AS (
        SELECT tenant, vault, job, policy AS whose, min(finished_at) AS since
        FROM run WHERE job = 'restore-test' AND result NOT LIKE :equal AND {whose_runs}
        GROUP BY 1, 2, 3, 4
    )
    SELECT run.* FROM run
        LEFT JOIN settled ON settled.tenant = run.tenant AND settled.vault = run.vault AND settled.job = run.job
            AND settled.whose = CASE run.job WHEN 'check' THEN '' ELSE run.policy END
        LEFT JOIN differing ON differing.tenant = run.tenant AND differing.vault = run.vault
            AND differing.job = run.job AND differing.whose = run.policy
    WHERE {whose_runs} AND ({under_way} run.job <> 'restore' AND (
        settled.since IS NULL OR run.finished_at >= settled.since OR run.finished_at >= differing.since
        OR run.job = 'backup' AND run.id IN (SELECT run FROM recovery_point WHERE {there} AND {whose_points})))
    {order}
"""
# Where a point is gone from one site and there at the other, its removal tells that it was copied before.
_THERE: Final = """
    SELECT * FROM recovery_point WHERE {whose_points} AND (
        {shown} OR origin IN (SELECT origin FROM recovery_point WHERE {there} AND {whose_points}))
    ORDER BY time, snapshot
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Questions:
    """What is asked of whose runs and points; the conditions may hold `{names}`, which `of` fills in."""

    whose_runs: str
    whose_points: str
    under_way: str = ""
    there: str = "gone_at IS NULL"
    shown: str = "gone_at IS NULL"
    order: str = ""  # where one is wanted, SQLite goes through all runs in that order

    def of(self, names: Iterable[str]) -> Questions:
        """The same of the policies whose names are the values called so."""
        listed = ", ".join(f":{name}" for name in names)
        return replace(
            self,
            whose_runs=self.whose_runs.format(names=listed),
            whose_points=self.whose_points.format(names=listed),
        )

    @property
    def runs(self) -> str:
        """The statement that finds the runs."""
        return _JUDGED.format(
            whose_runs=self.whose_runs,
            whose_points=self.whose_points,
            under_way=self.under_way,
            there=self.there,
            order=self.order,
        )

    @property
    def points(self) -> str:
        """The statement that finds the points."""
        return _THERE.format(whose_points=self.whose_points, there=self.there, shown=self.shown)


ALL: Final = Questions(
    whose_runs="1 = 1",
    whose_points="1 = 1",
    under_way="run.state = 'running' OR",
    order="ORDER BY run.started_at, run.id",
)
# What was made for one policy alone is found by its name; a check speaks for all policies of its repository.
OF_POLICIES: Final = Questions(
    whose_runs="run.job <> 'check' AND run.finished_at IS NOT NULL AND run.policy IN ({names})",
    whose_points="policy IN ({names})",
)
OF_CHECKS: Final = Questions(
    whose_runs="run.job = 'check' AND run.finished_at IS NOT NULL AND run.tenant = :tenant",
    whose_points="1 = 0",
)
# What a report judges as of the end of a period, and all that ran, came and went in it.
OF_A_PERIOD: Final = Questions(
    whose_runs="run.started_at < :at",
    whose_points="seen_at <= :at",
    under_way="run.started_at >= :since OR",
    there="(gone_at IS NULL OR gone_at > :at)",
    shown="gone_at IS NULL OR gone_at >= :since",
    order="ORDER BY run.started_at, run.id",
)


def judged(at: datetime) -> dict[str, Any]:
    """The values of the question for runs, for a judgement as of an instant."""
    return {
        "at": micros(at),
        "all_read_clean": result_text(CheckResult(read_data="100%")),
        "equal": '%"differences":0,%',
        "nothing_compared": '%"files_compared":0,%',
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Glance:
    """The runs that count and the open ones, oldest first, and every recovery point that is there, of one instant.

    Every point, not the newest: a replica lags by its oldest gap. People's restores are judged by nothing, and left out
    but for the open ones.
    """

    runs: tuple[RunRecord, ...]
    points: tuple[RecoveryPoint, ...]

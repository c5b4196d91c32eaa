"""What `tandem status` shows: the newest of everything, by statements that indexes answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jobs.history import RecoveryPoint, RunRecord

NEWEST_RUNS: Final = """
    SELECT run.* FROM run JOIN
        (SELECT policy, job, vault, max(started_at) AS started_at FROM run GROUP BY policy, job, vault) AS newest
        ON run.policy = newest.policy AND run.job = newest.job AND run.vault = newest.vault
        AND run.started_at = newest.started_at
    ORDER BY run.policy, run.job, run.vault, run.id
"""
NEWEST_POINTS: Final = """
    SELECT point.* FROM recovery_point AS point JOIN
        (SELECT policy, vault, max(time) AS time FROM recovery_point WHERE gone_at IS NULL GROUP BY policy, vault)
        AS newest ON point.policy = newest.policy AND point.vault = newest.vault AND point.time = newest.time
    WHERE point.gone_at IS NULL
    ORDER BY point.policy, point.vault, point.snapshot
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Glance:
    """The newest run of each (policy, job, vault), the newest recovery point that is there of each (policy, vault)."""

    runs: tuple[RunRecord, ...]
    points: tuple[RecoveryPoint, ...]
    open_runs: tuple[RunRecord, ...]  # oldest first

    @classmethod
    def of(
        cls, runs: tuple[RunRecord, ...], points: tuple[RecoveryPoint, ...], open_runs: tuple[RunRecord, ...]
    ) -> Glance:
        """From what the statements found: of several with the same time, the last by id stands for all."""
        return cls(
            runs=tuple({(run.policy, run.job, run.vault): run for run in runs}.values()),
            points=tuple({(point.policy, point.vault): point for point in points}.values()),
            open_runs=open_runs,
        )

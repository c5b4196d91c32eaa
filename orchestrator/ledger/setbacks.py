"""Why runs did not succeed in a time: counted by reason, so that a thousand of one kind hide none of another."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from jobs.history import Job, RunState
from jobs.policy import SiteName, VaultName
from jobs.setback import Setback
from orchestrator.ledger.codec import micros, moment, unescape
from orchestrator.ledger.database import Row
from orchestrator.ledger.room import Room

_ALIKE: Final = "job, site, vault, state, failure_kind"
_SETBACKS: Final = f"""
SELECT alike.*, coalesce(newest.failure_message, newest.note) AS text,
 coalesce(oldest.failure_message, oldest.note) AS first_text FROM (
 SELECT {_ALIKE}, count(*) AS runs, count(DISTINCT policy) AS policies, min(started_at) AS first_at,
  max(started_at) AS last_at, max(id) AS newest_id, min(id) AS oldest_id
 FROM run WHERE started_at >= :since AND started_at < :until AND finished_at <= :until
  AND state IN ('partial', 'failed', 'blocked', 'interrupted'){{whose}} GROUP BY {_ALIKE}
) AS alike JOIN run AS newest ON newest.id = alike.newest_id JOIN run AS oldest ON oldest.id = alike.oldest_id
ORDER BY first_at, newest_id
"""  # noqa: S608 (constants)


class Setbacks(Room):
    """What went wrong, by reason."""

    def setbacks(self, since: datetime, until: datetime, *, tenant: str | None = None) -> tuple[Setback, ...]:
        """Why runs that began at `since` or later had not succeeded by `until`; those of one tenant if asked so.

        The earliest first. What ended later changes nothing.
        """
        values = {"since": micros(since), "until": micros(until)}
        if tenant is None:
            return self._ask(_SETBACKS.format(whose=""), values, _setback_of)
        return self._ask(_SETBACKS.format(whose=" AND tenant = :tenant"), {**values, "tenant": tenant}, _setback_of)


def _setback_of(row: Row) -> Setback:
    return Setback(
        job=Job(row["job"]),
        site=SiteName(row["site"]),
        vault=VaultName(row["vault"]),
        state=RunState(row["state"]),
        kind=row["failure_kind"] or "",
        runs=int(row["runs"]),
        policies=int(row["policies"]),
        first=moment(row["first_at"]),
        last=moment(row["last_at"]),
        first_text=unescape(row["first_text"] or ""),
        text=unescape(row["text"] or ""),
    )

"""What was due: gathered from the ledger for whoever counts it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

from jobs.event import Topic
from jobs.policy import TenantName
from jobs.tally import Tally, tally
from orchestrator.ledger.ledger import Ledger
from reports.unattended import TOLD, TROUBLE, Unattended

_TRIMMED: Final = "ledger"  # the key of what was removed in its time (see orchestrator/serve/housekeeping.py)
_EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


def of_period(ledger: Ledger, start: datetime, end: datetime, tenant: TenantName | None) -> Unattended:
    """The slots whose moments lie in a time, as they stood at its end, counted twice; and what happened and was told.

    A moment is the period's in which it came, also where a slot was made of it only later (until then it is due): what
    is made, ends or is edited after the end changes nothing.
    """
    with ledger.at_one_instant() as instant:
        lines = [line for line in instant.lines() if tenant in {None, line.tenant}]
        sums = instant.sums()
        counted = tally(
            lines,
            lambda line: instant.entries(line, sums.begin(line, start), end, end),
            instant.strays(start, end, end, tenant=tenant),
            since=start,
            until=end,
            passed=end,
            sums=sums,
        )
        troubled = instant.ended(TROUBLE, start, end, end, lines)
    events = ledger.events(since=start, until=end, topics=sorted(TOLD))
    told = ledger.deliveries(start, end, tenant=tenant)
    setbacks = ledger.setbacks(start, end, tenant=tenant)
    return Unattended(
        counted=counted.with_unmade(), troubled=troubled, events=events, deliveries=told, setbacks=setbacks
    )


def kept_since(ledger: Ledger, start: datetime, limit: datetime, counted: Tally) -> datetime | None:
    """Since when all ended runs are kept, where some of a time that begins at `start` were removed; None: none were.

    That they were, the slots' sums say, or an event: `limit` is the settings' alone, and `serve` acts on it.
    """
    limit = limit.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    told = start < limit and any(e.key == _TRIMMED for e in ledger.events(since=start, topics=[Topic.LEDGER_TRIMMED]))
    ends = [end for end in (limit if told else None, counted.removed_before) if end is not None and start < end]
    return max(ends, default=None)


def reckoned(
    ledger: Ledger, policies: Collection[str], since: datetime | None, until: datetime | None, passed: datetime
) -> Tally:
    """The slots of some policies (none named: of all) counted twice, also those of policies that are gone.

    Where a time is asked for, row by row; where all that ever was is, sums stand for what was counted so before.
    """
    since = _EVER if since is None and until is not None else since
    with ledger.at_one_instant() as instant:
        sums = instant.sums()
        return tally(
            [line for line in instant.lines() if not policies or line.policy in policies],
            lambda line: instant.entries(line, sums.begin(line, since), until),
            instant.strays(since, until, policies=policies),
            since=since,
            until=until,
            passed=passed,
            sums=sums,
        )

"""What was due: gathered from the ledger for whoever counts it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from jobs.policy import TenantName
from jobs.tally import Tally, tally
from orchestrator.ledger.ledger import Ledger
from reports.unattended import TOLD, TROUBLE, Unattended


def of_period(ledger: Ledger, start: datetime, end: datetime, tenant: TenantName | None) -> Unattended:
    """The slots whose moments lie in a time, as they stood at its end, counted twice; and what happened in it.

    A moment is the period's in which it came, also where a slot was made of it only later (until then it is due): what
    is made, ends or is edited after the end changes nothing.
    """
    with ledger.at_one_instant() as instant:
        lines = [line for line in instant.lines() if tenant in {None, line.tenant}]
        counted = tally(
            lines,
            lambda line: instant.entries(line, start, end, end),
            instant.strays(start, end, end, tenant=tenant),
            since=start,
            until=end,
            passed=end,
        )
        troubled = instant.ended(TROUBLE, start, end, end, lines)
    events = ledger.events(since=start, until=end, topics=sorted(TOLD))
    return Unattended(counted=counted.with_unmade(), troubled=troubled, events=events)


def reckoned(
    ledger: Ledger, policies: Collection[str], since: datetime | None, until: datetime | None, passed: datetime
) -> Tally:
    """The slots of some policies (none named: of all) counted twice, also those of policies that are gone."""
    with ledger.at_one_instant() as instant:
        return tally(
            [line for line in instant.lines() if not policies or line.policy in policies],
            lambda line: instant.entries(line, since, until),
            instant.strays(since, until, policies=policies),
            since=since,
            until=until,
            passed=passed,
        )

"""Digests: what came of everything since the last one, also where nothing did: silence would prove nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from jobs.event import Severity, Topic
from jobs.notice import DIGEST, Notice, Route, digest, digest_is_due
from jobs.slot import SlotState
from orchestrator.ledger.ledger import Ledger
from reports import messages

_MOST: Final = 50_000  # events in one digest; what is beyond goes into the next
_MEMORY: Final = timedelta(days=62)  # how far back the last digest is looked for
_COUNTED: Final = frozenset(Topic) - {Topic.SUCCEEDED, Topic.COALESCED, Topic.SKIPPED}  # these are counted as slots


@dataclass(frozen=True, kw_only=True, slots=True)
class _Last:
    """Up to when, and up to which event, a digest told."""

    at: datetime
    through: int


class Digests:
    """Makes the digests of all routes. Belongs to one thread."""

    def __init__(self, ledger: Ledger, since: datetime) -> None:
        """`since` is where the first digest of a route begins."""
        self._ledger, self._since = ledger, since
        self._last: dict[str, _Last] | None = None

    def make(self, route: Route, now: datetime) -> None:
        """Put a route's digest into the outbox when it is due. Raises LedgerError."""
        if route.digest is None:
            return
        told = self._told(now)
        last = told.setdefault(route.name, _Last(at=self._since, through=0))
        if last.at > now:  # the clock was set back: the next moment counts from here
            last = told[route.name] = _Last(at=now, through=last.through)
        if digest_is_due(route, last.at, now):
            told[route.name] = self._make(route, last, now)

    def _told(self, now: datetime) -> dict[str, _Last]:
        if self._last is None:
            made = self._ledger.notices(since=now - _MEMORY)
            self._last = {n.channel: _Last(at=n.made_at, through=n.through) for n in made if n.key == DIGEST}
        return self._last

    def _make(self, route: Route, last: _Last, now: datetime) -> _Last:
        since = last.at if last.through == 0 else None
        events = self._ledger.events(last.through, since=since, topics=_COUNTED, limit=_MOST)
        bundle = digest(route, events, last.at, now)
        if bundle is None:
            return last
        counts = self._counts(route, last.at, now)
        seen = self._ledger.told_until()
        read = max((event.id for event in events), default=last.through)
        through = read if len(events) == _MOST else max(read, seen, last.through)
        notice = Notice(
            channel=route.name,
            made_at=now,
            key=bundle.key,
            through=through,
            severity=Severity.INFO,
            subject=messages.digest_subject(bundle, counts, last.at, now),
            body=messages.digest_body(bundle, counts, last.at, now),
            next_at=now,
        )
        self._ledger.queue([notice], seen, seen=seen)
        return _Last(at=now, through=through)

    def _counts(self, route: Route, since: datetime, until: datetime) -> Mapping[SlotState, int]:
        if route.tenants is None:
            return self._ledger.slot_counts(since=since, until=until)
        each = [self._ledger.slot_counts(since=since, until=until, tenant=tenant) for tenant in sorted(route.tenants)]
        return {state: sum(counts.get(state, 0) for counts in each) for state in SlotState}

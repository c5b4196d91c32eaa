"""Digests: what came of everything since the last one, also where nothing did: silence would prove nothing.

What ended, and what happened, is in exactly one digest of a channel: where the last one came to is on record with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from jobs.event import Severity, Topic
from jobs.notice import DIGEST, Notice, Route, digest, digest_is_due, first_digest_from
from orchestrator.ledger.ledger import Ledger
from reports import messages

_MOST: Final = 50_000  # events in one digest; what is beyond goes into the next
_COUNTED: Final = frozenset(Topic) - {Topic.SUCCEEDED, Topic.COALESCED, Topic.SKIPPED}  # these are counted as slots


@dataclass(frozen=True, kw_only=True, slots=True)
class _Last:
    """Up to where a digest told: its moment, the latest moment of any (a clock is set back), and the newest event.

    `through` None: there was none yet.
    """

    at: datetime
    until: datetime
    through: int | None


class Digests:
    """Makes the digests of all routes. Belongs to one thread."""

    def __init__(self, ledger: Ledger, since: datetime) -> None:
        """`since` is when this process began: a first digest reaches back to it where nothing is older."""
        self._ledger, self._since = ledger, since
        self._last: dict[str, _Last] | None = None

    def make(self, route: Route, now: datetime) -> None:
        """Put a route's digest into the outbox when it is due. Raises LedgerError."""
        if route.digest is None:
            return
        told = self._told()
        last = told.get(route.name) or self._begin(route, now)
        if last.at > now:  # the clock was set back: the next moment counts from here
            last = replace(last, at=now)
        told[route.name] = self._make(route, last, now) if digest_is_due(route, last.at, now) else last

    def _told(self) -> dict[str, _Last]:
        """Up to where each channel was told, of all digests that were ever made: one may come every ten years."""
        if self._last is None:
            self._last = {}
            for notice in self._ledger.notices(key=DIGEST):
                before = self._last.get(notice.channel)
                until = max(notice.made_at, before.until) if before else notice.made_at
                self._last[notice.channel] = _Last(at=notice.made_at, until=until, through=notice.through)
        return self._last

    def _begin(self, route: Route, now: datetime) -> _Last:
        """Where a route's first digest begins: one before this process was to be made is due still."""
        oldest = min([event.at for event in self._ledger.events(limit=1)] + [self._since, now])
        since = max(first_digest_from(route, now) or oldest, oldest)
        return _Last(at=since, until=since, through=None)

    def _make(self, route: Route, last: _Last, now: datetime) -> _Last:
        newest = self._ledger.newest_event()
        first = last.through is None
        found = self._ledger.events(last.through or 0, since=last.at if first else None, topics=_COUNTED, limit=_MOST)
        through = found[-1].id if len(found) == _MOST else max(newest, last.through or 0)
        bundle = digest(route, (event for event in found if event.id <= through), last.at, now)
        if bundle is None:
            return last
        until = max(now, last.until)
        after = through if last.through is None else last.through
        span = self._ledger.span(last.until, until, after=after, through=through, tenants=route.tenants)
        self._queue(
            Notice(
                channel=route.name,
                made_at=now,
                key=bundle.key,
                through=through,
                severity=Severity.INFO,
                subject=messages.digest_subject(bundle, span.ended, last.at, now),
                body=messages.digest_body(
                    bundle, span.ended, last.at, now, still_open=span.still_open, oldest=span.oldest
                ),
                next_at=now,
            )
        )
        return _Last(at=now, until=until, through=through)

    def _queue(self, notice: Notice) -> None:
        seen = self._ledger.told_until()
        self._ledger.queue([notice], seen, seen=seen)

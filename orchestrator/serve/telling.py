"""The notifier: events become notices, each event once and in order; notices are sent until they are delivered.

At least once, on record, and with a number by which a message that came twice is known.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jobs.event import Event, Topic
from jobs.notice import Bundle, Notice, Route, matter, matter_of, sort, told_so_far
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger, Superseded
from orchestrator.serve.couriers import Couriers, Destination, Resolve, Send, destinations
from orchestrator.serve.digests import Digests
from orchestrator.settings.values import Channel
from reports import messages

_BATCH: Final = 2_000  # events in one round

Told = dict[tuple[str, str], datetime]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Settings:
    """What the notifier goes by."""

    service: str
    destinations: tuple[Destination, ...]


class Telling:
    """Tells people. Safe to share between threads: rounds take turns, and new settings wait for the next."""

    def __init__(  # noqa: PLR0913 (all but two are keywords)
        self,
        ledger: Ledger,
        channels: Iterable[Channel],
        *,
        resolve: Resolve,
        send: Send,
        clock: Clock,
        service: str,
        zone: str,
        announce: Callable[[Event], None] = lambda _event: None,
    ) -> None:
        """`service` is the operator's name, on every message; `zone` has the wall clocks that digests go by.

        `announce` hears, from any thread, of the events that this makes by itself: a channel that does not work.
        """
        self._ledger, self._clock = ledger, clock
        self._couriers = Couriers(ledger, resolve=resolve, send=send, clock=clock, announce=announce)
        self._digests = Digests(ledger, clock.now())
        self._turn = threading.Lock()
        self._told: Told | None = None  # what the ledger says of late, kept in step
        self._destinations: tuple[Destination, ...] = ()
        self.adopt(channels, service=service, zone=zone)

    def adopt(self, channels: Iterable[Channel], *, service: str, zone: str) -> None:
        """Go by these channels from the next round on: the settings were read again."""
        self._wanted = _Settings(service=service, destinations=destinations(channels, zone))

    @property
    def names(self) -> tuple[str, ...]:
        """The destinations, as notices name them."""
        return tuple(each.route.name for each in self._wanted.destinations)

    def tell(self) -> None:
        """One round: note what deliveries came to, make notices of new events, send what is due. Waits for nobody.

        Raises LedgerError; nothing is lost then, and the next round takes it up again.
        """
        with self._turn:
            self._round(self._clock.now())

    def _round(self, now: datetime) -> None:
        wanted = self._wanted
        if wanted.destinations is not self._destinations:
            # Another `repeat` reaches back further than what was read of late.
            self._destinations, self._told = wanted.destinations, None
        self._couriers.adopt(wanted.destinations, wanted.service)
        self._couriers.record()
        self._make(now)
        for each in self._destinations:
            self._digests.make(each.route, now)
        self._couriers.deliver(now)

    def wait(self, seconds: float) -> bool:
        """Let what is being sent end, for so long at most, and note it. Whether all did. Raises LedgerError."""
        with self._turn:
            all_ended = self._couriers.wait(seconds)
            self._couriers.record()
        return all_ended

    def _make(self, now: datetime) -> None:
        seen = self._ledger.told_until()
        events = self._ledger.events(seen, limit=_BATCH)
        if not events:
            return
        routes = [each.route for each in self._destinations]
        told = self._told_of_late(routes, seen, now)
        sorting = sort(events, routes, told, now)
        through = events[-1].id
        notices = [self._notice(bundle, through, now) for bundle in sorting.bundles]
        try:
            self._ledger.queue(notices, through, seen=seen)
        except Superseded:
            self._told = None  # another process has told people something
            raise
        _keep_in_step(told, notices, events)

    def _notice(self, bundle: Bundle, through: int, now: datetime) -> Notice:
        tenants = {event.tenant for event in bundle.events}
        return Notice(
            channel=bundle.route.name,
            made_at=now,
            key=bundle.key,
            through=through,
            severity=bundle.severity,
            tenant=tenants.pop() if len(tenants) == 1 else None,
            subject=messages.subject(bundle),
            body=messages.body(bundle),
            next_at=self._couriers.not_before(bundle.route.name, now),
        )

    def _told_of_late(self, routes: Sequence[Route], seen: int, now: datetime) -> Told:
        """What was told so recently that it is not told again. Read once: a busy night has thousands of notices."""
        longest = max((route.repeat for route in routes), default=None)
        if longest is None:
            return {}
        if self._told is None:
            made = self._ledger.notices(since=now - longest)
            after = min((notice.through for notice in made), default=seen)
            well = self._ledger.events(after, topics=[Topic.RECOVERED])
            self._told = told_so_far(made, (event for event in well if event.id <= seen))
        # What was given up was told to nobody: it is news again.
        for notice in self._couriers.lost():
            for key in notice.key.split("\n"):
                self._told.pop((notice.channel, key), None)
        self._told = {what: at for what, at in self._told.items() if now - longest < at}
        return self._told


def _keep_in_step(told: Told, notices: Iterable[Notice], events: Iterable[Event]) -> None:
    """What a batch makes of it: a recovery ends what was told, unless it was told anew after that."""
    well = {matter(event) for event in events if event.topic is Topic.RECOVERED}
    for channel, key in [what for what in told if matter_of(what[1]) in well]:
        del told[channel, key]
    for notice in notices:
        told |= {(notice.channel, key): notice.made_at for key in notice.key.split("\n")}

"""Notices become messages: each destination has a thread of its own while it is sent something, so that one that hangs
holds up nobody. What was delivered is not sent again, even if the ledger could not note it yet.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from jobs.event import Event, Severity, Topic, of_service
from jobs.failure import FailureKind
from jobs.notice import (
    BUSY,
    Notice,
    NoticeState,
    Route,
    delivery,
    is_busy,
    letters,
    not_before,
    retry_at,
    tells_of_delivery,
)
from jobs.quantity import counted
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger, LedgerError
from orchestrator.serve.edge import own_fault
from orchestrator.settings.secrets import SecretRef
from orchestrator.settings.values import Channel
from reports import messages
from targets.errors import TargetError
from targets.secret import Secret

Send = Callable[[str, Secret | str, str, str, Severity], None]  # channel, address, subject, body; raises TargetError
Resolve = Callable[[SecretRef, str], Secret]  # what it is called; raises TargetError

_GONE: Final = "its channel is no longer in the settings"


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """One address of a channel. Its route bears the channel's name, and behind it a number from the second on."""

    route: Route
    address: str | SecretRef


def destinations(channels: Iterable[Channel], zone: str) -> tuple[Destination, ...]:
    """The addresses of all channels; `zone` has the wall clocks that digests go by."""
    return tuple(
        Destination(route=_route(channel, zone, number), address=address)
        for channel in channels
        for number, address in enumerate(channel.urls, 1)
    )


def _route(channel: Channel, zone: str, number: int) -> Route:
    return Route(
        name=channel.name if number == 1 else f"{channel.name}/{number}",  # what has one may come to have several
        on=channel.on,
        tenants=channel.tenants,
        repeat=channel.repeat,
        digest=channel.digest,
        zone=zone,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outcome:
    """What an attempt came to, until it is on record."""

    notices: tuple[Notice, ...]
    events: tuple[Event, ...]


class Couriers:
    """Sends what is due. Its methods belong to one thread; the threads that send are its own."""

    def __init__(
        self, ledger: Ledger, *, resolve: Resolve, send: Send, clock: Clock, announce: Callable[[Event], None]
    ) -> None:
        self._ledger, self._resolve, self._send, self._clock = ledger, resolve, send, clock
        self._announce = announce
        self._service = ""
        self._destinations: dict[str, Destination] = {}
        self._lock = threading.Lock()  # of what follows
        self._outcomes: list[_Outcome] = []
        self._sent: dict[str, list[datetime]] = {}
        self._away: set[str] | None = None  # who did not accept what it was sent last; the ledger knows at first
        self._lost: list[Notice] = []
        self._threads: dict[str, threading.Thread] = {}

    def adopt(self, to: Iterable[Destination], service: str) -> None:
        """Go by these addresses from the next round on; `service` is what every message bears."""
        self._destinations, self._service = {each.route.name: each for each in to}, service

    def not_before(self, channel: str, now: datetime) -> datetime:
        """When a channel may be sent its next message."""
        with self._lock:
            self._sent[channel] = [at for at in self._sent.get(channel, ()) if now - BUSY < at]
            return not_before(self._sent[channel], now)

    def lost(self) -> tuple[Notice, ...]:
        """The notices that were given up since this was asked last."""
        with self._lock:
            lost, self._lost = tuple(self._lost), []
        return lost

    def deliver(self, now: datetime) -> None:
        """Begin to send what is due, to each destination that is not being sent anything. Raises LedgerError.

        Who is busy is settled before the ledger is asked: whoever ends meanwhile had notices that may be in its answer.
        """
        with self._lock:
            if self._away is None:
                self._away = set(self._ledger.troubled_channels())
            self._threads = {name: thread for name, thread in self._threads.items() if thread.is_alive()}
            busy = frozenset(self._threads)
            unrecorded = {notice.id for outcome in self._outcomes for notice in outcome.notices}
        due: dict[str, list[Notice]] = {}
        for notice in self._ledger.pending_notices(now):
            if notice.channel not in busy and notice.id not in unrecorded:
                due.setdefault(notice.channel, []).append(notice)
        for name, notices in due.items():
            if name in self._destinations:
                self._start(self._destinations[name], notices)
            else:
                self._give_up(name, notices, now)

    def _give_up(self, name: str, notices: Sequence[Notice], now: datetime) -> None:
        """Nobody is there any more to be told; the others hear of it."""
        lost = [replace(notice, state=NoticeState.GIVEN_UP, next_at=now, error=_GONE) for notice in notices]
        events = _mourned(name, lost, f"given up: {_GONE}", "tandem status shows how things stand", now)
        self._ledger.settle_each(lost, events)
        with self._lock:
            self._lost += lost
        for event in events:
            self._announce(event)

    def record(self) -> None:
        """Put what attempts came to on record, in their order. What the ledger refuses is kept. Raises LedgerError."""
        with self._lock:
            while self._outcomes:
                outcome = self._outcomes[0]
                self._ledger.settle_each(outcome.notices, outcome.events)
                self._outcomes.pop(0)
                for event in outcome.events:
                    self._announce(event)

    def wait(self, seconds: float) -> bool:
        """Let what is being sent end, for so long at most. Whether all did."""
        end = self._clock.monotonic() + seconds
        for thread in self._threads.values():
            thread.join(max(0.0, end - self._clock.monotonic()))
        return not any(thread.is_alive() for thread in self._threads.values())

    # --- in a thread of one destination ------------------------------------------------------------------------------

    def _start(self, destination: Destination, notices: Iterable[Notice]) -> None:
        # One message at which a service fails each time must not keep the others behind it.
        untried_first = sorted(notices, key=lambda notice: (notice.attempts, notice.id))
        name = destination.route.name
        thread = threading.Thread(
            target=self._carry, args=(destination, untried_first), name=f"tell {name}", daemon=True
        )
        self._threads[name] = thread
        thread.start()

    def _carry(self, destination: Destination, notices: Sequence[Notice]) -> None:
        """Send one destination what is due. Where nobody answers, the rest is put off untried."""
        now = self._clock.now()
        with self._lock:
            busy = is_busy(self._sent.get(destination.route.name, ()), now)
        waiting = list(letters(notices, busy=busy))
        while waiting:
            letter = waiting.pop(0)
            error = self._try(destination, letter)
            rest: tuple[Notice, ...] = ()
            # A refusal is of this message; whoever does not answer would not take the next one either.
            if error is not None and error.kind is not FailureKind.CHANNEL_REFUSED:
                rest, waiting = tuple(notice for each in waiting for notice in each), []
            self._came_to(destination.route.name, letter, rest, error)

    def _try(self, destination: Destination, letter: Sequence[Notice]) -> TargetError | None:
        name, address = destination.route.name, destination.address
        try:
            subject, body = messages.letter(self._service, letter, self._clock.now())
            url = address if isinstance(address, str) else self._resolve(address, f"the address of channel {name}")
            self._send(name, url, subject, body, messages.severity(letter))
        except TargetError as error:
            return error
        except Exception as error:  # noqa: BLE001 (a thread's edge: else it would be met again every second, unheard)
            return own_fault("tell", f"channel {name}", error)
        return None

    def _came_to(self, name: str, tried: Sequence[Notice], rest: Sequence[Notice], error: TargetError | None) -> None:
        now = self._clock.now()
        with self._lock:
            if error is None:
                settled = [replace(n, state=NoticeState.DELIVERED, delivered_at=now) for n in tried]
                events = self._accepts(name, now)
                self._sent.setdefault(name, []).append(now)
            else:
                settled = [_failed(notice, error, now, tries=1) for notice in tried]
                settled += [_failed(notice, error, now, tries=0) for notice in rest]
                lost = [notice for notice in settled if notice.state is NoticeState.GIVEN_UP]
                self._lost += lost
                why = f"given up after three days. {error.failure.message}"
                events = (*self._refuses(name, error, now), *_mourned(name, lost, why, error.failure.advice, now))
            self._outcomes.append(_Outcome(notices=tuple(settled), events=events))
        try:
            self.record()
        except LedgerError:
            return  # the next round records it, or says why not

    def _refuses(self, name: str, error: TargetError, now: datetime) -> tuple[Event, ...]:
        """For the record, from the first message on; that it lasts, and its end, is an alarm (jobs/alarm.py)."""
        if self._away is None or name in self._away:
            return ()
        self._away.add(name)
        text = f"{error.failure.message} ({error.kind})"
        return (of_service(Topic.CHANNEL_AWAY, f"channel {name}", text, now, key=delivery(name)),)

    def _accepts(self, name: str, now: datetime) -> tuple[Event, ...]:
        if self._away is None or name not in self._away:
            return ()
        self._away.discard(name)
        text = "It accepted a message again."
        return (of_service(Topic.CHANNEL_BACK, f"channel {name}", text, now, key=delivery(name)),)


def _mourned(name: str, lost: Sequence[Notice], why: str, advice: str, now: datetime) -> tuple[Event, ...]:
    """What the other channels are told: that notices were given up."""
    mourned = [notice for notice in lost if not tells_of_delivery(notice)]
    if not mourned:
        return ()
    text = f"{counted(len(mourned), 'notice')} {why}; the first: {mourned[0].subject}. Next: {advice}"
    return (of_service(Topic.DELIVERY_FAILED, name, text, now, key=delivery(name)),)


def _failed(notice: Notice, error: TargetError, now: datetime, *, tries: int) -> Notice:
    after = replace(notice, attempts=notice.attempts + tries, error=error.failure.message)
    again = retry_at(after, now)
    return replace(after, state=NoticeState.GIVEN_UP, next_at=now) if again is None else replace(after, next_at=again)

"""Who is told what of an event, and when again: routing, deduplication, letters, digests. Decided here, sent elsewhere.

An event that a route wants is in exactly one notice of that route, or is kept back because the same trouble was told
not long ago, which is then named. A notice is sent alone, or in one letter with others when there are too many.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from jobs.event import Event, Severity, Topic
from jobs.policy import TenantName
from jobs.schedule import Schedule, next_after, occurrences


class NoticeState(StrEnum):
    """`pending` is tried until it is delivered, or given up after three days."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given-up"


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """What one channel wants to be told. `tenants` None: of all, and of what belongs to none."""

    name: str
    on: frozenset[Topic]
    tenants: frozenset[TenantName] | None = None
    repeat: timedelta = timedelta(hours=24)  # less an hour or a tenth: what fails nightly is told nightly
    digest: Schedule | None = None
    zone: str = "UTC"  # IANA name: the wall clocks that `digest` means


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """One thing that one channel is to be told."""

    id: int = 0
    channel: str
    made_at: datetime
    key: str  # what repeats of the same trouble share; one in a line where it tells of several
    through: int = 0  # the newest event (its id) that was known when it was made
    severity: Severity
    tenant: TenantName | None = None
    subject: str
    body: str
    state: NoticeState = NoticeState.PENDING
    attempts: int = 0
    next_at: datetime  # of the next attempt; of a notice that was given up: when
    delivered_at: datetime | None = None
    error: str = ""  # why it was put off last, also where it was delivered in the end


@dataclass(frozen=True, kw_only=True, slots=True)
class Deliveries:
    """What became of one channel's notices in a time: those made in it (`made`), and those that still waited when it
    began (`carried`). Each is one of `at_once`, `late` (its channel had not accepted it before), `given_up`, `waiting`.

    `longest` is how long after it was made the latest of the late ones was delivered.
    """

    channel: str
    made: int
    carried: int = 0
    at_once: int = 0
    late: int = 0
    given_up: int = 0
    waiting: int = 0
    longest: timedelta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """The events of one matter, for one route, in the order in which they happened. What a notice is written from.

    `key` is what the notice is known by afterwards: the troubles that still held at its end, one in a line.
    """

    route: Route
    events: tuple[Event, ...]
    key: str

    @property
    def severity(self) -> Severity:
        """The worst of its events'."""
        return worst(event.severity for event in self.events)


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptBack:
    """An event that is not told again, because the same trouble was told to that route at `told_at`."""

    route: Route
    event: Event
    told_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Sorting:
    """What becomes of a batch of events: what is told, what is kept back."""

    bundles: tuple[Bundle, ...] = ()
    kept_back: tuple[KeptBack, ...] = ()


Told = Mapping[tuple[str, str], datetime]  # (a route's name, a trouble) → when it was last told

MOST: Final = 10  # messages to one channel, at once or within BUSY, before they become one list
BUSY: Final = timedelta(hours=2)
PAUSE: Final = timedelta(minutes=10)  # between two such lists; more than MOST of it fit into BUSY, or it would not last
PATIENCE: Final = timedelta(days=3)
_EARLY: Final = timedelta(hours=1)  # so much before `repeat` is over, or a tenth of it, a trouble counts as a new one
DIGEST: Final = ":digest:"  # the key of every digest
_PAUSES: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 30, 60))
_LOOK_BACK: Final = (2, 70, 3000)  # days; few moments are looked at, whether they come by the minute or the year
_LOUDNESS: Final = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}


def matter(event: Event) -> str:
    """What an event is about: a tenant's (or nobody's) line, lock, vault. A recovery ends all trouble of its matter."""
    return f"{event.tenant or ''}:{' '.join((event.key or event.subject).split())}"


def trouble(event: Event) -> str:
    """What repeats of one trouble share: the matter, and what is wrong with it. A tenant's name has no colon."""
    tenant, _, about = matter(event).partition(":")
    return f"{tenant}:{event.topic}:{about}"


def matter_of(key: str) -> str:
    """The matter of a trouble."""
    tenant, _, rest = key.partition(":")
    return f"{tenant}:{rest.partition(':')[2]}"


def worst(severities: Iterable[Severity]) -> Severity:
    """The loudest; `info` of none."""
    return max(severities, key=_LOUDNESS.__getitem__, default=Severity.INFO)


def concerns(route: Route, event: Event) -> bool:
    """Whether a route may know of an event at all: one of its tenants', or anybody's where it has no list.

    A channel is not told whether it works itself: that would never come to an end.
    """
    mine = route.tenants is None or (event.tenant is not None and event.tenant in route.tenants)
    return mine and event.key != delivery(route.name)


def wants(route: Route, event: Event) -> bool:
    """Whether a route asks to be told of an event. A test goes wherever it may."""
    return concerns(route, event) and (event.topic in route.on or event.topic is Topic.TEST)


def sort(events: Sequence[Event], routes: Iterable[Route], told: Told, now: datetime) -> Sorting:
    """What each route is told of a batch of events (in the order in which they happened), and what is kept back."""
    bundles: list[Bundle] = []
    kept_back: list[KeptBack] = []
    for route in routes:
        by_matter: dict[str, list[Event]] = {}
        for event in events:
            if event.topic is Topic.RECOVERED or wants(route, event):
                by_matter.setdefault(matter(event), []).append(event)
        for about in by_matter.values():
            bundle, held = _of_one_matter(route, about, told, now)
            kept_back += held
            bundles += [bundle] if bundle.events else []
    return Sorting(bundles=tuple(bundles), kept_back=tuple(kept_back))


def _of_one_matter(route: Route, events: Sequence[Event], told: Told, now: datetime) -> tuple[Bundle, list[KeptBack]]:
    """Only trouble is kept back: an event of severity `info` is not the same as the one before it."""
    telling: list[Event] = []
    held: list[KeptBack] = []
    still: dict[str, None] = {}  # the troubles told of that no recovery has ended since
    recovered = False
    for event in events:
        if event.topic is Topic.RECOVERED:
            recovered, still = True, {}
        before = None if recovered or event.severity is Severity.INFO else told.get((route.name, trouble(event)))
        if before is not None and before <= now < before + _kept_back_for(route):
            held.append(KeptBack(route=route, event=event, told_at=before))
        elif wants(route, event):
            telling.append(event)
            still[trouble(event)] = None
    key = "\n".join(still) or trouble(replace(events[0], topic=Topic.RECOVERED))
    return Bundle(route=route, events=tuple(telling), key=key), held


def _kept_back_for(route: Route) -> timedelta:
    """A little less than `repeat`: what goes wrong once a day goes wrong a minute sooner on some days, and is told."""
    return route.repeat - min(_EARLY, route.repeat / 10)


def told_so_far(notices: Iterable[Notice], recoveries: Iterable[Event]) -> dict[tuple[str, str], datetime]:
    """When each trouble was last told, from the notices made and the RECOVERED events known.

    A notice that was given up told nobody. A recovery that came after a notice makes the next trouble a new one.
    """
    well: dict[str, int] = {}
    for event in recoveries:
        well[matter(event)] = max(event.id, well.get(matter(event), 0))
    told: dict[tuple[str, str], datetime] = {}
    for notice in sorted(notices, key=lambda notice: notice.id):  # the clock may have been set back in between
        for key in () if notice.state is NoticeState.GIVEN_UP else notice.key.split("\n"):
            if well.get(matter_of(key), -1) <= notice.through:
                told[notice.channel, key] = notice.made_at
    return told


def digest(route: Route, events: Iterable[Event], last: datetime, now: datetime) -> Bundle | None:
    """What a route's digest tells of the events since the last one; None while it is not due.

    All that concerns the route is in it, also what it does not want to be told one by one. After an outage there is
    one digest, however many were due. A digest without an event is one all the same: silence would prove nothing.
    """
    if not digest_is_due(route, last, now):
        return None
    return Bundle(route=route, events=tuple(event for event in events if concerns(route, event)), key=DIGEST)


def digest_is_due(route: Route, last: datetime, now: datetime) -> bool:
    """Whether a moment of the route's digest lies after the last one, and not after now."""
    due = None if route.digest is None else next_after(route.digest, route.zone, last)
    return due is not None and due.at <= now


def first_digest_from(route: Route, now: datetime) -> datetime | None:
    """Where the first digest of a route begins: at its last moment but one, so that it is due at once.

    Nobody knows whether anything ran at the last one. None where there is no such moment within eight years.
    """
    if route.digest is None:
        return None
    for days in _LOOK_BACK:
        found = tuple(occurrences(route.digest, route.zone, now - timedelta(days=days), now))
        if len(found) > 1:
            return found[-2].at
    return None


def delivery(channel: str) -> str:
    """The key of events about whether a channel works."""
    return f"delivery/{channel}"


def is_busy(delivered: Iterable[datetime], now: datetime) -> bool:
    """Whether a channel was sent so many messages of late (at these moments) that others wait, and come together."""
    return len({at for at in delivered if now - BUSY < at <= now}) >= MOST


def not_before(delivered: Sequence[datetime], now: datetime) -> datetime:
    """When a channel may be sent its next message: what would be one after the other becomes one every ten minutes."""
    return max(now, max(at for at in delivered if at <= now) + PAUSE) if is_busy(delivered, now) else now


def letters(due: Sequence[Notice], *, busy: bool) -> tuple[tuple[Notice, ...], ...]:
    """The messages in which one channel's due notices are sent: each in its own, or, if too many, all in one.

    A digest is always a message of its own.
    """
    single = [notice for notice in due if notice.key == DIGEST]
    others = [notice for notice in due if notice.key != DIGEST]
    together = [tuple(others)] if len(others) > (1 if busy else MOST) else [(notice,) for notice in others]
    return (*together, *((notice,) for notice in single))


def retry_at(notice: Notice, now: datetime) -> datetime | None:
    """When to try again a notice whose `attempts`-th delivery failed just now; None: it is given up, after three days.

    After 1, 5, 15 and 30 minutes, then every hour, and once more at the very end.
    """
    end = notice.made_at + PATIENCE
    pause = _PAUSES[min(max(notice.attempts, 1), len(_PAUSES)) - 1]
    return min(now + pause, end) if now < end else None


def tells_of_delivery(notice: Notice) -> bool:
    """Whether a notice says nothing but that other notices were not delivered: its own failure is told to nobody."""
    return all(key.split(":")[1:2] == [Topic.DELIVERY_FAILED.value] for key in notice.key.split("\n"))

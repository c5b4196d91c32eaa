"""One `serve` from its start to its exit code: the daemon with everything around it, by whichever clock it is given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from jobs.event import Topic, took_over
from jobs.failure import DONE
from jobs.history import Lease
from orchestrator import settings as settings_room
from orchestrator import wiring
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger, LedgerError
from orchestrator.serve.clockwatch import BelievedClock, ClockWatch, Opinion
from orchestrator.serve.daemon import Daemon, Means
from orchestrator.serve.health import Health
from orchestrator.serve.metronome import Metronome
from orchestrator.serve.ownership import acquire
from orchestrator.serve.surroundings import Surroundings
from orchestrator.serve.voice import Voice
from orchestrator.serve.witness import testify
from orchestrator.settings import Settings, SettingsError
from orchestrator.work.tools import Tools
from reports.log import Level, LogRecord
from targets.errors import TargetError
from targets.host import this_process
from targets.ports import unwatched
from targets.systemd import Systemd


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """On what terms it serves. `beat_seconds` are of the machine's clock, whatever `clock` says."""

    clock: Clock
    log: Callable[[LogRecord], None]
    systemd: Systemd
    version: str
    stop: threading.Event  # a person or the system asks for the end
    reload: threading.Event  # the settings may have changed
    standby: bool = False  # wait for the end of another `serve`, instead of being refused
    trust_clock: bool = False
    testify: Callable[[Settings, Clock], Opinion] = testify  # what others say of that clock
    beat_seconds: float = 1.0


def serve(settings: Settings, terms: Terms) -> int:
    """Serve until asked to stop; the exit code.

    Raises LedgerError, TargetError and LeaseHeldError where it cannot begin.
    """
    result = _served(settings, terms)
    while isinstance(result, Settings):
        result = _served(result, terms)
    return result


def _served(settings: Settings, terms: Terms) -> int | Settings:
    """The same; or the settings as they are by now, where the ledger that was waited for is no longer theirs."""
    health, owner = Health(), this_process()
    with (
        Ledger.open(wiring.ledger_url(settings), create=True, now=terms.clock.now()) as ledger,
        Metronome(terms.beat_seconds) as metronome,
    ):
        clock = _believed(terms, ledger)
        voice = Voice(terms.log, clock, health)
        waiting = _waiting(terms.systemd)
        taken = acquire(ledger, owner, clock, terms.stop, standby=terms.standby, waiting=waiting)
        if taken is None:
            return DONE
        lease, former = taken
        silent_since = former.beaten_at if former is not None else _stopped_at(ledger)
        with _given_back(ledger, lease):
            if terms.standby:
                by_now = _as_they_are_by_now(settings, terms)
                if by_now.service.state != settings.service.state:  # whoever served here may serve there by now
                    ledger.drop_lease(lease)
                    voice.say(Level.WARNING, "serve", "the settings name another ledger by now: it waits for that one")
                    return by_now
                settings = by_now
            if former is not None:
                _take_over(ledger, former, lease, clock, voice)
            with Surroundings(
                settings,
                ledger=ledger,
                clock=clock,
                health=health,
                voice=voice,
                version=terms.version,
                systemd=terms.systemd,
            ) as around:
                means = Means(
                    ledger=ledger,
                    clock=clock,
                    owner=owner,
                    voice=voice,
                    health=health,
                    metronome=metronome,
                    tools=_tools(ledger, clock),
                    version=terms.version,
                    testify=lambda present: terms.testify(present, terms.clock),
                    settled=around.settled,
                    reloading=around.reloading,
                    beaten=around.beaten,
                    stopping=around.stopping,
                    stop=terms.stop,
                    reload=terms.reload,
                )
                return Daemon(settings, means, lease).run(trust_clock=terms.trust_clock, silent_since=silent_since)


def _believed(terms: Terms, ledger: Ledger) -> BelievedClock:
    """The clock, unless it leapt since somebody served last: before anything is written by it."""
    clock = terms.clock
    watch = ClockWatch(clock.now(), clock.monotonic(), ledger.last_sign(), trusted=terms.trust_clock)
    return BelievedClock(clock, watch)


@contextmanager
def _given_back(ledger: Ledger, lease: Lease) -> Iterator[None]:
    """Where it could not even begin, whoever is next need not find out that we are dead, and tell of it."""
    try:
        yield
    except TargetError:
        with suppress(LedgerError):  # then they will find out
            ledger.drop_lease(lease)
        raise


def _waiting(systemd: Systemd) -> Callable[[str], None]:
    """Who stands by is as ready as it can be, and alive: else the service manager would end it."""

    def tell(status: str) -> None:
        with suppress(TargetError):  # whoever cannot be told anything ends us if it must; the wait goes on
            systemd.ready(status)
            systemd.alive()

    return tell


def _as_they_are_by_now(settings: Settings, terms: Terms) -> Settings:
    """Who stood by for weeks takes over what is in force, and not what was when the wait began.

    Where that is refused, those of then stay in force; the daemon's first look at them tells so, and raises the alarm.
    """
    try:
        return settings_room.load(settings.file)
    except SettingsError:
        terms.reload.set()
        return settings


def _tools(ledger: Ledger, clock: Clock) -> Callable[[Settings, threading.Event], Tools]:
    """restic is looked for by whoever uses it: a report is made without."""

    def make(settings: Settings, stop: threading.Event) -> Tools:
        return wiring.tools(
            settings, ledger, stop=stop, watch=lambda _piece: unwatched, clock=clock, needs_restic=False
        )

    return make


def _stopped_at(ledger: Ledger) -> datetime | None:
    stops = ledger.events(topics=[Topic.SERVE_STOPPED])
    return stops[-1].at if stops else None


def _take_over(ledger: Ledger, former: Lease, lease: Lease, clock: Clock, voice: Voice) -> None:
    owner = former.owner
    text = (
        f"process {owner.pid} on {owner.host} gave its last sign of life at {former.beaten_at:%Y-%m-%d %H:%M:%S} UTC; "
        f"this is term {lease.term}"
    )
    event = took_over(lease.term, text, clock.now())
    voice.event(event)
    ledger.add_events([event])

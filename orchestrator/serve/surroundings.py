"""What goes on beside the loop, in threads of its own: people are told, machines answered, conditions watched.

Nothing here starts a backup or stops one. What fails is a trouble in /healthz and in the log, and is tried again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from orchestrator import wiring
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.serve.dead_man import DeadMan
from orchestrator.serve.health import CLOCK, RECORD, Health
from orchestrator.serve.housekeeping import Housekeeping
from orchestrator.serve.liaison import Liaison
from orchestrator.serve.listening import Listening
from orchestrator.serve.observing import Observing
from orchestrator.serve.rounds import Rounds
from orchestrator.serve.telling import Telling
from orchestrator.serve.voice import Voice
from orchestrator.serve.watching import watch
from orchestrator.settings import Settings
from reports.log import Level
from targets.notify import Apprise
from targets.ping import ping
from targets.systemd import Systemd

_TELL_SECONDS: Final = 1.0
_WATCH_SECONDS: Final = 60.0
_TIDY_SECONDS: Final = 60.0  # between two looks at whether another day has begun
_LISTEN_SECONDS: Final = 15.0  # between two looks at where it is to listen
_SHARE: Final = 50.0  # watching takes no more than one part in so many of the time
_LAST_SECONDS: Final = 5.0  # for what is being sent when all ends
_AFTERWARDS: Final = timedelta(seconds=6 * _LAST_SECONDS)  # when the loop has ended, for all that ends after it


class Surroundings:
    """Everything around the daemon, from when it is entered until it is left."""

    def __init__(  # noqa: PLR0913 (what they share, and all are keywords)
        self,
        settings: Settings,
        *,
        ledger: Ledger,
        clock: Clock,
        health: Health,
        voice: Voice,
        version: str,
        systemd: Systemd,
    ) -> None:
        self._settings, self._ledger, self._clock = settings, ledger, clock
        self._health, self._voice = health, voice
        self._has_begun = False
        self._liaison = Liaison(systemd, self._trouble)
        self._telling = _telling(settings, ledger, clock, voice)
        self._dead_man = _dead_man(settings, health, clock, voice)
        self._observing = Observing(
            ledger=ledger,
            clock=clock,
            health=health,
            version=version,
            channels=lambda: self._telling.names,
            dead_man=self._dead_man,
        )
        self._observing.adopt(each.name for each in settings.scheduled)
        self._listening = Listening(clock, health, voice, self._observing.metrics)
        self._rounds = Rounds(clock, self._trouble, health.went_round)
        self._rounds.add("telling", self._tell, lambda _took: _TELL_SECONDS)
        self._rounds.add("listening", self._listen, lambda _took: _LISTEN_SECONDS)
        self._rounds.add("watching", self._watch, lambda took: max(_WATCH_SECONDS, _SHARE * took))
        self._housekeeping = Housekeeping(ledger, clock, self._rounds.pause)
        self._rounds.add("housekeeping", self._tidy, lambda _took: _TIDY_SECONDS)

    def __enter__(self) -> Self:
        self._rounds.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell what there is to tell of the end, and stop."""
        self._rounds.stop(_LAST_SECONDS)
        self._rounds.once("telling", self._last_words)
        self._health.trouble("serve", "it has ended")
        self._rounds.once("metrics", self._write_metrics)  # what is left behind must not say that all is well
        self._listening.stop()

    def settled(self, settings: Settings) -> None:
        """New settings are in force. The dead man's address is read at the start alone; the daemon says so."""
        self._settings = settings
        service = settings.service
        self._telling.adopt(settings.notify, service=service.name, zone=service.zone.key)
        self._observing.adopt(each.name for each in settings.scheduled)

    def reloading(self) -> None:
        """The settings are being read again, until the loop has gone around."""
        self._liaison.reloading()

    def beaten(self, status: str) -> None:
        """The loop has gone once around."""
        self._has_begun = True
        self._liaison.beaten(status)

    def stopping(self, status: str, left: timedelta) -> None:
        """The end of the loop has begun, or goes on, and takes at most so much longer."""
        self._liaison.stopping(status, left + _AFTERWARDS)

    def _tell(self) -> None:
        if self._dead_man is not None:
            self._dead_man.beat()
        self._telling.tell()

    def _last_words(self) -> None:
        self._telling.tell()
        self._telling.wait(_LAST_SECONDS)

    def _listen(self) -> None:
        self._listening.at(self._settings.serve.listen)

    def _watch(self) -> None:
        if not self._has_begun:  # nothing is due yet: whatever is seen now would be told, and taken back
            return
        doubt, behind = self._health.why_not(CLOCK), self._health.why_not(RECORD)
        self._observing.judged(watch(self._ledger, self._settings, self._clock, clock_doubt=doubt, behind=behind))
        self._write_metrics()

    def _tidy(self) -> None:
        """Only by a clock that is believed: what is old would else be for the clock to say."""
        if self._has_begun and not (self._health.holds(CLOCK) or self._health.holds(RECORD)):
            self._housekeeping.step(self._settings.keep)

    def _write_metrics(self) -> None:
        textfile = self._settings.serve.textfile
        if textfile is not None:
            self._observing.adopt(each.name for each in self._settings.scheduled)  # the figures of now
            self._observing.write(textfile)

    def _trouble(self, key: str, text: str | None) -> None:
        if self._health.trouble(key, text) and text is not None:
            self._voice.say(Level.ERROR, key, text)


def _telling(settings: Settings, ledger: Ledger, clock: Clock, voice: Voice) -> Telling:
    return Telling(
        ledger,
        settings.notify,
        resolve=wiring.secret,
        send=Apprise().send,
        clock=clock,
        service=settings.service.name,
        zone=settings.service.zone.key,
        announce=voice.event,
    )


def _dead_man(settings: Settings, health: Health, clock: Clock, voice: Voice) -> DeadMan | None:
    address = settings.serve.dead_man
    if address is None:
        return None
    healthy = health.well(clock.monotonic)
    every = settings.serve.dead_man_every
    trouble = _once(lambda why: voice.say(Level.WARNING, "dead-man", why))
    return DeadMan(address, every, healthy=healthy, resolve=wiring.secret, ping=ping, clock=clock, trouble=trouble)


def _once(say: Callable[[str], None]) -> Callable[[str | None], None]:
    """Only logged, once: were it a trouble of ours, one call that fails would end all calls."""
    last: str | None = None

    def hear(why: str | None) -> None:
        nonlocal last
        if why is not None and why != last:
            say(why)
        last = why

    return hear

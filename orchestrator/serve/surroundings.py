"""What goes on beside the loop, in threads of its own: people are told, machines answered, conditions watched.

Nothing here starts a backup or stops one. What fails is a trouble in /healthz and in the log, and is tried again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from orchestrator import wiring
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger, LedgerError
from orchestrator.serve.dead_man import DeadMan
from orchestrator.serve.health import Health
from orchestrator.serve.listener import Listener
from orchestrator.serve.observing import Observing
from orchestrator.serve.telling import Telling
from orchestrator.serve.voice import Voice
from orchestrator.serve.watching import watch
from orchestrator.settings import Settings
from reports.log import Level
from targets.errors import TargetError
from targets.notify import Apprise
from targets.ping import ping
from targets.systemd import Systemd

_TELL_SECONDS: Final = 1.0
_WATCH_SECONDS: Final = 60.0
_LISTEN_SECONDS: Final = 15.0  # between two looks at where it is to listen
_SHARE: Final = 50.0  # watching takes no more than one part in so many of the time
_LAST_SECONDS: Final = 5.0  # for what is being sent when all ends


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
        self._health, self._voice, self._systemd = health, voice, systemd
        self._stop = threading.Event()
        self._ready = False
        self._not_heard: str | None = None
        service = settings.service
        self._telling = Telling(
            ledger,
            settings.notify,
            resolve=wiring.secret,
            send=Apprise().send,
            clock=clock,
            service=service.name,
            zone=service.zone.key,
            announce=voice.event,
        )
        self._dead_man = _dead_man(settings, health, clock, self._not_called)
        self._observing = Observing(
            ledger=ledger,
            clock=clock,
            health=health,
            version=version,
            channels=lambda: self._telling.names,
            dead_man=self._dead_man,
        )
        self._observing.adopt(policy.name for policy in settings.policies)
        self._listener: Listener | None = None
        self._listens_at: tuple[str, int] | None = None
        self._threads = [
            threading.Thread(target=self._go_on, args=(what, step, pause), name=what, daemon=True)
            for what, step, pause in (
                ("telling", self._tell, lambda _took: _TELL_SECONDS),
                ("listening", self._listen, lambda _took: _LISTEN_SECONDS),
                ("watching", self._watch, lambda took: max(_WATCH_SECONDS, _SHARE * took)),
            )
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell what there is to tell of the end, and stop."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_LAST_SECONDS)
        self._try("telling", self._last_words)
        self._health.trouble("serve", "it has ended")
        self._try("metrics", self._write_metrics)  # what is left behind must not say that all is well
        if self._listener is not None:
            self._listener.stop()

    def settled(self, settings: Settings) -> None:
        """New settings are in force. The dead man's address is read at the start alone; the daemon says so."""
        self._settings = settings
        service = settings.service
        self._telling.adopt(settings.notify, service=service.name, zone=service.zone.key)
        self._observing.adopt(policy.name for policy in settings.policies)

    def beaten(self, status: str) -> None:
        """The loop has gone once around: the service manager's watchdog hears it, where it is not in trouble."""
        try:
            if self._ready:
                self._systemd.alive(status)
            else:
                self._systemd.ready(status)
                self._ready = True
        except TargetError as error:
            self._trouble("systemd", str(error))
        else:
            self._trouble("systemd", None)

    def stopping(self) -> None:
        """The end has begun."""
        self._try("systemd", self._systemd.stopping)

    def _go_on(self, what: str, step: Callable[[], None], pause: Callable[[float], float]) -> None:
        while not self._stop.is_set():
            began = self._clock.monotonic()
            self._try(what, step)
            self._stop.wait(pause(self._clock.monotonic() - began))

    def _try(self, what: str, step: Callable[[], None]) -> None:
        try:
            step()
        except (LedgerError, TargetError) as error:
            self._trouble(what, str(error))
        except Exception as error:  # noqa: BLE001 (a thread's edge: our own fault is told, and the rest goes on)
            self._trouble(what, f"Tandem itself failed: {type(error).__name__}: {error}")
        else:
            self._trouble(what, None)

    def _tell(self) -> None:
        if self._dead_man is not None:
            self._dead_man.beat()
        self._telling.tell()

    def _last_words(self) -> None:
        self._telling.tell()
        self._telling.wait(_LAST_SECONDS)

    def _listen(self) -> None:
        """Listen where the settings say. Another that listens there stops no backup. Raises TargetError."""
        address = self._settings.serve.listen
        if address == self._listens_at:
            return
        if self._listener is not None:
            self._listener.stop()
            self._listener = self._listens_at = None
        if address is not None:
            clock, health = self._clock, self._health
            self._listener = Listener(
                address,
                metrics=self._observing.metrics,
                health=lambda: health.report(clock.monotonic()),
                monotonic=clock.monotonic,
            )
            self._listener.start()
            self._listens_at = address
            host, port = self._listener.address
            self._voice.say(Level.INFO, "listening", f"/metrics and /healthz at http://{host}:{port}")

    def _watch(self) -> None:
        if not self._ready:  # nothing is due yet: whatever is seen now would be told, and taken back
            return
        doubt = self._health.why_not("clock")
        judged = watch(self._ledger, self._settings, self._clock, clock_doubt=doubt)
        if not doubt:
            self._observing.judged(judged)
        self._write_metrics()

    def _write_metrics(self) -> None:
        textfile = self._settings.serve.textfile
        if textfile is not None:
            self._observing.adopt(policy.name for policy in self._settings.policies)  # the figures of now
            self._observing.write(textfile)

    def _not_called(self, why: str | None) -> None:
        """Only logged, once: were it a trouble of ours, one call that fails would end all calls."""
        if why is not None and why != self._not_heard:
            self._voice.say(Level.WARNING, "dead-man", why)
        self._not_heard = why

    def _trouble(self, key: str, text: str | None) -> None:
        if self._health.trouble(key, text) and text is not None:
            self._voice.say(Level.ERROR, key, text)


def _dead_man(
    settings: Settings, health: Health, clock: Clock, trouble: Callable[[str | None], None]
) -> DeadMan | None:
    address = settings.serve.dead_man
    if address is None:
        return None
    healthy = health.well(clock.monotonic)
    every = settings.serve.dead_man_every
    return DeadMan(address, every, healthy=healthy, resolve=wiring.secret, ping=ping, clock=clock, trouble=trouble)

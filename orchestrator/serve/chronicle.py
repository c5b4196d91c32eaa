"""What happens to the service itself: put on record and logged; where the ledger refuses it, logged all the same."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from typing import Final

from jobs.event import Event, Severity, Topic, of_service
from orchestrator import fault
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger, LedgerError
from orchestrator.serve.health import Health
from orchestrator.serve.voice import Voice
from reports.log import Level

LEDGER: Final = "ledger"
_KEPT: Final = 1000


class Chronicle:
    """Tells of events and troubles. Used by several threads."""

    def __init__(self, ledger: Ledger, clock: Clock, voice: Voice, health: Health) -> None:
        self._ledger, self._clock, self._voice, self._health = ledger, clock, voice, health
        self._lock = threading.Lock()
        self._unwritten: deque[Event] = deque()  # what the ledger did not take, until it does
        self._lost = 0  # events that were too many to be kept until then; the log has them

    def happened(self, topic: Topic, subject: str, text: str, *, key: str = "") -> None:
        """Something did, now. What has the same `key` (else the subject) is the same matter."""
        self.put(of_service(topic, subject, text, self._clock.now(), key=key))

    def put(self, event: Event) -> None:
        """The same, as an event. What the ledger refuses goes in with the next that it takes."""
        self._voice.event(event)
        with self._lock:
            self._unwritten.append(event)
            if len(self._unwritten) > _KEPT:
                self._unwritten.popleft()
                self._lost += 1
            lost = self._of_the_lost()
            try:
                self._ledger.add_events((*self._unwritten, *lost))
            except LedgerError as error:
                self.refused(error)
            else:
                self._unwritten.clear()
                self._lost = 0
                for each in lost:
                    self._voice.event(each)

    def _of_the_lost(self) -> tuple[Event, ...]:
        """That the record has a hole, and how large, once there is one."""
        if not self._lost:
            return ()
        text = f"It took nothing for a while, and {self._lost:,} events of that time are in the log only."
        event = of_service(Topic.LEDGER_TRIMMED, LEDGER, text, self._clock.now(), key="ledger/lost")
        return (replace(event, severity=Severity.WARNING),)

    def recorded(self, event: Event) -> None:
        """What is on record already is logged."""
        self._voice.event(event)

    def refused(self, error: LedgerError) -> None:
        """The ledger takes nothing."""
        self.trouble(LEDGER, f"the ledger refuses: {error}")

    def trouble(self, key: str, text: str | None) -> None:
        """Something does not work, and why; None: it does (again)."""
        if self._health.trouble(key, text) and text is not None:
            self._voice.say(Level.ERROR, key, text)

    def crashed(self, error: Exception) -> None:
        """Our own fault: told with where it was, because nobody is there to ask for it."""
        what = fault.words(error)
        text = f"Tandem itself failed: {what}, by way of {fault.path(error)}."
        self.happened(Topic.INTERNAL, "tandem", text, key=what)

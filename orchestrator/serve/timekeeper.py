"""The clock is looked at, doubted and believed; and what a clock that was ahead has made due is taken back.

A record that is ahead of a clock that is right would keep everything silent until its moments have come. So the moments
that were made too early are void, on record, and the lines go on from now.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from jobs.event import Event, Topic, of_service
from jobs.quantity import duration
from orchestrator.ledger.corrections import Voided
from orchestrator.ledger.ledger import Ledger
from orchestrator.serve.calendar import Calendar
from orchestrator.serve.chronicle import Chronicle
from orchestrator.serve.clockwatch import BELIEVED, BelievedClock, Opinion
from orchestrator.serve.health import CLOCK, RECORD
from orchestrator.serve.inquiry import Inquiry

_BEHIND: Final = timedelta(hours=1)
_UNTIL: Final = (
    "time goes on from what was believed last, until the clock is back, a time service or a vault's clock agrees, or "
    "`serve --trust-clock` says that it is right"
)


class Timekeeper:
    """Looks once a beat. Used by the thread that decides."""

    def __init__(
        self,
        clock: BelievedClock,
        ledger: Ledger,
        calendar: Calendar,
        chronicle: Chronicle,
        ask: Callable[[], Opinion],
    ) -> None:
        self._clock, self._ledger, self._calendar, self._chronicle = clock, ledger, calendar, chronicle
        self._inquiry = Inquiry(ask, chronicle.crashed)
        self._reached: datetime | None = None  # by any line that was; as last asked
        self._may_correct = False

    @property
    def believed(self) -> bool:
        """Whether the time is what the wall clock says."""
        return self._clock.watch.believed

    def trust(self) -> None:
        """A person says that the clock is right as it stands."""
        self._inquiry.trust(self._clock.wall(), self._clock.monotonic())

    def look(self) -> bool:
        """Compare the clocks, and tell; whether what is believed to be the time has leapt."""
        now, monotonic, watch = self._clock.wall(), self._clock.monotonic(), self._clock.watch
        is_ahead = self._is_ahead(now)
        said = Opinion.UNKNOWN
        if is_ahead or abs(now - watch.expected(monotonic)) > BELIEVED:
            said = self._inquiry.said(now, monotonic)
        else:
            self._inquiry.forget()
        step = watch.look(now, monotonic, said)
        self._may_correct = self.believed and is_ahead and watch.may_correct(now, monotonic, said)
        if self.believed:
            self._chronicle.trouble(CLOCK, None)
            self._chronicle.trouble(RECORD, self._behind() if is_ahead else None)
        if step is not None:
            self._tell(step, now, said)
        return step is not None

    def correct(self) -> bool:
        """Take back what was made of moments that have not come, where the clock is right; whether anything was.

        Raises LedgerError. A line is left for later whose slot of such a moment has a run under way.
        """
        if self._reached is None:
            self._reached = self._ledger.reached()
        if not self._may_correct:
            return False
        now, newest = self._clock.now(), self._newest()
        by = duration(newest - now) if newest is not None else ""
        told: list[Event] = []

        def tell(voided: Voided) -> Event:
            told.append(of_service(Topic.CLOCK_STEPPED, CLOCK, _void(voided, by), now, key="clock/void"))
            return told[-1]

        voided = self._ledger.void(now, f"a clock that was ahead by up to {by} made it: it was never due", tell)
        for event in told:
            self._chronicle.recorded(event)
        if voided.lines or not voided.busy:
            self._calendar.load()
            self._reached = None
        return bool(told)

    def _newest(self) -> datetime | None:
        return max((at for at in (self._calendar.newest, self._reached) if at is not None), default=None)

    def _is_ahead(self, now: datetime) -> bool:
        newest = self._newest()
        return newest is not None and newest > now + _BEHIND

    def _behind(self) -> str:
        newest = self._newest()
        of = "" if newest is None else f", of {newest:%Y-%m-%d %H:%M} UTC"
        return (
            f"the clock is behind the newest slot{of}: its line has nothing due before then, unless a time service "
            "or a vault's clock agrees with the clock, or `serve --trust-clock` says that it is right"
        )

    def _tell(self, step: timedelta, now: datetime, said: Opinion) -> None:
        how = f"the clock was set {'forward' if step > timedelta(0) else 'back'} by {abs(step)}"
        told = f"{how}, to {now:%Y-%m-%d %H:%M:%S} UTC"
        if not self.believed:
            why = "a vault's clock contradicts it" if said is Opinion.CONTRADICTED else "nobody vouches for it"
            told += f": not believed, because {why}; {_UNTIL}"
            self._chronicle.trouble(CLOCK, told)
        self._chronicle.happened(Topic.CLOCK_STEPPED, CLOCK, told)


def _void(voided: Voided, by: str) -> str:
    busy = f"; {voided.busy} lines wait for the end of a run" if voided.busy else ""
    missed = f"; {voided.missed:,} moments that one of them was to stand for are missed" if voided.missed else ""
    return (
        f"{voided.slots:,} slots of {voided.lines:,} lines were made by a clock that was ahead by up to {by}: they are "
        f"void, and the lines go on from now{missed}{busy}"
    )

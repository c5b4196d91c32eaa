"""The loop that runs for months: look at the clocks, make due what is due, dispatch, put on record; and again.

One thread decides and is the only one that writes slots, but for a run's end, which the run's own thread writes.
What the ledger refuses is tried again at the next beat: nothing is due or started that is not on record.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from jobs.dispatch import Moves, Start
from jobs.event import Topic, of_slot, outage
from jobs.failure import BUSY_OR_LOCKED, DONE
from jobs.history import Lease, Owner
from jobs.slot import Slot, Why, WhyKind
from orchestrator import fault
from orchestrator.executor import Announcements
from orchestrator.ledger.ledger import Busy, Ledger, LedgerError, Superseded
from orchestrator.serve.board import Board
from orchestrator.serve.calendar import MANY, Calendar
from orchestrator.serve.chronicle import LEDGER, Chronicle
from orchestrator.serve.clockwatch import BelievedClock, Opinion
from orchestrator.serve.health import Health
from orchestrator.serve.metronome import Metronome
from orchestrator.serve.ownership import Keeper
from orchestrator.serve.regime import Regime
from orchestrator.serve.resolver import Resolver
from orchestrator.serve.starting import work_of
from orchestrator.serve.timekeeper import Timekeeper
from orchestrator.serve.voice import Voice
from orchestrator.serve.workers import Ended, Workers
from orchestrator.settings import Settings
from orchestrator.work.tools import Tools
from reports.log import Level

_LATE: Final = timedelta(minutes=1)
_STANDSTILL_SECONDS: Final = 600.0  # between two beats: stopped (SIGSTOP, a machine put to sleep), or starved
_LEASE: Final = "lease"
_FAULT: Final = "tandem"


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What a daemon runs with."""

    ledger: Ledger
    clock: BelievedClock
    owner: Owner
    voice: Voice
    health: Health
    metronome: Metronome
    tools: Callable[[Settings, threading.Event], Tools]  # one run's
    version: str  # Tandem's
    testify: Callable[[Settings], Opinion]  # what others say of the clock: the vaults that are in the settings by then
    settled: Callable[[Settings], None]  # whoever else lives by the settings is given the new ones
    reloading: Callable[[], None]  # the settings are read again, until the next beat
    beaten: Callable[[str], None]  # after each beat, with a line on how it stands (for systemd)
    stopping: Callable[[str, timedelta], None]  # while the end lasts: what it waits for, and how much longer it may
    stop: threading.Event  # a person or the system asks for the end
    reload: threading.Event  # the settings may have changed


class Daemon:
    """One `serve`, from when it has the lease to its end."""

    def __init__(self, settings: Settings, means: Means, lease: Lease) -> None:
        self._means = means
        self._ledger, self._clock, self._voice = means.ledger, means.clock, means.voice
        self._chronicle = Chronicle(means.ledger, means.clock, means.voice, means.health)
        self._keeper = Keeper(means.ledger, lease, means.clock)
        self._refused: tuple[datetime, str] | None = None  # since when the ledger takes nothing, and why
        self._outage: tuple[datetime, int] | None = None  # since when nothing ran, and what was due; until it is told
        self._beaten = (means.clock.now(), means.clock.monotonic())  # the last beat
        self._halt = threading.Event()  # ends restic: set by a stop, or by the loss of the lease
        self._calendar = Calendar(means.ledger)
        self._timekeeper = Timekeeper(means.clock, means.ledger, self._calendar, self._chronicle, self._testimony)
        self._regime = Regime(
            settings,
            ledger=means.ledger,
            calendar=self._calendar,
            chronicle=self._chronicle,
            voice=means.voice,
            reload=means.reload,
            settled=means.settled,
            take=self._take,
        )
        self._board = Board(means.ledger)
        self._resolver = Resolver(means.ledger, means.owner, means.voice, self._chronicle.crashed)
        self._workers = Workers(
            ledger=means.ledger,
            clock=means.clock,
            owner=means.owner,
            tools=self._tools,
            stop=self._halt,
            tell=Announcements(begins=means.voice.begins, ended=means.voice.ended, crashed=self._chronicle.crashed),
            wake=means.metronome.wake,
            trouble=lambda text: means.voice.say(Level.ERROR, LEDGER, text),
        )

    def run(self, *, trust_clock: bool = False, silent_since: datetime | None = None) -> int:
        """Serve until asked to stop; the exit code. `silent_since` is the last sign of life of who served before.

        Raises LedgerError where not even the start can be put on record.
        """
        if trust_clock:
            self._timekeeper.trust()
        self._outage = None if silent_since is None else (silent_since, 0)
        self._add(self._regime.begin(self._clock.now()))
        self._tell_of_the_outage()
        self._chronicle.happened(Topic.SERVE_STARTED, "serve", f"{self._size()}, term {self._keeper.lease.term}")
        self._beaten = self._clock.now(), self._clock.monotonic()
        try:
            while not self._means.stop.is_set():
                self._means.metronome.wait()
                self._beat()
            self._end()
        except Superseded as lost:
            return self._fenced(lost)
        return DONE

    # --- one beat ---------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Go once around. Raises Superseded when the lease is lost.

        What is our own fault is told once, and tried again: health is red, and the watchdog hears nothing, meanwhile.
        """
        self._keep_the_lease()
        self._look_back()
        try:
            self._tick()
        except Exception as error:  # noqa: BLE001 (nobody is there to start us again, and most of it may go on)
            if self._means.health.trouble(_FAULT, fault.words(error)):
                self._chronicle.crashed(error)
            self._board.is_stale()
        else:
            self._chronicle.trouble(_FAULT, None)

    def _tick(self) -> None:
        """Everything that a beat brings."""
        if self._timekeeper.look():
            self._means.metronome.again()
            self._board.look_again()
        now, monotonic = self._clock.now(), self._clock.monotonic()
        try:
            self._take_in(self._workers.ended())
            if self._timekeeper.correct():
                self._board.is_stale()
            self._take_over_settings(now)
            self._make_due(now)
            self._dispatch(now)
            at_work = {run.slot for run in self._workers.begun}
            if self._resolver.look(monotonic, self._tools, self._regime.settings.tenants, at_work):
                self._board.load()
        except LedgerError as error:
            self._chronicle.refused(error)
            self._refused = self._refused or (now, str(error))
            self._doubt_the_lease(error)
            self._board.is_stale()
        else:
            self._chronicle.trouble(LEDGER, None)
            self._ledger_is_back()
        self._means.health.ticked(self._clock.monotonic())
        self._means.beaten(f"{len(self._workers)} runs under way, {len(self._board)} slots open")

    def _look_back(self) -> None:
        """A process that lives and stands still is an outage as well."""
        (at, before), self._beaten = self._beaten, (self._clock.now(), self._clock.monotonic())
        if self._beaten[1] - before > _STANDSTILL_SECONDS and self._outage is None:
            self._outage = at, 0

    def _keep_the_lease(self) -> None:
        try:
            has_beaten = self._keeper.beat()
        except Superseded:
            raise
        except LedgerError as error:
            self._chronicle.trouble(_LEASE, f"no sign of life can be put on record: {error}")
            self._refused = self._refused or (self._clock.now(), str(error))
        else:
            if has_beaten:
                self._chronicle.trouble(_LEASE, None)

    def _ledger_is_back(self) -> None:
        """What could not be put on record while it lasted is put there now: nobody would hear of it else."""
        if self._refused is None or self._means.health.holds(_LEASE):
            return
        (since, why), self._refused = self._refused, None
        self._chronicle.happened(
            Topic.RECOVERED, "ledger", f"it takes records again. It refused since {since:%Y-%m-%d %H:%M} UTC: {why}"
        )

    def _take_over_settings(self, now: datetime) -> None:
        if not self._regime.is_asked_for_others:
            return
        self._means.reloading()
        made = self._regime.take_over(now)
        if made is not None:
            self._add(made)
            self._board.look_again()

    def _make_due(self, now: datetime) -> None:
        due = self._calendar.next
        if due is not None and due <= now:
            self._calendar.born(now, self._take)
        self._tell_of_the_outage()

    def _take(self, made: tuple[Slot, ...]) -> None:
        """New slots. After a long time they are many: all but the newest of each line end before more are made."""
        self._add(made)
        if len(made) < MANY:
            return
        self._keep_the_lease()
        now, settings = self._clock.now(), self._regime.settings
        over = self._board.over(
            self._regime.policies,
            settings.limits.concurrency,
            self._workers.begun,
            now,
            reports=settings.reports,
            of={slot.policy for slot in made},
        )
        self._put_on_record(over, now)

    def _add(self, made: tuple[Slot, ...]) -> None:
        self._board.add(made)
        if self._outage is not None:
            since, late = self._outage
            self._outage = since, late + sum(slot.due < slot.known_at - _LATE for slot in made)

    def _tell_of_the_outage(self) -> None:
        """Once it is known how long it was: when the clock is believed."""
        if self._outage is None or not self._timekeeper.believed:
            return
        (since, late), self._outage = self._outage, None
        if late:
            self._chronicle.put(outage(since, self._clock.now(), late))

    def _dispatch(self, now: datetime) -> None:
        if not self._board.is_to_be_looked_at(now):
            return
        settings, policies = self._regime.settings, self._regime.policies
        limits, begun = settings.limits.concurrency, self._workers.begun
        moves = self._board.moves(policies, limits, begun, now, reports=settings.reports)
        self._put_on_record(moves, now)
        for start in moves.starts:
            self._workers.start(start, work_of(start, policies, settings, now, self._means.version))

    def _put_on_record(self, moves: Moves, now: datetime) -> None:
        if moves.closings:
            events = [of_slot(closing.slot, closing.state, closing.why, now) for closing in moves.closings]
            self._ledger.close_slots(moves.closings, now, events)
            for closing in moves.closings:
                self._voice.closed(closing.slot, closing.state, closing.why)
        changed = {wait.slot.id: wait.why for wait in moves.waits if wait.why != wait.slot.why}
        if changed:
            self._ledger.wait_slots(changed)
        self._board.carried_out(moves, now)

    def _take_in(self, ended: Iterable[Ended]) -> None:
        for each in ended:
            if each.record is not None:
                self._board.done(each.record)
            elif each.refused is not None:
                self._not_begun(each.start, each.refused)
            self._board.refresh(each.start.slot.id)

    def _not_begun(self, start: Start, error: Exception) -> None:
        """No run began: another process was quicker, or the ledger refused. The slot is as due as before."""
        if isinstance(error, Busy):
            why = Why(kind=WhyKind.HELD, text=error.failure.message, other=getattr(error.other, "id", ""))
            self._ledger.wait_slots({start.slot.id: why})
        elif isinstance(error, LedgerError):
            self._chronicle.refused(error)
            self._doubt_the_lease(error)
        else:
            self._chronicle.crashed(error)
        self._board.is_stale()

    def _doubt_the_lease(self, error: LedgerError) -> None:
        """Who was quicker than we are may be another `serve`: the next beat looks before it does anything."""
        if isinstance(error, Superseded):
            self._keeper.doubt()

    def _tools(self) -> Tools:
        return self._means.tools(self._regime.settings, self._halt)

    def _testimony(self) -> Opinion:
        return self._means.testify(self._regime.settings)

    def _size(self) -> str:
        policies = len(self._regime.policies)
        return f"{policies} policies, {len(self._calendar)} lines, {len(self._board)} slots open"

    # --- the end ------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Stop cleanly: restic is interrupted, each run's end put on record, the lease given back."""
        self._halt.set()
        grace = self._regime.settings.serve.shutdown_grace.total_seconds()
        clean = self._wait_for_runs(grace)
        self._resolver.wait(grace)
        try:
            self._take_in(self._workers.ended())
            left = "" if clean else f"; {len(self._workers)} runs did not end in {grace:.0f} s"
            self._chronicle.happened(Topic.SERVE_STOPPED, "serve", f"asked to stop{left}")
            if clean:  # else the next one finds that we are dead, and asks the repositories
                self._keeper.drop()
        except LedgerError as error:
            self._voice.say(Level.ERROR, LEDGER, f"the end could not be put on record: {error}")

    def _wait_for_runs(self, grace: float) -> bool:
        """Let them end, and show life meanwhile. Returns whether all did. Raises Superseded."""
        for second in range(ceil(grace)):
            left = timedelta(seconds=2 * grace - second)  # as much again for what is being asked of repositories
            self._means.stopping(f"{len(self._workers)} runs are to end", left)
            if self._workers.wait(1.0):
                return True
            self._keep_the_lease()
        return self._workers.wait(0.0)

    def _fenced(self, lost: Superseded) -> int:
        """Another serve may have taken over: what runs here ends now, and nothing more is written."""
        self._halt.set()
        self._voice.say(Level.ERROR, "lease-lost", f"{lost.failure.message}: everything under way is ended")
        self._workers.wait(self._regime.settings.serve.shutdown_grace.total_seconds())
        return BUSY_OR_LOCKED

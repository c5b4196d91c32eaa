"""The loop that runs for months: look at the clocks, make due what is due, dispatch, put on record; and again.

One thread decides and is the only one that writes slots, but for a run's end, which the run's own thread writes.
What the ledger refuses is tried again at the next beat: nothing is due or started that is not on record.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from jobs.dispatch import Moves, Start
from jobs.event import Event, Topic, of_service, of_slot, outage
from jobs.failure import BUSY_OR_LOCKED, DONE, Failure, FailureKind
from jobs.history import Lease, Owner
from jobs.policy import Policy, PolicyName
from jobs.slot import Why, WhyKind
from orchestrator import settings as settings_room
from orchestrator.clock import Clock
from orchestrator.executor import Announcements
from orchestrator.ledger.ledger import Busy, Ledger, LedgerError, Superseded
from orchestrator.serve.board import Board
from orchestrator.serve.calendar import Calendar
from orchestrator.serve.clockwatch import ClockWatch
from orchestrator.serve.health import Health
from orchestrator.serve.metronome import Metronome
from orchestrator.serve.ownership import Keeper
from orchestrator.serve.resolver import Resolver
from orchestrator.serve.voice import Voice
from orchestrator.serve.workers import Ended, Workers
from orchestrator.settings import Settings, SettingsError, effective_policy_json
from orchestrator.work.tools import Tools
from reports.log import Level

_UNBELIEVABLE: Final = timedelta(days=366)  # a clock so far after the newest slot is not believed at the start
_LATE: Final = timedelta(minutes=1)
_BEHIND: Final = timedelta(hours=1)
_LEDGER: Final = "ledger"
_CLOCK: Final = "clock"
_LEASE: Final = "lease"
_FAULT: Final = "tandem"


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What a daemon runs with."""

    ledger: Ledger
    clock: Clock
    owner: Owner
    voice: Voice
    health: Health
    metronome: Metronome
    tools: Callable[[Settings, threading.Event], Tools]  # one run's
    settled: Callable[[Settings], None]  # whoever else lives by the settings is given the new ones
    beaten: Callable[[str], None]  # after each beat, with a line on how it stands (for systemd)
    stopping: Callable[[], None]  # when the end begins
    stop: threading.Event  # a person or the system asks for the end
    reload: threading.Event  # the settings may have changed


class ClockDoubtError(Exception):
    """The clock is too far from what the ledger has seen."""

    def __init__(self, message: str) -> None:
        self.failure = Failure(kind=FailureKind.CLOCK_DOUBTED, message=message)
        super().__init__(message)


class Daemon:
    """One `serve`, from when it has the lease to its end."""

    def __init__(self, settings: Settings, means: Means, lease: Lease) -> None:
        self._settings, self._means = settings, means
        self._ledger, self._clock, self._voice = means.ledger, means.clock, means.voice
        self._policies = _by_name(settings)
        self._keeper = Keeper(means.ledger, lease, means.clock)
        self._refused: tuple[datetime, str] | None = None  # since when the ledger takes nothing, and why
        self._halt = threading.Event()  # ends restic: set by a stop, or by the loss of the lease
        self._watch = ClockWatch(means.clock.now(), means.clock.monotonic())
        self._calendar = Calendar(means.ledger)
        self._board = Board(means.ledger)
        self._resolver = Resolver(means.ledger, means.owner, means.voice, self._crashed)
        self._workers = Workers(
            ledger=means.ledger,
            clock=means.clock,
            owner=means.owner,
            tools=self._tools,
            stop=self._halt,
            tell=Announcements(begins=means.voice.begins, ended=means.voice.ended, crashed=self._crashed),
            wake=means.metronome.wake,
            trouble=lambda text: means.voice.say(Level.ERROR, _LEDGER, text),
        )

    def run(self, *, trust_clock: bool = False, silent_since: datetime | None = None) -> int:
        """Serve until asked to stop; the exit code. `silent_since` is the last sign of life of who served before.

        Raises LedgerError where not even the start can be put on record, and ClockDoubtError.
        """
        now = self._clock.now()
        self._believe(now, trust=trust_clock)
        self._remember(self._settings, now)
        made = self._calendar.settle(self._settings.policies, now)
        self._board.add(made)
        late = sum(slot.due < now - _LATE for slot in made)
        if silent_since is not None and late:
            self._put(outage(silent_since, now, late))
        self._event(Topic.SERVE_STARTED, "serve", f"{self._size()}, term {self._keeper.lease.term}")
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
        try:
            self._tick()
        except Exception as error:  # noqa: BLE001 (nobody is there to start us again, and most of it may go on)
            if self._means.health.trouble(_FAULT, f"{type(error).__name__}: {error}"):
                self._crashed(error)
            self._board.is_stale()
        else:
            self._trouble(_FAULT, None)

    def _tick(self) -> None:
        """Everything that a beat brings."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        self._look_at_the_clocks(now, monotonic)
        try:
            self._take_in(self._workers.ended())
            if self._watch.believed:
                self._take_over_settings(now)
                self._make_due(now)
                self._dispatch(now)
            at_work = {run.slot for run in self._workers.begun}
            if self._resolver.look(monotonic, self._tools, self._settings.tenants, at_work):
                self._board.load()
        except LedgerError as error:
            self._trouble(_LEDGER, f"the ledger refuses: {error}")
            self._refused = self._refused or (now, str(error))
            self._doubt_the_lease(error)
            self._board.is_stale()
        else:
            self._trouble(_LEDGER, None)
            self._ledger_is_back()
        self._means.health.ticked(monotonic)
        self._means.beaten(f"{len(self._workers)} runs under way, {len(self._board)} slots open")

    def _look_at_the_clocks(self, now: datetime, monotonic: float) -> None:
        newest = self._calendar.newest
        step = self._watch.look(now, monotonic, newest)
        if self._watch.believed:
            behind = newest is not None and newest > now + _BEHIND
            self._trouble(_CLOCK, _behind(newest) if behind and newest else None)
        if step is None:
            return
        self._means.metronome.again()
        self._board.look_again()
        how = f"the clock was set {'forward' if step > timedelta(0) else 'back'} by {abs(step)}"
        doubt = "" if self._watch.believed else ": not believed, nothing is made due until it is back"
        if not self._watch.believed:
            self._trouble(_CLOCK, how + doubt)
        self._event(Topic.CLOCK_STEPPED, "clock", f"{how}, to {now:%Y-%m-%d %H:%M:%S} UTC{doubt}")

    def _keep_the_lease(self) -> None:
        try:
            self._keeper.beat()
        except Superseded:
            raise
        except LedgerError as error:
            self._trouble(_LEASE, f"no sign of life can be put on record: {error}")
            self._refused = self._refused or (self._clock.now(), str(error))
        else:
            self._trouble(_LEASE, None)

    def _ledger_is_back(self) -> None:
        """What could not be put on record while it lasted is put there now: nobody would hear of it else."""
        if self._refused is None or self._means.health.holds(_LEASE):
            return
        (since, why), self._refused = self._refused, None
        self._event(
            Topic.RECOVERED, "ledger", f"it takes records again. It refused since {since:%Y-%m-%d %H:%M} UTC: {why}"
        )

    def _make_due(self, now: datetime) -> None:
        due = self._calendar.next
        if due is not None and due <= now:
            self._board.add(self._calendar.born(now))

    def _dispatch(self, now: datetime) -> None:
        if not self._board.is_to_be_looked_at(now):
            return
        limits = self._settings.limits.concurrency
        moves = self._board.moves(self._policies, limits, self._workers.begun, now)
        self._put_on_record(moves, now)
        for start in moves.starts:
            self._workers.start(start, self._policies[start.slot.policy])

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
            self._trouble(_LEDGER, f"the ledger refuses: {error}")
            self._doubt_the_lease(error)
        else:
            self._crashed(error)
        self._board.is_stale()

    def _doubt_the_lease(self, error: LedgerError) -> None:
        """Who was quicker than we are may be another `serve`: the next beat looks before it does anything."""
        if isinstance(error, Superseded):
            self._keeper.doubt()

    # --- settings ---------------------------------------------------------------------------------------------------

    def _take_over_settings(self, now: datetime) -> None:
        """The settings as they now stand, whole or not at all: where anything is wrong the old ones stay in force."""
        if not self._means.reload.is_set():
            return
        self._means.reload.clear()
        try:
            new = settings_room.load(self._settings.file)
        except SettingsError as mistakes:
            for mistake in mistakes.mistakes:
                self._voice.say(Level.ERROR, "settings-mistake", str(mistake))
            told = "; ".join(map(str, mistakes.mistakes))
            self._event(Topic.SETTINGS_REFUSED, "settings", f"the old ones stay in force: {told}")
            return
        if new.service.state != self._settings.service.state:
            text = "another [service] state takes a restart; the old ones stay in force"
            self._event(Topic.SETTINGS_REFUSED, "settings", text)
            return
        try:
            self._remember(new, now)
            self._board.add(self._calendar.settle(new.policies, now))
        except LedgerError:
            self._means.reload.set()  # it is asked for still
            raise
        late = _taken_at_the_start(self._settings, new)
        self._settings, self._policies = new, _by_name(new)
        self._board.look_again()
        self._means.settled(new)
        self._event(Topic.SETTINGS_RELOADED, "settings", f"{self._size()}{late}")

    def _remember(self, settings: Settings, now: datetime) -> None:
        told = [(policy.settings_hash, effective_policy_json(policy)) for policy in settings.policies]
        self._ledger.remember_all_settings(told, now)

    def _tools(self) -> Tools:
        return self._means.tools(self._settings, self._halt)

    # --- beginning and end --------------------------------------------------------------------------------------------

    def _believe(self, now: datetime, *, trust: bool) -> None:
        """A clock far from the newest slot makes nothing due, unless a person says that it is right."""
        newest = max((line.cursor for line in self._ledger.lines_in_force()), default=now)
        if now - newest > _UNBELIEVABLE and not trust:
            text = f"the clock says {now:%Y-%m-%d}, and the newest slot is of {newest:%Y-%m-%d}: is the clock right?"
            raise ClockDoubtError(f"{text} If it is, say --trust-clock.")
        if newest > now + _BEHIND:
            self._event(Topic.CLOCK_STEPPED, "clock", _behind(newest))

    def _end(self) -> None:
        """Stop cleanly: restic is interrupted, each run's end put on record, the lease given back."""
        self._halt.set()
        self._means.stopping()
        grace = self._settings.serve.shutdown_grace.total_seconds()
        clean = self._wait_for_runs(grace)
        self._resolver.wait(grace)
        try:
            self._take_in(self._workers.ended())
            left = "" if clean else f"; {len(self._workers)} runs did not end in {grace:.0f} s"
            self._event(Topic.SERVE_STOPPED, "serve", f"asked to stop{left}")
            if clean:  # else the next one finds that we are dead, and asks the repositories
                self._keeper.drop()
        except LedgerError as error:
            self._voice.say(Level.ERROR, _LEDGER, f"the end could not be put on record: {error}")

    def _wait_for_runs(self, grace: float) -> bool:
        """Let them end, and show life meanwhile. Returns whether all did. Raises Superseded."""
        for _second in range(ceil(grace)):
            if self._workers.wait(1.0):
                return True
            self._keep_the_lease()
        return self._workers.wait(0.0)

    def _fenced(self, lost: Superseded) -> int:
        """Another serve may have taken over: what runs here ends now, and nothing more is written."""
        self._halt.set()
        self._voice.say(Level.ERROR, "lease-lost", f"{lost.failure.message}: everything under way is ended")
        self._workers.wait(self._settings.serve.shutdown_grace.total_seconds())
        return BUSY_OR_LOCKED

    # --- telling ----------------------------------------------------------------------------------------------------

    def _size(self) -> str:
        return f"{len(self._policies)} policies, {len(self._calendar)} lines, {len(self._board)} slots open"

    def _event(self, topic: Topic, subject: str, text: str) -> None:
        """Put on record and log what happened to the service. What the ledger refuses is logged all the same."""
        self._put(of_service(topic, subject, text, self._clock.now()))

    def _put(self, event: Event) -> None:
        self._voice.event(event)
        try:
            self._ledger.add_events([event])
        except LedgerError as error:
            self._trouble(_LEDGER, f"the ledger refuses: {error}")

    def _trouble(self, key: str, text: str | None) -> None:
        if self._means.health.trouble(key, text) and text is not None:
            self._voice.say(Level.ERROR, key, text)

    def _crashed(self, error: Exception) -> None:
        """Our own fault: told with where it was, because nobody is there to ask for it."""
        where = "".join(traceback.format_exception(error)[-3:])
        self._event(Topic.INTERNAL, "tandem", f"{type(error).__name__}: {error}. {where}")


def _taken_at_the_start(old: Settings, new: Settings) -> str:
    """What has changed and is not followed before the next start."""
    names = ("dead_man", "dead_man_every", "log")
    changed = [name for name in names if getattr(old.serve, name) != getattr(new.serve, name)]
    return f"; [serve] {', '.join(changed)} will hold from the next start on" if changed else ""


def _behind(newest: datetime) -> str:
    return f"the clock is behind the newest slot, of {newest:%Y-%m-%d %H:%M} UTC: its line has nothing due before then"


def _by_name(settings: Settings) -> dict[PolicyName, Policy]:
    return {policy.name: policy for policy in settings.policies}

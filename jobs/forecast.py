"""What will happen if every run goes well: agenda and dispatch from event to event, the same to the byte each time.

The rules, the turns and the moments are those that the scheduler goes by. Only what an event can have changed is asked
again: `dispatch` at every event would give the same, and a year would take days (tests/jobs/test_forecast.py does it).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from jobs.agenda import births, next_due
from jobs.claim import repositories
from jobs.dispatch import Situation, in_order, start
from jobs.facts import Facts, LineKey, turning_points
from jobs.history import OF_REPOSITORY, CheckResult, Job, Owner, RunRecord, RunState
from jobs.moves import Closing, Wait
from jobs.ruling import Ready, rule
from jobs.slot import Line, Slot, SlotState, Why, WhyKind
from jobs.turns import PATIENCE, Turns
from jobs.window import Window

USUAL: Final = timedelta(minutes=1)
_PLACE: Final = Why(kind=WhyKind.LIMIT, text="as many runs as are allowed are under way")
_NOBODY: Final = Owner(host="", boot="", pid=0, started="")

# What happens at one moment, in this order: what ends makes room for what becomes due.
_ENDS, _BORN, _LOOK, _PATIENCE = range(4)

Durations = Mapping[LineKey, timedelta]


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """What will become of one slot: a run from `starts_at` to `ends_at`, or an end without one (at `ends_at`, why).

    `running` is a run that ends after the horizon; `due` still waits there.
    """

    slot: Slot
    state: SlotState
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    why: Why | None = None


def forecast(
    lines: Iterable[Line],
    slots: Sequence[Slot],
    known: Situation,
    durations: Durations,
    now: datetime,
    until: datetime,
) -> Iterator[Planned]:
    """What becomes of the open slots, and of those that are due until then, in the order in which it is decided.

    What was due before `now` must be among `slots` (births come first). A run without a known duration takes a minute.
    """
    world = _World(known, durations, until)
    yield from world.load(lines, slots, known, now)
    while world.events and world.events[0][0] <= until:
        yield from world.advance()
    yield from world.waiting()


class _World:
    def __init__(self, known: Situation, durations: Durations, until: datetime) -> None:
        self.events: list[tuple[datetime, int, int]] = []  # when, what, and the number of its subject
        self._subjects: dict[int, RunRecord | Slot | tuple[Line, ...]] = {}
        self._numbered = 0
        self._horizon = until
        self._durations = durations
        self._facts = Facts(known.policies, known.good, known.last_backups, known.reports)
        self._turns = Turns(known.limits, known.under_way, known.dead)
        self._cursors: dict[LineKey, datetime] = {}
        self._open: dict[str, Slot] = {}  # that wait, for whatever
        self._ready: dict[str, Ready] = {}  # of these, those that wait for their turn
        self._whys: dict[str, Why] = {}  # what the others wait for
        self._awaited: dict[str, str] = {}  # for the end of which slot another waits, while that is open
        self._followers: dict[str, set[str]] = {}  # the same from the other side
        self._begun: dict[str, tuple[datetime, CheckResult | None]] = {}  # when, and what a check will say
        self._entered: list[Ready] = []  # at this moment
        self._look: list[tuple[int, datetime, str]] = []  # who is to be judged anew, at this moment
        self._lines: set[LineKey] = set()  # of whom all are, once these are: each once, however many of it have ended

    def load(self, lines: Iterable[Line], slots: Iterable[Slot], known: Situation, now: datetime) -> Iterator[Planned]:
        """Begin with what there is."""
        known_slots = {slot.id: slot for slot in (*known.related.values(), *slots)}
        for slot in known_slots.values():
            self._facts.is_there(slot, now)
        for run in sorted(known.under_way, key=lambda run: (run.started_at, run.id)):
            ends = max(now, run.started_at + self._usual(run))
            self._happens(ends, _ENDS, run)
            if run.slot in known_slots:
                yield self._planned(known_slots[run.slot], run.started_at, ends)
        for slot in sorted((slot for slot in slots if slot.state is SlotState.DUE), key=in_order):
            self._open[slot.id] = slot
            self._follows(slot)
            self._happens(now, _LOOK, slot)
            if slot.until is not None and slot.until > now:
                self._happens(slot.until, _LOOK, slot)
            self._has_turning_points(slot, now)
        for together in _due_together(lines):
            due = next_due(together[0])
            if due is not None:
                self._happens(max(due, now), _BORN, together)

    # --- what happens ------------------------------------------------------------------------------------------

    def _happens(self, at: datetime, what: int, subject: RunRecord | Slot | tuple[Line, ...]) -> None:
        self._numbered += 1
        self._subjects[self._numbered] = subject
        heapq.heappush(self.events, (at, what, self._numbered))

    def advance(self) -> Iterator[Planned]:
        """The next moment at which something happens, and what comes of it."""
        now = self.events[0][0]
        while self.events and self.events[0][0] == now:
            _, what, number = heapq.heappop(self.events)
            subject = self._subjects.pop(number)
            if isinstance(subject, tuple):
                self._born(subject, now)
            elif what == _ENDS:
                self._ended(subject, now)
            elif what == _PATIENCE and isinstance(subject, Slot):
                self._turns.waits_longer(subject, now)
            else:
                self._look_at(subject.id)
        yield from self._judge_all(now)
        while (ready := self._turns.next(now)) is not None:
            yield self._starts(ready, now)
        yield from self._judge_all(now)
        for ready in self._entered:
            if ready.slot.id in self._ready:
                self._stays(ready, now)
        self._entered.clear()

    def _born(self, together: tuple[Line, ...], now: datetime) -> None:
        since = self._cursors.get(together[0].key)
        for line in together:
            born = births(line, now, since=since)
            for slot in born.slots:
                self._comes(slot, now)
                if slot.until is not None and slot.until != born.next_due:
                    self._happens(slot.until, _LOOK, slot)
        if born.next_due is not None:
            self._cursors[together[0].key] = born.cursor
            self._happens(born.next_due, _BORN, together)

    def _comes(self, slot: Slot, now: datetime) -> None:
        before = self._facts.newest(slot.line_key)
        if before is not None:
            self._look_at(before.id)
        self._open[slot.id] = slot
        self._follows(slot)
        self._facts.is_there(slot, now)
        self._look_at(slot.id)
        self._look_at_line(slot.line_key)

    def _follows(self, slot: Slot) -> None:
        policy = self._facts.policies.get(slot.policy)
        other = None if policy is None else self._facts.awaited(slot, policy)
        if other is not None:
            self._awaited[slot.id] = other
            self._followers.setdefault(other, set()).add(slot.id)

    def _has_turning_points(self, slot: Slot, now: datetime) -> None:
        policy = self._facts.policies.get(slot.policy)
        for moment in () if policy is None or slot.after is None else turning_points(slot, policy, self._facts):
            if moment > now:
                self._happens(moment, _LOOK, slot)

    def _ended(self, work: RunRecord | Slot, now: datetime) -> None:
        self._turns.ends(work, now)
        done = self._done(work, now)
        self._facts.went_well(done)
        if done.job is Job.BACKUP:
            self._facts.last_backups[done.policy] = done
        if done.slot is not None:
            self._closes(done.slot, (done.policy, done.job, done.vault), SlotState.SUCCEEDED, now)
        for slot in self._concerned(done):
            self._look_at(slot.id)

    def _concerned(self, done: RunRecord) -> Iterator[Slot]:
        """Who is less urgent now, or has nothing to do any more."""
        newest = self._facts.newest((done.policy, done.job, done.vault))
        if newest is not None:
            yield newest
        if done.job in OF_REPOSITORY:
            for repository in repositories(done):
                yield from self._turns.proofs_of(done.job, repository)

    def _done(self, work: RunRecord | Slot, now: datetime) -> RunRecord:
        """The run as it will have ended: well."""
        if isinstance(work, RunRecord):
            return replace(work, state=RunState.SUCCEEDED, finished_at=now)
        began, result = self._begun.pop(work.id)
        return RunRecord(
            id=work.id,
            job=work.job,
            tenant=work.tenant,
            policy=work.policy,
            site=work.site,
            vault=work.vault,
            source_vault=work.source_vault,
            settings_hash=work.settings_hash,
            state=RunState.SUCCEEDED,
            owner=_NOBODY,
            started_at=began,
            finished_at=now,
            result=result,
            slot=work.id,
        )

    def _usual(self, work: RunRecord | Slot) -> timedelta:
        return self._durations.get((work.policy, work.job, work.vault), USUAL)

    # --- what comes of it --------------------------------------------------------------------------------------

    def _look_at(self, slot_id: str) -> None:
        slot = self._open.get(slot_id)
        if slot is not None:
            heapq.heappush(self._look, in_order(slot))

    def _look_at_line(self, line: LineKey) -> None:
        """Those that come after others: what becomes of one may be another's turn."""
        self._lines.add(line)

    def _judge_all(self, now: datetime) -> Iterator[Planned]:
        while self._look or self._lines:
            while self._look:
                yield from self._judged(heapq.heappop(self._look)[2], now)
            lines, self._lines = self._lines, set()
            for slot in (slot for line in lines for slot in self._facts.chained(line)):
                self._look_at(slot.id)

    def _judged(self, slot_id: str, now: datetime) -> Iterator[Planned]:
        slot = self._open.get(slot_id)
        if slot is None:
            return
        answer = rule(slot, self._facts, now)
        if isinstance(answer, Ready):
            before = self._ready.get(slot_id)
            if before is None or before.since != answer.since:
                self._entered.append(answer)
            self._ready[slot_id] = answer
            self._turns.enter(answer, now)
            return
        if self._ready.pop(slot_id, None) is not None:
            self._whys[slot_id] = self._turns.why(slot) or _PLACE
            self._turns.leave(slot, now)
        why = self._whys.get(slot_id)
        if why is not None:  # what it waited for is a part of how it ends
            answer = rule(replace(slot, why=why), self._facts, now)
        if isinstance(answer, Wait):
            self._waits(answer)
        if isinstance(answer, Closing):
            self._closes(slot_id, slot.line_key, answer.state, now)
            yield Planned(slot=slot, state=answer.state, ends_at=now, why=answer.why)

    def _waits(self, wait: Wait) -> None:
        self._whys[wait.slot.id] = wait.why
        if wait.until is not None:
            self._happens(wait.until, _LOOK, wait.slot)

    def _closes(self, slot_id: str, line: LineKey, state: SlotState, now: datetime) -> None:
        self._open.pop(slot_id, None)
        self._whys.pop(slot_id, None)
        self._facts.ended(slot_id, state, now)
        self._look_at_line(line)
        for follower in self._followers.get(slot_id, ()):
            self._look_at_line(self._open[follower].line_key)
            self._has_turning_points(self._open[follower], now)
        self._forget(slot_id)

    def _forget(self, slot_id: str) -> None:
        """A year has more slots than anybody asks for: those that no open one waits for."""
        if not self._followers.get(slot_id):
            self._facts.forget(slot_id)
        other = self._awaited.pop(slot_id, None)
        if other is not None:
            self._followers[other].discard(slot_id)
            if not self._followers[other]:
                del self._followers[other]
                self._facts.forget(other)

    def _starts(self, ready: Ready, now: datetime) -> Planned:
        step = start(ready, self._turns, now).step
        slot = ready.slot
        del self._ready[slot.id], self._open[slot.id]
        if self._facts.begins(slot):
            self._look_at_line(slot.line_key)
        self._begun[slot.id] = (now, CheckResult(read_data=step.read_data) if slot.job is Job.CHECK else None)
        ends = now + self._usual(slot)
        self._happens(ends, _ENDS, slot)
        return self._planned(slot, now, ends)

    def _stays(self, ready: Ready, now: datetime) -> None:
        """It could not start at once: what time alone will change."""
        if ready.since + PATIENCE > now:
            self._happens(ready.since + PATIENCE, _PATIENCE, ready.slot)
        window = ready.policy.window
        if window is not None:
            self._happens(_closed(window).opens_after(now, ready.policy.zone), _LOOK, ready.slot)

    def _planned(self, slot: Slot, starts: datetime, ends: datetime) -> Planned:
        state = SlotState.SUCCEEDED if ends <= self._horizon else SlotState.RUNNING
        return Planned(slot=slot, state=state, starts_at=starts, ends_at=ends)

    def waiting(self) -> Iterator[Planned]:
        """What still waits at the horizon."""
        for slot in sorted(self._open.values(), key=in_order):
            is_ready = slot.id in self._ready
            why = (self._turns.why(slot) or _PLACE) if is_ready else self._whys.get(slot.id)
            yield Planned(slot=slot, state=SlotState.DUE, why=why)


def _due_together(lines: Iterable[Line]) -> Iterable[tuple[Line, ...]]:
    """A backup's line with those that are chained to it, and a job's at all places: they have the same moments."""
    found: dict[tuple[object, ...], list[Line]] = {}
    for line in lines:
        job = Job.BACKUP if line.after is not None else line.job
        key = (line.policy, job, line.schedule, line.zone, line.splay, line.cursor)
        found.setdefault(key, []).append(line)
    return (tuple(together) for together in found.values())


@lru_cache(maxsize=256)
def _closed(window: Window) -> Window:
    """When it is not open."""
    return Window(f"{window.end:%H:%M}-{window.start:%H:%M}")

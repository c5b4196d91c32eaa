"""A world in memory: a wall clock, settings, a ledger that refuses what must not happen, and a scheduler's beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations

from jobs.agenda import births, changes
from jobs.claim import clash
from jobs.dispatch import Concurrency, Moves, Situation, dispatch, related_ids
from jobs.failure import Failure, FailureKind
from jobs.history import CheckResult, Job, Outcome, RunRecord, RunState
from jobs.policy import Policy, PolicyName
from jobs.retry import slot_end
from jobs.slot import FINAL, OPEN, SLOT_TRANSITIONS, Line, Slot, SlotState
from jobs.slot import GOOD as GOOD_SLOTS
from jobs.tally import Tally, tally
from tests.jobs.making import HOUR, OWNER

# The night in which Paris has its half past two twice is among the simulated ones.
START = datetime(2026, 10, 24, 18, 0, tzinfo=UTC)
GOOD = (RunState.SUCCEEDED, RunState.PARTIAL)

_KIND = FailureKind
ENDS: tuple[Outcome, ...] = (
    Outcome(state=RunState.SUCCEEDED),
    Outcome(state=RunState.SUCCEEDED),
    Outcome(state=RunState.PARTIAL),
    *(
        Outcome(state=RunState.FAILED, failure=Failure(kind=kind, message="no luck"))
        for kind in (_KIND.VAULT_UNREACHABLE, _KIND.WRONG_PASSWORD, _KIND.REPOSITORY_LOCKED, _KIND.BUSY, _KIND.INTERNAL)
    ),
    Outcome(state=RunState.FAILED),
    Outcome(state=RunState.INTERRUPTED, failure=Failure(kind=_KIND.CANCELLED, message="asked to stop")),
    Outcome(state=RunState.INTERRUPTED, note="Tandem died while this ran"),
)


class World:
    """What there is: two clocks, the settings, the rows. `now` is the wall clock, which may be set."""

    def __init__(self, policies: Sequence[Policy], limits: Concurrency) -> None:
        self.now = START
        self.serves = True
        self.policies: dict[PolicyName, Policy] = {}
        self.limits = limits
        self.lines: dict[int, Line] = {}
        self.slots: dict[str, Slot] = {}
        self.runs: dict[str, RunRecord] = {}
        self.numbered = 0
        self.frozen: dict[int, str] = {}  # the tallies of lines that have ended, and all whose slots are closed
        self.edit({each.name: each for each in policies})

    # --- the ledger: it refuses what must not happen -----------------------------------------------------------

    def born(self, slots: Sequence[Slot], cursors: dict[int, datetime]) -> None:
        for each in slots:
            assert each.id not in self.slots, f"{each.id} was due twice"
            assert each.state is SlotState.DUE
            assert each.until is None or each.until > each.due
            self.slots[each.id] = each
        for number, cursor in cursors.items():
            assert cursor >= self.lines[number].cursor
            self.lines[number] = replace(self.lines[number], cursor=cursor)

    def change(self, slot: Slot, state: SlotState, **changes: object) -> None:
        before = self.slots[slot.id]
        assert before.state not in FINAL, f"{slot.id} was closed as {before.state}, and became {state}"
        assert state is before.state or state in SLOT_TRANSITIONS[before.state]
        closed = self.now if state in FINAL else None
        self.slots[slot.id] = replace(before, state=state, closed_at=closed, **changes)  # type: ignore[arg-type]

    def in_force(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines.values() if line.until is None)

    # --- the scheduler -----------------------------------------------------------------------------------------

    def births(self) -> None:
        for line in self.in_force():
            more = True
            while more:
                made = births(self.lines[line.id], self.now, limit=3)
                self.born(made.slots, {line.id: made.cursor})
                more = made.more

    def edit(self, policies: dict[PolicyName, Policy]) -> None:
        self.policies = policies
        if not self.serves:
            return
        self.births()
        wanted = changes(self.in_force(), policies.values(), self.now)
        self.born(wanted.slots, dict(wanted.cursors))
        for number, at in wanted.ended:
            self.lines[number] = replace(self.lines[number], until=at)
        for line in wanted.begun:
            self.numbered += 1
            self.lines[self.numbered] = replace(line, id=self.numbered)
        again = changes(self.in_force(), policies.values(), self.now)
        assert (again.ended, again.begun, again.slots) == ((), (), ())

    def situation(self) -> Situation:
        related = {other for each in self.slots.values() for other in related_ids(each, self.policies)}
        over = sorted((run for run in self.runs.values() if run.finished_at), key=lambda run: run.id)
        return Situation(
            policies=self.policies,
            related={each: self.slots[each] for each in related if each in self.slots},
            under_way=self.under_way(),
            good={(run.policy, run.job, run.vault): run for run in over if run.state in GOOD},
            last_backups={run.policy: run for run in over if run.job is Job.BACKUP},
            limits=self.limits,
        )

    def under_way(self) -> tuple[RunRecord, ...]:
        return tuple(run for run in self.runs.values() if run.state is RunState.RUNNING)

    def tick(self) -> Moves:
        """One beat of the scheduler; everything that must hold is looked at."""
        if not self.serves:
            return Moves()
        self.births()
        open_slots = [each for each in self.slots.values() if each.state in OPEN]
        moves = dispatch(open_slots, self.situation(), self.now)
        answers = (moves.closings, moves.starts, moves.waits)
        answered = Counter(each.slot.id for kind in answers for each in kind)
        assert answered == Counter(each.id for each in open_slots if each.state is SlotState.DUE)
        assert moves == dispatch(open_slots[::-1], self.situation(), self.now)
        for closing in moves.closings:
            self.change(closing.slot, closing.state, why=closing.why)
        for wait in moves.waits:
            self.change(wait.slot, SlotState.DUE, why=wait.why)
        for start in moves.starts:
            self.start(start.slot, start.step.read_data)
        self.check()
        return moves

    def start(self, slot: Slot, read_data: str) -> None:
        of_line = [each for each in self.slots.values() if each.line_key == slot.line_key and each.due <= self.now]
        # What comes after another has its turn when that has ended, and what is newer may still wait for its own.
        able = [each for each in of_line if each.state is SlotState.DUE and self.is_proceeded(each)]
        assert max(able, key=lambda each: each.nominal).id == slot.id, "not the newest of its line was started"
        if slot.after is None:
            assert max(of_line, key=lambda each: each.nominal).id == slot.id, "not the newest of its line was started"
            assert slot.until is None or self.now < slot.until
        self.numbered += 1
        run = RunRecord(
            id=f"run-{self.numbered:06}",
            job=slot.job,
            tenant=slot.tenant,
            policy=slot.policy,
            site=slot.site,
            vault=slot.vault,
            source_vault=slot.source_vault,
            settings_hash=slot.settings_hash,
            state=RunState.RUNNING,
            owner=OWNER,
            started_at=self.now,
            slot=slot.id,
            result=CheckResult(read_data=read_data) if slot.job is Job.CHECK else None,
        )
        for other in self.under_way():
            assert not clash(run, other), f"{run} beside {other}"
        self.runs[run.id] = run
        self.change(slot, SlotState.RUNNING, run=run.id, attempts=slot.attempts + 1, retry_at=None)

    def is_proceeded(self, slot: Slot) -> bool:
        """Whether what it waits for, if anything, ended well."""
        others = related_ids(slot, self.policies)
        return all(other in self.slots and self.slots[other].state in GOOD_SLOTS for other in others)

    def end(self, run: RunRecord, outcome: Outcome) -> None:
        self.runs[run.id] = replace(run, state=outcome.state, failure=outcome.failure, finished_at=self.now)
        if run.slot is None:
            return
        slot = self.slots[run.slot]
        before = [each for each in self.runs.values() if each.slot == slot.id and each.id != run.id]
        end = slot_end(slot, outcome, run.id, self.now, before)
        self.change(slot, end.state, why=end.why, retry_at=end.retry_at)

    def by_hand(self, of: Policy, job: Job) -> None:
        """A person runs something, where nothing is in the way."""
        site, vault = of.places[-1]
        self.numbered += 1
        run = RunRecord(
            id=f"run-{self.numbered:06}",
            job=job,
            tenant=of.tenant,
            policy=of.name,
            site=site,
            vault=vault,
            settings_hash="",
            state=RunState.RUNNING,
            owner=OWNER,
            started_at=self.now,
            result=CheckResult(read_data="100%") if job is Job.CHECK else None,
        )
        if not any(clash(run, other) for other in self.under_way()):
            self.runs[run.id] = run

    # --- what must be so at every moment -----------------------------------------------------------------------

    def tally(self, lines: Sequence[Line], until: datetime | None = None) -> Tally:
        rows: dict[int, list[tuple[str, Job, SlotState]]] = {}
        for each in self.slots.values():
            if until is None or each.nominal < until:
                rows.setdefault(each.line, []).append((each.id, each.job, each.state))
        return tally(lines, lambda line: rows.get(line.id, ()), until=until)

    def check(self) -> None:
        everything = self.tally(tuple(self.lines.values()))
        assert everything.adds_up, everything
        assert everything.expected == len(self.slots)
        assert self.tally(tuple(self.lines.values()), self.now - HOUR).adds_up
        running = [each for each in self.slots.values() if each.state is SlotState.RUNNING]
        assert {each.run for each in running} == {run.id for run in self.under_way() if run.slot}
        assert all(count == 1 for count in Counter(each.line_key for each in running).values())
        assert len([run for run in self.under_way() if run.slot]) <= self.limits.runs
        for one, other in combinations(self.under_way(), 2):
            assert not clash(one, other)
        self.freeze()

    def freeze(self) -> None:
        """What is over is over: its figures are the same for ever."""
        still_open = {each.line for each in self.slots.values() if each.state in OPEN}
        for line in self.lines.values():
            if line.until is not None and line.id not in still_open:
                told = repr(self.tally([line]))
                assert self.frozen.setdefault(line.id, told) == told

"""The threads that run what was started: one for each run, and its end is on record before anybody hears of it.

restic is killed by the kernel when the thread that started it ends (see targets/process.py): one thread for one run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Final

from jobs.dispatch import Start
from jobs.failure import Failure, FailureKind
from jobs.history import Outcome, Owner, RunRecord, RunState
from orchestrator import fault
from orchestrator.clock import Clock
from orchestrator.executor import Announcements, attempt, intent, tool_of
from orchestrator.ledger.ledger import Busy, Ledger, LedgerError, Superseded
from orchestrator.recovery import slot_ending
from orchestrator.serve.starting import Work
from orchestrator.work.tools import Tools
from targets.errors import TargetError
from targets.ports import Stop

_AGAIN_SECONDS: Final = 5.0  # between two tries to put an end on record


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """What became of a start: `record` where there was a run, `refused` where none began."""

    start: Start
    record: RunRecord | None = None
    refused: Exception | None = None


class Workers:
    """Runs under way in threads of their own. `tools` makes one run's tools; `stop` asks all of them to end cleanly."""

    def __init__(  # noqa: PLR0913 (what a run needs, and all are keywords)
        self,
        *,
        ledger: Ledger,
        clock: Clock,
        owner: Owner,
        tools: Callable[[], Tools],
        stop: Stop,
        tell: Announcements,
        wake: Callable[[], None],
        trouble: Callable[[str], None],
    ) -> None:
        self._ledger, self._clock, self._owner = ledger, clock, owner
        self._tools, self._stop, self._tell = tools, stop, tell
        self._wake, self._trouble = wake, trouble
        self._ended: SimpleQueue[Ended] = SimpleQueue()
        self._threads: dict[str, threading.Thread] = {}
        self._begun: dict[str, RunRecord] = {}

    @property
    def begun(self) -> tuple[RunRecord, ...]:
        """What was started and is not taken in yet, as runs; whether they are on record is for their threads to see."""
        return tuple(self._begun.values())

    def __len__(self) -> int:
        return len(self._threads)

    def start(self, start: Start, work: Work) -> None:
        """Begin a run of its own thread."""
        thread = threading.Thread(target=self._run, args=(start, work), name=start.slot.id, daemon=True)
        begun = intent(start.step, self._clock.now(), self._owner, tool="", slot=start.slot.id)
        thread.start()  # first: where no thread is to be had, nothing has begun
        self._begun[start.slot.id], self._threads[start.slot.id] = begun, thread

    def ended(self) -> tuple[Ended, ...]:
        """What has ended since this was last asked."""
        ended = []
        while True:
            try:
                ended.append(self._ended.get_nowait())
            except Empty:
                break
            slot = ended[-1].start.slot.id
            self._threads.pop(slot).join()  # its last act was to say so: it ends at once
            del self._begun[slot]
        return tuple(ended)

    def wait(self, seconds: float) -> bool:
        """Wait for all runs to end, at most so long by the monotonic clock. Returns whether they did."""
        end = self._clock.monotonic() + seconds
        for thread in tuple(self._threads.values()):
            thread.join(max(0.0, end - self._clock.monotonic()))
        return not any(thread.is_alive() for thread in self._threads.values())

    def _run(self, start: Start, work: Work) -> None:
        try:
            ended = self._attempted(start, work)
        except Exception as error:  # noqa: BLE001 (a thread's edge: the loop decides on what it was)
            ended = Ended(start=start, refused=error)
        self._ended.put(ended)
        self._wake()

    def _attempted(self, start: Start, work: Work) -> Ended:
        now = self._clock.now()
        try:
            tools = self._tools()
            tool = tool_of(start.slot.job, tools)
        except TargetError as error:  # no restic, no scratch space: the slot has an attempt all the same
            return Ended(start=start, record=self._without_tools(start, now, error.failure))
        except Exception as error:  # noqa: BLE001 (our own fault, which would be met again at every beat)
            self._tell.crashed(error)
            message = f"Tandem itself failed: {fault.words(error)}"
            failure = Failure(kind=FailureKind.INTERNAL, message=message)
            return Ended(start=start, record=self._without_tools(start, now, failure))
        begun = intent(start.step, now, self._owner, tool=tool, slot=start.slot.id)
        return Ended(start=start, record=attempt(begun, work(tools), tools, self._tell, self._finish))

    def _without_tools(self, start: Start, now: datetime, failure: Failure) -> RunRecord:
        begun = intent(start.step, now, self._owner, tool="", slot=start.slot.id)
        self._ledger.claim(begun, slot=begun.slot)
        self._finish(begun, Outcome(state=RunState.FAILED, failure=failure), self._clock.now())
        record = self._ledger.run(begun.id)
        if record is None:
            raise LookupError(f"run {begun.id} is not in the ledger that it was just written to")
        self._tell.ended(record)
        return record

    def _finish(self, begun: RunRecord, outcome: Outcome, now: datetime) -> None:
        """Put a run's end and its slot's on record together, however long the ledger refuses to take it.

        Only when all is to stop it is given up: the next start then asks the repository. Raises LedgerError.
        """
        said = ""
        while True:
            try:
                end, events = slot_ending(self._ledger, begun, outcome, now)
                self._ledger.finish(begun.id, begun.owner, outcome, now, slot_end=end, events=events)
            except (Busy, Superseded):
                raise
            except LedgerError as error:
                if str(error) != said:  # once, and not every five seconds of a night
                    said = str(error)
                    self._trouble(f"the end of run {begun.id} cannot be put on record yet: {said}")
                if not self._clock.sleep(_AGAIN_SECONDS, self._stop):
                    raise
            else:
                return

"""What became of runs whose owner died is found out beside everything else: a vault may take long to answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from typing import Final

from jobs.history import Owner, RunRecord
from jobs.policy import TenantName
from orchestrator.ledger.ledger import Ledger, LedgerError
from orchestrator.recovery import dead_runs, resolve_each
from orchestrator.serve.voice import Voice
from orchestrator.work.tools import Tools
from reports.log import Level
from targets.errors import TargetError

_SECONDS: Final = 60.0  # between two tries


class Resolver:
    """Asks the repositories, in a thread of its own, as often as there are dead owners' runs. Used by one thread."""

    def __init__(self, ledger: Ledger, owner: Owner, voice: Voice, crashed: Callable[[Exception], None]) -> None:
        self._ledger, self._owner, self._voice, self._crashed = ledger, owner, voice, crashed
        self._thread: threading.Thread | None = None
        self._next: float | None = None  # by the monotonic clock; None: now

    def look(
        self,
        monotonic: float,
        tools: Callable[[], Tools],
        tenants: Collection[TenantName],
        at_work: Collection[str | None],
    ) -> bool:
        """Begin to ask when it is time. True when something was asked that has ended: the ledger holds news.

        `at_work` are the slots that our own threads are at. A run of ours at another is as dead as a dead owner's: the
        ledger took its beginning, or did not take its end, and the connection broke before we were told.
        """
        ended = self._thread is not None and not self._thread.is_alive()
        if ended:
            self._thread = None
        if self._thread is None and (self._next is None or monotonic >= self._next):
            self._next = monotonic + _SECONDS
            ours = [run for run in self._ledger.open_runs() if run.owner == self._owner and run.slot not in at_work]
            dead = [*dead_runs(self._ledger), *ours]
            if dead:
                self._thread = threading.Thread(target=self._ask, args=(dead, tools, tenants), daemon=True)
                self._thread.start()
        return ended

    def wait(self, seconds: float) -> None:
        """Wait for what is being asked, at most so long."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _ask(self, dead: Iterable[RunRecord], tools: Callable[[], Tools], tenants: Collection[TenantName]) -> None:
        try:
            recovered = resolve_each(tools(), dead, tenants=tenants)
        except (TargetError, LedgerError) as error:
            self._voice.say(Level.ERROR, "recovery", f"runs that were cut off cannot be resolved yet: {error}")
        except Exception as error:  # noqa: BLE001 (a thread's edge: it is told, and tried again)
            self._crashed(error)
        else:
            for record in recovered.resolved:
                self._voice.ended(record)
            for record, why in recovered.still_open:
                text = f"{record.job} {record.policy} ({record.id}) was cut off, and cannot be resolved yet: {why}"
                self._voice.say(Level.WARNING, "recovery", text)

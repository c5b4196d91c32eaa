"""What serve says into its log. A log that cannot be written is a trouble of its own, and stops no backup."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from jobs.event import Event, Severity
from jobs.history import RunRecord, RunState
from jobs.reporting import called
from jobs.slot import Slot, SlotState, Why
from orchestrator.clock import Clock
from orchestrator.serve.health import Health
from reports.log import Level, LogRecord, Value
from reports.results import found
from targets.errors import TargetError

_LOG: Final = "log"
_LEVELS: Final[Mapping[Severity, Level]] = MappingProxyType(
    {Severity.INFO: Level.INFO, Severity.WARNING: Level.WARNING, Severity.CRITICAL: Level.ERROR}
)
_GOOD_RUNS: Final = frozenset({RunState.RUNNING, RunState.SUCCEEDED, RunState.SKIPPED})
_QUIET: Final = frozenset({SlotState.COALESCED, SlotState.SKIPPED})


class Voice:
    """Says things with their names and moments. Used by several threads."""

    def __init__(self, log: Callable[[LogRecord], None], clock: Clock, health: Health) -> None:
        self._log, self._clock, self._health = log, clock, health

    def begins(self, run: RunRecord) -> None:
        """A run starts."""
        self.say(Level.INFO, "run-began", f"{run.job} {called(run.policy, run.site)}", **_named(run))

    def ended(self, run: RunRecord) -> None:
        """A run is over."""
        level = Level.INFO if run.state in _GOOD_RUNS else Level.WARNING
        seconds = None if run.finished_at is None else round((run.finished_at - run.started_at).total_seconds(), 3)
        message = f"{run.job} {called(run.policy, run.site)}: {run.state}: {found(run).text}"
        self.say(level, "run-ended", message, **_named(run), seconds=seconds)

    def closed(self, slot: Slot, state: SlotState, why: Why) -> None:
        """A slot ended without a run."""
        level = Level.INFO if state in _QUIET else Level.WARNING
        message = f"{slot.job} {called(slot.policy, slot.site)}, due {slot.due:%Y-%m-%d %H:%M} UTC: {state}: {why.text}"
        named = {"slot": slot.id, "policy": slot.policy, "tenant": slot.tenant, "job": slot.job, "site": slot.site}
        self.say(level, "slot-ended", message, **named)

    def event(self, event: Event) -> None:
        """Something else that is on record too."""
        self.say(_LEVELS[event.severity], event.topic.value, f"{event.subject}: {event.text}")

    def say(self, level: Level, event: str, message: str, **fields: Value | None) -> None:
        """Say one thing now."""
        try:
            self._log(LogRecord(at=self._clock.now(), level=level, event=event, message=message, fields=fields))
        except (OSError, TargetError) as error:
            self._health.trouble(_LOG, f"the log cannot be written: {error}")
        else:
            self._health.trouble(_LOG, None)


def _named(run: RunRecord) -> dict[str, Value | None]:
    return {
        "run": run.id,
        "slot": run.slot,
        "policy": run.policy,
        "tenant": run.tenant,
        "job": run.job.value,
        "site": run.site,
        "vault": run.vault,
    }

"""What monitoring is shown, gathered from the ledger and never from a repository, as often as that is cheap."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from jobs.failure import FailureKind
from jobs.history import Job, RunState
from jobs.notice import PATIENCE, Notice, NoticeState
from jobs.policy import PolicyName, VaultName
from jobs.slot import SlotState
from orchestrator.clock import Clock
from orchestrator.ledger.briefs import Brief
from orchestrator.ledger.ledger import Ledger
from orchestrator.serve.dead_man import DeadMan
from orchestrator.serve.health import Health
from reports.exposition import Page
from reports.metrics import ChannelFacts, JobFacts, LastRun, MetricFacts, PlaceFacts, exposition
from targets.errors import TargetError

_DAY: Final = timedelta(hours=24)
_SHORTEST, _LONGEST, _SHARE = 5.0, 300.0, 50.0  # seconds a text is kept: 50 times what it took, within these
_ENDED: Final = tuple(state for state in RunState if state is not RunState.RUNNING)
_GOOD: Final = (RunState.SUCCEEDED, RunState.PARTIAL)
_AT_ONCE: Final = 100  # policies that the ledger is asked for together, while others wait

_Place = tuple[PolicyName, Job, VaultName]


class Observing:
    """Makes the metrics' page. Safe to share between threads: one gathers, the others wait for what it found."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        clock: Clock,
        health: Health,
        version: str,
        channels: Callable[[], Iterable[str]] = tuple,
        dead_man: DeadMan | None = None,
    ) -> None:
        """`channels` gives the destinations of notices by name, so that one that was never told anything is shown."""
        self._ledger, self._clock, self._health, self._version = ledger, clock, health, version
        self._channels, self._dead_man = channels, dead_man
        self._started_at = clock.now()
        self._lock = threading.Lock()
        self._page, self._keep_until = Page(), float("-inf")
        self._places: tuple[PlaceFacts, ...] = ()
        self._policies: frozenset[PolicyName] = frozenset()

    def adopt(self, policies: Iterable[PolicyName]) -> None:
        """Show these policies: what another one did once is history, and nobody wants to be woken for it."""
        self._policies = frozenset(policies)
        self._keep_until = float("-inf")

    def judged(self, places: Sequence[PlaceFacts]) -> None:
        """Show these verdicts: somebody judges every policy now and then, and it is not done twice."""
        self._places = tuple(places)

    def metrics(self) -> Page:
        """The page of /metrics; it is kept for 5 s, and longer where it is dear to make. Raises LedgerError."""
        with self._lock:
            began = self._clock.monotonic()
            if began >= self._keep_until:
                self._page = exposition(self.facts())
                ended = self._clock.monotonic()
                self._keep_until = ended + min(_LONGEST, max(_SHORTEST, _SHARE * (ended - began)))
            return self._page

    def write(self, path: Path) -> None:
        """Put the text where node_exporter's textfile collector reads it, whole or not at all.

        Raises LedgerError, and TargetError TARGET_UNWRITABLE.
        """
        page = self.metrics()
        beside = path.with_name(f".{path.name}.new")  # the collector reads *.prom alone
        try:
            beside.unlink(missing_ok=True)  # of a crash; or a pipe, which would be waited for until somebody reads
            with beside.open("xb") as file:
                file.writelines(page.pieces())
            beside.chmod(0o644)  # another user reads it
            beside.replace(path)
        except OSError as error:
            message = f"the metrics cannot be written there: {error.strerror or error}"
            raise TargetError("write", str(path), FailureKind.TARGET_UNWRITABLE, message) from error

    def facts(self) -> MetricFacts:
        """All figures as they are now. Raises LedgerError."""
        now = self._clock.now()
        lease = self._ledger.lease()
        waiting = [slot for slot in self._ledger.open_slots() if slot.state is SlotState.DUE and slot.due <= now]
        return MetricFacts(
            at=now,
            version=self._version,
            started_at=self._started_at,
            healthy=self._health.report(self._clock.monotonic())[0],
            tick_age=self._health.tick_age(self._clock.monotonic()),
            lease_term=None if lease is None else lease.term,
            jobs=self._jobs(),
            slots=self._ledger.slot_counts(since=now - _DAY, until=now),
            waiting={job: [slot.due for slot in waiting if slot.job is job] for job in {slot.job for slot in waiting}},
            under_way=Counter(run.job for run in self._ledger.open_runs()),
            places=[each for each in self._places if each.policy in self._policies],
            channels=_channels(self._channels(), self._ledger.notices(since=now - PATIENCE)),
            alarms=Counter(alarm.topic for alarm in self._ledger.alarms()),
            dead_man=None if self._dead_man is None else self._dead_man.facts,
        )

    def _jobs(self) -> Iterator[JobFacts]:
        """What is due by itself, and what was ever run by hand, of the policies there are; some of them at a time."""
        policies = sorted(self._policies)
        for first in range(0, len(policies), _AT_ONCE):
            some = policies[first : first + _AT_ONCE]
            tenants = dict(self._ledger.places_in_force(some))
            ended = self._ledger.last_ended(some, _ENDED)
            good = self._good(some, ended)
            tenants |= {place: run.tenant for place, run in ended.items()}
            for place, tenant in sorted(tenants.items()):
                last = LastRun.of(ended[place]) if place in ended else None
                policy, job, vault = place
                yield JobFacts(tenant=tenant, policy=policy, job=job, vault=vault, last=last, last_good=good.get(place))

    def _good(self, policies: Sequence[PolicyName], ended: Mapping[_Place, Brief]) -> dict[_Place, datetime | None]:
        """When each last did what it was to do. Mostly that is the run that ended last, and need not be asked for."""
        if all(run.state in _GOOD for run in ended.values()):
            return {place: run.finished_at for place, run in ended.items()}
        return {place: run.finished_at for place, run in self._ledger.last_ended(policies, _GOOD).items()}


def _channels(names: Iterable[str], notices: Iterable[Notice]) -> list[ChannelFacts]:
    by_channel: dict[str, list[Notice]] = {name: [] for name in names}
    for notice in notices:
        by_channel.setdefault(notice.channel, []).append(notice)
    return [_channel(name, told) for name, told in by_channel.items()]


def _channel(name: str, notices: Sequence[Notice]) -> ChannelFacts:
    pending = [notice.made_at for notice in notices if notice.state is NoticeState.PENDING]
    given_up = sum(notice.state is NoticeState.GIVEN_UP for notice in notices)
    return ChannelFacts(channel=name, pending=len(pending), oldest=min(pending, default=None), given_up=given_up)

"""What monitoring is shown, gathered from the ledger and never from a repository, as often as that is cheap."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from jobs.failure import FailureKind
from jobs.history import Job, RunRecord, RunState
from jobs.integrity import Assessment
from jobs.notice import PATIENCE, Notice, NoticeState
from jobs.policy import PolicyName, VaultName
from jobs.slot import SlotState
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.serve.dead_man import DeadMan
from orchestrator.serve.health import Health
from reports.metrics import ChannelFacts, JobFacts, LastRun, MetricFacts, exposition
from targets.errors import TargetError

_DAY: Final = timedelta(hours=24)
_SHORTEST, _LONGEST, _SHARE = 5.0, 300.0, 50.0  # seconds a text is kept: 50 times what it took, within these
_ENDED: Final = tuple(state for state in RunState if state is not RunState.RUNNING)
_GOOD: Final = (RunState.SUCCEEDED, RunState.PARTIAL)
_ASKED_ONE_BY_ONE: Final = 200

_Place = tuple[PolicyName, Job, VaultName]


class Observing:
    """Makes the metrics' text. Safe to share between threads: one gathers, the others wait for what it found."""

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
        self._text, self._keep_until = "", float("-inf")
        self._assessments: tuple[Assessment, ...] = ()
        self._policies: frozenset[PolicyName] = frozenset()

    def adopt(self, policies: Iterable[PolicyName]) -> None:
        """Show these policies: what another one did once is history, and nobody wants to be woken for it."""
        self._policies = frozenset(policies)
        self._keep_until = float("-inf")

    def judged(self, assessments: Sequence[Assessment]) -> None:
        """Show these verdicts: somebody judges every policy now and then, and it is not done twice."""
        self._assessments = tuple(assessments)

    def metrics(self) -> str:
        """The text of /metrics; it is kept for 5 s, and longer where it is dear to make. Raises LedgerError."""
        with self._lock:
            began = self._clock.monotonic()
            if began >= self._keep_until:
                self._text = exposition(self.facts())
                ended = self._clock.monotonic()
                self._keep_until = ended + min(_LONGEST, max(_SHORTEST, _SHARE * (ended - began)))
            return self._text

    def write(self, path: Path) -> None:
        """Put the text where node_exporter's textfile collector reads it, whole or not at all.

        Raises LedgerError, and TargetError TARGET_UNWRITABLE.
        """
        text = self.metrics()
        beside = path.with_name(f".{path.name}.new")  # the collector reads *.prom alone
        try:
            beside.write_text(text, encoding="utf-8")
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
            assessments=[each for each in self._assessments if each.policy in self._policies],
            channels=_channels(self._channels(), self._ledger.notices(since=now - PATIENCE)),
            alarms=Counter(alarm.topic for alarm in self._ledger.alarms()),
            dead_man=None if self._dead_man is None else self._dead_man.facts,
        )

    def _jobs(self) -> tuple[JobFacts, ...]:
        """What is due by itself, and what was ever run by hand, of the policies there are."""
        tenants = {line.key: line.tenant for line in self._ledger.lines_in_force()}
        ended = self._ledger.last_runs(_ENDED)
        good = self._good(ended)
        tenants |= {key: run.tenant for key, run in ended.items() if run.policy in self._policies}
        return tuple(
            JobFacts(
                tenant=tenant,
                policy=key[0],
                job=key[1],
                vault=key[2],
                last=LastRun.of(ended[key]) if key in ended else None,
                last_good=good.get(key),
            )
            for key, tenant in sorted(tenants.items())
        )

    def _good(self, ended: Mapping[_Place, RunRecord]) -> dict[_Place, datetime | None]:
        """When each last did what it was to do. Mostly that is the run that ended last, and need not be asked for."""
        good = {place: run.finished_at for place, run in ended.items() if run.state in _GOOD}
        bad = [place for place in ended if place not in good]
        if len(bad) > _ASKED_ONE_BY_ONE:
            return {place: run.finished_at for place, run in self._ledger.last_runs(_GOOD).items()}
        for policy, job, vault in bad:
            before = self._ledger.last(policy, job, vault, _GOOD)
            good[policy, job, vault] = None if before is None else before.finished_at
        return good


def _channels(names: Iterable[str], notices: Iterable[Notice]) -> list[ChannelFacts]:
    by_channel: dict[str, list[Notice]] = {name: [] for name in names}
    for notice in notices:
        by_channel.setdefault(notice.channel, []).append(notice)
    return [_channel(name, told) for name, told in by_channel.items()]


def _channel(name: str, notices: Sequence[Notice]) -> ChannelFacts:
    pending = [notice.made_at for notice in notices if notice.state is NoticeState.PENDING]
    given_up = sum(notice.state is NoticeState.GIVEN_UP for notice in notices)
    return ChannelFacts(channel=name, pending=len(pending), oldest=min(pending, default=None), given_up=given_up)

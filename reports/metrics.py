"""What monitoring sees, in Prometheus' text format: every kind of job, and a job that failed shows as failed.

Facts in, text out: nothing is counted here and nothing is kept between two expositions. Moments are seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, Protocol

from jobs.event import Topic
from jobs.history import AuditResult, BackupResult, Job, RestoreResult, RestoreTestResult, Result, RunState
from jobs.integrity import Assessment
from jobs.policy import PolicyName, SiteName, TenantName, VaultName
from jobs.slot import SlotState
from jobs.verdict import ControlName
from reports.exposition import Family, Page, joined, labelled


class Ended(Protocol):
    """A run that has ended, as far as it is shown."""

    @property
    def job(self) -> Job: ...
    @property
    def state(self) -> RunState: ...
    @property
    def started_at(self) -> datetime: ...
    @property
    def finished_at(self) -> datetime | None: ...
    @property
    def result(self) -> Result | None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class LastRun:
    """How a run ended, when, how many seconds it took and, where its job counts them, of how many bytes."""

    state: RunState
    ended_at: datetime
    seconds: float
    bytes: int | None = None

    @classmethod
    def of(cls, run: Ended) -> LastRun:
        """What is shown of a run that has ended. Its result is read where its job counts bytes, and only there."""
        ended_at = run.finished_at or run.started_at
        took = max(ended_at - run.started_at, timedelta(0))  # a clock may have been set back in between
        counted = _bytes(run.result) if run.job in _COUNTS else None
        return cls(state=run.state, ended_at=ended_at, seconds=took.total_seconds(), bytes=counted)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFacts:
    """One job of one policy at one vault, whether it ever ran or not."""

    tenant: TenantName
    policy: PolicyName
    job: Job
    vault: VaultName
    last: LastRun | None = None  # the newest that has ended
    last_good: datetime | None = None  # when the newest ended that did what it was to do, if only in part


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlFacts:
    """One control of a place, with what was measured and what was promised in seconds."""

    name: ControlName
    objective: float | None
    measured: float | None
    fails: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceFacts:
    """How one policy stood at one site when it was judged: tens of thousands of them are held."""

    tenant: TenantName
    policy: PolicyName
    site: SiteName
    as_of: datetime
    newest: datetime | None
    controls: tuple[ControlFacts, ...]

    @classmethod
    def of(cls, judged: Assessment) -> PlaceFacts:
        """What is shown of a verdict."""
        return cls(
            tenant=judged.tenant,
            policy=judged.policy,
            site=judged.site,
            as_of=judged.as_of,
            newest=None if judged.newest is None else judged.newest.time,
            controls=tuple(
                ControlFacts(
                    name=control.name,
                    objective=_promised(control.objective),
                    measured=_length(control.measured),
                    fails=control.verdict.fails,
                )
                for control in judged.controls
            ),
        )


def _length(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()


_promised = lru_cache(maxsize=256)(_length)  # thousands of policies promise the same few things


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelFacts:
    """How a channel's notices stand."""

    channel: str
    pending: int = 0
    oldest: datetime | None = None  # when the oldest pending one was made
    given_up: int = 0  # within the last three days


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadManFacts:
    """Whether the watcher elsewhere is told that this lives. Counted since the start."""

    heard_at: datetime | None = None
    failures: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricFacts:
    """All that is exposed, as of `at`."""

    at: datetime
    version: str
    started_at: datetime
    healthy: bool
    tick_age: float | None  # seconds; None before the first tick
    lease_term: int | None
    jobs: Iterable[JobFacts] = ()  # gone through once
    slots: Mapping[SlotState, int] = field(default_factory=dict)  # due within the last 24 hours
    waiting: Mapping[Job, Sequence[datetime]] = field(default_factory=dict)  # when the slots that wait were due
    under_way: Mapping[Job, int] = field(default_factory=dict)
    places: Sequence[PlaceFacts] = ()
    channels: Sequence[ChannelFacts] = ()
    alarms: Mapping[Topic, int] = field(default_factory=dict)
    dead_man: DeadManFacts | None = None


Sample = tuple[Sequence[str], float]  # the labels' values, and the figure
_JOB: Final = ("tenant", "policy", "job", "vault")  # few: there are hundreds of thousands of samples
_PLACE: Final = ("tenant", "policy", "site")


def exposition(facts: MetricFacts) -> Page:
    """The text of /metrics."""
    parts = (_of_service(facts), _of_jobs(facts.jobs), _of_slots(facts), _of_promises(facts.places), _of_telling(facts))
    return joined(family.page() for part in parts for family in part)


def _family(name: str, documentation: str, labels: Sequence[str], samples: Iterable[Sample]) -> Family:
    made = Family(f"tandem_{name}", documentation)
    for values, figure in samples:
        made.add(labelled(labels, values), figure)
    return made


def _of_service(facts: MetricFacts) -> Iterator[Family]:
    yield _family("build_info", "The running version.", ("version",), [((facts.version,), 1.0)])
    yield _family("figures_timestamp_seconds", "When these figures were taken.", (), [((), facts.at.timestamp())])
    yield _family("started_timestamp_seconds", "When serve started.", (), [((), facts.started_at.timestamp())])
    yield _family("healthy", "1 when /healthz is green.", (), [((), float(facts.healthy))])
    ticked = [] if facts.tick_age is None else [((), facts.tick_age)]
    yield _family("scheduler_tick_age_seconds", "How long ago the scheduler last went round.", (), ticked)
    term = [] if facts.lease_term is None else [((), float(facts.lease_term))]
    yield _family("lease_term", "How often the scheduling has changed hands.", (), term)


def _of_jobs(jobs: Iterable[JobFacts]) -> Iterator[Family]:
    """All five grow side by side: of tens of thousands of jobs none has to be kept."""
    good = Family("tandem_last_good_timestamp_seconds", "When it last did what it was to do; 0: never.")
    when = Family("tandem_last_run_timestamp_seconds", "When its last run ended, however it ended.")
    states = Family("tandem_last_run_state", "How its last run ended: 1 beside the state.")
    took = Family("tandem_last_run_duration_seconds", "How long its last run took.")
    told = Family("tandem_last_run_bytes", "Bytes of the source, or of what was audited or restored, in its last run.")
    for each in jobs:
        labels, last = labelled(_JOB, (each.tenant, each.policy, each.job.value, each.vault)), each.last
        good.add(labels, _seconds(each.last_good))
        if last is not None:
            when.add(labels, last.ended_at.timestamp())
            states.add(f'{labels[:-1]},state="{last.state.value}"}}', 1.0)
            took.add(labels, last.seconds)
            if last.bytes is not None:
                told.add(labels, float(last.bytes))
    yield from (good, when, states, took, told)


def _of_slots(facts: MetricFacts) -> Iterator[Family]:
    counts = [((state.value,), float(facts.slots.get(state, 0))) for state in SlotState]
    yield _family("slots", "Slots that were due within the last 24 hours, by state.", ("state",), counts)
    waiting = [((job.value,), float(len(facts.waiting.get(job, ())))) for job in Job]
    yield _family("slots_waiting", "Slots that are due and have not begun.", ("job",), waiting)
    oldest = [((job.value,), _age(min(facts.waiting.get(job, ()), default=None), facts.at)) for job in Job]
    yield _family("slots_oldest_waiting_seconds", "How long the oldest of them has been due.", ("job",), oldest)
    runs = [((job.value,), float(facts.under_way.get(job, 0))) for job in Job]
    yield _family("runs_under_way", "Runs under way.", ("job",), runs)


def _of_promises(places: Sequence[PlaceFacts]) -> Iterator[Family]:
    judged = [((), max(each.as_of for each in places).timestamp())] if places else []
    yield _family("judged_timestamp_seconds", "When the figures below were judged.", (), judged)
    newest = Family(
        "tandem_recovery_point_timestamp_seconds", "Time of the newest recovery point that counts; 0: there is none."
    )
    limits = Family("tandem_objective_seconds", "What was promised.")
    timed = Family("tandem_measured_seconds", "What is promised, as it was when it was judged.")
    fails = Family("tandem_promise_broken", "1 when a control is missed or not proven.")
    for each in places:
        place = labelled(_PLACE, (each.tenant, each.policy, each.site))
        newest.add(place, _seconds(each.newest))
        for control in each.controls:
            labels = f'{place[:-1]},control="{control.name.value}"}}'
            if control.objective is not None:
                limits.add(labels, control.objective)
            if control.measured is not None:
                timed.add(labels, control.measured)
            fails.add(labels, float(control.fails))
    yield from (newest, limits, timed, fails)


def _of_telling(facts: MetricFacts) -> Iterator[Family]:
    channels = facts.channels
    pending = [((each.channel,), float(each.pending)) for each in channels]
    yield _family("notices_pending", "Notices that are not delivered yet.", ("channel",), pending)
    oldest = [((each.channel,), _age(each.oldest, facts.at)) for each in channels]
    yield _family("notices_oldest_pending_seconds", "How long ago the oldest of them was made.", ("channel",), oldest)
    given_up = [((each.channel,), float(each.given_up)) for each in channels]
    yield _family("notices_given_up", "Those given up, of the last 3 days.", ("channel",), given_up)
    alarms = [((topic.value,), float(count)) for topic, count in sorted(facts.alarms.items())]
    yield _family("alarms", "Conditions that hold now.", ("topic",), alarms)
    if facts.dead_man is not None:
        heard = [((), _seconds(facts.dead_man.heard_at))]
        yield _family("dead_man_heard_timestamp_seconds", "When the watcher last answered; 0: never.", (), heard)
        failures = [((), float(facts.dead_man.failures))]
        yield _family("dead_man_failures", "Calls to it that failed, since the start.", (), failures)


_COUNTS: Final = frozenset({Job.BACKUP, Job.AUDIT, Job.RESTORE, Job.RESTORE_TEST})


def _bytes(result: Result | None) -> int | None:
    """None where nothing was counted."""
    match result:
        case BackupResult() | AuditResult() | RestoreResult():
            return result.bytes
        case RestoreTestResult():
            return result.bytes_compared
        case _:
            return None


def _seconds(at: datetime | None) -> float:
    return 0.0 if at is None else at.timestamp()


def _age(since: datetime | None, at: datetime) -> float:
    return 0.0 if since is None else max(0.0, (at - since).total_seconds())

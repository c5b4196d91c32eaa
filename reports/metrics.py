"""What monitoring sees, in Prometheus' text format: every kind of job, and a job that failed shows as failed.

Facts in, text out: nothing is counted here and nothing is kept between two expositions. Moments are seconds since 1970.
https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from jobs.event import Topic
from jobs.history import BackupResult, Job, RestoreResult, RestoreTestResult, RunRecord, RunState
from jobs.integrity import Assessment
from jobs.policy import PolicyName, TenantName, VaultName
from jobs.slot import SlotState

if TYPE_CHECKING:
    from prometheus_client import Metric


@dataclass(frozen=True, kw_only=True, slots=True)
class LastRun:
    """How a run ended, when, how many seconds it took and, where its job counts them, of how many bytes."""

    state: RunState
    ended_at: datetime
    seconds: float
    bytes: int | None = None

    @classmethod
    def of(cls, run: RunRecord) -> LastRun:
        """What is shown of a run that has ended: thousands of them are held at once."""
        ended_at = run.finished_at or run.started_at
        took = max(ended_at - run.started_at, timedelta(0))  # a clock may have been set back in between
        return cls(state=run.state, ended_at=ended_at, seconds=took.total_seconds(), bytes=_bytes(run))


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
    jobs: Sequence[JobFacts] = ()
    slots: Mapping[SlotState, int] = field(default_factory=dict)  # due within the last 24 hours
    waiting: Mapping[Job, Sequence[datetime]] = field(default_factory=dict)  # when the slots that wait were due
    under_way: Mapping[Job, int] = field(default_factory=dict)
    assessments: Sequence[Assessment] = ()
    channels: Sequence[ChannelFacts] = ()
    alarms: Mapping[Topic, int] = field(default_factory=dict)
    dead_man: DeadManFacts | None = None


Sample = tuple[Sequence[str], float]  # the labels' values, and the figure
_JOB: Final = ("tenant", "policy", "job", "vault")  # few: each label of 200,000 samples takes a quarter of a second
_PLACE: Final = ("tenant", "policy", "site", "control")


def exposition(facts: MetricFacts) -> str:
    """The text of /metrics."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(facts))
    return generate_latest(registry).decode()


class _Collected:
    """What prometheus_client asks for metrics."""

    def __init__(self, facts: MetricFacts) -> None:
        self._facts = facts

    def describe(self) -> Iterable[Metric]:
        """Nothing: asked for in advance, and it would be built twice."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every family, each with all its samples."""
        from prometheus_client.core import GaugeMetricFamily

        for name, documentation, labels, samples in _families(self._facts):
            family = GaugeMetricFamily(f"tandem_{name}", documentation, labels=labels)
            for values, figure in samples:
                family.add_metric(values, figure)
            yield family


Family = tuple[str, str, Sequence[str], Iterable[Sample]]


def _families(facts: MetricFacts) -> Iterator[Family]:
    yield from _of_service(facts)
    yield from _of_jobs(facts.jobs)
    yield from _of_slots(facts)
    yield from _of_promises(facts.assessments)
    yield from _of_telling(facts)


def _of_service(facts: MetricFacts) -> Iterator[Family]:
    yield "build_info", "The running version.", ("version",), [((facts.version,), 1.0)]
    yield "figures_timestamp_seconds", "When these figures were taken.", (), [((), facts.at.timestamp())]
    yield "started_timestamp_seconds", "When serve started.", (), [((), facts.started_at.timestamp())]
    yield "healthy", "1 when /healthz is green.", (), [((), float(facts.healthy))]
    ticked = [] if facts.tick_age is None else [((), facts.tick_age)]
    yield "scheduler_tick_age_seconds", "How long ago the scheduler last went round.", (), ticked
    term = [] if facts.lease_term is None else [((), float(facts.lease_term))]
    yield "lease_term", "How often the scheduling has changed hands.", (), term


def _of_jobs(jobs: Sequence[JobFacts]) -> Iterator[Family]:
    named = [((job.tenant, job.policy, job.job.value, job.vault), job) for job in jobs]
    ended = [(labels, job.last) for labels, job in named if job.last is not None]
    good = [(labels, _seconds(job.last_good)) for labels, job in named]
    yield "last_good_timestamp_seconds", "When it last did what it was to do; 0: never.", _JOB, good
    when = [(labels, last.ended_at.timestamp()) for labels, last in ended]
    yield "last_run_timestamp_seconds", "When its last run ended, however it ended.", _JOB, when
    states = [((*labels, last.state.value), 1.0) for labels, last in ended]
    yield "last_run_state", "How its last run ended: 1 beside the state.", (*_JOB, "state"), states
    took = [(labels, last.seconds) for labels, last in ended]
    yield "last_run_duration_seconds", "How long its last run took.", _JOB, took
    told = [(labels, float(last.bytes)) for labels, last in ended if last.bytes is not None]
    yield "last_run_bytes", "Bytes of the source, or of what was restored, in its last run.", _JOB, told


def _of_slots(facts: MetricFacts) -> Iterator[Family]:
    counts = [((state.value,), float(facts.slots.get(state, 0))) for state in SlotState]
    yield "slots", "Slots that were due within the last 24 hours, by state.", ("state",), counts
    waiting = [((job.value,), float(len(facts.waiting.get(job, ())))) for job in Job]
    yield "slots_waiting", "Slots that are due and have not begun.", ("job",), waiting
    oldest = [((job.value,), _age(min(facts.waiting.get(job, ()), default=None), facts.at)) for job in Job]
    yield "slots_oldest_waiting_seconds", "How long the oldest of them has been due.", ("job",), oldest
    runs = [((job.value,), float(facts.under_way.get(job, 0))) for job in Job]
    yield "runs_under_way", "Runs under way.", ("job",), runs


def _of_promises(assessments: Sequence[Assessment]) -> Iterator[Family]:
    judged = [((), max(each.as_of for each in assessments).timestamp())] if assessments else []
    yield "judged_timestamp_seconds", "When the figures below were judged.", (), judged
    newest = [
        ((each.tenant, each.policy, each.site), _seconds(None if each.newest is None else each.newest.time))
        for each in assessments
    ]
    help_newest = "Time of the newest recovery point that counts; 0: there is none."
    yield "recovery_point_timestamp_seconds", help_newest, _PLACE[:3], newest
    controls = [((e.tenant, e.policy, e.site, c.name.value), c) for e in assessments for c in e.controls]
    limits = [(labels, c.objective.total_seconds()) for labels, c in controls if c.objective is not None]
    yield "objective_seconds", "What was promised.", _PLACE, limits
    timed = [(labels, c.measured.total_seconds()) for labels, c in controls if c.measured is not None]
    yield "measured_seconds", "What is promised, as it was when it was judged.", _PLACE, timed
    fails = [(labels, float(c.verdict.fails)) for labels, c in controls]
    yield "promise_broken", "1 when a control is missed or not proven.", _PLACE, fails


def _of_telling(facts: MetricFacts) -> Iterator[Family]:
    channels = facts.channels
    pending = [((each.channel,), float(each.pending)) for each in channels]
    yield "notices_pending", "Notices that are not delivered yet.", ("channel",), pending
    oldest = [((each.channel,), _age(each.oldest, facts.at)) for each in channels]
    yield "notices_oldest_pending_seconds", "How long ago the oldest of them was made.", ("channel",), oldest
    given_up = [((each.channel,), float(each.given_up)) for each in channels]
    yield "notices_given_up", "Notices that were given up, of those made in the last 3 days.", ("channel",), given_up
    alarms = [((topic.value,), float(count)) for topic, count in sorted(facts.alarms.items())]
    yield "alarms", "Conditions that hold now.", ("topic",), alarms
    if facts.dead_man is not None:
        heard = [((), _seconds(facts.dead_man.heard_at))]
        yield "dead_man_heard_timestamp_seconds", "When the watcher elsewhere last answered; 0: never.", (), heard
        yield (
            "dead_man_failures",
            "Calls to it that failed, since the start.",
            (),
            [((), float(facts.dead_man.failures))],
        )


def _bytes(run: RunRecord) -> int | None:
    """None where the job counts no bytes."""
    match run.result:
        case BackupResult() | RestoreResult():
            return run.result.bytes
        case RestoreTestResult():
            return run.result.bytes_compared
        case _:
            return None


def _seconds(at: datetime | None) -> float:
    return 0.0 if at is None else at.timestamp()


def _age(since: datetime | None, at: datetime) -> float:
    return 0.0 if since is None else max(0.0, (at - since).total_seconds())

"""The exposition, read back with Prometheus' own parser."""

from __future__ import annotations

import gzip
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from jobs.event import Topic
from jobs.failure import Failure, FailureKind
from jobs.history import BackupResult, Job, Owner, RecoveryPoint, RestoreTestResult, RunRecord, RunState
from jobs.integrity import assess
from jobs.policy import Objectives, Paths, Policy, PolicyName, SiteName, TenantName, VaultName
from jobs.slot import SlotState
from reports.metrics import ChannelFacts, DeadManFacts, JobFacts, LastRun, MetricFacts, PlaceFacts, exposition

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
TENANT, POLICY, SITE, VAULT = TenantName("minfopra"), PolicyName("files"), SiteName("primary"), VaultName("first")
QUIET = MetricFacts(at=NOW, version="0.1.0", started_at=NOW - HOUR, healthy=True, tick_age=0.5, lease_term=3)

Labels = tuple[tuple[str, str], ...]


def read(facts: MetricFacts) -> dict[tuple[str, Labels], float]:
    """Every sample by name and labels; each there once."""
    found: dict[tuple[str, Labels], float] = {}
    for family in text_string_to_metric_families(exposition(facts).text):
        assert family.documentation
        for sample in family.samples:
            key = (sample.name.removeprefix("tandem_"), tuple(sorted(sample.labels.items())))
            assert sample.name.startswith("tandem_")
            assert key not in found
            found[key] = sample.value
    return found


def value(facts: MetricFacts, name: str, **labels: str) -> float | None:
    return read(facts).get((name, tuple(sorted(labels.items()))))


def run(job: Job, state: RunState) -> RunRecord:
    return RunRecord(
        id="r",
        job=job,
        tenant=TENANT,
        policy=POLICY,
        site=SITE,
        vault=VAULT,
        settings_hash="",
        state=state,
        owner=Owner(host="h", boot="b", pid=1, started="1"),
        started_at=NOW - timedelta(seconds=90),
        finished_at=NOW,
        failure=None if state is RunState.SUCCEEDED else Failure(kind=FailureKind.KILLED, message="m"),
        result=BackupResult(bytes=12_345) if job is Job.BACKUP else None,
    )


def job(kind: Job, last: RunRecord | None = None, good: datetime | None = None) -> JobFacts:
    return JobFacts(
        tenant=TENANT,
        policy=POLICY,
        job=kind,
        vault=VAULT,
        last=None if last is None else LastRun.of(last),
        last_good=good,
    )


@pytest.mark.parametrize("kind", list(Job))
@pytest.mark.parametrize("state", [state for state in RunState if state is not RunState.RUNNING])
def test_every_kind_of_job_is_shown_and_a_failed_one_as_failed_resticprofile_662_and_332(
    kind: Job, state: RunState
) -> None:
    """There, all but backups are left out (#662), and a job that failed goes on showing success (#332)."""
    facts = replace(QUIET, jobs=[job(kind, run(kind, state), NOW - HOUR)])
    labels = {"tenant": TENANT, "policy": POLICY, "job": kind.value, "vault": VAULT}
    states = {key[1]: figure for key, figure in read(facts).items() if key[0] == "last_run_state"}
    assert states == {tuple(sorted({**labels, "state": state.value}.items())): 1.0}
    assert value(facts, "last_good_timestamp_seconds", **labels) == (NOW - HOUR).timestamp()
    assert value(facts, "last_run_timestamp_seconds", **labels) == NOW.timestamp()
    assert value(facts, "last_run_duration_seconds", **labels) == 90
    assert value(facts, "last_run_bytes", **labels) == (12_345 if kind is Job.BACKUP else None)


def test_what_never_ran_is_shown_as_never() -> None:
    facts = replace(QUIET, jobs=[job(Job.CHECK)])
    labels = {"tenant": TENANT, "policy": POLICY, "job": "check", "vault": VAULT}
    assert value(facts, "last_good_timestamp_seconds", **labels) == 0
    assert value(facts, "last_run_timestamp_seconds", **labels) is None


def test_a_restore_test_counts_what_it_compared_and_a_clock_set_back_takes_no_negative_time() -> None:
    tested = replace(
        run(Job.RESTORE_TEST, RunState.SUCCEEDED),
        result=RestoreTestResult(bytes_compared=99),
        started_at=NOW + HOUR,
    )
    facts = replace(QUIET, jobs=[job(Job.RESTORE_TEST, tested)])
    labels = {"tenant": TENANT, "policy": POLICY, "job": "restore-test", "vault": VAULT}
    assert value(facts, "last_run_bytes", **labels) == 99
    assert value(facts, "last_run_duration_seconds", **labels) == 0


def test_the_service_itself() -> None:
    assert value(QUIET, "build_info", version="0.1.0") == 1
    assert value(QUIET, "healthy") == 1
    assert value(replace(QUIET, healthy=False), "healthy") == 0
    assert value(QUIET, "scheduler_tick_age_seconds") == 0.5
    assert value(QUIET, "lease_term") == 3
    assert value(replace(QUIET, tick_age=None, lease_term=None), "lease_term") is None
    assert value(QUIET, "started_timestamp_seconds") == (NOW - HOUR).timestamp()


def test_slots_and_runs() -> None:
    facts = replace(
        QUIET,
        slots={SlotState.MISSED: 3},
        waiting={Job.BACKUP: [NOW - HOUR, NOW - 2 * HOUR]},
        under_way={Job.REPLICATE: 1},
    )
    assert value(facts, "slots", state="missed") == 3
    assert value(facts, "slots", state="failed") == 0
    assert value(facts, "slots_waiting", job="backup") == 2
    assert value(facts, "slots_oldest_waiting_seconds", job="backup") == 7200
    assert value(facts, "slots_oldest_waiting_seconds", job="check") == 0
    assert value(facts, "runs_under_way", job="replicate") == 1


def test_promises_are_shown_as_they_were_judged() -> None:
    policy = Policy(
        name=POLICY,
        tenant=TENANT,
        source=Paths(paths=("/srv",)),
        vault=VAULT,
        site=SITE,
        objectives=Objectives(rpo=timedelta(hours=24)),
    )
    facts = replace(QUIET, places=[PlaceFacts.of(each) for each in assess([policy], [], [], NOW)])
    place = {"tenant": TENANT, "policy": POLICY, "site": SITE}
    assert value(facts, "recovery_point_timestamp_seconds", **place) == 0
    assert value(facts, "objective_seconds", **place, control="recovery-point") == 86_400
    assert value(facts, "promise_broken", **place, control="recovery-point") == 1
    assert value(facts, "measured_seconds", **place, control="recovery-point") is None
    assert value(facts, "judged_timestamp_seconds") == NOW.timestamp()


def test_notices_alarms_and_the_dead_man() -> None:
    facts = replace(
        QUIET,
        channels=[ChannelFacts(channel="ops", pending=2, oldest=NOW - HOUR, given_up=1), ChannelFacts(channel="chat")],
        alarms={Topic.RETENTION_DEAD: 2},
        dead_man=DeadManFacts(heard_at=NOW, failures=4),
    )
    assert value(facts, "notices_pending", channel="ops") == 2
    assert value(facts, "notices_oldest_pending_seconds", channel="ops") == 3600
    assert value(facts, "notices_given_up", channel="ops") == 1
    assert value(facts, "notices_pending", channel="chat") == 0
    assert value(facts, "alarms", topic="retention-dead") == 2
    assert value(facts, "dead_man_heard_timestamp_seconds") == NOW.timestamp()
    assert value(facts, "dead_man_failures") == 4
    assert value(QUIET, "dead_man_failures") is None


def test_every_metric_is_in_the_manual() -> None:
    manual = (Path(__file__).resolve().parents[2] / "docs" / "manual.md").read_text(encoding="utf-8")
    families = text_string_to_metric_families(exposition(replace(QUIET, dead_man=DeadManFacts())).text)
    names = [family.name.removeprefix("tandem_") for family in families]
    assert len(names) > 20
    assert [name for name in names if f"`{name}`" not in manual] == []


@given(st.text(max_size=30))
def test_any_name_comes_back_from_its_label(name: str) -> None:
    plain = name.encode("utf-8", "replace").decode()
    facts = replace(QUIET, jobs=[replace(job(Job.BACKUP), policy=PolicyName(plain))])
    labels = {"tenant": TENANT, "policy": plain, "job": "backup", "vault": VAULT}
    assert value(facts, "last_good_timestamp_seconds", **labels) == 0


def test_a_page_is_the_same_text_packed_as_one_gzip_file_and_in_pieces() -> None:
    jobs = [replace(job(Job.BACKUP), policy=PolicyName(f"p{number}")) for number in range(3000)]
    page = exposition(replace(QUIET, jobs=jobs))
    text = gzip.decompress(b"".join(page.members))
    assert b"".join(page.pieces()) == text
    assert page.size == len(text)
    assert max(map(len, page.pieces())) < len(text)
    samples = [line for line in page.text.splitlines() if line.startswith("tandem_last_good")]
    assert samples == [
        f'tandem_last_good_timestamp_seconds{{tenant="{TENANT}",policy="p{number}",job="backup",vault="{VAULT}"}} 0.0'
        for number in range(3000)
    ]


def test_nothing_is_kept_between_two_expositions_nor_shared_with_others() -> None:
    assert exposition(replace(QUIET, jobs=[job(Job.BACKUP)])).text.count("minfopra") == 1
    assert "minfopra" not in exposition(QUIET).text
    assert exposition(QUIET) == exposition(QUIET)
    assert not any(family.name.startswith("tandem") for family in REGISTRY.collect())


def test_a_recovery_point_that_there_is_shows_its_time_and_how_old_it_was_when_judged() -> None:
    policy = Policy(
        name=POLICY,
        tenant=TENANT,
        source=Paths(paths=("/srv",)),
        vault=VAULT,
        site=SITE,
        objectives=Objectives(rpo=timedelta(hours=24)),
    )
    backup = run(Job.BACKUP, RunState.SUCCEEDED)
    point = RecoveryPoint(
        snapshot="5" * 64,
        origin="5" * 64,
        tenant=TENANT,
        policy=POLICY,
        site=SITE,
        vault=VAULT,
        run=backup.id,
        time=NOW - 2 * HOUR,
        tree="7" * 64,
        seen_at=NOW - HOUR,
    )
    facts = replace(QUIET, places=[PlaceFacts.of(each) for each in assess([policy], [backup], [point], NOW)])
    place = {"tenant": TENANT, "policy": POLICY, "site": SITE}
    assert value(facts, "recovery_point_timestamp_seconds", **place) == (NOW - 2 * HOUR).timestamp()
    assert value(facts, "measured_seconds", **place, control="recovery-point") == 7200
    assert value(facts, "promise_broken", **place, control="recovery-point") == 0


def test_an_age_is_never_negative_and_an_end_that_is_not_known_is_the_beginning() -> None:
    ahead = replace(
        QUIET,
        waiting={Job.BACKUP: [NOW + HOUR]},
        channels=[ChannelFacts(channel="ops", pending=1, oldest=NOW + HOUR), ChannelFacts(channel="chat")],
        dead_man=DeadManFacts(),
    )
    assert value(ahead, "slots_oldest_waiting_seconds", job="backup") == 0
    assert value(ahead, "notices_oldest_pending_seconds", channel="ops") == 0
    assert value(ahead, "notices_oldest_pending_seconds", channel="chat") == 0
    assert value(ahead, "notices_given_up", channel="chat") == 0
    assert value(ahead, "dead_man_heard_timestamp_seconds") == 0
    assert value(ahead, "dead_man_failures") == 0
    begun = replace(run(Job.CHECK, RunState.INTERRUPTED), finished_at=None)
    assert LastRun.of(begun) == LastRun(state=RunState.INTERRUPTED, ended_at=begun.started_at, seconds=0.0)


def test_what_has_no_labels_is_written_without_braces() -> None:
    assert "\ntandem_healthy 1.0\n" in exposition(QUIET).text

"""The planner answers every policy once for every job, and never lets retention loose after a bad backup."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.history import OF_REPOSITORY, Job, Owner, RunRecord, RunState
from jobs.plan import (
    LastBackupBad,
    NeverBackedUp,
    NoAudit,
    NoReplica,
    NoRetention,
    NotAtSite,
    SameRepository,
    Skip,
    Step,
    StepKey,
)
from jobs.planner import CYCLE, plan
from jobs.policy import Objectives, Paths, Policy, PolicyName, Retention, SiteName, TenantName, VaultName

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def policy(
    name: str, *, tenant: str = "minfopra", replica: bool = True, retention: bool = True, audited: bool = False
) -> Policy:
    return Policy(
        name=PolicyName(name),
        tenant=TenantName(tenant),
        source=Paths(paths=("/srv/files",)),
        vault=VaultName("first"),
        site=SiteName("primary"),
        replica=VaultName("second") if replica else None,
        replica_site=SiteName("secondary") if replica else None,
        retention=Retention(last=3) if retention else None,
        objectives=Objectives(audit_age=timedelta(days=7) if audited else None),
    )


def backup_run(name: str, state: RunState) -> RunRecord:
    return RunRecord(
        id=f"run-of-{name}",
        job=Job.BACKUP,
        tenant=TenantName("minfopra"),
        policy=PolicyName(name),
        site=SiteName("primary"),
        vault=VaultName("first"),
        settings_hash="",
        state=state,
        owner=Owner(host="h", boot="b", pid=1, started="1"),
        started_at=NOW,
        finished_at=NOW,
    )


policies = st.lists(
    st.builds(
        policy,
        name=st.sampled_from("abcdefgh"),
        tenant=st.sampled_from(["minfopra", "chu"]),
        replica=st.booleans(),
        retention=st.booleans(),
        audited=st.booleans(),
    ),
    unique_by=lambda each: each.name,
    max_size=6,
)
wanted = st.sets(st.sampled_from(CYCLE), min_size=1)
states = st.sampled_from([state for state in RunState if state is not RunState.RUNNING])


@settings(deadline=None)
@given(policies, wanted, st.dictionaries(st.sampled_from("abcdefgh"), states))
def test_every_policy_is_answered_for_every_job_and_place(
    some: list[Policy], jobs: set[Job], last: dict[str, RunState]
) -> None:
    history = {PolicyName(name): backup_run(name, state) for name, state in last.items()}
    made = plan(some, jobs, history, NOW)
    answers: tuple[Step | Skip, ...] = (*made.steps, *made.skips)
    answered = Counter((answer.job, answer.policy) for answer in answers)
    for each in some:
        for job in jobs:
            places = len(each.places) if job in {Job.AUDIT, Job.CHECK, Job.RESTORE_TEST} else 1
            if job is Job.AUDIT and not each.is_audited and jobs != {Job.AUDIT}:
                places = 1  # nobody wants any
            if job is Job.RETENTION and any(step.job is job and step.policy == each.name for step in made.steps):
                places = len(each.places)
            assert answered[job, each.name] == places
    assert {job for job, _ in answered} <= jobs


@settings(deadline=None)
@given(policies, wanted, st.randoms())
def test_the_order_of_policies_changes_nothing_but_the_order(
    some: list[Policy], jobs: set[Job], chance: random.Random
) -> None:
    shuffled = list(some)
    chance.shuffle(shuffled)
    jobs = jobs - OF_REPOSITORY  # which policy's check serves the others is the first's, on purpose
    one, other = plan(some, jobs, {}, NOW), plan(shuffled, jobs, {}, NOW)
    assert set(one.steps) == set(other.steps)
    assert set(one.skips) == set(other.skips)


@settings(deadline=None)
@given(policies)
def test_steps_come_in_the_cycles_order_and_after_what_they_wait_for(some: list[Policy]) -> None:
    made = plan(some, CYCLE, {}, NOW)
    ranks = [CYCLE.index(step.job) for step in made.steps]
    assert ranks == sorted(ranks)
    seen: set[StepKey] = set()
    for step in made.steps:
        assert seen.issuperset(step.after)
        seen.add(step.key)


@settings(deadline=None)
@given(policies)
@pytest.mark.parametrize("job", sorted(OF_REPOSITORY))
def test_each_repository_is_checked_or_audited_exactly_once(job: Job, some: list[Policy]) -> None:
    made = plan(some, [job], {}, NOW)
    checked = Counter((step.tenant, step.vault) for step in made.steps)
    assert set(checked.values()) <= {1}
    assert set(checked) == {(each.tenant, vault) for each in some for _, vault in each.places}
    assert all(isinstance(skip.reason, SameRepository) for skip in made.skips)
    assert {skip.reason.words.split()[1] for skip in made.skips} <= {job}


def test_a_run_of_everything_audits_for_those_who_want_it_and_a_person_whatever_he_names() -> None:
    wants, content = policy("wants", audited=True), policy("content", tenant="chu")
    made = plan([wants, content], CYCLE, {}, NOW)
    assert [(step.policy, step.vault) for step in made.steps if step.job is Job.AUDIT] == [
        ("wants", "first"),
        ("wants", "second"),
    ]
    assert [(skip.policy, skip.reason, skip.refused) for skip in made.skips if skip.job is Job.AUDIT] == [
        ("content", NoAudit(), False)
    ]
    assert len(plan([content], [Job.AUDIT], {}, NOW).steps) == 2


def test_the_one_check_reads_the_most_that_any_policy_asks_for() -> None:
    asked = [replace(policy(name), read_data=share) for name, share in (("a", "none"), ("b", "1/4"), ("c", "500M"))]
    made = plan(asked, [Job.CHECK], {}, NOW)
    assert [(step.policy, step.read_data) for step in made.steps] == [("a", "1/4")] * 2


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.INTERRUPTED])
def test_retention_is_refused_after_a_bad_backup(state: RunState) -> None:
    made = plan([policy("a")], [Job.RETENTION], {PolicyName("a"): backup_run("a", state)}, NOW)
    assert not made.steps
    (skip,) = made.skips
    assert skip.refused
    assert isinstance(skip.reason, LastBackupBad)
    assert "run-of-a" in skip.reason.words


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.PARTIAL])
def test_retention_runs_at_both_sites_after_a_good_backup(state: RunState) -> None:
    made = plan([policy("a")], [Job.RETENTION], {PolicyName("a"): backup_run("a", state)}, NOW)
    assert [step.vault for step in made.steps] == ["first", "second"]
    assert not made.skips


def test_in_a_whole_cycle_retention_waits_for_this_cycles_backup_and_copy() -> None:
    made = plan([policy("a")], CYCLE, {PolicyName("a"): backup_run("a", RunState.FAILED)}, NOW)
    retention = [step for step in made.steps if step.job is Job.RETENTION]
    assert [[key.job for key in step.after] for step in retention] == [[Job.BACKUP, Job.REPLICATE]] * 2


@pytest.mark.parametrize(
    ("each", "job", "reason"),
    [
        (policy("a", replica=False), Job.REPLICATE, NoReplica),
        (policy("a", retention=False), Job.RETENTION, NoRetention),
        (policy("a"), Job.RETENTION, NeverBackedUp),
    ],
)
def test_what_does_not_run_says_why(each: Policy, job: Job, reason: type) -> None:
    (skip,) = plan([each], [job], {}, NOW).skips
    assert isinstance(skip.reason, reason)
    assert skip.reason.words


def test_a_site_limits_what_acts_on_a_copy_and_says_so_where_there_is_none() -> None:
    both, one = policy("a"), policy("b", replica=False)
    made = plan([both, one], [Job.RESTORE_TEST], {}, NOW, site=SiteName("secondary"))
    assert [(step.policy, step.vault) for step in made.steps] == [("a", "second")]
    (skip,) = made.skips
    assert skip.policy == "b"
    assert isinstance(skip.reason, NotAtSite)

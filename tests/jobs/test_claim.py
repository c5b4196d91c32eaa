"""Which runs may be open beside each other, and which is named when one may not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.claim import HOLDS, Hold, Holders, busy, clash, conflict, repositories
from jobs.failure import BUSY_OR_LOCKED, FailureKind
from jobs.history import Job, Owner, RunRecord, RunState
from jobs.policy import PolicyName, SiteName, TenantName, VaultName

START = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)

runs = st.builds(
    RunRecord,
    id=st.sampled_from([f"run-{number}" for number in range(9)]),
    job=st.sampled_from(Job),
    tenant=st.sampled_from([TenantName("north"), TenantName("south")]),
    policy=st.sampled_from([PolicyName("files"), PolicyName("mail"), PolicyName("people")]),
    site=st.just(SiteName("primary")),
    vault=st.sampled_from([VaultName("one"), VaultName("two")]),
    source_vault=st.sampled_from([None, VaultName("two"), VaultName("three")]),
    settings_hash=st.just(""),
    state=st.sampled_from(RunState),
    owner=st.just(Owner(host="alpha", boot="b", pid=4711, started="9")),
    started_at=st.integers(0, 5).map(lambda minutes: START + timedelta(minutes=minutes)),
)


def run(job: Job, **changes: object) -> RunRecord:
    first = RunRecord(
        id="run-1",
        job=job,
        tenant=TenantName("north"),
        policy=PolicyName("files"),
        site=SiteName("primary"),
        vault=VaultName("one"),
        settings_hash="",
        state=RunState.RUNNING,
        owner=Owner(host="alpha", boot="b", pid=4711, started="9"),
        started_at=START,
    )
    return replace(first, **changes)  # type: ignore[arg-type]  # (fields by name; a wrong one fails at once)


def test_every_job_holds_its_repository_as_restic_would_lock_it() -> None:
    alone = {job for job, hold in HOLDS.items() if hold is Hold.EXCLUSIVE}
    assert set(HOLDS) == set(Job)
    assert alone == {Job.CHECK, Job.RETENTION}


@pytest.mark.parametrize("job", sorted(set(Job) - {Job.RESTORE}))
def test_a_policys_job_never_runs_twice_at_once_wherever_it_works(job: Job) -> None:
    elsewhere = run(job, id="run-2", vault=VaultName("two"), tenant=TenantName("south"))
    assert conflict([run(job)], elsewhere) == run(job)


def test_two_people_restore_from_one_policy_at_the_same_time() -> None:
    assert conflict([run(Job.RESTORE)], run(Job.RESTORE, id="run-2")) is None


@pytest.mark.parametrize(("one", "other"), list(product(Job, Job)))
def test_two_policies_in_one_repository_share_it_unless_one_needs_it_alone(one: Job, other: Job) -> None:
    alone = bool({one, other} & {Job.CHECK, Job.RETENTION}) or one is other is Job.AUDIT
    holds_nothing = Job.REPORT in {one, other}
    assert clash(run(one), run(other, policy=PolicyName("mail"))) is (alone and not holds_nothing)


@pytest.mark.parametrize(("one", "other"), list(product(Job, Job)))
def test_two_policies_in_two_repositories_never_wait_for_each_other(one: Job, other: Job) -> None:
    assert not clash(run(one), run(other, policy=PolicyName("mail"), vault=VaultName("two")))
    assert not clash(run(one), run(other, policy=PolicyName("mail"), tenant=TenantName("south")))


@pytest.mark.parametrize("vault", ["one", "two"])
def test_a_copy_holds_both_its_repositories(vault: str) -> None:
    copy = run(Job.REPLICATE, vault=VaultName("two"), source_vault=VaultName("one"))
    assert repositories(copy) == {("north", "one"), ("north", "two")}
    assert clash(copy, run(Job.CHECK, policy=PolicyName("mail"), vault=VaultName(vault)))
    assert not clash(copy, run(Job.BACKUP, policy=PolicyName("mail"), vault=VaultName(vault)))


def test_a_run_that_is_over_is_in_nobodys_way() -> None:
    over = [run(Job.BACKUP, state=state) for state in RunState if state is not RunState.RUNNING]
    assert conflict(over, run(Job.BACKUP)) is None


def test_the_refusal_names_the_run_that_is_in_the_way_and_can_be_tried_again() -> None:
    failure = busy(run(Job.CHECK, id="20261121T203000Z-4f2a9c1b"), run(Job.BACKUP, policy=PolicyName("mail")))
    for word in ("backup mail", "check files", "20261121T203000Z-4f2a9c1b", "4711", "alpha", "2026-11-21 20:30:00 UTC"):
        assert word in failure.message
    assert failure.kind is FailureKind.BUSY
    assert (failure.retryable, failure.exit_code) == (True, BUSY_OR_LOCKED)


@given(one=runs, other=runs)
def test_clashing_is_mutual(one: RunRecord, other: RunRecord) -> None:
    assert clash(one, other) is clash(other, one)


@given(one=runs)
def test_a_run_clashes_with_its_own_double(one: RunRecord) -> None:
    assert clash(one, one) is (one.job is not Job.RESTORE)


@given(open_runs=st.lists(runs), wanted=runs)
def test_the_longest_running_of_those_in_the_way_is_named(open_runs: list[RunRecord], wanted: RunRecord) -> None:
    in_the_way = [other for other in open_runs if other.state is RunState.RUNNING and clash(other, wanted)]
    named = conflict(open_runs, wanted)
    if named is None:
        assert not in_the_way
    else:
        assert named in in_the_way
        assert named.started_at == min(other.started_at for other in in_the_way)


@given(candidates=st.lists(runs, max_size=12))
def test_whatever_is_admitted_one_by_one_is_compatible_altogether(candidates: list[RunRecord]) -> None:
    admitted: list[RunRecord] = []
    for wanted in (replace(candidate, state=RunState.RUNNING) for candidate in candidates):
        if conflict(admitted, wanted) is None:
            admitted.append(wanted)
    keys = [(one.policy, one.job) for one in admitted if one.job is not Job.RESTORE]
    assert len(keys) == len(set(keys))
    for one, other in product(admitted, admitted):
        assert one is other or not clash(one, other)


@given(open_runs=st.lists(runs), more=st.lists(runs), wanted=runs)
def test_more_open_runs_never_make_room(open_runs: list[RunRecord], more: list[RunRecord], wanted: RunRecord) -> None:
    if conflict(open_runs, wanted) is not None:
        assert conflict(open_runs + more, wanted) is not None


def test_a_repository_that_nobody_has_made_yet_is_one_runs_alone() -> None:
    first, second = run(Job.BACKUP), run(Job.BACKUP, id="run-2", policy=PolicyName("mail"))
    place = (TenantName("north"), VaultName("one"))
    assert conflict([first], second) is None
    assert conflict([first], second, unmade={place}) == first
    assert conflict([first], second, unmade={(TenantName("north"), VaultName("two"))}) is None


def test_of_several_in_the_way_the_one_that_runs_for_longest_is_named() -> None:
    mail, people = (run(Job.BACKUP, id=f"run-{name}", policy=PolicyName(name)) for name in ("mail", "people"))
    older = replace(people, started_at=START - timedelta(hours=1))
    assert conflict([mail, older], run(Job.CHECK)) == older
    assert conflict([older, mail], run(Job.CHECK)) == older


between_two = runs.filter(lambda one: one.vault != one.source_vault)


@given(held=st.lists(between_two, max_size=8), gone=st.sets(st.integers(0, 7)), wanted=runs)
def test_holders_find_what_looking_at_each_of_them_would_find(
    held: list[RunRecord], gone: set[int], wanted: RunRecord
) -> None:
    holders = Holders()
    for one in (held := [replace(one) for one in held]):  # each an object of its own
        holders.add(one)
    for number in sorted(gone & set(range(len(held)))):
        holders.remove(held[number])
    in_the_way = [one for number, one in enumerate(held) if number not in gone and clash(one, wanted)]
    found = holders.in_the_way(wanted)
    assert found in in_the_way if in_the_way else found is None

"""What the ledger promises on both databases: intent before effect, compare-and-set, a past that stays as it was."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings

from jobs.failure import BUSY_OR_LOCKED, Failure, FailureKind
from jobs.history import BackupResult, Job, KnownRepository, Outcome, RunState, Usage
from jobs.policy import PolicyName, TenantName, VaultName
from orchestrator.ledger.ledger import Busy, Ledger, LedgerError, Superseded
from tests.orchestrator.ledger.build import (
    DONE,
    NOW,
    OWNER,
    STRANGER,
    later,
    outcomes,
    over,
    point,
    repository,
    run,
    texts,
)


def test_a_claimed_run_is_open_until_it_is_finished(ledger: Ledger) -> None:
    ledger.claim(run())
    assert ledger.open_runs() == (run(),)
    ledger.finish(run().id, OWNER, DONE, later(minutes=3))
    assert ledger.open_runs() == ()
    assert ledger.run(run().id) == replace(run(), state=RunState.SUCCEEDED, finished_at=later(minutes=3))


def test_what_is_lost_is_forgotten_with_the_claim_and_is_then_that_runs_alone(ledger: Ledger) -> None:
    """Else whoever came in between would make it as well, or would be refused what it was promised."""
    known = repository()
    ledger.remember(known)
    made = point()
    ledger.arrive([made])
    reader = run(2, job=Job.CHECK, policy="other", tenant=known.tenant, vault=known.vault)
    ledger.claim(reader)
    wanted = run(3, tenant=known.tenant, vault=known.vault)
    with pytest.raises(Busy, match=reader.id):
        ledger.claim(wanted, lost=[known])
    assert ledger.repository(*known.key) == known
    assert ledger.points() == (made,)
    ledger.finish(reader.id, OWNER, DONE, later(minutes=1))

    ledger.claim(wanted, lost=[known])
    assert ledger.repository(*known.key) is None
    assert ledger.points() == ()
    beside = run(4, policy="other", tenant=known.tenant, vault=known.vault)
    with pytest.raises(Busy, match=wanted.id):
        ledger.claim(beside)
    another = replace(known, config_sha256="f" * 64)
    ledger.remember(another)
    ledger.claim(beside, lost=[known])  # which was begun anew already, and is not lost
    assert ledger.repository(*known.key) == another


def test_everything_a_run_found_out_is_kept(ledger: Ledger) -> None:
    outcome = Outcome(
        state=RunState.PARTIAL,
        failure=Failure(kind=FailureKind.SOURCE_UNREADABLE, message="/srv/\udcff: permission denied"),
        note="un fichier illisible — voilà",
        result=BackupResult(
            snapshot="ab" * 32, snapshot_time=NOW, unreadable=("/srv/\udcff", "/srv/a\x00b", "\\u0041")
        ),
        usage=Usage(seconds=1 / 3, cpu_seconds=0.1, peak_memory=2**40),
    )
    ledger.claim(run())
    ledger.finish(run().id, OWNER, outcome, later(minutes=3))
    kept = ledger.run(run().id)
    assert kept is not None
    assert (kept.state, kept.failure, kept.note) == (outcome.state, outcome.failure, outcome.note)
    assert (kept.result, kept.usage) == (outcome.result, outcome.usage)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(outcome=outcomes)
def test_any_outcome_comes_back_from_the_database_as_it_was(ledger: Ledger, outcome: Outcome) -> None:
    number = 1 + len(ledger.runs())
    ledger.claim(run(number))
    ledger.finish(run(number).id, OWNER, outcome, later(days=1))
    kept = ledger.run(run(number).id)
    assert kept is not None
    assert (kept.failure, kept.note, kept.result, kept.usage) == (
        outcome.failure,
        outcome.note,
        outcome.result,
        outcome.usage,
    )


# --- claims -----------------------------------------------------------------------------------------------------------


def test_a_second_run_of_the_same_is_busy_and_told_of_the_first(ledger: Ledger) -> None:
    ledger.claim(run(1))
    with pytest.raises(Busy, match=run(1).id) as refusal:
        ledger.claim(run(2))
    assert refusal.value.other == run(1)
    assert refusal.value.failure.exit_code == BUSY_OR_LOCKED
    for word in ("4711", "alpha", "2026-11-21 20:30:01 UTC"):
        assert word in refusal.value.failure.message
    assert ledger.runs() == (run(1),)


@pytest.mark.parametrize("first", [Job.CHECK, Job.BACKUP])
def test_a_job_that_needs_a_repository_alone_waits_for_the_others_and_they_for_it(ledger: Ledger, first: Job) -> None:
    second = Job.BACKUP if first is Job.CHECK else Job.CHECK
    ledger.claim(run(1, job=first))
    with pytest.raises(Busy):
        ledger.claim(run(2, job=second, policy=PolicyName("mail")))
    ledger.claim(run(3, job=second, policy=PolicyName("mail"), vault=VaultName("two")))
    ledger.finish(run(1).id, OWNER, DONE, later(minutes=1))
    ledger.claim(run(4, job=second))


def test_only_one_run_at_a_time_makes_a_repository(ledger: Ledger) -> None:
    ledger.claim(run(1))
    other = run(2, policy=PolicyName("mail"))
    with pytest.raises(Busy, match="backup mail cannot start beside backup files"):
        ledger.claim(other)
    ledger.remember(KnownRepository(tenant=other.tenant, vault=other.vault, config_sha256="ab", first_seen_at=NOW))
    ledger.claim(other)
    assert len(ledger.open_runs()) == 2


def test_only_what_is_about_to_run_can_be_claimed(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="succeeded"):
        ledger.claim(over())


# --- the end of a run -------------------------------------------------------------------------------------------------


def test_a_run_is_finished_by_its_owner_only(ledger: Ledger) -> None:
    ledger.claim(run())
    for other in (STRANGER, replace(OWNER, host="beta"), replace(OWNER, boot="x"), replace(OWNER, pid=1)):
        with pytest.raises(Superseded, match="open under another owner") as refusal:
            ledger.finish(run().id, other, DONE, later(minutes=1))
        assert refusal.value.failure.exit_code == BUSY_OR_LOCKED
    assert ledger.open_runs() == (run(),)


def test_a_run_is_finished_once(ledger: Ledger) -> None:
    ledger.claim(run())
    ledger.finish(run().id, OWNER, DONE, later(minutes=1))
    with pytest.raises(Superseded, match="succeeded"):
        ledger.finish(run().id, OWNER, Outcome(state=RunState.FAILED), later(minutes=2))
    with pytest.raises(Superseded, match="succeeded"):
        ledger.resolve(run().id, Outcome(state=RunState.INTERRUPTED), later(minutes=2))
    kept = ledger.run(run().id)
    assert kept is not None
    assert (kept.state, kept.finished_at) == (RunState.SUCCEEDED, later(minutes=1))


def test_an_owner_taken_for_dead_cannot_finish_what_was_resolved(ledger: Ledger) -> None:
    ledger.claim(run())
    ledger.resolve(run().id, Outcome(state=RunState.INTERRUPTED, note="the process is gone"), later(minutes=1))
    with pytest.raises(Superseded, match="interrupted"):
        ledger.finish(run().id, OWNER, DONE, later(minutes=2))
    kept = ledger.run(run().id)
    assert kept is not None
    assert (kept.state, kept.note) == (RunState.INTERRUPTED, "the process is gone")


def test_a_run_that_never_was_cannot_end(ledger: Ledger) -> None:
    with pytest.raises(Superseded, match="not there"):
        ledger.finish("20261121T203000Z-00000000", OWNER, DONE, NOW)


@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.SKIPPED])
def test_a_running_run_cannot_become_what_the_table_of_states_forbids(ledger: Ledger, state: RunState) -> None:
    ledger.claim(run())
    with pytest.raises(ValueError, match=state):
        ledger.finish(run().id, OWNER, Outcome(state=state), later(minutes=1))
    assert ledger.open_runs() == (run(),)


@pytest.mark.parametrize("state", [RunState.SKIPPED, RunState.BLOCKED])
def test_what_never_began_is_recorded_at_its_end(ledger: Ledger, state: RunState) -> None:
    ledger.record(run(1, state=state, note="outside its window"))
    kept = ledger.run(run(1).id)
    assert kept is not None
    assert (kept.state, kept.finished_at, kept.note) == (state, run(1).started_at, "outside its window")
    with pytest.raises(ValueError, match="claim"):
        ledger.record(run(2))


def test_a_naive_moment_is_refused_and_nothing_is_written(ledger: Ledger) -> None:
    naive = NOW.replace(tzinfo=None)
    ledger.claim(run(1))
    for write in (
        lambda: ledger.claim(run(2, job=Job.RESTORE, started_at=naive)),
        lambda: ledger.finish(run(1).id, OWNER, DONE, naive),
        lambda: ledger.record(over(3, finished_at=naive)),
        lambda: ledger.arrive([point(seen_at=naive)]),
        lambda: ledger.remember_settings("ab", "", naive),
        lambda: ledger.runs(since=naive),
        lambda: ledger.points(at=naive),
    ):
        with pytest.raises(ValueError, match="aware"):
            write()
    assert ledger.runs() == (run(1),)
    assert ledger.points() == ()


# --- asking for runs --------------------------------------------------------------------------------------------------


def test_runs_are_found_by_what_they_are_newest_first(ledger: Ledger) -> None:
    rng = random.Random(20261121)
    records = [
        over(
            number,
            policy=PolicyName(rng.choice(["files", "mail"])),
            tenant=TenantName(rng.choice(["north", "south"])),
            job=rng.choice(list(Job)),
            vault=VaultName(rng.choice(["one", "two"])),
            state=rng.choice([RunState.SUCCEEDED, RunState.FAILED, RunState.SKIPPED]),
            started_at=NOW + timedelta(seconds=number // 3),  # several of one instant, told apart by their ids
        )
        for number in range(40)
    ]
    for record in rng.sample(records, len(records)):
        ledger.record(record)
    newest_first = sorted(records, key=lambda record: (record.started_at, record.id), reverse=True)
    assert list(ledger.runs()) == newest_first
    assert list(ledger.runs(limit=7)) == newest_first[:7]
    assert list(ledger.runs(policy="mail")) == [one for one in newest_first if one.policy == "mail"]
    assert list(ledger.runs(tenant="south", job=Job.CHECK)) == [
        one for one in newest_first if (one.tenant, one.job) == ("south", Job.CHECK)
    ]
    good = {RunState.SUCCEEDED, RunState.FAILED}
    assert list(ledger.runs(vault="two", states=good)) == [
        one for one in newest_first if one.vault == "two" and one.state in good
    ]
    assert ledger.runs(states=()) == ()
    middle = [one for one in newest_first if later(seconds=3) <= one.started_at < later(seconds=9)]
    assert list(ledger.runs(since=later(seconds=3), until=later(seconds=9))) == middle
    assert ledger.run(records[0].id) == records[0]
    assert ledger.run("nobody") is None


def test_the_last_run_is_the_newest_that_fits(ledger: Ledger) -> None:
    ledger.record(over(1))
    ledger.record(over(2, state=RunState.FAILED))
    ledger.record(over(3, vault=VaultName("two")))
    assert ledger.last("files", Job.BACKUP) == over(3, vault=VaultName("two"))
    assert ledger.last("files", Job.BACKUP, "one") == over(2, state=RunState.FAILED)
    assert ledger.last("files", Job.BACKUP, "one", {RunState.SUCCEEDED}) == over(1)
    assert ledger.last("files", Job.CHECK) is None


# --- recovery points --------------------------------------------------------------------------------------------------


def test_a_point_is_there_from_when_it_was_first_seen_until_a_listing_lacked_it(ledger: Ledger) -> None:
    ledger.arrive([point(1), point(2)])
    ledger.arrive([point(1, seen_at=later(days=9), tree="00"), point(2, complete=False)])  # seen again: not news
    assert ledger.points() == (point(1), point(2))
    ledger.gone("north", "one", [point(1).snapshot, "not a snapshot of ours"], later(days=10))
    gone = point(1, gone_at=later(days=10))
    assert ledger.points() == (point(2),)
    assert ledger.points(at=point(1).seen_at - timedelta(microseconds=1)) == ()
    assert ledger.points(at=point(1).seen_at) == (gone,)
    assert ledger.points(at=later(days=10, microseconds=-1)) == (gone, point(2))
    assert ledger.points(at=later(days=10)) == (point(2),)


def test_a_point_that_comes_back_does_not_change_when_it_was_away(ledger: Ledger) -> None:
    ledger.arrive([point()])
    ledger.gone("north", "one", [point().snapshot], later(days=2))
    ledger.gone("north", "one", [point().snapshot], later(days=3))  # already known to be gone
    ledger.arrive([point(seen_at=later(days=4))])
    assert ledger.points() == (point(seen_at=later(days=4)),)
    assert ledger.points(at=later(days=3)) == ()
    assert ledger.points(at=later(days=1)) == (point(gone_at=later(days=2)),)


def test_the_same_snapshot_in_two_repositories_is_two_points(ledger: Ledger) -> None:
    copy = point(vault=VaultName("two"), seen_at=later(hours=9))
    other = point(tenant=TenantName("south"), policy=PolicyName("mail"))
    ledger.arrive([point(), copy, other])
    ledger.gone("north", "one", [point().snapshot], later(days=1))
    assert ledger.points(vault="two") == (copy,)
    assert ledger.points(policy="mail") == (other,)
    assert ledger.points(tenant="north") == (copy,)
    assert ledger.points("files", "one") == ()


def test_nothing_arriving_and_nothing_gone_is_no_news(ledger: Ledger) -> None:
    ledger.arrive([])
    ledger.gone("north", "one", [], NOW)
    assert ledger.points() == ()


# --- repositories and settings ----------------------------------------------------------------------------------------


def test_a_repository_is_remembered_as_it_was_first_seen(ledger: Ledger) -> None:
    assert ledger.repository("north", "one") is None
    ledger.remember(repository())
    ledger.remember(replace(repository(), first_seen_at=later(days=1)))
    assert ledger.repository("north", "one") == repository()
    ledger.remember(repository(vault="two"))
    assert ledger.repositories() == (repository(), repository(vault="two"))


def test_another_repository_is_never_written_over_the_one_that_is_known(ledger: Ledger) -> None:
    ledger.remember(repository())
    with pytest.raises(LedgerError, match="north@one") as refusal:
        ledger.remember(repository(config="ff"))
    assert refusal.value.kind is FailureKind.REPOSITORY_FOREIGN
    assert ledger.repositories() == (repository(),)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts)
def test_settings_are_kept_under_their_hash(ledger: Ledger, text: str) -> None:
    ledger.remember_settings(text.encode("utf-8", "surrogatepass").hex(), text, NOW)
    assert ledger.settings_text(text.encode("utf-8", "surrogatepass").hex()) == text
    assert ledger.settings_text("never seen") is None


def test_the_first_settings_of_a_hash_stay(ledger: Ledger) -> None:
    ledger.remember_settings("ab", "first", NOW)
    ledger.remember_settings("ab", "second", later(days=1))
    assert ledger.settings_text("ab") == "first"


# --- opening ----------------------------------------------------------------------------------------------------------


def test_what_was_written_is_there_when_it_is_opened_again(url: str) -> None:
    with Ledger.open(url, create=True, now=NOW) as ledger:
        ledger.claim(run())
    with Ledger.open(url, create=False, now=NOW) as ledger:
        assert ledger.open_runs() == (run(),)


def test_two_open_ledgers_see_each_others_writes(url: str) -> None:
    with Ledger.open(url, create=True, now=NOW) as one, Ledger.open(url, create=True, now=NOW) as other:
        one.claim(run(1))
        with pytest.raises(Busy):
            other.claim(run(2))
        one.finish(run(1).id, OWNER, DONE, later(minutes=1))
        other.claim(run(2))
        assert one.open_runs() == (run(2),)

"""What is asked about thousands of runs, in pieces."""

from __future__ import annotations

from datetime import timedelta

from jobs.growth import Stored
from jobs.history import BackupResult, Job, RunRecord, RunState
from jobs.policy import PolicyName
from orchestrator.ledger.codec import micros, run_row
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.room import insert_each
from tests.orchestrator.ledger.build import NOW, line, over

MINUTE = timedelta(minutes=1)


def record_all(ledger: Ledger, runs: list[RunRecord]) -> None:
    """At once: the disk need not be waited for thousands of times."""
    rows = [{**run_row(run), "finished_at": micros(run.started_at)} for run in runs]
    with ledger._database.writing("write") as transaction:
        insert_each(transaction, "run", rows)


def backup(number: int) -> RunRecord:
    """Two of each instant, told apart by their ids."""
    policy, result = PolicyName(f"p{number % 2}"), BackupResult(bytes=9, bytes_added=number)
    return over(number, policy=policy, started_at=NOW - (number // 2) * MINUTE, result=result)


def test_what_backups_stored_comes_newest_first_and_complete_over_many_pieces(ledger: Ledger) -> None:
    many = 4501
    record_all(ledger, [backup(number) for number in range(many)])
    everything = ledger.stored(NOW - many * MINUTE, 10**6)
    assert sorted(each.added for each in everything) == list(range(many))
    assert [each.at for each in everything] == sorted((each.at for each in everything), reverse=True)
    assert ledger.stored(NOW - many * MINUTE, 3000) == everything[:3000]
    assert len(ledger.stored(NOW - 10 * MINUTE, 3000)) == 22


def test_only_backups_that_went_well_have_stored_something(ledger: Ledger) -> None:
    ledger.record(over(1, state=RunState.PARTIAL, result=BackupResult(bytes=7, bytes_added=5)))
    ledger.record(over(2, state=RunState.FAILED, result=BackupResult(bytes=7, bytes_added=6)))
    ledger.record(over(3, job=Job.CHECK))
    (found,) = ledger.stored(NOW - 10 * MINUTE, 9)
    assert found == Stored(policy=over(1).policy, at=over(1).started_at, bytes=7, added=5)


def test_places_are_those_of_lines_in_force(ledger: Ledger) -> None:
    first, _ = ledger.put_lines((), [line("files"), line("mail")])
    ledger.put_lines([(first.id, NOW)], [line("files", job=Job.CHECK)])
    found = ledger.places_in_force(["files", "web"])
    assert dict(found) == {line("files", job=Job.CHECK).key: line("files").tenant}

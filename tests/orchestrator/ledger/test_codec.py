"""Whatever goes into a row comes out of it unchanged, and what databases refuse is never handed to them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given

from jobs.history import BackupResult, Outcome, Owner, Result
from orchestrator.ledger.codec import (
    UnreadableRowError,
    escape,
    micros,
    moment,
    point_of,
    point_row,
    repository_of,
    repository_row,
    result_of,
    result_text,
    run_of,
    run_row,
    unescape,
)
from tests.orchestrator.ledger.build import NOW, moments, outcomes, over, owners, point, repository, results, run, texts


@given(result=results)
def test_every_kind_of_result_comes_back_as_it_was(result: Result) -> None:
    assert result_of(result_text(result)) == result


@given(result=results)
def test_a_result_is_stored_as_one_line_of_plain_ascii_json(result: Result) -> None:
    text = result_text(result)
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)["kind"] == result.kind


@given(text=texts)
def test_text_comes_back_as_it_was_and_any_database_takes_it(text: str) -> None:
    stored = escape(text)
    assert unescape(stored) == text
    assert "\x00" not in stored
    assert stored.encode().decode() == stored  # a lone surrogate would raise


@given(text=texts)
def test_text_that_needs_no_escape_stays_readable(text: str) -> None:
    if text.isprintable() and "\\" not in text and text.isascii():
        assert escape(text) == text
    assert escape("Données") == "Données"


@given(when=moments)
def test_a_moment_comes_back_exactly_and_in_utc(when: datetime) -> None:
    assert moment(micros(when)) == when
    assert moment(micros(when)).utcoffset() == timedelta(0)


@given(one=moments, other=moments)
def test_stored_moments_sort_as_moments_do(one: datetime, other: datetime) -> None:
    assert (micros(one) < micros(other)) is (one < other)


@given(outcome=outcomes, owner=owners, note=texts)
def test_a_run_comes_back_as_it_was(outcome: Outcome, owner: Owner, note: str) -> None:
    record = over(
        state=outcome.state,
        failure=outcome.failure,
        note=note,
        result=outcome.result,
        usage=outcome.usage,
        owner=owner,
        source_vault="two",
        tool=note,
    )
    assert run_of(run_row(record)) == record


def test_an_open_run_comes_back_as_it_was() -> None:
    assert run_of(run_row(run())) == run()


@pytest.mark.parametrize("gone", [None, NOW])
@pytest.mark.parametrize("complete", [True, False])
def test_a_recovery_point_comes_back_as_it_was(gone: datetime | None, complete: bool) -> None:
    seen = point(gone_at=gone, complete=complete, run="\udcff")
    assert point_of(point_row(seen)) == seen


def test_a_repository_comes_back_as_it_was() -> None:
    assert repository_of(repository_row(repository())) == repository()


def test_a_zone_other_than_utc_is_the_same_instant() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-5, minutes=-45)))
    assert run_row(run(started_at=elsewhere))["started_at"] == micros(NOW)


NAIVE = datetime(2026, 11, 21, 20, 30)  # noqa: DTZ001 (what the tests are about)


@pytest.mark.parametrize(
    "make",
    [
        lambda: micros(NAIVE),
        lambda: run_row(replace(run(), started_at=NAIVE)),
        lambda: run_row(over(finished_at=NAIVE)),
        lambda: point_row(replace(point(), time=NAIVE)),
        lambda: point_row(point(seen_at=NAIVE)),
        lambda: repository_row(replace(repository(), first_seen_at=NAIVE)),
        lambda: result_text(BackupResult(snapshot_time=NAIVE)),
    ],
)
def test_a_naive_moment_is_refused_everywhere(make: object) -> None:
    with pytest.raises(ValueError, match="aware"):
        make()  # type: ignore[operator]  # (one of the lambdas above)


def test_what_an_earlier_version_left_out_takes_its_default() -> None:
    assert result_of('{"kind":"backup","files":3}') == BackupResult(files=3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '{"kind":"unheard-of"}',
        '{"kind":["backup"]}',
        '{"kind":"backup","unheard_of":1}',
        '{"kind":"backup","snapshot_time":"yesterday"}',
        '{"kind":"backup","changed":1}',
    ],
)
def test_a_result_that_nobody_wrote_is_refused(text: str) -> None:
    with pytest.raises(UnreadableRowError):
        result_of(text)


@pytest.mark.parametrize(
    ("column", "value"),
    [("state", "asleep"), ("job", "nap"), ("failure_kind", "bad-luck"), ("result", "{"), ("started_at", None)],
)
def test_a_run_that_nobody_wrote_is_refused_by_its_id(column: str, value: object) -> None:
    with pytest.raises(UnreadableRowError, match=run().id):
        run_of({**run_row(run()), "failure_message": "", column: value})


def test_not_a_number_is_no_measurement() -> None:
    with pytest.raises(ValueError, match="JSON"):
        result_text(replace(BackupResult(), bytes=float("nan")))  # type: ignore[arg-type]  # (what the test is about)


def test_moments_are_readable_for_a_person_with_a_database_shell() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        shown = connection.execute("SELECT datetime(? / 1000000, 'unixepoch')", (micros(NOW),)).fetchone()
    assert shown == (f"{NOW.astimezone(UTC):%Y-%m-%d %H:%M:%S}",)

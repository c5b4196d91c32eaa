"""Retention keeps what restic's forget keeps, and what Tandem promises beyond that."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.policy import PolicyName, Retention
from jobs.retention import Decision, Point, decide, points, spare
from jobs.snapshot import Snapshot, tags
from tests.bare_restic import BareRestic

POLICY = PolicyName("files")
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FUTURE = NOW + timedelta(days=40_000)


def snapshot(run: str, time: datetime, content: str = "data", policy: PolicyName = POLICY) -> Snapshot:
    marks = tags(policy=policy, run=run, content="data" if content == "data" else "manifest")
    return Snapshot(id=f"{run}-{content}", time=time, tree="t", tags=marks)


def point(run: str, time: datetime, *, complete: bool = True) -> Point:
    return Point(run=run, snapshots=(snapshot(run, time), snapshot(run, time, "manifest")), complete=complete)


def daily(count: int) -> list[Point]:
    return [point(f"r{number:02d}", NOW - timedelta(days=number)) for number in range(count)]


def kept(decision: Decision) -> set[str]:
    return {each.point.run for each in decision.keep}


# --- as restic does ---------------------------------------------------------------------------------------------------

TIMES = (
    "2026-11-21 11:59:00", "2026-11-21 11:00:00", "2026-11-21 10:59:59", "2026-11-20 23:59:59", "2026-11-20 00:00:00",
    "2026-11-16 00:00:00", "2026-11-15 23:59:59", "2026-10-31 23:59:59", "2026-01-01 00:00:00", "2025-12-31 23:59:59",
    "2025-12-28 12:00:00", "2024-12-30 01:00:00", "2024-02-29 12:00:00", "2024-02-29 10:00:00",
)  # fmt: skip
RETENTIONS = (
    Retention(last=2, daily=3, minimum=1),
    Retention(hourly=4, weekly=2, minimum=1),
    Retention(weekly=9, minimum=1),
    Retention(hourly=50, minimum=1),
    Retention(last=1, daily=2, weekly=3, monthly=4, yearly=2, minimum=1),
    Retention(yearly=9, monthly=2, minimum=1),
)


@pytest.fixture(scope="module")
def dated(restic_program: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[BareRestic, Sequence[Point]]:
    folder = tmp_path_factory.mktemp("retention")
    restic = BareRestic(program=restic_program, repository=folder / "repository").init()
    (folder / "source").mkdir()
    for time in TIMES:
        restic.backup("--time", time, str(folder / "source"))
    listed = json.loads(restic.do("snapshots", "--json"))
    found = [(each["id"], datetime.fromisoformat(each["time"].replace("Z", "+00:00"))) for each in listed]
    return restic, [Point(run=name, snapshots=(snapshot(name, time),)) for name, time in found]


@pytest.mark.parametrize("retention", RETENTIONS, ids=str)
def test_keeps_what_restic_keeps(dated: tuple[BareRestic, Sequence[Point]], retention: Retention) -> None:
    restic, made = dated
    rules = [f"--keep-{each.name}={getattr(retention, each.name)}" for each in fields(retention)[:-1]]
    said = restic.do(
        "forget", "--dry-run", "--json", "--group-by=", *(rule for rule in rules if not rule.endswith("=0"))
    )
    theirs = {each["id"] for each in json.loads(said.splitlines()[0])[0]["keep"]}
    decision = decide(made, retention, now=FUTURE, zone=UTC)
    extra = {each.point.run for each in decision.keep if all("the oldest" in reason for reason in each.reasons)}
    assert kept(decision) - (extra if restic.version < (0, 18) else set()) == theirs


# --- properties -------------------------------------------------------------------------------------------------------

counts = st.integers(0, 6)
retentions = st.builds(
    Retention, last=counts, hourly=counts, daily=counts, weekly=counts, monthly=counts, yearly=st.integers(1, 3),
    minimum=st.integers(1, 5),
)  # fmt: skip
minutes = st.one_of(st.integers(0, 300), st.integers(0, 60 * 24 * 30), st.integers(0, 60 * 24 * 1500))
histories = st.lists(st.tuples(minutes, st.booleans()), max_size=25, unique_by=lambda each: each[0]).map(
    lambda rows: [point(f"r{ago}", NOW - timedelta(minutes=ago), complete=complete) for ago, complete in rows]
)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(histories, retentions, zones)
def test_every_point_is_kept_with_a_reason_or_removed(history: list[Point], rule: Retention, zone: timezone) -> None:
    decision = decide(history, rule, now=NOW, zone=zone)
    assert all(each.reasons for each in decision.keep)
    runs = [each.point.run for each in decision.keep] + [each.run for each in decision.remove]
    assert sorted(runs) == sorted(each.run for each in history)


@given(histories, retentions, zones)
def test_never_goes_below_the_minimum(history: list[Point], rule: Retention, zone: timezone) -> None:
    left = kept(decide(history, rule, now=NOW, zone=zone))
    newest = sorted(history, key=lambda each: each.time, reverse=True)
    assert {each.run for each in newest[: rule.minimum]} <= left
    assert {each.run for each in [each for each in newest if each.complete][: rule.minimum]} <= left


@given(histories, retentions, zones)
def test_deciding_again_changes_nothing(history: list[Point], rule: Retention, zone: timezone) -> None:
    first = decide(history, rule, now=NOW, zone=zone)
    again = decide([each.point for each in first.keep], rule, now=NOW, zone=zone)
    assert again.remove == ()
    assert again.keep == first.keep


@given(histories, retentions, zones, st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(
    history: list[Point], rule: Retention, zone: timezone, chance: random.Random
) -> None:
    mixed = list(history)
    chance.shuffle(mixed)
    assert decide(mixed, rule, now=NOW, zone=zone) == decide(history, rule, now=NOW, zone=zone)


@given(histories, retentions, zones, st.integers(1, 100_000), st.booleans())
def test_a_newer_point_brings_no_removed_one_back(
    history: list[Point], rule: Retention, zone: timezone, later: int, complete: bool
) -> None:
    before = decide(history, rule, now=FUTURE, zone=zone)
    newer = point("newer", NOW + timedelta(minutes=later), complete=complete)
    after = decide([*history, newer], rule, now=FUTURE, zone=zone)
    assert {each.run for each in before.remove} <= {each.run for each in after.remove}


@given(histories, st.integers(1, 6))
def test_partial_points_push_no_complete_one_out_of_the_last_ones(history: list[Point], last: int) -> None:
    rule = Retention(last=last, minimum=1)
    complete = [each for each in history if each.complete]
    assert kept(decide(complete, rule, now=NOW, zone=UTC)) <= kept(decide(history, rule, now=NOW, zone=UTC))


# --- beyond restic ----------------------------------------------------------------------------------------------------


def test_reasons_read_as_sentences() -> None:
    rule = Retention(last=1, hourly=1, daily=14, weekly=1, monthly=1, yearly=5, minimum=2)
    decision = decide(daily(3), rule, now=NOW, zone=UTC)
    assert decision.keep[0].reasons == (
        "last 1 of 1",
        "hourly 1 of 1: 2026-11-21 12h",
        "daily 1 of 14: 2026-11-21",
        "weekly 1 of 1: 2026-W47",
        "monthly 1 of 1: 2026-11",
        "yearly 1 of 5: 2026",
        "minimum 1 of 2",
    )
    assert decision.keep[2].reasons == ("daily 3 of 14: 2026-11-19", "yearly 2 of 5: the oldest there is")


def test_days_are_those_of_the_zone() -> None:
    night = [point("early", NOW.replace(hour=22)), point("late", NOW.replace(hour=23, minute=30))]
    rule = Retention(daily=2, minimum=1)
    douala = timezone(timedelta(hours=1))
    assert [each.reasons[0] for each in decide(night, rule, now=FUTURE, zone=douala).keep] == [
        "daily 1 of 2: 2026-11-22",
        "daily 2 of 2: 2026-11-21",
    ]
    assert [each.reasons[0] for each in decide(night, rule, now=FUTURE, zone=UTC).keep] == [
        "daily 1 of 2: 2026-11-21",
        "daily 2 of 2: the oldest there is",
    ]


def test_a_partial_point_stands_for_its_day_only_alone() -> None:
    history = [
        point("today-partial", NOW, complete=False),
        point("today", NOW - timedelta(hours=1)),
        point("yesterday-partial", NOW - timedelta(days=1), complete=False),
        *(point(f"d{number}", NOW - timedelta(days=number)) for number in range(2, 6)),
    ]
    decision = decide(history, Retention(daily=3, minimum=1), now=NOW, zone=UTC)
    reasons = {each.point.run: each.reasons for each in decision.keep}
    assert reasons == {
        "today-partial": ("minimum 1 of 1",),
        "today": ("daily 1 of 3: 2026-11-21", "minimum 1 of 1, complete"),
        "yesterday-partial": ("daily 2 of 3: 2026-11-20",),
        "d2": ("daily 3 of 3: 2026-11-19",),
    }


def test_the_oldest_that_is_kept_is_complete_where_one_is() -> None:
    history = [point("new", NOW), point("old", NOW - timedelta(days=9)), point("older", NOW - timedelta(days=10))]
    partial = [replace(each, complete=each.run != "older") for each in history]
    rule = Retention(yearly=5, minimum=1)
    assert kept(decide(history, rule, now=NOW, zone=UTC)) == {"new", "older"}
    assert kept(decide(partial, rule, now=NOW, zone=UTC)) == {"new", "old"}
    never = [replace(each, complete=False) for each in history]
    assert kept(decide(never, rule, now=NOW, zone=UTC)) == {"new", "older"}


def test_a_source_that_is_always_partial_keeps_its_newest_complete_points() -> None:
    history = [each if number > 30 else replace(each, complete=False) for number, each in enumerate(daily(40))]
    decision = decide(history, Retention(daily=7, minimum=3), now=NOW, zone=UTC)
    assert {"r31", "r32", "r33"} <= kept(decision)


def test_points_from_the_future_stay_and_count_for_nothing() -> None:
    ahead = [point(f"ahead{number}", NOW + timedelta(days=1 + number)) for number in range(5)]
    decision = decide([*daily(10), *ahead], Retention(last=2, daily=2, minimum=2), now=NOW, zone=UTC)
    assert kept(decision) == {"r00", "r01", *(each.run for each in ahead)}


def test_data_and_manifest_go_together_and_nothing_else_goes() -> None:
    ours = [one for each in daily(4) for one in each.snapshots]
    foreign = [
        Snapshot(
            id="foreign", time=NOW - timedelta(days=900), tree="t", tags=("policy=files", "run=x", "content=data")
        ),
        snapshot("other", NOW - timedelta(days=900), policy=PolicyName("mail")),
        Snapshot(id="bare", time=NOW - timedelta(days=900), tree="t"),
    ]
    found = points([*foreign, *reversed(ours)], policy=POLICY, partial={"r02"})
    assert [each.run for each in found] == ["r03", "r02", "r01", "r00"]
    assert [each.complete for each in found] == [True, False, True, True]
    decision = decide(found, Retention(last=1, minimum=1), now=NOW, zone=UTC)
    assert [one.id for one in decision.forget] == [
        "r03-data", "r03-manifest", "r02-data", "r02-manifest", "r01-data", "r01-manifest",
    ]  # fmt: skip


def test_a_manifest_alone_is_no_point_and_goes_unless_its_data_may_still_come() -> None:
    alone = [
        Point(run="old", snapshots=(snapshot("old", NOW - timedelta(days=2), "manifest"),)),
        Point(run="new", snapshots=(snapshot("new", NOW - timedelta(minutes=1), "manifest"),)),
    ]
    history = [*alone, *(point(f"r{number}", NOW - timedelta(days=1, hours=number)) for number in range(3))]
    decision = decide(history, Retention(last=2, minimum=2), now=NOW, zone=UTC)
    assert kept(decision) == {"new", "r0", "r1"}
    assert {each.run for each in decision.remove} == {"old", "r2"}


def test_data_without_a_manifest_is_still_a_point() -> None:
    bare = Point(run="bare", snapshots=(snapshot("bare", NOW),))
    assert kept(decide([bare], Retention(last=1, minimum=1), now=NOW, zone=UTC)) == {"bare"}


def test_a_point_without_snapshots_is_none() -> None:
    with pytest.raises(ValueError, match="left no snapshot"):
        Point(run="r", snapshots=())


def test_nothing_to_decide() -> None:
    assert decide([], Retention(last=1, minimum=1), now=NOW, zone=UTC) == Decision(keep=(), remove=())


@given(histories, retentions, st.sets(st.integers(0, 300)))
def test_what_is_spared_stays_with_its_reason(history: list[Point], rule: Retention, which: Iterable[int]) -> None:
    before = decide(history, rule, now=NOW, zone=UTC)
    runs = {f"r{number}" for number in which}
    after = spare(before, runs, "not yet copied")
    assert {each.run for each in after.remove} == {each.run for each in before.remove} - runs
    assert {each.point.run for each in after.keep if each.reasons == ("not yet copied",)} == runs & {
        each.run for each in before.remove
    }
    assert sorted((each.point.time for each in after.keep), reverse=True) == [each.point.time for each in after.keep]


def test_every_rule_of_the_settings_counts() -> None:
    """A field of Retention that `decide` forgot would delete what somebody asked to keep."""
    history = [point(f"r{number:04d}", NOW - timedelta(hours=13 * number)) for number in range(1500)]
    for field in fields(Retention):
        if field.name != "minimum":
            rule = Retention(**{field.name: 3}, minimum=1)
            assert len(kept(decide(history, rule, now=NOW, zone=UTC))) == 3, astuple(rule)

"""How fast a vault fills."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from jobs.growth import Growth, Stored, growth
from jobs.policy import Paths, Policy, PolicyName, SiteName, TenantName, VaultName

NOW: Final = datetime(2026, 11, 21, tzinfo=UTC)
DAY: Final = timedelta(days=1)
ONE, TWO = VaultName("one"), VaultName("two")
POLICY: Final = Policy(
    name=PolicyName("files"),
    tenant=TenantName("north"),
    source=Paths(paths=("/srv",)),
    vault=ONE,
    site=SiteName("primary"),
    replica=TWO,
    replica_site=SiteName("secondary"),
)


def backup(days_ago: float, added: int, whole: int = 1000) -> Stored:
    return Stored(policy=POLICY.name, at=NOW - days_ago * DAY, bytes=whole, added=added)


def test_what_backups_added_is_spread_over_the_days_since_the_first() -> None:
    found = growth([backup(10, 100), backup(5, 300), backup(1, 100)], [POLICY], [ONE], NOW)
    assert found == Growth(bytes_a_day=50.0, over=10 * DAY)
    assert found.lasts(500) == 10 * DAY


def test_the_first_backup_of_a_source_is_no_growth() -> None:
    assert growth([backup(10, 1000), backup(5, 100)], [POLICY], [ONE], NOW).bytes_a_day == 10


def test_a_dump_that_is_all_new_each_time_is_growth_from_its_second_time_on() -> None:
    assert growth([backup(2, 1000), backup(1, 1000)], [POLICY], [ONE], NOW).bytes_a_day == 500


def test_a_copy_grows_like_its_origin_and_both_on_one_disk_twice() -> None:
    runs = [backup(10, 100), backup(5, 100)]
    single = growth(runs, [POLICY], [ONE], NOW).bytes_a_day
    assert growth(runs, [POLICY], [TWO], NOW).bytes_a_day == single
    assert growth(runs, [POLICY], [ONE, TWO], NOW).bytes_a_day == 2 * single
    assert growth(runs, [POLICY], [VaultName("three")], NOW).bytes_a_day == 0


def test_what_is_older_than_thirty_days_does_not_count() -> None:
    assert growth([backup(40, 9), backup(31, 9)], [POLICY], [ONE], NOW).bytes_a_day == 0


def test_where_nothing_grows_room_lasts_for_ever() -> None:
    assert growth([], [POLICY], [ONE], NOW).lasts(1) is None
    assert Growth(bytes_a_day=1e-9, over=DAY).lasts(1 << 60) is None


@given(st.lists(st.tuples(st.floats(0, 29), st.integers(0, 1000)), max_size=8), st.integers(0, 10**15))
def test_more_room_never_lasts_shorter(history: list[tuple[float, int]], free: int) -> None:
    found = growth([backup(ago, added) for ago, added in history], [POLICY], [ONE], NOW)
    less, more = found.lasts(free), found.lasts(free * 2)
    assert found.bytes_a_day >= 0
    assert more is None or (less is not None and less <= more)


def test_the_order_in_which_backups_are_told_says_nothing() -> None:
    told = [backup(10, 1000), backup(5, 300), backup(1, 100)]
    assert growth(reversed(told), [POLICY], [ONE], NOW) == growth(told, [POLICY], [ONE], NOW)
    assert growth(told, [POLICY], [ONE], NOW) == Growth(bytes_a_day=40.0, over=10 * DAY)


def test_what_another_disk_or_nobody_holds_does_not_spread_the_growth_over_more_days() -> None:
    gone = Stored(policy=PolicyName("gone"), at=NOW - 20 * DAY, bytes=1000, added=1000)
    elsewhere = Stored(policy=PolicyName("elsewhere"), at=NOW - 20 * DAY, bytes=1000, added=10)
    other = replace(POLICY, name=PolicyName("elsewhere"), vault=VaultName("three"), replica=None, replica_site=None)
    found = growth([gone, elsewhere, backup(10, 100)], [POLICY, other], [ONE, TWO], NOW)
    assert found == Growth(bytes_a_day=20.0, over=10 * DAY)


def test_the_thirtieth_day_and_this_moment_count_and_tomorrow_does_not() -> None:
    assert growth([backup(30, 300)], [POLICY], [ONE], NOW) == Growth(bytes_a_day=10.0, over=30 * DAY)
    assert growth([backup(0, 300)], [POLICY], [ONE], NOW) == Growth(bytes_a_day=300.0, over=DAY)
    assert growth([backup(-1, 300)], [POLICY], [ONE], NOW).bytes_a_day == 0


def test_a_first_backup_is_one_of_which_at_least_half_was_new() -> None:
    assert growth([backup(10, 500)], [POLICY], [ONE], NOW).bytes_a_day == 0
    assert growth([backup(10, 490)], [POLICY], [ONE], NOW).bytes_a_day == 49


def test_room_for_a_century_is_told_and_for_longer_is_not() -> None:
    assert Growth(bytes_a_day=0.5, over=DAY).lasts(18_250) == 36_500 * DAY
    assert Growth(bytes_a_day=1, over=DAY).lasts(36_501) is None

"""Parity of two sites, and whose a snapshot is, from metadata alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from jobs.policy import PolicyName
from jobs.snapshot import TAG, Snapshot, age, parity, tags

START = datetime(2026, 11, 21, tzinfo=UTC)

sites = st.lists(st.integers(0, 30), max_size=15, unique=True).map(
    lambda names: [Snapshot(id=f"s{n}", time=START + timedelta(hours=n % 7), tree=f"t{n}") for n in names]
)


def copied(snapshot: Snapshot, to: str) -> Snapshot:
    return replace(snapshot, id=f"{to}-{snapshot.id}", original=snapshot.origin, parent=None)


@given(sites)
def test_a_whole_copy_is_equal_also_the_copy_of_a_copy(first: list[Snapshot]) -> None:
    second = [copied(snapshot, "b") for snapshot in first]
    third = [copied(snapshot, "c") for snapshot in second]
    for one, other in ((first, second), (second, third), (third, first)):
        found = parity(one, other)
        assert set(found.equal) == set(one)
        assert (found.missing, found.surplus, found.differing) == ((), (), ())


@given(sites, st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_missing_and_surplus_are_what_one_side_lacks(
    first: list[Snapshot], lost: set[int], forgotten: set[int]
) -> None:
    second = [copied(each, "b") for each in first if int(each.id[1:]) not in lost]
    left = [each for each in first if int(each.id[1:]) not in forgotten]
    found = parity(left, second)
    assert {each.id for each in found.missing} == {each.id for each in left} - {each.origin for each in second}
    assert {each.origin for each in found.surplus} == {each.origin for each in second} - {each.id for each in left}
    assert len(found.equal) + len(found.missing) == len(left)
    assert list(found.missing) == sorted(found.missing, key=age)


@given(sites, sites)
def test_swapping_the_sites_swaps_the_answer(first: list[Snapshot], second: list[Snapshot]) -> None:
    there, back = parity(first, second), parity(second, first)
    assert (there.missing, there.surplus) == (back.surplus, back.missing)
    assert there.differing == tuple((one, other) for other, one in back.differing)
    assert [each.origin for each in there.equal] == [each.origin for each in back.equal]


@given(sites.filter(bool), st.data())
def test_another_tree_under_the_same_origin_is_named_and_never_equal(
    first: list[Snapshot], data: st.DataObject
) -> None:
    victim = data.draw(st.sampled_from(first))
    second = [replace(copied(each, "b"), tree="forged" if each is victim else each.tree) for each in first]
    found = parity(first, second)
    assert [(one.id, other.tree) for one, other in found.differing] == [(victim.id, "forged")]
    assert victim not in found.equal


def test_tags_tell_whose_it_is() -> None:
    ours = Snapshot(id="a", time=START, tree="t", tags=tags(policy=PolicyName("files"), run="r1", content="manifest"))
    assert (ours.policy, ours.run, ours.content, ours.origin) == ("files", "r1", "manifest", "a")
    foreign = replace(ours, tags=tuple(tag for tag in ours.tags if tag != TAG))
    assert (foreign.policy, foreign.run, foreign.content) == (None, None, None)
    assert ours.tag("polic") is None


def test_only_what_we_streamed_ourselves_may_be_half() -> None:
    """A folder at the root looks like a stream to restic; taking it for half a stream would remove a whole backup."""
    files = tags(policy=PolicyName("files"), run="r", content="data")
    stream = tags(policy=PolicyName("files"), run="r", content="manifest", stream=True)
    at_root = Snapshot(id="a", time=datetime(2026, 11, 21, tzinfo=UTC), tree="t", paths=("/srv",), tags=files)
    assert not at_root.is_stream
    assert replace(at_root, tags=stream).is_stream
    assert not replace(at_root, tags=("stream",)).is_stream  # somebody else's

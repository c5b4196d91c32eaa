"""What was promised against what was found: each item is seen, and nothing is held against what was changing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.comparison import Comparison, Difference, Item, Tally
from jobs.manifest import Entry, ManifestError, encode, order
from tests.jobs.test_manifest import lists

FOLDER = Entry(path="/s", type="dir", mode=0o755, uid=1, gid=2, mtime_ns=3)
FILE = Entry(path="/s/file", type="file", size=9, mode=0o640, uid=1, gid=2, mtime_ns=3, sha256="ab" * 32)
LINK = Entry(path="/s/link", type="symlink", mode=0o777, uid=1, gid=2, mtime_ns=3, link="file")
PIPE = Entry(path="/s/pipe", type="other", mode=0o600, uid=1, gid=2, mtime_ns=3)
SOURCE = [FOLDER, FILE, LINK, PIPE]


def compare(
    expected: Iterable[Entry], found: Iterable[Entry], *, owners: bool = True
) -> tuple[list[Difference], Tally]:
    sides = (sorted(side, key=lambda entry: order(entry.path)) for side in (expected, found))
    left, right = ([encode(entry) for entry in side] for side in sides)
    comparison = Comparison(left, right, owners=owners)
    return list(comparison), comparison.tally


def items(expected: Iterable[Entry], found: Iterable[Entry], *, owners: bool = True) -> list[tuple[str, Item]]:
    return [(each.path, each.item) for each in compare(expected, found, owners=owners)[0]]


def swap(found: Entry) -> list[Entry]:
    return [found if entry.path == found.path else entry for entry in SOURCE]


def test_the_same_has_no_differences_and_is_counted() -> None:
    differences, tally = compare(SOURCE, SOURCE)
    assert differences == []
    assert tally == Tally(entries=4, files=1, bytes=9, not_compared=1)


def test_what_a_restore_moves_is_not_compared() -> None:
    moved = [replace(entry, inode=77, device=78, ctime_ns=79) for entry in SOURCE]
    assert items(SOURCE, moved) == []


@pytest.mark.parametrize(
    ("found", "item"),
    [
        (replace(FILE, size=8, sha256="cd" * 32), Item.SIZE),
        (replace(FILE, sha256="cd" * 32), Item.CONTENT),
        (replace(FILE, sha256=None, unreadable=True), Item.CONTENT),
        (replace(FILE, mode=0o641), Item.MODE),
        (replace(FILE, mode=0o4640), Item.MODE),
        (replace(FILE, uid=5), Item.OWNER),
        (replace(FILE, gid=5), Item.OWNER),
        (replace(FILE, mtime_ns=4), Item.MTIME),
        (replace(FILE, type="dir"), Item.TYPE),
        (replace(FILE, type="other"), Item.TYPE),
        (replace(FOLDER, mode=0o700), Item.MODE),
        (replace(FOLDER, uid=5), Item.OWNER),
        (replace(FOLDER, mtime_ns=4), Item.MTIME),
        (replace(LINK, link="other"), Item.LINK),
        (replace(LINK, gid=5), Item.OWNER),
        (replace(LINK, mtime_ns=4), Item.MTIME),
        (replace(PIPE, type="file", sha256="cd" * 32), Item.TYPE),
    ],
)
def test_each_item_is_seen_once_and_told_in_words(found: Entry, item: Item) -> None:
    differences, tally = compare(SOURCE, swap(found))
    assert [(each.path, each.item) for each in differences] == [(found.path, item)]
    assert tally.differences == 1
    assert differences[0].words.startswith(f"{found.path}: the {item} is ")
    assert items(SOURCE, swap(found), owners=False) == ([] if item is Item.OWNER else [(found.path, item)])


def test_words_say_both_sides() -> None:
    (difference,) = compare(SOURCE, swap(replace(FILE, mode=0o4640)))[0]
    assert difference.words == "/s/file: the mode is 4640, at the source it was 0640"
    (difference,) = compare(SOURCE, swap(replace(FILE, mtime_ns=1_795_224_600_000_000_001)))[0]
    assert difference.found == "2026-11-21T01:30:00.000000001Z"
    (difference,) = compare(SOURCE, swap(replace(FILE, mtime_ns=-(10**20))))[0]
    assert difference.found == "-100000000000000000000 ns"


def test_missing_and_unexpected() -> None:
    more = replace(FILE, path="/s/file.bak")
    differences, _ = compare(SOURCE, [FOLDER, more, LINK, PIPE])
    assert [each.words for each in differences] == [
        "/s/file is missing",
        "/s/file.bak is there, but the source did not hold it",
    ]
    assert items([], SOURCE) == [(entry.path, Item.UNEXPECTED) for entry in SOURCE]
    assert items(SOURCE, []) == [(path, Item.MISSING) for path in ("/s", "/s/file", "/s/link")]


def test_words_are_printable_whatever_the_name() -> None:
    (difference,) = compare([replace(FILE, path="/s/\udcff\n")], [])[0]
    assert difference.words == "/s/\\xff\\n is missing"


def test_a_stream_is_compared_by_what_it_has() -> None:
    stream = Entry(path="/dump.sql", type="file", size=9, sha256="ab" * 32)
    restored = replace(FILE, path="/dump.sql")
    assert items([stream], [restored]) == []
    assert items([stream], [replace(restored, sha256="cd" * 32)]) == [("/dump.sql", Item.CONTENT)]


def test_what_was_changing_must_be_there_and_no_more() -> None:
    changing = [replace(FILE, changed=True, sha256=None) if entry is FILE else entry for entry in SOURCE]
    other = replace(FILE, size=1, mode=0, uid=9, mtime_ns=9, sha256="cd" * 32)
    differences, tally = compare(changing, swap(other))
    assert differences == []
    assert tally == Tally(entries=4, changed=1, not_compared=1)
    assert items(changing, [FOLDER, LINK]) == [("/s/file", Item.MISSING)]
    assert items(changing, swap(replace(FILE, type="dir"))) == [("/s/file", Item.TYPE)]


def test_what_could_not_be_read_may_be_missing() -> None:
    unreadable = [replace(FILE, unreadable=True, sha256=None) if entry is FILE else entry for entry in SOURCE]
    for found in (SOURCE, [FOLDER, LINK], swap(replace(FILE, size=1))):
        differences, tally = compare(unreadable, found)
        assert differences == []
        assert tally.unreadable == 1
        assert tally.files == 0


def test_what_went_away_meanwhile_may_be_anything() -> None:
    gone = [replace(FILE, changed=True, unreadable=True) if entry is FILE else entry for entry in SOURCE]
    for found in (SOURCE, [FOLDER, LINK], swap(replace(FILE, type="dir"))):
        differences, tally = compare(gone, found)
        assert differences == []
        assert (tally.changed, tally.unreadable) == (1, 0)


def test_a_changing_folder_may_hold_more_but_not_less() -> None:
    changing = [replace(FOLDER, changed=True), FILE, LINK, PIPE]
    more = [replace(FOLDER, path="/s/new", mtime_ns=8), replace(FILE, path="/s/new/deep"), replace(FILE, path="/s/zz")]
    differences, tally = compare(changing, [*SOURCE, *more])
    assert differences == []
    assert tally.appeared == 3
    also = [replace(FOLDER, changed=True), replace(FILE, changed=True)]
    assert items(also, [FOLDER, FILE, replace(FILE, path="/s/file2")]) == []
    assert items(changing, [FOLDER, LINK]) == [("/s/file", Item.MISSING)]


def test_a_folder_that_did_not_change_below_one_that_did_must_hold_the_same() -> None:
    still = replace(FOLDER, path="/s/still")
    changing = [replace(FOLDER, changed=True), still]
    intruder = replace(FILE, path="/s/still/intruder")
    assert items(changing, [FOLDER, still, intruder]) == [("/s/still/intruder", Item.UNEXPECTED)]
    sibling = replace(FILE, path="/s2")
    assert items(changing, [FOLDER, still, sibling]) == [("/s2", Item.UNEXPECTED)]
    assert items(
        [replace(FILE, path="/s/x", changed=True)], [replace(FILE, path="/s/x"), replace(FILE, path="/s/x2")]
    ) == [("/s/x2", Item.UNEXPECTED)]


def test_lines_out_of_order_are_refused() -> None:
    for lines in ([encode(FILE), encode(FOLDER)], [encode(FILE), encode(FILE)]):
        for left, right in ((lines, []), (list[bytes](), lines)):
            with pytest.raises(ManifestError, match="order"):
                list(Comparison(left, right, owners=True))


def test_it_runs_in_one_pass_and_holds_nothing() -> None:
    taken = {"left": 0, "right": 0}

    def side(name: str) -> Iterator[bytes]:
        for number in range(1000):
            taken[name] += 1
            assert abs(taken["left"] - taken["right"]) <= 1
            yield encode(replace(FOLDER, path=f"/{number:04d}"))

    assert list(Comparison(side("left"), side("right"), owners=True)) == []


@given(lists)
def test_anything_equals_itself(found: list[Entry]) -> None:
    differences, tally = compare(found, found)
    assert differences == []
    assert tally.entries == len(found)


@given(lists, lists)
def test_every_path_is_missing_unexpected_or_compared(one: list[Entry], other: list[Entry]) -> None:
    firm = [replace(entry, changed=False, unreadable=False) for entry in one if entry.type != "other"]
    differences, tally = compare(firm, other)
    here, there = {entry.path for entry in firm}, {entry.path for entry in other}
    assert {each.path for each in differences if each.item is Item.MISSING} == here - there
    assert {each.path for each in differences if each.item is Item.UNEXPECTED} == there - here
    assert tally.differences == len(differences)


@given(lists, st.data())
def test_one_change_is_found_where_it_is(found: list[Entry], data: st.DataObject) -> None:
    firm = [replace(entry, mtime_ns=5, uid=5, changed=False, unreadable=False) for entry in found]
    firm = [*firm, replace(FILE, path="/")]
    which = data.draw(st.sampled_from([entry for entry in firm if entry.type != "other"]))
    other = data.draw(st.sampled_from([replace(which, mtime_ns=6), replace(which, uid=6), replace(which, gid=-7)]))
    after = [other if entry is which else entry for entry in firm]
    assert [each.path for each in compare(firm, after)[0]] == [which.path]


def test_only_files_are_counted_as_changing() -> None:
    changing = [replace(entry, changed=True) if entry in {FOLDER, FILE, LINK} else entry for entry in SOURCE]
    assert compare(changing, SOURCE)[1].changed == 1

"""The manifest's lines: every name survives, every damage is noticed, nothing is decoded that need not be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import manifest
from jobs.manifest import Entry, Footer, ManifestError, Reader, Writer, decode, encode, order, path_of, shown, split

TAKEN = datetime(2026, 11, 21, 1, 30, 0, 123456, tzinfo=UTC)

hostile = st.sampled_from(
    ['"', "\\", '","size":', '"path":"', "\n", "\r", "\x1c", "\u2028", "\udcff", "\udcc3\udca9", "é", "🜨"]
)
names = st.lists(
    st.one_of(hostile, st.text(st.characters(exclude_characters="/\0"), min_size=1)), min_size=1, max_size=4
)
paths = st.lists(names.map("".join), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
numbers = st.integers(-(2**63), 2**64)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
shared = {name: numbers for name in ("mode", "uid", "gid", "mtime_ns", "ctime_ns", "inode", "device")}
marks = {"changed": st.booleans(), "unreadable": st.booleans()}
entries = st.one_of(
    st.builds(Entry, path=paths, type=st.just("file"), size=st.integers(0, 2**63), sha256=digests, **shared, **marks),
    st.builds(Entry, path=paths, type=st.sampled_from(["dir", "other"]), **shared, **marks),
    st.builds(Entry, path=paths, type=st.just("symlink"), link=names.map("".join), **shared, **marks),
)
lists = st.lists(entries, max_size=12, unique_by=lambda entry: entry.path).map(
    lambda found: sorted(found, key=lambda entry: order(entry.path))
)


def whole(found: list[Entry]) -> bytes:
    return b"".join(Writer(map(encode, found), policy="files", run="r1", taken_at=TAKEN))


def cut(text: bytes, size: int) -> Iterator[bytes]:
    return (text[start : start + size] for start in range(0, len(text), size))


@given(entries)
def test_every_entry_survives_as_one_line_of_ascii_json(entry: Entry) -> None:
    line = encode(entry)
    assert line.isascii()
    assert line.index(b"\n") == len(line) - 1
    assert line.splitlines() == [line[:-1]]
    assert decode(line) == entry
    assert json.loads(line)["path"] == path_of(line) == entry.path
    assert manifest.is_file(line) == (entry.type == "file")
    assert manifest.is_of(line, entry.type)
    assert manifest.is_unreadable(line) == (entry.unreadable and not entry.changed)


@given(entries, entries)
def test_a_head_is_told_apart_from_every_other(one: Entry, other: Entry) -> None:
    head = manifest.head(other.type, other.path, other.identity)
    same = (one.type, one.path, one.identity) == (other.type, other.path, other.identity)
    assert manifest.told_by(encode(one), head) == same
    assert manifest.told_by(encode(other), head)
    assert manifest.proves(encode(other), head) == bool(other.sha256 and not (other.changed or other.unreadable))


def test_a_head_that_ends_where_digits_go_on_is_another_one() -> None:
    entry = Entry(path="/a", type="dir", mode=0, uid=0, gid=0, mtime_ns=0, ctime_ns=0, inode=1, device=25)
    shorter = replace(entry, device=2)
    assert not manifest.told_by(encode(entry), manifest.head("dir", "/a", shorter.identity))


@given(st.lists(paths))
def test_the_order_is_depth_first_by_components(found: list[str]) -> None:
    assert sorted(found, key=order) == sorted(found, key=lambda path: path.split("/"))


@given(entries, st.booleans())
def test_marks_are_added_and_nothing_else(entry: Entry, gone: bool) -> None:
    marked = decode(manifest.marked(encode(entry), gone=gone))
    assert marked == replace(entry, changed=True, unreadable=entry.unreadable or gone)


@given(lists, st.integers(1, 700))
def test_what_is_written_is_read_however_it_is_cut(found: list[Entry], size: int) -> None:
    text = whole(found)
    reader = Reader(cut(text, size))
    assert [decode(line) for line in reader] == found
    lines = text.splitlines(keepends=True)
    assert reader.footer == Footer(
        policy="files",
        run="r1",
        taken_at=TAKEN,
        entries=len(found),
        files=sum(entry.type == "file" for entry in found),
        bytes=sum(entry.size for entry in found),
        changed=sum(entry.changed and entry.type == "file" for entry in found),
        unreadable=sum(entry.unreadable and not entry.changed for entry in found),
        sha256=sha256(b"".join(lines[:-1])).hexdigest(),
    )
    assert json.loads(lines[-1])["tandem-manifest"] == 1


SOME = [
    Entry(path="/a", type="dir", mode=0o755),
    Entry(path="/a/b", type="file", size=3, sha256="ab" * 32),
    Entry(path="/a/c", type="file", size=4, changed=True),
    Entry(path="/a/d", type="file", size=5, unreadable=True),
    Entry(path="/a/e", type="symlink", link="b"),
]


def test_a_manifest_that_ends_anywhere_too_early_is_refused() -> None:
    text = whole(SOME)
    for size in range(len(text)):
        with pytest.raises(ManifestError):
            list(Reader([text[:size]]))


@given(st.data())
def test_a_damaged_line_or_count_is_refused(data: st.DataObject) -> None:
    text = whole(SOME)
    said = text.index(b'"run":"r1","taken_at"')
    place = data.draw(st.integers(0, len(text) - 1).filter(lambda at: not said - 40 < at < said + 60))
    damaged = text[:place] + bytes([text[place] ^ data.draw(st.integers(1, 255))]) + text[place + 1 :]
    with pytest.raises(ManifestError):
        list(Reader([damaged]))


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[1:],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [lines[0], *lines],
        lambda lines: [*lines, lines[0]],
        lambda lines: [*lines, lines[-1]],
        lambda lines: lines[:-1],
        lambda lines: lines[:0],
    ],
)
def test_lines_that_are_missing_moved_or_too_many_are_refused(change: object) -> None:
    assert callable(change)
    with pytest.raises(ManifestError):
        list(Reader(change(whole(SOME).splitlines(keepends=True))))


def test_a_newer_version_is_refused_by_its_number() -> None:
    newer = whole(SOME).replace(b'"tandem-manifest":1', b'"tandem-manifest":2')
    with pytest.raises(ManifestError, match="version 2"):
        list(Reader([newer]))


def test_a_footer_is_not_to_be_had_before_the_end() -> None:
    reader, writer = Reader([whole(SOME)]), Writer([], policy="p", run="r", taken_at=TAKEN)
    next(iter(reader))
    with pytest.raises(ManifestError):
        assert reader.footer
    with pytest.raises(ManifestError):
        assert writer.footer


def test_a_manifest_that_failed_has_no_footer() -> None:
    reader = Reader(whole(SOME).splitlines(keepends=True)[1:])
    for _ in range(2):
        with pytest.raises(ManifestError):
            list(reader)
        with pytest.raises(ManifestError):
            assert reader.footer


def test_a_writer_names_what_it_saw_up_to_a_hundred() -> None:
    found = [
        Entry(path=f"/a/{number:03d}", type="file", changed=number % 2 == 0, unreadable=True) for number in range(300)
    ]
    writer = Writer(map(encode, found), policy="p", run="r", taken_at=TAKEN)
    assert sum(map(len, writer)) > 0
    assert writer.changed == tuple(f"/a/{number:03d}" for number in range(0, 200, 2))
    assert writer.unreadable == tuple(f"/a/{number:03d}" for number in range(1, 200, 2))
    assert (writer.footer.changed, writer.footer.unreadable) == (150, 150)


def test_two_manifests_of_one_source_share_their_lines() -> None:
    """So that restic stores them once: nothing of a run or a moment stands before the footer."""
    other = b"".join(Writer(map(encode, SOME), policy="files", run="r2", taken_at=datetime.max.replace(tzinfo=UTC)))
    assert other.splitlines()[:-1] == whole(SOME).splitlines()[:-1]


@given(st.binary(max_size=200), st.integers(1, 50))
def test_splitting_loses_nothing(text: bytes, size: int) -> None:
    text = text.replace(b"\r", b"")
    lines = list(split(cut(text, size)))
    assert b"".join(lines) == text
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines[:-1])


@pytest.mark.parametrize(
    "line", [b"", b"{}\n", b"[]\n", b'{"path":3}\n', b'{"type":"dir","path":"a"}\n', b"\xff\n", b"1\n"]
)
def test_what_is_no_entry_is_refused(line: bytes) -> None:
    with pytest.raises(ManifestError):
        decode(line)
    with pytest.raises(ManifestError):
        list(Reader([line or b"\n", whole([])]))


def test_an_entry_is_valid_from_birth() -> None:
    with pytest.raises(ValueError, match="absolute"):
        Entry(path="a", type="dir")
    with pytest.raises(ValueError, match="SHA-256"):
        Entry(path="/a", type="file")


@given(paths)
def test_a_shown_path_can_be_printed_on_one_line(path: str) -> None:
    assert shown(path).isprintable()
    shown(path).encode()


def test_a_shown_path_is_readable() -> None:
    assert shown("/srv/été/a b") == "/srv/été/a b"
    assert shown("/a\n\udcff\u202e") == "/a\\n\\xff\\u202e"


def test_only_what_cannot_be_printed_is_written_in_another_way() -> None:
    assert shown("/s/é\n") == "/s/é\\n"
    assert [shown(f"/{chr(code)}") for code in (0xDC80, 0xDCFF, 0xDC7F)] == ["/\\x80", "/\\xff", "/\\udc7f"]

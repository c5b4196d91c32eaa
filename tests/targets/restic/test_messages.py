"""Every line restic was heard to say, and every line that nobody ever said."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.process import Heard
from targets.restic.listening import Listening, progress_of
from targets.restic.messages import (
    BackupSummary,
    CheckSummary,
    Event,
    ExitError,
    ItemError,
    Status,
    Unknown,
    parse,
    parse_snapshots,
)
from targets.restic.versions import Version
from tests.targets.restic.recorded import VERSIONS, recorded

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["bytes_done", "total_bytes", "files_done", "current_files", "snapshot_id", "num_errors", "error", "item", "code",
     "message", "during", "data_added", "bytes_restored"]
)  # fmt: skip
MESSAGES = st.builds(
    lambda kind, fields: json.dumps({"message_type": kind, **fields}).encode(),
    st.sampled_from(["status", "summary", "error", "exit_error", "verbose_status", "new in 0.30"]) | JSON,
    st.dictionaries(FIELDS, JSON),
)


def hearable(event: Event) -> bool:
    """What is kept can be written down anywhere."""
    return repr(event).encode("utf-8") != b""


@given(st.binary() | MESSAGES | MESSAGES.map(lambda line: line[: len(line) // 2]))
def test_no_line_can_make_the_parser_fail(line: bytes) -> None:
    assert hearable(parse(line))


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"message_type":' * 50_000,
        b'{"message_type":"status","bytes_done":' + b"9" * 10_000 + b"}",
        b'{"message_type":["status"]}',
        b'{"message_type":"summary"}',
        b"\xff\xfe\x00",
        b"",
    ],
    ids=["deep list", "deep object", "huge number", "a list for a type", "an empty summary", "no text", "nothing"],
)
def test_what_is_not_understood_is_kept(line: bytes) -> None:
    event = parse(line)
    assert isinstance(event, Unknown)
    assert len(event.text) <= len(line)


def test_what_is_no_count_counts_nothing() -> None:
    status = parse(b'{"message_type":"status","bytes_done":true,"files_done":-1,"total_bytes":"9","current_files":1}')
    assert repr(status) == repr(Status())


def test_a_lone_surrogate_does_not_come_through() -> None:
    assert parse(b'{"message_type":"error","item":"/\\ud800","during":"archival"}') == ItemError(
        item="/?", during="archival", message="could not be read"
    )


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_backup_tells_progress_and_then_its_snapshot(version: Version) -> None:
    events = [parse(line) for line in recorded(version)["backup1"].output.splitlines() if line]
    *statuses, summary = events
    assert statuses
    assert all(isinstance(status, Status) for status in statuses)
    assert isinstance(summary, BackupSummary)
    assert len(summary.snapshot) == (8 if version[:2] == (0, 14) else 64)
    assert summary.bytes in {5242904, 5242906, 5242908}
    assert summary.bytes_added > 5242880


def test_the_fields_of_a_status() -> None:
    line = recorded(VERSIONS[0])["backup1"].output.splitlines()[1]
    assert parse(line) == Status(
        bytes_done=3755295, bytes_total=5242904, files_done=1, files_total=4, current="/src0/a.bin"
    )
    assert progress_of(Status(bytes_done=1, files_total=3)).bytes_total is None


def test_a_restore_counts_in_its_own_words() -> None:
    first = parse(recorded(VERSIONS[1])["restore"].output.splitlines()[0])
    assert first == Status(bytes_done=12, bytes_total=5242908, files_done=2, files_total=8)


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_each_recorded_message_of_a_known_type_is_understood(version: Version) -> None:
    for name, call in recorded(version).items():
        for line in (call.output + call.errors).splitlines():
            if line.startswith((b'{"message_type":"err', b'{"message_type":"exit')):
                assert isinstance(parse(line), ItemError | ExitError), (name, line)


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_snapshots_are_read_oldest_first(version: Version) -> None:
    found = parse_snapshots(recorded(version)["snapshots"].output)
    assert found
    assert [snapshot.time for snapshot in found] == sorted(snapshot.time for snapshot in found)
    first = found[0]
    assert (first.tags, first.hostname, first.paths) == (("x",), "h", ("/srv/src",))
    assert first.time == datetime(2026, 11, 2, 3, 4, 5, tzinfo=UTC)
    assert len(first.id) == len(first.tree) == len(first.original or "") == 64
    assert parse_snapshots(recorded(version)["snapshots-none"].output) == ()


def test_a_time_is_read_in_its_zone_to_the_microsecond() -> None:
    line = b'[{"id":"a","tree":"b","time":"2026-11-21T18:03:08.531793249+01:00","original":"c"}]'
    (found,) = parse_snapshots(line)
    assert found.time == datetime(2026, 11, 21, 17, 3, 8, 531793, tzinfo=UTC)
    assert found.original == "c"


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_list_of_snapshots_is_a_value_error(output: bytes) -> None:
    try:
        parse_snapshots(output)
    except ValueError:
        return


def test_plain_words_about_a_file_are_understood() -> None:
    assert parse(b"/nope/a b does not exist, skipping") == ItemError(
        item="/nope/a b", during="archival", message="does not exist"
    )
    assert parse(b"ignoring error for /srv/big: write /x: no space left on device") == ItemError(
        item="/srv/big", during="restore", message="write /x: no space left on device"
    )


def test_progress_is_what_differs() -> None:
    seen: list[int] = []
    listening = Listening(lambda progress: seen.append(progress.bytes_done))
    status = b'{"message_type":"status","seconds_elapsed":%d,"bytes_done":%d}'
    assert [listening.hear(status % pair) for pair in ((1, 5), (2, 5), (3, 6))] == [
        Heard.PROGRESS,
        Heard.NOTHING,
        Heard.PROGRESS,
    ]
    assert seen == [5, 6]
    assert listening.hear(b"[0:05] 50.00%  1 / 2 packs copied") is Heard.PROGRESS
    assert listening.hear(b"[0:06] 50.00%  1 / 2 packs copied") is Heard.NOTHING
    assert listening.hear(b"[0:07] 100.00%  2 / 2 packs copied") is Heard.PROGRESS


def test_the_last_word_is_kept() -> None:
    listening = Listening()
    listening.hear(b'{"message_type":"summary","num_errors":3}')
    listening.hear(b"goodbye")
    assert listening.summary == CheckSummary(errors=3)

"""Lines, slots, events, notices, alarms and the lease go into their rows and come out of them unchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.history import Lease, Owner
from orchestrator.ledger.codec import UnreadableRowError, micros, owner_row
from orchestrator.ledger.rows import (
    alarm_of,
    alarm_row,
    event_of,
    event_row,
    lease_of,
    line_of,
    line_row,
    notice_of,
    notice_row,
    slot_of,
    slot_row,
)
from tests.orchestrator.ledger import build
from tests.orchestrator.ledger.build import NOW, later

Row = Mapping[str, Any]
KINDS: dict[str, tuple[Callable[..., dict[str, Any]], Callable[[Row], Any], Callable[[], Any]]] = {
    "line": (line_row, line_of, build.line),
    "slot": (slot_row, slot_of, build.closed),
    "event": (event_row, event_of, build.happening),
    "notice": (notice_row, notice_of, build.message),
    "alarm": (alarm_row, alarm_of, build.alarm),
}


@given(
    value=st.one_of(
        build.lines.map(lambda one: ("line", one)),
        build.slots.map(lambda one: ("slot", one)),
        build.happenings.map(lambda one: ("event", one)),
        build.messages.map(lambda one: ("notice", one)),
        build.alarms.map(lambda one: ("alarm", one)),
    )
)
def test_anything_comes_back_from_its_row_as_it_was(value: tuple[str, Any]) -> None:
    kind, one = value
    to_row, of_row, _ = KINDS[kind]
    row = to_row(one)
    assert of_row({"id": getattr(one, "id", 0), **row}) == one
    assert {type(column) for column in row.values()} <= {str, int, type(None)}
    assert all(
        column.encode() and "\x00" not in column for column in row.values() if isinstance(column, str) and column
    )


@given(owner=build.owners)
def test_a_lease_comes_back_as_it_was(owner: Owner) -> None:
    lease = Lease(owner=owner, term=3, beat=7, taken_at=NOW, beaten_at=later(seconds=9))
    row = {**owner_row(owner), "term": 3, "beat": 7, "taken_at": micros(NOW), "beaten_at": micros(later(seconds=9))}
    assert lease_of(row) == lease


@pytest.mark.parametrize(
    ("kind", "column", "value"),
    [
        ("line", "job", "nap"),
        ("line", "since", None),
        ("slot", "state", "asleep"),
        ("slot", "why_kind", "because"),
        ("slot", "due", "tomorrow"),
        ("event", "topic", "weather"),
        ("event", "severity", "loud"),
        ("notice", "state", "lost"),
        ("alarm", "raised_at", None),
    ],
)
def test_a_row_that_nobody_wrote_is_refused_by_its_id(kind: str, column: str, value: object) -> None:
    to_row, of_row, make = KINDS[kind]
    with pytest.raises(UnreadableRowError, match=f"{kind} 4711"):
        of_row({**to_row(make()), "id": 4711, column: value})


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("line", "since"),
        ("slot", "due"),
        ("slot", "until"),
        ("event", "at"),
        ("notice", "next_at"),
        ("alarm", "raised_at"),
    ],
)
def test_a_naive_moment_is_refused_everywhere(kind: str, field: str) -> None:
    to_row, _, make = KINDS[kind]
    with pytest.raises(ValueError, match="aware"):
        to_row(replace(make(), **{field: NOW.replace(tzinfo=None)}))

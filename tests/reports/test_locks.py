"""`tandem locks`: every lock with its maker, its age, what it blocks and what to do, in words and for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from jobs.failure import Failure, FailureKind
from jobs.history import Job, RunState
from jobs.lock import Here, Judged, Lock, Seen, Tie, judge
from jobs.policy import SiteName, TenantName, VaultName
from jobs.slot import Slot
from reports import render_json, terminal
from reports.document import Document
from reports.locks import locks
from tests.orchestrator.ledger.build import run, slot

NOW: Final = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
PLACE: Final = (TenantName("north"), VaultName("one"))
HERE: Final = Here(host="alpha", sees_all=True)
LOCK: Final = Lock(id="a1" * 32, time=NOW - 2 * HOUR, exclusive=False, host="alpha", user="backup", pid=4711)
RESTIC: Final = Seen(pid=4711, name="restic", started_at=NOW - 3 * HOUR, is_restic=True)
DEAD: Final = judge(PLACE, LOCK, HERE, [], [], NOW)
LIVE: Final = judge(PLACE, replace(LOCK, id="c3" * 32), HERE, [RESTIC], [], NOW)
UNREADABLE: Final = judge(
    PLACE, Lock(id="d4" * 32, time=None, exclusive=True, host="", user="", pid=0), HERE, [], [], NOW
)
AWAY: Final = (
    (TenantName("north"), VaultName("two")),
    Failure(kind=FailureKind.VAULT_UNREACHABLE, message="nobody answers"),
)


def document(*found: Judged, removals: Mapping[str, str] | None = None, waiting: tuple[Slot, ...] = ()) -> Document:
    return locks(found, [], removals or {}, waiting, {PLACE[1]: SiteName("primary")})


def row(judged: Judged, **more: Any) -> dict[str, dict[str, Any]]:
    """A lock's row as machines read it."""
    (found,) = json.loads(render_json.render(document(judged, **more)))["sections"][0]["tables"][0]["rows"]
    return dict(found)


@pytest.mark.parametrize(
    ("found", "removals", "text"),
    [
        ([], {}, "nothing is in the way"),
        ([LIVE], {}, "nothing is in the way"),
        ([DEAD, LIVE], {}, "1 lock in the way"),
        ([DEAD, UNREADABLE], {LOCK.id: ""}, "1 lock removed; 1 lock in the way"),
        ([DEAD, UNREADABLE], {LOCK.id: "the vault refuses"}, "2 locks in the way"),
        ([DEAD], {LOCK.id: ""}, "1 lock removed; nothing is in the way"),
    ],
)
def test_the_headline_says_what_was_done_and_what_is_left(
    found: list[Judged], removals: dict[str, str], text: str
) -> None:
    headline = document(*found, removals=removals).headline
    assert headline is not None
    assert (headline.text, headline.badge) == (text, True)


def test_who_could_not_be_asked_has_a_part_of_its_own_and_nobody_else_has() -> None:
    assert [part.key for part in document(DEAD).sections] == ["locks"]
    made = locks([], [AWAY], {}, (), {})
    assert [part.key for part in made.sections] == ["locks", "unasked"]
    assert made.headline is not None
    assert (made.headline.text, made.headline.badge) == ("1 repository could not be asked", True)
    assert "No repository holds a lock." in terminal.text(made, width=80)


def test_a_lock_is_known_by_its_repository_its_kind_and_its_reason() -> None:
    told = row(DEAD)
    assert told["repository"]["value"] == {"tenant": "north", "vault": "one", "site": "primary", "lock": LOCK.id}
    assert told["repository"]["details"] == ["at primary", "a1a1a1a1"]
    assert told["kind"]["value"] == {"kind": "dead", "why": DEAD.why, "exclusive": False}
    assert told["kind"]["details"] == ["shared", DEAD.why]
    assert row(UNREADABLE)["kind"]["details"] == ["exclusive", "the lock file cannot be read"]


# --- who made it --------------------------------------------------------------------------------------------------


def test_a_maker_is_named_as_far_as_the_lock_file_tells() -> None:
    told = row(DEAD)["maker"]
    assert (told["text"], told["details"]) == ("process 4711 on alpha", ["user backup", "no run of this ledger"])
    assert told["value"] == {"host": "alpha", "pid": 4711, "user": "backup", "run": None, "runs": ""}
    unknown = row(UNREADABLE)["maker"]
    assert (unknown["text"], unknown["details"]) == ("—", ["no run of this ledger"])


@pytest.mark.parametrize(
    ("state", "over", "words"),
    [
        (RunState.RUNNING, True, "its Tandem is dead"),
        (RunState.RUNNING, False, "running"),
        (RunState.FAILED, True, "failed"),
    ],
)
def test_a_run_that_may_have_made_it_is_named_with_how_it_stands(state: RunState, over: bool, words: str) -> None:
    made = run(started_at=NOW - 3 * HOUR, state=state, finished_at=None if state is RunState.RUNNING else NOW)
    told = row(replace(DEAD, ties=(Tie(run=made, over=over),)))["maker"]
    assert told["details"] == ["user backup", f"backup files, run {made.id} ({words})"]
    assert (told["value"]["run"], told["value"]["runs"]) == (made.id, made.id)


def test_of_several_runs_none_is_called_its_maker() -> None:
    both = tuple(Tie(run=run(number, started_at=NOW - 3 * HOUR), over=False) for number in (1, 2))
    value = row(replace(DEAD, ties=both))["maker"]["value"]
    assert (value["run"], value["runs"]) == (None, ", ".join(tie.run.id for tie in both))


# --- how old it is, what it blocks, what to do --------------------------------------------------------------------


def test_an_age_is_told_with_what_restic_makes_of_it() -> None:
    old, young = row(DEAD)["age"], row(judge(PLACE, replace(LOCK, time=NOW - HOUR / 4), HERE, [], [], NOW))["age"]
    assert (old["text"], old["details"]) == ("2 h", ["stale, as restic counts"])
    assert old["value"] == {"since": "2026-11-21T18:30:00Z", "seconds": 7200, "stale": True}
    assert (young["text"], young["details"], young["value"]["stale"]) == ("15 min", [], False)
    assert row(UNREADABLE)["age"]["text"] == "unknown"


def test_the_open_slots_that_it_blocks_are_counted_at_either_end_of_a_copy() -> None:
    waiting = (
        slot(1, job=Job.CHECK, vault="one"),
        slot(2, job=Job.RETENTION, vault="two", source_vault="one"),
        slot(3, job=Job.CHECK, vault="two"),
        slot(4, job=Job.CHECK, vault="one", tenant="south"),
        slot(5, job=Job.BACKUP, vault="one"),
    )
    told = row(DEAD, waiting=waiting)["blocks"]
    assert told["details"] == ["2 open slots"]
    assert told["value"] == ["check", "retention", waiting[0].id, waiting[1].id]
    assert row(DEAD)["blocks"]["details"] == []
    assert "backup" in row(UNREADABLE)["blocks"]["value"]


@pytest.mark.parametrize(
    ("judged", "removals", "text", "value"),
    [
        (DEAD, {}, "Remove it with: tandem locks --remove", "removable"),
        (LIVE, {}, "Leave it: its restic is at work.", "none"),
        (DEAD, {LOCK.id: ""}, "Removed.", "removed"),
        (DEAD, {LOCK.id: "the vault refuses"}, "Not removed: the vault refuses", "not-removed"),
    ],
)
def test_what_to_do_or_what_was_done(judged: Judged, removals: dict[str, str], text: str, value: str) -> None:
    told = row(judged, removals=removals)["next"]
    assert (told["text"], told["value"]) == (text, value)

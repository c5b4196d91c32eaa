"""What a lock stands for: each rule by an example, and that nothing is ever called dead on less than a proof."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.claim import HOLDS, Hold
from jobs.history import Job, RunState
from jobs.lock import (
    ADVICE,
    REMOVABLE,
    Here,
    Lock,
    LockKind,
    Seen,
    Tie,
    blocked_by,
    classify,
    judge,
    made_by,
    refreshed,
)
from jobs.policy import TenantName, VaultName
from tests.orchestrator.ledger.build import run

NOW: Final = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
MINUTE: Final = timedelta(minutes=1)
LOCK: Final = Lock(id="a" * 64, time=NOW - 3 * MINUTE, exclusive=False, host="alpha", user="backup", pid=4711)
HERE: Final = Here(host="alpha", sees_all=True)
INSIDE: Final = Here(host="alpha", sees_all=False)  # in a container, say
RESTIC: Final = Seen(pid=4711, name="restic", started_at=NOW - 4 * MINUTE, is_restic=True)
YOUNG: Final = replace(RESTIC, started_at=NOW - MINUTE)
OTHER: Final = Seen(pid=4711, name="sshd", started_at=NOW - MINUTE, is_restic=False)
ELDER: Final = replace(OTHER, started_at=NOW - 60 * MINUTE)
BACKUP: Final = run(started_at=NOW - 5 * MINUTE)
OVER: Final = Tie(run=replace(BACKUP, state=RunState.FAILED, finished_at=NOW - 2 * MINUTE), over=True)
UNDER_WAY: Final = Tie(run=BACKUP, over=False)


@pytest.mark.parametrize(
    ("here", "seen", "ties", "kind"),
    [
        pytest.param(HERE, [RESTIC], [], LockKind.LIVE, id="its restic runs"),
        pytest.param(INSIDE, [RESTIC], [], LockKind.LIVE, id="its restic runs, seen from a container"),
        pytest.param(HERE, [RESTIC], [OVER], LockKind.LIVE, id="a person's restic, while a run of ours ended"),
        pytest.param(HERE, [], [], LockKind.DEAD, id="no such process, and all can be seen"),
        pytest.param(HERE, [], [UNDER_WAY], LockKind.DEAD, id="restic was killed, and its Tandem lives"),
        pytest.param(INSIDE, [], [], LockKind.UNPROVEN, id="no such process, as far as a container sees"),
        pytest.param(INSIDE, [], [UNDER_WAY], LockKind.UNPROVEN, id="the run may be at work elsewhere"),
        pytest.param(INSIDE, [], [OVER], LockKind.DEAD, id="the ledger knows that its run is over"),
        pytest.param(INSIDE, [], [OVER, UNDER_WAY], LockKind.UNPROVEN, id="one of two runs is over"),
        pytest.param(HERE, [OTHER], [], LockKind.ORPHANED, id="a younger program has its number"),
        pytest.param(INSIDE, [OTHER], [], LockKind.UNPROVEN, id="the same, as far as a container sees"),
        pytest.param(INSIDE, [OTHER], [OVER], LockKind.ORPHANED, id="the same, and its run is over"),
        pytest.param(HERE, [ELDER], [], LockKind.UNPROVEN, id="an older program had its number: made elsewhere"),
        pytest.param(HERE, [ELDER], [OVER], LockKind.ORPHANED, id="the same, and its run is over"),
        pytest.param(HERE, [YOUNG], [], LockKind.UNPROVEN, id="a younger restic, or the clock was set forward"),
        pytest.param(HERE, [YOUNG], [OVER], LockKind.ORPHANED, id="a younger restic, and its run is over"),
        pytest.param(HERE, [OTHER, RESTIC], [], LockKind.LIVE, id="two namespaces, one holds its restic"),
    ],
)
def test_a_lock_of_this_host(here: Here, seen: list[Seen], ties: list[Tie], kind: LockKind) -> None:
    assert classify(LOCK, here, seen, ties, NOW)[0] is kind


def test_a_lock_of_another_host_is_foreign_whatever_is_seen_here() -> None:
    for seen in ([], [RESTIC], [OTHER]):
        kind, why = classify(replace(LOCK, host="beta"), HERE, seen, [OVER], NOW)
        assert kind is LockKind.FOREIGN
        assert "beta" in why


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(1, "may well be at work"), (6, "may well be at work"), (7, "every 5 min"), (30, "every 5 min"), (31, "stale")],
)
def test_a_foreign_lock_says_whether_it_is_still_refreshed(minutes: int, words: str) -> None:
    assert words in refreshed(replace(LOCK, time=NOW - minutes * MINUTE), NOW)


def test_a_lock_that_cannot_be_read_blocks_everything_and_proves_nothing() -> None:
    unreadable = Lock(id="b" * 64, time=None, exclusive=True, host="", user="", pid=0)
    judged = judge((TenantName("north"), VaultName("one")), unreadable, HERE, [], [], NOW)
    assert (judged.kind, judged.removable, judged.in_the_way) == (LockKind.UNPROVEN, False, True)
    assert judged.blocks == set(Job)


def test_a_shared_lock_blocks_what_needs_the_repository_alone_and_nothing_else() -> None:
    """Backups green, retention dead: that is why nobody notices."""
    assert blocked_by(LOCK) == {job for job, hold in HOLDS.items() if hold is Hold.EXCLUSIVE}
    assert Job.BACKUP not in blocked_by(LOCK)
    assert blocked_by(replace(LOCK, exclusive=True)) == set(Job)


def test_a_lock_is_tied_to_the_runs_during_which_it_was_written_on_that_repository() -> None:
    before = replace(BACKUP, id="1", started_at=NOW - 60 * MINUTE, finished_at=NOW - 50 * MINUTE)
    after = replace(BACKUP, id="2", started_at=NOW - 2 * MINUTE)
    elsewhere = replace(BACKUP, id="3", vault=VaultName("two"))
    copied_from = replace(BACKUP, id="4", vault=VaultName("two"), source_vault=VaultName("one"))
    found = made_by(LOCK, TenantName("north"), VaultName("one"), [after, copied_from, before, elsewhere, BACKUP])
    assert {each.id for each in found} == {BACKUP.id, "4"}


moments = st.integers(-120, 10).map(lambda minutes: NOW + minutes * MINUTE)
locks = st.builds(
    Lock,
    id=st.just("c" * 64),
    time=st.none() | moments,
    exclusive=st.booleans(),
    host=st.sampled_from(["alpha", "beta"]),
    user=st.just("u"),
    pid=st.just(4711),
)
processes = st.builds(
    Seen, pid=st.just(4711), name=st.sampled_from(["restic", "sh"]), started_at=moments, is_restic=st.booleans()
)
ties = st.builds(Tie, run=st.just(BACKUP), over=st.booleans())


@given(
    locks,
    st.builds(Here, host=st.just("alpha"), sees_all=st.booleans()),
    st.lists(processes, max_size=3),
    st.lists(ties, max_size=3),
)
def test_nothing_is_removed_that_may_live(lock: Lock, here: Here, seen: list[Seen], known: list[Tie]) -> None:
    judged = judge((TenantName("north"), VaultName("one")), lock, here, seen, known, NOW)
    assert judged.why
    assert ADVICE[judged.kind]
    assert judged.removable == (judged.kind in REMOVABLE)
    if judged.removable:
        assert lock.time is not None
        assert lock.host == here.host
        assert here.sees_all or (known and all(tie.over for tie in known))
        assert not any(process.is_restic and process.started_at <= lock.time for process in seen)
    if judged.age is not None:
        assert judged.age >= timedelta()


@given(locks, st.lists(processes, max_size=2), st.lists(ties, max_size=2))
def test_knowing_less_of_the_processes_never_proves_more(lock: Lock, seen: list[Seen], known: list[Tie]) -> None:
    inside, _ = classify(lock, INSIDE, seen, known, NOW)
    if inside in REMOVABLE:
        assert classify(lock, HERE, seen, known, NOW)[0] in REMOVABLE

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
    tie,
    told,
    undated,
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
FAR: Final = replace(ELDER, pid=90_210, started_at=NOW - 90 * MINUTE)  # which calls itself 4711 where it is
BACKUP: Final = run(started_at=NOW - 5 * MINUTE)
OVER: Final = Tie(run=replace(BACKUP, state=RunState.FAILED, finished_at=NOW - 2 * MINUTE), over=True)
UNDER_WAY: Final = Tie(run=BACKUP, over=False)
WAITED_FOR: Final = replace(OVER, ended=True)  # its restic was our own child


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
        pytest.param(INSIDE, [], [OVER], LockKind.UNPROVEN, id="so young, it may be a neighbour's by coincidence"),
        pytest.param(INSIDE, [], [WAITED_FOR], LockKind.DEAD, id="we waited for the end of its restic"),
        pytest.param(INSIDE, [], [WAITED_FOR, OVER], LockKind.UNPROVEN, id="one of two was waited for"),
        pytest.param(INSIDE, [], [OVER, UNDER_WAY], LockKind.UNPROVEN, id="one of two runs is over"),
        pytest.param(HERE, [OTHER], [], LockKind.ORPHANED, id="a younger program has its number"),
        pytest.param(INSIDE, [OTHER], [], LockKind.UNPROVEN, id="the same, as far as a container sees"),
        pytest.param(INSIDE, [OTHER], [OVER], LockKind.UNPROVEN, id="the same, its run is over, and it is young"),
        pytest.param(INSIDE, [OTHER], [WAITED_FOR], LockKind.ORPHANED, id="the same, and its restic was waited for"),
        pytest.param(INSIDE, [YOUNG], [OVER], LockKind.UNPROVEN, id="a young lock and a younger restic in a container"),
        pytest.param(HERE, [ELDER], [], LockKind.UNPROVEN, id="an older program had its number: made elsewhere"),
        pytest.param(HERE, [ELDER], [OVER], LockKind.UNPROVEN, id="the same: a restic by another name?"),
        pytest.param(HERE, [FAR], [], LockKind.UNPROVEN, id="an older program in a container has its number"),
        pytest.param(HERE, [FAR], [OVER], LockKind.ORPHANED, id="the same, and its run is over"),
        pytest.param(HERE, [FAR, ELDER], [OVER], LockKind.UNPROVEN, id="one of the two may be it"),
        pytest.param(HERE, [YOUNG], [], LockKind.UNPROVEN, id="a younger restic, or the clock was set forward"),
        pytest.param(HERE, [YOUNG], [OVER], LockKind.ORPHANED, id="a younger restic, and its run is over"),
        pytest.param(HERE, [OTHER, RESTIC], [], LockKind.LIVE, id="two namespaces, one holds its restic"),
    ],
)
def test_a_lock_of_this_host(here: Here, seen: list[Seen], ties: list[Tie], kind: LockKind) -> None:
    assert classify(LOCK, here, seen, ties, NOW)[0] is kind


@pytest.mark.parametrize(("minutes", "kind"), [(6, LockKind.UNPROVEN), (6.1, LockKind.DEAD)])
def test_in_a_container_the_end_of_a_run_is_proof_once_a_living_restic_had_refreshed_its_lock(
    minutes: float, kind: LockKind
) -> None:
    """Somebody's restic in a container of the same host name may have made it at the same time."""
    lock = replace(LOCK, time=NOW - minutes * MINUTE)
    found, why = classify(lock, INSIDE, [], [OVER], NOW)
    assert found is kind
    assert ("may well be at work" in why) is (kind is LockKind.UNPROVEN)


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
    assert judged.blocks == set(Job) - {Job.AUDIT, Job.REPORT}


def test_a_shared_lock_blocks_what_needs_the_repository_alone_and_nothing_else() -> None:
    """Backups green, retention dead: that is why nobody notices."""
    assert blocked_by(LOCK) == {job for job, hold in HOLDS.items() if hold is Hold.EXCLUSIVE}
    assert Job.BACKUP not in blocked_by(LOCK)
    assert blocked_by(replace(LOCK, exclusive=True)) == set(Job) - {Job.AUDIT, Job.REPORT}


def test_no_lock_is_tied_to_an_audit() -> None:
    """It takes none: that it is over says nothing of whoever made one meanwhile."""
    found = made_by(LOCK, TenantName("north"), VaultName("one"), [replace(BACKUP, job=Job.AUDIT), BACKUP])
    assert [each.job for each in found] == [Job.BACKUP]


def test_a_lock_is_tied_to_the_runs_during_which_it_was_written_on_that_repository() -> None:
    before = replace(BACKUP, id="1", started_at=NOW - 60 * MINUTE, finished_at=NOW - 50 * MINUTE)
    after = replace(BACKUP, id="2", started_at=NOW - 2 * MINUTE)
    elsewhere = replace(BACKUP, id="3", vault=VaultName("two"))
    copied_from = replace(BACKUP, id="4", vault=VaultName("two"), source_vault=VaultName("one"))
    found = made_by(LOCK, TenantName("north"), VaultName("one"), [after, copied_from, before, elsewhere, BACKUP])
    assert {each.id for each in found} == {BACKUP.id, "4"}


def test_who_holds_it_since_when_and_what_to_do_are_told_in_one_sentence_each() -> None:
    place = (TenantName("north"), VaultName("one"))
    foreign = told(judge(place, replace(LOCK, host="beta", time=NOW - 40 * MINUTE), HERE, [], [], NOW))
    for words in ("north@one", "beside others", "PID 4711 on beta by backup", "40 min", "restic itself", "Ask on that"):
        assert words in foreign
    living = told(judge(place, replace(LOCK, exclusive=True), HERE, [RESTIC], [], NOW))
    for words in ("exclusively", "PID 4711 on alpha", "live", "3 min", "Leave it"):
        assert words in living
    unreadable = told(judge(place, replace(LOCK, time=None, host="", user="", pid=0), HERE, [], [], NOW))
    assert unreadable.startswith("lock aaaaaaaa of north@one is unproven: the lock file cannot be read. Look where")


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
    Seen,
    pid=st.sampled_from([4711, 90_210]),
    name=st.sampled_from(["restic", "sh"]),
    started_at=moments,
    is_restic=st.booleans(),
)
ties = st.sampled_from([OVER, UNDER_WAY, WAITED_FOR])


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
        refreshable = NOW - lock.time <= 6 * MINUTE
        assert here.sees_all or (known and all(tie.ended if refreshable else tie.over for tie in known))
        assert not any(process.is_restic and process.started_at <= lock.time for process in seen)
        assert not any(process.pid == lock.pid and process.started_at <= lock.time for process in seen)
    if judged.age is not None:
        assert judged.age >= timedelta()


@given(locks, st.lists(processes, max_size=2), st.lists(ties, max_size=2))
def test_knowing_less_of_the_processes_never_proves_more(lock: Lock, seen: list[Seen], known: list[Tie]) -> None:
    inside, _ = classify(lock, INSIDE, seen, known, NOW)
    if inside in REMOVABLE:
        assert classify(lock, HERE, seen, known, NOW)[0] in REMOVABLE


@pytest.mark.parametrize(("minutes", "stale"), [(30, False), (31, True)])
def test_a_lock_is_stale_for_restic_once_it_is_older_than_half_an_hour(minutes: int, stale: bool) -> None:
    place = (TenantName("north"), VaultName("one"))
    judged = judge(place, replace(LOCK, time=NOW - minutes * MINUTE), HERE, [], [], NOW)
    assert judged.stale is stale
    assert not judge(place, replace(LOCK, time=None), HERE, [], [], NOW).stale


@pytest.mark.parametrize(
    ("began", "ended", "made_it"),
    [(4, 2, True), (3, 3, True), (3, None, True), (4, 3.5, False), (2.5, None, False)],
)
def test_a_run_made_it_if_its_time_lies_in_the_runs_span_ends_included(
    began: float, ended: float | None, made_it: bool
) -> None:
    """Minutes ago; the lock was made three minutes ago."""
    finished = None if ended is None else NOW - ended * MINUTE
    there = replace(BACKUP, started_at=NOW - began * MINUTE, finished_at=finished)
    assert bool(made_by(LOCK, TenantName("north"), VaultName("one"), [there])) is made_it


def test_the_runs_that_may_have_made_it_come_oldest_first() -> None:
    runs = [replace(BACKUP, id=str(minutes), started_at=NOW - minutes * MINUTE) for minutes in (4, 9, 6)]
    assert [each.id for each in made_by(LOCK, TenantName("north"), VaultName("one"), runs)] == ["9", "6", "4"]


@pytest.mark.parametrize(
    ("seen", "ties", "why"),
    [
        ([RESTIC, YOUNG], [], "restic runs as process 4711"),
        ([OTHER], [], "process 4711 is sshd by now"),
        ([replace(OTHER, name="")], [], "process 4711 is another program by now"),
        ([replace(OTHER, name="cron", started_at=NOW), OTHER], [], "process 4711 is sshd by now"),
        ([], [], "there is no process 4711"),
        ([], [OVER], "there is no process 4711, and the run that made it is over"),
        ([OTHER], [OVER], "process 4711 is sshd by now, and the run that made it is over"),
    ],
)
def test_the_reason_names_what_was_seen_and_what_is_known_of_the_run(
    seen: list[Seen], ties: list[Tie], why: str
) -> None:
    assert classify(LOCK, HERE, seen, ties, NOW)[1] == why


@pytest.mark.parametrize(("later", "kind"), [(0.1, LockKind.LIVE), (0.11, LockKind.UNPROVEN)])
def test_a_process_whose_start_is_told_in_hundredths_may_seem_to_be_a_little_younger_than_its_lock(
    later: float, kind: LockKind
) -> None:
    lock = replace(LOCK, time=NOW)
    process = replace(RESTIC, started_at=NOW + timedelta(seconds=later))
    assert classify(lock, HERE, [process], [], NOW + MINUTE)[0] is kind


@pytest.mark.parametrize(
    ("pids", "kind"), [({4711}, LockKind.DEAD), ({4712}, LockKind.UNPROVEN), ((), LockKind.UNPROVEN)]
)
def test_the_end_of_a_run_proves_at_once_only_the_death_of_its_own_children(pids: set[int], kind: LockKind) -> None:
    """In a container somebody's restic of another namespace may have written its lock while our run was under way."""
    tied = tie(BACKUP, LOCK, over=True, waited_for=pids)
    assert classify(LOCK, INSIDE, [], [tied], NOW)[0] is kind
    old = replace(LOCK, time=NOW - 7 * MINUTE)
    assert classify(old, INSIDE, [], [tie(BACKUP, old, over=True, waited_for=pids)], NOW)[0] is LockKind.DEAD
    assert not tie(BACKUP, LOCK, over=False, waited_for={4711}).ended


def test_while_the_clock_is_not_believed_no_death_is_proven() -> None:
    place = (TenantName("north"), VaultName("one"))
    dead, living = (undated(judge(place, LOCK, HERE, seen, [OVER], NOW)) for seen in ([], [RESTIC]))
    assert (dead.kind, dead.removable) == (LockKind.UNPROVEN, False)
    assert "there is no process 4711" in dead.why
    assert "the clock is not believed" in told(dead)
    assert living == judge(place, LOCK, HERE, [RESTIC], [OVER], NOW)

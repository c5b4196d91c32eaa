"""Who serves: one at a time, whatever the clocks say, and whoever stood still in the middle of something."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Final

import pytest

from jobs.dispatch import Closing
from jobs.failure import FailureKind
from jobs.history import Lease, Owner
from jobs.slot import SlotState
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Busy, Ledger, LedgerError, Superseded
from orchestrator.ledger.postgresql import _CONNECT
from orchestrator.serve.ownership import (
    BEAT_SECONDS,
    FENCE_SECONDS,
    STILL_SECONDS,
    Keeper,
    LeaseHeldError,
    acquire,
)
from targets.host import this_process
from targets.ports import Stop
from tests.orchestrator.ledger.build import DONE, NEWER, NOW, alarm, line, message, run, slot
from tests.orchestrator.ledger.children import PATIENCE, child, hear, processes
from tests.orchestrator.serve.clocks import HandClock
from tests.servers.postgresql import interruptible_server

ME: Final = this_process()
DEAD: Final = replace(ME, started="1")  # another process had our id before
ELSEWHERE: Final = Owner(host="beta", boot="another/pid:[1]", pid=4711, started="99")
HOUR: Final = timedelta(hours=1)


class Looks(HandClock):
    """A clock by which a sleep takes no time; `each` is what happens meanwhile, given how many sleeps there were."""

    def __init__(self, each: Callable[[int], None] = lambda _number: None) -> None:
        super().__init__()
        self.each, self.slept = each, 0

    def sleep(self, seconds: float, stop: Stop) -> bool:
        self.go(timedelta(seconds=seconds))
        self.slept += 1
        assert self.slept < 1_000, "it waits for ever"
        self.each(self.slept)
        return not stop.is_set()


def acquired(ledger: Ledger, clock: Clock, *, owner: Owner = ME, standby: bool = False) -> tuple[Lease, Lease | None]:
    taken = acquire(ledger, owner, clock, threading.Event(), standby=standby)
    assert taken is not None
    return taken


def stands_by(ledger: Ledger, clock: Looks, looks: int) -> list[str]:
    """Stand by for so many looks, in vain; what was told meanwhile."""
    stop, told = threading.Event(), list[str]()
    before = clock.each

    def each(number: int) -> None:
        before(number)
        if number >= looks:
            stop.set()

    clock.each = each
    assert acquire(ledger, ME, clock, stop, standby=True, waiting=told.append) is None
    return told


# --- taking it -------------------------------------------------------------------------------------------------------


def test_a_dead_holder_of_this_machine_is_followed_at_once_and_a_living_one_never(ledger: Ledger) -> None:
    former = ledger.take_lease(DEAD, NOW)
    lease, over = acquired(ledger, Looks())
    assert over == former
    assert (lease.owner, lease.term) == (ME, 2)
    other = replace(ME, pid=1)
    with pytest.raises(LeaseHeldError, match=f"process {ME.pid} on ") as refused:
        acquire(ledger, other, Looks(), threading.Event(), standby=False)
    assert refused.value.failure.kind is FailureKind.BUSY
    stop = threading.Event()
    clock = Looks(lambda number: stop.set() if number > STILL_SECONDS else None)
    assert acquire(ledger, other, clock, stop, standby=True) is None  # however long it does not beat
    assert ledger.lease() == lease


def test_a_holder_elsewhere_that_beats_is_refused_or_waited_for(ledger: Ledger) -> None:
    ledger.take_lease(ELSEWHERE, NOW)

    def beats(_number: int) -> None:
        lease = ledger.lease()
        assert lease is not None
        ledger.beat(lease, NOW)

    with pytest.raises(LeaseHeldError, match="process 4711 on beta"):
        acquire(ledger, ME, Looks(beats), threading.Event(), standby=False)
    told = stands_by(ledger, Looks(beats), 2 * int(STILL_SECONDS))
    assert set(told) == {"standing by: process 4711 on beta serves"}


@pytest.mark.parametrize("standby", [False, True])
@pytest.mark.parametrize("step", [timedelta(0), HOUR, -HOUR], ids=["steady", "forward", "back"])
def test_a_holder_elsewhere_that_stands_still_is_followed_by_our_monotonic_clock(
    ledger: Ledger, step: timedelta, standby: bool
) -> None:
    former = ledger.take_lease(ELSEWHERE, NOW)
    clock = Looks()

    def stepped(_number: int) -> None:
        clock.at += step

    clock.each = stepped
    began = clock.monotonic()
    lease, over = acquired(ledger, clock, standby=standby)
    assert (lease.term, over) == (2, former)
    assert STILL_SECONDS < clock.monotonic() - began <= STILL_SECONDS + 2 * BEAT_SECONDS


def test_one_beat_in_the_last_moment_is_a_sign_of_life(ledger: Ledger) -> None:
    former = ledger.take_lease(ELSEWHERE, NOW)

    def beats(number: int) -> None:
        if number == 59:
            ledger.beat(former, NOW)

    clock = Looks(beats)
    began = clock.monotonic()
    acquired(ledger, clock, standby=True)
    assert clock.monotonic() - began > 118 + STILL_SECONDS


def test_what_the_ledger_took_without_our_hearing_of_it_is_ours(ledger: Ledger) -> None:
    ledger.take_lease(ME, NOW)  # the connection broke before the answer came
    lease, _ = acquired(ledger, Looks(), standby=True)
    assert (lease.owner, lease.term) == (ME, 2)


def test_who_stands_by_goes_on_when_the_ledger_is_away_and_counts_no_time_that_it_did_not_see(tmp_path: Path) -> None:
    file, aside = tmp_path / "ledger.db", tmp_path / "aside"
    with Ledger.open(f"sqlite:///{file}", create=True, now=NOW) as ledger:
        ledger.take_lease(ELSEWHERE, NOW)

        def away(number: int) -> None:
            if number == 50:
                ledger.close()
                file.rename(aside)
                file.mkdir()
            if number == 80:
                file.rmdir()
                aside.rename(file)

        told = stands_by(ledger, Looks(away), 130)
        assert sum("the ledger" in words for words in told) == 30
        ledger.close()
        file.rename(aside)
        with pytest.raises(LedgerError):
            acquire(ledger, ME, Looks(), threading.Event(), standby=False)


def _give_in(stop: threading.Event, _words: str) -> None:
    stop.set()


def stand_by(answer: Connection, url: str, together: Barrier, rounds: int) -> None:
    """A child's life: in each round a dead holder is followed, at the same instant as the other child does."""
    granted = []
    with Ledger.open(url, create=False, now=NOW) as ledger:
        for number in range(rounds):
            stop, owner = threading.Event(), replace(this_process(), host=f"round {number}")
            together.wait(PATIENCE)
            taken = acquire(ledger, owner, Clock(), stop, standby=True, waiting=partial(_give_in, stop))
            together.wait(PATIENCE)
            granted.append(taken is not None)
            if taken is not None:
                ledger.take_lease(DEAD, NOW, over=taken[0])
    answer.send(granted)


def test_of_two_that_stand_by_exactly_one_follows(url: str) -> None:
    rounds = 8
    with Ledger.open(url, create=True, now=NOW) as ledger:
        ledger.take_lease(DEAD, NOW)
    together = processes().Barrier(2)
    with child(stand_by, url, together, rounds) as (_, one), child(stand_by, url, together, rounds) as (_, other):
        first, second = hear(one), hear(other)
    assert [a != b for a, b in zip(first, second, strict=True)] == [True] * rounds
    with Ledger.open(url, create=False, now=NOW) as ledger:
        lease = ledger.lease()
    assert lease is not None
    assert lease.term == 1 + 2 * rounds


# --- keeping it ------------------------------------------------------------------------------------------------------


def test_a_holder_beats_when_it_is_time_and_learns_that_another_follows(ledger: Ledger) -> None:
    clock = HandClock()
    keeper = Keeper(ledger, ledger.take_lease(ME, NOW), clock)
    for expected in (0, 0, 1, 1, 2):
        keeper.beat()
        assert keeper.lease.beat == expected
        clock.go(timedelta(seconds=BEAT_SECONDS * 0.7))
    ledger.take_lease(ELSEWHERE, NOW, over=ledger.lease())
    keeper.beat()  # it is not yet time
    keeper.doubt()
    with pytest.raises(Superseded, match="process 4711 on beta has it, in term 2"):
        keeper.beat()


class SlowClock(HandClock):
    """Whoever asks for the time finds, the next time, that so much has passed."""

    passes = 0.0

    def monotonic(self) -> float:
        self.seconds += self.passes
        return self.seconds - self.passes


def test_on_a_server_that_is_away_the_holder_gives_up_before_another_may_follow() -> None:
    with interruptible_server() as server:
        name = server.up.new_database()
        with Ledger.open(server.up.url(name), create=True, now=NOW) as ledger:
            clock = SlowClock()
            keeper = Keeper(ledger, ledger.take_lease(ME, NOW), clock)
            slow = Keeper(ledger, keeper.lease, clock)
            server.stop()
            for _ in range(int(FENCE_SECONDS / BEAT_SECONDS)):
                clock.go(timedelta(seconds=BEAT_SECONDS))
                with pytest.raises(LedgerError) as refused:
                    keeper.beat()
                assert refused.type is LedgerError
            clock.passes = 1.0  # the answer takes a second to come, and then it is too late
            with pytest.raises(Superseded, match="another serve may have taken over"):
                slow.beat()
            server.start()
            clock.go(timedelta(seconds=BEAT_SECONDS))
            keeper.beat()
            assert keeper.lease.beat == 1


def test_another_follows_later_than_the_holder_has_given_up() -> None:
    unanswered = float(_CONNECT["connect_timeout"])  # a sign of life that is not taken, and what a beat brings besides
    assert FENCE_SECONDS + 2 * unanswered < STILL_SECONDS


def test_on_a_file_a_holder_that_cannot_write_stays_the_holder(tmp_path: Path) -> None:
    """Nobody else can write there either; and a process of this machine is seen to live."""
    file = tmp_path / "ledger.db"
    with Ledger.open(f"sqlite:///{file}", create=True, now=NOW) as ledger:
        clock = HandClock()
        keeper = Keeper(ledger, ledger.take_lease(ME, NOW), clock)
        ledger.close()
        file.rename(tmp_path / "aside")
        file.mkdir()
        for _ in range(30):
            clock.go(timedelta(seconds=BEAT_SECONDS))
            with pytest.raises(LedgerError) as refused:
                keeper.beat()
            assert refused.type is LedgerError
        file.rmdir()
        (tmp_path / "aside").rename(file)
        clock.go(timedelta(seconds=BEAT_SECONDS))
        keeper.beat()
        keeper.drop()
        assert ledger.lease() is None


# --- who stood still in the middle of something ----------------------------------------------------------------------


@pytest.fixture
def follower(url: str, ledger: Ledger) -> Iterator[Ledger]:
    """Another process's view of the ledger."""
    with Ledger.open(url, create=False, now=NOW) as opened:
        yield opened


DECISIONS: Final[dict[str, Callable[[Ledger], object]]] = {
    "births": lambda ledger: ledger.born([slot(2)], {}),
    "the end of a slot": lambda ledger: ledger.close_slots(
        [Closing(slot=slot(1), state=SlotState.SKIPPED, why=NEWER)], NOW
    ),
    "lines": lambda ledger: ledger.put_lines([], [line("more")]),
    "a claim": lambda ledger: ledger.claim(run(2), slot=slot(1).id),
    "notices": lambda ledger: ledger.queue([message(1)], 0),
    "alarms": lambda ledger: ledger.set_alarms([alarm()], [], NOW),
}


@pytest.mark.parametrize("decide", DECISIONS.values(), ids=DECISIONS)
def test_what_is_decided_under_a_lease_that_is_anothers_is_refused(
    ledger: Ledger, follower: Ledger, decide: Callable[[Ledger], object]
) -> None:
    ledger.put_lines([], [line()])
    ledger.born([slot(1)], {})
    lease = ledger.take_lease(DEAD, NOW)
    mine = run(1, policy="other", owner=DEAD)
    ledger.claim(mine)
    follower.take_lease(ME, NOW, over=lease)  # while this one stood still between its beat and what it then writes
    before = (ledger.slots(), ledger.lines(), ledger.open_runs(), ledger.notices(), ledger.alarms())
    with pytest.raises(Superseded, match="the lease of term 1 is another's by now"):
        decide(ledger)
    assert (ledger.slots(), ledger.lines(), ledger.open_runs(), ledger.notices(), ledger.alarms()) == before
    ledger.finish(mine.id, DEAD, DONE, NOW)  # what became of its own run, nobody else knows
    ledger.drop_lease(lease)
    assert follower.lease() is not None
    decide(follower)


@pytest.mark.parametrize("decide", DECISIONS.values(), ids=DECISIONS)
def test_who_never_had_the_lease_or_gave_it_back_is_not_asked_for_it(
    ledger: Ledger, follower: Ledger, decide: Callable[[Ledger], object]
) -> None:
    ledger.put_lines([], [line()])
    ledger.born([slot(1)], {})
    ledger.drop_lease(ledger.take_lease(DEAD, NOW))
    follower.take_lease(ELSEWHERE, NOW)
    decide(ledger)


def test_a_lease_that_is_refused_gives_no_right(ledger: Ledger, follower: Ledger) -> None:
    ledger.take_lease(ME, NOW)
    with pytest.raises(Busy):
        follower.take_lease(ELSEWHERE, NOW)
    ledger.born([slot(1)], {})
    assert len(follower.slots()) == 1

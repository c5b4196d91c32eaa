"""Green only while the scheduler goes round and nothing is wrong."""

from __future__ import annotations

from orchestrator.serve.health import Health


def test_it_is_red_before_the_first_tick_and_when_the_scheduler_is_stuck() -> None:
    health = Health()
    assert health.report(0.0) == (False, ("scheduler: it has not begun",))
    assert health.tick_age(0.0) is None
    health.ticked(100.0)
    assert health.report(160.0) == (True, ())
    assert health.report(161.0) == (False, ("scheduler: stuck, its last tick was 1 min 1 s ago",))
    assert health.tick_age(161.0) == 61
    health.ticked(161.0)
    assert health.report(161.0) == (True, ())


def test_troubles_are_named_until_they_end() -> None:
    health = Health()
    health.ticked(0.0)
    assert health.trouble("ledger", "it refuses:\nthe disk is full")
    assert not health.trouble("ledger", "it refuses: the disk is full")
    assert health.trouble("clock", "it was set back")
    assert health.report(0.0) == (False, ("clock: it was set back", "ledger: it refuses: the disk is full"))
    assert health.trouble("ledger", None)
    assert not health.trouble("ledger", None)
    assert health.trouble("clock", None)
    assert health.report(0.0) == (True, ())


def test_somebody_may_ask_later() -> None:
    health = Health()
    now = [0.0]
    well = health.well(lambda: now[0])
    assert not well()
    health.ticked(0.0)
    assert well()
    now[0] = 100.0
    assert not well()


def test_what_goes_round_beside_the_scheduler_is_missed_when_it_hangs() -> None:
    now = [1000.0]
    health = Health(machine=lambda: now[0])
    health.ticked(0.0)
    health.went_round("watching")
    now[0] = 1300.0
    assert health.report(0.0) == (True, ())
    now[0] = 1301.0
    assert health.report(0.0) == (False, ("watching: stuck, its last round was 5 min 1 s ago",))
    health.went_round("watching", 200.0)
    now[0] += 600
    assert health.report(0.0) == (True, ())
    now[0] += 1
    assert health.report(0.0) == (False, ("watching: stuck, its last round was 10 min 1 s ago",))

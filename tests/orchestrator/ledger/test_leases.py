"""The lease: one holder at a time, taken over only as it was seen, and no term used twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.history import Lease, Owner
from orchestrator.ledger.ledger import Busy, Ledger, Superseded
from tests.orchestrator.ledger.build import NOW, OWNER, STRANGER, later

FIRST = Lease(owner=OWNER, term=1, beat=0, taken_at=NOW, beaten_at=NOW)


def test_nobody_has_the_lease_until_somebody_takes_it(ledger: Ledger) -> None:
    assert ledger.lease() is None
    assert ledger.take_lease(OWNER, NOW) == FIRST
    assert ledger.lease() == FIRST


def test_a_holder_counts_up_its_signs_of_life(ledger: Ledger) -> None:
    lease = ledger.take_lease(OWNER, NOW)
    for number in (1, 2):
        lease = ledger.beat(lease, later(seconds=20 * number))
        assert lease == replace(FIRST, beat=number, beaten_at=later(seconds=20 * number))
        assert ledger.lease() == lease
    assert ledger.beat(FIRST, later(hours=1)).beat == 3  # by what is there, not by what the caller remembers


def test_a_lease_that_is_held_is_refused_and_its_holder_named(ledger: Ledger) -> None:
    held = ledger.beat(ledger.take_lease(replace(OWNER, host="beta"), NOW), later(seconds=20))
    for owner in (STRANGER, OWNER, held.owner):
        with pytest.raises(Busy) as refusal:
            ledger.take_lease(owner, later(hours=1))
        assert refusal.value.other == held
        for word in ("4711", "beta", "20:30:00 UTC", "20:30:20 UTC"):
            assert word in refusal.value.failure.message
    assert ledger.lease() == held


def test_a_holder_seen_dead_is_followed_and_learns_of_it(ledger: Ledger) -> None:
    dead = ledger.beat(ledger.take_lease(OWNER, NOW), later(seconds=20))
    taken = ledger.take_lease(STRANGER, later(hours=1), over=dead)
    assert taken == Lease(owner=STRANGER, term=2, beat=0, taken_at=later(hours=1), beaten_at=later(hours=1))
    with pytest.raises(Superseded, match="process 4711 on alpha has it, in term 2"):
        ledger.beat(dead, later(hours=2))
    ledger.drop_lease(dead)  # what is another's is not let go of
    assert ledger.lease() == taken


@pytest.mark.parametrize("sign", ["a beat", "another owner"])
def test_a_holder_that_showed_life_since_is_not_followed(ledger: Ledger, sign: str) -> None:
    seen = ledger.take_lease(OWNER, NOW)
    if sign == "a beat":
        now = ledger.beat(seen, later(seconds=20))
    else:
        now = ledger.take_lease(replace(OWNER, host="beta"), later(seconds=20), over=seen)
    with pytest.raises(Busy):
        ledger.take_lease(STRANGER, later(hours=1), over=seen)
    assert ledger.lease() == now


def test_a_lease_that_was_let_go_is_free_and_its_term_is_over(ledger: Ledger) -> None:
    first = ledger.take_lease(OWNER, NOW)
    ledger.drop_lease(first)
    ledger.drop_lease(first)
    assert ledger.lease() is None
    with pytest.raises(Superseded, match="nobody has it"):
        ledger.beat(first, later(seconds=20))
    second = ledger.take_lease(STRANGER, later(hours=1), over=first)  # seen before it was let go: no matter
    assert (second.owner, second.term, second.beat) == (STRANGER, 2, 0)
    with pytest.raises(Superseded):
        ledger.beat(first, later(hours=2))


def test_an_owner_may_be_called_anything(ledger: Ledger) -> None:
    owner = Owner(host="\udcff\x00é", boot="", pid=2**31, started="\\u0041")
    assert ledger.take_lease(owner, NOW).owner == owner

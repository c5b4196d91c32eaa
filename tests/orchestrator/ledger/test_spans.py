"""What ended in spans that follow each other: every slot in one of them, whatever time its end bears."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from jobs.dispatch import Closing
from jobs.event import of_slot
from jobs.policy import PolicyName, TenantName
from jobs.slot import SlotState
from orchestrator.ledger.ledger import Ledger
from tests.orchestrator.ledger.build import NEWER, later, slot


def ends(ledger: Ledger, number: int, state: SlotState, at: datetime) -> None:
    """A slot of one of two tenants ends, and is told of; of every third line two at once."""
    tenant = TenantName("south" if number % 2 else "north")
    keys = [f"{number}", f"{number}+"][: 1 if number % 3 else 2]
    made = [slot(number, tenant=tenant, policy=PolicyName(f"of-{tenant}"), key=key) for key in keys]
    ledger.born(made, {})
    closings = [Closing(slot=each, state=state, why=NEWER) for each in made]
    ledger.close_slots(closings, at, [of_slot(each, state, NEWER, at) for each in made])


def test_spans_in_a_row_have_every_end_once(ledger: Ledger) -> None:
    """Ends come on record in any order of their times; spans end between any two, also of one transaction."""
    rng = random.Random(20261121)
    states = [SlotState.MISSED, SlotState.COALESCED, SlotState.BLOCKED]
    ended: Counter[SlotState] = Counter()
    counted: dict[str | None, Counter[SlotState]] = {None: Counter(), "north": Counter(), "south": Counter()}
    since, after = later(hours=-1), 0
    for number in range(60):
        state = rng.choice(states)
        ends(ledger, number, state, later(hours=rng.randrange(number // 3 + 1), microseconds=number))
        ended[state] += 1 if number % 3 else 2
        if rng.random() < 0.2 or number == 59:
            until = max(since, later(hours=number // 3 + (number == 59)))
            through = ledger.newest_event() - (rng.randrange(2) if number < 59 else 0)
            for tenant, counts in counted.items():
                whose = None if tenant is None else [TenantName(tenant)]
                counts.update(ledger.span(since, until, after=after, through=through, tenants=whose).ended)
            since, after = until, through
    assert counted[None] == counted["north"] + counted["south"] == ended


def test_a_first_span_has_nothing_of_before_and_no_tenant_has_nothing(ledger: Ledger) -> None:
    ends(ledger, 1, SlotState.MISSED, later())
    ends(ledger, 2, SlotState.MISSED, later(hours=3))
    newest = ledger.newest_event()
    first: Mapping[SlotState, int] = ledger.span(later(hours=1), later(hours=4), after=newest, through=newest).ended
    assert first == {SlotState.MISSED: 1}
    assert ledger.span(later(), later(hours=4), after=0, through=newest, tenants=[]).ended == {}


def test_what_is_open_still_is_counted_with_the_oldest(ledger: Ledger) -> None:
    ledger.born([slot(3), slot(2, tenant=TenantName("south")), slot(4)], {})
    ends(ledger, 1, SlotState.MISSED, later())
    found = ledger.span(later(), later(hours=9), after=0, through=1)
    assert (found.still_open, found.oldest) == (3, later(hours=2))
    north = ledger.span(later(), later(hours=9), after=0, through=1, tenants=[TenantName("north")])
    assert (north.still_open, north.oldest) == (2, later(hours=3))
    nobody = ledger.span(later(), later(hours=9), after=0, through=1, tenants=[TenantName("west")])
    assert (nobody.still_open, nobody.oldest) == (0, None)

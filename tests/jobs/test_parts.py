"""What ends at once, said of one policy after the other, is what dispatch says of all of them together."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.dispatch import Concurrency, dispatch, over
from jobs.policy import Policy
from jobs.slot import OPEN, Slot
from tests.jobs.making import DAY, MINUTE
from tests.jobs.test_conservation import Act, acts, limits, policies
from tests.jobs.world import World


def open_slots(world: World) -> list[Slot]:
    return [slot for slot in world.slots.values() if slot.state in OPEN]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(policies, min_size=1, max_size=4, unique_by=lambda each: each.name),
    limits,
    st.lists(acts, max_size=12),
    st.integers(0, 5000),
)
def test_policy_by_policy_or_all_at_once_the_same_slots_end_and_start(
    first: list[Policy], most: Concurrency, story: list[Act], minutes: int
) -> None:
    world = World(first, most)
    world.tick()
    for act in story:
        act(world)
        world.tick()
    world.now += minutes * MINUTE + DAY
    world.births()
    whole = dispatch(open_slots(world), world.situation(), world.now)
    ended = {}
    for name in sorted({slot.policy for slot in open_slots(world)}):
        theirs = [slot for slot in open_slots(world) if slot.policy == name]
        for closing in over(theirs, world.situation(), world.now):
            ended[closing.slot.id] = closing.state
            world.change(closing.slot, closing.state, why=closing.why)
    rest = dispatch(open_slots(world), world.situation(), world.now)
    ended |= {closing.slot.id: closing.state for closing in rest.closings}
    assert ended == {closing.slot.id: closing.state for closing in whole.closings}
    assert [start.slot.id for start in rest.starts] == [start.slot.id for start in whole.starts]
    assert {wait.slot.id for wait in rest.waits} == {wait.slot.id for wait in whole.waits}

"""Which of a policy's points is the newer: one order, the true one, also of two that restic dates alike."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.policy import PolicyName, Retention
from jobs.retention import decide, points
from jobs.snapshot import Snapshot, age, tags
from orchestrator.clock import run_id
from orchestrator.work.points import chosen
from targets.restic.messages import parse_snapshots

FILES: Final = PolicyName("files")
START: Final = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
# When each backup began, oldest first: some share a second, none a microsecond (of one policy one runs at a time).
beginnings = st.lists(st.integers(0, 3_000_000), min_size=1, max_size=12, unique=True).map(sorted)
noises = st.integers(0, 2**32 - 1)


def taken(microseconds: int, noise: int, identity: int) -> Snapshot:
    """The data of a backup that began then: restic is told the second, and its id is chance."""
    began = START + timedelta(microseconds=microseconds)
    run = run_id(began, noise.to_bytes(4))
    marks = tags(policy=FILES, run=run, content="data")
    return Snapshot(id=f"{identity:064x}", time=began.replace(microsecond=0), tree="t", tags=marks)


@st.composite
def histories(draw: st.DrawFn) -> list[Snapshot]:
    """What backups left, in the order in which they began."""
    begun = draw(beginnings)
    identities = draw(st.lists(st.integers(0, 2**64), min_size=len(begun), max_size=len(begun), unique=True))
    return [taken(began, draw(noises), identity) for began, identity in zip(begun, identities, strict=True)]


@given(histories(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_choosing_listing_and_retention_go_by_the_order_in_which_the_backups_began(
    history: list[Snapshot], chance: random.Random
) -> None:
    copies = [replace(each, id=f"{chance.getrandbits(256):064x}", original=each.id) for each in history]
    for site in (history, copies):
        mixed = list(site)
        chance.shuffle(mixed)
        assert chosen(mixed, "minfopra@primary") == site[-1]
        assert [each.id for each in parse_snapshots(_told(mixed))] == [each.id for each in site]
        now = START + timedelta(days=1)
        kept = decide(points(mixed, policy=FILES), Retention(last=99, minimum=1), now=now, zone=UTC).keep
        assert [each.point.snapshots[0] for each in reversed(kept)] == site
        (last,) = decide(points(mixed, policy=FILES), Retention(last=1, minimum=1), now=now, zone=UTC).keep
        assert last.point.snapshots == (site[-1],)


def _told(snapshots: list[Snapshot]) -> bytes:
    """As restic prints them."""
    return json.dumps(
        [{"id": each.id, "time": each.time.isoformat(), "tree": each.tree, "tags": each.tags} for each in snapshots]
    ).encode()


@given(histories())
@settings(deadline=None, max_examples=20)
def test_a_snapshot_of_nobodys_has_its_place_too(history: list[Snapshot]) -> None:
    foreign = replace(history[0], tags=())
    assert sorted([*history, foreign], key=age)[0] == foreign

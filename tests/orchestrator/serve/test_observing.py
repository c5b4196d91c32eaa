"""What monitoring is shown of a real ledger."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from jobs.event import Severity
from jobs.failure import Failure, FailureKind
from jobs.history import Job, Outcome, RunState
from jobs.notice import Notice, NoticeState
from jobs.policy import PolicyName
from orchestrator.ledger.ledger import Ledger
from orchestrator.serve.health import Health
from orchestrator.serve.observing import Observing
from reports.metrics import ChannelFacts
from targets.errors import TargetError
from tests.orchestrator.ledger import build
from tests.orchestrator.serve.clocks import START, HandClock

HOUR = timedelta(hours=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", create=True, now=START) as made:
        yield made


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def observing(ledger: Ledger, clock: HandClock) -> Observing:
    return Observing(ledger=ledger, clock=clock, health=Health(), version="0.1.0", channels=lambda: ("ops",))


def test_an_empty_ledger_is_shown_as_what_it_is(observing: Observing) -> None:
    facts = observing.facts()
    assert (tuple(facts.jobs), facts.healthy, facts.tick_age, facts.lease_term) == ((), False, None, None)
    assert facts.channels == [ChannelFacts(channel="ops")]
    assert "tandem_healthy 0.0" in observing.metrics().text


def test_lines_that_never_ran_and_runs_of_any_kind_are_shown(
    ledger: Ledger, observing: Observing, clock: HandClock
) -> None:
    (line,) = ledger.put_lines([], [build.line()])
    slot = build.slot(line=line.id)
    ledger.born([slot], {})
    failed = Outcome(state=RunState.FAILED, failure=Failure(kind=FailureKind.KILLED, message="m"))
    by_hand = build.run(policy="by-hand", job=Job.CHECK)
    ledger.claim(by_hand)
    ledger.finish(by_hand.id, by_hand.owner, failed, by_hand.started_at + HOUR)
    clock.at = max(slot.due, by_hand.started_at) + 2 * HOUR
    observing.adopt([line.policy, PolicyName("by-hand")])
    facts = observing.facts()
    shown = {(each.policy, each.job): each for each in facts.jobs}
    assert shown[line.policy, line.job].last is None
    last = shown[PolicyName("by-hand"), Job.CHECK].last
    assert last is not None
    assert last.state is RunState.FAILED
    assert shown[PolicyName("by-hand"), Job.CHECK].last_good is None
    assert facts.waiting == {slot.job: [slot.due]}
    observing.adopt([line.policy])
    assert {each.policy for each in observing.facts().jobs} == {line.policy}  # of a policy that has gone, nothing


@pytest.mark.parametrize("many", [2, 101])
def test_the_last_good_run_is_known_behind_a_bad_one(ledger: Ledger, observing: Observing, many: int) -> None:
    """Also where there are more policies than are asked for at once."""
    for number in range(many):
        policy = PolicyName(f"p{number}")
        ledger.record(build.over(2 * number, policy=policy))
        ledger.record(build.over(2 * number + 1, policy=policy, state=RunState.BLOCKED))
    observing.adopt(PolicyName(f"p{number}") for number in range(many))
    facts = tuple(observing.facts().jobs)
    assert len(facts) == many
    for each in facts:
        assert each.last is not None
        assert each.last.state is RunState.BLOCKED
        assert each.last_good == each.last.ended_at - timedelta(seconds=1)


def test_notices_are_counted_by_channel(ledger: Ledger, observing: Observing) -> None:
    def notice(channel: str, state: NoticeState, age: timedelta) -> Notice:
        return Notice(
            channel=channel,
            made_at=START - age,
            key="k",
            severity=Severity.INFO,
            subject="s",
            body="b",
            state=state,
            next_at=START,
            delivered_at=START if state is NoticeState.DELIVERED else None,
        )

    ledger.queue(
        [
            notice("ops", NoticeState.PENDING, HOUR),
            notice("ops", NoticeState.PENDING, 2 * HOUR),
            notice("ops", NoticeState.DELIVERED, 3 * HOUR),
            notice("ops", NoticeState.GIVEN_UP, 4 * HOUR),
            notice("gone", NoticeState.GIVEN_UP, HOUR),
        ],
        0,
    )
    assert observing.facts().channels == [
        ChannelFacts(channel="ops", pending=2, oldest=START - 2 * HOUR, given_up=1),
        ChannelFacts(channel="gone", given_up=1),
    ]


def test_the_text_is_kept_for_a_little_while(observing: Observing, clock: HandClock) -> None:
    first = observing.metrics()
    clock.go(timedelta(seconds=4))
    assert observing.metrics() == first
    clock.go(timedelta(seconds=2))
    assert observing.metrics() != first


def test_the_textfile_is_replaced_whole_and_others_may_read_it(
    observing: Observing, clock: HandClock, tmp_path: Path
) -> None:
    file = tmp_path / "node" / "tandem.prom"
    with pytest.raises(TargetError, match="cannot be written there") as caught:
        observing.write(file)
    assert caught.value.kind is FailureKind.TARGET_UNWRITABLE
    file.parent.mkdir()
    observing.write(file)
    before = file.stat().st_ino
    mask = os.umask(0o077)
    try:
        clock.go(HOUR)
        observing.write(file)
    finally:
        os.umask(mask)
    assert file.read_text() == observing.metrics().text
    assert file.stat().st_ino != before
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [path.name for path in file.parent.iterdir()] == ["tandem.prom"]

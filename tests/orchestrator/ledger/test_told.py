"""Events, notices and alarms on both databases: in order, each once, and none lost between writers and readers."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from jobs.event import Topic
from jobs.failure import Failure, FailureKind
from jobs.history import Outcome, RunState
from jobs.notice import Deliveries, NoticeState
from jobs.policy import PolicyName, TenantName
from orchestrator.ledger.ledger import Ledger, Superseded
from tests.orchestrator.ledger.build import NOW, alarm, happening, later, message, run

# --- events -----------------------------------------------------------------------------------------------------------


def test_events_come_back_in_the_order_in_which_they_were_written(ledger: Ledger) -> None:
    late_news = [happening(9), happening(1, text="\udcff\x00 é", tenant=None, policy=None), happening(5, id=4711)]
    ledger.add_events(late_news[:1])
    ledger.add_events(late_news[1:])
    found = ledger.events()
    assert [replace(event, id=0) for event in found] == [replace(event, id=0) for event in late_news]
    assert [event.id for event in found] == sorted({event.id for event in found})
    assert found[0].id > 0


def test_events_are_found_by_what_they_are(ledger: Ledger) -> None:
    ledger.add_events(
        happening(
            number,
            tenant=TenantName("south") if number % 2 else None,
            topic=Topic.MISSED if number % 3 else Topic.FAILED,
        )
        for number in range(12)
    )
    every = ledger.events()
    assert ledger.events(every[7].id) == every[8:]
    assert ledger.events(every[-1].id) == ()
    assert ledger.events(every[3].id, limit=2) == every[4:6]
    assert ledger.events(since=later(seconds=3), until=later(seconds=6)) == every[3:6]
    assert ledger.events(tenant="south") == every[1::2]
    assert ledger.events(topics=[Topic.FAILED]) == every[::3]
    assert ledger.events(topics=[]) == ()


# --- the outbox -------------------------------------------------------------------------------------------------------


def test_notices_are_queued_together_with_how_far_was_told(ledger: Ledger) -> None:
    assert ledger.told_until() == 0
    ledger.queue([message(1, subject="\udcff\x00", tenant=None), message(2)], 7)
    assert ledger.told_until() == 7
    found = ledger.notices()
    assert [replace(one, id=0) for one in found] == [message(1, subject="\udcff\x00", tenant=None), message(2)]
    ledger.queue([], 9, seen=7)
    ledger.queue([message(3)], 9, seen=9)  # such as a digest: nothing new has happened
    assert (ledger.told_until(), len(ledger.notices())) == (9, 3)


@pytest.mark.parametrize(("until", "seen"), [(6, None), (9, 5), (9, 8)])
def test_what_another_process_has_told_is_not_told_again(ledger: Ledger, until: int, seen: int | None) -> None:
    ledger.queue([message(1)], 7)
    with pytest.raises(Superseded, match="event 7"):
        ledger.queue([message(2)], until, seen=seen)
    assert (ledger.told_until(), len(ledger.notices())) == (7, 1)


def test_a_notice_is_pending_from_its_moment_on_until_it_is_settled(ledger: Ledger) -> None:
    ledger.queue([message(2), message(1), message(3)], 3)
    second, first, third = ledger.notices()
    assert ledger.pending_notices(later(seconds=2)) == (first, second)
    told = replace(second, state=NoticeState.DELIVERED, attempts=1, delivered_at=later(seconds=9))
    given_up = replace(third, state=NoticeState.GIVEN_UP, attempts=8, error="no answer")
    waiting = replace(first, attempts=1, next_at=later(minutes=5), error="no answer \udcff")
    ledger.settle_each([waiting, told, given_up])
    assert ledger.pending_notices(later(minutes=4)) == ()
    assert ledger.pending_notices(later(minutes=5)) == (waiting,)
    assert ledger.notices() == (told, waiting, given_up)
    assert ledger.notices(later(seconds=2), later(seconds=3)) == ledger.notices()[:1]


@pytest.mark.parametrize("state", [NoticeState.DELIVERED, NoticeState.GIVEN_UP])
def test_a_notice_is_settled_once(ledger: Ledger, state: NoticeState) -> None:
    ledger.queue([message()], 1)
    (one,) = ledger.notices()
    delivered_at = NOW if state is NoticeState.DELIVERED else None
    ledger.settle_each([replace(one, state=state, attempts=1, delivered_at=delivered_at)])
    settled = ledger.notices()
    ledger.settle_each([replace(one, attempts=2), replace(one, id=one.id + 1, attempts=2)])
    assert ledger.notices() == settled


def test_deliveries_are_settled_together_with_what_follows_from_them(ledger: Ledger) -> None:
    ledger.queue([message(1), message(2)], 2)
    first, second = ledger.notices()
    settled = [
        replace(first, state=NoticeState.DELIVERED, attempts=1, delivered_at=later(seconds=9)),
        replace(second, state=NoticeState.GIVEN_UP, attempts=9, error="no answer"),
    ]
    ledger.settle_each(settled, [happening()])
    assert list(ledger.notices()) == settled
    ledger.settle_each([replace(first, attempts=4711)])  # no longer pending
    assert list(ledger.notices()) == settled
    assert [event.text for event in ledger.events()] == ["event 1"]


def test_what_became_of_the_notices_of_a_time_stays_what_it_was_at_its_end(ledger: Ledger) -> None:
    """Hours 0 to 9, one notice an hour; what is settled after an hour does not change what is said of it."""
    made = [message(number, made_at=later(hours=number), next_at=later(hours=number)) for number in range(10)]
    ledger.queue([*made, message(20, channel="chat", made_at=later(hours=3), tenant=None)], 1)
    at_once, late, put_off, lost, *others = ledger.notices()
    gone = NoticeState.DELIVERED
    ledger.settle_each(
        [
            replace(at_once, state=gone, delivered_at=later(hours=1)),
            replace(late, state=gone, attempts=2, error="no answer", delivered_at=later(hours=4)),
            replace(put_off, state=gone, error="no answer", delivered_at=later(hours=7)),
        ]
    )
    (chat, before) = ledger.deliveries(NOW, later(hours=5))
    assert chat == Deliveries(channel="chat", made=1, waiting=1)
    assert before == Deliveries(channel="mail", made=5, at_once=1, late=1, waiting=3, longest=later(hours=3) - NOW)
    ledger.settle_each(
        [replace(lost, state=NoticeState.GIVEN_UP, attempts=9, next_at=later(hours=6), error="no answer")]
    )
    ledger.settle_each(replace(each, state=gone, delivered_at=later(hours=8)) for each in others)
    assert ledger.deliveries(NOW, later(hours=5)) == (chat, before)
    _, after = ledger.deliveries(later(hours=5), later(hours=10))
    assert after == Deliveries(
        channel="mail", made=5, carried=3, at_once=6, late=1, given_up=1, longest=later(hours=5) - NOW
    )
    assert ledger.deliveries(later(hours=8), later(hours=9), tenant="south") == ()
    (own,) = ledger.deliveries(later(hours=3), later(hours=4), tenant="north")
    assert (own.channel, own.made, own.carried) == ("mail", 1, 2)


def test_a_channel_is_troubled_until_it_takes_something(ledger: Ledger) -> None:
    ledger.queue([message(number, channel=name) for number, name in enumerate(("a", "b", "c"))], 1)
    waits, lost, well = ledger.notices()
    assert ledger.troubled_channels() == frozenset()
    ledger.settle_each(
        [
            replace(waits, attempts=1, error="no answer"),
            replace(lost, state=NoticeState.GIVEN_UP, next_at=later(hours=6), error="no answer"),
            replace(well, state=NoticeState.DELIVERED, attempts=1, error="no answer", delivered_at=later(hours=6)),
        ]
    )
    assert ledger.troubled_channels() == {"a", "b"}
    ledger.queue([message(9, channel="b")], 1)
    (more,) = (notice for notice in ledger.notices() if notice.subject == "notice 9")
    ledger.settle_each([replace(more, state=NoticeState.DELIVERED, delivered_at=later(hours=7))])
    assert ledger.troubled_channels() == {"a"}


# --- why runs did not succeed -----------------------------------------------------------------------------------------


def ended(ledger: Ledger, number: int, **changes: Any) -> None:
    """A run that began at that hour and ended badly half an hour later."""
    kind = changes.pop("kind", FailureKind.DISK_FULL)
    failure = None if kind is None else Failure(kind=kind, message=f"message {number}")
    state = RunState.INTERRUPTED if kind is None else RunState.FAILED
    began = run(number, id=f"run-{number}", started_at=later(hours=number), **changes)
    ledger.claim(began)
    ledger.finish(
        began.id, began.owner, Outcome(state=state, failure=failure, note="cut off"), later(hours=number + 0.5)
    )


def test_runs_that_went_wrong_alike_are_counted_as_one_and_stay_what_they_were(ledger: Ledger) -> None:
    """A thousand of one kind hide none of another; what is known of a time is what was known at its end."""
    for number in range(4):
        ended(ledger, number, policy=PolicyName("mail" if number == 2 else "files"))
    ended(ledger, 4, kind=None)
    ended(ledger, 5, kind=FailureKind.KILLED, tenant=TenantName("south"), policy=PolicyName("other"))
    full, cut_off, killed = ledger.setbacks(NOW, later(hours=9))
    assert (full.kind, full.runs, full.policies, full.state) == ("disk-full", 4, 2, RunState.FAILED)
    assert (full.first, full.last) == (NOW, later(hours=3))
    assert (full.first_text, full.text) == ("message 0", "message 3")
    assert (cut_off.kind, cut_off.state, cut_off.text) == ("", RunState.INTERRUPTED, "cut off")
    assert [each.kind for each in ledger.setbacks(NOW, later(hours=9), tenant="south")] == [killed.kind] == ["killed"]
    (then,) = ledger.setbacks(NOW, later(hours=3.2))  # the fourth was under way
    assert (then.runs, then.last, then.text) == (3, later(hours=2), "message 2")
    assert ledger.setbacks(later(hours=6), later(hours=9)) == ()


# --- alarms -----------------------------------------------------------------------------------------------------------


def test_an_alarm_stands_from_when_it_was_first_seen_until_it_is_cleared(ledger: Ledger) -> None:
    lock = alarm("lock-stale/\udcff", tenant=None, policy=None, raised_at=later(hours=1))
    ledger.set_alarms([alarm()], [], NOW, [happening(1)])
    ledger.set_alarms([lock, alarm(raised_at=later(hours=1), text="still so")], [], later(hours=1))
    assert ledger.alarms() == (alarm(), lock)
    ledger.set_alarms([], [alarm().key, "never raised"], later(hours=2), [happening(2)])
    assert ledger.alarms() == (lock,)
    ledger.set_alarms([alarm(raised_at=later(hours=3))], [lock.key], later(hours=3))
    assert ledger.alarms() == (alarm(raised_at=later(hours=3)),)
    assert [event.text for event in ledger.events()] == ["event 1", "event 2"]


def test_an_alarm_that_ends_and_begins_at_once_is_a_new_one(ledger: Ledger) -> None:
    ledger.set_alarms([alarm()], [], NOW)
    again = alarm(raised_at=later(hours=1), policy=PolicyName("mail"))
    ledger.set_alarms([again], [again.key], later(hours=1))
    assert ledger.alarms() == (again,)


# --- nothing by halves -----------------------------------------------------------------------------------------------


def naive(moment: datetime) -> Any:
    return moment.replace(tzinfo=None)


def test_a_naive_moment_is_refused_and_nothing_is_written(ledger: Ledger) -> None:
    wrong = happening(at=naive(NOW))
    for write in (
        lambda: ledger.add_events([happening(), wrong]),
        lambda: ledger.set_alarms([alarm()], [], NOW, [wrong]),
        lambda: ledger.set_alarms([alarm()], ["any"], naive(NOW)),
        lambda: ledger.queue([message(), message(made_at=naive(NOW))], 1),
        lambda: ledger.events(since=naive(NOW)),
        lambda: ledger.notices(until=naive(NOW)),
    ):
        with pytest.raises(ValueError, match="aware"):
            write()
    assert (ledger.events(), ledger.alarms(), ledger.notices(), ledger.told_until()) == ((), (), (), 0)


def test_the_newest_event_is_known_by_its_number(ledger: Ledger) -> None:
    assert ledger.newest_event() == 0
    ledger.add_events(happening(number) for number in range(3))
    assert ledger.newest_event() == ledger.events()[-1].id


def test_notices_are_found_by_their_key(ledger: Ledger) -> None:
    ledger.queue([message(1, key="a"), message(2, key="b"), message(3, key="a")], 3)
    assert [notice.key for notice in ledger.notices(key="a")] == ["a", "a"]
    assert len(ledger.notices(since=later(seconds=2), key="a")) == 1

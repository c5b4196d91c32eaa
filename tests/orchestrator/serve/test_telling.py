"""From events to messages: real ledger, real servers, a clock that is moved by hand."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.dispatch import Closing
from jobs.event import SEVERITIES, Event, Topic, of_slot
from jobs.failure import Failure, FailureKind
from jobs.notice import DIGEST, Notice, NoticeState
from jobs.policy import TenantName
from jobs.schedule import Schedule
from jobs.slot import SlotState, Why, WhyKind
from orchestrator.ledger.ledger import Ledger, LedgerError, Superseded
from orchestrator.serve.couriers import Couriers, destinations
from orchestrator.serve.telling import Telling
from orchestrator.settings.secrets import SecretEnvironment, SecretRef
from orchestrator.settings.values import Channel
from targets.errors import TargetError
from targets.notify import Apprise
from targets.secret import Secret
from tests.orchestrator.ledger import build
from tests.orchestrator.serve.clocks import START, HandClock
from tests.servers.webhook import Webhook, webhook

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
A, B = TenantName("minfopra"), TenantName("customs")
ON = frozenset({Topic.FAILED, Topic.MISSED, Topic.DAMAGE_FOUND, Topic.DELIVERY_FAILED, Topic.RECOVERED})


class Office:
    """A ledger, a clock, and whoever tells."""

    def __init__(self, folder: Path) -> None:
        self.clock = HandClock()
        self.url = f"sqlite:///{folder / 'ledger.db'}"
        self.ledger = Ledger.open(self.url, create=True, now=START)
        self.announced: list[Event] = []
        self.telling = self.opened()

    def opened(self, *channels: Channel) -> Telling:
        """A new process's notifier."""
        apprise = Apprise(patience=0.3)
        self.telling = Telling(
            self.ledger,
            channels,
            resolve=self.resolve,
            send=apprise.send,
            clock=self.clock,
            service="Opérateur",
            zone="Africa/Douala",
            announce=self.announced.append,
        )
        return self.telling

    def resolve(self, reference: SecretRef, name: str) -> Secret:
        assert isinstance(reference, SecretEnvironment)
        if not reference.variable.startswith("json"):
            raise TargetError("read", name, FailureKind.SECRET_UNAVAILABLE, "it is not set")
        return Secret(reference.variable)

    def happens(self, *keys: str, topic: Topic = Topic.FAILED, tenant: TenantName | None = A) -> None:
        """Events, each of another matter."""
        self.ledger.add_events(
            Event(
                at=self.clock.at,
                topic=topic,
                severity=SEVERITIES[topic],
                tenant=tenant,
                subject=f"backup {key} at primary",
                text="Why.",
                key=f"{key}/backup/primary",
            )
            for key in keys
        )

    def round(self, after: timedelta = timedelta(0)) -> None:
        """Some time passes, and people are told."""
        self.clock.go(after)
        self.telling.tell()
        assert self.telling.wait(20)

    def notices(self) -> tuple[Notice, ...]:
        return self.ledger.notices()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.ledger.close()


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as made:
        yield made


def channel(name: str, *hooks: Webhook, **changes: Any) -> Channel:
    made = Channel(name=name, urls=tuple(f"json://{each.address}/" for each in hooks), on=ON)
    return replace(made, **changes)


def titles(hook: Webhook) -> list[str]:
    return [told["title"] for told in hook.accepted]


def test_an_event_is_told_once_with_its_reference(office: Office, hook: Webhook) -> None:
    office.opened(channel("ops", hook))
    office.happens("files")
    office.round()
    office.round(MINUTE)
    (told,) = hook.accepted
    assert told["title"] == "[Opérateur] failed: backup files at primary"
    (notice,) = office.notices()
    assert (notice.state, notice.delivered_at, notice.attempts) == (NoticeState.DELIVERED, START, 0)
    assert f"Notice {notice.id}, made 2026-11-21 03:00 UTC." in told["message"]


def test_a_server_down_for_an_hour_is_told_later_and_once(office: Office) -> None:
    """The real server refuses for an hour of the clock, then accepts: one message, that says that it is late."""
    with webhook(listening=False) as hook:
        office.opened(channel("ops", hook))
        office.happens("files")
        for _ in range(60):
            office.round(MINUTE)
        assert (hook.asked, office.notices()[0].state) == (0, NoticeState.PENDING)
        assert "Connection refused" in office.notices()[0].error
        hook.open()
        for _ in range(60):
            office.round(MINUTE)
        (told,) = hook.accepted
    assert re.search(r"Sent 2026-11-21 04:\d\d UTC, after 5 tries that failed\.", told["message"])
    assert office.notices()[0].state is NoticeState.DELIVERED
    assert "Connection refused" in office.notices()[0].error  # what made it late
    away, back = office.ledger.events(topics=[Topic.CHANNEL_AWAY, Topic.CHANNEL_BACK])
    assert (away.topic, away.subject, back.topic) == (Topic.CHANNEL_AWAY, "channel ops", Topic.CHANNEL_BACK)
    assert away.text.endswith("Connection refused (channel-unreachable)")
    assert HOUR < back.at - away.at < 2 * HOUR
    (one,) = office.ledger.deliveries(START, office.clock.at)
    assert (one.channel, one.made, one.at_once, one.late, one.waiting) == ("ops", 1, 0, 1, 0)
    assert one.longest is not None
    assert HOUR < one.longest < 2 * HOUR


def test_each_time_that_a_channel_is_away_is_on_record_once_also_over_restarts(office: Office, hook: Webhook) -> None:
    """Also a single try that failed, of a minute."""
    for status in (503, 503, 200, 200, 503, 200):
        hook.status = status
        office.opened(channel("ops", hook))
        office.happens(f"files{status}{hook.asked}")
        office.round(3 * HOUR)
    told = office.ledger.events(topics=[Topic.CHANNEL_AWAY, Topic.CHANNEL_BACK])
    assert [event.topic.value for event in told] == ["channel-away", "channel-back"] * 2
    assert {event.text for event in told[::2]} == {"notify channel ops: the server answered 503 (channel-refused)"}
    assert not [title for title in titles(hook) if "channel" in title]  # a record, which nobody is woken for


def test_a_channel_whose_notices_were_given_up_is_away_until_it_accepts_one(office: Office) -> None:
    with webhook(listening=False) as away:
        office.opened(channel("ops", away))
        office.happens("files")
        for _ in range(24 * 4):
            office.round(HOUR)
        (given_up,) = office.ledger.deliveries(START, office.clock.at)
        assert (given_up.made, given_up.given_up) == (1, 1)
        (then,) = office.ledger.deliveries(START, START + 2 * DAY)
        assert (then.given_up, then.waiting) == (0, 1)
        away.open()
        office.opened(channel("ops", away))
        office.happens("mail")
        office.round(MINUTE)
    told = office.ledger.events(topics=[Topic.CHANNEL_AWAY, Topic.CHANNEL_BACK])
    assert [event.topic.value for event in told] == ["channel-away", "channel-back"]


def test_a_restart_neither_forgets_nor_repeats(office: Office, hook: Webhook) -> None:
    with webhook(listening=False) as away:
        office.opened(channel("ops", hook), channel("chat", away))
        office.happens("files")
        office.round()
        office.ledger.close()
        office.ledger = Ledger.open(office.url, create=False, now=START)
        away.open()
        office.opened(channel("ops", hook), channel("chat", away))
        office.round(MINUTE)
        office.happens("files")
        office.round(MINUTE)
        assert (len(hook.accepted), len(away.accepted)) == (1, 1)


def test_a_channel_that_hangs_keeps_nobody_waiting(office: Office, hook: Webhook) -> None:
    with webhook() as stuck:
        stuck.hang.set()
        office.opened(channel("stuck", stuck), channel("ops", hook))
        office.happens("files")
        office.telling.tell()
        office.happens("mail")
        office.telling.tell()
        assert office.telling.wait(20)
        assert stuck.asked == 1  # nothing is sent twice at a time
        office.round()
        assert len(hook.accepted) == 2
        stuck.hang.clear()
        stuck.release.set()
        office.round(2 * MINUTE)
        assert sorted(titles(stuck)) == sorted(titles(hook))


def test_the_same_trouble_is_told_again_after_a_day_or_a_recovery(office: Office, hook: Webhook) -> None:
    office.opened(channel("ops", hook))
    for _ in range(26):
        office.happens("files")
        office.round(HOUR)
    assert len(hook.accepted) == 2
    office.happens("files", topic=Topic.RECOVERED)
    office.round(HOUR)
    office.happens("files")
    office.round(HOUR)
    assert [title.split("] ")[1].split(":")[0] for title in titles(hook)] == ["failed", "failed", "recovered", "failed"]


def test_a_channel_of_one_tenant_hears_of_no_other(office: Office, hook: Webhook) -> None:
    office.opened(channel("customs", hook, tenants=frozenset({B})))
    office.happens("files")
    office.happens("scans", tenant=B)
    office.happens("clock", tenant=None)
    office.round()
    assert titles(hook) == ["[Opérateur] failed: backup scans at primary"]
    assert office.notices()[0].tenant == B


def test_a_storm_is_one_message_with_a_list(office: Office, hook: Webhook) -> None:
    office.opened(channel("ops", hook))
    office.happens(*(f"files-{n}" for n in range(300)))
    office.round()
    (told,) = hook.accepted
    assert told["title"] == "[Opérateur] 300 notices: 300 critical"
    assert told["message"].count("\n- ") == 50
    assert "… and 250 more" in told["message"]
    assert {notice.state for notice in office.notices()} == {NoticeState.DELIVERED}


def test_a_storm_that_comes_drop_by_drop_becomes_lists(office: Office, hook: Webhook) -> None:
    office.opened(channel("ops", hook))
    for number in range(120):
        office.happens(f"files-{number}")
        office.round(timedelta(seconds=30))
    office.round(HOUR)
    assert 11 <= len(hook.accepted) <= 17
    assert {notice.state for notice in office.notices()} == {NoticeState.DELIVERED}
    assert len(office.notices()) == 120


def test_each_address_of_a_channel_is_told_once(office: Office, hook: Webhook) -> None:
    with webhook(listening=False) as away:
        office.opened(channel("ops", hook, away))
        office.happens("files")
        office.round()
        office.round(MINUTE)
        away.open()
        office.round(10 * MINUTE)
        assert (len(hook.accepted), len(away.accepted)) == (1, 1)
        assert [notice.channel for notice in office.notices()] == ["ops", "ops/2"]


def test_a_channel_that_does_not_work_is_told_to_the_others_and_never_in_a_loop(office: Office, hook: Webhook) -> None:
    """Two channels are away for ever: their ends are on record, and what is told about them comes to an end."""
    with webhook(listening=False) as away, webhook(listening=False) as also:
        office.opened(channel("mail", away), channel("chat", also), channel("ops", hook))
        office.happens("files")
        for _ in range(24 * 8):
            office.round(HOUR)
    assert {notice.state for notice in office.notices() if notice.channel != "ops"} == {NoticeState.GIVEN_UP}
    about = [event for event in office.ledger.events() if event.topic is Topic.DELIVERY_FAILED]
    assert {event.subject for event in about} == {"mail", "chat"}
    assert len(about) == 2  # that what it was to tell was given up; that it is stuck is an alarm
    assert sum("channel" in told["message"] for told in hook.accepted) == 2
    assert [event for event in office.announced if event.topic is Topic.DELIVERY_FAILED] == [
        replace(event, id=0) for event in about
    ]


def test_that_a_channel_works_again_is_on_record_and_told_by_the_alarm(office: Office, hook: Webhook) -> None:
    with webhook(listening=False) as away:
        office.opened(channel("mail", away), channel("ops", hook))
        office.happens("files")
        for _ in range(10):
            office.round(HOUR)
        away.open()
        office.round(HOUR)
        office.happens("mail")
        office.round()
        office.round()
    assert [title.partition("] ")[2] for title in titles(hook)] == [
        "failed: backup files at primary",
        "failed: backup mail at primary",
    ]
    about = office.ledger.events(topics=[Topic.CHANNEL_AWAY, Topic.CHANNEL_BACK, Topic.RECOVERED])
    assert [event.topic for event in about] == [Topic.CHANNEL_AWAY, Topic.CHANNEL_BACK]


def test_a_notice_whose_channel_has_gone_is_given_up(office: Office, hook: Webhook) -> None:
    with webhook(listening=False) as away:
        office.opened(channel("mail", away))
        office.happens("files")
        office.round()
    office.telling.adopt([channel("ops", hook)], service="Opérateur", zone="UTC")
    office.round(MINUTE)
    assert (office.notices()[0].state, office.notices()[0].error) == (
        NoticeState.GIVEN_UP,
        "its channel is no longer in the settings",
    )
    office.round(MINUTE)
    (told,) = hook.accepted
    assert told["title"] == "[Opérateur] delivery-failed: mail"
    assert "1 notice given up: its channel is no longer in the settings; the first: " in told["message"]
    assert "failed: backup files at primary" in told["message"]
    assert [event.topic for event in office.announced] == [Topic.CHANNEL_AWAY, Topic.DELIVERY_FAILED]
    office.happens("files")
    office.round(MINUTE)
    assert len(hook.accepted) == 2


def test_another_address_of_a_channel_takes_nothing_from_the_one_it_had(office: Office, hook: Webhook) -> None:
    """What waits is delivered, what was told is not told again, and a digest goes on from the last one."""
    with webhook(listening=False) as slow:
        office.opened(channel("ops", slow))
        office.happens("files")
        office.round()
        office.telling.adopt([channel("ops", slow, hook)], service="Opérateur", zone="UTC")
        office.round()
        slow.open()
        office.round(2 * MINUTE)
        assert [told["title"] for told in slow.accepted] == ["[Opérateur] failed: backup files at primary"]
        office.happens("files")  # told of late
        office.happens("more")
        office.round()
        assert len(slow.accepted) == 2
        assert [title.partition("] ")[2] for title in titles(hook)] == [
            "failed: backup files at primary",
            "failed: backup more at primary",
        ]
    assert {notice.state for notice in office.notices()} == {NoticeState.DELIVERED}
    assert office.ledger.events(topics=[Topic.DELIVERY_FAILED]) == ()


def test_an_address_by_reference_is_fetched_for_each_delivery(office: Office, hook: Webhook) -> None:
    known = Channel(name="ops", urls=(SecretEnvironment(variable=f"json://{hook.address}/"),), on=ON)
    lost = Channel(name="lost", urls=(SecretEnvironment(variable="GONE"),), on=ON)
    office.opened(known, lost)
    office.happens("files")
    office.round()
    assert len(hook.accepted) == 1
    (notice,) = (notice for notice in office.notices() if notice.channel == "lost")
    assert notice.error == "read the address of channel lost: it is not set"


def test_where_nobody_answers_one_notice_is_tried_and_the_next_time_another(office: Office) -> None:
    """Were it always the first, one that a server chokes on would hold up all others."""
    with webhook() as stuck:
        stuck.hang.set()
        office.opened(channel("ops", stuck))
        office.happens("files", "mail", "scans")
        office.round()
        assert (stuck.asked, [notice.attempts for notice in office.notices()]) == (1, [1, 0, 0])
        office.round(MINUTE)
        assert (stuck.asked, [notice.attempts for notice in office.notices()]) == (2, [1, 1, 0])


def test_where_a_server_refuses_the_others_are_tried(office: Office, hook: Webhook) -> None:
    hook.status = 400
    office.opened(channel("ops", hook))
    office.happens("files", "mail", "scans")
    office.round()
    assert (hook.asked, [notice.attempts for notice in office.notices()]) == (3, [1, 1, 1])


def test_what_was_given_up_is_told_when_it_happens_again(office: Office) -> None:
    with webhook(listening=False) as away:
        office.opened(channel("ops", away, repeat=30 * DAY))
        office.happens("files")
        for _ in range(80):
            office.round(HOUR)
        assert office.notices()[0].state is NoticeState.GIVEN_UP
        away.open()
        office.happens("files")
        office.round(HOUR)
        assert len(away.accepted) == 1


def test_after_a_restart_a_recovery_ends_only_what_was_before_it(office: Office, hook: Webhook) -> None:
    office.opened(channel("ops", hook))
    office.happens("files")
    office.round()
    office.opened(channel("ops", hook))
    office.happens("files")
    office.happens("files", topic=Topic.RECOVERED)
    office.round(HOUR)
    assert titles(hook)[1:] == ["[Opérateur] recovered: backup files at primary"]


def test_new_settings_count_for_what_was_told_before(office: Office, hook: Webhook) -> None:
    office.opened(channel("ops", hook, repeat=HOUR))
    office.happens("files")
    office.round()
    office.happens("mail")
    office.round(2 * HOUR)
    office.telling.adopt([channel("ops", hook, repeat=DAY)], service="Opérateur", zone="UTC")
    office.happens("files", "mail")
    office.round(HOUR)
    assert len(hook.accepted) == 2


class Stubborn(Ledger):
    """A real ledger on a disk that is full for a while."""

    full = False

    def settle_each(self, settled: Any, events: Any = ()) -> None:
        if self.full:
            raise LedgerError(Failure(kind=FailureKind.DISK_FULL, message="the disk is full"))
        super().settle_each(settled, events)


class Late(Ledger):
    """A real ledger, and what happens between its answer and the use of it."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def pending_notices(self, now: datetime) -> tuple[Notice, ...]:
        found = super().pending_notices(now)
        self.meanwhile()
        return found


def test_what_was_delivered_is_not_sent_again_while_the_ledger_is_full(office: Office, hook: Webhook) -> None:
    office.ledger.close()
    stubborn = Stubborn.open(office.url, create=False, now=START)
    office.ledger = stubborn
    office.opened(channel("ops", hook))
    office.happens("files")
    stubborn.full = True
    for _ in range(3):
        with pytest.raises(LedgerError, match="full"):
            office.round(MINUTE)
    stubborn.full = False
    office.round(MINUTE)
    assert len(hook.accepted) == 1
    assert office.notices()[0].state is NoticeState.DELIVERED


def test_what_is_not_on_record_yet_is_not_sent_again(office: Office, hook: Webhook) -> None:
    office.ledger.close()
    stubborn = Stubborn.open(office.url, create=False, now=START)
    office.ledger = stubborn
    stubborn.queue([build.message(channel="ops", made_at=START, next_at=START)], 0)
    couriers = Couriers(
        stubborn, resolve=office.resolve, send=Apprise().send, clock=office.clock, announce=office.announced.append
    )
    couriers.adopt(destinations([channel("ops", hook)], "UTC"), "Opérateur")
    stubborn.full = True
    for _ in range(3):
        couriers.deliver(START)
        assert couriers.wait(20)
    assert hook.asked == 1


def test_two_notifiers_tell_nobody_twice(office: Office, hook: Webhook) -> None:
    """The second was late to see that the first had told: it is refused, and tells what comes after."""
    first = office.opened(channel("ops", hook))
    second = office.opened(channel("ops", hook))
    office.happens("files")
    seen = office.ledger.told_until()
    office.round()
    with pytest.raises(Superseded):
        office.ledger.queue([], 1, seen=seen)
    second.tell()
    first.tell()
    assert first.wait(20)
    assert second.wait(20)
    assert len(hook.accepted) == 1


def test_a_digest_comes_every_morning_also_when_nothing_happened(office: Office, hook: Webhook) -> None:
    daily = channel("ops", hook, on=frozenset(), digest=Schedule("daily at 07:30"))
    office.opened(daily)
    office.happens("files", "mail")
    office.happens("mail", topic=Topic.SUCCEEDED)
    for _ in range(30):
        office.round(HOUR)
    assert titles(hook) == [
        "[Opérateur] digest: no slot ended, 2 troubles; 2026-11-21 03:00 UTC to 2026-11-21 07:00 UTC",
        "[Opérateur] digest: no slot ended, 0 troubles; 2026-11-21 07:00 UTC to 2026-11-22 07:00 UTC",
    ]
    assert "backup files at primary" in hook.accepted[0]["message"]
    assert "Troubles:\n  none" in hook.accepted[1]["message"]
    office.opened(daily)  # a restart; then three days of nothing: one digest
    office.happens("late")
    office.round(3 * DAY)
    office.round(MINUTE)
    assert len(hook.accepted) == 3
    assert "1 trouble;" in titles(hook)[2]
    assert [notice.key for notice in office.notices()] == [DIGEST] * 3


def test_what_is_delivered_while_the_ledger_answers_is_not_sent_again(office: Office, hook: Webhook) -> None:
    """The ledger's answer names a notice as pending whose courier has delivered it, and is gone, before it is used."""
    office.ledger.close()
    late = Late.open(office.url, create=False, now=START)
    office.ledger = late
    hook.hang.set()
    office.opened(channel("ops", hook))
    office.happens("files")
    office.telling.tell()

    def meanwhile() -> None:
        hook.hang.clear()
        hook.release.set()
        for thread in [each for each in threading.enumerate() if each.name == "tell ops"]:
            thread.join(20)

    late.meanwhile = meanwhile
    office.telling.tell()
    assert office.telling.wait(20)
    assert {notice.state for notice in office.notices()} == {NoticeState.DELIVERED}
    assert hook.asked == 1


@pytest.mark.parametrize("fails", ["resolving", "sending"])
def test_our_own_fault_is_an_attempt_that_failed_and_says_no_secret(
    office: Office, hook: Webhook, fails: str, recwarn: pytest.WarningsRecorder
) -> None:
    """Else its thread would die every second, for ever, and nobody hear of it."""

    def fault(*_: Any) -> Any:
        raise ValueError("json://token@somewhere/")

    telling = Telling(
        office.ledger,
        [Channel(name="ops", urls=(SecretEnvironment(variable="json://token@somewhere/"),), on=ON)],
        resolve=fault if fails == "resolving" else office.resolve,
        send=fault,
        clock=office.clock,
        service="Opérateur",
        zone="UTC",
    )
    office.telling = telling
    office.happens("files")
    office.round()
    (notice,) = office.notices()
    assert (notice.attempts, notice.next_at) == (1, START + MINUTE)
    assert "Tandem itself failed: ValueError at line" in notice.error
    assert "of test_telling.py" in notice.error
    assert "token" not in notice.error
    for _ in range(80):
        office.round(HOUR)
    assert office.notices()[0].state is NoticeState.GIVEN_UP
    assert Topic.DELIVERY_FAILED in {event.topic for event in office.ledger.events()}
    assert not recwarn.list


def test_a_digest_counts_the_slots_of_its_tenants(office: Office, hook: Webhook) -> None:
    office.ledger.born(
        [
            build.slot(1, tenant=A, nominal=START + HOUR),
            build.slot(2, tenant=B, nominal=START + HOUR),
            build.slot(3, tenant=B, nominal=START + DAY),
        ],
        {},
    )
    for slot in office.ledger.slots(until=START + 2 * HOUR):
        why = Why(kind=WhyKind.NOT_RUNNING, text="Tandem did not run.")
        office.ledger.close_slots([Closing(slot=slot, state=SlotState.MISSED, why=why)], START)
    morning = Schedule("daily at 07:30")
    office.opened(
        channel("ops", hook, digest=morning), channel("customs", hook, digest=morning, tenants=frozenset({B}))
    )
    office.round(5 * HOUR)
    assert sorted(title.split(";")[0] for title in titles(hook)) == [
        "[Opérateur] digest: 0 of 1 slot went well, 0 troubles",
        "[Opérateur] digest: 0 of 2 slots went well, 0 troubles",
    ]


def test_a_digest_tells_of_what_came_to_be_known_late_and_nothing_twice(office: Office, hook: Webhook) -> None:
    office.opened(channel("ops", hook, on=frozenset(), digest=Schedule("daily at 07:30")))
    office.happens("files")
    office.round(5 * HOUR)
    office.clock.at -= HOUR
    office.happens("late")
    office.clock.at += HOUR
    office.round(DAY)
    assert ["backup late" in told["message"] for told in hook.accepted] == [False, True]
    assert ["backup files" in told["message"] for told in hook.accepted] == [True, False]


def test_a_digest_comes_again_when_the_clock_was_set_back(office: Office, hook: Webhook) -> None:
    office.opened(channel("ops", hook, on=frozenset(), digest=Schedule("daily at 07:30")))
    office.round(2 * DAY)
    office.round(-DAY)
    assert len(hook.accepted) == 1
    office.round(DAY)
    assert len(hook.accepted) == 2


MORNING = Schedule("daily at 07:30")  # 06:30 UTC


def ends(office: Office, number: int, state: SlotState = SlotState.MISSED, *, told_at: datetime | None = None) -> None:
    """A slot ends, as it does in life: its event is of the same instant, and in the same transaction."""
    slot = build.slot(number, tenant=A, nominal=START - 20 * DAY)
    office.ledger.born([slot], {})
    at = told_at or office.clock.at
    why = Why(kind=WhyKind.NOT_RUNNING, text="Tandem did not run.")
    office.ledger.close_slots([Closing(slot=slot, state=state, why=why)], at, [of_slot(slot, state, why, at)])


def told_slots(hook: Webhook) -> list[str]:
    """What each digest says of slots."""
    return [title.partition("digest: ")[2].partition(" went")[0] for title in titles(hook)]


def test_a_slot_is_in_the_digest_of_its_end_and_until_then_among_the_open_ones(office: Office, hook: Webhook) -> None:
    office.opened(channel("ops", hook, on=frozenset(), digest=MORNING))
    office.ledger.born([build.slot(1, tenant=A, nominal=START + HOUR)], {})
    office.round()
    office.round(5 * HOUR)
    assert "Still open: 1, the oldest due 2026-11-21 04:00 UTC." in hook.accepted[0]["message"]
    (slot,) = office.ledger.open_slots()
    why = Why(kind=WhyKind.TOO_LATE, text="Its time had passed.")
    office.ledger.close_slots(
        [Closing(slot=slot, state=SlotState.MISSED, why=why)],
        office.clock.at,
        [of_slot(slot, SlotState.MISSED, why, office.clock.at)],
    )
    for _ in range(2):
        office.round(DAY)
    assert [title.split(",")[0].partition("digest: ")[2] for title in titles(hook)] == [
        "no slot ended",
        "0 of 1 slot went well",
        "no slot ended",
    ]
    assert "  missed       1\nStill open: none." in hook.accepted[1]["message"]


def test_what_came_on_record_late_is_in_one_digest_whatever_the_clock_did(office: Office, hook: Webhook) -> None:
    """A run's end waits until the ledger takes it; a clock that is set back brings times that were told already."""
    daily = channel("ops", hook, on=frozenset(), digest=MORNING)
    office.opened(daily)
    office.round()
    ends(office, 1)
    office.round(5 * HOUR)
    ends(office, 2, told_at=START + 2 * HOUR)
    office.round(DAY)
    ends(office, 3)
    ends(office, 4)
    office.round(DAY)
    office.round(-2 * DAY)
    ends(office, 5, told_at=START + 5 * HOUR)
    office.opened(daily)  # a restart
    office.round()
    for _ in range(4):
        office.round(DAY)
    assert told_slots(hook)[:3] == ["0 of 1 slot", "0 of 1 slot", "0 of 2 slots"]
    assert [said for said in told_slots(hook)[3:] if not said.startswith("no slot")] == ["0 of 1 slot"]


def test_a_digest_of_every_quarter_is_not_forgotten_over_restarts(office: Office, hook: Webhook) -> None:
    """The last one is looked for however long ago it was, and one that nobody was there to make is made."""
    quarterly = channel("ops", hook, on=frozenset(), digest=Schedule("cron 0 8 1 1,4,7,10 *"))
    office.opened(quarterly)
    office.round()
    for number in range(6):  # a restart every 20 days
        ends(office, number + 1)
        office.opened(quarterly)
        office.round(20 * DAY)
    assert told_slots(hook) == ["0 of 3 slots"]
    office.opened(quarterly)
    ends(office, 7)
    office.round(40 * DAY)
    assert told_slots(hook) == ["0 of 3 slots", "0 of 4 slots"]


def test_the_first_digest_is_made_also_where_nobody_was_there_at_its_moment(office: Office, hook: Webhook) -> None:
    daily = channel("ops", hook, on=frozenset(), digest=MORNING)
    office.opened(daily)
    ends(office, 1)
    office.round()
    office.opened(daily)
    ends(office, 2)
    office.round(5 * HOUR)
    assert told_slots(hook) == ["0 of 2 slots"]

"""Who is told what: nothing is lost, nothing twice, nothing to whom it does not concern."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.event import SEVERITIES, Event, Severity, Topic
from jobs.notice import (
    DIGEST,
    MOST,
    PATIENCE,
    Notice,
    NoticeState,
    Route,
    concerns,
    digest,
    digest_is_due,
    first_digest_from,
    letters,
    matter,
    matter_of,
    not_before,
    retry_at,
    sort,
    tells_of_delivery,
    told_so_far,
    trouble,
    wants,
    worst,
)
from jobs.policy import TenantName
from jobs.schedule import Schedule, occurrences

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
A, B = TenantName("a"), TenantName("b")


def event(
    number: int = 1,
    topic: Topic = Topic.FAILED,
    tenant: TenantName | None = A,
    key: str = "files/backup/primary",
    subject: str = "backup files at primary",
) -> Event:
    at = NOW - HOUR + number * timedelta(seconds=1)
    return Event(
        id=number, at=at, topic=topic, severity=SEVERITIES[topic], tenant=tenant, subject=subject, text="why", key=key
    )


def notice(number: int = 1, **changes: object) -> Notice:
    made = Notice(
        id=number,
        channel="ops",
        made_at=NOW,
        key=f"a:failed:line {number}",
        severity=Severity.CRITICAL,
        subject="s",
        body="b",
        next_at=NOW,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # (any of its fields)


OPS = Route(name="ops", on=frozenset(Topic) - {Topic.SUCCEEDED})

topics = st.sampled_from([Topic.FAILED, Topic.MISSED, Topic.RECOVERED, Topic.SUCCEEDED, Topic.DELIVERY_FAILED])
events = st.lists(
    st.builds(
        event,
        topic=topics,
        tenant=st.sampled_from([A, B, None]),
        key=st.sampled_from(["x", "y", ""]),
        subject=st.sampled_from(["ops", "lock: old", "z"]),
    ),
    max_size=12,
).map(lambda found: [replace(each, id=number) for number, each in enumerate(found, 1)])
routes = st.lists(
    st.builds(
        Route,
        name=st.sampled_from(["ops", "mail", "chat"]),
        on=st.frozensets(topics),
        tenants=st.none() | st.frozensets(st.sampled_from([A, B]), min_size=1),
    ),
    max_size=3,
    unique_by=lambda route: route.name,
)


@given(events, routes, st.data())
def test_what_a_route_wants_is_told_once_or_kept_back_for_a_named_earlier_notice(
    batch: list[Event], asked: list[Route], data: st.DataObject
) -> None:
    """Every event, every route; and what is kept back was told to that very route, less than `repeat` ago."""
    known = sorted({(route.name, trouble(each)) for route in asked for each in batch})
    ages = st.timedeltas(timedelta(0), 3 * DAY)
    told = {what: NOW - data.draw(ages) for what in known if data.draw(st.booleans())}
    sorting = sort(batch, asked, told, NOW)
    for route in asked:
        wanted = [each.id for each in batch if wants(route, each)]
        telling = [each.id for bundle in sorting.bundles if bundle.route is route for each in bundle.events]
        held = [kept.event.id for kept in sorting.kept_back if kept.route is route]
        assert sorted(telling + held) == wanted
    for kept in sorting.kept_back:
        assert told[kept.route.name, trouble(kept.event)] == kept.told_at
        assert NOW - kept.told_at < kept.route.repeat
        assert not any(
            each.topic is Topic.RECOVERED and matter(each) == matter(kept.event) and each.id < kept.event.id
            for each in batch
        )


@given(events, routes)
def test_no_tenant_is_told_of_another(batch: list[Event], asked: list[Route]) -> None:
    for bundle in sort(batch, asked, {}, NOW).bundles:
        assert len({each.tenant for each in bundle.events}) == 1
        tenant = bundle.events[0].tenant
        assert bundle.route.tenants is None or tenant in bundle.route.tenants
        assert all(matter(each) == matter(bundle.events[0]) for each in bundle.events)


@given(st.lists(events, max_size=4), routes)
def test_batches_are_as_good_as_what_the_ledger_remembers_of_them(
    batches: list[list[Event]], asked: list[Route]
) -> None:
    """Whatever was told in a batch is known in the next: no trouble is told twice without a recovery."""
    made: list[Notice] = []
    past: list[Event] = []
    for number, batch in enumerate(batches):
        fresh = [replace(each, id=len(past) + each.id) for each in batch]
        now = NOW + number * MINUTE
        told = told_so_far(made, [each for each in past if each.topic is Topic.RECOVERED])
        sorting = sort(fresh, asked, told, now)
        through = len(past) + len(fresh)
        for bundle in sorting.bundles:
            for each in bundle.events:
                since = max((e.id for e in past + fresh if e.topic is Topic.RECOVERED and matter(e) == matter(each)
                             and e.id < each.id), default=0)  # fmt: skip
                again = any(
                    n.channel == bundle.route.name and trouble(each) in n.key.split("\n") and n.through >= since
                    for n in made
                )
                assert not again or each.severity is Severity.INFO
        made += [
            notice(len(made) + n, channel=bundle.route.name, key=bundle.key, made_at=now, through=through)
            for n, bundle in enumerate(sorting.bundles, 1)
        ]
        past += fresh


def test_a_recovery_makes_the_next_trouble_a_new_one_within_a_batch_and_across() -> None:
    first = sort([event(1)], [OPS], {}, NOW)
    told = told_so_far([notice(key=first.bundles[0].key, through=1)], [])
    assert [kept.told_at for kept in sort([event(2)], [OPS], told, NOW + HOUR).kept_back] == [NOW]
    again = sort([event(2, Topic.RECOVERED), event(3)], [OPS], told, NOW + HOUR)
    assert [each.id for bundle in again.bundles for each in bundle.events] == [2, 3]
    well = told_so_far([notice(key=first.bundles[0].key, through=1)], [event(2, Topic.RECOVERED)])
    assert sort([event(3)], [OPS], well, NOW + HOUR).bundles


def test_a_recovery_that_a_route_does_not_want_counts_all_the_same() -> None:
    route = Route(name="ops", on=frozenset({Topic.FAILED}))
    sorting = sort([event(1), event(2, Topic.RECOVERED)], [route], {}, NOW)
    assert [each.topic for each in sorting.bundles[0].events] == [Topic.FAILED]
    told = told_so_far([notice(key=sorting.bundles[0].key, through=2)], [event(2, Topic.RECOVERED)])
    assert sort([event(3)], [route], told, NOW).bundles


def test_another_trouble_of_the_same_line_is_told() -> None:
    told = {("ops", trouble(event())): NOW}
    assert sort([event(2, Topic.DAMAGE_FOUND)], [OPS], told, NOW).bundles
    assert not sort([event(2)], [OPS], told, NOW).bundles


def test_a_trouble_is_told_again_when_repeat_has_passed_or_the_clock_went_back() -> None:
    told = {("ops", trouble(event())): NOW}
    assert not sort([event(2)], [OPS], told, NOW + DAY - HOUR - MINUTE).bundles
    assert sort([event(2)], [OPS], told, NOW + DAY - HOUR).bundles
    assert sort([event(2)], [OPS], told, NOW - MINUTE).bundles


def test_a_notice_given_up_told_nobody() -> None:
    assert told_so_far([notice(state=NoticeState.GIVEN_UP)], []) == {}
    assert told_so_far([notice(state=NoticeState.PENDING)], []) == {("ops", "a:failed:line 1"): NOW}


def test_a_channel_is_not_told_that_it_does_not_work() -> None:
    broken = event(topic=Topic.DELIVERY_FAILED, tenant=None, subject="ops", key="delivery/ops")
    mail = replace(OPS, name="mail")
    assert [bundle.route.name for bundle in sort([broken], [OPS, mail], {}, NOW).bundles] == ["mail"]


def test_what_belongs_to_no_tenant_goes_to_channels_for_all() -> None:
    service = event(tenant=None)
    assert concerns(OPS, service)
    assert not concerns(replace(OPS, tenants=frozenset({A, B})), service)


def test_a_test_goes_wherever_it_may() -> None:
    deaf = Route(name="ops", on=frozenset(), tenants=frozenset({A}))
    assert wants(deaf, event(topic=Topic.TEST, tenant=A))
    assert not wants(deaf, event(topic=Topic.TEST, tenant=B))


@given(st.sampled_from([A, B, None]), topics, st.text(max_size=20))
def test_a_trouble_leads_back_to_its_matter_in_one_line(tenant: TenantName | None, topic: Topic, key: str) -> None:
    one = event(topic=topic, tenant=tenant, key=key)
    assert matter_of(trouble(one)) == matter(one)
    assert len(trouble(one).splitlines()) == 1


# --- letters, retries, digests -----------------------------------------------------------------------------------


@given(st.integers(0, 40), st.integers(0, 3), st.booleans())
def test_letters_hold_each_notice_once(many: int, digests: int, busy: bool) -> None:
    due = [notice(n) for n in range(many)] + [notice(1000 + n, key=DIGEST) for n in range(digests)]
    sent = letters(due, busy=busy)
    assert sorted(each.id for letter in sent for each in letter) == [each.id for each in due]
    assert len(sent) == (1 if many > MOST or (many and busy) else many) + digests


@given(st.lists(st.timedeltas(timedelta(0), 4 * HOUR), max_size=30))
def test_a_channel_that_was_sent_ten_messages_of_late_is_sent_the_next_after_a_pause(
    ages: list[timedelta],
) -> None:
    when = not_before([NOW - age for age in ages], NOW)
    recent = sorted({age for age in ages if age < 2 * HOUR})
    assert when >= NOW
    assert (when > NOW) == (len(recent) >= MOST and recent[0] < 10 * MINUTE)


def test_a_day_of_failures_is_ten_messages_and_six_an_hour() -> None:
    sent: list[datetime] = []
    for second in range(0, 86_400, 20):
        now = NOW + timedelta(seconds=second)
        if not_before(sent, now) == now:
            sent.append(now)
    assert len(sent) == 9 + 24 * 6


@given(st.integers(1, 200), st.timedeltas(timedelta(0), 4 * DAY))
def test_a_notice_is_tried_later_and_later_until_it_is_given_up(attempts: int, age: timedelta) -> None:
    again = retry_at(notice(attempts=attempts), NOW + age)
    if age >= PATIENCE:
        assert again is None
    else:
        assert again is not None
        assert NOW + age < again <= min(NOW + PATIENCE, NOW + age + HOUR)


def test_the_pauses_grow_to_an_hour_and_the_last_try_is_at_the_end() -> None:
    now, tried, moments = NOW, 0, [NOW]
    while (again := retry_at(notice(attempts=tried + 1), now)) is not None:
        now, tried = again, tried + 1
        moments.append(now)
    pauses = [later - earlier for earlier, later in pairwise(moments)]
    assert pauses[:5] == [MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR]
    assert moments[-1] == NOW + PATIENCE


@pytest.mark.parametrize(
    ("key", "only"),
    [
        (":delivery-failed:delivery/mail", True),
        (":delivery-failed:delivery/mail\n:delivery-failed:delivery/chat", True),
        (":delivery-failed:delivery/mail\na:failed:x", False),
        ("a:failed:delivery-failed", False),
    ],
)
def test_a_notice_of_nothing_but_deliveries_is_known(key: str, only: bool) -> None:
    assert tells_of_delivery(notice(key=key)) is only


def test_a_digest_is_due_once_after_an_outage_and_tells_of_all_that_concerns_it() -> None:
    route = Route(
        name="ops", on=frozenset(), tenants=frozenset({A}), digest=Schedule("daily at 07:30"), zone="Africa/Douala"
    )
    batch = [event(1), event(2, tenant=B), event(3, tenant=None), event(4, Topic.SUCCEEDED)]
    last = datetime(2026, 11, 18, 6, 30, tzinfo=UTC)
    assert digest(route, batch, last, datetime(2026, 11, 19, 6, 29, tzinfo=UTC)) is None
    made = digest(route, batch, last, NOW)
    assert made is not None
    assert made.key == DIGEST
    assert [each.id for each in made.events] == [1, 4]
    assert digest(route, batch, NOW, NOW + HOUR) is None
    assert digest(replace(route, digest=None), batch, last, NOW) is None


def test_the_loudest_of_nothing_is_a_record() -> None:
    assert worst([]) is Severity.INFO
    assert worst([Severity.INFO, Severity.CRITICAL, Severity.WARNING]) is Severity.CRITICAL


@pytest.mark.parametrize("text", ["every 1m", "daily at 07:30", "weekly on sun at 03:00", "cron 0 8 1 1,4,7,10 *"])
def test_a_first_digest_is_due_at_once_and_begins_at_the_moment_before(text: str) -> None:
    route = Route(name="ops", on=frozenset(), digest=Schedule(text), zone="Africa/Douala")
    begins = first_digest_from(route, NOW)
    assert begins is not None
    assert len(list(occurrences(Schedule(text), route.zone, begins, NOW))) == 1
    assert digest_is_due(route, begins, NOW)


@pytest.mark.parametrize("text", [None, "cron 0 0 30 2 *"])
def test_a_first_digest_without_moments_begins_nowhere(text: str | None) -> None:
    schedule = None if text is None else Schedule(text)
    assert first_digest_from(Route(name="ops", on=frozenset(), digest=schedule), NOW) is None


def test_an_event_that_is_no_trouble_is_told_each_time_however_lately_its_like_was() -> None:
    route = Route(name="ops", on=frozenset({Topic.SERVE_STARTED, Topic.FAILED}))
    quiet, loud = event(1, Topic.SERVE_STARTED, key="serve"), event(2, Topic.FAILED)
    told = {(route.name, trouble(each)): NOW - MINUTE for each in (quiet, loud)}
    sorting = sort([quiet, loud], [route], told, NOW)
    assert [each.id for bundle in sorting.bundles for each in bundle.events] == [1]
    assert [kept.event.id for kept in sorting.kept_back] == [2]


def test_what_was_sent_by_a_clock_that_was_ahead_puts_nothing_off() -> None:
    sent = [NOW - number * MINUTE for number in range(MOST)]
    assert not_before([*sent, NOW + DAY], NOW) == NOW + 10 * MINUTE
    assert not_before([NOW + number * MINUTE for number in range(1, 30)], NOW) == NOW


def test_what_fails_every_night_is_told_every_night_though_each_fails_a_little_sooner() -> None:
    told: dict[tuple[str, str], datetime] = {}
    for night in range(8):
        now = NOW + night * (DAY - MINUTE)
        sorting = sort([event(night + 1)], [OPS], told, now)
        assert sorting.bundles, f"night {night} was not told"
        told = {("ops", trouble(event())): now}


@given(st.integers(1, 60 * 24 * 30).map(lambda minutes: minutes * MINUTE))
def test_a_trouble_is_kept_back_for_nearly_as_long_as_its_route_says(repeat: timedelta) -> None:
    route, told = replace(OPS, repeat=repeat), {("ops", trouble(event())): NOW}
    assert not sort([event(2)], [route], told, NOW + repeat * 0.89).bundles
    assert sort([event(2)], [route], told, NOW + repeat - min(HOUR, repeat / 10)).bundles
    if repeat > 10 * HOUR:
        assert not sort([event(2)], [route], told, NOW + repeat - HOUR - MINUTE).bundles


def test_a_recovery_in_the_batch_that_a_notice_was_made_from_is_in_it_already() -> None:
    batch = [event(1), event(2, Topic.RECOVERED), event(3)]
    (bundle,) = sort(batch, [OPS], {}, NOW).bundles
    for through in (2, 3):
        told = told_so_far([notice(key=bundle.key, through=through)], [batch[1]])
        assert told["ops", trouble(event())] == NOW
    assert ("ops", trouble(event())) not in told_so_far([notice(key=bundle.key, through=1)], [batch[1]])

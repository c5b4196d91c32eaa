"""A watcher elsewhere is called while all is well, and only then."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from jobs.failure import FailureKind
from orchestrator.serve.dead_man import DeadMan
from orchestrator.settings.secrets import SecretEnvironment, SecretRef
from targets.errors import TargetError
from targets.ping import ping
from targets.secret import Secret
from tests.orchestrator.serve.clocks import START, HandClock
from tests.servers.webhook import Webhook, webhook

MINUTE = timedelta(minutes=1)


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as made:
        yield made


class Watched:
    """A dead man's ping, its clock, and whether all is well."""

    def __init__(self, hook: Webhook, *, fetched: bool = True, every: timedelta = 5 * MINUTE) -> None:
        self.clock, self.well, self.url = HandClock(), True, f"http://{hook.address}/token"
        self.fetched = fetched
        self.heard: list[str | None] = []
        self.man = DeadMan(
            SecretEnvironment(variable="URL"),
            every,
            healthy=lambda: self.well,
            resolve=self.resolve,
            ping=lambda url: ping(url, patience=0.3),
            clock=self.clock,
            trouble=self.heard.append,
        )

    def resolve(self, _reference: SecretRef, name: str) -> Secret:
        if not self.fetched:
            raise TargetError("read", name, FailureKind.SECRET_UNAVAILABLE, "it is not set")
        if not self.url:
            raise ValueError("the token")
        return Secret(self.url)

    def minutes(self, many: int) -> None:
        for _ in range(many):
            self.man.beat()
            self.man.wait(20)
            self.clock.go(MINUTE)


def test_it_is_called_at_once_and_every_five_minutes(hook: Webhook) -> None:
    watched = Watched(hook)
    watched.minutes(11)
    assert hook.asked == 3
    assert watched.man.facts.heard_at == START + 10 * MINUTE
    assert (watched.man.facts.failures, watched.man.error) == (0, "")


def test_it_is_not_called_while_something_is_wrong_and_at_once_when_all_is_well_again(hook: Webhook) -> None:
    watched = Watched(hook)
    watched.well = False
    watched.minutes(30)
    assert hook.asked == 0
    watched.well = True
    watched.minutes(1)
    assert hook.asked == 1


def test_a_call_that_failed_is_counted_and_made_again_after_a_minute(hook: Webhook) -> None:
    hook.status = 500
    watched = Watched(hook)
    watched.minutes(3)
    assert watched.man.facts.failures == 3
    assert watched.man.facts.heard_at is None
    assert watched.man.error == "call the dead man's address: the server answered 500"
    hook.status = 200
    watched.minutes(5)
    assert (watched.man.facts.failures, watched.man.error) == (3, "")
    assert hook.asked == 4


def test_a_server_that_hangs_is_called_once_at_a_time(hook: Webhook) -> None:
    hook.hang.set()
    watched = Watched(hook)
    for _ in range(10):
        watched.man.beat()
        watched.clock.go(10 * MINUTE)
    watched.man.wait(20)
    assert hook.asked == 1
    assert watched.man.facts.failures == 1


def test_an_address_that_cannot_be_fetched_is_a_call_that_failed(hook: Webhook) -> None:
    watched = Watched(hook, fetched=False)
    watched.minutes(1)
    assert watched.man.facts.failures == 1
    assert watched.man.error == "read the dead man's address: it is not set"


def test_whoever_watches_hears_of_a_failure_and_that_it_is_over(hook: Webhook) -> None:
    hook.status = 500
    watched = Watched(hook)
    watched.minutes(1)
    hook.status = 200
    watched.minutes(1)
    assert watched.heard == ["call the dead man's address: the server answered 500", None]


def test_our_own_fault_is_a_call_that_failed_and_is_made_again(hook: Webhook) -> None:
    watched = Watched(hook)
    url, watched.url = watched.url, ""
    watched.minutes(1)
    assert watched.man.facts.failures == 1
    assert watched.man.error.startswith("call the dead man's address: Tandem itself failed: ValueError at line ")
    assert "token" not in watched.man.error
    watched.url = url
    watched.minutes(1)
    assert (hook.asked, watched.man.error) == (1, "")
    assert watched.heard[1:] == [None]


def test_who_is_called_more_often_than_every_minute_is_called_as_often_after_a_failure(hook: Webhook) -> None:
    hook.status = 500
    watched = Watched(hook, every=MINUTE / 6)
    watched.man.beat()
    watched.man.wait(20)
    watched.clock.go(MINUTE / 6)
    watched.man.beat()
    watched.man.wait(20)
    assert hook.asked == 2

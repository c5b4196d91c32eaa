"""What goes on beside the loop: it fails visibly, goes on, and ends soon whatever hangs."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from jobs.notice import NoticeState
from orchestrator import settings as settings_room
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.serve.health import Health
from orchestrator.serve.rounds import Rounds
from orchestrator.serve.surroundings import Surroundings
from orchestrator.serve.voice import Voice
from orchestrator.settings import Settings
from reports.log import LogRecord
from targets.systemd import Systemd
from tests.acceptance.operator import SETTINGS, until
from tests.orchestrator.ledger.build import NOW, happening
from tests.servers import webhook as webhooks
from tests.servers.webhook import Webhook

# Apprise's own, of Python's next versions.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@dataclass
class Around:
    """Everything around a daemon that is not there."""

    folder: Path
    ledger: Ledger
    text: str = SETTINGS
    health: Health = field(default_factory=Health)
    said: list[LogRecord] = field(default_factory=list)
    socket: str | None = None

    def settings(self, more: str = "") -> Settings:
        file = self.folder / "settings.toml"
        file.write_text(self.text.format(restic="restic") + more)
        return settings_room.load(file, check_secrets=False)

    def made(self, more: str = "") -> Surroundings:
        clock = Clock()
        made = Surroundings(
            self.settings(more),
            ledger=self.ledger,
            clock=clock,
            health=self.health,
            voice=Voice(self.said.append, clock, self.health),
            version="test",
            systemd=Systemd(self.socket, watchdog=timedelta(0)),
        )
        if self.socket is None:
            made.beaten("the loop has gone once around")
        return made


@pytest.fixture
def around(tmp_path: Path) -> Iterator[Around]:
    with Ledger.open(f"sqlite:///{tmp_path / 'tandem.db'}", create=True, now=NOW) as ledger:
        yield Around(tmp_path, ledger)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with webhooks.webhook() as made:
        yield made


def told_to(webhook: Webhook) -> str:
    return f'\n[notify.desk]\nurls = ["json://{webhook.address}/"]\non = ["failed"]\n'


def happens(around: Around) -> None:
    around.ledger.add_events([replace(happening(1), at=Clock().now())])


def test_what_the_ledger_refuses_is_a_trouble_and_told_once_it_is_back(around: Around, webhook: Webhook) -> None:
    file, aside = around.folder / "tandem.db", around.folder / "aside"
    happens(around)
    around.ledger.close()
    file.rename(aside)
    file.mkdir()
    with around.made(told_to(webhook)):
        until(lambda: around.health.why_not("telling") and around.health.why_not("watching"))
        assert webhook.accepted == []
        file.rmdir()
        aside.rename(file)
        until(lambda: webhook.accepted)
        until(lambda: not around.health.why_not("telling"))
    assert len(webhook.accepted) == 1
    assert {notice.state for notice in around.ledger.notices()} == {NoticeState.DELIVERED}
    assert [record.event for record in around.said].count("telling") == 1  # and not once a second


def test_its_end_is_soon_although_a_channel_hangs_and_the_notice_is_kept(around: Around, webhook: Webhook) -> None:
    webhook.hang.set()
    happens(around)
    with around.made(told_to(webhook)):
        until(lambda: webhook.asked)
        began = time.monotonic()
    assert time.monotonic() - began < 20
    assert {notice.state for notice in around.ledger.notices()} == {NoticeState.PENDING}


def test_a_textfile_that_cannot_be_written_is_a_trouble_and_everything_else_goes_on(
    around: Around, webhook: Webhook
) -> None:
    missing = around.folder / "missing" / "tandem.prom"
    with around.made(f'\n[serve]\ntextfile = "{missing}"\n{told_to(webhook)}'):
        until(lambda: around.health.why_not("watching"))
        happens(around)
        until(lambda: webhook.accepted)
    assert "cannot be written there" in around.health.why_not("watching")


def test_a_pipe_in_the_place_of_the_textfile_holds_up_nothing(around: Around, webhook: Webhook) -> None:
    os.mkfifo(around.folder / ".tandem.prom.new")
    textfile = around.folder / "tandem.prom"
    with around.made(f'\n[serve]\ntextfile = "{textfile}"\n{told_to(webhook)}'):
        until(textfile.is_file)
    assert "tandem_" in textfile.read_text()


def _waits(event: threading.Event) -> None:
    event.wait()


def test_a_round_that_hangs_is_missed_and_those_that_go_on_are_not() -> None:
    hangs, now = threading.Event(), [0.0]
    health = Health(machine=lambda: now[0])
    health.ticked(0.0)
    rounds = Rounds(Clock(), lambda _key, _text: None, health.went_round)
    rounds.add("watching", lambda: _waits(hangs), lambda _took: 60.0)
    rounds.add("telling", lambda: None, lambda _took: 0.01)
    rounds.start()
    now[0] = 301.0
    try:
        until(lambda: health.report(0.0) == (False, ("watching: stuck, its last round was 5 min 1 s ago",)))
    finally:
        hangs.set()
        rounds.stop(10)


def test_an_address_that_is_taken_is_a_trouble_and_everything_else_goes_on(around: Around, webhook: Webhook) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with around.made(f'\n[serve]\nlisten = "{address}"\n{told_to(webhook)}'):
            until(lambda: around.health.why_not("listening"))
            happens(around)
            until(lambda: webhook.accepted)
    assert f"listen at {address}: nothing can listen there" in around.health.why_not("listening")


def test_it_leaves_no_thread_behind(around: Around) -> None:
    before = threading.active_count()
    with around.made('\n[serve]\nlisten = "127.0.0.1:0"\n'):
        until(lambda: "listening" in {record.event for record in around.said})
        assert threading.active_count() > before
    until(lambda: threading.active_count() == before)


def test_systemd_hears_once_that_it_is_ready_then_that_it_lives_and_at_last_that_it_ends(around: Around) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        around.socket = str(around.folder / "notify")
        manager.bind(around.socket)
        manager.settimeout(10)
        surroundings = around.made()
        surroundings.beaten("one")
        surroundings.beaten("two")
        surroundings.reloading()
        surroundings.beaten("three")
        surroundings.stopping("1 run", timedelta(seconds=60))
        surroundings.stopping("no run", timedelta(seconds=59))
        heard = [manager.recv(4096).decode() for _ in range(7)]
    assert heard.pop(2).startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert heard == [
        "READY=1\nSTATUS=one\n",
        "STATUS=two\nWATCHDOG=1\n",
        "READY=1\nSTATUS=three\n",
        "STOPPING=1\nSTATUS=1 run\n",
        "EXTEND_TIMEOUT_USEC=90000000\nSTATUS=1 run\n",
        "EXTEND_TIMEOUT_USEC=89000000\nSTATUS=no run\n",
    ]
    surroundings.beaten("four")  # nobody listens any more
    assert "cannot be told anything" in around.health.why_not("systemd")


def test_new_channels_are_told_what_happens_from_then_on(around: Around, webhook: Webhook) -> None:
    with around.made() as surroundings:
        happens(around)
        until(lambda: around.ledger.told_until() >= 1)
        surroundings.settled(around.settings(told_to(webhook)))
        until(lambda: _is_told(around, webhook), seconds=30)


def _is_told(around: Around, webhook: Webhook) -> bool:
    around.ledger.add_events([replace(happening(2), at=Clock().now())])
    time.sleep(0.1)
    return bool(webhook.accepted)

"""The HTTP server, asked over real sockets by good clients and bad ones."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse

import pytest

from jobs.failure import Failure, FailureKind
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import LedgerError
from orchestrator.serve.health import Health
from orchestrator.serve.listener import MOST_CLIENTS, Listener
from reports.exposition import Page
from targets.errors import TargetError
from tests.orchestrator.serve.clocks import HandClock


class House:
    """A listener and what it shows."""

    def __init__(self) -> None:
        self.health = Health()
        self.clock = HandClock()  # of the connections
        self.refusal: LedgerError | None = None
        self.asked, self.gate = threading.Event(), threading.Event()
        self.gate.set()
        self.listener = Listener(
            ("127.0.0.1", 0),
            metrics=self.metrics,
            health=lambda: self.health.report(0.0),
            monotonic=self.clock.monotonic,
            patience=60,
        )

    def metrics(self) -> Page:
        self.asked.set()
        self.gate.wait(20)
        if self.refusal is not None:
            raise self.refusal
        text = 'tandem_figure{name="été"} 1\n'.encode()
        return Page(members=(gzip.compress(text),), size=len(text))

    def ask(self, method: str, path: str, **headers: str) -> tuple[HTTPResponse, str]:
        connection = HTTPConnection(*self.listener.address, timeout=20)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
            packed = answer.headers["Content-Encoding"] == "gzip"
            return answer, (gzip.decompress(content) if packed else content).decode()
        finally:
            connection.close()


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    made.listener.start()
    yield made
    made.gate.set()
    made.listener.stop()


def test_healthz_is_green_or_says_why_not(house: House) -> None:
    answer, text = house.ask("GET", "/healthz")
    assert (answer.status, text) == (503, "scheduler: it has not begun\n")
    house.health.ticked(0.0)
    answer, text = house.ask("GET", "/healthz?verbose=1")
    assert (answer.status, text) == (200, "ok\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    house.health.trouble("ledger", "the disk is full")
    house.health.trouble("clock", "it was set back")
    answer, text = house.ask("GET", "/healthz")
    assert (answer.status, text) == (503, "clock: it was set back\nledger: the disk is full\n")


def test_metrics_come_in_the_form_that_prometheus_reads(house: House) -> None:
    answer, text = house.ask("GET", "/metrics")
    assert (answer.status, text) == (200, 'tandem_figure{name="été"} 1\n')
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_metrics_are_packed_for_whoever_can_unpack_them(house: House) -> None:
    plain, text = house.ask("GET", "/metrics")
    packed, same = house.ask("GET", "/metrics", **{"Accept-Encoding": "gzip"})
    assert (packed.status, same) == (200, text)
    assert (plain.headers["Content-Encoding"], packed.headers["Content-Encoding"]) == (None, "gzip")
    assert house.ask("GET", "/healthz", **{"Accept-Encoding": "gzip"})[0].headers["Content-Encoding"] is None


def test_a_client_is_not_cut_off_while_its_page_is_made(house: House) -> None:
    house.gate.clear()
    with socket.create_connection(house.listener.address, timeout=20) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert house.asked.wait(20)
        with socket.create_connection(house.listener.address, timeout=20) as silent:
            connected(house, 2)
            house.clock.seconds += 61
            assert silent.recv(1) == b""  # the server has looked at its clients, and cut off this one
        house.gate.set()
        assert client.recv(12) == b"HTTP/1.0 200"


def connected(house: House, many: int) -> None:
    """Wait until the server has taken so many clients."""
    end = time.monotonic() + 20
    while len(house.listener._server._clients) < many and time.monotonic() < end:
        time.sleep(0.01)


def test_a_head_is_an_answer_without_its_text(house: House) -> None:
    whole, _ = house.ask("GET", "/metrics")
    head, text = house.ask("HEAD", "/metrics")
    assert (head.status, text) == (200, "")
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]


def test_a_ledger_that_refuses_is_an_answer_too(house: House) -> None:
    house.refusal = LedgerError(Failure(kind=FailureKind.DISK_FULL, message="read the ledger: the disk is full"))
    answer, text = house.ask("GET", "/metrics")
    assert answer.status == 503
    assert text.startswith("read the ledger: the disk is full\nNext: ")


def test_nothing_can_be_changed(house: House) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "X"):
        answer, _ = house.ask(method, "/healthz")
        assert (method, answer.status) == (method, 405)
        assert answer.headers["Allow"] == "GET, HEAD"


def test_there_is_nothing_else(house: House) -> None:
    for path in ("/", "/metrics/", "/../etc/passwd", "/healthzz", "*"):
        answer, text = house.ask("GET", path)
        assert (path, answer.status, text) == (path, 404, "There is /healthz and /metrics.\n")


def test_what_is_no_request_harms_nobody(house: House) -> None:
    for said in (b"\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET /healthz HTTP/9.9\r\n\r\n", b"GET " + b"x" * 70_000):
        with socket.create_connection(house.listener.address, timeout=20) as client:
            client.sendall(said)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65_536):
                pass
    assert house.ask("HEAD", "/healthz")[0].status == 503


def test_a_client_that_says_nothing_holds_up_nobody_and_is_cut_off(house: House) -> None:
    with socket.create_connection(house.listener.address, timeout=20) as silent:
        silent.sendall(b"GET /hea")
        assert house.ask("GET", "/healthz")[0].status == 503
        house.clock.seconds += 61
        assert silent.recv(1) == b""


def served_in_the_end(house: House) -> int:
    """The status of an answer: those that were cut off may still be on their way out."""
    for _ in range(200):
        try:
            return house.ask("GET", "/healthz")[0].status
        except ConnectionError:
            time.sleep(0.02)
    pytest.fail("nobody is served any more")


def test_so_many_silent_clients_are_turned_away_and_the_next_is_served(house: House) -> None:
    clients = [socket.create_connection(house.listener.address, timeout=20) for _ in range(MOST_CLIENTS + 4)]
    for client in clients[MOST_CLIENTS:]:
        assert client.recv(1) == b""
    house.clock.seconds += 61
    for client in clients[:MOST_CLIENTS]:
        assert client.recv(1) == b""
        client.close()
    for client in clients[MOST_CLIENTS:]:
        client.close()
    assert served_in_the_end(house) == 503


def test_it_stops_while_somebody_is_being_served(house: House) -> None:
    house.gate.clear()
    with socket.create_connection(house.listener.address, timeout=20) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert house.asked.wait(20)
        house.listener.stop()
        assert client.recv(1) == b""
    house.gate.set()
    with pytest.raises(ConnectionRefusedError):
        house.ask("GET", "/healthz")


def test_an_address_that_is_taken_is_an_error_that_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        with pytest.raises(TargetError, match="nothing can listen there") as caught:
            Listener(
                other.getsockname()[:2],
                metrics=Page,
                health=lambda: (True, ()),
                monotonic=Clock().monotonic,
            )
        assert caught.value.kind is FailureKind.ADDRESS_UNUSABLE


def test_it_listens_where_ipv6_is_spoken() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        listener = Listener(("::1", 0), metrics=Page, health=lambda: (True, ()), monotonic=Clock().monotonic)
    except TargetError:
        pytest.skip("this machine has no IPv6")
    listener.start()
    try:
        connection = HTTPConnection(*listener.address, timeout=20)
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok\n"
        connection.close()
    finally:
        listener.stop()

"""What machines may ask over HTTP: /healthz and /metrics, to read only. A slow or silent client holds up nobody else.

There is no password and no TLS here: it listens where the operator said, and tells no secret.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, Final, cast

from jobs.failure import Failure, FailureKind
from orchestrator.ledger.ledger import LedgerError
from orchestrator.serve.health import Report
from reports.exposition import Page
from targets.errors import TargetError

MOST_CLIENTS: Final = 16
PATIENCE: Final = 10.0  # seconds in which a client has asked, and then in which it has taken what it asked for
_TEXT: Final = "text/plain; charset=utf-8"
_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"  # what reports.metrics writes

Answer = tuple[HTTPStatus, str, Page | str]  # status, content type, text


class Listener:
    """The HTTP server of `serve`. `metrics` and `health` are asked anew for each request, in a thread of its own."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        metrics: Callable[[], Page],
        health: Callable[[], Report],
        monotonic: Callable[[], float],
        patience: float = PATIENCE,
    ) -> None:
        """Begin to listen at `address`; port 0 takes a free one. Raises TargetError TARGET_UNWRITABLE."""
        pages = MappingProxyType({"/metrics": lambda: _measured(metrics), "/healthz": lambda: _healthy(health)})
        try:
            self._server = _Server(address, pages, monotonic, patience)
        except (OSError, OverflowError) as error:
            where = f"{address[0]}:{address[1]}"
            message = f"nothing can listen there: {getattr(error, 'strerror', None) or error}"
            raise TargetError("listen at", where, FailureKind.ADDRESS_UNUSABLE, message) from error
        host, port = self._server.socket.getsockname()[:2]
        self._address = (str(host), int(port))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="listener", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens in fact."""
        return self._address

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more. Clients that are being served are cut off. Stopping twice succeeds."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.cut(older_than=float("-inf"))  # those too that wait for us
        self._server.server_close()


def _measured(metrics: Callable[[], Page]) -> Answer:
    try:
        return HTTPStatus.OK, _METRICS, metrics()
    except LedgerError as error:
        return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, f"{_said(error.failure)}\n"


def _said(failure: Failure) -> str:
    return f"{failure.message}\nNext: {failure.advice}"


def _healthy(health: Callable[[], Report]) -> Answer:
    well, reasons = health()
    status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
    return status, _TEXT, "ok\n" if well else "".join(f"{reason}\n" for reason in reasons)


class _Server(ThreadingHTTPServer):
    """At most MOST_CLIENTS at a time, each for at most `patience` seconds."""

    daemon_threads = True  # no client keeps a process alive that is to end
    block_on_close = False  # a client that hangs is cut off, not waited for
    allow_reuse_address = True
    request_queue_size = 32  # of the library's 5, some of many that come at once would be turned away

    def __init__(
        self,
        address: tuple[str, int],
        pages: MappingProxyType[str, Callable[[], Answer]],
        monotonic: Callable[[], float],
        patience: float,
    ) -> None:
        self.pages = pages
        self.patience = patience
        self._monotonic = monotonic
        self._clients: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        self.address_family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind without asking the name service for our own name, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "tandem", self.server_address[1]

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next client, whose time begins now."""
        client, address = super().get_request()
        with self._lock:
            self._clients[client] = self._monotonic()
        return client, address

    def verify_request(self, request: object, client_address: object) -> bool:  # noqa: ARG002 (socketserver's)
        """Refuse whoever is one too many."""
        with self._lock:
            return len(self._clients) <= MOST_CLIENTS

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """The client is served, or refused."""
        with self._lock:
            self._clients.pop(cast("socket.socket", request), None)  # a pair is for datagrams
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called by the server's loop every 0.2 s."""
        self.cut(older_than=self.patience)

    @contextmanager
    def at_work(self, client: socket.socket) -> Iterator[None]:
        """The client waits for us meanwhile: its time stands still, and begins anew."""
        self._times(client, float("inf"))
        try:
            yield
        finally:
            self._times(client, self._monotonic())

    def _times(self, client: socket.socket, since: float) -> None:
        with self._lock:
            if client in self._clients:
                self._clients[client] = since

    def cut(self, *, older_than: float) -> None:
        """End the connections that have lasted so many seconds: a client may send a byte a second for ever."""
        now = self._monotonic()
        with self._lock:
            for client, since in self._clients.items():
                if now - since >= older_than and client.fileno() >= 0:
                    try:
                        client.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        continue  # it has gone by itself

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 (socketserver's)
        """A client that goes away in the middle is nobody's business; what else happens is a fault, and is shown."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            raise error


class _Handler(BaseHTTPRequestHandler):
    """One request, one answer, and the connection is closed."""

    server: _Server
    server_version, sys_version = "Tandem", ""

    def setup(self) -> None:
        """No single wait is longer than the whole may be."""
        super().setup()
        self.connection.settimeout(self.server.patience)

    def do_GET(self) -> None:
        """Answer with the whole page."""
        self._answer(whole=True)

    def do_HEAD(self) -> None:
        """Answer with the head of the page."""
        self._answer(whole=False)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server refuses by itself: a request that is none, and every method but those two."""
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        self._send((status, _TEXT, f"{explain or message or status.phrase}\n"), whole=True)

    def _answer(self, *, whole: bool) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        answer: Answer = (HTTPStatus.NOT_FOUND, _TEXT, "There is /healthz and /metrics.\n")
        if page is not None:
            with self.server.at_work(self.connection):
                answer = page()
        self._send(answer, whole=whole)

    def _send(self, answer: Answer, *, whole: bool) -> None:
        status, kind, text = answer
        packs = isinstance(text, Page) and "gzip" in self.headers.get("Accept-Encoding", "")
        size, pieces = _content(text, packs=packs)
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(size)),
            *((("Content-Encoding", "gzip"),) if packs else ()),
            ("Vary", "Accept-Encoding"),
            ("Allow", "GET, HEAD"),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if whole:
            for piece in pieces:
                self.wfile.write(piece)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged: somebody asks every few seconds, for years."""


def _content(text: Page | str, *, packs: bool) -> tuple[int, Iterable[bytes]]:
    """How many bytes it is as it goes over the line, and these."""
    if isinstance(text, Page):
        return (sum(map(len, text.members)), text.members) if packs else (text.size, text.pieces())
    content = text.encode("utf-8", "backslashreplace")
    return len(content), (content,)

"""A webhook on loopback that can be away, refuse, hang and accept, at one address all the time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.servers.program import LOOPBACK


class Webhook:
    """Bound to its port from the start; until `open` whoever connects is refused."""

    def __init__(self) -> None:
        self.accepted: list[Any] = []  # what was posted and answered with 2xx
        self.asked = 0  # requests, however they ended
        self.status = 200
        self.hang = threading.Event()
        self.release = threading.Event()  # lets those that hang go on
        self._server = ThreadingHTTPServer((LOOPBACK, 0), self._handler(), bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.block_on_close = True
        self._server.server_bind()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{LOOPBACK}:{self._server.socket.getsockname()[1]}"

    def open(self) -> None:
        """Listen."""
        self._server.server_activate()
        self._thread.start()

    def close(self) -> None:
        """End it, and whoever hangs."""
        self.release.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def _handler(webhook) -> type[BaseHTTPRequestHandler]:  # noqa: N805 (the handler has a self of its own)
        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                webhook.asked += 1
                if webhook.hang.is_set():
                    webhook.release.wait(30)
                    return
                if webhook.status < 300 and content:
                    webhook.accepted.append(json.loads(content))
                self.send_response(webhook.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST  # noqa: N815 (http.server looks for these names)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing on standard error."""

        return Answer


@contextmanager
def webhook(*, listening: bool = True) -> Iterator[Webhook]:
    """A webhook for as long as the block."""
    made = Webhook()
    try:
        if listening:
            made.open()
        yield made
    finally:
        made.close()

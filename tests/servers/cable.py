"""A cable between a client and a server of 127.0.0.1 that a test can cut and mend."""

from __future__ import annotations

import selectors
import socket
import threading
from types import TracebackType
from typing import Self

from tests.servers.program import LOOPBACK

_BUFFER = 64 * 1024


class Cable:
    """Listens on `port` and passes everything on to the server's port. `connections` counts what was accepted."""

    host = LOOPBACK

    def __init__(self, server_port: int) -> None:
        """Lay the cable."""
        self._server_port = server_port
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._whole = True
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """End every connection now, and each new one at once, until `mend`."""
        with self._lock:
            self._whole = False
            for end in self._ends:
                _shut(end)

    def mend(self) -> None:
        """Let connections through again."""
        self._whole = True

    def close(self) -> None:
        """Take the cable away."""
        self.cut()
        _shut(self._listener)
        for thread in tuple(self._threads):
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._pass_on, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.socket() as server:
            with self._lock:
                if not self._whole:
                    return
                self._ends |= {client, server}
            try:
                server.connect((LOOPBACK, self._server_port))
                _pump(client, server)
            except OSError:
                return
            finally:
                with self._lock:
                    self._ends -= {client, server}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes both ways until one side ends."""
    with selectors.DefaultSelector() as ready:
        ready.register(one, selectors.EVENT_READ, other)
        ready.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in ready.select():
                end = key.fileobj
                assert isinstance(end, socket.socket)
                data = end.recv(_BUFFER)
                if not data:
                    return
                key.data.sendall(data)


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:  # already gone
        return

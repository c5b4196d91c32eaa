"""Servers on loopback that say what a test tells them to, on the very loop that probes them."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing

from tests.servers.certificate import Certificate
from tests.servers.program import LOOPBACK

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(talk: Talk, *, certificate: Certificate | None = None, port: int = 0) -> AsyncIterator[int]:
    """A port where every connection is talked to so; at the end all of them are let go."""
    tasks: set[asyncio.Task[None]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the probe has let go, or the test is over
        finally:
            writer.transport.abort()
            tasks.discard(task)

    server = await asyncio.start_server(
        connection, LOOPBACK, port, ssl=None if certificate is None else as_server(certificate)
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(3):  # until the loop has let go of every connection
            await asyncio.sleep(0)


def as_server(certificate: Certificate) -> ssl.SSLContext:
    """What a server needs to show a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    return context


def closed_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.create_server((LOOPBACK, 0))) as found:
        return int(found.getsockname()[1])


def saying(answer: bytes) -> Talk:
    """Hear one request out (up to an empty line), give an answer, and end."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return talk


def page(content: bytes, *, status: str = "200 OK", headers: str = "") -> Talk:
    """One page over HTTP."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n{headers}\r\n".encode()
    return saying(head + content)


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Takes the connection, and never says a word."""
    await reader.read()
    await asyncio.sleep(3600)

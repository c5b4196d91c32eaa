"""A mail server on loopback that takes every mail, and one that refuses to: real SMTP, by aiosmtpd."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP


class Postbox:
    """What was sent. `answer` is what the server says to the next mail's content."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.answer = "250 OK"
        self.port = 0

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 (aiosmtpd's name)
        """A mail's content has come."""
        if self.answer.startswith("250"):
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
            self.recipients.append(list(envelope.rcpt_tos))
        return self.answer


@contextmanager
def mail_server() -> Iterator[Postbox]:
    """A server that runs for as long as the block."""
    postbox = Postbox()
    loop = asyncio.new_event_loop()
    outside = socket.create_server(("127.0.0.1", 0))
    postbox.port = outside.getsockname()[1]
    server = loop.run_until_complete(
        loop.create_server(
            lambda: SMTP(postbox, hostname="mail.example", enable_SMTPUTF8=True, loop=loop), sock=outside
        )
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield postbox
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(_all_ended(loop))
        loop.close()


async def _all_ended(loop: asyncio.AbstractEventLoop) -> None:
    others = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)

"""Messages to people through apprise: mail, chat, SMS gateways, webhooks. One try, in the caller's own thread.

The outbox retries, remembers and splits, so that apprise does none of it: no retries, no storage on disk, no threads
of its own (its pool has few, and waits for each of them when the program ends). What apprise logs may hold parts of an
address, which is a secret; it is read for a status code, and goes nowhere.
https://github.com/caronc/apprise/wiki/Development_API
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from jobs.event import Severity
from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.secret import Secret

if TYPE_CHECKING:
    from apprise import AppriseAsset, NotifyBase

_TYPES: Final = MappingProxyType({Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "failure"})
# "Failed to send JSON notification: …, error=500." · "Socket Exception: (535, b'…')" · "Socket Exception: [Errno 111]"
_STATUS: Final = re.compile(r"\berror\s*=\s*(\d{3})\b")
_SOCKET: Final = "Socket Exception:"
_REPLY: Final = re.compile(r"\((\d{3}), b")
_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")
_OPERATION: Final = "notify"


class Apprise:
    """Sends one message to one apprise address. Safe to share between threads.

    `patience` is in seconds: for a connection, and again for each answer (some services answer several times).
    """

    def __init__(self, *, patience: float = 10.0) -> None:
        self._patience = patience

    def send(self, name: str, url: Secret | str, subject: str, body: str, severity: Severity) -> None:
        """Hand over a message; returning means that the service has accepted it.

        `name` is what people call the channel; `subject` and `body` are plain text. What a service has no room for is
        cut off. Raises TargetError: CHANNEL_INVALID, CHANNEL_UNREACHABLE, CHANNEL_REFUSED; none holds the address.
        """
        import apprise  # takes 150 ms, and most verbs tell nobody

        service = self._service(url)
        if service is None:
            message = "its address is not one that apprise knows"
            raise TargetError(_OPERATION, f"channel {name}", FailureKind.CHANNEL_INVALID, message)
        courier = apprise.Apprise(asset=_asset())
        courier.add(service)
        result = courier.notify(
            body=body,
            title=subject,
            notify_type=apprise.NotifyType(_TYPES[severity]),
            body_format=apprise.NotifyFormat.TEXT,
            log_level=logging.DEBUG,
        )
        if not result:
            raise _refusal(name, [(entry.level, entry.message) for entry in result.logs()])

    def understands(self, url: Secret | str) -> bool:
        """Whether apprise knows what to do with an address. Nothing is sent."""
        return self._service(url) is not None

    def _service(self, url: Secret | str) -> NotifyBase | None:
        import apprise

        text = url.reveal() if isinstance(url, Secret) else url
        service = apprise.Apprise.instantiate(text, asset=_asset())
        if service is None:
            return None
        service.socket_connect_timeout = service.socket_read_timeout = self._patience
        service.retry = 0
        service.optional = False  # or a failure would count as delivered
        if "overflow=" not in text:
            service.overflow_mode = apprise.OverflowMode.TRUNCATE  # or a list becomes seventy short messages
        return service


@cache
def _asset() -> AppriseAsset:
    """How apprise is to behave, and its log silenced: with no handler at all, Python would print it."""
    import apprise

    logger = logging.getLogger("apprise")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    logger.setLevel(logging.DEBUG)  # where the reason is told
    asset = apprise.AppriseAsset(storage_mode="memory", service_timeout=0, allow_templates=False)
    asset.app_id, asset.app_desc, asset.async_mode = "Tandem", "Tandem", False
    return asset


def _refusal(name: str, log: Iterable[tuple[str, str]]) -> TargetError:
    """A status code is the server's word; without one nobody answered as a server should."""
    status, why = "", "no answer, or none that accepts the message"
    for level, line in log:
        if level != "DEBUG" and (found := _STATUS.search(line)):
            status = found[1]
        elif line.startswith(_SOCKET):
            status = reply[1] if (reply := _REPLY.search(line)) else status
            why = os.strerror(int(errno[1])) if (errno := _ERRNO.search(line)) else why
    kind = FailureKind.CHANNEL_REFUSED if status else FailureKind.CHANNEL_UNREACHABLE
    message = f"the server answered {status}" if status else why
    return TargetError(_OPERATION, f"channel {name}", kind, message)

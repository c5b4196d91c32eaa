"""The kinds of addresses that `serve` listens at and speaks to. One that may hold a secret is refused, unquoted."""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, PlainValidator, WithJsonSchema

from orchestrator.settings.fields import Text

_LISTEN: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})")
_OPEN: Final = ("json", "jsons", "form", "forms", "xml", "xmls", "syslog")  # channels that can do without a secret
_LOCAL: Final = "syslog"  # this machine's, unless a host is named
_WEB: Final = ("http", "https")
_SECRET: Final = re.compile(r"key|token|secret|pass|auth|sig|cred", re.IGNORECASE)
_ELSEWHERE: Final = 'write where it is: { env = "…" }, { file = "…" } or { command = ["…"] }'


def _listen(text: object) -> tuple[str, int]:
    """Host and port. Raises ValueError."""
    found = _LISTEN.fullmatch(text) if isinstance(text, str) else None
    if found is None or int(found[3]) > 65_535:
        raise ValueError('must be an address and a port in quotes, such as "127.0.0.1:9377" or "[::1]:9377"')
    return found[1] or found[2], int(found[3])


def _without_secret(text: str, schemes: tuple[str, ...], wanted: str) -> str:
    """An address that anybody may read; no message quotes one, for it may hold a password by mistake."""
    try:
        address = urlsplit(text)
        names = [name for name, _ in parse_qsl(address.query, keep_blank_values=True)]
        sound = "://" in text and (bool(address.netloc) or address.scheme == _LOCAL) and address.port != 0
    except ValueError:
        raise ValueError(f"is not an address; {wanted}") from None  # its message would quote the address
    if address.scheme not in schemes:
        raise ValueError(f"{wanted}; any other address may hold a secret: {_ELSEWHERE}")
    if "@" in text or any(map(_SECRET.search, names)):  # wherever the @ is: a password may hold slashes
        raise ValueError(f"holds a user, a password or a key; {_ELSEWHERE}")
    if not sound:
        raise ValueError(f"is not an address; {wanted}")
    return text


def _dead_man(text: str) -> str:
    return _without_secret(text, _WEB, 'must be an address such as "https://watch.example/ping/tandem"')


def _channel(text: str) -> str:
    kinds = f"{', '.join(f'{scheme}://' for scheme in _OPEN[:-1])} or {_OPEN[-1]}://"
    return _without_secret(text, _OPEN, f"must begin with {kinds}")


Listen = Annotated[
    tuple[str, int],
    PlainValidator(_listen),
    WithJsonSchema({"type": "string", "examples": ["127.0.0.1:9377"], "pattern": r"^.+:[0-9]{1,5}$"}),
]
DeadMan = Annotated[Text, AfterValidator(_dead_man)]
OpenChannel = Annotated[Text, AfterValidator(_channel)]

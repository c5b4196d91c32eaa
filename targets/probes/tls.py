"""A certificate, as a careful client sees it, also where TLS is asked for in another protocol first (STARTTLS).

SMTP: RFC 3207 · IMAP: RFC 9051 · POP3: RFC 2595 · LDAP: RFC 4511 section 4.14 · PostgreSQL: its SSLRequest message.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from jobs.availability.probe import Finding, Reason, StartTls, TlsProbe, down, up
from targets.probes.reach import connected, now, since, trusting, within

_Ask = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]
_MOST_LINES: Final = 100
_MOST_BYTES: Final = 4096
# ExtendedRequest 1.3.6.1.4.1.1466.20037 with message id 1, and how its answer begins; in BER.
_LDAP_REQUEST: Final = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"
_SEQUENCE: Final = 0x30
_LONG_LENGTH: Final = 0x80
_LDAP_ANSWER: Final = bytes.fromhex("02010178")
_LDAP_SUCCESS: Final = bytes.fromhex("0a0100")
_PG_REQUEST: Final = bytes.fromhex("0000000804d2162f")  # length 8, code 80877103


async def look(probe: TlsProbe, patience: float, today: datetime) -> Finding:
    """Shake hands once. `patience` is in seconds, for all of it; `today` decides how long the certificate is valid."""

    async def shake() -> Finding:
        start = now()
        reader, writer = await connected(probe.host, probe.port, probe.family)
        try:
            if probe.starttls is not None and not await _ASK[probe.starttls](reader, writer):
                return down(Reason.NO_TLS, f"{probe.starttls} does not offer STARTTLS", since(start))
            await writer.start_tls(trusting(probe.authority), server_hostname=probe.name or probe.host)
            return _valid_for(probe, writer, since(start), today)
        finally:
            writer.transport.abort()  # the peer may never say goodbye, and nothing is left to be said

    return await within(patience, shake)


def _valid_for(probe: TlsProbe, writer: asyncio.StreamWriter, latency: int, today: datetime) -> Finding:
    certificate = writer.get_extra_info("peercert")
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    text = f"valid until {ends:%Y-%m-%d}"
    if ends - today < timedelta(days=probe.days):
        return down(Reason.EXPIRES, text, latency)
    return up(latency, detail=text)


async def _smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    await _answer(reader, "220")
    writer.write(b"EHLO tandem.invalid\r\n")
    if not await _answer(reader, "250"):
        return False
    writer.write(b"STARTTLS\r\n")
    return await _answer(reader, "220")


async def _answer(reader: asyncio.StreamReader, code: str) -> bool:
    """Whether an answer, of one line or several ("250-…", "250 …"), has a code."""
    for _ in range(_MOST_LINES):
        line = await _line(reader)
        if line[3:4] != "-":
            return line.startswith(code)
    return False


async def _line(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\n")).decode("ascii", "replace")


async def _imap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    await _line(reader)
    writer.write(b"a STARTTLS\r\n")
    for _ in range(_MOST_LINES):
        line = await _line(reader)
        if not line.startswith("*"):
            return line.upper().startswith("A OK")
    return False


async def _pop3(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    await _line(reader)
    writer.write(b"STLS\r\n")
    return (await _line(reader)).startswith("+OK")


async def _ldap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """The answer is a SEQUENCE of message id 1 and an ExtendedResponse, whose first element is a code: 0 is success."""
    writer.write(_LDAP_REQUEST)
    tag, length = await reader.readexactly(2)
    if length & _LONG_LENGTH:  # the low bits say how many bytes the length has; Active Directory always takes four
        length = int.from_bytes(await reader.readexactly(min(length & ~_LONG_LENGTH, 4)))
    body = await reader.readexactly(min(length, _MOST_BYTES))
    return tag == _SEQUENCE and body.startswith(_LDAP_ANSWER) and _LDAP_SUCCESS in body


async def _postgresql(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(_PG_REQUEST)
    return await reader.readexactly(1) == b"S"


_ASK: Final[Mapping[StartTls, _Ask]] = MappingProxyType(
    {
        StartTls.SMTP: _smtp,
        StartTls.IMAP: _imap,
        StartTls.POP3: _pop3,
        StartTls.LDAP: _ldap,
        StartTls.POSTGRESQL: _postgresql,
    }
)

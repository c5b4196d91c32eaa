"""A page over HTTP through aiohttp: a fresh connection for each look, one attempt, one address.

https://docs.aiohttp.org/en/stable/client_reference.html
"""

from __future__ import annotations

import codecs
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from jobs.availability.probe import Family, Finding, HttpProbe, Reason, down, judged_answer
from targets.probes.reach import now, refusal, resolved, since, trusting, within

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession
    from aiohttp.abc import AbstractResolver

_HEADERS: Final[Mapping[str, str]] = {"User-Agent": "Tandem", "Accept": "*/*", "Accept-Encoding": "identity"}
_CHUNK: Final = 1 << 16


async def look(probe: HttpProbe, patience: float) -> Finding:
    """Ask once. `patience` is in seconds, for all of it, redirects and body included."""

    async def ask() -> Finding:
        import aiohttp  # takes 200 ms, and most verbs look at nothing

        start = now()
        try:
            async with _session(probe) as session:
                return await _asked(probe, session, start)
        except aiohttp.TooManyRedirects:
            return down(Reason.REDIRECTS, f"more than {probe.redirects}", since(start))
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientOSError) as error:
            return refusal(_cause(error))
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError):
            return down(Reason.CUT)
        except aiohttp.ClientError as error:
            return down(Reason.PROTOCOL, type(error).__name__, since(start))

    return await within(patience, ask)


def _session(probe: HttpProbe) -> ClientSession:
    import aiohttp

    connector = aiohttp.TCPConnector(
        force_close=True,
        happy_eyeballs_delay=None,
        limit=0,
        resolver=_resolver(probe.family),
        ssl=trusting(probe.authority),
        use_dns_cache=False,
    )
    timeout = aiohttp.ClientTimeout(total=None)  # ours is over all of it
    return aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), headers=_HEADERS, trust_env=False
    )


def _resolver(wanted: Family | None) -> AbstractResolver:
    from aiohttp.abc import AbstractResolver, ResolveResult

    class FirstAddress(AbstractResolver):
        """The first address of the wanted protocol alone, looked up where nobody waits for it."""

        async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:  # noqa: ARG002 (aiohttp names it)
            address, _ = await resolved(host, port, wanted)
            kind = socket.AF_INET6 if ":" in address else socket.AF_INET
            return [ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=0)]

        async def close(self) -> None:
            """Nothing is held."""

    return FirstAddress()


async def _asked(probe: HttpProbe, session: ClientSession, start: float) -> Finding:
    follows = probe.redirects > 0
    async with session.get(probe.url, allow_redirects=follows, max_redirects=probe.redirects + 1) as answer:
        latency = since(start)
        content = await _content(answer, probe.largest) if probe.reads else ""
        return judged_answer(probe, answer.status, content, latency)


async def _content(answer: ClientResponse, largest: int) -> str | None:
    """The text of an answer; None where it has more bytes than may be read."""
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_chunked(_CHUNK):
        size += len(part)
        if size > largest:
            return None
        parts.append(part)
    return b"".join(parts).decode(_charset(answer), "replace")


def _charset(answer: ClientResponse) -> str:
    """What the server says that its text is written in, if there is such a thing."""
    named = answer.charset or "utf-8"
    try:
        codecs.lookup(named)
    except LookupError:
        return "utf-8"
    return named


def _cause(error: BaseException) -> BaseException:
    """What the system said, beneath what the library makes of it."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
    return cause if isinstance(cause, BaseException) else error

"""A connection to one address of a host, by one protocol, at once or not at all; and why not, in a probe's words.

Nothing is tried twice, and no second address: a try that is hidden is an outage that is hidden. Names are looked up in
threads of their own, because the system's resolver waits, and no other work may wait with it.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Final

from jobs.availability.probe import Family, Finding, Reason, down
from jobs.availability.span import SECOND, State

_LOOKUPS: Final = ThreadPoolExecutor(max_workers=64, thread_name_prefix="lookup")
FAMILIES: Final = MappingProxyType({None: socket.AF_UNSPEC, Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6})
_ERRNO: Final = MappingProxyType(
    {
        errno.ECONNREFUSED: Reason.REFUSED,
        errno.ECONNRESET: Reason.CUT,
        errno.EPIPE: Reason.CUT,
        errno.ETIMEDOUT: Reason.TIMEOUT,
        errno.EHOSTUNREACH: Reason.UNREACHABLE,
        errno.ENETUNREACH: Reason.UNREACHABLE,
        errno.EADDRNOTAVAIL: Reason.UNREACHABLE,
    }
)
# What says that this machine cannot look: no sockets, memory or files left, or no right to.
_OUR_OWN: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EPERM, errno.EACCES})
# A resolver that is away, or out of memory, knows nothing of the name.
_NO_RESOLVER: Final = frozenset({socket.EAI_AGAIN, socket.EAI_MEMORY, socket.EAI_SYSTEM})
# Looked at before the number, which is no errno in the first two.
_KINDS: Final = (
    (ssl.SSLError, Reason.NO_TLS),
    (socket.gaierror, Reason.NO_NAME),
    (EOFError, Reason.CUT),  # asyncio.IncompleteReadError is one
    (asyncio.LimitOverrunError, Reason.PROTOCOL),
)
# OpenSSL's X509_V_ERR_*: https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_CERTIFICATE: Final = MappingProxyType(
    {9: Reason.NOT_YET, 10: Reason.EXPIRED, 62: Reason.WRONG_NAME, 64: Reason.WRONG_NAME}
)


class UnableError(Exception):
    """This machine cannot look: what is wrong is ours, and says nothing of the target."""


async def resolved(host: str, port: int, family: Family | None) -> tuple[str, int]:
    """The first address that the system knows for a host, and its port. Raises OSError (socket.gaierror).

    An address is its own: it waits behind nobody's look-up.
    """
    if _is_address(host):
        return _first_address(host, port, family), port
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_LOOKUPS, _first_address, host, port, family), port


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _first_address(host: str, port: int, family: Family | None) -> str:
    try:
        return str(socket.getaddrinfo(host, port, family=FAMILIES[family], type=socket.SOCK_STREAM)[0][4][0])
    except UnicodeError as error:  # "a..b", which a redirect may lead to: no OSError, though it is no name
        raise socket.gaierror(socket.EAI_NONAME, "it is not a name") from error


async def connected(host: str, port: int, family: Family | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A stream to a host's first address. Raises OSError."""
    address, _ = await resolved(host, port, family)
    return await asyncio.open_connection(address, port)


async def within(patience: float, look: Callable[[], Awaitable[Finding]]) -> Finding:
    """What a look finds in so many seconds. Whatever a network or a server does to it, it is a finding."""
    try:
        async with asyncio.timeout(patience):
            return await look()
    except TimeoutError:
        return down(Reason.TIMEOUT, f"no answer within {patience:g} s")
    except UnableError as error:
        return unable(str(error))
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        return refusal(error)


def unable(detail: str) -> Finding:
    """Nothing was found out."""
    return Finding(state=State.UNKNOWN, reason=Reason.NO_MEANS.value, detail=detail)


def refusal(error: BaseException) -> Finding:
    """Why there was no answer."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return down(_CERTIFICATE.get(error.verify_code, Reason.UNTRUSTED), error.verify_message)
    if isinstance(error, socket.gaierror) and error.errno in _NO_RESOLVER:
        return unable(error.strerror or "")
    reason = next((reason for kind, reason in _KINDS if isinstance(error, kind)), None)
    if reason is not None:
        return down(reason, getattr(error, "strerror", None) or "")
    if isinstance(error, OSError) and error.errno in _OUR_OWN:
        return unable(errno.errorcode[error.errno])
    number = (error.errno if isinstance(error, OSError) else None) or 0
    return down(_ERRNO.get(number, Reason.UNREACHABLE), errno.errorcode.get(number, ""))


def since(start: float) -> int:
    """Microseconds since a moment of the running loop's clock."""
    return round((asyncio.get_running_loop().time() - start) * SECOND)


def now() -> float:
    """The running loop's clock, in seconds; it is never set."""
    return asyncio.get_running_loop().time()


def trusting(authority: str | None) -> ssl.SSLContext:
    """A careful client's checks: chain, dates and name, by the system's authorities or a file's. Raises UnableError."""
    if authority is None:
        return _context(None, 0, 0)
    try:
        there = Path(authority).stat()
        return _context(authority, there.st_mtime_ns, there.st_size)
    except OSError as error:  # ssl.SSLError is one: no certificates are in it
        raise UnableError(f"{authority} cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=64)  # reading the system's authorities takes 20 ms; a file that was renewed is another one
def _context(authority: str | None, _changed: int, _size: int) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority)

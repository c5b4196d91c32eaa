"""A zone, asked of each server that answers for it, through dnspython; never of a resolver that remembers.

https://dnspython.readthedocs.io/en/stable/async-query.html · RFC 1035
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jobs.availability.probe import DnsAnswer, DnsProbe, Finding, Reason, judged_servers
from targets.probes.reach import now, refusal, resolved, since, within

if TYPE_CHECKING:
    import dns.message


async def look(probe: DnsProbe, patience: float) -> Finding:
    """Ask each of the servers once, all at the same time. `patience` is in seconds, for all of it."""

    async def ask() -> Finding:
        answers = await asyncio.gather(*(_asked(probe, server, patience) for server in probe.servers))
        return judged_servers(probe, answers)

    return await within(patience + 1, ask)


async def _asked(probe: DnsProbe, server: str, patience: float) -> DnsAnswer:
    import dns.exception
    import dns.message

    try:
        async with asyncio.timeout(patience):
            return await _answer(probe, server)
    except TimeoutError:
        return DnsAnswer(server=server, failure=Reason.TIMEOUT)
    except OSError as error:
        return DnsAnswer(server=server, failure=Reason(refusal(error).reason))
    except dns.exception.DNSException:
        return DnsAnswer(server=server, failure=Reason.PROTOCOL)


async def _answer(probe: DnsProbe, server: str) -> DnsAnswer:
    import dns.asyncquery
    import dns.message
    import dns.rcode

    address, _ = await resolved(server, probe.port, None)
    start = now()
    query = dns.message.make_query(probe.name, probe.record)
    response, _ = await dns.asyncquery.udp_with_fallback(
        query,
        address,
        port=probe.port,
        ignore_unexpected=True,
        ignore_errors=True,  # what others throw in
    )
    latency = since(start)
    if response.rcode() != dns.rcode.NOERROR:
        return DnsAnswer(server=server, failure=Reason.WRONG_ANSWER, latency=latency)
    return _read(server, response, latency)


def _read(server: str, response: dns.message.Message, latency: int) -> DnsAnswer:
    import dns.flags
    import dns.rdatatype

    records = [record for answers in response.answer for record in answers]
    serials = [record.serial for record in records if record.rdtype == dns.rdatatype.SOA]
    return DnsAnswer(
        server=server,
        is_authoritative=bool(response.flags & dns.flags.AA),
        texts=frozenset(record.to_text() for record in records),
        serial=serials[0] if serials else None,
        latency=latency,
    )

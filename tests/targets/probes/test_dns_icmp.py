"""Zones asked of servers that tell the truth, lie, forget and keep silent; and echo requests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from jobs.availability.probe import (
    DnsAnswer,
    DnsProbe,
    Finding,
    IcmpProbe,
    Reason,
    TcpProbe,
    judged_echoes,
    judged_servers,
)
from jobs.availability.span import State
from targets.probes import dns as dns_probe
from targets.probes import icmp, reach, tcp
from tests.servers.program import LOOPBACK
from tests.targets.probes.servers import closed_port

Reply = Callable[[dns.message.Message], list[bytes]]


class _Server(asyncio.DatagramProtocol):
    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: object) -> None:
        for answer in self._reply(dns.message.from_wire(data)):
            self._transport.sendto(answer, address)  # type: ignore[arg-type]  # where it came from


@asynccontextmanager
async def answering(*replies: tuple[str, Reply]) -> AsyncIterator[int]:
    """Name servers at several addresses of loopback, and their one port."""
    loop = asyncio.get_running_loop()
    port, transports = 0, []
    for address, reply in replies:
        transport, _ = await loop.create_datagram_endpoint(lambda r=reply: _Server(r), local_addr=(address, port))  # type: ignore[misc]  # a default
        port = transport.get_extra_info("sockname")[1]
        transports.append(transport)
    try:
        yield port
    finally:
        for transport in transports:
            transport.close()
        await asyncio.sleep(0)


def zone(serial: int = 7, *, authoritative: bool = True, rcode: int = 0, text: str = "") -> Reply:
    def reply(query: dns.message.Message) -> list[bytes]:
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA if authoritative else 0
        answer.set_rcode(dns.rcode.Rcode(rcode))
        question = query.question[0]
        data = text or f"ns.example. admin.example. {serial} 3600 600 86400 60"
        if not rcode:
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", question.rdtype, data))
        return [answer.to_wire()]

    return reply


def liar(query: dns.message.Message) -> list[bytes]:
    """Throws in answers to questions that nobody asked, before the true one."""
    other = dns.message.make_query("other.example", "SOA", id=(query.id + 1) % 65_536)
    return [b"\x00\x01garbage", zone(666)(other)[0], zone(7)(query)[0]]


def silence(_query: dns.message.Message) -> list[bytes]:
    return []


def garbage(_query: dns.message.Message) -> list[bytes]:
    return [b"garbage"]


def nothing(query: dns.message.Message) -> list[bytes]:
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.AA
    return [answer.to_wire()]


def look(*replies: Reply, patience: float = 3, **more: object) -> Finding:
    addresses = [f"127.0.0.{index + 1}" for index in range(len(replies))]

    async def run() -> Finding:
        async with answering(*zip(addresses, replies, strict=True)) as port:
            probe = DnsProbe(**{"name": "minister.example", "servers": tuple(addresses), "port": port} | more)  # type: ignore[arg-type]  # a dict
            return await dns_probe.look(probe, patience)

    return asyncio.run(run())


def words(found: Finding) -> tuple[str, str]:
    return found.state.value, found.reason


def test_servers_that_agree_are_up() -> None:
    found = look(zone(), zone())
    assert words(found) == ("up", "")
    assert found.latency is not None


def test_servers_of_different_serials_are_down_and_named() -> None:
    found = look(zone(7), zone(8))
    assert (words(found), found.detail) == (("down", Reason.SERIALS_DIFFER), "127.0.0.1 has 7, 127.0.0.2 has 8")
    assert words(look(zone(7), zone(8), parity=False)) == ("up", "")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (zone(authoritative=False), Reason.NOT_AUTHORITATIVE),
        (zone(rcode=dns.rcode.SERVFAIL), Reason.WRONG_ANSWER),
        (zone(rcode=dns.rcode.NXDOMAIN), Reason.WRONG_ANSWER),
        (nothing, Reason.WRONG_ANSWER),
        (silence, Reason.TIMEOUT),
        (garbage, Reason.TIMEOUT),
    ],
    ids=["no authority", "failure", "no such name", "no record", "silence", "garbage"],
)
def test_one_server_that_is_wrong_is_enough(reply: Reply, reason: Reason) -> None:
    found = look(zone(), reply, patience=0.5)
    assert (words(found), found.detail) == (("down", reason), "server 127.0.0.2")


def test_a_server_that_we_cannot_ask_says_nothing_of_the_zone() -> None:
    answers = [DnsAnswer(server="a", failure=Reason.TIMEOUT), DnsAnswer(server="b", failure=Reason.NO_MEANS)]
    found = judged_servers(DnsProbe(name="example", servers=("a", "b")), answers)
    assert (words(found), found.detail) == (("unknown", Reason.NO_MEANS), "server b")


def test_an_address_waits_behind_no_look_up() -> None:
    asleep = threading.Event()
    for _ in range(64):
        reach._LOOKUPS.submit(asleep.wait, 5)
    try:
        found = asyncio.run(tcp.look(TcpProbe(host=LOOPBACK, port=closed_port()), 1))
    finally:
        asleep.set()
    assert words(found) == ("down", Reason.REFUSED)


def test_without_authority_where_none_is_wanted() -> None:
    assert words(look(zone(authoritative=False), authoritative=False)) == ("up", "")


def test_the_answers_must_be_those_that_are_allowed() -> None:
    allowed = frozenset(["192.0.2.7"])
    assert words(look(zone(text="192.0.2.7"), record="A", answers=allowed)) == ("up", "")
    assert words(look(zone(text="198.51.100.9"), record="A", answers=allowed)) == ("down", Reason.WRONG_ANSWER)


def test_who_throws_in_answers_is_not_believed() -> None:
    assert words(look(zone(7), liar)) == ("up", "")


def test_nobody_there_is_down() -> None:
    probe = DnsProbe(name="example", servers=(LOOPBACK,), port=closed_port())
    assert words(asyncio.run(dns_probe.look(probe, 1)))[0] == "down"


def test_this_host_answers_echo_requests_or_cannot_look() -> None:
    """Root may always; where the system grants nothing, it is unknown, and never down."""
    found = asyncio.run(icmp.look(IcmpProbe(host=LOOPBACK, count=2), 3))
    assert words(found) in {("up", ""), ("unknown", Reason.NO_MEANS)}


def test_a_host_that_is_not_there_does_not_answer() -> None:
    found = asyncio.run(icmp.look(IcmpProbe(host="no-such-host.invalid"), 1))
    assert words(found) == ("down", Reason.NO_NAME)


@pytest.mark.parametrize(
    ("answered", "loss", "state", "latency"),
    [
        ([1, 2, 3], "0", State.UP, 2),
        ([1, 9], "0", State.DOWN, 9),
        ([1, 9], "1/3", State.UP, 9),
        ([], "99/100", State.DOWN, None),
    ],
)
def test_no_more_packets_may_be_lost_than_allowed(
    answered: list[int], loss: str, state: State, latency: int | None
) -> None:
    found = judged_echoes(IcmpProbe(host="h", count=3, loss=Fraction(loss)), answered)
    assert (found.state, found.latency) == (state, latency)

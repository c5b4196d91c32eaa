"""Ports and certificates at real sockets: expired, of another name, of nobody known; TLS that is asked for first."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.availability.probe import Family, Finding, Reason, StartTls, TcpProbe, TlsProbe
from targets.probes import tcp, tls
from tests.servers.authority import Authority, make_authority
from tests.servers.certificate import Certificate
from tests.servers.program import LOOPBACK
from tests.targets.probes.servers import Talk, as_server, closed_port, serving, silent

TODAY = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def good(authority: Authority) -> Certificate:
    return authority.certify("good", f"IP:{LOOPBACK}", last="20991231")


def words(found: Finding) -> tuple[str, str]:
    return found.state.value, found.reason


def test_a_port_that_takes_a_connection_is_up() -> None:
    async def run() -> Finding:
        async with serving(silent) as port:
            return await tcp.look(TcpProbe(host=LOOPBACK, port=port), 3)

    found = asyncio.run(run())
    assert words(found) == ("up", "")
    assert found.latency is not None


@pytest.mark.parametrize(
    ("host", "family", "reason"),
    [
        (LOOPBACK, None, Reason.REFUSED),
        ("no-such-host.invalid", None, Reason.NO_NAME),
        (LOOPBACK, Family.IPV6, Reason.NO_NAME),
    ],
)
def test_a_port_that_does_not_is_down(host: str, family: Family | None, reason: Reason) -> None:
    found = asyncio.run(tcp.look(TcpProbe(host=host, port=closed_port(), family=family), 3))
    assert words(found) == ("down", reason)


def shake(trusted: Authority | None, certificate: Certificate, **more: object) -> Finding:
    async def run() -> Finding:
        async with serving(silent, certificate=certificate) as port:
            probe = TlsProbe(host=LOOPBACK, port=port, authority=str(trusted.certificate) if trusted else None)
            return await tls.look(replace(probe, **more), 3, TODAY)  # type: ignore[arg-type]  # what a test wants

    return asyncio.run(run())


def test_a_good_certificate_is_up_and_says_until_when(authority: Authority, good: Certificate) -> None:
    found = shake(authority, good)
    assert (words(found), found.detail) == (("up", ""), "valid until 2099-12-31")


@pytest.mark.parametrize(
    ("label", "names", "first", "last", "reason"),
    [
        ("old", f"IP:{LOOPBACK}", "20200101", "20210101", Reason.EXPIRED),
        ("young", f"IP:{LOOPBACK}", "20980101", "20991231", Reason.NOT_YET),
        ("other", "DNS:other.example", "20200101", "20991231", Reason.WRONG_NAME),
    ],
)
def test_a_certificate_that_is_wrong_is_down(
    authority: Authority, label: str, names: str, first: str, last: str, reason: Reason
) -> None:
    certificate = authority.certify(label, names, first=first, last=last)
    assert words(shake(authority, certificate)) == ("down", reason)


def test_a_certificate_of_nobody_known_is_down(good: Certificate) -> None:
    assert words(shake(None, good)) == ("down", Reason.UNTRUSTED)


def test_the_name_may_be_another_than_the_hosts(authority: Authority) -> None:
    named = authority.certify("named", "DNS:mail.example", last="20991231")
    assert words(shake(authority, named, name="mail.example")) == ("up", "")
    assert words(shake(authority, named)) == ("down", Reason.WRONG_NAME)


@pytest.mark.parametrize(("days", "is_up"), [(9, True), (10, True), (11, False)])
def test_a_certificate_must_be_valid_for_so_long(authority: Authority, days: int, is_up: bool) -> None:
    ends = authority.certify(f"ends{days}", f"IP:{LOOPBACK}", last="20261202")
    assert words(shake(authority, ends, days=days)) == (("up", "") if is_up else ("down", Reason.EXPIRES))


def test_who_never_shakes_hands_is_down(authority: Authority) -> None:
    async def run() -> Finding:
        async with serving(silent) as port:
            return await tls.look(TlsProbe(host=LOOPBACK, port=port), 0.3, TODAY)

    assert words(asyncio.run(run())) == ("down", Reason.TIMEOUT)


def test_who_speaks_another_protocol_has_no_tls() -> None:
    async def greets(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n" * 10)
        await writer.drain()
        await asyncio.sleep(3600)

    async def run() -> Finding:
        async with serving(greets) as port:
            return await tls.look(TlsProbe(host=LOOPBACK, port=port), 3, TODAY)

    assert words(asyncio.run(run())) == ("down", Reason.NO_TLS)


Script = list[tuple[bytes, bytes]]  # what is heard, and what is said to it
OFFERS: dict[StartTls, tuple[bytes, Script]] = {
    StartTls.SMTP: (
        b"220-mail.example\r\n220 ESMTP\r\n",
        [(b"EHLO tandem.invalid\r\n", b"250-mail.example\r\n250 STARTTLS\r\n"), (b"STARTTLS\r\n", b"220 Go ahead\r\n")],
    ),
    StartTls.IMAP: (b"* OK ready\r\n", [(b"a STARTTLS\r\n", b"* 1 EXISTS\r\na OK begin\r\n")]),
    StartTls.POP3: (b"+OK ready\r\n", [(b"STLS\r\n", b"+OK begin\r\n")]),
    StartTls.LDAP: (
        b"",
        [
            (
                bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037",
                bytes.fromhex("300c02010178070a010004000400"),
            )
        ],
    ),
    StartTls.POSTGRESQL: (b"", [(bytes.fromhex("0000000804d2162f"), b"S")]),
}
REFUSES: dict[StartTls, bytes] = {
    StartTls.SMTP: b"454 not now\r\n",
    StartTls.IMAP: b"a NO\r\n",
    StartTls.POP3: b"-ERR\r\n",
    StartTls.LDAP: bytes.fromhex("300c02010178070a010204000400"),
    StartTls.POSTGRESQL: b"N",
}


def test_active_directory_spells_out_the_length_of_its_answer(authority: Authority, good: Certificate) -> None:
    request, _ = OFFERS[StartTls.LDAP][1][0]
    answer = bytes.fromhex("308400000010 020101 788400000007 0a0100 0400 0400")
    assert words(ask(StartTls.LDAP, offering(b"", [(request, answer)], good), authority)) == ("up", "")


@pytest.mark.parametrize("what", ["missing", "no certificates"])
def test_an_authority_that_we_cannot_read_is_our_own_fault(tmp_path: Path, good: Certificate, what: str) -> None:
    if what == "no certificates":
        (tmp_path / "authority.pem").write_text("nothing", encoding="ascii")
    found = shake(Authority(tmp_path), good)
    assert words(found) == ("unknown", Reason.NO_MEANS)


def test_an_authority_that_is_renewed_is_read_again(authority: Authority, good: Certificate, tmp_path: Path) -> None:
    other = make_authority(tmp_path)
    assert words(shake(other, good)) == ("down", Reason.UNTRUSTED)
    other.certificate.write_bytes(authority.certificate.read_bytes() + b"\n")
    assert words(shake(other, good)) == ("up", "")


def offering(greeting: bytes, script: Script, certificate: Certificate | None) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        for heard, said in script:
            assert await reader.readexactly(len(heard)) == heard
            writer.write(said)
        await writer.drain()
        if certificate is not None:
            await writer.start_tls(as_server(certificate))
        await asyncio.sleep(3600)

    return talk


def ask(protocol: StartTls, talk: Talk, authority: Authority) -> Finding:
    async def run() -> Finding:
        async with serving(talk) as port:
            trusted = str(authority.certificate)
            return await tls.look(TlsProbe(host=LOOPBACK, port=port, starttls=protocol, authority=trusted), 3, TODAY)

    return asyncio.run(run())


@pytest.mark.parametrize("protocol", list(StartTls))
def test_tls_is_asked_for_first(protocol: StartTls, authority: Authority, good: Certificate) -> None:
    assert words(ask(protocol, offering(*OFFERS[protocol], good), authority)) == ("up", "")


@pytest.mark.parametrize("protocol", list(StartTls))
def test_who_does_not_offer_it_is_down(protocol: StartTls, authority: Authority) -> None:
    greeting, script = OFFERS[protocol]
    refused = [*script[:-1], (script[-1][0], REFUSES[protocol])]
    assert words(ask(protocol, offering(greeting, refused, None), authority)) == ("down", Reason.NO_TLS)


@pytest.mark.parametrize("protocol", [p for p in StartTls if p not in {StartTls.LDAP, StartTls.POSTGRESQL}])
def test_who_talks_without_an_end_is_down(protocol: StartTls, authority: Authority) -> None:
    async def babbles(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    assert ask(protocol, babbles, authority).state == "down"


def test_the_port_is_let_go_of() -> None:
    """A probe that kept its connections would bring down what it looks at."""
    ends: list[bytes] = []

    async def listens(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        ends.append(await reader.read())

    async def run() -> None:
        async with serving(listens) as port:
            await tcp.look(TcpProbe(host=LOOPBACK, port=port), 3)
            while not ends:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), 5))
    assert ends == [b""]

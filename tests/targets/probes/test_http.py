"""Looks over HTTP at real sockets: what is wanted, and every way in which a server can fail to give it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from jobs.availability.probe import Family, Finding, HttpProbe, Reason
from jobs.availability.span import State
from targets.probes import http
from tests.servers.authority import make_authority
from tests.targets.probes.servers import Talk, closed_port, page, saying, serving, silent


def look(talk: Talk, *, patience: float = 5, path: str = "/", **more: object) -> Finding:
    async def run() -> Finding:
        async with serving(talk) as port:
            probe = HttpProbe(url=f"http://127.0.0.1:{port}{path}", **more)  # type: ignore[arg-type]  # what a test wants
            return await http.look(probe, patience)

    return asyncio.run(run())


def words(found: Finding) -> tuple[str, str]:
    return found.state.value, found.reason


def test_a_page_that_comes_is_up_and_its_latency_known() -> None:
    found = look(page(b"OK"))
    assert words(found) == ("up", "")
    assert found.latency is not None
    assert 0 < found.latency < 5_000_000


@pytest.mark.parametrize(
    ("status", "wanted", "is_up"),
    [
        ("200 OK", ("2xx",), True),
        ("503 No", ("2xx",), False),
        ("404 Gone", ("200", "404"), True),
        ("204 No", ("200",), False),
    ],
)
def test_the_status_must_be_one_of_those_wanted(status: str, wanted: tuple[str, ...], is_up: bool) -> None:
    found = look(page(b"", status=status), statuses=wanted)
    assert words(found) == (("up", "") if is_up else ("down", Reason.STATUS))


@pytest.mark.parametrize(("content", "is_up"), [("all is well", True), ("all is lost", False), ("", False)])
def test_the_body_must_hold_what_is_wanted(content: str, is_up: bool) -> None:
    found = look(page(content.encode()), body="w[e3]ll")
    assert words(found) == (("up", "") if is_up else ("down", Reason.BODY))


@pytest.mark.parametrize(
    ("content", "is_up"),
    [
        ({"status": "ok", "db": {"up": True, "nodes": [{"n": 1}]}}, True),
        ({"status": "ok", "db": {"up": 1, "nodes": [{"n": 1}]}}, False),
        ({"status": "ok"}, False),
        ([], False),
        (None, False),
    ],
)
def test_the_json_must_hold_what_is_wanted(content: object, is_up: bool) -> None:
    wanted = (("status", "ok"), ("db.up", True), ("db.nodes.0.n", 1))
    found = look(page(json.dumps(content).encode()), values=wanted)
    assert words(found) == (("up", "") if is_up else ("down", Reason.JSON))


def test_what_is_no_json_is_down() -> None:
    assert look(page(b"<html>"), values=(("a", 1),)).detail == "it is not JSON"
    assert words(look(page(b"[" * 200_000), values=(("a", 1),))) == ("down", Reason.JSON)


def moved(reader_path: dict[str, bytes]) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(reader_path[request.split()[1].decode()])
        await writer.drain()

    return talk


LOOP = b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
ONCE = b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"
THERE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


def test_a_redirect_is_an_answer_unless_it_is_to_be_followed() -> None:
    assert words(look(moved({"/": ONCE, "/there": THERE}))) == ("down", Reason.STATUS)
    assert words(look(moved({"/": ONCE, "/there": THERE}), redirects=1)) == ("up", "")


def test_a_redirect_to_what_is_no_name_is_down_and_ends_nothing() -> None:
    away = b"HTTP/1.1 302 Found\r\nLocation: http://a..b/\r\nContent-Length: 0\r\n\r\n"
    assert look(moved({"/": away}), redirects=2).state == "down"


def test_a_redirect_loop_ends() -> None:
    assert words(look(moved({"/": LOOP}), redirects=5)) == ("down", Reason.REDIRECTS)


async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A slow loris: a byte now and then, and never an end."""
    await reader.readuntil(b"\r\n\r\n")
    for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 10_000:
        writer.write(bytes([letter]))
        await writer.drain()
        await asyncio.sleep(0.02)


async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A body without an end."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"a" * 65_536)
        await writer.drain()


@pytest.mark.parametrize("talk", [silent, drips], ids=["silent", "slow loris"])
def test_who_says_nothing_in_time_is_down(talk: Talk) -> None:
    assert words(look(talk, patience=0.3)) == ("down", Reason.TIMEOUT)


def test_a_body_without_an_end_is_not_read_to_its_end() -> None:
    assert words(look(floods, body="b", largest=100_000)) == ("down", Reason.TOO_LARGE)


def test_where_the_body_does_not_matter_it_is_not_waited_for() -> None:
    assert words(look(floods)) == ("up", "")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", Reason.CUT),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Reason.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", Reason.CUT),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", Reason.PROTOCOL),
    ],
    ids=["nothing", "another protocol", "cut off", "endless header"],
)
def test_what_is_no_answer_is_down(answer: bytes, reason: Reason) -> None:
    assert words(look(saying(answer), body="x")) == ("down", reason)


def test_a_text_in_letters_that_nobody_knows_is_read_all_the_same() -> None:
    headers = "Content-Type: text/plain; charset=no-such-thing\r\n"
    assert words(look(page(b"well", headers=headers), body="well")) == ("up", "")


def asked(url: str, **more: object) -> Finding:
    return asyncio.run(http.look(HttpProbe(url=url, **more), 3))  # type: ignore[arg-type]  # what a test wants


def test_nobody_there_is_down() -> None:
    assert words(asked(f"http://127.0.0.1:{closed_port()}/")) == ("down", Reason.REFUSED)


def test_a_name_that_does_not_exist_is_down() -> None:
    assert words(asked("http://no-such-host.invalid/")) == ("down", Reason.NO_NAME)


def test_one_protocol_is_looked_at_and_never_the_other_instead() -> None:
    async def run() -> list[tuple[str, str]]:
        async with serving(page(b"OK")) as port:
            url = f"http://localhost:{port}/"
            return [words(await http.look(HttpProbe(url=url, family=family), 3)) for family in Family]

    assert asyncio.run(run())[0] == ("up", "")
    assert asyncio.run(run())[1][0] == State.DOWN


def test_a_certificate_is_believed_only_from_who_is_trusted(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    good = authority.certify("good", "IP:127.0.0.1", last="20991231")

    async def run() -> list[tuple[str, str]]:
        async with serving(page(b"OK"), certificate=good) as port:
            url = f"https://127.0.0.1:{port}/"
            return [
                words(await http.look(HttpProbe(url=url, authority=a), 3)) for a in (str(authority.certificate), None)
            ]

    assert asyncio.run(run()) == [("up", ""), ("down", Reason.UNTRUSTED)]


def test_no_cookie_and_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}/")
    assert words(look(page(b"OK", headers="Set-Cookie: a=b\r\n"))) == ("up", "")

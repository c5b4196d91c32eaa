"""What may be looked at, and what no settings should ever say."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.availability.probe import (
    DnsAnswer,
    DnsProbe,
    HttpProbe,
    IcmpProbe,
    Reason,
    Scalar,
    TcpProbe,
    TlsProbe,
    judged_answer,
    judged_servers,
)
from jobs.availability.span import State


@pytest.mark.parametrize(
    "url",
    [
        "http://portal.example",
        "https://portal.example:8443/health?x=1",
        "HTTP://127.0.0.1/",
        "http://[::1]:8080/",
        "https://portal.example?x=@",
    ],
)
def test_an_address_is_taken(url: str) -> None:
    assert HttpProbe(url=url).url == url


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: HttpProbe(url="ftp://portal.example"), "not an http"),
        (lambda: HttpProbe(url="portal.example"), "not an http"),
        (lambda: HttpProbe(url="http://"), "not an http"),
        (lambda: HttpProbe(url="http:///health"), "not an http"),
        (lambda: HttpProbe(url="http://a b/"), "not an http"),
        (lambda: HttpProbe(url="http://a..b/"), "not an http"),
        (lambda: TcpProbe(host="a..b", port=1), "name or address"),
        (lambda: TcpProbe(host="x" * 64 + ".example", port=1), "name or address"),
        (lambda: HttpProbe(url="http://portal.example:99999999/"), "not an http"),
        (lambda: HttpProbe(url="http://user:word@portal.example/"), "no user and no password"),
        (lambda: HttpProbe(url="http://user@portal.example/"), "no user and no password"),
        (lambda: HttpProbe(url="http://a", statuses=()), "statuses are"),
        (lambda: HttpProbe(url="http://a", statuses=("2",)), "statuses are"),
        (lambda: HttpProbe(url="http://a", statuses=("600",)), "statuses are"),
        (lambda: HttpProbe(url="http://a", body="("), "not a regular expression"),
        (lambda: HttpProbe(url="http://a", redirects=11), "redirects"),
        (lambda: HttpProbe(url="http://a", redirects=-1), "redirects"),
        (lambda: HttpProbe(url="http://a", largest=0), "something is read"),
        (lambda: TcpProbe(host="", port=1), "name or address"),
        (lambda: TcpProbe(host="a b", port=1), "name or address"),
        (lambda: TcpProbe(host="a", port=0), "not a port"),
        (lambda: TcpProbe(host="a", port=65_536), "not a port"),
        (lambda: TlsProbe(host="a", days=-1), "some days more"),
        (lambda: IcmpProbe(host="a", count=0), "packets"),
        (lambda: IcmpProbe(host="a", count=101), "packets"),
        (lambda: IcmpProbe(host="a", loss=Fraction(1)), "packets"),
        (lambda: DnsProbe(name="a", servers=()), "one by one"),
        (lambda: DnsProbe(name="a", servers=("",)), "name or address"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


@given(st.integers(100, 599), st.lists(st.sampled_from(["200", "2xx", "301", "3xx", "404", "5xx"]), min_size=1))
def test_a_status_is_taken_if_it_is_named_by_itself_or_by_its_hundred(status: int, wanted: list[str]) -> None:
    named = {str(status), f"{status // 100}xx"}
    assert HttpProbe(url="http://a", statuses=tuple(wanted)).takes(status) == bool(named & set(wanted))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
    )
)
def test_a_value_is_of_its_own_kind(value: object) -> None:
    """JSON's true is not 1, and "1" is not 1."""
    import json

    text = json.dumps({"a": value})
    for wanted in (True, False, 1, 0, "1", "", None):
        found = judged_answer(HttpProbe(url="http://a", values=(("a", wanted),)), 200, text, 1)
        assert (found.state is State.UP) == (type(value) is type(wanted) and value == wanted)


@pytest.mark.parametrize("path", ["b", "a.0", "a.b.c", "", "a."])
def test_a_path_that_leads_nowhere_is_down(path: str) -> None:
    wanted: tuple[tuple[str, Scalar], ...] = ((path, None),)
    found = judged_answer(HttpProbe(url="http://a", values=wanted), 200, '{"a": {"b": null}}', 1)
    assert found.reason == Reason.JSON


SERVERS = ("192.0.2.1", "192.0.2.2")


@given(st.lists(st.sampled_from([None, 1, 2]), min_size=2, max_size=2), st.booleans())
def test_servers_agree_only_on_one_serial(serials: list[int | None], parity: bool) -> None:
    probe = DnsProbe(name="a", servers=SERVERS, parity=parity)
    answers = [
        DnsAnswer(server=server, is_authoritative=True, texts=frozenset(["x"]), serial=serial, latency=index)
        for index, (server, serial) in enumerate(zip(SERVERS, serials, strict=True))
    ]
    found = judged_servers(probe, answers)
    assert (found.state is State.UP) == (not parity or serials[0] == serials[1])
    assert found.latency == 1

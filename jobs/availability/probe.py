"""What is looked at, and what must be found there for it to be up: values that are valid from birth, and the judgement.

One attempt, one address family: whoever wants both looks twice, because a service that answers on one of them only is
down for half of its users.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from fractions import Fraction
from typing import Final

from jobs.availability.span import State

_LARGEST_PORT: Final = 65_535
_URL: Final = re.compile(
    r"https?://(?:(?P<host>[^\s/?#@:\[\]]+)|\[(?P<address>[0-9A-Fa-f:.]+)\])(?::\d{1,5})?(?:[/?]\S*)?",
    re.ASCII | re.IGNORECASE,
)
_WITH_USER: Final = re.compile(r"\w+://[^/?#]*@")
_STATUS: Final = re.compile(r"([1-5])(\d\d|xx)")
_REDIRECTS: Final = 10
_MOST_PACKETS: Final = 100  # more would be a flood

Scalar = str | int | float | bool | None


class Family(IntEnum):
    """Which internet protocol."""

    IPV4 = 4
    IPV6 = 6


class Reason(StrEnum):
    """Why something that was looked at is not up; the words of spans, incidents and alarms."""

    TIMEOUT = "timeout"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CUT = "connection-cut"
    NO_NAME = "name-not-found"
    STATUS = "status"
    BODY = "body"
    JSON = "json"
    TOO_LARGE = "answer-too-large"
    REDIRECTS = "redirect-loop"
    PROTOCOL = "not-the-protocol"
    NO_TLS = "no-tls"
    EXPIRED = "certificate-expired"
    NOT_YET = "certificate-not-yet-valid"
    UNTRUSTED = "certificate-untrusted"
    WRONG_NAME = "certificate-of-another-name"
    EXPIRES = "certificate-expires-soon"
    NOT_AUTHORITATIVE = "not-authoritative"
    WRONG_ANSWER = "wrong-answer"
    SERIALS_DIFFER = "serials-differ"
    LOSS = "packets-lost"
    NO_MEANS = "cannot-look"  # this machine is not able to look at all: unknown, and not down


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one look found. `latency` is in microseconds, from its beginning to the answer; None where none came.

    `detail` is for people: no secret, and nothing that a server may fill without end.
    """

    state: State
    reason: str = ""
    detail: str = ""
    latency: int | None = None


def up(latency: int, reason: str = "", detail: str = "") -> Finding:
    """It is up, perhaps with something to say."""
    return Finding(state=State.UP, reason=reason, detail=detail, latency=latency)


def down(reason: Reason, detail: str = "", latency: int | None = None) -> Finding:
    """It is down."""
    return Finding(state=State.DOWN, reason=reason.value, detail=detail, latency=latency)


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpProbe:
    """A page that must come, with one of some statuses ("200", "2xx") and what it must hold. Raises ValueError.

    `body` is searched for as a regular expression; `values` are dotted paths and what the JSON must hold there. No more
    than `largest` bytes are read. `authority` is a file of certificates to trust instead of the system's.
    """

    url: str
    statuses: tuple[str, ...] = ("2xx",)
    body: str | None = None
    values: tuple[tuple[str, Scalar], ...] = ()
    redirects: int = 0
    largest: int = 1 << 20
    family: Family | None = None
    authority: str | None = None

    def __post_init__(self) -> None:
        if _WITH_USER.match(self.url):
            raise ValueError("an address holds no user and no password: probes look at what everybody may see")
        parts = _URL.fullmatch(self.url)
        if parts is None or not _is_name(parts["host"] or parts["address"]):
            raise ValueError(f'"{self.url}" is not an http:// or https:// address')
        if not self.statuses or not all(_STATUS.fullmatch(status) for status in self.statuses):
            raise ValueError('statuses are such as "200" and "2xx"')
        if self.body is not None:
            _compiled(self.body)
        if not 0 <= self.redirects <= _REDIRECTS or self.largest < 1:
            raise ValueError(f"up to {_REDIRECTS} redirects are followed, and something is read")

    def takes(self, status: int) -> bool:
        """Whether a status is one of those that are wanted."""
        text = str(status)
        return any(text == wanted or (wanted.endswith("xx") and text[0] == wanted[0]) for wanted in self.statuses)

    @property
    def reads(self) -> bool:
        """Whether what it holds matters at all."""
        return self.body is not None or bool(self.values)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f'"{pattern}" is not a regular expression: {error}') from error


def judged_answer(probe: HttpProbe, status: int, content: str | None, latency: int) -> Finding:
    """What an answer says: its status and, where that matters, its text (None: more than may be read)."""
    if not probe.takes(status):
        return down(Reason.STATUS, f"{status}, and not {' or '.join(probe.statuses)}", latency)
    if not probe.reads:
        return up(latency)
    if content is None:
        return down(Reason.TOO_LARGE, f"more than {probe.largest} bytes", latency)
    if probe.body is not None and _compiled(probe.body).search(content) is None:
        return down(Reason.BODY, f"nothing in it is like {probe.body}", latency)
    wrong = _wrong_value(probe.values, content)
    return down(Reason.JSON, wrong, latency) if wrong else up(latency)


def _wrong_value(values: Iterable[tuple[str, Scalar]], content: str) -> str:
    """The first value that is not as wanted, in words; nothing where all are."""
    if not values:
        return ""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return "it is not JSON"
    for path, wanted in values:
        is_there, value = _at_path(found, path.split("."))
        if not is_there:
            return f"{path} is not in it"
        if type(value) is not type(wanted) or value != wanted:
            return f"{path} is not {json.dumps(wanted)}"
    return ""


def _at_path(found: object, keys: Sequence[str]) -> tuple[bool, object]:
    for key in keys:
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isascii() and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            return False, None
    return True, found


def _is_name(host: str) -> bool:
    """Whether a resolver can be asked for it at all: no part is empty or longer than 63 (RFC 1035)."""
    try:
        return bool(host.encode("idna"))
    except UnicodeError:
        return False


def _check_address(host: str, port: int) -> None:
    if any(character.isspace() for character in host) or not _is_name(host):
        raise ValueError(f'"{host}" is not the name or address of a host')
    if not 0 < port <= _LARGEST_PORT:
        raise ValueError(f"{port} is not a port")


@dataclass(frozen=True, kw_only=True, slots=True)
class TcpProbe:
    """A port that must take a connection. Raises ValueError."""

    host: str
    port: int
    family: Family | None = None

    def __post_init__(self) -> None:
        _check_address(self.host, self.port)


class StartTls(StrEnum):
    """In which protocol one asks for TLS before it begins."""

    SMTP = "smtp"
    IMAP = "imap"
    POP3 = "pop3"
    LDAP = "ldap"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True, kw_only=True, slots=True)
class TlsProbe:
    """A certificate that must be trusted, be of `name` (else of the host), and be valid for `days` more.

    Raises ValueError.
    """

    host: str
    port: int = 443
    name: str | None = None
    starttls: StartTls | None = None
    days: int = 0
    family: Family | None = None
    authority: str | None = None

    def __post_init__(self) -> None:
        _check_address(self.host, self.port)
        if self.days < 0:
            raise ValueError("a certificate is to be valid for some days more, and not for less than none")


@dataclass(frozen=True, kw_only=True, slots=True)
class IcmpProbe:
    """A host that must answer echo requests: of `count`, no more than `loss` (a share of one) may be lost.

    Raises ValueError.
    """

    host: str
    count: int = 3
    loss: Fraction = Fraction(0)
    family: Family | None = None

    def __post_init__(self) -> None:
        _check_address(self.host, 1)
        if not 1 <= self.count <= _MOST_PACKETS or not 0 <= self.loss < 1:
            raise ValueError(f"between 1 and {_MOST_PACKETS} packets are sent, and not all of them may be lost")


def judged_echoes(probe: IcmpProbe, answered: Sequence[int]) -> Finding:
    """What the answers (their latencies in microseconds) of the packets sent say. The latency is their median."""
    lost = Fraction(probe.count - len(answered), probe.count)
    median = sorted(answered)[len(answered) // 2] if answered else None
    if median is None or lost > probe.loss:
        return down(Reason.LOSS, f"{probe.count - len(answered)} of {probe.count} packets were lost", median)
    return up(median)


@dataclass(frozen=True, kw_only=True, slots=True)
class DnsProbe:
    """A zone or a name, asked of each of its `servers` (addresses): all must answer, with authority if `authoritative`.

    `answers` are the only ones allowed, where any are named; with `parity` all servers must have one serial of the
    zone's SOA. Raises ValueError.
    """

    name: str
    servers: tuple[str, ...]
    record: str = "SOA"
    answers: frozenset[str] = frozenset()
    authoritative: bool = True
    parity: bool = True
    port: int = 53

    def __post_init__(self) -> None:
        _check_address(self.name, self.port)
        if not self.servers:
            raise ValueError("servers to ask are named one by one: a resolver's memory proves nothing")
        for server in self.servers:
            _check_address(server, self.port)


@dataclass(frozen=True, kw_only=True, slots=True)
class DnsAnswer:
    """What one server said. `failure` where it said nothing; `serial` of the zone's SOA, if it was asked for that."""

    server: str
    failure: Reason | None = None
    is_authoritative: bool = False
    texts: frozenset[str] = frozenset()
    serial: int | None = None
    latency: int | None = None


def judged_servers(probe: DnsProbe, answers: Iterable[DnsAnswer]) -> Finding:
    """What the servers' answers say together: the first that is wrong is named. The latency is the slowest one's."""
    found = tuple(answers)
    for answer in found:
        if answer.failure is Reason.NO_MEANS:
            return Finding(state=State.UNKNOWN, reason=answer.failure.value, detail=f"server {answer.server}")
    for answer in found:
        wrong = _wrong_answer(probe, answer)
        if wrong is not None:
            return down(wrong, f"server {answer.server}", answer.latency)
    latency = max(answer.latency or 0 for answer in found)
    serials = {answer.serial for answer in found}
    if probe.parity and len(serials) > 1:
        return down(Reason.SERIALS_DIFFER, ", ".join(f"{a.server} has {a.serial}" for a in found), latency)
    return up(latency)


def _wrong_answer(probe: DnsProbe, answer: DnsAnswer) -> Reason | None:
    if answer.failure is not None:
        return answer.failure
    if probe.authoritative and not answer.is_authoritative:
        return Reason.NOT_AUTHORITATIVE
    if not answer.texts or (probe.answers and answer.texts != probe.answers):
        return Reason.WRONG_ANSWER
    return None


Probe = HttpProbe | TcpProbe | TlsProbe | IcmpProbe | DnsProbe

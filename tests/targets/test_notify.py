"""apprise against real servers: what arrives, what is said when it does not, and that no address is ever shown."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.event import Severity
from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.notify import Apprise
from targets.secret import Secret
from tests.servers.mail import Postbox, mail_server
from tests.servers.program import free_port
from tests.servers.webhook import Webhook, webhook

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

SUBJECT = "[Opérateur] échec : sauvegarde des données"
BODY = "L'œuvre n'a pas été sauvegardée — à voir.\n\n- <b>gras</b> & co\n"
PASSWORD = "hunter2-of-the-channel"


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as made:
        yield made


@pytest.fixture(scope="module")
def postbox() -> Iterator[Postbox]:
    with mail_server() as made:
        yield made


def send(url: str, *, patience: float = 5.0, severity: Severity = Severity.CRITICAL) -> None:
    Apprise(patience=patience).send("operators", Secret(url), SUBJECT, BODY, severity)


def refused(url: str, capfd: pytest.CaptureFixture[str], *, patience: float = 5.0) -> TargetError:
    """Send in vain; whatever was said and logged must not hold the password."""
    with pytest.raises(TargetError) as caught:
        send(url, patience=patience)
    shown = "".join(capfd.readouterr()) + str(caught.value)
    assert PASSWORD not in shown
    assert "hook-path" not in shown
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert str(caught.value).startswith("notify channel operators: ")
    return caught.value


@pytest.mark.parametrize(
    ("severity", "kind"), [(Severity.INFO, "info"), (Severity.WARNING, "warning"), (Severity.CRITICAL, "failure")]
)
def test_a_webhook_is_told(hook: Webhook, severity: Severity, kind: str) -> None:
    send(f"json://{hook.address}/hook-path", severity=severity)
    (told,) = hook.accepted
    assert (told["title"], told["message"].strip(), told["type"]) == (SUBJECT, BODY.strip(), kind)


def test_what_a_service_has_no_room_for_is_cut_off_and_not_sent_in_pieces(hook: Webhook) -> None:
    """ntfy takes 7,800 characters: https://docs.ntfy.sh/publish/#limitations and apprise's own margin."""
    Apprise().send("operators", f"ntfy://{hook.address}/topic", SUBJECT, "x" * 20_000, Severity.INFO)
    (told,) = hook.accepted
    assert 7_000 < len(told["message"]) <= 7_800


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_refusal_is_told_once_and_says_the_status(
    hook: Webhook, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever the address asks of apprise: retrying, and leaving a failure at that, are the outbox's affair."""
    hook.status = status
    error = refused(f"json://u:{PASSWORD}@{hook.address}/hook-path?retry=3&wait=0.1&optional=yes", capfd)
    assert error.kind is FailureKind.CHANNEL_REFUSED
    assert str(error).endswith(f"the server answered {status}")
    assert hook.asked == 1


def test_a_server_that_is_away_is_unreachable(capfd: pytest.CaptureFixture[str]) -> None:
    with webhook(listening=False) as hook:
        error = refused(f"json://u:{PASSWORD}@{hook.address}/hook-path", capfd)
    assert error.kind is FailureKind.CHANNEL_UNREACHABLE
    assert str(error).endswith("Connection refused")


def test_a_server_that_hangs_is_given_up(hook: Webhook, capfd: pytest.CaptureFixture[str]) -> None:
    hook.hang.set()
    error = refused(f"json://u:{PASSWORD}@{hook.address}/hook-path", capfd, patience=0.2)
    assert error.kind is FailureKind.CHANNEL_UNREACHABLE


@pytest.mark.parametrize(
    "url", [f"nosuch://u:{PASSWORD}@host/hook-path", "json://", PASSWORD, "", f"tgram://{PASSWORD}"]
)
def test_an_address_that_is_none_is_said_to_be_none(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert refused(url, capfd).kind is FailureKind.CHANNEL_INVALID
    assert not Apprise().understands(Secret(url))


def test_an_address_is_understood_without_a_word_to_anybody(hook: Webhook) -> None:
    assert Apprise().understands(f"json://{hook.address}")
    assert hook.asked == 0


def test_a_mail_in_french_arrives_as_it_was_written(postbox: Postbox) -> None:
    send(f"mailto://127.0.0.1:{postbox.port}?from=tandem@operator.example&to=night@operator.example")
    mail = postbox.mails.pop()
    assert mail["subject"] == SUBJECT
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().replace("\r\n", "\n").strip() == BODY.strip()
    assert postbox.recipients.pop() == ["night@operator.example"]


def test_a_mail_server_that_refuses_is_quoted_by_its_number(
    postbox: Postbox, capfd: pytest.CaptureFixture[str]
) -> None:
    postbox.answer = f"552 too much, {PASSWORD}"
    try:
        error = refused(f"mailto://127.0.0.1:{postbox.port}?from=a@operator.example&to=b@operator.example", capfd)
    finally:
        postbox.answer = "250 OK"
    assert error.kind is FailureKind.CHANNEL_REFUSED
    assert str(error).endswith("the server answered 552")


def test_a_mail_server_that_is_away_is_unreachable(capfd: pytest.CaptureFixture[str]) -> None:
    url = f"mailto://u:{PASSWORD}@127.0.0.1:{free_port()}?from=a@operator.example&to=b@operator.example"
    assert refused(url, capfd).kind is FailureKind.CHANNEL_UNREACHABLE


class _Heard(logging.Handler):
    """What the program's own log would be told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """Like caplog, which listens to loggers that keep to themselves as well."""
    handler, root = _Heard(), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler.lines
    root.removeHandler(handler)
    root.setLevel(before)


def test_apprise_keeps_to_itself(
    hook: Webhook, tmp_path: Path, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file, no thread that outlives the call, no line in anybody's log: an address is a secret."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    send(f"json://u:{PASSWORD}@{hook.address}/hook-path")
    assert [line for line in heard if line.startswith("apprise")] == []
    assert PASSWORD not in "".join(heard)
    assert list(tmp_path.iterdir()) == []
    assert [thread.name for thread in threading.enumerate() if "Executor" in thread.name] == []


def test_nothing_is_printed_where_no_log_is_kept() -> None:
    """Python prints the warnings of a logger that nobody listens to; apprise's hold addresses."""
    said = subprocess.run(
        [sys.executable, "-c", _SENDS_IN_VAIN], input=PASSWORD, capture_output=True, text=True, check=True, timeout=60
    )
    assert (said.stdout, said.stderr) == ("channel-unreachable\n", "")


_SENDS_IN_VAIN = """
from jobs.event import Severity
from targets.errors import TargetError
from targets.notify import Apprise
try:
    Apprise(patience=0.1).send("ops", f"json://u:{input()}@127.0.0.1:1/hook-path", "s", "b", Severity.INFO)
except TargetError as error:
    print(error.kind)
"""

"""A call to a watcher elsewhere: heard or not, and the address never shown."""

from __future__ import annotations

import pytest

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.ping import ping
from targets.secret import Secret
from tests.servers.webhook import webhook

TOKEN = "0f9c-secret-token"


def refused(url: str, *, patience: float = 5.0) -> TargetError:
    with pytest.raises(TargetError) as caught:
        ping(Secret(url), patience=patience)
    assert TOKEN not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    return caught.value


def test_a_call_is_heard() -> None:
    with webhook() as hook:
        ping(f"http://{hook.address}/{TOKEN}")
        assert hook.asked == 1


def test_a_refusal_says_the_status() -> None:
    with webhook() as hook:
        hook.status = 404
        error = refused(f"http://{hook.address}/{TOKEN}")
    assert error.kind is FailureKind.CHANNEL_REFUSED
    assert str(error).endswith("the server answered 404")


def test_nobody_there_and_nobody_who_answers() -> None:
    with webhook(listening=False) as hook:
        assert refused(f"http://{hook.address}/{TOKEN}").kind is FailureKind.CHANNEL_UNREACHABLE
    with webhook() as hook:
        hook.hang.set()
        assert refused(f"http://{hook.address}/{TOKEN}", patience=0.2).kind is FailureKind.CHANNEL_UNREACHABLE


@pytest.mark.parametrize("url", [f"data:,{TOKEN}", "file:///dev/null", f"ftp://x/{TOKEN}", TOKEN, ""])
def test_only_http_addresses_are_called(url: str) -> None:
    """Python's own library would have read the first two."""
    assert refused(url).kind is FailureKind.CHANNEL_INVALID


@pytest.mark.parametrize("url", ["http://", f"http://[::1/{TOKEN}", f"http://x:y/{TOKEN}"])
def test_what_only_looks_like_an_address_is_not_heard(url: str) -> None:
    assert refused(url).kind in {FailureKind.CHANNEL_INVALID, FailureKind.CHANNEL_UNREACHABLE}

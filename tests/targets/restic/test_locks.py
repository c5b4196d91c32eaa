"""The locks of a repository, as real restic writes them."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jobs.failure import FailureKind
from jobs.lock import Lock
from targets.errors import TargetError
from targets.host import here, processes_numbered
from targets.process import Never
from targets.restic.messages import parse_lock
from targets.secret import Secret
from tests.bare_restic import PASSWORD
from tests.targets.restic.conftest import Site, access
from tests.targets.test_host import wait_for


@contextmanager
def at_work(site: Site) -> Iterator[subprocess.Popen[bytes]]:
    """A restic that backs up what never comes, and so holds a shared lock; killed when it is left."""
    environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "RESTIC_REPOSITORY": str(site.primary)}
    argv = [site.restic.program, "--no-cache", "backup", "--stdin"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(argv, env=environment, **pipes) as process:  # type: ignore[call-overload]  # (pipes by name)
        try:
            assert wait_for(lambda: any(len(name) == 64 for name in site.locks()))
            yield process
        finally:
            process.kill()


def locks(site: Site) -> tuple[Lock, ...]:
    return site.restic.locks(access(site.primary), stop=Never())


def test_a_lock_tells_who_made_it_and_reading_it_leaves_none(site: Site) -> None:
    assert locks(site) == ()
    with at_work(site) as process:
        (lock, *_) = locks(site)
        seen = processes_numbered(lock.pid, datetime.now(UTC))
    assert lock.pid == process.pid
    assert (lock.host, lock.exclusive) == (socket.gethostname(), False)
    assert lock.host == here().host
    assert lock.time is not None
    assert abs(datetime.now(UTC) - lock.time) < timedelta(minutes=2)
    (maker,) = seen
    assert maker.is_restic
    assert maker.started_at <= lock.time
    after = locks(site)  # its process is dead now, and the lock is still there
    assert lock in after
    assert {each.id for each in after} == set(site.locks())


def test_a_lock_that_cannot_be_read_hides_no_other(site: Site) -> None:
    """A disk that was full just then leaves an empty file."""
    with at_work(site):
        empty = site.primary / "locks" / ("ab" * 32)
        empty.touch()
        *readable, last = locks(site)
    assert readable
    assert all(lock.time is not None for lock in readable)
    assert (last.id, last.time, last.exclusive) == ("ab" * 32, None, True)


def test_a_lock_that_is_gone_by_the_time_it_is_read_is_none(site: Site) -> None:
    assert site.restic._lock(access(site.primary), "cd" * 32, Never()) is None


def test_a_wrong_password_reads_no_lock(site: Site) -> None:
    with pytest.raises(TargetError) as caught:
        site.restic.locks(replace(access(site.primary), password=Secret("another one")), stop=Never())
    assert caught.value.kind is FailureKind.WRONG_PASSWORD


@pytest.mark.parametrize(
    "output", [b"", b"[]", b"{}", b"null", b'{"pid": "x", "time": "now"}', b'{"pid": 1}', b"[" * 9]
)
def test_what_is_no_lock_is_a_value_error(output: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_lock("a" * 64, output)

"""A command's output arrives whole, and only an exit status of 0 makes it count."""

from __future__ import annotations

import sys
import threading
import time
from hashlib import sha256

import pytest

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.ports import Progress
from targets.sources.command import Output
from tests.targets.sources.trees import NEVER, unseen


def shell(script: str, stop: threading.Event = NEVER) -> Output:
    return Output(("sh", "-c", script), stop=stop, watch=unseen)


def failure(output: Output) -> TargetError:
    with pytest.raises(TargetError) as caught:
        list(output)
    for name in ("size", "sha256"):
        with pytest.raises(ValueError, match="after its last piece"):
            getattr(output, name)
    return caught.value


def test_all_of_it_arrives_counted_and_hashed() -> None:
    told: list[Progress] = []
    script = "import sys; [sys.stdout.buffer.write(bytes([n % 251]) * 9973) for n in range(500)]"
    output = Output((sys.executable, "-c", script), stop=NEVER, watch=told.append)
    whole = b"".join(output)
    assert whole == b"".join(bytes([number % 251]) * 9973 for number in range(500))
    assert (output.size, output.sha256) == (len(whole), sha256(whole).hexdigest())
    assert told[-1].bytes_done == output.size


def test_nothing_is_lost_when_the_reader_is_slower_than_the_command() -> None:
    """The command has ended long before its last bytes are taken from the pipe, which it made large."""
    script = "import fcntl, os; fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20); os.write(1, b'x' * (1 << 20))"
    output = Output((sys.executable, "-c", script), stop=NEVER, watch=unseen)
    for _ in output:
        time.sleep(0.4)
    assert output.size == 1 << 20


def test_an_empty_output_is_an_output() -> None:
    output = shell("true")
    assert list(output) == []
    assert (output.size, output.sha256) == (0, sha256().hexdigest())


def test_standard_error_is_not_part_of_it() -> None:
    output = shell("echo said; echo complained >&2")
    assert b"".join(output) == b"said\n"


def test_another_exit_status_fails_with_the_end_of_standard_error() -> None:
    error = failure(shell("echo half a dump; seq 1 9999 >&2; echo 'no such  table' >&2; exit 3"))
    assert error.kind is FailureKind.SOURCE_COMMAND_FAILED
    assert str(error) == "run command sh: exit status 3: 9996 / 9997 / 9998 / 9999 / no such  table"


def test_bytes_that_are_no_text_on_standard_error_are_told_somehow() -> None:
    assert "status 1: \ufffd" in str(failure(shell(r"printf '\377' >&2; exit 1")))
    assert "wrote nothing on standard error" in str(failure(shell("exit 1")))


def test_a_command_that_is_killed_has_failed() -> None:
    error = failure(shell("echo x; kill -9 $$"))
    assert error.kind is FailureKind.SOURCE_COMMAND_FAILED
    assert "ended by signal 9" in str(error)


def test_a_command_that_is_not_there_has_failed() -> None:
    error = failure(Output(("no-such-command-anywhere",), stop=NEVER, watch=unseen))
    assert error.kind is FailureKind.SOURCE_COMMAND_FAILED
    assert "cannot be started" in str(error)


def test_a_stop_ends_it() -> None:
    stop = threading.Event()
    output = shell("echo first; sleep 60", stop)
    pieces = iter(output)
    assert next(pieces) == b"first\n"
    stop.set()
    with pytest.raises(TargetError) as caught:
        next(pieces)
    assert caught.value.kind is FailureKind.CANCELLED


def test_the_services_secrets_are_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TANDEM_KEY", "RESTIC_PASSWORD", "AWS_SECRET_ACCESS_KEY", "PGPASSFILE"):
        monkeypatch.setenv(name, "here")
    said = b"".join(shell("env")).decode()
    assert "PGPASSFILE=here" in said
    assert said.count("=here") == 1

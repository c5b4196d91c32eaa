"""A command that is forked is to its test what one in an interpreter of its own is."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import psutil
import pytest

from tests.acceptance.faults import gate, restics
from tests.acceptance.forked import Forked, can_fork
from tests.acceptance.operator import Operator, until


@pytest.mark.parametrize(
    "words", [["config", "validate"], ["status"], ["--json", "runs"], ["statsu"], ["--help"], ["backup", "nothing"]]
)
def test_it_tells_the_same_and_ends_the_same(operator: Operator, words: Sequence[str]) -> None:
    forked = operator.tandem(*words)
    operator.forks = False
    assert operator.tandem(*words) == forked


def test_it_is_a_process_of_its_own_that_dies_of_what_it_is_sent(operator: Operator) -> None:
    waits = gate(operator, "--tag=content=data")
    process = operator.start("backup", "files")
    assert isinstance(process, Forked)
    waits.wait()
    seen = psutil.Process(process.pid)
    assert process.poll() is None
    assert restics(process, "--tag=content=data")
    children = seen.children(recursive=True)
    process.kill()
    assert process.wait(10) == -signal.SIGKILL
    assert not seen.is_running()
    process.communicate()
    until(lambda: not any(child.is_running() for child in children))


def test_what_only_an_interpreter_heeds_gets_one(operator: Operator) -> None:
    command, environment = operator.command("status"), operator.variables()
    assert can_fork(command, environment)
    assert not can_fork(command, {**environment, "PYTHONDONTWRITEBYTECODE": "no"})
    assert not can_fork(["setpriv", *command], environment)

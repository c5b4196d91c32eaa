"""What serve says: with its names, as loud as it is bad, and a log that cannot be written is a trouble, not an end."""

from __future__ import annotations

import pytest

from jobs.event import Severity
from jobs.failure import Failure, FailureKind
from jobs.history import RunState
from jobs.slot import SlotState
from orchestrator.serve.health import Health
from orchestrator.serve.voice import Voice
from reports.log import Level, LogRecord
from targets.errors import TargetError
from tests.orchestrator.ledger.build import NEWER, happening, over, run, slot
from tests.orchestrator.serve.clocks import START, HandClock


class Log:
    """Keeps what is said, or cannot."""

    def __init__(self) -> None:
        self.records: list[LogRecord] = []
        self.error: Exception | None = None

    def __call__(self, record: LogRecord) -> None:
        if self.error is not None:
            raise self.error
        self.records.append(record)


@pytest.mark.parametrize(
    ("state", "level"),
    [(RunState.SUCCEEDED, Level.INFO), (RunState.SKIPPED, Level.INFO), (RunState.PARTIAL, Level.WARNING)]
    + [(state, Level.WARNING) for state in (RunState.FAILED, RunState.BLOCKED, RunState.INTERRUPTED)],
)
def test_a_run_is_said_with_its_names_and_as_loud_as_it_ended(state: RunState, level: Level) -> None:
    log = Log()
    voice = Voice(log, HandClock(), Health())
    voice.begins(run(1, slot="files/backup/one/U1"))
    failure = Failure(kind=FailureKind.KILLED, message="killed") if state is RunState.FAILED else None
    voice.ended(over(1, state=state, slot="files/backup/one/U1", failure=failure))
    began, ended = log.records
    assert (began.event, began.level, began.at) == ("run-began", Level.INFO, START)
    assert (ended.event, ended.level) == ("run-ended", level)
    for record in (began, ended):
        assert record.fields["slot"] == "files/backup/one/U1"
        assert record.fields["tenant"] == "north"
        assert record.fields["run"] == run(1).id
    assert ended.fields["seconds"] == 60.0


@pytest.mark.parametrize(("state", "level"), [(SlotState.COALESCED, Level.INFO), (SlotState.MISSED, Level.WARNING)])
def test_a_slot_that_ended_without_a_run_says_why(state: SlotState, level: Level) -> None:
    log = Log()
    Voice(log, HandClock(), Health()).closed(slot(1), state, NEWER)
    (record,) = log.records
    assert record.level is level
    assert NEWER.text in record.message
    assert state in record.message
    assert record.fields["slot"] == slot(1).id


def test_an_event_is_as_loud_as_it_is_severe() -> None:
    log = Log()
    voice = Voice(log, HandClock(), Health())
    for severity in Severity:
        voice.event(happening(1, severity=severity))
    assert [record.level for record in log.records] == [Level.INFO, Level.WARNING, Level.ERROR]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), TargetError("send", "journald", FailureKind.TOOL_FAILED, "gone")]
)
def test_a_log_that_cannot_be_written_is_a_trouble_until_it_can(error: Exception) -> None:
    log, health = Log(), Health()
    voice = Voice(log, HandClock(), health)
    log.error = error
    voice.say(Level.INFO, "one", "words")
    assert "the log cannot be written" in health.why_not("log")
    log.error = None
    voice.say(Level.INFO, "two", "words")
    assert health.why_not("log") == ""
    assert [record.event for record in log.records] == ["two"]

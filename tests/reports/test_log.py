"""Logs: one record is one line in every form, JSON parses back, and nothing in an error's text can forge a line."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.log import (
    PRIORITIES,
    EventLog,
    Form,
    Level,
    LogRecord,
    journal_fields,
    journal_line,
    json_line,
    text_line,
)
from targets.secret import Secret

AT = datetime(2026, 11, 21, 22, 15, 3, 120_999, tzinfo=UTC)
PLAIN = LogRecord(
    at=AT,
    level=Level.WARNING,
    event="run-ended",
    message="backup files at primary: partial",
    fields={"run": "20261121T221500-ab12", "slot": None, "policy": "files", "seconds": 3.25, "host": "a b", "tries": 2},
)
FORGED = 'no route\n2026-11-21T22:15:04.000Z error run-ended: all is lost\r\x1b[2J policy="x" \u202e\ud800\x00é'


def test_golden_lines() -> None:
    assert text_line(PLAIN) == (
        "2026-11-21T22:15:03.120Z warning run-ended: backup files at primary: partial "
        'run=20261121T221500-ab12 policy=files seconds=3.25 host="a b" tries=2'
    )
    assert json_line(PLAIN) == (
        '{"ts":"2026-11-21T22:15:03.120Z","level":"warning","event":"run-ended",'
        '"message":"backup files at primary: partial","run":"20261121T221500-ab12","policy":"files","seconds":3.25,'
        '"host":"a b","tries":2}'
    )
    assert journal_line(PLAIN) == (
        "<4>run-ended: backup files at primary: partial "
        'run=20261121T221500-ab12 policy=files seconds=3.25 host="a b" tries=2'
    )
    assert journal_fields(PLAIN) == {
        "MESSAGE": "backup files at primary: partial",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "tandem",
        "TANDEM_EVENT": "run-ended",
        "TANDEM_RUN": "20261121T221500-ab12",
        "TANDEM_POLICY": "files",
        "TANDEM_SECONDS": "3.25",
        "TANDEM_HOST": "a b",
        "TANDEM_TRIES": "2",
    }


def test_an_error_text_cannot_forge_a_line() -> None:
    record = LogRecord(at=AT, level=Level.ERROR, event="run-ended", message=FORGED, fields={"policy": FORGED})
    for line in (text_line(record), json_line(record), journal_line(record), *journal_fields(record).values()):
        assert line.isprintable()
    assert 'no route\\x0a2026-11-21T22:15:04.000Z error run-ended: all is lost\\x0d\\x1b[2J policy="x"' in text_line(
        record
    )
    assert ' policy="no route\\x0a' in text_line(record)
    told = json.loads(json_line(record))["message"]
    assert told.startswith("no route\n2026-11-21")
    assert told.encode("utf-8")  # no lone surrogate is left, which strict readers refuse


@settings(deadline=None, max_examples=150)
@given(
    message=st.text(st.characters(exclude_categories=())),
    fields=st.dictionaries(
        st.sampled_from(["run", "slot", "policy", "tenant", "job", "site", "vault", "seconds"]),
        st.none() | st.text(st.characters(exclude_categories=())) | st.integers() | st.booleans()
        | st.floats(allow_nan=False, allow_infinity=False),
    ),
)  # fmt: skip
def test_one_record_is_one_line_in_every_form(message: str, fields: dict[str, Any]) -> None:
    record = LogRecord(at=AT, level=Level.INFO, event="x", message=message, fields=fields)
    for form in Form:
        stream = io.BytesIO()
        EventLog(stream, form).say(record)
        text = stream.getvalue().decode("utf-8")
        assert text.endswith("\n")
        assert len(text.splitlines()) == 1
    parsed = json.loads(json_line(record))
    assert set(parsed) == {"ts", "level", "event", "message"} | {name for name, v in fields.items() if v is not None}
    for name, value in fields.items():
        if isinstance(value, int | float) or (isinstance(value, str) and value.isprintable()):
            assert parsed[name] == value
    for name in journal_fields(record):
        assert name.isupper()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"at": AT.replace(tzinfo=None)}, ValueError),
        ({"at": AT.astimezone(timezone(timedelta(hours=1)))}, ValueError),
        ({"event": "two words"}, ValueError),
        ({"fields": {"message": "again"}}, ValueError),
        ({"fields": {"Upper": "x"}}, ValueError),
        ({"fields": {"seconds": float("nan")}}, ValueError),
        ({"fields": {"password": Secret("hidden")}}, TypeError),
    ],
)
def test_what_is_no_record_is_refused(wrong: dict[str, Any], error: type[Exception]) -> None:
    sound: dict[str, Any] = {"at": AT, "level": Level.INFO, "event": "x", "message": ""}
    with pytest.raises(error) as refused:
        LogRecord(**sound | wrong)
    assert "hidden" not in str(refused.value)


def test_threads_never_mix_their_lines(tmp_path: Path) -> None:
    longs = [LogRecord(at=AT, level=Level.INFO, event="x", message=letter * 9_000) for letter in "abcdefgh"]
    with (tmp_path / "log").open("wb") as stream, ThreadPoolExecutor(8) as threads:
        log = EventLog(stream, Form.TEXT)
        for told in [threads.submit(log.say, record) for record in longs * 20]:
            told.result()
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert sorted(lines) == sorted(text_line(record) for record in longs * 20)


def test_levels_are_syslogs_as_the_journal_keeps_them() -> None:
    assert {level.value: PRIORITIES[level] for level in Level} == {"debug": 7, "info": 6, "warning": 4, "error": 3}


def test_yes_and_no_and_figures_are_written_as_anybody_writes_them() -> None:
    fields = {"on": True, "off": False, "exact": 0.12345, "whole": 3}
    record = LogRecord(at=AT.replace(microsecond=500_400), level=Level.INFO, event="x", message="m", fields=fields)
    assert text_line(record).endswith("x: m on=true off=false exact=0.123 whole=3")
    assert text_line(record).startswith("2026-11-21T22:15:03.500Z ")
    assert [journal_fields(record)[f"TANDEM_{name}"] for name in ("ON", "OFF", "EXACT")] == ["true", "false", "0.123"]


def test_a_record_has_left_us_once_it_was_said(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as stream:
        EventLog(stream, Form.TEXT).say(LogRecord(at=AT, level=Level.INFO, event="x", message="m"))
        assert (tmp_path / "log").read_bytes().endswith(b"x: m\n")

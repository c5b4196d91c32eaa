"""What happens to the service reaches the ledger, also when that took nothing at the time."""

from __future__ import annotations

from pathlib import Path

from jobs.event import Severity, Topic
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.serve.chronicle import Chronicle
from orchestrator.serve.health import Health
from orchestrator.serve.voice import Voice
from tests.orchestrator.ledger.build import NOW


def test_what_the_ledger_refused_goes_in_with_the_next_that_it_takes(tmp_path: Path) -> None:
    path, away = tmp_path / "tandem.db", tmp_path / "away.db"
    health = Health()
    with Ledger.open(f"sqlite:///{path}", create=True, now=NOW) as ledger:
        chronicle = Chronicle(ledger, Clock(), Voice(lambda _: None, Clock(), health), health)
        path.rename(away)
        chronicle.happened(Topic.CLOCK_STEPPED, "clock", "set by an hour")
        chronicle.happened(Topic.SETTINGS_REFUSED, "settings", "a mistake")
        assert health.holds("ledger")
        away.rename(path)
        assert ledger.events() == ()
        chronicle.happened(Topic.RECOVERED, "ledger", "it takes records again")
        chronicle.happened(Topic.SERVE_STOPPED, "serve", "asked to stop")
        told = [event.topic for event in ledger.events()]
    assert told == [Topic.CLOCK_STEPPED, Topic.SETTINGS_REFUSED, Topic.RECOVERED, Topic.SERVE_STOPPED]


def test_what_was_too_much_to_be_kept_until_then_is_counted(tmp_path: Path) -> None:
    path, away = tmp_path / "tandem.db", tmp_path / "away.db"
    health = Health()
    with Ledger.open(f"sqlite:///{path}", create=True, now=NOW) as ledger:
        chronicle = Chronicle(ledger, Clock(), Voice(lambda _: None, Clock(), health), health)
        path.rename(away)
        for number in range(1005):
            chronicle.happened(Topic.CLOCK_STEPPED, "clock", f"number {number}")
        away.rename(path)
        chronicle.happened(Topic.RECOVERED, "ledger", "it takes records again")
        chronicle.happened(Topic.SERVE_STOPPED, "serve", "asked to stop")
        told = ledger.events()
    assert [event.text for event in told[:1]] == ["number 6"]
    assert len([event for event in told if event.topic is Topic.CLOCK_STEPPED]) == 999
    (lost,) = [event for event in told if event.topic is Topic.LEDGER_TRIMMED]
    assert (lost.severity, lost.text) == (
        Severity.WARNING,
        "It took nothing for a while, and 6 events of that time are in the log only.",
    )

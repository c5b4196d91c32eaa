"""A report that another process makes is the one that would be made here; whatever ends that process has its name."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import pytest

from jobs.dispatch import Start
from jobs.failure import FailureKind
from jobs.history import Job, ReportResult, RunState
from jobs.period import parse
from jobs.plan import report_step
from jobs.reporting import NOWHERE
from jobs.slot import Slot
from orchestrator import settings as settings_room
from orchestrator import wiring
from orchestrator.ledger.ledger import Ledger
from orchestrator.reporting.apart import make_apart
from orchestrator.reporting.making import Order, make
from orchestrator.serve.starting import work_of
from orchestrator.settings import Settings, effective_report_json
from orchestrator.work.tools import Tools
from targets.errors import TargetError
from targets.ports import unwatched
from tests.two_sites import settings

NOW: Final = datetime(2026, 3, 1, 5, tzinfo=UTC)
TEXT: Final = settings("Test operator", {"minfopra": "Ministry"}, "last = 2") + (
    '\n[policies.files]\nsource = {{ paths = ["source"] }}\n'
    '\n[reports.health]\nschedule = "monthly on 1 at 06:00"\nfolder = "reports"\n'
)


@dataclass(frozen=True)
class Desk:
    """What a report is made with, where there is no restic."""

    order: Order
    ledger: Ledger
    tools: Tools
    stop: threading.Event
    folder: Path

    def refused(self, order: Order) -> TargetError:
        """How another process failed; it leaves nothing, here or there."""
        with pytest.raises(TargetError) as refused:
            make_apart(order, "run-1", self.tools)
        assert list((self.folder / "work" / "scratch").iterdir()) == []
        assert not (self.folder / "reports").exists() or not any((self.folder / "reports").iterdir())
        return refused.value


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    key, file = tmp_path / "minfopra.key", tmp_path / "settings.toml"
    key.write_text("a password that no test prints")
    key.chmod(0o600)
    file.write_text(TEXT.format(restic="/nowhere/restic"))
    (tmp_path / "reports").mkdir()
    loaded, stop = settings_room.load(file), threading.Event()
    (reporting,) = loaded.reports
    period = parse("2026-02", ZoneInfo(reporting.zone))
    with Ledger.open(wiring.ledger_url(loaded), create=True, now=NOW) as ledger:
        tools = wiring.tools(loaded, ledger, stop=stop, watch=lambda _piece: unwatched, needs_restic=False)
        file.write_text("these settings were refused, and are not in force")
        order = Order(reporting=reporting, period=period, settings=loaded, now=NOW, version="0.test")
        yield Desk(order, ledger, tools, stop, tmp_path)


def test_it_is_the_same_to_the_byte(desk: Desk) -> None:
    """By the settings in force, not by what is in their file; and two numbers for one fact never differ."""
    apart = make_apart(desk.order, "run-1", desk.tools)
    assert apart.state is RunState.SUCCEEDED
    assert isinstance(apart.result, ReportResult)
    assert apart.usage.cpu_seconds > 0
    made = {path.name: path.read_bytes() for path in (desk.folder / "reports").iterdir()}
    assert sorted(made) == [f"integrity-health-2026-02.{end}" for end in ("html", "json", "txt")]
    for path in (desk.folder / "reports").iterdir():
        path.unlink()
    assert make(desk.order, desk.ledger) == apart.result
    assert {path.name: path.read_bytes() for path in (desk.folder / "reports").iterdir()} == made


def test_a_folder_that_is_away_is_told_in_the_same_words(desk: Desk) -> None:
    away = replace(desk.order, reporting=replace(desk.order.reporting, folder=str(desk.folder / "away")))
    with pytest.raises(TargetError) as here:
        make(away, desk.ledger)
    there = desk.refused(away)
    assert (there.kind, str(there)) == (FailureKind.FOLDER_UNAVAILABLE, str(here.value))


def test_a_stop_ends_it(desk: Desk) -> None:
    desk.stop.set()
    assert desk.refused(desk.order).kind is FailureKind.CANCELLED


def test_our_own_fault_is_named(desk: Desk) -> None:
    error = desk.refused(replace(desk.order, reporting=replace(desk.order.reporting, zone="No/Where")))
    assert error.kind is FailureKind.INTERNAL
    assert "No time zone found with key No/Where" in str(error)


def test_a_ledger_that_is_gone_is_what_it_is(desk: Desk) -> None:
    gone = replace(desk.order.settings.service, state=f"sqlite:///{desk.folder}/gone.db")
    error = desk.refused(replace(desk.order, settings=replace(desk.order.settings, service=gone)))
    assert error.kind is FailureKind.LEDGER_MISSING
    assert "gone.db" in str(error)


def test_restic_is_looked_for_by_whoever_uses_it(desk: Desk) -> None:
    with pytest.raises(TargetError) as refused:
        assert desk.tools.engine.tool
    assert refused.value.kind is FailureKind.TOOL_MISSING


def test_what_lies_in_the_folder_where_we_stand_is_not_run(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write there would be us otherwise."""
    stand = tmp_path / "stand"
    stand.mkdir()
    (stand / "pickle.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(stand)
    assert make_apart(desk.order, "run-1", desk.tools).state is RunState.SUCCEEDED


EDITED: Final = ('period = "quarter"', 'timezone = "Pacific/Kiritimati"', 'formats = ["json"]')


@pytest.mark.parametrize("edit", EDITED)
def test_a_slot_makes_what_it_was_due_for_whatever_was_edited_meanwhile(desk: Desk, edit: str) -> None:
    """Due on the first of March at five UTC, it is of February, also by other settings."""
    start, settings = waiting(desk, edit)
    desk.ledger.remember_settings(start.slot.settings_hash, effective_report_json(desk.order.reporting), NOW)
    made = work_of(start, {}, settings, NOW, "0.test")(desk.tools)("run-1")
    assert isinstance(made.result, ReportResult)
    assert made.result.period == "2026-02"
    told = json.loads((desk.folder / "reports" / "integrity-health-2026-02.json").read_text())
    assert told["facts"]["period"]["value"]["end"] == "2026-02-28T23:00:00Z", "a month of Douala"
    forms = 1 if "formats" in edit else 3
    assert len(made.result.files) == forms, "where it is written, and in which forms, is of now"


def test_settings_that_nobody_remembers_are_no_excuse_for_another_period(desk: Desk) -> None:
    start, settings = waiting(desk, EDITED[0])
    with pytest.raises(TargetError, match="by which it was due, cannot be read") as refused:
        work_of(start, {}, settings, NOW, "0.test")(desk.tools)("run-1")
    assert refused.value.kind is FailureKind.LEDGER_DAMAGED


def waiting(desk: Desk, edit: str) -> tuple[Start, Settings]:
    """A slot that was made by the desk's settings, and the settings as they are now."""
    (desk.folder / "settings.toml").write_text(TEXT.format(restic="/nowhere/restic") + edit + "\n")
    former, settings = desk.order.reporting, settings_room.load(desk.folder / "settings.toml")
    assert settings.reports[0].settings_hash != former.settings_hash
    slot = Slot(
        id="health/report/-/2026-03-01",
        line=1,
        policy=former.name,
        tenant=former.owner,
        job=Job.REPORT,
        site=NOWHERE[0],
        vault=NOWHERE[1],
        key="2026-03-01",
        nominal=NOW,
        due=NOW,
        until=None,
        known_at=NOW,
        settings_hash=former.settings_hash,
    )
    return Start(slot=slot, step=report_step(settings.reports[0])), settings

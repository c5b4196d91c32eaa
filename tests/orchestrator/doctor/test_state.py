"""What is said of `serve` while none runs: everything that waits for it is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.checkup import Grade
from orchestrator.clock import Clock
from orchestrator.doctor import state
from orchestrator.doctor.case import Case
from orchestrator.ledger.ledger import Ledger
from tests.orchestrator.serve.clocks import START
from tests.orchestrator.serve.stage import ALONE, Stage

BY_HAND = ALONE.replace('schedule = "every 60m"\n', "")
PROVEN = '\nverify = {{ check = "weekly" }}\n'
REPORT = '\n[reports.monthly]\nschedule = "monthly on 1 at 06:00"\nfolder = "reports"\n'


@pytest.mark.parametrize(
    ("text", "grade", "told"),
    [
        (BY_HAND, Grade.INFO, "not running, nor needed"),
        (ALONE, Grade.WARN, "nothing runs by itself; with a schedule: 1 policy"),
        (BY_HAND + PROVEN, Grade.WARN, "nothing runs by itself; with a schedule: 1 policy"),
        (BY_HAND + REPORT, Grade.WARN, "nothing runs by itself; with a schedule: 1 report"),
        (ALONE + REPORT, Grade.WARN, "nothing runs by itself; with a schedule: 1 policy and 1 report"),
    ],
)
def test_where_nobody_serves_all_that_waits_for_it_is_counted(
    tmp_path: Path, text: str, grade: Grade, told: str
) -> None:
    with Ledger.open(f"sqlite:///{tmp_path / 'tandem.db'}", create=True, now=START) as ledger:
        settings = Stage(tmp_path, ledger, text=text).settings
        (found,) = state.serve(Case(settings=settings, clock=Clock(), ledger=ledger))
    assert (found.grade, found.text) == (grade, told)
    assert bool(found.advice) == (grade is Grade.WARN)

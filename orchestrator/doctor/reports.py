"""Where the reports go that make themselves: what cannot be written is found out before the first of a month."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from jobs.checkup import Finding, Grade
from jobs.quantity import size
from jobs.reporting import Reporting
from orchestrator.doctor.case import Case
from targets.host import free_space


def folders(case: Case) -> Iterator[Finding]:
    """Each report's folder is there, can be written, and has room."""
    return map(_folder, case.settings.reports)


def _folder(reporting: Reporting) -> Finding:
    folder = Path(reporting.folder)
    if why := _why_not(folder):
        return Finding(
            check="report",
            subject=reporting.name,
            grade=Grade.FAILED,
            text=f"cannot be written: {folder} {why}",
            advice="Mount or make the folder and give it to the user that Tandem runs as, or name another one in "
            f"[reports.{reporting.name}] folder.",
        )
    return Finding(
        check="report",
        subject=reporting.name,
        grade=Grade.OK,
        text=f"{reporting.schedule.text}, of the last {reporting.period}, to {folder}: {size(free_space(folder))} free",
    )


def _why_not(folder: Path) -> str:
    if not folder.exists():
        return "is not there"
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return "is no folder that can be written"
    return "" if free_space(folder) else "has no room left"

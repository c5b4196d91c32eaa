"""Progress: bars in a terminal, two lines for each step in a log, and names that nothing reads as markup."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.text import Text

from reports.log import LogDisplay
from reports.progress import Figures, figures
from reports.terminal import ProgressDisplay

HALF = Figures(
    bytes_done=2**30, bytes_total=2**31, files_done=1_234, files_total=2_468, bytes_a_second=2**20, seconds_left=40
)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("now", "line"),
    [
        (Figures(), ""),
        (HALF, "1.00 GiB of 2.00 GiB, 1,234 of 2,468 files, 1.00 MiB/s, 40 s left"),
        (Figures(bytes_done=512, files_done=1), "512 B, 1 file"),
        (Figures(bytes_total=1_024), "0 B of 1.00 KiB"),
    ],
)
def test_figures_in_one_line(now: Figures, line: str) -> None:
    assert figures(now) == line


def test_beside_a_bar_in_a_narrow_terminal_the_line_is_short() -> None:
    assert figures(HALF, brief=True) == "1.00 GiB, 1.00 MiB/s, 40 s left"
    assert figures(Figures(bytes_total=9), brief=True) == ""


def test_a_log_gets_one_line_at_the_start_and_one_at_the_end() -> None:
    log = io.StringIO()
    with LogDisplay(log) as progress:
        progress.start("backup career-files at primary")
        for _ in range(100):
            progress.update("backup career-files at primary", HALF)
        progress.finish("backup career-files at primary")
        progress.update("check [red]x[/red]\x1b[0m", Figures())
        progress.finish("check [red]x[/red]\x1b[0m", "failed: no route")
    assert log.getvalue().splitlines() == [
        "backup career-files at primary: started",
        "backup career-files at primary: done",
        "check [red]x[/red]\\x1b[0m: started",
        "check [red]x[/red]\\x1b[0m: failed: no route",
    ]


def test_a_log_of_few_characters_is_no_reason_to_fail() -> None:
    raw = io.BytesIO()
    log = io.TextIOWrapper(raw, encoding="ascii")
    with LogDisplay(log) as progress:
        progress.start("sauvegarde préfecture")
        progress.finish("sauvegarde préfecture", "terminée")
    assert raw.getvalue() == b"sauvegarde pr?fecture: started\nsauvegarde pr?fecture: termin?e\n"


def test_a_terminal_gets_bars_and_a_line_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")
    screen = _Terminal()
    with ProgressDisplay(screen) as progress:
        progress.start("copy [red]x[/red]")
        progress.update("copy [red]x[/red]", HALF)
        progress.finish("copy [red]x[/red]", "succeeded")
        progress.start("open [b]y[/b]")
    shown = Text.from_ansi(screen.getvalue().replace("\r", "\n")).plain
    assert "open [b]y[/b]" in shown
    assert "copy [red]x[/red]: succeeded" in shown
    assert "\x1b[" in screen.getvalue()


def test_many_threads_may_report_at_once() -> None:
    log = io.StringIO()

    def work(name: str) -> None:
        progress.start(name)
        for done in range(50):
            progress.update(name, Figures(bytes_done=done))
        progress.finish(name)

    with LogDisplay(log) as progress, ThreadPoolExecutor(4) as pool:
        list(pool.map(work, [f"step {n}" for n in range(20)]))
    lines = log.getvalue().splitlines()
    assert sorted(lines) == sorted([f"step {n}: {what}" for n in range(20) for what in ("started", "done")])


def test_a_step_that_has_ended_and_begins_again_is_announced_again() -> None:
    log = io.StringIO()
    with LogDisplay(log) as progress:
        for _ in range(2):
            progress.update("copy", HALF)
            progress.update("copy", HALF)
            progress.finish("copy")
    assert log.getvalue().splitlines() == ["copy: started", "copy: done"] * 2

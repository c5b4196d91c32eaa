"""From what adapters report to what people are shown: speed and time left, for the step that runs now."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobs.history import RunRecord
from jobs.reporting import called
from orchestrator.clock import Clock
from reports.log import LogDisplay
from reports.progress import Figures
from reports.results import found
from targets.ports import Progress, Watch, unwatched

if TYPE_CHECKING:
    from reports.terminal import ProgressDisplay


class Teller:
    """Tells of steps on standard error: bars in a terminal, a line at start and end elsewhere, nothing when quiet."""

    def __init__(self, clock: Clock, display: LogDisplay | ProgressDisplay | None) -> None:
        self._clock = clock
        self._display = display
        self._step = ""
        self._began = 0.0

    def begins(self, record: RunRecord) -> None:
        """A run starts now."""
        self._step, self._began = _name(record), self._clock.monotonic()
        if self._display is not None:
            self._display.start(self._step)

    def ended(self, record: RunRecord) -> None:
        """The run is over."""
        if self._display is not None:
            self._display.finish(_name(record), f"{record.state}: {found(record).text}")

    def watch(self, _piece: str) -> Watch:
        """A listener for one piece of the running step. All pieces of a step share its line."""
        return unwatched if self._display is None else self._update

    def _update(self, progress: Progress) -> None:
        if self._display is None:
            return
        seconds = self._clock.monotonic() - self._began
        rate = progress.bytes_done / seconds if seconds > 1 and progress.bytes_done else None
        left = None
        if rate and progress.bytes_total and progress.bytes_total >= progress.bytes_done:
            left = (progress.bytes_total - progress.bytes_done) / rate
        self._display.update(
            self._step,
            Figures(
                bytes_done=progress.bytes_done,
                bytes_total=progress.bytes_total,
                files_done=progress.files_done,
                files_total=progress.files_total,
                bytes_a_second=rate,
                seconds_left=left,
            ),
        )


def _name(record: RunRecord) -> str:
    return f"{record.job} {called(record.policy, record.site)}"


@contextmanager
def teller(clock: Clock, *, quiet: bool) -> Iterator[Teller]:
    """Somebody who tells of progress while the block runs."""
    if quiet:
        yield Teller(clock, None)
    else:
        with _display() as display:
            yield Teller(clock, display)


def _display() -> LogDisplay | ProgressDisplay:
    """Bars in a terminal; a log takes lines, and does not wait for rich."""
    if not sys.stderr.isatty():
        return LogDisplay(sys.stderr)
    from reports.terminal import ProgressDisplay

    return ProgressDisplay(sys.stderr)

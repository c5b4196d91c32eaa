"""What one restic call says while it runs: passed on to who watches, and kept as far as the result needs it."""

from __future__ import annotations

import re
from typing import Final

from targets.ports import Progress, Watch
from targets.process import Heard
from targets.restic.complaints import text_of
from targets.restic.messages import BackupSummary, CheckSummary, Event, ExitError, ItemError, Status, Unknown, parse
from targets.restic.patience import Patience

LINES_KEPT: Final = 1000  # of what check finds

# Each progress line begins with the time that has passed, which alone is no progress.
_CLOCK: Final = re.compile(r"^\[[\d:]+\] *")


def unwatched(_: Progress) -> None:
    """A watch that nobody looks at."""


class Listening:
    """The two listeners of one call. Both run in the thread that supervises it."""

    def __init__(self, watch: Watch = unwatched, patience: Patience | None = None) -> None:
        self.summary: BackupSummary | CheckSummary | None = None
        self.errors: list[ItemError] = []  # with single files
        self.said: list[str] = []  # about the call as a whole, on standard error
        self._watch = watch
        self._patience = patience or Patience()
        self._last: Event | str | None = None

    def hear(self, line: bytes) -> Heard:
        """A line of standard output: progress is what differs from the line before."""
        event = parse(line)
        if isinstance(event, BackupSummary | CheckSummary):
            self.summary = event
        news = _CLOCK.sub("", event.text) if isinstance(event, Unknown) else event
        if news == self._last:
            return Heard.NOTHING
        self._last = news
        if isinstance(event, Status):
            self._watch(progress_of(event))
        return Heard.PROGRESS

    def hear_error(self, line: bytes) -> Heard:
        """A line of standard error."""
        event = parse(line)
        if isinstance(event, ItemError) and event.item:
            self.errors.append(event)
        elif len(self.said) < LINES_KEPT:
            self.said += text_of([event]).splitlines()
        tired = isinstance(event, Unknown | ExitError) and self._patience.is_over(text_of([event]))
        return Heard.ENOUGH if tired else Heard.NOTHING

    def sample(self, moved: int) -> None:
        """Bytes read and written so far, for commands that tell no progress of their own."""
        self._watch(Progress(bytes_done=moved))


def progress_of(status: Status) -> Progress:
    """restic's progress in our terms."""
    return Progress(
        bytes_done=status.bytes_done,
        bytes_total=status.bytes_total,
        files_done=status.files_done,
        files_total=status.files_total,
        current=status.current,
    )

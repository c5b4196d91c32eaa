"""Progress in a log: one line at the start and one at the end of each step, and no need of a library for it."""

from __future__ import annotations

from types import TracebackType
from typing import Self, TextIO

from reports.document import printable
from reports.progress import Figures


class LogDisplay:
    """Stands in for terminal.ProgressDisplay where there is no terminal. It may be told from several threads."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._under_way: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is to be given back."""

    def start(self, step: str) -> None:
        """Announce a step by the name under which it is fed ("backup career-files at primary")."""
        self._under_way.add(step)
        self._say(f"{step}: started")

    def update(self, step: str, _now: Figures) -> None:
        """How far it is: a log is not told. A step that was not announced is announced."""
        if step not in self._under_way:
            self.start(step)

    def finish(self, step: str, outcome: str = "done") -> None:
        """End a step; `outcome` is a word or a sentence ("done", "failed: vault unreachable")."""
        self._under_way.discard(step)
        self._say(f"{step}: {outcome}")

    def _say(self, line: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(printable(line).encode(encoding, "replace").decode(encoding) + "\n")
        self._stream.flush()

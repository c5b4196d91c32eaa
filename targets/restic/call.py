"""One restic call: what is started, for which repositories, and how its end is told."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from jobs.failure import FailureKind
from targets import process
from targets.errors import TargetError
from targets.ports import Access, Stop, Stored
from targets.process import Ended, Limits, ProcessRequest
from targets.restic.argv import Command
from targets.restic.listening import Listening
from targets.restic.messages import BackupSummary
from targets.restic.verdict import Verdict, judge, redact
from targets.restic.versions import Version


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A call that may be run. `accesses` are the repository and, for `copy` and `init`, the one it comes from."""

    command: Command
    request: ProcessRequest
    accesses: tuple[Access, ...]
    version: Version
    limits: Limits

    def run(self, listening: Listening, stop: Stop, *, sampled: bool = False) -> Ended:
        """Run to the end. `sampled`: progress is what was read and written, because the command tells none."""
        return process.run(
            self.request,
            limits=self.limits,
            stop=stop,
            on_line=listening.hear,
            on_error=listening.hear_error,
            on_sample=listening.sample if sampled else None,
        )

    def pieces(self, stop: Stop, listening: Listening | None = None) -> Generator[bytes, None, None]:
        """Standard output as it comes. Raises TargetError, also after the last piece."""
        listening = listening or Listening()
        ended = yield from process.pipe(self.request, limits=self.limits, stop=stop, on_error=listening.hear_error)
        self.done(ended)

    def judge(self, ended: Ended) -> Verdict:
        """How it ended, in Tandem's terms."""
        return judge(self.command, ended, self.version, self.limits)

    def done(self, ended: Ended) -> Verdict:
        """The verdict on a call that must have succeeded. Raises TargetError."""
        verdict = self.judge(ended)
        if verdict.failure is not None:
            raise self.error(verdict.failure, verdict.words)
        return verdict

    def stored(self, ended: Ended, listening: Listening) -> Stored:
        """What a backup left. A summary and exit status 0 or 3 are a snapshot, whatever came in between."""
        summary = listening.summary
        verdict = judge(self.command, ended, self.version, self.limits, interrupted=False)
        if not isinstance(summary, BackupSummary) or verdict.failure is not None:
            self.done(ended)
            raise self.error(FailureKind.TOOL_FAILED, "restic ended without naming a snapshot")
        unread = dict.fromkeys(error.item for error in listening.errors if error.during != "scan")
        if verdict.partial and not unread:
            unread = {"(restic left something out, and did not name it)": None}
        return Stored(
            snapshot=summary.snapshot,
            files=summary.files,
            bytes=summary.bytes,
            bytes_added=summary.bytes_added,
            unreadable=tuple(unread),
            usage=ended.usage,
        )

    def error(self, kind: FailureKind, words: str) -> TargetError:
        """The failure as an error that names the repositories, and no secret."""
        labels = " from ".join(access.address.label for access in self.accesses)
        return TargetError(self.command.value, labels, kind, redact(words, self.accesses))

"""Checks side by side, each with a deadline: what cannot be done says so, and what breaks breaks alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from jobs.checkup import Finding, Grade
from jobs.failure import Failure
from orchestrator import fault
from orchestrator.clock import Clock

SECONDS: Final = 30.0  # for a check that names no deadline of its own


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """Something to look at. `look` may take so many seconds, after which `late` is how that is graded."""

    name: str
    subject: str = ""
    look: Callable[[], Iterable[Finding]]
    seconds: float = SECONDS
    late: Grade = Grade.UNKNOWN


@dataclass(kw_only=True, slots=True)
class _Look:
    """One check under way. Its thread is let go when it is late: nobody can end what waits for a silent server."""

    check: Check
    found: list[Finding] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def go(self) -> None:
        try:
            found = list(self.check.look())
        except Exception as error:  # noqa: BLE001 (whatever is broken here, the other checks are to be told as well)
            found = [_broken(self.check, error)]
        self.found = found
        self.done.set()


def examine(checks: Sequence[Check], clock: Clock) -> tuple[Finding, ...]:
    """Do all checks at once, and give what they found in their order."""
    looks = [_Look(check=check) for check in checks]
    began = clock.monotonic()
    for look in looks:
        threading.Thread(target=look.go, name=f"doctor {look.check.name}", daemon=True).start()
    return tuple(finding for look in looks for finding in _awaited(look, began, clock))


def _awaited(look: _Look, began: float, clock: Clock) -> list[Finding]:
    left = began + look.check.seconds - clock.monotonic()
    if look.done.wait(max(0.0, left)):
        return look.found
    return [_late(look.check)]


def _late(check: Check) -> Finding:
    return Finding(
        check=check.name,
        subject=check.subject,
        grade=check.late,
        text=f"no answer within {check.seconds:g} s",
        advice="Find out what keeps it: a server that does not answer, a disk that hangs?",
    )


def _broken(check: Check, error: Exception) -> Finding:
    """A failure with its own advice is a finding; anything else is a check that could not be done."""
    failure = getattr(error, "failure", None)
    if isinstance(failure, Failure):
        return Finding(
            check=check.name,
            subject=check.subject,
            grade=Grade.FAILED,
            text=failure.message,
            advice=failure.advice,
        )
    return Finding(
        check=check.name,
        subject=check.subject,
        grade=Grade.UNKNOWN,
        text=f"could not be looked at: {fault.words(error)}",
        advice="Run it as the user that Tandem runs as; if that is so, report this line.",
    )

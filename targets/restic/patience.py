"""How long restic may try again by itself: up to fifteen minutes it would, also where nothing can change.

A backup that is under way deserves that patience, and the no-progress limit ends it. A vault that does not let us
begin, or that refuses, does not: an operator at a terminal must read the cause within seconds.
"""

from __future__ import annotations

import re
from typing import Final

from jobs.failure import FailureKind
from targets.restic.complaints import complaint

_RETRY: Final = re.compile(r"^(?P<what>\w+\(<(?P<kind>\w+)/).* returned error, retrying after")

# What the next try finds the same. Damage is none of it: a check goes on to the next file.
REFUSALS: Final = frozenset(
    {
        FailureKind.ACCESS_DENIED,
        FailureKind.BUCKET_MISSING,
        FailureKind.DISK_FULL,
        FailureKind.HOST_KEY_CHANGED,
        FailureKind.HOST_KEY_UNKNOWN,
        FailureKind.NOT_REMOVED,
    }
)
TRIES_TO_BEGIN: Final = 4  # some five seconds
TRIES_WHEN_REFUSED: Final = 2


class Patience:
    """Counts the retries of one restic call."""

    def __init__(self, *, tries: int | None = None) -> None:
        """`tries`: of whatever kind, no more than so many; for what may just be gone."""
        self._at_start = self._refused = self._seen = 0
        self._tries = tries

    def is_over(self, line: str) -> bool:
        """Take in a line of standard error; whether to wait no longer."""
        retry = _RETRY.match(line)
        if retry is None:
            return False
        self._at_start += retry["kind"] == "config"
        self._refused += complaint(line).kind in REFUSALS
        self._seen += 1
        if self._tries is not None and self._seen >= self._tries:
            return True
        return self._at_start >= TRIES_TO_BEGIN or self._refused >= TRIES_WHEN_REFUSED

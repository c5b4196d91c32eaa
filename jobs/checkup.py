"""What a check of the installation found: one line each, with a grade and the next step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """`unknown` is a check that could not be done: never taken for a good one. `info` judges nothing."""

    OK = "ok"
    INFO = "info"
    WARN = "warn"
    UNKNOWN = "unknown"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and what to do next (empty where there is nothing to do)."""

    check: str
    subject: str
    grade: Grade
    text: str
    advice: str = ""

    def __post_init__(self) -> None:
        if self.grade in {Grade.WARN, Grade.UNKNOWN, Grade.FAILED} and not self.advice:
            raise ValueError(f"{self.check} {self.subject}: what is not well needs a next step")


def worst(findings: Iterable[Finding]) -> Grade:
    """The gravest of the grades; OK where there is none."""
    order = list(Grade)
    return max((finding.grade for finding in findings), key=order.index, default=Grade.OK)

"""Checks side by side: one that is late or breaks hides no other."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from jobs.checkup import Finding, Grade, worst
from jobs.failure import FailureKind
from orchestrator.clock import Clock
from orchestrator.doctor.examination import Check, examine
from targets.errors import TargetError

GOOD = Finding(check="good", subject="", grade=Grade.OK, text="as it should be")


def good() -> Iterable[Finding]:
    return [GOOD]


def refused() -> Iterator[Finding]:
    yield GOOD
    raise TargetError("open", "vault one", FailureKind.ACCESS_DENIED, "the door is shut")


def broken() -> Iterable[Finding]:
    raise ZeroDivisionError("whose text may hold a secret")


def test_every_check_is_answered_in_its_place_whatever_the_others_do() -> None:
    never = threading.Event()

    def silent() -> Iterable[Finding]:
        never.wait(60)
        return [GOOD]

    checks = [
        Check(name="silent vault", subject="one", look=silent, seconds=0.2, late=Grade.FAILED),
        Check(name="refused", look=refused),
        Check(name="broken", look=broken),
        Check(name="silent", look=silent, seconds=0.1),
        Check(name="good", look=good),
    ]
    try:
        found = examine(checks, Clock())
    finally:
        never.set()
    assert [(finding.check, finding.grade) for finding in found] == [
        ("silent vault", Grade.FAILED),
        ("refused", Grade.FAILED),
        ("broken", Grade.UNKNOWN),
        ("silent", Grade.UNKNOWN),
        ("good", Grade.OK),
    ]
    assert "no answer within 0.2 s" in found[0].text
    assert "the door is shut" in found[1].text
    assert "ZeroDivisionError at line" in found[2].text
    assert "secret" not in found[2].text
    assert all(finding.advice for finding in found if finding.grade is not Grade.OK)


def test_the_gravest_decides() -> None:
    assert worst([]) is Grade.OK
    assert worst([GOOD]) is Grade.OK
    order = [Grade.OK, Grade.INFO, Grade.WARN, Grade.UNKNOWN, Grade.FAILED]
    for number, grade in enumerate(order, start=1):
        made = [Finding(check="c", subject="", grade=each, text="t", advice="a") for each in order[:number]]
        assert worst(made[::-1]) is grade

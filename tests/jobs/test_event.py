"""An outage is told once each, and loud only where something was due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobs.event import SEVERITIES, Severity, Topic, outage, took_over
from jobs.notice import trouble

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moments", "severity", "said"),
    [
        (0, Severity.INFO, "no moment passed"),
        (1, Severity.WARNING, "1 moment passed"),
        (1200, Severity.WARNING, "1,200 moments passed"),
    ],
)
def test_an_outage_says_from_when_to_when_and_what_passed(moments: int, severity: Severity, said: str) -> None:
    event = outage(NOW - timedelta(days=2), NOW, moments)
    assert (event.topic, event.severity, event.at, event.tenant) == (Topic.OUTAGE, severity, NOW, None)
    assert event.text == f"Tandem did not run from 2026-11-19 03:00 to 2026-11-21 03:00 UTC; {said}."
    assert SEVERITIES[Topic.OUTAGE] is Severity.WARNING


def test_a_second_outage_within_a_day_is_another_trouble() -> None:
    first, second = outage(NOW, NOW + timedelta(hours=1), 1), outage(NOW + timedelta(hours=2), NOW, 1)
    assert trouble(first) != trouble(second)


def test_a_second_take_over_within_a_day_is_another_matter() -> None:
    first, second = (took_over(term, "a host died", NOW) for term in (2, 3))
    assert first.key != second.key
    assert (first.topic, first.severity) == (Topic.SERVE_TOOK_OVER, Severity.WARNING)

"""What slots are counted from: whole lines and parts of them, as they stood at an instant, and rows without a line."""

from __future__ import annotations

from datetime import timedelta

from jobs.history import Job
from jobs.policy import PolicyName, TenantName
from jobs.slot import SlotState
from orchestrator.ledger.ledger import Ledger
from tests.orchestrator.ledger.build import DONE, NOW, OWNER, RAN, closed, later, line, run, slot

DUE = SlotState.DUE


def names(found: object) -> list[tuple[str, SlotState]]:
    """Keys and states, in the order of the keys."""
    return sorted((name.rsplit("/", 1)[1], state) for name, job, state in found if job is Job.BACKUP)  # type: ignore[attr-defined] # entries


def test_a_line_has_its_slots_by_the_moments_not_by_when_the_splay_lets_them_be_due(ledger: Ledger) -> None:
    (put,) = ledger.put_lines((), [line(splay=timedelta(hours=2))])
    ledger.born([slot(number, line=put.id, due=later(hours=number + 1.5)) for number in range(4)], {})
    with ledger.at_one_instant() as instant:
        assert instant.lines() == (put,)
        assert names(instant.entries(put, None, None)) == [(f"U{number}", DUE) for number in range(4)]
        assert names(instant.entries(put, later(hours=1), later(hours=3))) == [("U1", DUE), ("U2", DUE)]
        assert names(instant.entries(put, None, later(hours=1))) == [("U0", DUE)]
        assert names(instant.entries(put, later(hours=3), None)) == [("U3", DUE)]


def test_what_ended_later_was_running_or_due(ledger: Ledger) -> None:
    (put,) = ledger.put_lines((), [line()])
    ended = closed(1, line=put.id, closed_at=later(hours=5))
    ledger.born([ended, slot(2, line=put.id), slot(3, line=put.id)], {})
    ledger.claim(run(started_at=later(hours=6)), slot(2).id)
    ledger.finish(run(started_at=later(hours=6)).id, OWNER, DONE, later(hours=8))
    seen = {}
    with ledger.at_one_instant() as instant:
        for hours in (4, 5, 6, 7, 8):
            seen[hours] = [state.value for _, state in names(instant.entries(put, None, None, later(hours=hours)))]
        told = [state.value for _, state in names(instant.entries(put, None, None))]
        troubled = {
            hours: instant.ended([SlotState.COALESCED], NOW, later(days=1), later(hours=hours), [put])
            for hours in (4, 5)
        }
    assert seen == {
        4: ["due", "due", "due"],
        5: ["coalesced", "due", "due"],
        6: ["coalesced", "running", "due"],
        7: ["coalesced", "running", "due"],
        8: ["coalesced", "succeeded", "due"],
    }
    assert told == ["coalesced", "succeeded", "due"]
    assert [len(troubled[hours]) for hours in (4, 5)] == [0, 1]


def test_rows_without_a_line_are_found_by_time_tenant_and_policy(ledger: Ledger) -> None:
    (put,) = ledger.put_lines((), [line()])
    south = {"tenant": TenantName("south"), "policy": PolicyName("other"), "line": 98}
    ledger.born([slot(1, line=put.id), slot(2, line=99), slot(3, **south), closed(4, line=99, why=RAN)], {})
    with ledger.at_one_instant() as instant:
        assert names(instant.strays(None, None)) == [("U2", DUE), ("U3", DUE), ("U4", SlotState.COALESCED)]
        assert names(instant.strays(later(hours=3), later(hours=4))) == [("U3", DUE)]
        assert names(instant.strays(None, None, tenant="south")) == [("U3", DUE)]
        assert names(instant.strays(None, None, policies=["files"])) == [("U2", DUE), ("U4", SlotState.COALESCED)]
        assert names(instant.strays(None, None, NOW, policies=["files"])) == [("U2", DUE), ("U4", DUE)]

"""The lines that are in trouble, and how their newest slots ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from jobs.history import Job
from jobs.slot import Line, Slot, SlotState, Why, WhyKind, slot_id
from orchestrator.ledger.ledger import Ledger
from tests.orchestrator.ledger.build import NOW, RAN, line, slot

DAY = timedelta(days=1)


def begin(ledger: Ledger, job: Job) -> Line:
    (begun,) = ledger.put_lines((), [line(job=job, since=NOW - 30 * DAY)])
    return begun


def end(ledger: Ledger, of: Line, days_ago: int, state: SlotState, why: Why = RAN) -> Slot:
    due = NOW - days_ago * DAY
    made = slot(1, line=of.id, job=of.job, nominal=due, key=f"U{days_ago}", state=state, why=why)
    made = replace(made, id=slot_id(made.policy, of.job, made.vault, made.key), closed_at=due)
    ledger.born([made], {})
    return made


def ailing(ledger: Ledger) -> tuple[tuple[Line, ...], tuple[Slot, ...]]:
    """All that come, the three newest slots of each line."""
    found = list(ledger.ailing(3))
    return tuple(line for lines, _ in found for line in lines), tuple(slot for _, slots in found for slot in slots)


def test_only_lines_in_force_that_did_not_end_well_are_looked_at_and_their_tails_are_short(ledger: Ledger) -> None:
    retention, check, backup = (begin(ledger, job) for job in (Job.RETENTION, Job.CHECK, Job.BACKUP))
    vain = [end(ledger, retention, days, SlotState.FAILED) for days in range(1, 6)]
    end(ledger, check, 1, SlotState.MISSED)
    end(ledger, backup, 2, SlotState.FAILED)
    end(ledger, backup, 1, SlotState.PARTIAL)
    lines, slots = ailing(ledger)
    assert {each.job for each in lines} == {Job.RETENTION, Job.CHECK}
    assert [each.key for each in slots if each.job is Job.RETENTION] == ["U1", "U2", "U3"]
    assert slots[0] == vain[0]
    assert len(slots) == 4
    end(ledger, retention, 0, SlotState.SUCCEEDED)
    assert [each.job for each in ailing(ledger)[0]] == [Job.CHECK]
    ledger.put_lines([(check.id, NOW)], ())
    assert ailing(ledger) == ((), ())


def test_what_was_skipped_neither_ails_nor_heals(ledger: Ledger) -> None:
    retention = begin(ledger, Job.RETENTION)
    assert ailing(ledger) == ((), ())
    end(ledger, retention, 2, SlotState.FAILED)
    end(ledger, retention, 1, SlotState.SKIPPED)
    assert [each.key for each in ailing(ledger)[1]] == ["U2"]


def test_a_check_that_another_one_stood_for_is_neither_good_nor_bad(ledger: Ledger) -> None:
    """Among many policies of one repository nearly every check is one."""
    check = begin(ledger, Job.CHECK)
    same = Why(kind=WhyKind.SAME_REPOSITORY, text="another one")
    end(ledger, check, 3, SlotState.COALESCED, same)
    assert ailing(ledger) == ((), ())
    end(ledger, check, 2, SlotState.MISSED)
    end(ledger, check, 1, SlotState.COALESCED, same)
    assert [each.key for each in ailing(ledger)[1]] == ["U1", "U2", "U3"]


def test_a_policy_is_known_since_its_first_line_whatever_was_edited_since(ledger: Ledger) -> None:
    first = begin(ledger, Job.BACKUP)
    ledger.put_lines([(first.id, NOW)], [line(job=Job.BACKUP, since=NOW), line("people", since=NOW)])
    assert ledger.policies_since() == {"files": NOW - 30 * DAY, "people": NOW}

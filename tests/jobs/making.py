"""Policies, slots and runs for tests of what is due and whose turn it is: valid, and short to write."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from jobs.dispatch import Closing, Concurrency, Situation, Start, Wait, dispatch
from jobs.history import Job, Owner, RunRecord, RunState
from jobs.policy import (
    Objectives,
    Paths,
    Policy,
    PolicyName,
    Retention,
    SiteName,
    TenantName,
    Timetable,
    VaultName,
)
from jobs.schedule import Schedule
from jobs.slot import FINAL, Slot, SlotState, Why, WhyKind, slot_id

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NIGHTLY = "daily at 01:30"
CHAINED = {"backup": NIGHTLY, "replicate": "after backup", "retention": "after backup"}
SITES = {"one": SiteName("primary"), "two": SiteName("secondary"), "three": SiteName("third")}
OWNER = Owner(host="h", boot="b", pid=1, started="1")
HELD = Why(kind=WhyKind.HELD, text="run-7 holds it", other="run-7")
RETRY = Why(kind=WhyKind.RETRY, text="attempt 2 failed (vault-unreachable): no answer", other="run-8")
BAD = sorted(FINAL - {SlotState.SUCCEEDED, SlotState.PARTIAL, SlotState.COALESCED})


def timetable(**texts: str) -> Timetable:
    return Timetable(**{job: Schedule(text) for job, text in texts.items()})


def policy(name: str = "files", *, tenant: str = "north", replica: str | None = "two", **changes: object) -> Policy:
    made = Policy(
        name=PolicyName(name),
        tenant=TenantName(tenant),
        source=Paths(paths=("/srv/files",)),
        vault=VaultName("one"),
        site=SITES["one"],
        replica=None if replica is None else VaultName(replica),
        replica_site=None if replica is None else SITES[replica],
        retention=Retention(last=3),
        objectives=Objectives(),
        timetable=timetable(**CHAINED),
        settings_hash="hash",
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # (fields by name; a wrong one fails at once)


def slot(job: Job = Job.BACKUP, of: str = "files", *, due: datetime = NOW, **changes: object) -> Slot:
    """One that is due, as of `policy(of)`; its successor is due a day later."""
    vault = VaultName(str(changes.pop("vault", "two" if job is Job.REPLICATE else "one")))
    key = str(changes.pop("key", f"L{due:%Y-%m-%dT%H:%M}"))
    made = Slot(
        id=slot_id(PolicyName(of), job, vault, key),
        line=1,
        policy=PolicyName(of),
        tenant=TenantName("north"),
        job=job,
        site=SITES[vault],
        vault=vault,
        source_vault=VaultName("one") if job is Job.REPLICATE else None,
        settings_hash="hash",
        key=key,
        nominal=due,
        due=due,
        until=due + DAY,
        known_at=due,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # (fields by name; a wrong one fails at once)


def run(
    job: Job = Job.BACKUP, of: str = "files", *, state: RunState = RunState.RUNNING, **changes: object
) -> RunRecord:
    """One of `policy(of)` that began an hour ago, and is over now unless it is running."""
    vault = VaultName(str(changes.pop("vault", "two" if job is Job.REPLICATE else "one")))
    made = RunRecord(
        id=f"run-{job}-{of}",
        job=job,
        tenant=TenantName("north"),
        policy=PolicyName(of),
        site=SITES[vault],
        vault=vault,
        source_vault=VaultName("one") if job is Job.REPLICATE else None,
        settings_hash="hash",
        state=state,
        owner=OWNER,
        started_at=NOW - HOUR,
        finished_at=None if state is RunState.RUNNING else NOW,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # (fields by name; a wrong one fails at once)


def situation(
    *policies: Policy,
    related: Iterable[Slot] = (),
    under_way: Iterable[RunRecord] = (),
    good: Iterable[RunRecord] = (),
    last_backups: Iterable[RunRecord] = (),
    limits: Concurrency | None = None,
    dead: Iterable[RunRecord] = (),
) -> Situation:
    """What is known: by default no limit, and nothing under way."""
    return Situation(
        policies={each.name: each for each in policies},
        related={each.id: each for each in related},
        under_way=tuple(under_way),
        good={(each.policy, each.job, each.vault): each for each in good},
        last_backups={each.policy: each for each in last_backups},
        limits=limits or Concurrency(runs=1000),
        dead=tuple(each.id for each in dead),
    )


def answer(
    *slots: Slot, known: Situation | None = None, now: datetime = NOW, of: Slot | None = None
) -> Closing | Start | Wait:
    """What becomes of the last slot, or of one of them."""
    moves = dispatch(slots, known or situation(policy()), now)
    answers: tuple[Closing | Start | Wait, ...] = (*moves.closings, *moves.starts, *moves.waits)
    return next(each for each in answers if each.slot.id == (of or slots[-1]).id)


def waits(made: Closing | Start | Wait) -> tuple[WhyKind, str]:
    assert isinstance(made, Wait)
    assert made.why.text
    return made.why.kind, made.why.other

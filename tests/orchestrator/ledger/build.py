"""Ready-made values of every kind for the ledger's tests, and hypothesis's ways to any of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hypothesis import strategies as st

from jobs.alarm import Alarm
from jobs.event import Event, Severity, Topic
from jobs.failure import Failure, FailureKind
from jobs.history import (
    BackupResult,
    CheckResult,
    Job,
    KnownRepository,
    Outcome,
    Owner,
    RecoveryPoint,
    ReplicateResult,
    RestoreResult,
    RestoreTestResult,
    RetentionResult,
    RunRecord,
    RunState,
    Usage,
)
from jobs.notice import Notice, NoticeState
from jobs.policy import PolicyName, SiteName, TenantName, VaultName
from jobs.schedule import Schedule
from jobs.slot import Line, Slot, SlotState, Why, WhyKind, slot_id
from orchestrator.clock import run_id

NOW: Final = datetime(2026, 11, 21, 20, 30, 0, 123456, tzinfo=UTC)
OWNER: Final = Owner(host="alpha", boot="3b0c", pid=4711, started="99")
STRANGER: Final = replace(OWNER, started="100")  # the same process id, after a reboot or much later
DONE: Final = Outcome(state=RunState.SUCCEEDED)


def later(**amount: float) -> datetime:
    """NOW and a bit."""
    return NOW + timedelta(**amount)


def run(number: int = 1, **changes: Any) -> RunRecord:
    """The run with that number; each has an id of its own and starts a second after the one before."""
    started = changes.pop("started_at", NOW + timedelta(seconds=number))
    first = RunRecord(
        id=run_id(started, number.to_bytes(4)),
        job=Job.BACKUP,
        tenant=TenantName("north"),
        policy=PolicyName("files"),
        site=SiteName("primary"),
        vault=VaultName("one"),
        settings_hash="5e77",
        state=RunState.RUNNING,
        owner=OWNER,
        started_at=started,
        tool="restic 0.14.0",
    )
    return replace(first, **changes)


def over(number: int = 1, **changes: Any) -> RunRecord:
    """The same, already at its end."""
    record = run(number, **{"state": RunState.SUCCEEDED, **changes})
    return replace(record, finished_at=record.finished_at or record.started_at + timedelta(minutes=1))


def point(number: int = 1, **changes: Any) -> RecoveryPoint:
    """The recovery point with that number, seen five minutes after its snapshot was made."""
    time = changes.pop("time", NOW + timedelta(hours=number))
    first = RecoveryPoint(
        snapshot=f"{number:064x}",
        origin=f"{number:064x}",
        tenant=TenantName("north"),
        policy=PolicyName("files"),
        site=SiteName("primary"),
        vault=VaultName("one"),
        run=run_id(time, number.to_bytes(4)),
        time=time,
        tree="7e" * 32,
        seen_at=time + timedelta(minutes=5),
    )
    return replace(first, **changes)


def repository(tenant: str = "north", vault: str = "one", config: str = "c0") -> KnownRepository:
    """A repository that was seen."""
    return KnownRepository(
        tenant=TenantName(tenant), vault=VaultName(vault), config_sha256=config * 32, first_seen_at=NOW
    )


RAN: Final = Why(kind=WhyKind.RAN, text="as its run ended")
NEWER: Final = Why(kind=WhyKind.NEWER, text="a newer one stands for it", other="files/backup/one/U2")


def line(policy: str = "files", **changes: Any) -> Line:
    """A policy's line of daily backups."""
    first = Line(
        policy=PolicyName(policy),
        tenant=TenantName("north"),
        job=Job.BACKUP,
        site=SiteName("primary"),
        vault=VaultName("one"),
        schedule=Schedule("daily at 01:30"),
        zone="Europe/Paris",
        settings_hash="5e77",
        since=NOW,
        cursor=NOW,
    )
    return replace(first, **changes)


def slot(number: int = 1, **changes: Any) -> Slot:
    """The slot with that number of line 1, due that many hours after NOW and known a second later."""
    nominal = changes.pop("nominal", NOW + timedelta(hours=number))
    first = Slot(
        id="",
        line=1,
        policy=PolicyName("files"),
        tenant=TenantName("north"),
        job=Job.BACKUP,
        site=SiteName("primary"),
        vault=VaultName("one"),
        settings_hash="5e77",
        key=f"U{number}",
        nominal=nominal,
        due=nominal,
        until=nominal + timedelta(hours=1),
        known_at=nominal + timedelta(seconds=1),
    )
    made = replace(first, **changes)
    return replace(made, id=made.id or slot_id(made.policy, made.job, made.vault, made.key))


def closed(number: int = 1, **changes: Any) -> Slot:
    """The same, already at its end."""
    made = slot(number, **{"state": SlotState.COALESCED, "why": NEWER, **changes})
    return replace(made, closed_at=made.closed_at or made.known_at)


def happening(number: int = 1, **changes: Any) -> Event:
    """The event with that number in its text."""
    first = Event(
        at=NOW + timedelta(seconds=number),
        topic=Topic.FAILED,
        severity=Severity.CRITICAL,
        tenant=TenantName("north"),
        policy=PolicyName("files"),
        subject="backup files at primary",
        text=f"event {number}",
        key="files/backup/one",
    )
    return replace(first, **changes)


def message(number: int = 1, **changes: Any) -> Notice:
    """The notice with that number in its subject, to be delivered at once."""
    first = Notice(
        channel="mail",
        made_at=NOW + timedelta(seconds=number),
        key="files/backup/one",
        through=number,
        severity=Severity.CRITICAL,
        tenant=TenantName("north"),
        subject=f"notice {number}",
        body="A line,\nand another.",
        next_at=NOW + timedelta(seconds=number),
    )
    return replace(first, **changes)


def alarm(key: str = "retention-dead/files", **changes: Any) -> Alarm:
    """An alarm that was raised at NOW."""
    first = Alarm(
        key=key,
        topic=Topic.RETENTION_DEAD,
        severity=Severity.CRITICAL,
        tenant=TenantName("north"),
        policy=PolicyName("files"),
        subject="retention files at primary",
        text="backups go well, and nothing is ever removed",
        raised_at=NOW,
    )
    return replace(first, **changes)


# --- anything at all --------------------------------------------------------------------------------------------------

texts = st.text(
    st.one_of(
        st.characters(),  # never a lone surrogate, so:
        st.integers(0xD800, 0xDFFF).map(chr),
        st.sampled_from(["\x00", "\\", "u", "d", "'", '"', "\n", "\udcff", "é"]),
    ),
    max_size=12,
)
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=8)
counts = st.integers(0, 2**53)
seconds = st.floats(0, 1e9, allow_nan=False)
moments = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001 (hypothesis wants naive bounds)
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001 (hypothesis wants naive bounds)
    timezones=st.sampled_from([UTC, datetime.fromisoformat("2026-01-01T00:00-05:45").tzinfo]),
)
_OF_TYPE: Final[dict[Any, Any]] = {
    "str": texts,
    "int": counts,
    "float": seconds,
    "tuple[str, ...]": st.lists(texts, max_size=3).map(tuple),
    "datetime | None": st.none() | moments,
}
RESULTS: Final = (BackupResult, ReplicateResult, CheckResult, RestoreTestResult, RetentionResult, RestoreResult)


def _result(kind: Any) -> st.SearchStrategy[Any]:
    fields = {name: field.type for name, field in kind.__dataclass_fields__.items() if name != "kind"}
    return st.builds(kind, **{name: _OF_TYPE[of] for name, of in fields.items()})


results = st.one_of([_result(kind) for kind in RESULTS])
failures = st.builds(Failure, kind=st.sampled_from(FailureKind), message=texts)
usages = st.builds(Usage, seconds=seconds, cpu_seconds=seconds, peak_memory=counts)
owners = st.builds(Owner, host=texts, boot=texts, pid=st.integers(1, 2**31), started=texts)
whys = st.builds(Why, kind=st.sampled_from(WhyKind), text=texts, other=names)
_maybe = st.none() | moments
_spans = st.timedeltas(timedelta(0), timedelta(days=400))
slots = st.builds(
    Slot,
    id=names,
    line=st.integers(1, 2**53),
    policy=names,
    tenant=names,
    job=st.sampled_from(Job),
    site=names,
    vault=names,
    source_vault=st.none() | names,
    settings_hash=names,
    key=names,
    nominal=moments,
    due=moments,
    until=_maybe,
    after=st.none() | st.sampled_from(Job),
    known_at=moments,
    state=st.sampled_from(SlotState),
    why=st.none() | whys,
    run=st.none() | names,
    attempts=st.integers(0, 99),
    retry_at=_maybe,
    closed_at=_maybe,
)
lines = st.builds(
    Line,
    id=st.integers(1, 2**53),
    policy=names,
    tenant=names,
    job=st.sampled_from(Job),
    site=names,
    vault=names,
    source_vault=st.none() | names,
    schedule=st.sampled_from(["every 4h", "daily at 01:30", "after backup"]).map(Schedule),
    after=st.none() | st.sampled_from(Job),
    zone=st.sampled_from(["UTC", "Europe/Paris", "Africa/Douala"]),
    splay=_spans,
    catch_up=st.none() | _spans,
    settings_hash=names,
    since=moments,
    cursor=moments,
    until=_maybe,
    taken=st.sampled_from([(), ("L2026-11-22T02:30",), ("L2026-11-21T14:00", "L2026-11-22T02:30")]),
)
happenings = st.builds(
    Event,
    id=counts,
    at=moments,
    topic=st.sampled_from(Topic),
    severity=st.sampled_from(Severity),
    tenant=st.none() | names,
    policy=st.none() | names,
    subject=texts,
    text=texts,
    key=texts,
)
messages = st.builds(
    Notice,
    id=counts,
    channel=names,
    made_at=moments,
    key=texts,
    through=counts,
    severity=st.sampled_from(Severity),
    tenant=st.none() | names,
    subject=texts,
    body=texts,
    state=st.sampled_from(NoticeState),
    attempts=st.integers(0, 99),
    next_at=moments,
    delivered_at=_maybe,
    error=texts,
)
alarms = st.builds(
    Alarm,
    key=texts,
    topic=st.sampled_from(Topic),
    severity=st.sampled_from(Severity),
    tenant=st.none() | names,
    policy=st.none() | names,
    subject=texts,
    text=texts,
    raised_at=moments,
)
outcomes = st.builds(
    Outcome,
    state=st.sampled_from([state for state in RunState if state not in {RunState.RUNNING, RunState.SKIPPED}]),
    failure=st.none() | failures,
    note=texts,
    result=st.none() | results,
    usage=usages,
)

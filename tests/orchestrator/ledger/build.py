"""Ready-made runs, points and outcomes for the ledger's tests, and hypothesis's ways to any of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hypothesis import strategies as st

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
from jobs.policy import PolicyName, SiteName, TenantName, VaultName
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
outcomes = st.builds(
    Outcome,
    state=st.sampled_from([state for state in RunState if state not in {RunState.RUNNING, RunState.SKIPPED}]),
    failure=st.none() | failures,
    note=texts,
    result=st.none() | results,
    usage=usages,
)

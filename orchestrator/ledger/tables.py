"""The ledger's tables. What is written here is what migrations/versions builds; a test holds the two together.

Columns are plain (see codec.py): moments are whole microseconds since 1970 in UTC, states are text with a CHECK.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, MetaData, Text, text
from sqlmodel import Field, SQLModel

from jobs.event import Severity
from jobs.history import Job, RunState
from jobs.notice import NoticeState
from jobs.slot import SlotState
from jobs.tally import SumKind

_NAMES: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
METADATA: Final = MetaData(naming_convention=_NAMES)  # named constraints, because SQLite's batch migrations need names

IS_OPEN: Final = "state = 'running'"  # literal, so that SQLite can prove a partial index fits
IS_OPEN_ALONE: Final = f"{IS_OPEN} AND job <> 'restore'"  # people may restore from one policy at the same time
IS_OF_REPOSITORY: Final = "job IN ('audit', 'check')"  # see jobs.history.OF_REPOSITORY
IS_PROOF: Final = f"proof IS NOT NULL AND {IS_OF_REPOSITORY}"
DIFFERS: Final = "job = 'restore-test' AND substr(proof, 1, 1) = '-'"
OF_A_SLOT: Final = "slot IS NOT NULL"
IS_THERE: Final = "gone_at IS NULL"
IS_GONE: Final = "gone_at IS NOT NULL"
IN_FORCE: Final = "until IS NULL"
NOT_CLOSED: Final = "closed_at IS NULL"
NOT_TOLD: Final = "state = 'pending'"
NOT_CLEARED: Final = "cleared_at IS NULL"


def _only(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def _number() -> int:
    number: int = Field(primary_key=True, sa_type=BigInteger().with_variant(Integer, "sqlite"))
    return number


def _one_of(column: str, values: type[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(value.value) for value in values)})"


class _Row(SQLModel):
    metadata = METADATA


class Run(_Row, table=True):
    """One attempt; its row stands before anything is done. At most one is open for each policy's job."""

    __table_args__ = (
        CheckConstraint(_one_of("state", RunState), name="state"),
        CheckConstraint(_one_of("job", Job), name="job"),
        CheckConstraint(f"({IS_OPEN}) = (finished_at IS NULL)", name="finished"),
        CheckConstraint("(failure_kind IS NULL) = (failure_message IS NULL)", name="failure"),
        Index("ix_run_newest", "policy", "job", "vault", "started_at"),
        Index("ix_run_ended", "policy", "job", "vault", "tenant", "finished_at"),
        Index("ix_run_started_at", "started_at"),
        Index("ix_run_of_repository", "tenant", "vault", "job", "finished_at", **_only(IS_OF_REPOSITORY)),
        Index("ix_run_proof", "tenant", "vault", "job", "proof", "finished_at", **_only(IS_PROOF)),
        Index("ix_run_differs", "tenant", "vault", "policy", "finished_at", **_only(DIFFERS)),
        Index("ix_run_slot", "slot", **_only(OF_A_SLOT)),
        Index("ix_run_open", "policy", "job", **_only(IS_OPEN)),
        Index(
            "uq_run_open",
            "policy",
            "job",
            unique=True,
            **_only(IS_OPEN_ALONE),
        ),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    job: str = Field(sa_type=Text)
    tenant: str = Field(sa_type=Text)
    policy: str = Field(sa_type=Text)
    site: str = Field(sa_type=Text)
    vault: str = Field(sa_type=Text)
    source_vault: str | None = Field(sa_type=Text)
    settings_hash: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    owner_host: str = Field(sa_type=Text)
    owner_boot: str = Field(sa_type=Text)
    owner_pid: int = Field(sa_type=BigInteger)
    owner_started: str = Field(sa_type=Text)
    started_at: int = Field(sa_type=BigInteger)
    finished_at: int | None = Field(sa_type=BigInteger)
    failure_kind: str | None = Field(sa_type=Text)
    failure_message: str | None = Field(sa_type=Text)
    note: str = Field(sa_type=Text)
    result: str | None = Field(sa_type=Text)
    seconds: float
    cpu_seconds: float
    peak_memory: int = Field(sa_type=BigInteger)
    tool: str = Field(sa_type=Text)
    slot: str | None = Field(sa_type=Text)
    proof: str | None = Field(sa_type=Text)  # what it proves or disproves, in short: see proofs.py


class RecoveryPoint(_Row, table=True):
    """A snapshot in a vault, from when it was first seen there until a listing lacked it."""

    __tablename__ = "recovery_point"
    __table_args__ = (
        Index("ix_recovery_point_seen", "policy", "vault", "seen_at"),
        Index("ix_recovery_point_gone", "gone_at", "seen_at", **_only(IS_GONE)),
        Index("ix_recovery_point_origin", "origin"),
        Index("ix_recovery_point_run", "run"),
        Index(
            "ix_recovery_point_newest",
            "policy",
            "vault",
            "time",
            **_only(IS_THERE),
        ),
        Index(
            "uq_recovery_point_there",
            "tenant",
            "vault",
            "snapshot",
            unique=True,
            **_only(IS_THERE),
        ),
    )

    id: int = _number()
    snapshot: str = Field(sa_type=Text)
    origin: str = Field(sa_type=Text)
    tenant: str = Field(sa_type=Text)
    policy: str = Field(sa_type=Text)
    site: str = Field(sa_type=Text)
    vault: str = Field(sa_type=Text)
    run: str = Field(sa_type=Text)
    time: int = Field(sa_type=BigInteger)
    tree: str = Field(sa_type=Text)
    seen_at: int = Field(sa_type=BigInteger)
    gone_at: int | None = Field(sa_type=BigInteger)
    complete: bool


class Repository(_Row, table=True):
    """A repository that was seen, and the hash that tells it from any other."""

    tenant: str = Field(primary_key=True, sa_type=Text)
    vault: str = Field(primary_key=True, sa_type=Text)
    config_sha256: str = Field(sa_type=Text)
    first_seen_at: int = Field(sa_type=BigInteger)


class SettingsVersion(_Row, table=True):
    """Effective settings under which runs were made, so that a past figure can name its rule."""

    __tablename__ = "settings_version"

    hash: str = Field(primary_key=True, sa_type=Text)
    text: str = Field(sa_type=Text)
    first_used_at: int = Field(sa_type=BigInteger)


class Line(_Row, table=True):
    """What makes slots, from when it came into force until its settings were changed."""

    __table_args__ = (
        CheckConstraint(_one_of("job", Job), name="job"),
        Index("uq_line_in_force", "policy", "job", "vault", unique=True, **_only(IN_FORCE)),
    )

    id: int = _number()
    policy: str = Field(sa_type=Text)
    tenant: str = Field(sa_type=Text)
    job: str = Field(sa_type=Text)
    site: str = Field(sa_type=Text)
    vault: str = Field(sa_type=Text)
    source_vault: str | None = Field(sa_type=Text)
    schedule: str = Field(sa_type=Text)
    after_job: str | None = Field(sa_type=Text)
    zone: str = Field(sa_type=Text)  # and the names that are taken, after blanks
    splay: int = Field(sa_type=BigInteger)
    catch_up: int | None = Field(sa_type=BigInteger)
    settings_hash: str = Field(sa_type=Text)
    since: int = Field(sa_type=BigInteger)
    cursor: int = Field(sa_type=BigInteger)
    until: int | None = Field(sa_type=BigInteger)


class Slot(_Row, table=True):
    """One due moment of a line. Closed ones are never changed, and are many; open ones have an index of their own."""

    __table_args__ = (
        CheckConstraint(_one_of("state", SlotState), name="state"),
        CheckConstraint(_one_of("job", Job), name="job"),
        CheckConstraint("(state IN ('due', 'running')) = (closed_at IS NULL)", name="closed"),
        CheckConstraint("closed_at IS NULL OR why_kind IS NOT NULL", name="reason"),
        CheckConstraint(
            "(why_kind IS NULL) = (why_text IS NULL) AND (why_kind IS NULL) = (why_other IS NULL)", name="why"
        ),
        CheckConstraint("state <> 'running' OR run IS NOT NULL", name="run"),
        CheckConstraint("state = 'due' OR retry_at IS NULL", name="retry"),
        Index("ix_slot_open", "due", "id", **_only(NOT_CLOSED)),
        Index("ix_slot_due", "due", "state"),
        Index("ix_slot_of_policy", "policy", "job", "vault", "due"),
        Index("ix_slot_of_line", "line", "nominal"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    line: int = Field(sa_type=BigInteger)
    policy: str = Field(sa_type=Text)
    tenant: str = Field(sa_type=Text)
    job: str = Field(sa_type=Text)
    site: str = Field(sa_type=Text)
    vault: str = Field(sa_type=Text)
    source_vault: str | None = Field(sa_type=Text)
    settings_hash: str = Field(sa_type=Text)
    key: str = Field(sa_type=Text)
    nominal: int = Field(sa_type=BigInteger)
    due: int = Field(sa_type=BigInteger)
    until: int | None = Field(sa_type=BigInteger)
    after_job: str | None = Field(sa_type=Text)
    known_at: int = Field(sa_type=BigInteger)
    state: str = Field(sa_type=Text)
    why_kind: str | None = Field(sa_type=Text)
    why_text: str | None = Field(sa_type=Text)
    why_other: str | None = Field(sa_type=Text)
    run: str | None = Field(sa_type=Text)
    attempts: int = Field(sa_type=BigInteger)
    retry_at: int | None = Field(sa_type=BigInteger)
    closed_at: int | None = Field(sa_type=BigInteger)


class SlotSum(_Row, table=True):
    """How many of a line's slots, of the moments before `until`, ended in each state: see seals.py.

    Of `sealed` ones it is known that they add up; triggers remove the row when anything of them is touched. `removed`
    ones are among them, and are no more.
    """

    __tablename__ = "slot_sum"
    __table_args__ = (CheckConstraint(_one_of("kind", SumKind), name="kind"),)

    line: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    kind: str = Field(primary_key=True, sa_type=Text)
    until: int = Field(sa_type=BigInteger)
    succeeded: int = Field(sa_type=BigInteger)
    partial: int = Field(sa_type=BigInteger)
    failed: int = Field(sa_type=BigInteger)
    missed: int = Field(sa_type=BigInteger)
    coalesced: int = Field(sa_type=BigInteger)
    skipped: int = Field(sa_type=BigInteger)
    blocked: int = Field(sa_type=BigInteger)
    interrupted: int = Field(sa_type=BigInteger)


class Event(_Row, table=True):
    """What happened, numbered in the order in which it came to be known (see events.py)."""

    __table_args__ = (
        CheckConstraint(_one_of("severity", Severity), name="severity"),
        Index("ix_event_at", "at"),
    )

    id: int = _number()
    at: int = Field(sa_type=BigInteger)
    topic: str = Field(sa_type=Text)
    severity: str = Field(sa_type=Text)
    tenant: str | None = Field(sa_type=Text)
    policy: str | None = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    text: str = Field(sa_type=Text)
    key: str = Field(sa_type=Text)


class Notice(_Row, table=True):
    """A message to a channel, and what became of it."""

    __table_args__ = (
        CheckConstraint(_one_of("state", NoticeState), name="state"),
        CheckConstraint(_one_of("severity", Severity), name="severity"),
        CheckConstraint("(state = 'delivered') = (delivered_at IS NOT NULL)", name="delivered"),
        Index("ix_notice_made_at", "made_at"),
        Index("ix_notice_pending", "next_at", **_only(NOT_TOLD)),
    )

    id: int = _number()
    channel: str = Field(sa_type=Text)
    made_at: int = Field(sa_type=BigInteger)
    key: str = Field(sa_type=Text)
    through: int = Field(sa_type=BigInteger)
    severity: str = Field(sa_type=Text)
    tenant: str | None = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    body: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    attempts: int = Field(sa_type=BigInteger)
    next_at: int = Field(sa_type=BigInteger)
    delivered_at: int | None = Field(sa_type=BigInteger)
    error: str = Field(sa_type=Text)


class Outbox(_Row, table=True):
    """One row: the last event that notices were made from."""

    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: int = _number()
    told_until: int = Field(sa_type=BigInteger)


class Alarm(_Row, table=True):
    """A condition, from when it was first seen until it no longer held."""

    __table_args__ = (
        CheckConstraint(_one_of("severity", Severity), name="severity"),
        Index("uq_alarm_raised", "key", unique=True, **_only(NOT_CLEARED)),
    )

    id: int = _number()
    key: str = Field(sa_type=Text)
    topic: str = Field(sa_type=Text)
    severity: str = Field(sa_type=Text)
    tenant: str | None = Field(sa_type=Text)
    policy: str | None = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    text: str = Field(sa_type=Text)
    raised_at: int = Field(sa_type=BigInteger)
    cleared_at: int | None = Field(sa_type=BigInteger)


class Lease(_Row, table=True):
    """One row: who may make slots and start runs. It stays when its owner goes, so that no term is ever used twice."""

    __table_args__ = (
        CheckConstraint("id = 1", name="single"),
        CheckConstraint(
            "(owner_host IS NULL) = (owner_boot IS NULL) AND (owner_host IS NULL) = (owner_pid IS NULL)"
            " AND (owner_host IS NULL) = (owner_started IS NULL)",
            name="owner",
        ),
    )

    id: int = _number()
    owner_host: str | None = Field(sa_type=Text)
    owner_boot: str | None = Field(sa_type=Text)
    owner_pid: int | None = Field(sa_type=BigInteger)
    owner_started: str | None = Field(sa_type=Text)
    term: int = Field(sa_type=BigInteger)
    beat: int = Field(sa_type=BigInteger)
    taken_at: int = Field(sa_type=BigInteger)
    beaten_at: int = Field(sa_type=BigInteger)

"""The ledger's tables. What is written here is what migrations/versions builds; a test holds the two together.

Columns are plain (see codec.py): moments are whole microseconds since 1970 in UTC, states are text with a CHECK.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, MetaData, Text, text
from sqlmodel import Field, SQLModel

from jobs.history import Job, RunState

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
IS_THERE: Final = "gone_at IS NULL"


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
        Index("ix_run_started_at", "started_at"),
        Index("ix_run_open", "policy", "job", sqlite_where=text(IS_OPEN), postgresql_where=text(IS_OPEN)),
        Index(
            "uq_run_open",
            "policy",
            "job",
            unique=True,
            sqlite_where=text(IS_OPEN_ALONE),
            postgresql_where=text(IS_OPEN_ALONE),
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


class RecoveryPoint(_Row, table=True):
    """A snapshot in a vault, from when it was first seen there until a listing lacked it."""

    __tablename__ = "recovery_point"
    __table_args__ = (
        Index("ix_recovery_point_seen", "policy", "vault", "seen_at"),
        Index(
            "ix_recovery_point_newest",
            "policy",
            "vault",
            "time",
            sqlite_where=text(IS_THERE),
            postgresql_where=text(IS_THERE),
        ),
        Index(
            "uq_recovery_point_there",
            "tenant",
            "vault",
            "snapshot",
            unique=True,
            sqlite_where=text(IS_THERE),
            postgresql_where=text(IS_THERE),
        ),
    )

    id: int = Field(primary_key=True, sa_type=BigInteger().with_variant(Integer, "sqlite"))
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


RUN: Final = METADATA.tables["run"]
RECOVERY_POINT: Final = METADATA.tables["recovery_point"]
REPOSITORY: Final = METADATA.tables["repository"]
SETTINGS_VERSION: Final = METADATA.tables["settings_version"]

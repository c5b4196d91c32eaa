"""Runs, and the settings they were made under."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_OPEN = "state = 'running'"
_STATES = "'running', 'succeeded', 'partial', 'failed', 'skipped', 'blocked', 'interrupted'"
_JOBS = "'backup', 'replicate', 'check', 'restore-test', 'retention', 'restore'"


def upgrade() -> None:
    """Make `run` and `settings_version`."""
    op.create_table(
        "run",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("vault", sa.Text(), nullable=False),
        sa.Column("source_vault", sa.Text(), nullable=True),
        sa.Column("settings_hash", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("owner_host", sa.Text(), nullable=False),
        sa.Column("owner_boot", sa.Text(), nullable=False),
        sa.Column("owner_pid", sa.BigInteger(), nullable=False),
        sa.Column("owner_started", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("failure_kind", sa.Text(), nullable=True),
        sa.Column("failure_message", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("cpu_seconds", sa.Float(), nullable=False),
        sa.Column("peak_memory", sa.BigInteger(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
        sa.CheckConstraint(f"state IN ({_STATES})", name=op.f("ck_run_state")),
        sa.CheckConstraint(f"job IN ({_JOBS})", name=op.f("ck_run_job")),
        sa.CheckConstraint(f"({_OPEN}) = (finished_at IS NULL)", name=op.f("ck_run_finished")),
        sa.CheckConstraint("(failure_kind IS NULL) = (failure_message IS NULL)", name=op.f("ck_run_failure")),
    )
    op.create_index("ix_run_newest", "run", ["policy", "job", "vault", "started_at"])
    op.create_index("ix_run_started_at", "run", ["started_at"])
    where = sa.text(_OPEN)
    op.create_index("ix_run_open", "run", ["policy", "job"], sqlite_where=where, postgresql_where=where)
    alone = sa.text(f"{_OPEN} AND job <> 'restore'")
    op.create_index("uq_run_open", "run", ["policy", "job"], unique=True, sqlite_where=alone, postgresql_where=alone)
    op.create_table(
        "settings_version",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("first_used_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_settings_version"),
    )

"""Lines and their slots, events and notices of them, alarms, and the lease of who decides."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_JOBS = "job IN ('backup', 'replicate', 'check', 'restore-test', 'retention', 'restore')"
_SEVERITIES = "severity IN ('info', 'warning', 'critical')"
_SLOT_STATES = (
    "state IN ('due', 'running', 'succeeded', 'partial', 'failed', 'missed', 'coalesced', 'skipped', 'blocked',"
    " 'interrupted')"
)
_OWNER = (
    "(owner_host IS NULL) = (owner_boot IS NULL) AND (owner_host IS NULL) = (owner_pid IS NULL)"
    " AND (owner_host IS NULL) = (owner_started IS NULL)"
)


def upgrade() -> None:
    """Make the tables of what runs unattended, and let a run name its slot."""
    op.add_column("run", _text("slot", nullable=True))
    _index("ix_run_slot", "run", ["slot"], only="slot IS NOT NULL")
    _index("ix_run_check", "run", ["tenant", "vault", "finished_at"], only="job = 'check'")
    op.drop_index("ix_run_newest", "run")
    op.create_index("ix_run_newest", "run", ["policy", "job", "vault", "started_at", "id"])  # nothing left to sort
    _make_line()
    _make_slot()
    _make_event()
    _make_notice()
    _make_alarm()
    _make_lease()


def _make_line() -> None:
    op.create_table(
        "line",
        _number(),
        _text("policy"),
        _text("tenant"),
        _text("job"),
        _text("site"),
        _text("vault"),
        _text("source_vault", nullable=True),
        _text("schedule"),
        _text("after_job", nullable=True),
        _text("zone"),
        _whole("splay"),
        _whole("catch_up", nullable=True),
        _text("settings_hash"),
        _whole("since"),
        _whole("cursor"),
        _whole("until", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_line"),
        sa.CheckConstraint(_JOBS, name=op.f("ck_line_job")),
    )
    _index("uq_line_in_force", "line", ["policy", "job", "vault"], only="until IS NULL", unique=True)


def _make_slot() -> None:
    op.create_table(
        "slot",
        _text("id"),
        _whole("line"),
        _text("policy"),
        _text("tenant"),
        _text("job"),
        _text("site"),
        _text("vault"),
        _text("source_vault", nullable=True),
        _text("settings_hash"),
        _text("key"),
        _whole("nominal"),
        _whole("due"),
        _whole("until", nullable=True),
        _text("after_job", nullable=True),
        _whole("known_at"),
        _text("state"),
        _text("why_kind", nullable=True),
        _text("why_text", nullable=True),
        _text("why_other", nullable=True),
        _text("run", nullable=True),
        _whole("attempts"),
        _whole("retry_at", nullable=True),
        _whole("closed_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_slot"),
        sa.CheckConstraint(_SLOT_STATES, name=op.f("ck_slot_state")),
        sa.CheckConstraint(_JOBS, name=op.f("ck_slot_job")),
        sa.CheckConstraint("(state IN ('due', 'running')) = (closed_at IS NULL)", name=op.f("ck_slot_closed")),
        sa.CheckConstraint("closed_at IS NULL OR why_kind IS NOT NULL", name=op.f("ck_slot_reason")),
        sa.CheckConstraint(
            "(why_kind IS NULL) = (why_text IS NULL) AND (why_kind IS NULL) = (why_other IS NULL)",
            name=op.f("ck_slot_why"),
        ),
        sa.CheckConstraint("state <> 'running' OR run IS NOT NULL", name=op.f("ck_slot_run")),
        sa.CheckConstraint("state = 'due' OR retry_at IS NULL", name=op.f("ck_slot_retry")),
    )
    _index("ix_slot_open", "slot", ["due", "id"], only="closed_at IS NULL")
    op.create_index("ix_slot_due", "slot", ["due", "state"])
    op.create_index("ix_slot_of_policy", "slot", ["policy", "job", "vault", "due"])
    op.create_index("ix_slot_of_line", "slot", ["line", "key"])


def _make_event() -> None:
    op.create_table(
        "event",
        _number(),
        _whole("at"),
        _text("topic"),
        _text("severity"),
        _text("tenant", nullable=True),
        _text("policy", nullable=True),
        _text("subject"),
        _text("text"),
        _text("key"),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
        sa.CheckConstraint(_SEVERITIES, name=op.f("ck_event_severity")),
    )
    op.create_index("ix_event_at", "event", ["at"])


def _make_notice() -> None:
    op.create_table(
        "notice",
        _number(),
        _text("channel"),
        _whole("made_at"),
        _text("key"),
        _whole("through"),
        _text("severity"),
        _text("tenant", nullable=True),
        _text("subject"),
        _text("body"),
        _text("state"),
        _whole("attempts"),
        _whole("next_at"),
        _whole("delivered_at", nullable=True),
        _text("error"),
        sa.PrimaryKeyConstraint("id", name="pk_notice"),
        sa.CheckConstraint("state IN ('pending', 'delivered', 'given-up')", name=op.f("ck_notice_state")),
        sa.CheckConstraint(_SEVERITIES, name=op.f("ck_notice_severity")),
        sa.CheckConstraint("(state = 'delivered') = (delivered_at IS NOT NULL)", name=op.f("ck_notice_delivered")),
    )
    op.create_index("ix_notice_made_at", "notice", ["made_at"])
    _index("ix_notice_pending", "notice", ["next_at"], only="state = 'pending'")
    op.create_table(
        "outbox",
        _number(),
        _whole("told_until"),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sa.CheckConstraint("id = 1", name=op.f("ck_outbox_single")),
    )


def _make_alarm() -> None:
    op.create_table(
        "alarm",
        _number(),
        _text("key"),
        _text("topic"),
        _text("severity"),
        _text("tenant", nullable=True),
        _text("policy", nullable=True),
        _text("subject"),
        _text("text"),
        _whole("raised_at"),
        _whole("cleared_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_alarm"),
        sa.CheckConstraint(_SEVERITIES, name=op.f("ck_alarm_severity")),
    )
    _index("uq_alarm_raised", "alarm", ["key"], only="cleared_at IS NULL", unique=True)


def _make_lease() -> None:
    op.create_table(
        "lease",
        _number(),
        _text("owner_host", nullable=True),
        _text("owner_boot", nullable=True),
        _whole("owner_pid", nullable=True),
        _text("owner_started", nullable=True),
        _whole("term"),
        _whole("beat"),
        _whole("taken_at"),
        _whole("beaten_at"),
        sa.PrimaryKeyConstraint("id", name="pk_lease"),
        sa.CheckConstraint("id = 1", name=op.f("ck_lease_single")),
        sa.CheckConstraint(_OWNER, name=op.f("ck_lease_owner")),
    )


def _number() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _whole(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _index(name: str, table: str, columns: list[str], *, only: str, unique: bool = False) -> None:
    where = sa.text(only)
    op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where)

"""Recovery points, and the repositories that hold them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make `recovery_point` and `repository`."""
    op.create_table(
        "recovery_point",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("snapshot", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("vault", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("tree", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("gone_at", sa.BigInteger(), nullable=True),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_recovery_point"),
    )
    op.create_index("ix_recovery_point_seen", "recovery_point", ["policy", "vault", "seen_at"])
    _index_of_what_is_there("ix_recovery_point_newest", ["policy", "vault", "time"], unique=False)
    _index_of_what_is_there("uq_recovery_point_there", ["tenant", "vault", "snapshot"], unique=True)
    op.create_table(
        "repository",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("vault", sa.Text(), nullable=False),
        sa.Column("config_sha256", sa.Text(), nullable=False),
        sa.Column("first_seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "vault", name="pk_repository"),
    )


def _index_of_what_is_there(name: str, columns: list[str], *, unique: bool) -> None:
    where = sa.text("gone_at IS NULL")
    op.create_index(name, "recovery_point", columns, unique=unique, sqlite_where=where, postgresql_where=where)

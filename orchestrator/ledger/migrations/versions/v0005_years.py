"""A ledger that serves ten years: what proofs say in a column of its own, sums of slots, and indexes to seek by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_PROOFS = "proof IS NOT NULL AND job IN ('audit', 'check')"
_DIFFERS = "job = 'restore-test' AND substr(proof, 1, 1) = '-'"
_STATES = ("succeeded", "partial", "failed", "missed", "coalesced", "skipped", "blocked", "interrupted")
_WELL = "state IN ('succeeded', 'partial')"
# As the codec of revision 0004 and before wrote results: every field, in this order, and nothing between them.
_CHECKED = '{"kind":"check","read_data":"'
_TESTED = '{"kind":"restore-test","snapshot":"'


def upgrade() -> None:
    """Add `run.proof` and `slot_sum`, and the indexes by which questions seek instead of going through a year."""
    op.add_column("run", sa.Column("proof", sa.Text(), nullable=True))
    _prove()
    op.drop_index("ix_run_newest", "run")
    op.create_index("ix_run_newest", "run", ["policy", "job", "vault", "started_at"])
    op.create_index("ix_run_ended", "run", ["policy", "job", "vault", "tenant", "finished_at"])
    op.drop_index("ix_run_of_repository", "run")
    _index("ix_run_of_repository", "run", ["tenant", "vault", "job", "finished_at"], "job IN ('audit', 'check')")
    _index("ix_run_proof", "run", ["tenant", "vault", "job", "proof", "finished_at"], _PROOFS)
    _index("ix_run_differs", "run", ["tenant", "vault", "policy", "finished_at"], _DIFFERS)
    _index("ix_recovery_point_gone", "recovery_point", ["gone_at", "seen_at"], "gone_at IS NOT NULL")
    op.create_index("ix_recovery_point_origin", "recovery_point", ["origin"])
    op.create_index("ix_recovery_point_run", "recovery_point", ["run"])
    op.drop_index("ix_slot_of_line", "slot")
    op.create_index("ix_slot_of_line", "slot", ["line", "nominal"])
    _make_slot_sum()
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)


def _prove() -> None:
    """What the runs that are there prove, as outcome_row of codec.py has said it since."""
    connection = op.get_bind()
    find = "strpos" if connection.dialect.name == "postgresql" else "instr"
    rest = "substr(result, length(:checked) + 1)"
    share = f"substr({rest}, 1, {find}({rest}, :quote) - 1)"
    snapshot = "substr(result, length(:tested) + 1, 8)"
    connection.execute(
        sa.text(
            f"UPDATE run SET proof = CASE WHEN result LIKE :sound THEN CASE WHEN {_WELL} THEN '+' || {share} END"  # noqa: S608 (constants)
            " ELSE '-' END WHERE job = 'check' AND substr(result, 1, length(:checked)) = :checked"
        ),
        {"sound": '%"errors":0,%', "checked": _CHECKED, "quote": '"'},
    )
    connection.execute(
        sa.text(
            f"UPDATE run SET proof = CASE WHEN result NOT LIKE :equal THEN '-' || {snapshot}"  # noqa: S608 (constants)
            f" WHEN {_WELL} AND result NOT LIKE :nothing THEN '+' || {snapshot} END"
            " WHERE job = 'restore-test' AND substr(result, 1, length(:tested)) = :tested"
        ),
        {"equal": '%"differences":0,%', "nothing": '%"files_compared":0,%', "tested": _TESTED},
    )


def _make_slot_sum() -> None:
    op.create_table(
        "slot_sum",
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        *(sa.Column(state, sa.BigInteger(), nullable=False) for state in _STATES),
        sa.PrimaryKeyConstraint("line", "kind", name="pk_slot_sum"),
        sa.CheckConstraint("kind IN ('sealed', 'removed')", name=op.f("ck_slot_sum_kind")),
    )


def _index(name: str, table: str, columns: list[str], only: str) -> None:
    where = sa.text(only)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


# A seal holds for as long as nobody touches what it was made of. Whoever does, by whatever means, breaks it, and the
# line's slots are counted row by row again.
_BREAK = "DELETE FROM slot_sum WHERE kind = 'sealed' AND line = {line} AND until > {moment}"
_OTHER_LINE = (
    "new.policy <> old.policy OR new.job <> old.job OR new.vault <> old.vault OR new.schedule <> old.schedule"
    " OR new.zone <> old.zone OR new.since <> old.since"
)
_OTHER_END = "new.cursor < old.cursor OR coalesce(new.until, 0) <> coalesce(old.until, 0)"
_WRITTEN = _BREAK.format(line="new.line", moment="new.nominal")
_GONE = _BREAK.format(line="old.line", moment="old.nominal")
_OF_LINE = "DELETE FROM slot_sum WHERE kind = 'sealed' AND line = old.id"
_OF_LINE_TO_ITS_END = f"{_OF_LINE} AND ({_OTHER_LINE} OR until > coalesce(new.until, new.cursor) + 1)"
_LINE_CHANGED = f"{_OTHER_LINE} OR {_OTHER_END}"

_SQLITE = (
    f"CREATE TRIGGER slot_made AFTER INSERT ON slot BEGIN {_WRITTEN}; END",
    f"CREATE TRIGGER slot_changed AFTER UPDATE ON slot WHEN old.closed_at IS NOT NULL BEGIN {_GONE}; {_WRITTEN}; END",
    f"CREATE TRIGGER slot_removed AFTER DELETE ON slot BEGIN {_GONE}; END",
    f"CREATE TRIGGER line_changed AFTER UPDATE ON line WHEN {_LINE_CHANGED} BEGIN {_OF_LINE_TO_ITS_END}; END",
    f"CREATE TRIGGER line_removed AFTER DELETE ON line BEGIN {_OF_LINE}; END",
)


def _function(name: str, body: str) -> str:
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NULL; END $$"


def _trigger(name: str, event: str, when: str = "") -> str:
    return f"CREATE TRIGGER {name} AFTER {event} FOR EACH ROW {when} EXECUTE FUNCTION {name}()"


_POSTGRESQL = (
    _function("slot_made", _WRITTEN),
    _trigger("slot_made", "INSERT ON slot"),
    _function("slot_changed", f"{_GONE}; {_WRITTEN}"),
    _trigger("slot_changed", "UPDATE ON slot", "WHEN (old.closed_at IS NOT NULL)"),
    _function("slot_removed", _GONE),
    _trigger("slot_removed", "DELETE ON slot"),
    _function("line_changed", _OF_LINE_TO_ITS_END),
    _trigger("line_changed", "UPDATE ON line", f"WHEN ({_LINE_CHANGED})"),
    _function("line_removed", _OF_LINE),
    _trigger("line_removed", "DELETE ON line"),
)

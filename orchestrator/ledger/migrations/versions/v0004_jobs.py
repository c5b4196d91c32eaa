"""More jobs than before: audits, and reports that are made by themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_BEFORE = "job IN ('backup', 'replicate', 'check', 'restore-test', 'retention', 'restore')"
_JOBS = "job IN ('backup', 'replicate', 'audit', 'check', 'restore-test', 'retention', 'restore', 'report')"
_TABLES = ("run", "line", "slot")


def upgrade() -> None:
    """Let a run, a line and a slot be of the new jobs, and find a repository's audits as its checks are found."""
    if op.get_bind().dialect.name == "sqlite":
        _say_it_anew()
    else:
        for table in _TABLES:
            op.drop_constraint(op.f(f"ck_{table}_job"), table, type_="check")
            op.create_check_constraint(op.f(f"ck_{table}_job"), table, _JOBS)
    op.drop_index("ix_run_check", "run")
    where = sa.text("job IN ('audit', 'check')")
    columns = ["tenant", "vault", "finished_at"]
    op.create_index("ix_run_of_repository", "run", columns, sqlite_where=where, postgresql_where=where)


def _say_it_anew() -> None:
    """Change the text of the tables' definitions, as SQLite's own documentation does for a CHECK; no row is touched.

    Else every run and slot there ever was would be copied. https://sqlite.org/lang_altertable.html#otheralter
    """
    connection = op.get_bind()
    version: int = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    for table in _TABLES:
        changed = connection.execute(
            sa.text(
                "UPDATE sqlite_master SET sql = replace(sql, :before, :jobs)"
                " WHERE type = 'table' AND name = :table AND instr(sql, :before) > 0"
            ),
            {"before": _BEFORE, "jobs": _JOBS, "table": table},
        )
        if changed.rowcount != 1:
            raise LookupError(f"the table {table} is not as revision {down_revision} made it")
    connection.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema = RESET")

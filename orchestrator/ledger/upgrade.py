"""Builds and upgrades a ledger's tables by the migrations, all in one transaction. The only user of alembic.

alembic takes 300 ms to import: it is imported where there is something to do, and a current ledger never has.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, create_engine, event, inspect, pool
from sqlalchemy.exc import DBAPIError

from orchestrator.ledger.place import HEAD, has_revision

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS: Final = Path(__file__).with_name("migrations")


def upgrade_sqlite(connect: Callable[[], sqlite3.Connection], label: str, before: Callable[[], None]) -> None:
    """Upgrade a file; `before` is called once the write lock is held and an old ledger is about to be changed.

    Raises LedgerError or sqlite3.Error.
    """
    engine = create_engine("sqlite://", creator=connect, poolclass=pool.NullPool)
    # These connections begin nothing by themselves; at once, so that of two processes one finds it done.
    event.listen(engine, "begin", _begin_immediate)
    try:
        with engine.begin() as connection:
            found = revision(connection, label)
            if found is not None and found != HEAD:
                before()
            if found != HEAD:
                migrate(connection)
    except DBAPIError as cause:
        if isinstance(cause.orig, sqlite3.Error):
            raise cause.orig from cause
        raise
    finally:
        engine.dispose()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def revision(connection: Connection, label: str) -> str | None:
    """The ledger's revision, or None when there are no tables. Raises LedgerError when they are not a ledger's."""
    if not has_revision(inspect(connection).get_table_names(), label):
        return None
    found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return found


def migrate(connection: Connection, to: str = HEAD) -> None:
    """Run the migrations up to a revision inside the connection's transaction."""
    from alembic import command

    command.upgrade(configuration(connection), to)


def configuration(connection: Connection) -> Config:
    """What alembic is told: where the migrations are, which connection to use, which tables to arrive at."""
    from alembic.config import Config

    from orchestrator.ledger.tables import METADATA

    options: dict[str, Any] = {"connection": connection, "metadata": METADATA}
    config = Config(attributes=options)
    # A folder's name may hold a percent sign, which alembic would take for one of its variables.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config

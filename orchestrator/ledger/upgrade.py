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
from orchestrator.ledger.sqlite import connect

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS: Final = Path(__file__).with_name("migrations")


def upgrade_sqlite(path: Path, before: Callable[[], None], *, to: str = HEAD) -> None:
    """Upgrade the file; `before` is called once the write lock is held and an old ledger is about to be changed.

    Raises LedgerError or sqlite3.Error.
    """
    engine = create_engine("sqlite://", creator=lambda: connect(path), poolclass=pool.NullPool)
    event.listen(engine, "begin", _begin_immediate)
    try:
        with engine.begin() as connection:
            found = revision(connection, str(path))
            if found is not None and found != to:
                before()
            if found != to:
                migrate(connection, to)
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
    """What alembic is told: where the migrations are, and which connection to use."""
    from alembic.config import Config

    options: dict[str, Any] = {"connection": connection}
    config = Config(attributes=options)
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config

"""The ledger on PostgreSQL, for more machines than one: the same statements, and a lock where one decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from jobs.failure import Failure, FailureKind
from orchestrator.ledger.database import Row, Values
from orchestrator.ledger.faults import LedgerError, failure
from orchestrator.ledger.place import is_current, refused
from orchestrator.ledger.upgrade import migrate, revision

# Bounds on every wait: a server behind a cut link must not hold a backup for ever.
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
_CONNECT: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "application_name": "tandem",
        "connect_timeout": 8,  # seconds; with a silence before it (patience.py) half a minute
        "tcp_user_timeout": 30_000,  # milliseconds
        "keepalives_idle": 10,  # seconds
        "options": "-c lock_timeout=10s -c statement_timeout=15s",  # less than patience.py's silence
    }
)
_UPGRADE_SECONDS: Final = 3600.0
_DECIDING: Final = int.from_bytes(b"tandem")  # the key of the advisory lock that claims and upgrades take


class PostgresqlTransaction:
    """Statements on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, values: Values) -> list[Row]:
        """What a query finds, by column name."""
        return [dict(row) for row in self._connection.execute(text(sql), values).mappings()]

    def each(self, sql: str, values: Values) -> Iterator[Row]:
        """The same, one at a time."""
        for row in self._connection.execute(text(sql), values).mappings():
            yield dict(row)

    def change(self, sql: str, values: Values) -> int:
        """How many rows a statement changed."""
        return self._connection.execute(text(sql), values).rowcount

    def change_each(self, sql: str, values: Iterable[Values]) -> None:
        """Run a statement once for each set of values."""
        rows = list(values)
        if rows:
            self._connection.execute(text(sql), rows)


class PostgresqlDatabase:
    """A database on a PostgreSQL server."""

    def __init__(self, engine: Engine, label: str) -> None:
        self._engine = engine
        self._label = label

    @classmethod
    def open(cls, url: str, *, create: bool, patience: float | None = None) -> Self:
        """The database, with its tables made or upgraded when they must be. Raises LedgerError as Ledger.open says.

        `patience` is for how many seconds the server may be silent (None: see patience.py).
        """
        address = make_url(url)
        label = _label(address)
        database = cls(_engine(address, label, patience), label)
        try:
            database._prepare(create=create)
        except BaseException:
            database.close()
            raise
        return database

    @property
    def label(self) -> str:
        """Server, port and database."""
        return self._label

    def _prepare(self, *, create: bool) -> None:
        with self._connection("open") as connection:
            current = is_current(revision(connection, self._label), self._label, create=create)
        if current:
            return
        with self._connection("upgrade") as connection:
            _take_turn(connection)
            if not is_current(revision(connection, self._label), self._label, create=create):
                with _all_the_time(connection):
                    migrate(connection)

    @contextmanager
    def _connection(self, doing: str, **options: bool | str) -> Iterator[Connection]:
        try:
            with self._engine.execution_options(**options).begin() as connection:
                yield connection
        except DBAPIError as cause:
            told = None if cause.orig is None else failure(cause.orig, doing, self._label)
            if told is None:
                raise
            raise LedgerError(told) from cause

    @contextmanager
    def reading(self, doing: str) -> Iterator[PostgresqlTransaction]:
        """A transaction that only reads, and sees one instant in all its statements."""
        with self._connection(doing, isolation_level="REPEATABLE READ", postgresql_readonly=True) as connection:
            yield PostgresqlTransaction(connection)

    @contextmanager
    def writing(self, doing: str) -> Iterator[PostgresqlTransaction]:
        """A transaction that writes; rows are locked one by one."""
        with self._connection(doing) as connection:
            yield PostgresqlTransaction(connection)

    @contextmanager
    def deciding(self, doing: str) -> Iterator[PostgresqlTransaction]:
        """A transaction that waits until it is the only one deciding, up to ten seconds."""
        with self._connection(doing) as connection:
            _take_turn(connection)
            yield PostgresqlTransaction(connection)

    def copy_to(self, path: Path) -> None:
        """Raises LedgerError always: a server's database is not for us to copy."""
        message = f"copy the ledger {self._label} to {path}: it is on a PostgreSQL server; let pg_dump back it up"
        raise LedgerError(Failure(kind=FailureKind.LEDGER_MISSING, message=message))

    def close(self) -> None:
        """Give back connections."""
        self._engine.dispose()


def _label(address: URL) -> str:
    host = address.host or address.query.get("host", "localhost")
    port = address.port or address.query.get("port", 5432)
    return f"{host}:{port}/{address.database}"


def _engine(address: URL, label: str, patience: float | None) -> Engine:
    arguments = {name: value for name, value in _CONNECT.items() if name not in address.query}
    try:
        from orchestrator.ledger.patience import PatientConnection

        return create_engine(
            address,
            creator=_creator(address, arguments, PatientConnection.connect, patience),
            hide_parameters=True,  # a traceback would show what they hold
            isolation_level="READ COMMITTED",  # who waited for a turn must see what was done in the one before
            pool_size=2,
            pool_pre_ping=True,  # else the first statement after a restart of the server fails
        )
    except ModuleNotFoundError as cause:
        message = "PostgreSQL needs one more package: pip install 'tandem-backup[postgresql]'"
        raise refused(FailureKind.LEDGER_MISSING, label, message) from cause


def _creator(
    address: URL, arguments: Mapping[str, Any], connect: Callable[..., Any], patience: float | None
) -> Callable[[], Any]:
    """Makes the connections that SQLAlchemy would, but of that kind."""
    words, options = address.get_dialect()().create_connect_args(address)

    def make() -> object:
        connection = connect(*words, **{**options, **arguments})
        connection.patience = patience or connection.patience
        return connection

    return make


@contextmanager
def _all_the_time(connection: Connection) -> Iterator[None]:
    """For an upgrade, which rewrites tables, and is not to be given up half way."""
    driver: Any = connection.connection.driver_connection
    before, driver.patience = driver.patience, _UPGRADE_SECONDS
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    try:
        yield
    finally:
        driver.patience = before


def _take_turn(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _DECIDING})

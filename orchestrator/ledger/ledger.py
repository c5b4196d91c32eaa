"""The ledger: intent before effect, compare-and-set at the end, and nothing that was recorded is ever changed after.

Moments go in and come out as aware UTC datetimes. Every method raises LedgerError where the database refuses:
LEDGER_READ_ONLY, LEDGER_DAMAGED, DISK_FULL, BUSY (another process has been writing for ten seconds), LEDGER_MISSING
(a server that does not answer), ACCESS_DENIED.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self, TypeVar

from jobs.claim import busy, conflict
from jobs.failure import Failure, FailureKind
from jobs.history import TRANSITIONS, Job, KnownRepository, Outcome, Owner, RecoveryPoint, RunRecord, RunState
from orchestrator.ledger.codec import (
    UnreadableRowError,
    escape,
    micros,
    moment,
    outcome_row,
    owner_row,
    point_of,
    point_row,
    repository_of,
    repository_row,
    run_of,
    run_row,
    unescape,
)
from orchestrator.ledger.database import Database, Row, Transaction, Values
from orchestrator.ledger.faults import Busy, LedgerError, Superseded
from orchestrator.ledger.glance import JUDGED, THERE, Glance, judged
from orchestrator.ledger.place import refused, sqlite_path
from orchestrator.ledger.sqlite import SqliteDatabase

__all__ = ["Busy", "Glance", "KnownRepository", "Ledger", "LedgerError", "Superseded"]

_T = TypeVar("_T")

_OPEN_RUNS: Final = "SELECT * FROM run WHERE state = 'running' ORDER BY started_at, id"
_TREE_TOLD: Final = (
    " ON CONFLICT (tenant, vault, snapshot) WHERE gone_at IS NULL"
    " DO UPDATE SET tree = excluded.tree WHERE recovery_point.tree = ''"
)
_FILTERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tenant": "tenant = :tenant",
        "policy": "policy = :policy",
        "job": "job = :job",
        "vault": "vault = :vault",
        "since": "started_at >= :since",
        "until": "started_at < :until",
        "at": "seen_at <= :at AND (gone_at IS NULL OR gone_at > :at)",
    }
)


class Ledger:
    """What was intended, what came of it, and what is known to exist. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str, *, create: bool, now: datetime) -> Self:
        """The ledger at `sqlite:///FILE` or `postgresql+psycopg://…`, upgraded when an earlier Tandem wrote it.

        `create` makes one that is not there (of PostgreSQL: the tables, not the database). Before an upgrade a file is
        copied to FILE.before-REVISION-NOW. Raises LedgerError: LEDGER_MISSING, LEDGER_READ_ONLY, LEDGER_TOO_NEW
        (before anything is touched), LEDGER_DAMAGED, ACCESS_DENIED, DISK_FULL, BUSY.
        """
        path = sqlite_path(url)
        if path is not None:
            return cls(SqliteDatabase.open(path, create=create, now=now))
        if not url.startswith("postgresql+psycopg://"):
            scheme = url.partition(":")[0]  # and no more of it: it may hold a password
            raise refused(FailureKind.LEDGER_MISSING, f"{scheme}:…", "only sqlite:///FILE and postgresql+psycopg://…")
        from orchestrator.ledger.postgresql import PostgresqlDatabase  # SQLAlchemy takes 200 ms: only where it is used

        return cls(PostgresqlDatabase.open(url, create=create))

    @property
    def label(self) -> str:
        """What people are shown: a file, or a server and its database. Never a password."""
        return self._database.label

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of a SQLite ledger; none where it is elsewhere."""
        path = Path(self.label)
        return (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))) if path.is_absolute() else ()

    def close(self) -> None:
        """Give back connections. Closing twice succeeds."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- runs ---------------------------------------------------------------------------------------------------------

    def claim(self, record: RunRecord) -> None:
        """Write down a running run, unless an open one is in its way. Once this returns, its effects may begin.

        Raises Busy, whose message names the run in the way.
        """
        if record.state is not RunState.RUNNING:
            raise ValueError(f"only a running run can be claimed, and {record.id} is {record.state}")
        with self._database.deciding("write") as transaction:
            other = conflict(self._read(transaction.rows(_OPEN_RUNS, {}), run_of), record)
            if other is not None:
                raise Busy(busy(other, record), other)
            _insert(transaction, "run", run_row(record))

    def finish(self, run_id: str, owner: Owner, outcome: Outcome, now: datetime) -> None:
        """Record how an open run ended. Raises Superseded when it is not open under this owner: nothing is recorded."""
        mine = " AND ".join(f"{column} = :{column}" for column in owner_row(owner))
        self._end(run_id, outcome, now, f"AND {mine}", owner_row(owner))

    def resolve(self, run_id: str, outcome: Outcome, now: datetime) -> None:
        """Record what recovery found out about a dead owner's open run. Raises Superseded when it is no longer open."""
        self._end(run_id, outcome, now, "", {})

    def _end(self, run_id: str, outcome: Outcome, now: datetime, mine: str, owner: Values) -> None:
        if outcome.state not in TRANSITIONS[RunState.RUNNING]:
            raise ValueError(f"a running run cannot become {outcome.state}")
        row = outcome_row(outcome, now)
        sets = ", ".join(f"{column} = :{column}" for column in row)
        statement = f"UPDATE run SET {sets} WHERE id = :id AND state = 'running' {mine}"  # noqa: S608 (column names)
        with self._database.writing("write") as transaction:
            if transaction.change(statement, {"id": run_id, **row, **owner}) != 1:
                raise _superseded(run_id, transaction.rows("SELECT state FROM run WHERE id = :id", {"id": run_id}))

    def record(self, record: RunRecord) -> None:
        """Write down a run that is already over (skipped, blocked). Without `finished_at` it ended when it started."""
        if record.state is RunState.RUNNING:
            raise ValueError(f"run {record.id} is running: claim it")
        ended = micros(record.finished_at or record.started_at)
        with self._database.writing("write") as transaction:
            _insert(transaction, "run", {**run_row(record), "finished_at": ended})

    def open_runs(self) -> tuple[RunRecord, ...]:
        """The runs that have not ended, oldest first."""
        return self._ask(_OPEN_RUNS, {}, run_of)

    def run(self, run_id: str) -> RunRecord | None:
        """One run by its id."""
        return next(iter(self._ask("SELECT * FROM run WHERE id = :id", {"id": run_id}, run_of)), None)

    def runs(  # noqa: PLR0913 (each is one filter, and all are keywords)
        self,
        *,
        tenant: str | None = None,
        policy: str | None = None,
        job: Job | None = None,
        vault: str | None = None,
        states: Iterable[RunState] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> tuple[RunRecord, ...]:
        """Runs, newest first, that started at `since` or later and before `until`."""
        wanted = {
            "tenant": tenant,
            "policy": policy,
            "job": None if job is None else job.value,
            "vault": vault,
            "since": None if since is None else micros(since),
            "until": None if until is None else micros(until),
        }
        where, values = _where(wanted)
        if states is not None:
            where += f" AND state IN ({', '.join(repr(state.value) for state in states) or 'NULL'})"
        ending = "" if limit is None else f" LIMIT {limit:d}"
        statement = f"SELECT * FROM run WHERE {where} ORDER BY started_at DESC, id DESC{ending}"  # noqa: S608 (constants)
        return self._ask(statement, values, run_of)

    def last(
        self, policy: str, job: Job, vault: str | None = None, states: Iterable[RunState] | None = None
    ) -> RunRecord | None:
        """The newest run of a policy's job (at a vault, in one of some states)."""
        return next(iter(self.runs(policy=policy, job=job, vault=vault, states=states, limit=1)), None)

    # --- what exists --------------------------------------------------------------------------------------------------

    def arrive(self, points: Iterable[RecoveryPoint]) -> None:
        """Note recovery points that a backup made or a listing showed.

        One that is already known there stays as it was first noted, but for its tree, which only a listing tells.
        """
        with self._database.writing("write") as transaction:
            rows = [point_row(point) for point in points]
            if rows:
                transaction.change_each(_insertion("recovery_point", rows[0]) + _TREE_TOLD, rows)

    def gone(self, tenant: str, vault: str, snapshots: Iterable[str], now: datetime) -> None:
        """Note that a listing lacked these snapshots. What is not known to be there is left alone."""
        statement = (
            "UPDATE recovery_point SET gone_at = :now"
            " WHERE tenant = :tenant AND vault = :vault AND snapshot = :snapshot AND gone_at IS NULL"
        )
        place = {"tenant": tenant, "vault": vault, "now": micros(now)}
        with self._database.writing("write") as transaction:
            transaction.change_each(statement, [{**place, "snapshot": snapshot} for snapshot in snapshots])

    def points(
        self,
        policy: str | None = None,
        vault: str | None = None,
        at: datetime | None = None,
        *,
        tenant: str | None = None,
    ) -> tuple[RecoveryPoint, ...]:
        """Recovery points that were there at an instant (None: that are there by the last listing), oldest first."""
        when = None if at is None else micros(at)
        where, values = _where({"tenant": tenant, "policy": policy, "vault": vault, "at": when})
        where += " AND gone_at IS NULL" if at is None else ""
        statement = f"SELECT * FROM recovery_point WHERE {where} ORDER BY time, snapshot"  # noqa: S608 (constants)
        return self._ask(statement, values, point_of)

    def points_ever(self, until: datetime) -> tuple[RecoveryPoint, ...]:
        """Every recovery point that was seen by an instant, also where it has gone since, oldest first."""
        statement = "SELECT * FROM recovery_point WHERE seen_at <= :until ORDER BY time, snapshot"
        return self._ask(statement, {"until": micros(until)}, point_of)

    def repository(self, tenant: str, vault: str) -> KnownRepository | None:
        """What is known of a tenant's repository in a vault; None when none was ever seen."""
        statement = "SELECT * FROM repository WHERE tenant = :tenant AND vault = :vault"
        return next(iter(self._ask(statement, {"tenant": tenant, "vault": vault}, repository_of)), None)

    def repositories(self) -> tuple[KnownRepository, ...]:
        """Every repository that was ever seen."""
        return self._ask("SELECT * FROM repository ORDER BY tenant, vault", {}, repository_of)

    def remember(self, known: KnownRepository) -> None:
        """Note a repository's identity; noting the same again changes nothing.

        Raises LedgerError with REPOSITORY_FOREIGN when another one is known in its place: that is never written over.
        """
        with self._database.deciding("write") as transaction:
            row = repository_row(known)
            transaction.change(_insertion("repository", row) + " ON CONFLICT DO NOTHING", row)
            there = transaction.rows(
                "SELECT config_sha256 FROM repository WHERE tenant = :tenant AND vault = :vault", row
            )
            if there[0]["config_sha256"] != known.config_sha256:
                message = f"remember repository {known.tenant}@{known.vault}: the ledger knows another one there"
                raise LedgerError(Failure(kind=FailureKind.REPOSITORY_FOREIGN, message=message))

    def forget_repository(self, tenant: str, vault: str, now: datetime) -> None:
        """Give up a repository that is lost for good: its place may be used anew, and its recovery points are gone."""
        place = {"tenant": tenant, "vault": vault, "now": micros(now)}
        with self._database.writing("write") as transaction:
            transaction.change("DELETE FROM repository WHERE tenant = :tenant AND vault = :vault", place)
            transaction.change(
                "UPDATE recovery_point SET gone_at = :now"
                " WHERE tenant = :tenant AND vault = :vault AND gone_at IS NULL",
                place,
            )

    def remember_settings(self, settings_hash: str, text: str, now: datetime) -> None:
        """Keep the settings that a hash stands for; the first text stays."""
        row = {"hash": settings_hash, "text": escape(text), "first_used_at": micros(now)}
        with self._database.writing("write") as transaction:
            transaction.change(_insertion("settings_version", row) + " ON CONFLICT DO NOTHING", row)

    def settings_text(self, settings_hash: str) -> str | None:
        """The settings that a hash stands for, or None when it is unknown."""
        statement = "SELECT text FROM settings_version WHERE hash = :hash"
        found = self._ask(statement, {"hash": settings_hash}, lambda row: unescape(row["text"]))
        return next(iter(found), None)

    def settings_before(self, until: datetime) -> tuple[tuple[str, str, datetime], ...]:
        """Hash, text and first use of all settings that were first used before `until`, the earliest first."""
        statement = "SELECT * FROM settings_version WHERE first_used_at < :until ORDER BY first_used_at, hash"
        return self._ask(
            statement,
            {"until": micros(until)},
            lambda row: (row["hash"], unescape(row["text"]), moment(row["first_used_at"])),
        )

    def glance(self, at: datetime) -> Glance:
        """What `status` judges as of an instant that is not past."""
        with self._database.reading("read") as transaction:
            return Glance(
                runs=self._read(transaction.rows(JUDGED, judged(at)), run_of),
                points=self._read(transaction.rows(THERE, {}), point_of),
            )

    def _ask(self, statement: str, values: Values, reader: Callable[[Row], _T]) -> tuple[_T, ...]:
        with self._database.reading("read") as transaction:
            return self._read(transaction.rows(statement, values), reader)

    def _read(self, rows: Iterable[Row], reader: Callable[[Row], _T]) -> tuple[_T, ...]:
        try:
            return tuple(reader(row) for row in rows)
        except UnreadableRowError as cause:
            message = f"read the ledger {self.label}: {cause}"
            raise LedgerError(Failure(kind=FailureKind.LEDGER_DAMAGED, message=message)) from cause


def _where(wanted: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    values = {name: value for name, value in wanted.items() if value is not None}
    return " AND ".join(_FILTERS[name] for name in values) or "1 = 1", values


def _insertion(table: str, row: Values) -> str:
    columns = ", ".join(row)
    return f"INSERT INTO {table} ({columns}) VALUES ({', '.join(f':{column}' for column in row)})"  # noqa: S608 (constants)


def _insert(transaction: Transaction, table: str, row: Values) -> None:
    transaction.change(_insertion(table, row), row)


def _superseded(run_id: str, found: list[Row]) -> Superseded:
    state = found[0]["state"] if found else "not there"
    stands = "open under another owner" if state == RunState.RUNNING else state
    message = f"end run {run_id}: in the ledger it is {stands}, so what this process found out is not recorded"
    return Superseded(Failure(kind=FailureKind.BUSY, message=message))

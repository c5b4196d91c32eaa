"""What is known to exist: recovery points, repositories, and the settings that runs were made under."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from jobs.event import Event
from jobs.failure import Failure, FailureKind
from jobs.history import KnownRepository, RecoveryPoint
from orchestrator.ledger import events as outcry
from orchestrator.ledger.codec import (
    escape,
    micros,
    micros_or_none,
    moment,
    point_of,
    point_row,
    repository_of,
    repository_row,
    unescape,
)
from orchestrator.ledger.database import Transaction
from orchestrator.ledger.faults import LedgerError
from orchestrator.ledger.room import Room, insert_each, insertion, where

_TREE_TOLD: Final = (
    " ON CONFLICT (tenant, vault, snapshot) WHERE gone_at IS NULL"
    " DO UPDATE SET tree = excluded.tree WHERE recovery_point.tree = ''"
)
_FILTERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tenant": "tenant = :tenant",
        "policy": "policy = :policy",
        "vault": "vault = :vault",
        "at": "seen_at <= :at AND (gone_at IS NULL OR gone_at > :at)",
    }
)
_KNOWN_BY_NOW: Final = (
    "SELECT 1 FROM repository WHERE tenant = :tenant AND vault = :vault AND first_seen_at > :former_at"
)
_KNOWN_AS: Final = (
    " ON CONFLICT (tenant, vault) DO UPDATE SET first_seen_at = excluded.first_seen_at"
    " WHERE repository.config_sha256 = excluded.config_sha256"
)
_THERE: Final = "tenant = :tenant AND vault = :former AND gone_at IS NULL"
_MOVED: Final = (
    "INSERT INTO recovery_point"  # noqa: S608 (constants)
    " (snapshot, origin, tenant, policy, site, vault, run, time, tree, seen_at, gone_at, complete)"
    " SELECT snapshot, origin, tenant, policy, site, :vault, run, time, tree, :now, NULL, complete"
    f" FROM recovery_point WHERE {_THERE} ON CONFLICT DO NOTHING"
)
_LEFT: Final = f"UPDATE recovery_point SET gone_at = :now WHERE {_THERE}"  # noqa: S608 (constants)


def forget(transaction: Transaction, known: KnownRepository, now: datetime) -> None:
    """Forget a repository and its recovery points; where another is known in its place by now, nothing."""
    row = {**repository_row(known), "now": micros(now)}
    its = "tenant = :tenant AND vault = :vault"
    if transaction.change(f"DELETE FROM repository WHERE {its} AND config_sha256 = :config_sha256", row):  # noqa: S608 (constants)
        transaction.change(f"UPDATE recovery_point SET gone_at = :now WHERE {its} AND gone_at IS NULL", row)  # noqa: S608 (constants)


class Existence(Room):
    """What exists, as far as anybody saw."""

    def arrive(self, points: Iterable[RecoveryPoint]) -> None:
        """Note recovery points that a backup made or a listing showed.

        One that is already known there stays as it was first noted, but for its tree, which only a listing tells.
        """
        with self._database.writing("write") as transaction:
            insert_each(transaction, "recovery_point", [point_row(point) for point in points], _TREE_TOLD)

    def gone(
        self, tenant: str, vault: str, snapshots: Iterable[str], now: datetime, *, events: Iterable[Event] = ()
    ) -> None:
        """Note that a listing lacked these snapshots, and what there is to tell of that.

        What is not known to be there is left alone.
        """
        statement = (
            "UPDATE recovery_point SET gone_at = :now"
            " WHERE tenant = :tenant AND vault = :vault AND snapshot = :snapshot AND gone_at IS NULL"
        )
        place = {"tenant": tenant, "vault": vault, "now": micros(now)}
        with self._database.deciding("write") as transaction:
            outcry.write(transaction, events)
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
        wanted = {"tenant": tenant, "policy": policy, "vault": vault, "at": micros_or_none(at)}
        condition, values = where(_FILTERS, wanted)
        condition += " AND gone_at IS NULL" if at is None else ""
        statement = f"SELECT * FROM recovery_point WHERE {condition} ORDER BY time, run, snapshot"  # noqa: S608 (constants)
        return self._ask(statement, values, point_of)

    def points_ever(self, until: datetime) -> tuple[RecoveryPoint, ...]:
        """Every recovery point that was seen by an instant, also where it has gone since, oldest first."""
        statement = "SELECT * FROM recovery_point WHERE seen_at <= :until ORDER BY time, run, snapshot"
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
            transaction.change(insertion("repository", row) + " ON CONFLICT DO NOTHING", row)
            there = transaction.rows(
                "SELECT config_sha256 FROM repository WHERE tenant = :tenant AND vault = :vault", row
            )
            if there[0]["config_sha256"] != known.config_sha256:
                message = f"remember repository {known.tenant}@{known.vault}: the ledger knows another one there"
                raise LedgerError(Failure(kind=FailureKind.REPOSITORY_FOREIGN, message=message))

    def known_as(self, vault: str, former: KnownRepository, event: Event) -> None:
        """From the event on a repository is known by another name of its vault, and its recovery points are there.

        What was recorded under the former name stays so: see glance.py. Where another process was quicker, nothing.
        """
        row = {**repository_row(former), "vault": vault, "first_seen_at": micros(event.at)}
        here = {"tenant": former.tenant, "vault": vault}
        moved = {"tenant": former.tenant, "former": former.vault, "now": micros(event.at)}
        with self._database.deciding("write") as transaction:
            if transaction.rows(_KNOWN_BY_NOW, {**here, "former_at": micros(former.first_seen_at)}):
                return
            transaction.change(insertion("repository", row) + _KNOWN_AS, row)
            transaction.change(_MOVED, {**moved, "vault": vault})
            transaction.change(_LEFT, moved)
            outcry.write(transaction, [event])

    def forget_repository(self, known: KnownRepository, now: datetime) -> None:
        """Give up a repository that is lost for good: its place may be used anew, and its recovery points are gone."""
        with self._database.writing("write") as transaction:
            forget(transaction, known, now)

    def remember_settings(self, settings_hash: str, text: str, now: datetime) -> None:
        """Keep the settings that a hash stands for; the first text stays."""
        self.remember_all_settings([(settings_hash, text)], now)

    def remember_all_settings(self, told: Iterable[tuple[str, str]], now: datetime) -> None:
        """Keep the settings that each hash stands for, all at once; the first text of each stays."""
        rows = [{"hash": known, "text": escape(text), "first_used_at": micros(now)} for known, text in told]
        if rows:
            with self._database.writing("write") as transaction:
                transaction.change_each(insertion("settings_version", rows[0]) + " ON CONFLICT DO NOTHING", rows)

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

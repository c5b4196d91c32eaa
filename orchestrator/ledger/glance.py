"""What `tandem status` judges: as few runs as give the verdicts that all runs would give.

Of every job the runs that ended at or after the last one that succeeded. What came before such a one cannot count, but
for what it proved or disproved (`run.proof`, see codec.py):
- of a repository's audits and checks, the last of each share of the data that was found clean: it may be as much as
  another policy asks for. And damage, as long as nothing read everything and was clean since: no damage outlives that;
- of a policy's restore tests at a place, all since the last that compared files and found them equal; and differences
  for as long as their snapshot is there, with all tests of that snapshot since.
And the backups of the newest recovery points, which know whether files were changing.

jobs/integrity.py and jobs/proof.py have the rules; a property test holds this to them. What was recorded of a
repository while its vault bore another name is read as the present name's (see Existence.known_as): both names are
known with one and the same config. No question here goes through what is settled: each seeks from one policy, job and
place to the next, so that it costs what there is to judge and not what there ever was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeVar

from jobs.history import RecoveryPoint, RunRecord
from jobs.policy import VaultName
from orchestrator.ledger.codec import Row, micros, moment, point_of, run_of
from orchestrator.ledger.room import Room

_AT_ONCE: Final = 500  # ids in one question
_END: Final = 1 << 62  # microseconds: later than any moment

_OF_REPOSITORY: Final = "job IN ('audit', 'check')"
_PLACE: Final = ("policy", "job", "vault", "tenant")  # ix_run_ended
_REPOSITORY: Final = ("tenant", "vault", "job")  # ix_run_of_repository
_PROOF: Final = ("tenant", "vault", "job", "proof")  # ix_run_proof
_BEGUN: Final = "started_at < :before"
_JUDGED: Final = "{run}.finished_at <= :at AND {run}.started_at < :before"


def _first_of_each(columns: Sequence[str], *, known: int = 0, start: str = "", condition: str = "1 = 1") -> str:
    """A recursive table `first` with the id of one run of each combination of columns, each sought from the one before.

    An index begins with these columns. The first `known` of them are given by `start`, which then has a row for each.
    """
    order = ", ".join(columns[known:])
    begin = f"SELECT id FROM run WHERE {condition}{{given}} ORDER BY {order} LIMIT 1"  # noqa: S608 (constants)
    first = f"SELECT ({begin.format(given='')})"
    if start:
        given = "".join(f" AND run.{column} = wanted.column{place + 1}" for place, column in enumerate(columns[:known]))
        first = f"SELECT ({begin.format(given=given)}) FROM (VALUES {start}) AS wanted"  # noqa: S608 (constants)
    steps = []
    for last in reversed(range(known, len(columns))):
        same = "".join(f" AND run.{column} = here.{column}" for column in columns[:last])
        rest = ", ".join(columns[last:])
        next_one = f"run.{columns[last]} > here.{columns[last]}"
        steps.append(f"(SELECT id FROM run WHERE {condition}{same} AND {next_one} ORDER BY {rest} LIMIT 1)")  # noqa: S608 (constants)
    then = ", ".join(steps) if len(steps) > 1 else f"{steps[0]}, NULL"
    return (
        f"WITH RECURSIVE first (id) AS ({first} UNION ALL"  # noqa: S608 (constants)
        f" SELECT coalesce({then}) FROM first JOIN run AS here ON here.id = first.id)"
    )


def _same(columns: Iterable[str], one: str = "run", other: str = "here") -> str:
    return " AND ".join(f"{one}.{column} = {other}.{column}" for column in columns)


def _last(columns: Sequence[str], condition: str) -> str:
    """When the last run of the same place ended of which a condition holds; 0 where there is none."""
    judged = _JUDGED.format(run="good")
    return (
        f"coalesce((SELECT good.finished_at FROM run AS good WHERE {_same(columns, 'good')} AND {condition}"  # noqa: S608 (constants)
        f" AND {judged} ORDER BY good.finished_at DESC LIMIT 1), 0)"
    )


# CROSS JOIN, because SQLite then keeps the order of the tables: left to itself it may begin with all runs there are
# (https://www.sqlite.org/optoverview.html, on CROSS JOIN). To PostgreSQL it is any other join.
def _since(walk: str, columns: Sequence[str], since: str, more: str = "1 = 1") -> str:
    """The runs of every first one's place that ended at a moment or later."""
    return (
        f"{walk} SELECT run.* FROM first CROSS JOIN run AS here CROSS JOIN run WHERE here.id = first.id AND {more}"  # noqa: S608 (constants)
        f" AND {_same(columns)} AND run.finished_at >= {since} AND {_JUDGED.format(run='run')}"
    )


_SUCCEEDED: Final = "good.state = 'succeeded'"
_SETTLED: Final = (
    f"{_SUCCEEDED} AND (good.job <> 'restore-test' OR substr(good.proof, 1, 1) = '+')"
    " AND (good.job NOT IN ('audit', 'check') OR good.result IS NOT NULL)"
)
_OF_POLICIES: Final = "here.job NOT IN ('audit', 'check', 'restore', 'report')"
_ALL_READ: Final = _last(("tenant", "vault", "job"), f"good.proof = '+100%' AND good.{_OF_REPOSITORY}")
_SAME_PROOF: Final = _last(_PROOF, f"good.proof IS NOT NULL AND good.{_OF_REPOSITORY}")
_OF_A_PROOF: Final = f"CASE substr(here.proof, 1, 1) WHEN '+' THEN {_SAME_PROOF} ELSE {_ALL_READ} END"
_NAMES: Final = (
    "SELECT * FROM repository WHERE first_seen_at <= :at AND (tenant, config_sha256) IN"
    " (SELECT tenant, config_sha256 FROM repository WHERE first_seen_at <= :at"
    " GROUP BY tenant, config_sha256 HAVING count(*) > 1) ORDER BY first_seen_at, vault"
)
_ANY_NAME: Final = (
    "(SELECT bad.vault UNION ALL SELECT other.vault FROM repository AS one JOIN repository AS other"
    " ON other.tenant = one.tenant AND other.config_sha256 = one.config_sha256"
    " WHERE one.tenant = bad.tenant AND one.vault = bad.vault)"
)
_DIFFERENT: Final = (
    "SELECT run.* FROM run AS bad CROSS JOIN run WHERE bad.job = 'restore-test' AND substr(bad.proof, 1, 1) = '-'"  # noqa: S608 (constants)
    " AND {whose} AND EXISTS (SELECT 1 FROM recovery_point WHERE recovery_point.policy = bad.policy"
    f" AND recovery_point.vault IN {_ANY_NAME} AND recovery_point.tenant = bad.tenant"
    " AND substr(snapshot, 1, 8) = substr(bad.proof, 2) AND seen_at <= :at AND (gone_at IS NULL OR gone_at > :at))"
    f" AND {_same(('policy', 'job', 'tenant'), 'run', 'bad')} AND run.vault IN {_ANY_NAME}"
    " AND run.finished_at >= bad.finished_at"
    f" AND substr(run.proof, 2) = substr(bad.proof, 2) AND {_JUDGED.format(run='run')}"
)
_SHARED: Final = f"run.{_OF_REPOSITORY}"


def _questions(names: Sequence[str], *, tenant: bool = False) -> Iterator[str]:
    """What finds the runs that count: of all policies, or of those that values are named for, and of their tenant."""
    listed = ", ".join(f"(:{name})" for name in names)
    places = _first_of_each(_PLACE, known=1, start=listed) if names else _first_of_each(_PLACE)
    yield _since(places, _PLACE, _last(_PLACE, _SETTLED), _OF_POLICIES)
    start, known = ("(:tenant)", 1) if tenant else ("", 0)
    repositories = _first_of_each(_REPOSITORY, known=known, start=start, condition=_SHARED)
    yield _since(repositories, _REPOSITORY, _last(_REPOSITORY, f"{_SETTLED} AND good.{_OF_REPOSITORY}"), _SHARED)
    is_proof = f"run.proof IS NOT NULL AND {_SHARED}"
    proofs = _first_of_each(_PROOF, known=known, start=start, condition=is_proof)
    yield _since(proofs, _PROOF, _OF_A_PROOF, is_proof)
    yield _DIFFERENT.format(whose=f"bad.policy IN ({', '.join(f':{name}' for name in names)})" if names else "1 = 1")


# Where a point is gone from one site and there at the other, its removal tells that it was copied before.
_THERE: Final = "SELECT * FROM recovery_point WHERE gone_at IS NULL AND seen_at <= :at AND {whose}"
_GONE_ELSEWHERE: Final = (
    "SELECT gone.* FROM (SELECT DISTINCT origin || '' AS origin FROM recovery_point"
    " WHERE gone_at IS NULL AND seen_at <= :at AND {whose}) AS there"
    " CROSS JOIN recovery_point AS gone WHERE gone.origin = there.origin AND gone.gone_at IS NOT NULL"
    " AND gone.gone_at < :since AND gone.seen_at <= :at AND {of_gone}"
)
_GONE_SINCE: Final = "SELECT * FROM recovery_point WHERE gone_at >= :since AND seen_at <= :at AND {whose}"
_GONE_BEFORE: Final = (
    "SELECT gone.* FROM (SELECT DISTINCT origin || '' AS origin FROM recovery_point"
    " WHERE gone_at > :at AND seen_at <= :at AND {whose}) AS there"
    " CROSS JOIN recovery_point AS gone WHERE gone.origin = there.origin AND gone.gone_at IS NOT NULL"
    " AND gone.gone_at < :since AND gone.seen_at <= :at AND {of_gone}"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Glance:
    """The runs that count and the open ones, oldest first, and every recovery point that is there, of one instant.

    Every point, not the newest: a replica lags by its oldest gap. People's restores are judged by nothing, and left out
    but for the open ones.
    """

    runs: tuple[RunRecord, ...]
    points: tuple[RecoveryPoint, ...]


class Glances(Room):
    """What counts of all that ever was."""

    def glance(self, at: datetime) -> Glance:
        """What `status` judges as of an instant that is not past."""
        values = {"at": micros(at), "before": _END, "since": _END}
        return self._glance(values, (), under_way="SELECT * FROM run WHERE state = 'running'")

    def glance_at(self, tenant: str, policies: Collection[str], at: datetime) -> Glance:
        """The same for some policies of one tenant, and without runs under way: of thousands, a few at a time."""
        names = {f"policy{number}": name for number, name in enumerate(policies)}
        values = {"at": micros(at), "before": _END, "since": _END, "tenant": tenant, **names}
        return self._glance(values, tuple(names), tenant=True)

    def hindsight(self, since: datetime, at: datetime) -> Glance:
        """What a report of the time from `since` on judges as of `at`, and all points that came or went in that time.

        It is judged like all that ever was; what came after `at` changes nothing of it.
        """
        return self._glance({"at": micros(at), "before": micros(at), "since": micros(since)}, (), past=True)

    def judged_at(self, at: datetime) -> frozenset[str]:
        """The runs, of those that had ended by then, that a judgement of any later time may still go by."""
        values = {"at": micros(at), "before": micros(at)}
        with self._database.reading("read") as transaction:
            return frozenset(row["id"] for each in _questions(()) for row in transaction.rows(each, values))

    def _glance(
        self,
        values: dict[str, Any],
        names: Sequence[str],
        *,
        tenant: bool = False,
        under_way: str = "",
        past: bool = False,
    ) -> Glance:
        whose = f"policy IN ({', '.join(f':{name}' for name in names)})" if names else "1 = 1"
        parts = (_THERE, _GONE_ELSEWHERE, *((_GONE_SINCE, _GONE_BEFORE) if past else ()))
        with self._database.reading("read") as transaction:
            rows = {
                row["id"]: row
                for statement in (*_questions(names, tenant=tenant), *filter(None, (under_way,)))
                for row in transaction.rows(statement, values)
            }
            seen = {
                row["id"]: row
                for part in parts
                for row in transaction.rows(
                    part.format(whose=whose, of_gone=f"gone.{whose}" if names else whose), values
                )
            }
            present = _present_names(transaction.rows(_NAMES, {"at": values["at"]}))
            points = _as_one(_named(self._read(seen.values(), point_of), present))
            backups = sorted({point.run for point in _newest(points, moment(values["at"]))} - rows.keys())
            for first in range(0, len(backups), _AT_ONCE):
                some = {f"id{number}": run for number, run in enumerate(backups[first : first + _AT_ONCE])}
                wanted = ", ".join(f":{name}" for name in some)
                for row in transaction.rows(f"SELECT * FROM run WHERE id IN ({wanted}) AND {_BEGUN}", values | some):  # noqa: S608 (names)
                    rows[row["id"]] = row
        runs = sorted(_named(self._read(rows.values(), run_of), present), key=lambda run: (run.started_at, run.id))
        return Glance(runs=tuple(runs), points=tuple(sorted(points, key=lambda point: (point.time, point.snapshot))))


_Found = TypeVar("_Found", RunRecord, RecoveryPoint)
_Names = Mapping[tuple[str, str], VaultName]  # (tenant, a former name of a vault) → its name now


def _present_names(rows: Iterable[Row]) -> _Names:
    """Of repositories that are known by several names, the oldest first: the newest name holds."""
    there = list(rows)
    newest = {(row["tenant"], row["config_sha256"]): VaultName(row["vault"]) for row in there}
    return {(row["tenant"], row["vault"]): newest[row["tenant"], row["config_sha256"]] for row in there}


def _named(found: Iterable[_Found], names: _Names) -> Iterable[_Found]:
    """With the present name of each one's vault."""
    return [replace(each, vault=names.get((each.tenant, each.vault), each.vault)) for each in found] if names else found


def _as_one(points: Iterable[RecoveryPoint]) -> tuple[RecoveryPoint, ...]:
    """One that only changed its vault's name, which looks as if it had gone and come at that moment, as one."""
    found: dict[tuple[str, str, str], list[RecoveryPoint]] = defaultdict(list)
    for point in sorted(points, key=lambda point: point.seen_at):
        same = found[point.tenant, point.vault, point.snapshot]
        if same and same[-1].gone_at == point.seen_at:
            same[-1] = replace(same[-1], gone_at=point.gone_at, tree=point.tree or same[-1].tree)
        else:
            same.append(point)
    return tuple(point for same in found.values() for point in same)


def _newest(points: Iterable[RecoveryPoint], at: datetime) -> Iterator[RecoveryPoint]:
    """Of each policy's points at a place the newest one that is complete everywhere, and those that are newer."""
    there: dict[tuple[str, str, str], list[RecoveryPoint]] = defaultdict(list)
    partial = set()
    for point in points:
        if not point.complete:
            partial.add((point.tenant, point.policy, point.origin))
        if point.time <= at and (point.gone_at is None or point.gone_at > at):
            there[point.tenant, point.policy, point.vault].append(point)
    for each in there.values():
        for point in sorted(each, key=lambda point: (point.time, point.snapshot), reverse=True):
            yield point
            if (point.tenant, point.policy, point.origin) not in partial:
                break

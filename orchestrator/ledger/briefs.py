"""What is asked about tens of thousands of runs: few columns of each, in pieces that hold up nobody for long."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from sys import intern
from typing import Final

from jobs.growth import Stored
from jobs.history import BackupResult, Job, Result, RunRecord, RunState
from jobs.policy import PolicyName, TenantName, VaultName
from jobs.tally import Ran
from orchestrator.ledger.codec import Row, micros, moment, moment_or_none, reading, result_of, run_of
from orchestrator.ledger.room import Room, among

Place = tuple[PolicyName, Job, VaultName]

_AT_ONCE: Final = 500  # policies in one question
_RUNS_AT_ONCE: Final = 2000

# Every place has its turn: from one to the next in the index, and there from the newest run back to one that will do.
_NEXT: Final = """
    (SELECT id FROM run WHERE policy = here.policy AND job = here.job AND vault > here.vault ORDER BY vault LIMIT 1),
    (SELECT id FROM run WHERE policy = here.policy AND job > here.job ORDER BY job, vault LIMIT 1)"""
_OF_ALL: Final = (
    "(SELECT id FROM run ORDER BY policy, job, vault LIMIT 1)",
    f"{_NEXT}, (SELECT id FROM run WHERE policy > here.policy ORDER BY policy, job, vault LIMIT 1)",  # noqa: S608 (constants)
)
NEWEST: Final = """
    WITH RECURSIVE place (id) AS (
        SELECT {first}
        UNION ALL
        SELECT coalesce({then}) FROM place JOIN run AS here ON here.id = place.id
    )
    SELECT {columns} FROM run WHERE id IN (
        SELECT (
            SELECT good.id FROM run AS good
            WHERE good.policy = one.policy AND good.job = one.job AND good.vault = one.vault {states}
            ORDER BY good.started_at DESC, good.id DESC LIMIT 1
        ) FROM place JOIN run AS one ON one.id = place.id WHERE 1 = 1 {jobs}
    )
"""
_BRIEF: Final = "id, policy, job, vault, tenant, state, started_at, finished_at, result"
_PLACES: Final = "SELECT policy, job, vault, tenant FROM line WHERE until IS NULL AND policy IN ({names})"
_STORED: Final = (
    "SELECT id, policy, started_at, result FROM run WHERE job = 'backup' AND state IN ('succeeded', 'partial')"
    " AND started_at >= :since AND (started_at, id) < (:before, :id) ORDER BY started_at DESC, id DESC LIMIT :most"
)
_END: Final = 1 << 62  # microseconds: later than any moment
_STATE: Final = "CASE WHEN finished_at > :at THEN 'running' ELSE state END"  # as it was known then
_RAN: Final = (
    f"SELECT tenant, policy, job, {_STATE} AS ended, count(*) AS many FROM run"  # noqa: S608 (constants)
    " WHERE started_at >= :since AND started_at < :at{whose} GROUP BY tenant, policy, job, ended"
)
_WENT_WRONG: Final = (
    "SELECT * FROM run WHERE started_at >= :since AND started_at < :at AND finished_at <= :at"
    " AND state IN ('partial', 'failed', 'blocked', 'interrupted'){whose} ORDER BY started_at DESC, id DESC LIMIT :most"
)
_HEARD: Final = (
    "SELECT settings_hash, max(started_at) AS at FROM run WHERE started_at >= :since AND started_at < :at"
    " AND job NOT IN ('restore', 'report') GROUP BY settings_hash"
)
_NEWEST_OF: Final = (
    "SELECT * FROM run WHERE started_at >= :since AND started_at < :at AND job <> 'report'"  # made with no tool
    " ORDER BY started_at DESC, id DESC LIMIT 1"
)


def newest(states: Iterable[RunState], jobs: Iterable[Job] | None, *, of: str = "", columns: str = "*") -> str:
    """The statement that finds the newest run of each place; `of` names the values that are the policies wanted."""
    first, then = _OF_ALL
    if of:
        first = (
            "(SELECT id FROM run WHERE policy = wanted.column1 ORDER BY job, vault LIMIT 1)"  # noqa: S608 (names)
            f" FROM (VALUES {of}) AS wanted"
        )
        then = f"{_NEXT}, NULL"
    return NEWEST.format(
        first=first, then=then, columns=columns, states=among("good.state", states), jobs=among("one.job", jobs)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Brief:
    """What is asked most often about a run that has ended."""

    policy: PolicyName
    job: Job
    vault: VaultName
    tenant: TenantName
    state: RunState
    started_at: datetime
    finished_at: datetime | None
    text: str | None  # what it found out, as it is stored

    @property
    def result(self) -> Result | None:
        """What it found out. Raises UnreadableRowError."""
        return None if self.text is None else result_of(self.text)


class Briefs(Room):
    """Many runs at once."""

    def last_runs(
        self,
        states: Iterable[RunState],
        jobs: Iterable[Job] | None = None,
        *,
        policies: Collection[str] | None = None,
    ) -> Mapping[Place, RunRecord]:
        """The newest run in one of these states of each policy's job (of these jobs) at each vault."""
        if policies is None:
            found = self._ask(newest(states, jobs), {}, run_of)
        else:
            pieces = _pieces(policies)
            found = tuple(
                run for piece in pieces for run in self._ask(newest(states, jobs, of=_rows(piece)), piece, run_of)
            )
        return {(run.policy, run.job, run.vault): run for run in found}

    def last_ended(self, policies: Collection[str], states: Iterable[RunState]) -> Mapping[Place, Brief]:
        """The same in brief, of runs that have ended."""
        found = (
            brief
            for piece in _pieces(policies)
            for brief in self._ask(newest(states, None, of=_rows(piece), columns=_BRIEF), piece, _brief_of)
        )
        return {(brief.policy, brief.job, brief.vault): brief for brief in found}

    def places_in_force(self, policies: Collection[str]) -> Mapping[Place, TenantName]:
        """Where these policies' jobs are due by themselves, and whose they are."""
        found = (
            place
            for piece in _pieces(policies)
            for place in self._ask(_PLACES.format(names=", ".join(f":{name}" for name in piece)), piece, _place_of)
        )
        return dict(found)

    def ran(self, since: datetime, at: datetime, *, tenant: str | None = None, most: int = _AT_ONCE) -> Ran:
        """What started at `since` or later and before `at`, as it stood then: counted; the newest that went wrong too.

        Of one tenant's runs if asked so; `heard` and `newest` are of everybody's.
        """
        values: dict[str, int | str] = {"since": micros(since), "at": micros(at), "most": most}
        whose = "" if tenant is None else " AND tenant = :tenant"
        values |= {} if tenant is None else {"tenant": tenant}
        with self._database.reading("read") as transaction:
            counted = transaction.rows(_RAN.format(whose=whose), values)
            bad = transaction.rows(_WENT_WRONG.format(whose=whose), values)
            heard = transaction.rows(_HEARD, values)
            newest_one = transaction.rows(_NEWEST_OF, values)
        return Ran(
            counted={
                (row["tenant"], row["policy"], Job(row["job"]), RunState(row["ended"])): int(row["many"])
                for row in counted
            },
            bad=self._read(bad, run_of),
            heard={row["settings_hash"]: moment(row["at"]) for row in heard},
            newest=next(iter(self._read(newest_one, run_of)), None),
        )

    def stored(self, since: datetime, limit: int) -> tuple[Stored, ...]:
        """What backups that began at `since` or later stored, the newest first, at most so many."""
        found: list[Stored] = []
        values = {"since": micros(since), "before": _END, "id": "", "most": _RUNS_AT_ONCE}
        while len(found) < limit:
            with self._database.reading("read") as transaction:
                rows = transaction.rows(_STORED, values)
            found += self._read(rows, _stored_of)
            if len(rows) < _RUNS_AT_ONCE:
                break
            values |= {"before": rows[-1]["started_at"], "id": rows[-1]["id"]}
        return tuple(found[:limit])


def _pieces(policies: Collection[str]) -> Iterator[dict[str, str]]:
    names: Sequence[str] = sorted(policies)
    for first in range(0, len(names), _AT_ONCE):
        yield {f"policy{number}": name for number, name in enumerate(names[first : first + _AT_ONCE])}


def _rows(names: Iterable[str]) -> str:
    return ", ".join(f"(:{name})" for name in names)


def _brief_of(row: Row) -> Brief:
    with reading(f"run {row['id']}"):
        return Brief(
            policy=PolicyName(intern(row["policy"])),
            job=Job(row["job"]),
            vault=VaultName(intern(row["vault"])),
            tenant=TenantName(intern(row["tenant"])),
            state=RunState(row["state"]),
            started_at=moment(row["started_at"]),
            finished_at=moment_or_none(row["finished_at"]),
            text=row["result"],
        )


def _place_of(row: Row) -> tuple[Place, TenantName]:
    with reading(f"a line of {row['policy']}"):
        place = (PolicyName(intern(row["policy"])), Job(row["job"]), VaultName(intern(row["vault"])))
        return place, TenantName(intern(row["tenant"]))


def _stored_of(row: Row) -> Stored:
    with reading(f"run {row['id']}"):
        result = None if row["result"] is None else result_of(row["result"])
        counted = result if isinstance(result, BackupResult) else BackupResult()
        return Stored(
            policy=PolicyName(intern(row["policy"])),
            at=moment(row["started_at"]),
            bytes=counted.bytes,
            added=counted.bytes_added,
        )

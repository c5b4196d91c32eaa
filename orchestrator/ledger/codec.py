"""Between our values and a row's plain columns: text, whole numbers and nothing else, the same on every database.

- A moment is whole microseconds since 1970 in UTC: it sorts, it is exact, and no driver or session can shift it.
- Free text is kept as it is, but for what databases refuse (U+0000, and the lone surrogates that stand for a file
  name's undecodable bytes): those, and the backslash that marks them, are escaped.
- What a kind of run found out is JSON with `kind` in it. Fields that are missing have their defaults, which therefore
  never change: so rows of earlier versions stay readable, and rows are short. Fields that are unknown do not pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from sys import intern
from types import MappingProxyType
from typing import Any, Final, get_args, get_type_hints

from jobs.failure import Failure, FailureKind
from jobs.history import (
    AuditResult,
    CheckResult,
    Job,
    KnownRepository,
    Outcome,
    Owner,
    RecoveryPoint,
    ReportFile,
    RestoreTestResult,
    Result,
    RunRecord,
    RunState,
    Usage,
)

Row = Mapping[str, Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_named: Callable[[Any], Any] = intern  # thousands of runs and points are of the same few names
_ESCAPE: Final = re.compile("[\\\\\x00\ud800-\udfff]")
_ESCAPED: Final = re.compile(r"\\u([0-9a-f]{4})")


class UnreadableRowError(ValueError):
    """A row holds what no version of Tandem wrote."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn what a row's conversion raises into an UnreadableRowError that names the row."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as cause:
        raise UnreadableRowError(f"{what} cannot be read: {cause}") from cause


def micros(moment: datetime) -> int:
    """Microseconds since 1970 in UTC. Raises ValueError for a naive datetime: nobody could say when that was."""
    if moment.tzinfo is None:
        raise ValueError(f"the ledger takes aware datetimes only, not {moment.isoformat()}")
    return (moment - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """The aware UTC datetime that `micros` was given."""
    return _EPOCH + microseconds * _MICROSECOND


def micros_or_none(moment: datetime | None) -> int | None:
    """The same where there may be no moment."""
    return None if moment is None else micros(moment)


def moment_or_none(microseconds: int | None) -> datetime | None:
    """The moment that `micros_or_none` was given."""
    return None if microseconds is None else moment(microseconds)


def span(microseconds: int) -> timedelta:
    """The length of time that `span_micros` was given."""
    return microseconds * _MICROSECOND


def span_micros(length: timedelta) -> int:
    """A length of time in whole microseconds."""
    return length // _MICROSECOND


def escape(text: str) -> str:
    """Text that any database stores."""
    return _ESCAPE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def unescape(stored: str) -> str:
    """The text that `escape` was given."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), stored) if "\\" in stored else stored


# --- what a kind of run found out -------------------------------------------------------------------------------------

_RESULTS: Final[Mapping[str, type[Result]]] = MappingProxyType(
    {get_args(get_type_hints(kind)["kind"])[0]: kind for kind in get_args(Result)}
)


def _same(value: object) -> object:
    return value


def _written_moment(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value).astimezone(UTC)


def _report_file(name: str, bytes: int, sha256: str) -> ReportFile:
    return ReportFile(name=unescape(name), bytes=bytes, sha256=sha256)


# How a field of each type comes back from JSON. A field of another type fails its round-trip test.
_FROM_JSON: Final[Mapping[Any, Callable[[Any], Any]]] = MappingProxyType(
    {
        str: unescape,
        int: _same,
        bool: _same,
        float: float,
        tuple[str, ...]: lambda texts: tuple(unescape(text) for text in texts),
        datetime | None: _written_moment,
        tuple[ReportFile, ...]: lambda rows: tuple(_report_file(**row) for row in rows),
    }
)


@cache
def _readers(kind: str) -> Mapping[str, Callable[[Any], Any]]:
    return {name: _FROM_JSON[hint] for name, hint in get_type_hints(_RESULTS[kind]).items() if name != "kind"}


def _to_json(value: object) -> object:
    match value:
        case str():
            return escape(value)
        case tuple():
            return [_to_json(item) for item in value]
        case ReportFile():
            return {"name": escape(value.name), "bytes": value.bytes, "sha256": value.sha256}
        case datetime():
            return moment(micros(value)).isoformat()
        case _:
            return value


def result_text(result: Result) -> str:
    """A result as one line of ASCII. What is as it is by default is left out: most of a year's results are that."""
    values = {
        field.name: _to_json(value)
        for field in fields(result)
        if (value := getattr(result, field.name)) != field.default or field.name == "kind"
    }
    return json.dumps(values, allow_nan=False, separators=(",", ":"))


def result_of(text: str) -> Result:
    """The result that `result_text` was given. Raises UnreadableRowError."""
    try:
        values = json.loads(text)
        kind = values.pop("kind")
        readers = _readers(kind)
        return _RESULTS[kind](**{name: readers[name](value) for name, value in values.items()})
    except (ValueError, KeyError, TypeError, AttributeError) as cause:
        raise UnreadableRowError(f"a result cannot be read: {text[:80]}") from cause


# --- what it proves ---------------------------------------------------------------------------------------------------

_PROVES: Final = frozenset({RunState.SUCCEEDED, RunState.PARTIAL})


def proof_text(state: RunState, result: Result | None) -> str | None:
    """What a run proves ("+" and of what) or disproves ("-"), so that it is found without reading results.

    Of a repository's audit "+100%", of a check "+" and the share it read, and of both "-" for damage; of a restore test
    the first eight digits of its snapshot after the sign. None: it proves nothing. The rules are jobs/proof.py's.
    """
    proven: str | None
    match result:
        case CheckResult():
            bad, proven = result.errors > 0, f"+{escape(result.read_data)}"
        case AuditResult():
            bad, proven = result.damaged > 0, "+100%" if result.control and result.files else None
        case RestoreTestResult():
            snapshot = escape(result.snapshot[:8])
            if result.differences:
                return f"-{snapshot}"
            bad, proven = False, f"+{snapshot}" if result.files_compared else None
        case _:
            return None
    return "-" if bad else proven if state in _PROVES else None


# --- rows -------------------------------------------------------------------------------------------------------------


def outcome_row(outcome: Outcome, finished_at: datetime | None) -> dict[str, Any]:
    """The columns of a run that its end sets."""
    failure = outcome.failure
    return {
        "state": outcome.state.value,
        "finished_at": micros_or_none(finished_at),
        "failure_kind": None if failure is None else failure.kind.value,
        "failure_message": None if failure is None else escape(failure.message),
        "note": escape(outcome.note),
        "result": None if outcome.result is None else result_text(outcome.result),
        "seconds": outcome.usage.seconds,
        "cpu_seconds": outcome.usage.cpu_seconds,
        "peak_memory": outcome.usage.peak_memory,
        "proof": proof_text(outcome.state, outcome.result),
    }


def owner_row(owner: Owner) -> dict[str, Any]:
    """The columns that say who runs a run."""
    return {
        "owner_host": escape(owner.host),
        "owner_boot": escape(owner.boot),
        "owner_pid": owner.pid,
        "owner_started": escape(owner.started),
    }


def run_row(run: RunRecord) -> dict[str, Any]:
    """A run's columns."""
    outcome = Outcome(state=run.state, failure=run.failure, note=run.note, result=run.result, usage=run.usage)
    return {
        "id": run.id,
        "job": run.job.value,
        "tenant": run.tenant,
        "policy": run.policy,
        "site": run.site,
        "vault": run.vault,
        "source_vault": run.source_vault,
        "settings_hash": run.settings_hash,
        "started_at": micros(run.started_at),
        "tool": escape(run.tool),
        "slot": run.slot,
        **owner_row(run.owner),
        **outcome_row(outcome, run.finished_at),
    }


def run_of(row: Row) -> RunRecord:
    """The run that `run_row` was given. Raises UnreadableRowError."""
    with reading(f"run {row['id']}"):
        return RunRecord(
            id=row["id"],
            job=Job(row["job"]),
            tenant=_named(row["tenant"]),
            policy=_named(row["policy"]),
            site=_named(row["site"]),
            vault=_named(row["vault"]),
            source_vault=row["source_vault"],
            settings_hash=_named(row["settings_hash"]),
            state=RunState(row["state"]),
            owner=owner_of(row),
            started_at=moment(row["started_at"]),
            finished_at=moment_or_none(row["finished_at"]),
            failure=_failure_of(row),
            note=unescape(row["note"]),
            result=None if row["result"] is None else result_of(row["result"]),
            usage=Usage(seconds=row["seconds"], cpu_seconds=row["cpu_seconds"], peak_memory=row["peak_memory"]),
            tool=_named(unescape(row["tool"])),
            slot=row["slot"],
        )


def owner_of(row: Row) -> Owner:
    """The owner that `owner_row` was given."""
    return _owner(row["owner_host"], row["owner_boot"], row["owner_pid"], row["owner_started"])


@lru_cache(maxsize=256)  # one `serve` owns what ran for months
def _owner(host: str, boot: str, pid: int, started: str) -> Owner:
    return Owner(host=unescape(host), boot=unescape(boot), pid=pid, started=unescape(started))


def _failure_of(row: Row) -> Failure | None:
    if row["failure_kind"] is None:
        return None
    return Failure(kind=FailureKind(row["failure_kind"]), message=unescape(row["failure_message"]))


def point_row(point: RecoveryPoint) -> dict[str, Any]:
    """A recovery point's columns."""
    return {
        "snapshot": point.snapshot,
        "origin": point.origin,
        "tenant": point.tenant,
        "policy": point.policy,
        "site": point.site,
        "vault": point.vault,
        "run": escape(point.run),
        "time": micros(point.time),
        "tree": point.tree,
        "seen_at": micros(point.seen_at),
        "gone_at": micros_or_none(point.gone_at),
        "complete": point.complete,
    }


def point_of(row: Row) -> RecoveryPoint:
    """The recovery point that `point_row` was given."""
    return RecoveryPoint(
        snapshot=row["snapshot"],
        origin=row["origin"],
        tenant=_named(row["tenant"]),
        policy=_named(row["policy"]),
        site=_named(row["site"]),
        vault=_named(row["vault"]),
        run=unescape(row["run"]),
        time=moment(row["time"]),
        tree=row["tree"],
        seen_at=moment(row["seen_at"]),
        gone_at=moment_or_none(row["gone_at"]),
        complete=bool(row["complete"]),
    )


def repository_row(known: KnownRepository) -> dict[str, Any]:
    """A repository's columns."""
    return {
        "tenant": known.tenant,
        "vault": known.vault,
        "config_sha256": known.config_sha256,
        "first_seen_at": micros(known.first_seen_at),
    }


def repository_of(row: Row) -> KnownRepository:
    """The repository that `repository_row` was given."""
    return KnownRepository(
        tenant=row["tenant"],
        vault=row["vault"],
        config_sha256=row["config_sha256"],
        first_seen_at=moment(row["first_seen_at"]),
    )

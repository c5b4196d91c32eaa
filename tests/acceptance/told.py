"""What a command that fails tells: one kind, one sentence, what to do next, and the exit code of the manual."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jobs.failure import TRAITS, FailureKind
from tests.acceptance.operator import Ended, Operator


@dataclass(frozen=True, kw_only=True)
class Told:
    """A failure as the command line told it. `advice` is what to do next."""

    code: int
    kind: FailureKind
    message: str
    advice: str


def refused(operator: Operator, *words: str) -> Told:
    """Run a command that must fail in one way only, and see that people are told the same as programs."""
    ended = operator.tandem("--json", *words)
    error = ended.json.get("error")
    (told,) = [_of_error(error)] if error else {_of_row(row, ended) for row in _failed(ended)}
    assert ended.code == told.code == TRAITS[told.kind].exit_code
    assert told.advice == TRAITS[told.kind].advice
    assert told.message in ended.err
    return told


def _of_error(error: dict[str, Any]) -> Told:
    return Told(
        code=error["exit_code"], kind=FailureKind(error["kind"]), message=error["message"], advice=error["advice"]
    )


def _of_row(row: dict[str, Any], ended: Ended) -> Told:
    found = row["found"]
    (advice,) = found["details"]
    return Told(
        code=ended.code, kind=FailureKind(found["value"]["kind"]), message=found["value"]["message"], advice=advice
    )


def _failed(ended: Ended) -> Iterator[dict[str, Any]]:
    """What failed, or was blocked, for a reason of its own."""
    return (row for row in rows(ended) if row["state"]["value"] in {"failed", "blocked"} and row["found"]["details"])


def rows(ended: Ended) -> list[dict[str, Any]]:
    """The rows of the one table that a command showed first: what ran, what is listed."""
    found: list[dict[str, Any]] = ended.json["sections"][0]["tables"][0]["rows"]
    return found


def states(ended: Ended) -> list[tuple[str, str, str]]:
    """Job, site and state of everything that ran, in order."""
    return [(row["job"]["value"], row["policy"]["value"]["site"], row["state"]["value"]) for row in rows(ended)]

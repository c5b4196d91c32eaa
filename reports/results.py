"""What each kind of run found out, in one line with its exact figures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import Final

from jobs.history import (
    AuditResult,
    BackupResult,
    CheckResult,
    ReplicateResult,
    ReportResult,
    RestoreResult,
    RestoreTestResult,
    RetentionResult,
    RunRecord,
    RunState,
)
from jobs.proof import short
from jobs.quantity import counted, number, size
from reports.document import ABSENT, Cell, Scalar
from reports.wording import read_share


def found(run: RunRecord) -> Cell:
    """Its result; where it failed the reason and the next step, where it did not run the note that says why."""
    if run.failure is not None:
        value: Mapping[str, Scalar] = {"kind": run.failure.kind.value, "message": run.failure.message}
        if isinstance(run.result, AuditResult):  # the message has room for the first few names alone
            value = {**value, **_audit(run.result)[1], "findings": "\n".join(run.result.findings)}
        return Cell(text=run.failure.message, value=value, details=(run.failure.advice,))
    untold = ABSENT if run.state is RunState.RUNNING else _UNTOLD
    text, figures = _said(run.result) if run.result is not None else (run.note or untold, {})
    return Cell(text=text, value=figures or None, details=(run.note,) if run.note and run.result is not None else ())


_UNTOLD: Final = "nothing was recorded"
_Said = tuple[str, dict[str, Scalar]]


@singledispatch
def _said(result: object) -> _Said:
    raise TypeError(f"no words for a result of type {type(result).__name__}")


@_said.register
def _backup(result: BackupResult) -> _Said:
    odd = ((result.changed_count, "changed meanwhile"), (result.unreadable_count, "unreadable"))
    parts = [
        counted(result.files, "file"),
        size(result.bytes),
        f"{size(result.bytes_added)} new",
        *(f"{number(amount)} {words}" for amount, words in odd if amount),
    ]
    return ", ".join(parts), {
        "snapshot": result.snapshot,
        "files": result.files,
        "bytes": result.bytes,
        "bytes_added": result.bytes_added,
        "bytes_hashed": result.bytes_hashed,
        "changed": result.changed_count,
        "unreadable": result.unreadable_count,
    }


@_said.register
def _replicate(result: ReplicateResult) -> _Said:
    odd = ((result.missing_after, "still missing"), (result.differing, "differing"))
    parts = [
        f"{number(result.copied)} copied",
        f"{number(result.already_there)} already there",
        *(f"{number(amount)} {words}" for amount, words in odd if amount),
    ]
    return ", ".join(parts), {
        "copied": result.copied,
        "already_there": result.already_there,
        "missing_after": result.missing_after,
        "differing": result.differing,
    }


@_said.register
def _audit(result: AuditResult) -> _Said:
    odd = ((result.vanished, "gone or unfinished meanwhile"), (result.passed_over, "passed over"))
    parts = [
        counted(result.files, "file"),
        f"{size(result.bytes)} read",
        f"{number(result.damaged)} damaged",
        *(f"{number(amount)} {words}" for amount, words in odd if amount),
    ]
    return ", ".join(parts), {
        "files": result.files,
        "bytes": result.bytes,
        "damaged": result.damaged,
        "vanished": result.vanished,
        "passed_over": result.passed_over,
        "control": result.control,
    }


@_said.register
def _check(result: CheckResult) -> _Said:
    text = f"read {read_share(result.read_data)}, {counted(result.errors, 'error')}"
    return text, {"read_data": result.read_data, "errors": result.errors}


@_said.register
def _restore_test(result: RestoreTestResult) -> _Said:
    text = (
        f"{short(result.snapshot)}: {counted(result.files_compared, 'file')}, {size(result.bytes_compared)} compared, "
        f"{counted(result.differences, 'difference')}"
    )
    return text, {
        "snapshot": result.snapshot,
        "files_compared": result.files_compared,
        "bytes_compared": result.bytes_compared,
        "differences": result.differences,
        "changed": result.changed,
        "not_compared": result.not_compared,
    }


@_said.register
def _retention(result: RetentionResult) -> _Said:
    removed = len(result.removed)
    if result.intended:  # it is under way, or broke off
        return f"to remove {number(len(result.intended))}", {"intended": len(result.intended)}
    return f"{number(result.kept)} kept, {number(removed)} removed", {"kept": result.kept, "removed": removed}


@_said.register
def _restore(result: RestoreResult) -> _Said:
    text = (
        f"{counted(result.files, 'file')}, {size(result.bytes)} to {result.target}, {number(result.verified)} verified"
    )
    return text, {
        "snapshot": result.snapshot,
        "target": result.target,
        "files": result.files,
        "bytes": result.bytes,
        "overwritten": result.overwritten,
        "verified": result.verified,
    }


@_said.register
def _report(result: ReportResult) -> _Said:
    written = ", ".join(f"{file.name} ({size(file.bytes)})" for file in result.files)
    kept = f"; kept what was there as {', '.join(result.kept)}" if result.kept else ""
    return f"of {result.period}: {written}{kept}", {
        "period": result.period,
        "folder": result.folder,
        "bytes": sum(file.bytes for file in result.files),
        **{f"sha256 of {file.name}": file.sha256 for file in result.files},
        **{f"kept {number}": name for number, name in enumerate(result.kept, start=1)},
    }

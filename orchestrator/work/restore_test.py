"""Restore to scratch and compare with the manifest, item by item; then plant one damaged byte, which must be found.

A comparison that could not fail would prove nothing: without finding its own damage the test is invalid, and fails.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from jobs.comparison import Comparison
from jobs.failure import Failure, FailureKind
from jobs.history import Outcome, RestoreTestResult, RunState
from jobs.manifest import decode, is_file, path_of, shown, split
from jobs.plan import Step
from jobs.policy import Policy
from jobs.snapshot import Snapshot
from orchestrator.work import points, repositories
from orchestrator.work.own import database_in
from orchestrator.work.tools import Tools, remove_tree
from targets import host
from targets.errors import TargetError
from targets.ports import Access, unwatched
from targets.sources import sqlite, tree

_FINDINGS_KEPT: Final = 100
_ROOM: Final = 64 << 20  # bytes to leave free beside what is restored


def work(run: str, step: Step, policy: Policy, tools: Tools) -> Outcome:
    """Prove the newest recovery point at `step.vault`, or the one that `step.snapshot` names. Raises TargetError."""
    of = repositories.existing(tools, step.tenant, step.vault)
    listed = repositories.ours(tools, of, policy.name)
    repositories.note_points(tools, (step.tenant, step.site, step.vault), policy.name, listed)
    point = points.chosen(listed, of.address.label, snapshot=step.snapshot)
    scratch = tools.folder("scratch", run)
    try:
        expected = points.fetch_manifest(tools, of, point, listed, scratch / "manifest")
        return _prove(point, expected, of, scratch, (policy, tools))
    finally:
        remove_tree(scratch)


def _prove(
    point: Snapshot, expected: points.Manifest, of: Access, scratch: Path, with_what: tuple[Policy, Tools]
) -> Outcome:
    policy, tools = with_what
    require_room(scratch, expected.footer.bytes, f"snapshot {point.id[:8]}")
    began = tools.clock.monotonic()
    into = scratch / "restored"
    restored = tools.engine.restore(of, point.id, into, watch=tools.watch("restore to scratch"), stop=tools.stop)
    seconds = round(tools.clock.monotonic() - began, 3)
    tree_here = Tree.scanned(scratch, "found", tools)
    seen = _result(compare(expected, tree_here), restored.errors, policy, into)
    result = replace(seen, snapshot=point.id, snapshot_time=point.time, seconds=seconds)
    failure = _failure(result, of.address.label) or _control(expected, tree_here, tools)
    state = RunState.FAILED if failure else RunState.SUCCEEDED
    if failure is None and not result.files_compared:
        state, failure = RunState.PARTIAL, _nothing_proven(result, of.address.label)
    return Outcome(state=state, failure=failure, result=result, usage=restored.usage)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """A restored folder that stands for `/`, and the file that holds its scanned lines."""

    root: Path
    lines: Path

    @classmethod
    def scanned(cls, scratch: Path, name: str, tools: Tools, *, before: Iterable[bytes] = ()) -> Self:
        """Scan `scratch/restored`; what `before` already vouches for, by its identity, is not read again."""
        tree_here = cls(root=scratch / "restored", lines=scratch / name)
        with tree_here.lines.open("wb") as file:
            file.writelines(tree.scan(points.EVERYTHING, before, stop=tools.stop, watch=unwatched, root=tree_here.root))
        return tree_here

    def found(self) -> Iterator[bytes]:
        """The scanned lines."""
        return split(points.pieces(self.lines))


def compare(expected: points.Manifest, restored: Tree) -> Comparison:
    """The differences between a manifest and a restored tree; the folders above the source are not held against it."""
    above = expected.above
    below = (line for line in restored.found() if path_of(line) not in above)
    return Comparison(expected.lines(), below, owners=os.geteuid() == 0)


def _result(comparison: Comparison, errors: tuple[str, ...], policy: Policy, restored: Path) -> RestoreTestResult:
    """What was compared, with the first findings in words; what restic could not restore counts as well."""
    findings: list[str] = []
    for difference in comparison:
        if len(findings) < _FINDINGS_KEPT:
            findings.append(difference.words)
    beyond = [f"restic: {error}" for error in errors] + _database_damage(policy, restored)
    tally = comparison.tally
    return RestoreTestResult(
        files_compared=tally.files,
        bytes_compared=tally.bytes,
        differences=tally.differences + len(beyond),
        findings=tuple((*beyond, *findings)[:_FINDINGS_KEPT]),
        changed=tally.changed,
        not_compared=tally.not_compared,
    )


def _database_damage(policy: Policy, restored: Path) -> list[str]:
    """A restored SQLite database must also be one: equal bytes of a torn copy would prove little."""
    database = database_in(policy.source)
    if database is None:
        return []
    found = restored / database.lstrip("/")
    if not found.exists():
        return []  # the comparison names it as missing
    complaint = sqlite.verify(found)
    return [f"{database}: {complaint}"] if complaint else []


def _failure(result: RestoreTestResult, label: str) -> Failure | None:
    if not result.differences:
        return None
    message = (
        f"restore from {label}: {result.differences} differences from the manifest, the first: {result.findings[0]}"
    )
    return Failure(kind=FailureKind.DIFFERENCES_FOUND, message=message)


def _nothing_proven(result: RestoreTestResult, label: str) -> Failure:
    """The report counts no such test as proof (jobs/proof.py), so the run must not look as if it were one."""
    message = f"restore from {label}: snapshot {result.snapshot[:8]} held no file to compare, so nothing was proven"
    return Failure(kind=FailureKind.NOTHING_MATCHES, message=message)


def require_room(folder: Path, needed: int, what: str) -> None:
    """Say before a restore that it cannot fit, rather than fill the disk that others need. Raises DISK_FULL."""
    free = host.free_space(folder)
    if free < needed + _ROOM:
        message = f"{what} needs {needed:,} bytes, and {free:,} are free"
        raise TargetError("restore to", str(folder), FailureKind.DISK_FULL, message)


def _control(expected: points.Manifest, restored: Tree, tools: Tools) -> Failure | None:
    """Damage one byte of what was restored, and see that the comparison finds it."""
    damaged = _damage_one(expected, restored.root)
    if damaged is None:  # the source holds no byte: a file too many takes the damaged one's part
        damaged = "/tandem-negative-control"
        (restored.root / damaged.lstrip("/")).write_bytes(b"x")
    again = Tree.scanned(restored.root.parent, "again", tools, before=restored.found())
    if any(difference.path == damaged for difference in compare(expected, again)):
        return None
    message = f"the restore test is invalid: it did not see damage planted in {shown(damaged)}"
    return Failure(kind=FailureKind.DIFFERENCES_FOUND, message=message)


def _damage_one(expected: points.Manifest, restored: Path) -> str | None:
    """Flip a bit in the middle of the first file that the comparison vouches for; give its path."""
    for line in expected.lines():
        entry = decode(line) if is_file(line) else None
        if entry is None or not entry.size or entry.changed or entry.unreadable:
            continue
        file = restored / entry.path.lstrip("/")
        _flip(file, entry.size // 2)
        return entry.path
    return None


def _flip(file: Path, position: int) -> None:
    """Only the content may differ afterwards, or the comparison might find the damage by its mode or time."""
    before = file.stat()
    file.chmod(before.st_mode & 0o7777 | 0o600)  # restored read-only, and we need not be root
    with file.open("r+b") as opened:
        opened.seek(position)
        byte = opened.read(1)[0]
        opened.seek(position)
        opened.write(bytes([byte ^ 1]))
    file.chmod(before.st_mode & 0o7777)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

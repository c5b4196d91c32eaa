"""Bring data back for a person: put together beside its place, verified, moved in; never over what is there."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from jobs import patterns
from jobs.comparison import Comparison
from jobs.failure import Failure, FailureKind
from jobs.history import Outcome, RestoreResult, RunState
from jobs.manifest import decode, path_of, shown
from jobs.policy import Policy, SiteName, VaultName
from jobs.snapshot import Snapshot
from orchestrator.work import points, repositories
from orchestrator.work.restore_test import require_room
from orchestrator.work.tools import Tools
from targets.errors import TargetError
from targets.ports import Access, unwatched
from targets.sources import tree

_TOLD: Final = 5  # names in a sentence
_FINDINGS_KEPT: Final = 100
# A point that cannot be proven is still restored, and said not to be verified: in an emergency it may be all there is.
_WITHOUT_PROOF: Final = frozenset({FailureKind.MANIFEST_MISSING, FailureKind.REPOSITORY_DAMAGED})


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a person asked for. `at` and `snapshot` choose the point; neither means the newest."""

    policy: Policy
    site: SiteName
    vault: VaultName
    target: Path
    at: datetime | None = None
    snapshot: str | None = None
    patterns: tuple[str, ...] = ()
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What the request comes to, before anything is written. Without a manifest nothing is known but the point."""

    point: Snapshot
    expected: points.Manifest | None
    wanted: Callable[[str], bool]
    files: int = 0
    bytes: int = 0
    in_the_way: tuple[str, ...] = ()  # the first of what already stands at the target
    in_the_way_count: int = 0


def staging(target: Path, run: str) -> Path:
    """Where a restore is put together: inside its target, so that moving it into place is a rename."""
    return target / f".tandem-restore-{run}"


def select(request: Request, of: Access, scratch: Path, tools: Tools) -> Selection:
    """Choose the point and count what it holds of the wanted. Raises TargetError; writes only below `scratch`."""
    policy = request.policy
    listed = repositories.ours(tools, of, policy.name)
    point = points.chosen(listed, of.address.label, snapshot=request.snapshot, at=request.at)
    wanted = patterns.compile(request.patterns) if request.patterns else _everything
    try:
        expected = points.fetch_manifest(tools, of, point, listed, scratch / "manifest")
    except TargetError as error:
        if error.kind not in _WITHOUT_PROOF:
            raise
        return Selection(point=point, expected=None, wanted=wanted)
    selection = _counted(request, Selection(point=point, expected=expected, wanted=wanted), expected.lines())
    if not selection.files:
        message = f"nothing in snapshot {point.id[:8]} matches {', '.join(request.patterns) or 'the request'}"
        raise TargetError("restore", policy.name, FailureKind.NOTHING_MATCHES, message)
    return selection


def _counted(request: Request, selection: Selection, lines: Iterable[bytes]) -> Selection:
    files = total = standing = 0
    in_the_way: list[str] = []
    for entry in map(decode, _only(selection.wanted, lines)):
        files += entry.type == "file"
        total += entry.size
        if entry.type != "dir" and os.path.lexists(_placed(request.target, entry.path)):
            standing += 1
            in_the_way += [entry.path] if len(in_the_way) < _TOLD else []
    return replace(selection, files=files, bytes=total, in_the_way=tuple(in_the_way), in_the_way_count=standing)


def work(run: str, request: Request, tools: Tools) -> Outcome:
    """Restore what was asked for. Raises TargetError: NOT_EMPTY, with nothing written, where files are in the way."""
    of = repositories.existing(tools, request.policy.tenant, request.vault)
    scratch, put_together = tools.folder("scratch", run), staging(request.target, run)
    try:
        selection = select(request, of, scratch, tools)
        _require_no_overwriting(request, selection)
        request.target.mkdir(parents=True, exist_ok=True)
        require_room(request.target, selection.bytes, f"snapshot {selection.point.id[:8]}")
        put_together.mkdir(mode=0o700)
        return _bring_back(request, selection, of, put_together, tools)
    except OSError as error:
        raise _refused(request, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(put_together, ignore_errors=True)


def _bring_back(request: Request, selection: Selection, of: Access, put_together: Path, tools: Tools) -> Outcome:
    watch, wanted = tools.watch("restore"), request.patterns
    restored = tools.engine.restore(of, selection.point.id, put_together, include=wanted, watch=watch, stop=tools.stop)
    if selection.expected is None:
        selection = _counted(request, selection, _scanned(put_together, tools))
        _require_no_overwriting(request, selection)
    verified, findings = _verify(selection, put_together, tools)
    findings += [f"restic: {error}" for error in restored.errors]
    result = RestoreResult(
        snapshot=selection.point.id,
        target=str(request.target),
        files=selection.files,
        bytes=selection.bytes,
        overwritten=move_into(put_together, request.target, overwrite=request.overwrite),
        verified=verified,
    )
    failure = _doubt(selection, findings)
    state = RunState.PARTIAL if failure else RunState.SUCCEEDED
    return Outcome(state=state, failure=failure, result=result, usage=restored.usage)


def _verify(selection: Selection, put_together: Path, tools: Tools) -> tuple[int, list[str]]:
    """Compare with the manifest, both cut to what was asked for: files found equal, and the differences in words."""
    if selection.expected is None:
        return 0, []
    expected = _only(selection.wanted, selection.expected.lines())
    found = _only(selection.wanted, _below(selection.expected.above, _scanned(put_together, tools)))
    comparison = Comparison(expected, found, owners=os.geteuid() == 0)
    differing: set[str] = set()
    findings: list[str] = []
    for difference in comparison:
        differing.add(difference.path)
        findings += [difference.words] if len(findings) < _FINDINGS_KEPT else []
    return max(0, comparison.tally.files - len(differing)), findings


def _doubt(selection: Selection, findings: list[str]) -> Failure | None:
    if selection.expected is None:
        message = "restored, but not verified: the recovery point has no readable manifest"
        return Failure(kind=FailureKind.MANIFEST_MISSING, message=message)
    if not findings:
        return None
    message = f"restored, but {len(findings)} things differ from the manifest: {'; '.join(findings[:_TOLD])}"
    return Failure(kind=FailureKind.DIFFERENCES_FOUND, message=message)


def _scanned(folder: Path, tools: Tools) -> Iterator[bytes]:
    return tree.scan(points.EVERYTHING, (), stop=tools.stop, watch=unwatched, root=folder)


def _below(above: frozenset[str], lines: Iterable[bytes]) -> Iterator[bytes]:
    return (line for line in lines if path_of(line) not in above)


def _only(wanted: Callable[[str], bool], lines: Iterable[bytes]) -> Iterator[bytes]:
    return (line for line in lines if wanted(path_of(line)))


def _everything(_path: str) -> bool:
    return True


def _placed(target: Path, path: str) -> Path:
    return target / path.lstrip("/")


def _require_no_overwriting(request: Request, selection: Selection) -> None:
    if selection.in_the_way and not request.overwrite:
        names = ", ".join(shown(str(_placed(request.target, path))) for path in selection.in_the_way)
        more = " and more" if selection.in_the_way_count > len(selection.in_the_way) else ""
        message = f"{selection.in_the_way_count} files are already there, and nothing was written: {names}{more}"
        raise TargetError("restore to", str(request.target), FailureKind.NOT_EMPTY, message)


def _refused(request: Request, error: OSError) -> TargetError:
    kind = FailureKind.DISK_FULL if error.errno == errno.ENOSPC else FailureKind.ACCESS_DENIED
    message = f"{error.strerror or error}; what was already moved into place stays there"
    return TargetError("restore to", str(request.target), kind, message)


def move_into(put_together: Path, target: Path, *, overwrite: bool) -> int:
    """Move a tree into place, entry by entry, folder by folder; give how many files were replaced.

    A folder that is not there yet is moved whole. Without `overwrite` a file that appeared meanwhile raises
    FileExistsError: the link below never replaces.
    """
    replaced = 0
    with os.scandir(put_together) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            place = target / entry.name
            if entry.is_dir(follow_symlinks=False) and place.is_dir() and not place.is_symlink():
                replaced += move_into(Path(entry.path), place, overwrite=overwrite)
            elif not os.path.lexists(place):
                Path(entry.path).rename(place)
            elif overwrite:
                _make_way(place, entry)
                Path(entry.path).replace(place)
                replaced += 1
            else:
                raise FileExistsError(errno.EEXIST, "a file appeared while it was restored", str(place))
    return replaced


def _make_way(place: Path, entry: os.DirEntry[str]) -> None:
    """A folder gives way to a file only when it is empty; a file gives way to a folder."""
    if place.is_dir() and not place.is_symlink():
        place.rmdir()
    elif entry.is_dir(follow_symlinks=False):
        place.unlink()

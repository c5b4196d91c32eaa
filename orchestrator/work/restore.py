"""Bring data back for a person: put together beside its place, verified, moved in; never over what is there."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from jobs import patterns
from jobs.comparison import Comparison
from jobs.failure import Failure, FailureKind
from jobs.history import Outcome, RestoreResult, RunState
from jobs.manifest import Entry, decode, path_of, shown
from jobs.policy import Policy, SiteName, VaultName
from jobs.snapshot import Snapshot
from orchestrator.work import points, repositories
from orchestrator.work.own import database_in
from orchestrator.work.restore_test import require_room
from orchestrator.work.tools import Tools, remove_tree
from targets.errors import TargetError
from targets.ports import Access, unwatched
from targets.sources import tree

_TOLD: Final = 5  # names in a sentence
_FINDINGS_KEPT: Final = 100
_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT))
# What SQLite keeps beside a database: left over from another one, it would be played into the restored file
# (https://www.sqlite.org/howtocorrupt.html, 1.4).
_JOURNALS: Final = ("-wal", "-shm", "-journal")
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
    entries: int = 0
    files: int = 0
    bytes: int = 0
    in_the_way: tuple[Path, ...] = ()  # the first of what already stands at the target
    in_the_way_count: int = 0
    immovable: Path | None = None  # the first of it that not even --overwrite replaces


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
    if not selection.entries:
        message = f"nothing in snapshot {point.id[:8]} matches {', '.join(request.patterns) or 'the request'}"
        raise TargetError("restore", policy.name, FailureKind.NOTHING_MATCHES, message)
    return selection


def _counted(request: Request, selection: Selection, lines: Iterable[bytes]) -> Selection:
    entries = files = total = 0
    standing = _Standing(request)
    for entry in map(decode, _only(selection.wanted, lines)):
        entries += 1
        files += entry.type == "file"
        total += entry.size
        standing.look(entry)
    return replace(
        selection,
        entries=entries,
        files=files,
        bytes=total,
        in_the_way=tuple(standing.first),
        in_the_way_count=standing.count,
        immovable=standing.immovable,
    )


class _Standing:
    """What stands at the target where entries are to go, each place counted once; entries come folder by folder."""

    def __init__(self, request: Request) -> None:
        self._target, self._journals = request.target, _journals(request.policy)
        self._folder: Path | None = None  # the last one whose way down was looked at
        self._no_folders: set[Path] = set()
        self.count = 0
        self.first: list[Path] = []
        self.immovable: Path | None = None

    def look(self, entry: Entry) -> None:
        place = _placed(self._target, entry.path)
        if entry.type == "dir":
            return self._look_down_to(place)
        self._look_down_to(place.parent)
        journals = self._journals if entry.type == "file" else ()
        for each in (place, *_beside(place, journals)):
            if os.path.lexists(each):
                self._note(each, immovable=_is_folder(each) and _is_full(each))
        return None

    def _look_down_to(self, folder: Path) -> None:
        """Every folder below the target on the way must be one, or not be there; a link leads to somewhere else."""
        if folder == self._folder or self._target not in folder.parents:
            return
        self._folder = folder
        for each in reversed([folder, *folder.parents[: folder.parents.index(self._target)]]):
            if os.path.lexists(each) and not _is_folder(each):
                if each not in self._no_folders:
                    self._no_folders.add(each)
                    self._note(each, immovable=each.is_symlink())
                return

    def _note(self, place: Path, *, immovable: bool) -> None:
        self.count += 1
        self.first += [place] if len(self.first) < _TOLD else []
        if immovable and self.immovable is None:
            self.immovable = place


def _is_folder(place: Path) -> bool:
    return not place.is_symlink() and place.is_dir()


def _is_full(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except PermissionError:  # then it is not ours to replace either
        return True


def _journals(policy: Policy) -> tuple[str, ...]:
    return _JOURNALS if database_in(policy.source) is not None else ()


def _beside(place: Path, suffixes: tuple[str, ...]) -> tuple[Path, ...]:
    return tuple(place.with_name(place.name + suffix) for suffix in suffixes)


def work(run: str, request: Request, tools: Tools) -> Outcome:
    """Restore what was asked for. Raises TargetError: NOT_EMPTY, with nothing written, where files are in the way."""
    of = repositories.existing(tools, request.policy.tenant, request.vault)
    scratch, put_together = tools.folder("scratch", run), staging(request.target, run)
    move = Move(overwrite=request.overwrite, journals=_journals(request.policy))
    try:
        selection = select(request, of, scratch, tools)
        _require_a_way(request, selection)
        with _at_the_target(request, move):
            request.target.mkdir(parents=True, exist_ok=True)
            require_room(request.target, selection.bytes, f"snapshot {selection.point.id[:8]}")
            put_together.mkdir(mode=0o700)
            return _bring_back(request, selection, (of, put_together, move), tools)
    finally:
        remove_tree(scratch)
        remove_tree(put_together)


@contextmanager
def _at_the_target(request: Request, move: Move) -> Iterator[None]:
    """A system's refusal becomes a TargetError that says how far we came."""
    try:
        yield
    except OSError as error:
        kind = FailureKind.DISK_FULL if error.errno in _FULL else FailureKind.TARGET_UNWRITABLE
        where = shown(os.fsdecode(error.filename or request.target))
        far = (
            "what was already moved into place stays there"
            if move.moved or move.replaced
            else "nothing was moved into place"
        )
        message = f"{where}: {error.strerror or error}; {far}"
        raise TargetError("restore to", str(request.target), kind, message) from error


def _bring_back(request: Request, selection: Selection, by: tuple[Access, Path, Move], tools: Tools) -> Outcome:
    of, put_together, move = by
    watch, wanted = tools.watch("restore"), request.patterns
    restored = tools.engine.restore(of, selection.point.id, put_together, include=wanted, watch=watch, stop=tools.stop)
    if selection.expected is None:
        selection = _counted(request, selection, _scanned(put_together, tools))
        _require_a_way(request, selection)
    verified, findings = _verify(selection, put_together, tools)
    findings += [f"restic: {error}" for error in restored.errors]
    move.into(put_together, request.target)
    result = RestoreResult(
        snapshot=selection.point.id,
        snapshot_time=selection.point.time,
        target=str(request.target),
        files=selection.files,
        bytes=selection.bytes,
        overwritten=move.replaced,
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


def _require_a_way(request: Request, selection: Selection) -> None:
    if selection.immovable is not None:
        message = (
            f"{shown(str(selection.immovable))} is a link or a full folder that is not replaced; nothing was written"
        )
        raise TargetError("restore to", str(request.target), FailureKind.TARGET_UNWRITABLE, message)
    if selection.in_the_way and not request.overwrite:
        names = ", ".join(shown(str(place)) for place in selection.in_the_way)
        more = " and more" if selection.in_the_way_count > len(selection.in_the_way) else ""
        message = f"{selection.in_the_way_count} files are already there, and nothing was written: {names}{more}"
        raise TargetError("restore to", str(request.target), FailureKind.NOT_EMPTY, message)


class Move:
    """Moves a tree into place, entry by entry, folder by folder; a folder that is not there yet is moved whole.

    `moved` and `replaced` count places. Without `overwrite` a file that appeared meanwhile raises FileExistsError.
    `journals` are the endings of what may not stay beside a file.
    """

    def __init__(self, *, overwrite: bool, journals: tuple[str, ...] = ()) -> None:
        self._overwrite, self._journals = overwrite, journals
        self.moved = self.replaced = 0

    def into(self, put_together: Path, target: Path) -> None:
        """Move what is in one folder into the other. Raises OSError."""
        put_together.chmod(put_together.stat().st_mode & 0o7777 | 0o700)
        with os.scandir(put_together) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                place = target / entry.name
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder and _is_folder(place):
                    self.into(Path(entry.path), place)
                    continue
                for each in _beside(place, () if is_folder else self._journals):
                    self._make_way(each, for_folder=True)
                self._make_way(place, for_folder=is_folder)
                _rename(Path(entry.path), place, is_folder=is_folder)
                self.moved += 1

    def _make_way(self, place: Path, *, for_folder: bool) -> None:
        """An empty folder gives way to a file, and a file to a folder; a file is replaced by a file in one step."""
        if not os.path.lexists(place):
            return
        if not self._overwrite:
            raise FileExistsError(errno.EEXIST, "a file appeared while it was restored", str(place))
        if _is_folder(place):
            place.rmdir()
        elif for_folder:
            place.unlink()
        self.replaced += 1


def _rename(path: Path, place: Path, *, is_folder: bool) -> None:
    """A folder that moves has its `..` rewritten, so that its owner needs the right to write to it (rename(2))."""
    mode = path.stat().st_mode & 0o7777 if is_folder else 0o700
    if mode & 0o200:
        path.replace(place)
        return
    path.chmod(mode | 0o200)
    path.replace(place)
    place.chmod(mode)

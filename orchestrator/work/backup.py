"""Back up one policy: restic stores the source while we take the manifest of it, then both are confirmed in the vault.

    repository? ─▶ restic backup ────────────────────────────────┐
    scan + hash of what is new ─▶ restic backup --stdin (waits) ─┴─▶ sweep (changed meanwhile?) ─▶ manifest ─▶ confirm

The manifest's own restic starts before it is needed and waits, because deriving the key is most of what it costs; but
not before the scan has ended, so that the first restic never shares two cores with more than one of the two.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Final

from jobs.history import BackupResult, Outcome, RecoveryPoint, Usage
from jobs.manifest import Entry, Footer, ManifestError, Reader, Writer, encode, split
from jobs.patterns import literal
from jobs.plan import Step
from jobs.policy import Command, Own, Paths, Policy, Sqlite
from jobs.snapshot import Content, manifest_name, tags
from orchestrator.work import marks, own, repositories
from orchestrator.work.tools import Tools, remove_tree
from targets.ports import Access, BackupRequest, Progress, StdinBackup, Stop, Stored
from targets.sources import command, files, sqlite, tree

_PIECE: Final = 1 << 20
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """One backup under way."""

    run: str
    step: Step
    policy: Policy
    tools: Tools
    started_at: datetime

    def tags(self, content: Content, *, stream: bool = False) -> tuple[str, ...]:
        """What every snapshot of this run bears, so that recovery can ask the repository for it."""
        return tags(policy=self.policy.name, run=self.run, content=content, stream=stream)

    def repository(self) -> Access:
        """Where it goes. Making a new one takes seconds, nearly all of them to measure how dear its key may be."""
        return repositories.existing_or_new(self.tools, self.step.tenant, self.step.vault)

    def stream(self, to: Access, filename: str, content: Content) -> StdinBackup:
        """A restic that waits for bytes, and stores them as a file in a snapshot of its own."""
        tools = self.tools
        return tools.engine.backup_stdin(to, filename, self.tags(content, stream=True), tools.host, stop=tools.stop)

    @property
    def snapshot_time(self) -> datetime:
        """What restic is told: it keeps whole seconds of it."""
        return self.started_at.replace(microsecond=0)

    @property
    def manifest_before(self) -> Path:
        """Where the newest manifest of this policy is kept, so that unchanged files are not read again."""
        return self.tools.folder("manifests") / f"{self.policy.name}.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A source made ready: what restic stores and what we scan. `root` is a staging folder that stands for `/`."""

    paths: Paths
    request: BackupRequest
    root: Path | None = None


def work(run: str, step: Step, policy: Policy, tools: Tools) -> Outcome:
    """Store the policy's source and its manifest, and make sure that both snapshots are there. Raises TargetError."""
    started_at = tools.clock.now()
    if isinstance(policy.source, Paths):
        tree.require(policy.source)
    running = Running(run=run, step=step, policy=policy, tools=tools, started_at=started_at)
    try:
        return _WORKS[type(policy.source)](running)
    finally:
        for leftover in ("manifests", "staging"):
            remove_tree(tools.workdir / leftover / run)


def _paths(running: Running) -> Outcome:
    source = running.policy.source
    assert isinstance(source, Paths)  # noqa: S101 (the table below gives this function nothing else)
    source = replace(source, exclude=(*source.exclude, *_own_below(source.paths, running.tools.own)))
    request = _request(running, source.paths, exclude=source.exclude, one_file_system=source.one_file_system)
    return _tree(running, Prepared(paths=source, request=request))


def _own_below(paths: tuple[str, ...], own: tuple[Path, ...]) -> tuple[str, ...]:
    """Patterns for what is Tandem's own inside the source: it changes while we work, and is no tenant's data.

    The ledger above all: to open and close it as a mere file would drop this process's own locks on it
    (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    inside = [each for each in own if any(each.is_relative_to(path) for path in paths)]
    return tuple(literal(str(each)) for each in inside)


def _sqlite(running: Running) -> Outcome:
    """Copy the live database into staging under its own path, and store it from there as if it stood in place."""
    source = running.policy.source
    assert isinstance(source, Sqlite)  # noqa: S101 (the table below gives this function nothing else)
    tools = running.tools
    staging = tools.folder("staging", running.run)
    inside = source.path.lstrip("/")
    sqlite.copy(Path(source.path), staging / inside, stop=tools.stop, watch=tools.watch("copy the database"))
    files.look_like(Path(source.path), staging / inside)
    request = _request(running, (inside,), directory=staging)
    return _tree(running, Prepared(paths=Paths(paths=(source.path,)), request=request, root=staging))


def _own(running: Running) -> Outcome:
    """Lay Tandem's own files out in staging, and store them from there as if they stood below `/`."""
    staging = running.tools.folder("staging", running.run)
    own.stage(running.policy, running.tools, staging)
    request = _request(running, (own.FOLDER,), directory=staging)
    return _tree(running, Prepared(paths=Paths(paths=(f"/{own.FOLDER}",)), request=request, root=staging))


def _request(running: Running, paths: tuple[str, ...], **rest: object) -> BackupRequest:
    return BackupRequest(
        paths=paths,
        tags=running.tags("data"),
        host=running.tools.host,
        time=running.snapshot_time,
        **rest,  # type: ignore[arg-type]  # (keywords of BackupRequest, named at both call sites)
    )


def _tree(running: Running, prepared: Prepared) -> Outcome:
    """Run restic and our scan side by side, then sweep, and store the manifest with the restic that waited for it."""
    tools = running.tools
    with ExitStack() as ending:
        aside = ending.enter_context(ThreadPoolExecutor(1))
        broken = Event()
        scanned = aside.submit(_scan, running, prepared, _Either(tools.stop, broken))
        ending.callback(broken.set)
        to = running.repository()
        starting = aside.submit(running.stream, to, manifest_name(running.policy.name), "manifest")
        ending.callback(_abort, starting)
        stored = tools.engine.backup(to, prepared.request, watch=tools.watch("backup"), stop=tools.stop)
        bytes_hashed = scanned.result()
        unreadable, vanished = _told_apart(stored.unreadable)
        marked = marks.Marked(vanished)
        lines = marked.passing(_swept(running, prepared))
        footer, manifest_stored = _store_manifest(running, lines, starting.result())
    result = BackupResult(
        bytes_hashed=bytes_hashed,
        changed=marks.first((*marked.changed, *vanished)),
        changed_count=marked.changed_count + len(marked.unheard_of),
        unreadable=marks.first((*marked.unreadable, *unreadable)),
        unreadable_count=max(marked.unreadable_count, len(unreadable)),
    )
    return _ended(running, (stored, manifest_stored), footer, result)


def _abort(starting: Future[StdinBackup]) -> None:
    """End the restic that waits, if it was to be started and could be."""
    if not starting.cancel() and starting.exception() is None:
        starting.result().abort()


def _scan(running: Running, prepared: Prepared, stop: Stop) -> int:
    """Write the source's lines, not yet swept, into a scratch file; give the bytes that had to be read."""
    try:
        return _scan_after(running, prepared, stop, _lines_before(running))
    except ManifestError:  # what we kept of the manifest before is damaged: then everything is read again
        return _scan_after(running, prepared, stop, ())


def _scan_after(running: Running, prepared: Prepared, stop: Stop, before: Iterable[bytes]) -> int:
    hashed = _LastSeen()
    with _scratch(running).open("wb") as scratch:
        for line in tree.scan(prepared.paths, before, stop=stop, watch=hashed, root=prepared.root):
            scratch.write(line)
    return hashed.bytes


def _lines_before(running: Running) -> Iterator[bytes]:
    """The lines of this policy's newest manifest, verified; none where there is none."""
    if running.manifest_before.exists():
        yield from Reader(_pieces(running.manifest_before))


def _swept(running: Running, prepared: Prepared) -> Iterator[bytes]:
    lines = split(_pieces(_scratch(running)))
    if prepared.root is not None:  # staged by us a moment ago: nobody else writes there
        return lines
    started_ns = (running.started_at - _EPOCH) // timedelta(microseconds=1) * 1000
    return tree.sweep(lines, started_ns=started_ns, stop=running.tools.stop)


def _store_manifest(running: Running, lines: Iterable[bytes], stream: StdinBackup) -> tuple[Footer, Stored]:
    """Send the manifest to the restic that waits, and keep a copy for the next run; only a stored one is kept."""
    writer = Writer(lines, policy=running.policy.name, run=running.run, taken_at=running.started_at)
    kept = _scratch(running).with_name("manifest")
    with kept.open("wb") as copy:
        for piece in writer:
            stream.write(piece)
            copy.write(piece)
    stored = stream.finish()
    kept.replace(running.manifest_before)
    return writer.footer, stored


def _command(running: Running) -> Outcome:
    """Store what the command writes; unless it exits with 0, restic is ended before it can make a snapshot."""
    source, tools = running.policy.source, running.tools
    assert isinstance(source, Command)  # noqa: S101 (the table below gives this function nothing else)
    with ExitStack() as ending:
        to = running.repository()
        stream = running.stream(to, source.filename, "data")
        ending.callback(stream.abort)
        beside = running.stream(to, manifest_name(running.policy.name), "manifest")
        ending.callback(beside.abort)
        output = command.Output(
            source.command,
            stop=tools.stop,
            watch=tools.watch("backup"),
            limits=tools.limits,
            withheld=tools.withheld,
        )
        for piece in output:
            stream.write(piece)
        stored = stream.finish()
        entry = Entry(path=f"/{source.filename}", type="file", size=output.size, sha256=output.sha256)
        footer, manifest_stored = _store_manifest(running, [encode(entry)], beside)
    return _ended(running, (stored, manifest_stored), footer, BackupResult(bytes_hashed=output.size))


_WORKS: Final = {Paths: _paths, Sqlite: _sqlite, Command: _command, Own: _own}


def _ended(running: Running, stored: tuple[Stored, Stored], footer: Footer, seen: BackupResult) -> Outcome:
    """Confirm both snapshots in the vault, note the recovery point, and say how it went."""
    tools, step = running.tools, running.step
    data, beside = repositories.confirm(tools, step.tenant, step.vault, [each.snapshot for each in stored])
    partial = seen.unreadable_count > 0
    tools.ledger.arrive([_point(running, data, complete=not partial)])
    result = replace(
        seen,
        snapshot=data,
        manifest_snapshot=beside,
        snapshot_time=running.snapshot_time,
        files=footer.files,
        bytes=footer.bytes,
        bytes_added=stored[0].bytes_added,
    )
    return replace(marks.outcome(result), usage=_sum(stored[0].usage, stored[1].usage))


def _point(running: Running, snapshot: str, *, complete: bool) -> RecoveryPoint:
    step = running.step
    return RecoveryPoint(
        snapshot=snapshot,
        origin=snapshot,
        tenant=step.tenant,
        policy=step.policy,
        site=step.site,
        vault=step.vault,
        run=running.run,
        time=running.snapshot_time,
        tree="",  # only a listing tells; the next one does
        seen_at=running.tools.clock.now(),
        complete=complete,
    )


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        seconds=max(one.seconds, other.seconds),
        cpu_seconds=one.cpu_seconds + other.cpu_seconds,
        peak_memory=one.peak_memory + other.peak_memory,  # they run side by side
    )


def _told_apart(unreadable: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What restic could not read and still stands there, and what was only gone before it came to read it."""
    there = tuple(path for path in unreadable if os.path.lexists(path))
    return there, tuple(path for path in unreadable if path not in there)


def _scratch(running: Running) -> Path:
    return running.tools.folder("manifests", running.run) / "scanned"


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE):
            yield piece


class _LastSeen:
    """A listener that keeps the newest count of bytes."""

    def __init__(self) -> None:
        self.bytes = 0

    def __call__(self, progress: Progress) -> None:
        self.bytes = progress.bytes_done


class _Either:
    """Set when either of two is."""

    def __init__(self, one: Stop, other: Stop) -> None:
        self._one, self._other = one, other

    def is_set(self) -> bool:
        return self._one.is_set() or self._other.is_set()

"""Choose a recovery point among the listed snapshots, and fetch the manifest that was stored beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from jobs.failure import FailureKind
from jobs.manifest import Footer, ManifestError, Reader, order, path_of
from jobs.policy import Paths, PolicyName
from jobs.snapshot import Snapshot, age, manifest_name
from orchestrator.work.tools import Tools
from targets.errors import TargetError
from targets.ports import Access

_PIECE: Final = 1 << 20
EVERYTHING: Final = Paths(paths=("/",))  # of a restored folder that stands for `/`


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A verified manifest in a scratch file, with its footer and the topmost paths that it tells of."""

    file: Path
    footer: Footer
    roots: tuple[str, ...]

    def lines(self) -> Iterator[bytes]:
        """The lines, one by one."""
        return iter(Reader(pieces(self.file)))

    @property
    def above(self) -> frozenset[str]:
        """The folders above the roots: a restore makes them, though the source's manifest does not tell of them."""
        parents: set[str] = {"/"}
        for root in self.roots:
            parts = root.split("/")
            parents.update("/".join(parts[:depth]) for depth in range(2, len(parts)))
        return frozenset(parents)


def chosen(
    listed: Sequence[Snapshot], label: str, *, snapshot: str | None = None, at: datetime | None = None
) -> Snapshot:
    """The newest data snapshot; or the newest not after `at`; or the one whose id (here or at its origin) begins so.

    Raises TargetError SNAPSHOT_MISSING or NOTHING_MATCHES.
    """
    data = [each for each in listed if each.content == "data"]
    if not data:
        raise _none(label, FailureKind.SNAPSHOT_MISSING, "it holds no recovery point of this policy")
    if snapshot is not None:
        data = [each for each in data if each.id.startswith(snapshot) or each.origin.startswith(snapshot)]
        if len(data) != 1:
            raise _none(label, FailureKind.NOTHING_MATCHES, f"{len(data)} recovery points begin with {snapshot!r}")
    if at is not None:
        data = [each for each in data if each.time <= at]
        if not data:
            raise _none(
                label, FailureKind.NOTHING_MATCHES, f"its oldest recovery point is after {at:%Y-%m-%d %H:%M} UTC"
            )
    return max(data, key=age)


def _none(label: str, kind: FailureKind, message: str) -> TargetError:
    return TargetError("choose a recovery point of", f"repository {label}", kind, message)


def fetch_manifest(tools: Tools, of: Access, point: Snapshot, listed: Sequence[Snapshot], into: Path) -> Manifest:
    """The manifest of the point's run, dumped from the same repository into a scratch file, and verified.

    Raises TargetError: MANIFEST_MISSING where the run has none, REPOSITORY_DAMAGED where it does not verify.
    """
    found = [each for each in listed if each.content == "manifest" and each.run == point.run]
    if not found or point.policy is None:
        message = f"snapshot {point.id[:8]} has no manifest in the repository"
        raise TargetError(
            "fetch manifest from", f"repository {of.address.label}", FailureKind.MANIFEST_MISSING, message
        )
    name = manifest_name(PolicyName(point.policy))
    with into.open("wb") as file:
        for piece in tools.engine.dump(of, found[-1].id, f"/{name}", stop=tools.stop):
            file.write(piece)
    try:
        return _verified(into)
    except ManifestError as error:
        raise TargetError(
            "read manifest from", f"repository {of.address.label}", FailureKind.REPOSITORY_DAMAGED, str(error)
        ) from error


def _verified(file: Path) -> Manifest:
    reader = Reader(pieces(file))
    roots: list[str] = []
    for line in reader:
        path = path_of(line)
        if not roots or not order(path).startswith(order(roots[-1]).rstrip("\0") + "\0"):
            roots.append(path)
    return Manifest(file=file, footer=reader.footer, roots=tuple(roots))


def pieces(file: Path) -> Iterator[bytes]:
    """A file's bytes, 1 MiB at a time."""
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE):
            yield piece

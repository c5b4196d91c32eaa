"""What every job's work is handed: the engine, the vaults, the ledger, the clock, where to write, when to stop."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import tzinfo
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Final

from jobs.failure import FailureKind
from jobs.history import KnownRepository
from jobs.policy import TenantName, VaultName
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from targets.errors import TargetError
from targets.ports import BackupEngine, Stop, Vault, Watch
from targets.process import Limits
from targets.secret import Secret

_FULL: Final = frozenset((ENOSPC, EDQUOT))


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """One command's tools. `watch` gives a progress listener for a named piece of work."""

    engine: BackupEngine
    vaults: Mapping[VaultName, Vault]
    password: Callable[[TenantName], Secret]
    ledger: Ledger
    clock: Clock
    stop: Stop
    watch: Callable[[str], Watch]
    workdir: Path
    own: tuple[Path, ...]  # what no backup may hold: the workdir, and the ledger's files (see backup.py)
    zone: tzinfo
    limits: Limits  # of one run of a tool, and of a source's command
    withheld: frozenset[str]  # environment variables that hold secrets: no source's command is shown them
    host: str
    # What a person gave up, as the ledger knew it: another is made in its place, also in a vault that looks away.
    lost: Mapping[tuple[TenantName, VaultName], KnownRepository | None] = field(default_factory=dict)
    settings_files: tuple[Path, ...] = ()  # absolute, the main one first; none of them holds a secret

    @contextmanager
    def own_files(self) -> Iterator[None]:
        """Around work that writes scratch of our own: a full disk below the workdir becomes a TargetError DISK_FULL."""
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise
            message = f"{error.strerror}, where Tandem keeps what it is working on"
            raise TargetError("write below", str(self.workdir), FailureKind.DISK_FULL, message) from error

    def folder(self, *names: str) -> Path:
        """A folder below the workdir, made private to this user."""
        folder = self.workdir.joinpath(*names)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder


def remove_tree(tree: Path) -> None:
    """Remove a tree of our own, also where restored modes close its folders to us (0555); no link is followed.

    What the system refuses all the same, such as another owner's, stays: the next recovery comes back to it.
    """
    shutil.rmtree(tree, ignore_errors=True)
    if tree.is_dir() and not tree.is_symlink():
        _open_folders(tree)
        shutil.rmtree(tree, ignore_errors=True)


def _open_folders(tree: Path) -> None:
    with suppress(OSError):
        tree.chmod(0o700)
    for above, folders, _files in os.walk(tree):  # a folder is listed only after its turn here
        for folder in (Path(above, name) for name in folders):
            if not folder.is_symlink():
                with suppress(OSError):
                    folder.chmod(0o700)

"""What every job's work is handed: the engine, the vaults, the ledger, the clock, where to write, when to stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

from jobs.policy import TenantName, VaultName
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from targets.ports import BackupEngine, Stop, Vault, Watch
from targets.secret import Secret


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
    zone: tzinfo
    host: str

    def folder(self, *names: str) -> Path:
        """A folder below the workdir, made private to this user."""
        folder = self.workdir.joinpath(*names)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

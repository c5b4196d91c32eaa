"""The smallest way to run the real restic on an address that a vault gave."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from targets.ports import RepositoryAddress

PASSWORD = "a tenant's password"


@dataclass(frozen=True, kw_only=True)
class Restic:
    """A restic program, and a folder for what it needs."""

    program: Path
    folder: Path

    def run(self, address: RepositoryAddress, *words: str, source: RepositoryAddress | None = None) -> str:
        """Standard output; fails the test, with standard error, when restic fails."""
        done = self.tried(address, *words, source=source)
        assert done.returncode == 0, f"restic {words}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def tried(
        self, address: RepositoryAddress, *words: str, source: RepositoryAddress | None = None
    ) -> subprocess.CompletedProcess[str]:
        """As `run`, but a failure is for the test to judge."""
        environment = self._environment(address, "RESTIC_")
        options = list(address.options)
        if source is not None:
            environment |= self._environment(source, "RESTIC_FROM_")
            options += [option for option in source.options if option not in options]
        command = [str(self.program), *(word for option in options for word in ("-o", option)), *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    def _environment(self, address: RepositoryAddress, prefix: str) -> dict[str, str]:
        file = self.folder / f"{prefix}{address.label}"
        file.touch(mode=0o600)
        file.write_text(address.url.reveal())
        path = [*map(str, address.path_first), os.environ["PATH"]]
        return {
            "PATH": os.pathsep.join(path),
            "HOME": str(self.folder),
            "RESTIC_CACHE_DIR": str(self.folder / "cache"),
            f"{prefix}REPOSITORY_FILE": str(file),
            f"{prefix}PASSWORD": PASSWORD,
            **{name: value.reveal() for name, value in address.environment.items()},
        }

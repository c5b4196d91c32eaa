"""restic without Tandem: what our own reading of the world is held to."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.repositories import prepare

PASSWORD = "of a repository that lives for one test"


@dataclass(frozen=True, kw_only=True, slots=True)
class BareRestic:
    """One repository and the program that opens it. Its clock runs in UTC."""

    program: Path
    repository: Path

    def run(self, *arguments: str | bytes, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run one command to its end, whatever that is."""
        environment = {
            **os.environ,
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_PASSWORD": PASSWORD,
            "TZ": "UTC",
        }
        command = [bytes(self.program), *map(os.fsencode, arguments)]
        return subprocess.run(
            command, env=environment, cwd=cwd, capture_output=True, text=True, errors="surrogateescape", check=False
        )

    def do(self, *arguments: str | bytes, cwd: Path | None = None) -> str:
        """Run one command that must succeed."""
        done = self.run(*arguments, cwd=cwd)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def init(self) -> BareRestic:
        """Make the repository."""
        prepare(self.repository, PASSWORD)
        return self

    @property
    def version(self) -> tuple[int, int]:
        """Such as (0, 14)."""
        major, minor, *_ = self.run("version").stdout.split()[1].split(".")
        return int(major), int(minor)

    def backup(self, *arguments: str | bytes, cwd: Path | None = None) -> str:
        """Store paths and return the snapshot's id."""
        said = self.do("backup", "--json", *arguments, cwd=cwd)
        return str(json.loads(said.splitlines()[-1])["snapshot_id"])

    def nodes(self, snapshot: str) -> Mapping[str, Mapping[str, Any]]:
        """What the snapshot holds, by path. Needs names that are UTF-8: restic's JSON has no others."""
        lines: Iterable[Any] = map(json.loads, self.do("ls", "--json", snapshot).splitlines())
        return {line["path"]: line for line in lines if line["struct_type"] == "node"}

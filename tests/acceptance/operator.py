"""An operator with two sites in a folder of the test: settings, secrets, sources, and the command line as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance.forked import ROOT, Forked, can_fork
from tests.repositories import prepare
from tests.two_sites import settings

PASSWORD = "a password that no test prints"

_FILES = '\n[policies.files]\nsource = {{ paths = ["source"] }}\n'
SETTINGS = settings("Test operator", {"minfopra": "Ministry"}, "last = 2, minimum = 1") + _FILES


@dataclass(frozen=True)
class Ended:
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document that --json promises."""
        return json.loads(self.out)


@dataclass
class Operator:
    """Settings below `folder`, and a way to run `tandem` on them. `environment` is added to every command's.

    With `forks`, a command starts at once (see forked.py); without, as `python main.py` in an interpreter of its own.
    """

    folder: Path
    restic: Path
    settings: str = SETTINGS
    environment: dict[str, str] = field(default_factory=dict)
    forks: bool = os.environ.get("FORKS") != "no"

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write_settings(self.settings)
        key = self.folder / "minfopra.key"
        key.write_text(PASSWORD)
        key.chmod(0o600)
        self.write("a.txt", "first\n")
        self.write("deep/er/b.bin", "x" * 70_000)
        self.write("deep/c.txt", "third\n")

    def write_settings(self, text: str) -> None:
        """Replace settings.toml; `{restic}` in it is the restic under test."""
        self.settings = text
        (self.folder / "settings.toml").write_text(text.format(restic=self.restic))

    @property
    def source(self) -> Path:
        """The folder that policy `files` backs up."""
        return self.folder / "source"

    def write(self, name: str, text: str) -> Path:
        """Put a file into the source."""
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def with_repositories(self, *vaults: str) -> Operator:
        """Have the tenant's repository in these local vaults, empty and quick to open; by itself Tandem makes it."""
        for vault in vaults or ("primary", "secondary"):
            prepare(self.folder / vault / "minfopra", PASSWORD)
        return self

    def command(self, *words: str) -> list[str]:
        """The command line as a person would type it."""
        return [sys.executable, str(ROOT / "main.py"), "--settings", str(self.folder / "settings.toml"), *words]

    def variables(self) -> dict[str, str]:
        """The environment of a command."""
        return {**os.environ, **self.environment}

    def tandem(self, *words: str, timeout: float = 120) -> Ended:
        """Run one command to its end. Nothing it prints may hold the password."""
        with self.start(*words) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except BaseException:
                process.kill()
                raise
        assert PASSWORD not in out + err
        assert "Traceback" not in err, err
        return Ended(process.returncode, out, err)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start one command and leave it running; the test waits for it or ends it."""
        if {"backup", "run"} & set(words):
            self._await_another_second()
        command, environment = self.command(*words), self.variables()
        forks = self.forks and can_fork(command, environment)
        return (Forked if forks else subprocess.Popen[str])(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    def _await_another_second(self) -> None:
        """restic keeps whole seconds: of two recovery points of one second nobody could say which is the newer."""
        ledgers = (path.stat().st_mtime for name in ("", "*/") for path in self.folder.glob(f"{name}tandem.db*"))
        left = int(max(ledgers, default=0)) + 1 - time.time()
        if 0 < left <= 1:
            time.sleep(left)

    def bare(self, vault: str, *words: str) -> subprocess.CompletedProcess[str]:
        """restic without Tandem, on the tenant's repository in a local vault."""
        environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": str(self.folder / "bare-cache")}
        argv = [str(self.restic), "-r", str(self.folder / vault / "minfopra"), *words]
        return subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=120, check=False)

    def snapshots(self, vault: str) -> list[dict[str, Any]]:
        """What bare restic lists of data snapshots, oldest first."""
        done = self.bare(vault, "snapshots", "--json", "--no-lock")
        assert done.returncode == 0, done.stderr
        listed: list[dict[str, Any]] = json.loads(done.stdout) or []
        return [each for each in listed if "content=data" in each.get("tags", [])]

    def locks(self, vault: str) -> list[Path]:
        """The lock files in a local vault."""
        names = "?" * 64  # what has a longer one is half-written, and locks nothing
        return sorted((self.folder / vault / "minfopra" / "locks").glob(names))


def until(condition: Any, *, seconds: float = 30) -> None:
    """Wait for something that must come; polls, and fails loudly."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what the test waited for did not come"
        time.sleep(0.01)

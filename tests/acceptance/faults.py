"""What the fault tests share: a restic that waits where a test says, small disks, and what may never be left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobs.history import RecoveryPoint, RunRecord
from orchestrator.ledger.ledger import Ledger
from tests.acceptance.operator import Ended, Operator, until

NOW = datetime(2026, 1, 1, tzinfo=UTC)  # only names a copy, should a ledger have to be upgraded
MIB = 1 << 20


def noise(path: Path, mebibytes: float) -> Path:
    """A file that nothing can compress; the same on every run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(path.name).randbytes(int(mebibytes * MIB)))
    return path


def done(operator: Operator, *words: str) -> Ended:
    """Run a command that must succeed."""
    how = operator.tandem(*words)
    assert how.code == 0, how.out + how.err
    return how


def settle(operator: Operator) -> Operator:
    """Two recovery points at the first site, the older one at both; each later job has some MiB to move."""
    operator.write_settings(operator.settings.replace("last = 2", "last = 1"))
    goes, _ = noise(operator.source / "big/goes", 4), noise(operator.source / "big/stays", 4)
    done(operator, "backup", "files")
    done(operator, "replicate", "files")
    goes.unlink()
    noise(operator.source / "big/comes", 4)
    done(operator, "backup", "files")
    return operator


def runs(operator: Operator, file: str = "tandem.db") -> tuple[RunRecord, ...]:
    """What is on record, newest first."""
    with Ledger.open(f"sqlite:///{operator.folder / file}", create=False, now=NOW) as ledger:
        return ledger.runs()


def points(operator: Operator, vault: str) -> tuple[RecoveryPoint, ...]:
    """The recovery points that are on record for a vault, oldest first."""
    with Ledger.open(f"sqlite:///{operator.folder / 'tandem.db'}", create=False, now=NOW) as ledger:
        return ledger.points(vault=vault)


def family(process: subprocess.Popen[Any]) -> list[psutil.Process]:
    """Everything that a running command has started."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def restics(process: subprocess.Popen[Any], word: str) -> list[psutil.Process]:
    """The restic processes of a running command that have `word` among their arguments."""
    return [child for child in family(process) if word in _words(child) and "setpriv" not in _words(child)]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def ended(process: subprocess.Popen[str], timeout: float = 60) -> tuple[int, str, str]:
    """Wait for a command: exit code and both outputs."""
    out, err = process.communicate(timeout=timeout)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def kill(process: subprocess.Popen[str]) -> None:
    """kill -9, and see that no restic outlives it for long. A source's own children are not told, and ended here."""
    children = family(process)
    engines = [child for child in children if "restic" in child.name()]
    process.kill()
    process.wait(60)
    _, alive = psutil.wait_procs(engines, timeout=10)
    for left in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
    ended(process)
    assert not alive, f"outlived a killed Tandem: {alive}"


def kill_restic(process: subprocess.Popen[str], word: str) -> None:
    """kill -9 of the one restic of a running command that has `word` among its arguments."""
    until(lambda: process.poll() is not None or restics(process, word))
    (engine,) = restics(process, word)
    os.kill(engine.pid, signal.SIGKILL)


def leftovers(operator: Operator, *places: Path) -> list[Path]:
    """What a run kept for itself and should have removed: scratch, staging, drafts, in the workdir and in `places`."""
    work = operator.folder / "work"
    own = [path for name in ("scratch", "staging") for path in (work / name).glob("*")]
    own += [path for path in (work / "manifests").glob("*") if path.is_dir()]
    own += [path for path in (work / "cache").glob("restic-check-cache-*")]
    return own + [path for place in places for path in place.rglob(".tandem-restore-*")]


def assert_sound(operator: Operator, *vaults: str) -> None:
    """No lock is left, and bare restic reads every byte without a complaint."""
    for vault in vaults:
        assert not operator.locks(vault), f"a lock was left in {vault}"
        checked = operator.bare(vault, "check", "--read-data")
        assert checked.returncode == 0, checked.stdout + checked.stderr


@dataclass(frozen=True)
class Gate:
    """A point at which restic waits: `reached` once it has come there, until `open` is called."""

    folder: Path

    def is_reached(self) -> bool:
        """Whether restic waits there."""
        return (self.folder / "reached").exists()

    def wait(self) -> None:
        """Wait until restic has come there."""
        until(self.is_reached)

    def open(self) -> None:
        """Let it go on."""
        (self.folder / "open").touch()


def hooked(operator: Operator, match: str, *, before: str = "", after: str = "") -> None:
    """Put a script in restic's place that runs shell commands before or after the calls whose arguments hold `match`.

    Before them the script becomes restic itself, with the same process id; after them it is restic's parent.
    """
    script = operator.folder / "restic-with-a-hook"
    last = f'"{operator.restic}" "$@"; code=$?; {after}; exit $code' if after else before
    script.write_text(f'#!/bin/sh\ncase " $* " in *"{match}"*) {last};; esac\nexec "{operator.restic}" "$@"\n')
    script.chmod(0o755)
    _program(operator, script)


def unhooked(operator: Operator) -> None:
    """Put the real restic back."""
    _program(operator, operator.restic)


def _program(operator: Operator, program: Path) -> None:
    (operator.folder / "settings.toml").write_text(operator.settings.format(restic=program))


def gate(operator: Operator, match: str, *, after: bool = False, first: str = ":") -> Gate:
    """Have restic wait before (or after) what `match` chooses, and before that have the shell do `first`."""
    folder = operator.folder / "gate"
    folder.mkdir()
    wait = f'{first}; touch "{folder}/reached"; while [ ! -e "{folder}/open" ]; do sleep 0.05; done'
    hooked(operator, match, after=wait) if after else hooked(operator, match, before=wait)
    return Gate(folder)


def limited(operator: Operator, vault: str, **rates: str) -> None:
    """Slow one vault's transfers down, for the commands that follow."""
    words = ", ".join(f'{name} = "{rate}"' for name, rate in rates.items())
    slow = operator.settings.replace(f'path = "{vault}"', f'path = "{vault}"\nlimit = {{{{ {words} }}}}')
    (operator.folder / "settings.toml").write_text(slow.format(restic=operator.restic))


@contextmanager
def small_disk(place: Path, mebibytes: int) -> Iterator[Path]:
    """A file system of its own at `place`, a folder that is made where it is not there; what is in it stays in it."""
    aside = place.with_name(f"{place.name}-before")
    if place.exists():
        place.rename(aside)
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=755", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("root may not mount a tmpfs here")  # as in a container
    try:
        if aside.exists():
            shutil.copytree(aside, place, dirs_exist_ok=True, symlinks=True)
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path, *, leave: int = 0) -> Path:
    """Write a file that takes what is free there but for `leave` bytes; remove it to free the space."""
    ballast = place / "ballast"
    with ballast.open("wb") as file:
        until(lambda: _takes_all(file.fileno(), place, leave))
    return ballast


def _takes_all(file: int, place: Path, leave: int) -> bool:
    """Whether what was free a moment ago still is: others may write there too."""
    status = os.statvfs(place)
    try:
        os.posix_fallocate(file, 0, status.f_bavail * status.f_frsize - leave)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        os.ftruncate(file, 0)
        return False
    return True

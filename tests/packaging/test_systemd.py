"""The systemd unit: systemd itself finds it correct and well enclosed, and it fits what the program does."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from jobs import failure
from orchestrator.cli.parser import build
from orchestrator.settings.values import Serve

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "packaging" / "systemd"
UNIT: Final = (FOLDER / "tandem.service").read_text(encoding="utf-8")
PROGRAM: Final = "/usr/bin/tandem"
EXPOSURE: Final = 25  # tenths, as systemd-analyze counts: 2.5 of 10, which it calls OK
SECONDS: Final = {"s": 1, "min": 60}


def setting(name: str) -> str:
    """A setting's only value."""
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT, re.M)
    return str(value)


def span(name: str) -> timedelta:
    found = re.fullmatch(r"(\d+)(s|min)", setting(name))
    assert found
    return timedelta(seconds=int(found[1]) * SECONDS[found[2]])


def systemd(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on this machine")
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there, as systemd demands of it."""
    program = shutil.which("true")
    assert program
    path = tmp_path / "tandem.service"
    path.write_text(UNIT.replace(PROGRAM, program), encoding="utf-8")
    return path


def test_systemd_finds_no_mistake(unit: Path) -> None:
    said = systemd("systemd-analyze", "verify", "--man=no", str(unit))
    assert (said.returncode, said.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("KillMode=mixed", "KillMode=gently"))
    assert "gently" in systemd("systemd-analyze", "verify", "--man=no", str(unit)).stderr


def test_systemd_finds_it_well_enclosed(unit: Path) -> None:
    words = ("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE}")
    said = systemd("systemd-analyze", *words, str(unit))
    assert said.returncode == 0, said.stdout.splitlines()[-1:]
    unit.write_text(
        re.sub(r"^(ProtectSystem|SystemCallFilter|CapabilityBoundingSet)=.*$", "", unit.read_text(), flags=re.M)
    )
    assert systemd("systemd-analyze", *words, str(unit)).returncode != 0


def test_its_user_and_its_folders_are_those_that_are_made(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "sysusers.conf", tmp_path / "tandem.conf")
    said = systemd("systemd-sysusers", f"--root={tmp_path}", "--dry-run", str(tmp_path / "tandem.conf"))
    assert said.returncode == 0, said.stderr
    assert setting("User") in (FOLDER / "sysusers.conf").read_text().split()
    made = re.findall(r"^d (\S+)", (FOLDER / "tmpfiles.conf").read_text(), re.M)
    settings_file = setting("ExecStart").split()[2]
    assert str(Path(settings_file).parent) in made


def test_what_it_starts_is_a_command_of_ours() -> None:
    program, *words = setting("ExecStart").split()
    assert program == PROGRAM
    assert build().parse_args(words).verb == "serve"


def test_it_is_not_started_again_where_that_cannot_help() -> None:
    never = {int(code) for code in setting("RestartPreventExitStatus").split()}
    assert never == {failure.USAGE, failure.SETTINGS_INVALID}  # what a person must change; all else may pass


def test_there_is_time_to_end_well() -> None:
    assert span("TimeoutStopSec") >= Serve().shutdown_grace * 2  # once for the runs, once for what is being recovered
    assert span("WatchdogSec") >= timedelta(minutes=1)


def test_it_may_read_everything_and_do_nothing_else() -> None:
    assert setting("CapabilityBoundingSet") == setting("AmbientCapabilities") == "CAP_DAC_READ_SEARCH"


def test_what_tandem_needs_is_left_to_it() -> None:
    """Each of these would break something that only shows at night; the unit's last comment says what."""
    for name in ("RestrictSUIDSGID", "ProcSubset", "ProtectProc"):
        assert not re.search(rf"^{name}=", UNIT, re.M)
    assert not re.search(r"^SystemCallFilter=~", UNIT, re.M)

"""The script shows what it says, in order, stops at the first wrong ending, and never leaves its folder."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from jobs.failure import BUSY_OR_LOCKED, DONE, INTERNAL, JOB_FAILED, PARTIAL, USAGE
from orchestrator.demo import material, office, pensions, script
from orchestrator.demo.stage import NotADemoError, Stage, clear, damaged_settings, insist
from orchestrator.settings import load

SMALL = material.Scale(files=60, bytes=5_000_000, pensioners=2_000, patients=12)
SHIPPED = Path(__file__).resolve().parents[3] / "settings.toml"


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """The shipped settings in a folder of their own, as a clone has them."""
    return Path(shutil.copy(SHIPPED, tmp_path / "settings.toml"))


@dataclass
class Tandem:
    """Stands where the command line stands: keeps what it was told, leaves what a run leaves, ends as it is told to."""

    stage: Stage
    endings: dict[str, int] = field(default_factory=dict)
    told: list[tuple[str, ...]] = field(default_factory=list)
    payments: list[int] = field(default_factory=list)

    def __call__(self, words: Sequence[str]) -> int:
        _, settings, verb, *_ = words
        self.told.append(tuple(words))
        if verb == "run":
            self.payments.append(self._wait_for_payments())
            _leave_a_vault(self.stage)
        found = JOB_FAILED if Path(settings).name == "damaged.toml" else DONE
        return self.endings.get(verb, found)

    def _wait_for_payments(self) -> int:
        """How many there are once there are more than at the run before; as many as ever after half a minute."""
        before = max(self.payments, default=0)
        for _ in range(600):
            if (count := pensions.payments(self.stage.pensions)) > before:
                return count
            time.sleep(0.05)
        return before


def _leave_a_vault(stage: Stage) -> None:
    pack = stage.repository("secondary", "minfopra") / "data" / "ab" / "abcd"
    pack.parent.mkdir(parents=True, exist_ok=True)
    pack.write_bytes(os.urandom(5000) + (32 + 41).to_bytes(4, "little"))
    with closing(sqlite3.connect(stage.ledger)) as ledger:
        ledger.execute("CREATE TABLE IF NOT EXISTS run (id TEXT)")


def test_every_step_is_announced_with_its_command_and_the_report_comes_last(settings: Path) -> None:
    stage, said = Stage.beside(settings), list[str]()
    tandem = Tandem(stage)
    assert script.run(settings, tandem, said.append, SMALL) == DONE
    text = "\n".join(said)
    assert text.splitlines()[-1] == str(stage.report)
    steps = re.findall(r"^\[(\d+)/(\d+)\]", text, re.MULTILINE)
    assert [int(number) for number, _ in steps] == list(range(1, int(steps[0][1]) + 1))
    assert text.count("$ tandem ") == len(tandem.told) == len(steps) - 1
    assert [words[2] for words in tandem.told] == ["run", "run", "check", "test-restore", "report", "report"]


def test_the_database_is_written_to_from_the_first_run_to_the_second(settings: Path) -> None:
    tandem = Tandem(Stage.beside(settings))
    script.run(settings, tandem, lambda _: None, SMALL)
    assert tandem.payments[1] > tandem.payments[0] > 0
    assert pensions.agrees(tandem.stage.pensions)


def test_the_damaged_copy_is_a_copy(settings: Path) -> None:
    stage = Stage.beside(settings)
    script.run(settings, Tandem(stage), lambda _: None, SMALL)
    here, there = (stage.repository(vault, "minfopra") / "data/ab/abcd" for vault in ("secondary", "damaged"))
    assert here.read_bytes() != there.read_bytes()
    assert here.stat().st_ino != there.stat().st_ino
    with closing(sqlite3.connect(stage.damaged_ledger)) as ledger:
        assert ledger.execute("SELECT count(*) FROM run").fetchone() == (0,)


def test_what_is_printed_for_the_hand_is_a_shell_s_own_language(settings: Path) -> None:
    said: list[str] = []
    script.run(settings, Tandem(Stage.beside(settings)), said.append, SMALL)
    commands = [line for line in "\n".join(said).splitlines() if line.startswith("    ") and "$ tandem" not in line]
    typed = "\n".join(line for line in commands if re.match(r" +(export|restic|trees|diff)", line))
    assert typed.count("check --read-data") == 4
    assert subprocess.run(["bash", "-n"], input=typed, text=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("verb", "ending", "told"), [("run", PARTIAL, 1), ("check", DONE, 3), ("test-restore", DONE, 4), ("report", 5, 5)]
)
def test_a_wrong_ending_is_the_end(settings: Path, verb: str, ending: int, told: int) -> None:
    """Damage that a check does not find (0) is the one success that must not pass as one."""
    tandem = Tandem(Stage.beside(settings), endings={verb: ending})
    assert script.run(settings, tandem, lambda _: None, SMALL) == (ending or INTERNAL)
    assert len(tandem.told) == told


def test_what_an_earlier_demonstration_left_is_made_anew(settings: Path) -> None:
    stage = Stage.beside(settings)
    (stage.folder / "primary").mkdir(parents=True)
    (stage.folder / "primary" / "left over").touch()
    assert script.run(settings, Tandem(stage), lambda _: None, SMALL) == DONE
    assert not (stage.folder / "primary" / "left over").exists()


@pytest.fixture
def held(settings: Path) -> Iterator[Path]:
    """The settings of a demonstration that is already running."""
    folder = Stage.beside(settings).folder
    folder.mkdir(parents=True)
    handle = os.open(folder.parent, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    yield settings
    os.close(handle)


def test_two_demonstrations_do_not_clear_each_other_s_folder(held: Path) -> None:
    tandem = Tandem(Stage.beside(held))
    assert script.run(held, tandem, lambda _: None, SMALL) == BUSY_OR_LOCKED
    assert script.clean(held, lambda _: None) == BUSY_OR_LOCKED
    assert tandem.told == []
    assert tandem.stage.folder.exists()


def test_clean_removes_the_folder_and_nothing_else(settings: Path) -> None:
    stage = Stage.beside(settings)
    beside = stage.folder.parent / "tandem.db"
    stage.folder.mkdir(parents=True)
    beside.touch()
    assert script.clean(settings, lambda _: None) == DONE
    assert not stage.folder.exists()
    assert beside.exists()
    assert script.clean(settings, lambda _: None) == DONE


def test_clear_takes_a_link_away_and_follows_it_nowhere(settings: Path, tmp_path: Path) -> None:
    stage = Stage.beside(settings)
    (tmp_path / "precious").mkdir()
    stage.folder.parent.mkdir()
    stage.folder.symlink_to(tmp_path / "precious")
    clear(stage)
    assert (tmp_path / "precious").is_dir()
    assert not stage.folder.is_symlink()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ('path = "var/demo/primary"', 'path = "/srv/vault"'),
        ("sqlite:///var/demo/tandem.db", "sqlite:////srv/tandem.db"),
        ("sqlite:///var/demo/tandem.db", "postgresql+psycopg://tandem@db.example/tandem"),
        ('workdir = "var/demo/work"', 'workdir = "var/work"'),
        ('"var/demo/sources/chu-yaounde/records"', '"/srv/records"'),
        ('path = "var/demo/sources/minfopra/pensions.db"', 'path = "/srv/pensions.db"'),
    ],
)
def test_somebody_s_real_settings_are_refused_and_nothing_is_touched(settings: Path, ours: str, theirs: str) -> None:
    text = settings.read_text(encoding="utf-8")
    assert ours in text
    settings.write_text(text.replace(ours, theirs), encoding="utf-8")
    stage = Stage.beside(settings)
    stage.folder.mkdir(parents=True)
    (stage.folder / "kept").touch()
    tandem = Tandem(stage)
    with pytest.raises(NotADemoError):
        insist(stage)
    assert script.run(settings, tandem, lambda _: None, SMALL) == USAGE
    assert tandem.told == []
    assert (stage.folder / "kept").exists()


def test_the_damaged_settings_differ_from_the_shipped_in_three_places_only(settings: Path) -> None:
    stage = Stage.beside(settings)
    stage.folder.mkdir(parents=True)
    stage.damaged_settings.write_text(damaged_settings(settings.read_text(encoding="utf-8")), encoding="utf-8")
    real, other = (load(path, check_secrets=False) for path in (settings, stage.damaged_settings))
    assert other.service.state == f"sqlite:///{stage.damaged_ledger}"
    assert other.service.workdir != real.service.workdir
    places = {name: getattr(vault, "path", None) for name, vault in other.vaults.items()}
    assert places == {"primary": stage.folder / "primary", "secondary": stage.folder / "damaged"}
    assert [policy.source for policy in other.policies] == [policy.source for policy in real.policies]
    assert other.tenants == real.tenants


def test_settings_without_the_places_have_no_damaged_form() -> None:
    with pytest.raises(ValueError, match="secondary"):
        damaged_settings('[service]\nstate = "sqlite:///var/demo/tandem.db"\nworkdir = "var/demo/work"\n')


def test_an_office_that_does_not_last_is_said(tmp_path: Path) -> None:
    (tmp_path / "pensions.db").mkdir()
    with pytest.raises(office.OfficeClosedError, match="unable to open"), office.at_work(tmp_path / "pensions.db"):
        pass

"""What a backup of Tandem itself needs of the settings: which files they are, and which of them hold secrets."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.policy import Own
from orchestrator import settings as settings_room
from orchestrator import wiring
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.settings import SettingsError
from orchestrator.settings.secrets import SecretCommand, SecretEnvironment, SecretFile, references
from targets.ports import unwatched
from targets.process import Never

SETTINGS = """
include = ["conf.d/*.toml", "{outside}"]
[service]
name = "Test"
state = "sqlite:///tandem.db"
restic = "{restic}"
[sites.primary]
title = "First"
[vaults.primary]
site = "primary"
kind = "rest"
url = "http://127.0.0.1:1"
credentials = {{ env = "REST" }}
[tenants.minfopra]
title = "Ministry"
password = {{ file = "{password}" }}
[policies.own]
tenant = "minfopra"
vault = "primary"
source = {{ tandem = true }}
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, restic_program: Path) -> Write:
    """Write settings of several files; give the main one."""

    def made(*, key: str = "minfopra.key", state: str = "sqlite:///tandem.db") -> Path:
        main, outside = tmp_path / "etc/settings.toml", tmp_path / "outside.toml"
        (main.parent / "conf.d").mkdir(parents=True)
        main.write_text(
            SETTINGS.format(outside=outside, restic=restic_program, password=key).replace("sqlite:///tandem.db", state)
        )
        (main.parent / "conf.d/b.toml").write_text("")
        (main.parent / "conf.d/a.toml").write_text('[tenants.minfi]\ntitle = "x"\npassword = { command = ["x"] }\n')
        outside.write_text('[notify.team]\nurls = [{ env = "TEAM" }]\n')
        for name in ("etc/minfopra.key", "etc/conf.d/a.toml"):
            (tmp_path / name).touch(mode=0o600)
            (tmp_path / name).chmod(0o600)
        return main

    return made


def test_the_settings_know_every_file_they_came_from(write: Write) -> None:
    main = write()
    settings = settings_room.load(main)
    assert settings.file == main
    folder = main.parent
    assert settings.included == (folder / "conf.d/a.toml", folder / "conf.d/b.toml", folder.parent / "outside.toml")
    assert settings.policies[0].source == Own()


def files_to_keep(main: Path) -> tuple[Path, ...]:
    settings = settings_room.load(main)
    with Ledger.open(wiring.ledger_url(settings), create=True, now=Clock().now()) as ledger:
        return wiring.tools(settings, ledger, stop=Never(), watch=lambda _: unwatched).settings_files


def test_a_file_that_holds_a_secret_is_never_among_those_to_keep(write: Write) -> None:
    main = write(key="conf.d/../conf.d/a.toml")
    kept = files_to_keep(main)
    assert kept == (main, main.parent / "conf.d/b.toml", main.parent.parent / "outside.toml")


def test_every_reference_to_a_secret_is_found(write: Write) -> None:
    settings = settings_room.load(write())
    assert set(references(settings)) == {
        SecretFile(path=settings.file.parent / "minfopra.key"),
        SecretEnvironment(variable="REST"),
        SecretCommand(command=("x",)),
        SecretEnvironment(variable="TEAM"),
    }


def test_a_ledger_on_postgresql_is_sent_to_its_own_tool(write: Write) -> None:
    with pytest.raises(SettingsError) as refused:
        settings_room.load(write(state="postgresql+psycopg://tandem@db.example/tandem"))
    (mistake,) = refused.value.mistakes
    assert "policies.own.source.tandem" in str(mistake)
    assert "pg_dump" in str(mistake)


def test_the_settings_that_the_manual_has_people_write_by_hand_are_enough(tmp_path: Path) -> None:
    manual = (Path(__file__).resolve().parents[3] / "docs/manual.md").read_text(encoding="utf-8")
    (block,) = [text for text in re.findall(r"^ *```toml\n(.*?)^ *```$", manual, re.M | re.S) if "By hand" in text]
    main = tmp_path / "settings.toml"
    main.write_text(block)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/operator.key").touch(mode=0o600)
    (policy,) = settings_room.load(main).policies
    assert policy.source == Own()

"""`tandem doctor`: real mistakes are named with the next step, each beside the others, without a traceback."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.faults import done, fill, small_disk
from tests.acceptance.operator import PASSWORD, Ended, Operator
from tests.acceptance.remote import KINDS, copy_to, remote

Row = dict[str, Any]


@pytest.fixture(scope="module")
def sound_once(tmp_path_factory: pytest.TempPathFactory, restic_program: Path) -> Operator:
    """An operator with one recovery point, which `sound` copies."""
    operator = Operator(
        folder=tmp_path_factory.mktemp("doctor") / "operator", restic=restic_program
    ).with_repositories()
    done(operator, "backup", "files")
    return operator


@pytest.fixture
def sound(tmp_path: Path, sound_once: Operator) -> Operator:
    """An operator with one recovery point at the first site, and nothing wrong."""
    shutil.copytree(sound_once.folder, tmp_path / "operator", symlinks=True)
    return Operator(folder=tmp_path / "operator", restic=sound_once.restic, settings=sound_once.settings)


def rows(told: Ended) -> list[Row]:
    """What was found, as JSON has it."""
    found: list[Row] = told.json["sections"][0]["tables"][0]["rows"]
    return found


def of(told: Ended, check: str, subject: str | None = None) -> list[Row]:
    """The findings of one check (about one thing)."""
    return [
        row
        for row in rows(told)
        if row["check"]["value"]["check"] == check and subject in {None, row["check"]["value"]["subject"]}
    ]


def failed(told: Ended) -> list[tuple[str, str]]:
    """What failed: check and subject. Whatever is not well has a next step."""
    for row in rows(told):
        assert (row["grade"]["value"] in {"ok", "info"}) or row["found"]["value"]["next"]
    return [
        (row["check"]["value"]["check"], row["check"]["value"]["subject"])
        for row in rows(told)
        if row["grade"]["value"] == "failed"
    ]


def test_a_sound_installation_has_no_failure_and_its_vaults_hold_no_trace_of_the_looking(sound: Operator) -> None:
    before = {path for path in (sound.folder / "primary").rglob("*") if path.is_file()}
    told = sound.tandem("--json", "doctor")
    assert failed(told) == []
    assert told.code == 0
    checks = {row["check"]["value"]["check"] for row in rows(told)}
    assert checks >= {"settings", "restic", "sqlite", "clock", "ledger", "serve", "systemd", "notify", "workdir"}
    assert checks >= {"secret", "policy", "mount", "database", "vault"}
    vault = of(told, "vault", "primary")
    assert any("written, read" in row["found"]["text"] for row in vault)
    assert any("free" in row["found"]["text"] for row in vault)
    assert {path for path in (sound.folder / "primary").rglob("*") if path.is_file()} == before
    assert sound.bare("primary", "check").returncode == 0
    assert any("Tandem's own ledger" in row["found"]["text"] for row in of(told, "ledger", "backup"))
    assert of(told, "workdir", str(sound.folder / "work"))[0]["grade"]["value"] == "ok"  # nobody else may look into it


def test_several_mistakes_are_each_named_beside_the_others(sound: Operator) -> None:
    (sound.folder / "minfopra.key").chmod(0o644)
    old = sound.folder / "old-restic"
    old.write_text('#!/bin/sh\necho "restic 0.9.6 compiled with go1.12"\n')
    old.chmod(0o755)
    shutil.rmtree(sound.folder / "primary")  # its disk is not mounted
    with closing(sqlite3.connect(sound.folder / "elsewhere.db")) as connection:
        connection.execute("CREATE TABLE t (x)")
    sound.write_settings(
        sound.settings.replace('restic = "{restic}"', f'restic = "{old}"')
        + """
[policies.gone]
source = {{ paths = ["nowhere"] }}
[policies.shut-out]
source = {{ paths = ["source"], exclude = ["source"] }}
[policies.no-program]
source = {{ command = {{ run = ["no-such-dump"], filename = "all.sql" }} }}
"""
    )
    told = sound.tandem("--json", "doctor")
    assert told.code == 4
    assert set(failed(told)) == {
        ("restic", ""),
        ("secret", "the password of tenant minfopra"),
        ("vault", "primary"),
        ("policy", "gone"),
        ("policy", "shut-out"),
        ("policy", "no-program"),
    }
    assert "0.9.6" in of(told, "restic")[0]["found"]["text"]
    assert "chmod 600" in str(of(told, "secret"))
    assert "never been backed up" in str(of(told, "policy", "gone"))
    assert PASSWORD not in told.out
    assert not (sound.folder / "primary").exists()  # no folder is made where a disk should be


def test_a_full_vault_and_a_mount_and_a_database_that_nobody_backs_up(sound: Operator, tmp_path: Path) -> None:
    with small_disk(sound.folder / "secondary", 2) as full, small_disk(tmp_path / "forgotten", 2) as forgotten:
        fill(full)
        with closing(sqlite3.connect(forgotten / "orders.sqlite")) as connection:
            connection.execute("CREATE TABLE t (x)")
        told = sound.tandem("--json", "doctor")
        assert told.code == 4
        assert failed(told) == [("vault", "secondary")]
        assert "space" in of(told, "vault", "secondary")[0]["found"]["text"]
        (mount,) = of(told, "mount", str(forgotten))
        assert mount["grade"]["value"] == "warn"
        assert str(forgotten) in mount["found"]["value"]["next"]
        loose = [row for row in of(told, "database", "SQLite") if row["grade"]["value"] == "warn"]
        assert any(str(forgotten / "orders.sqlite") in row["found"]["text"] for row in loose)

        covered = f'\n[policies.found]\nsource = {{{{ paths = ["{forgotten}"] }}}}\n'
        sound.write_settings(sound.settings + covered)
        again = sound.tandem("--json", "doctor")
        assert of(again, "mount", str(forgotten))[0]["grade"]["value"] == "ok"
        assert str(forgotten / "orders.sqlite") not in str(
            [row for row in of(again, "database", "SQLite") if row["grade"]["value"] == "warn"]
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_vault_that_is_reached_over_a_network_is_written_and_its_clock_read(
    sound: Operator, tmp_path: Path, kind: str
) -> None:
    with remote(kind, tmp_path) as there:
        copy_to(sound, there)
        told = sound.tandem("--json", "doctor")
        assert failed(told) == []
        texts = " ".join(row["found"]["text"] for row in of(told, "vault", there.name))
        assert "can be written, read" in texts
        assert "clock agrees" in texts
        assert ("free space is not known" in texts) == (kind != "sftp")
        assert not [path for path in there.place.rglob("*") if path.is_file()]
    dead = sound.tandem("--json", "doctor")
    assert dead.code == 4
    assert failed(dead) == [("vault", there.name)]
    assert of(dead, "vault", "primary")[0]["grade"]["value"] == "ok"


def test_a_damaged_ledger_and_one_that_is_not_there(sound: Operator) -> None:
    ledger = sound.folder / "tandem.db"
    whole = ledger.read_bytes()
    ledger.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    told = sound.tandem("--json", "doctor")
    assert told.code == 4
    assert ("ledger" in {check for check, _ in failed(told)}) is True
    ledger.unlink()
    told = sound.tandem("--json", "doctor")
    assert of(told, "ledger")[0]["grade"]["value"] == "warn"
    assert not ledger.exists()


def test_invalid_settings_end_with_seven_and_every_mistake(sound: Operator) -> None:
    sound.write_settings(sound.settings.replace('site = "secondary"', 'site = "tertiary"').replace("rpo", "rpos"))
    told = sound.tandem("--json", "doctor")
    assert told.code == 7
    (row,) = rows(told)
    assert row["grade"]["value"] == "failed"
    assert "tertiary" in row["found"]["text"]
    assert "rpos" in row["found"]["text"]

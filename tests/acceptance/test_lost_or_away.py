"""A place that held a repository and holds none: a disk that is away is waited for, a loss is a person's to say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from jobs.failure import FailureKind
from orchestrator.ledger.ledger import Ledger
from tests.acceptance.faults import NOW, done, ended, gate, kill, unhooked
from tests.acceptance.operator import Operator, until
from tests.acceptance.told import refused
from tests.repositories import POLYNOMIAL

WRITES = {"primary": ("backup", "files"), "secondary": ("replicate", "files")}
MORE = '\n[policies.more]\nsource = {{ paths = ["source/deep"] }}\n'
ANOTHER = """
[tenants.minsante]
title = "Ministry of Health"
password = {{ file = "minsante.key" }}

[policies.clinics]
tenant = "minsante"
source = {{ paths = ["source"] }}
"""


def away(place: Path, *, mount_point: bool) -> Path:
    """Take a vault away, as a disk goes; its mount point may stay."""
    aside = place.with_name("aside")
    place.rename(aside)
    if mount_point:
        place.mkdir()
    return aside


@pytest.mark.parametrize("site", ["primary", "secondary"])
@pytest.mark.parametrize("mount_point", [True, False], ids=["an empty mount point", "no folder"])
def test_a_vault_that_is_away_is_unreachable_and_nothing_is_made_there(
    settled: Operator, site: str, mount_point: bool
) -> None:
    place = settled.folder / site
    aside = away(place, mount_point=mount_point)
    told = refused(settled, *WRITES[site])
    assert (told.kind, told.code) == (FailureKind.VAULT_UNREACHABLE, 4)
    assert f"minfopra@{site}" in told.message
    assert "check that its disk is mounted" in told.message
    assert "--begin-anew" in told.message
    assert place.exists() is mount_point
    shutil.rmtree(place, ignore_errors=True)
    aside.rename(place)
    done(settled, *WRITES[site])


def test_nothing_of_a_newcomer_is_made_on_the_mount_point_of_a_disk_that_is_away(settled: Operator) -> None:
    """Its own repository never was: only that others are on record tells that the vault should not be empty."""
    settled.write_settings(settled.settings + ANOTHER)
    key = settled.folder / "minsante.key"
    key.write_text("of the health")
    key.chmod(0o600)
    place = settled.folder / "primary"
    aside = away(place, mount_point=True)
    told = refused(settled, "backup", "clinics")
    assert told.kind is FailureKind.VAULT_UNREACHABLE
    assert list(place.iterdir()) == []
    done(settled, "backup", "clinics", "--begin-anew")  # so a person said
    assert [each.name for each in place.iterdir()] == ["minsante"]
    assert refused(settled, "backup", "files").kind is FailureKind.REPOSITORY_MISSING
    assert (aside / "minfopra").exists()


def test_a_site_that_is_begun_anew_is_cut_like_the_one_that_is_left(settled: Operator) -> None:
    """Else a copy between the two would find nothing of the other's, and store everything again."""
    shutil.rmtree(settled.folder / "primary")
    done(settled, "backup", "files", "--begin-anew")
    told = {vault: json.loads(settled.bare(vault, "cat", "config").stdout) for vault in ("primary", "secondary")}
    assert {config["chunker_polynomial"] for config in told.values()} == {POLYNOMIAL}
    assert told["primary"]["id"] != told["secondary"]["id"]


def test_a_site_is_begun_anew_also_while_the_other_is_away(settled: Operator) -> None:
    shutil.rmtree(settled.folder / "primary/minfopra")
    away(settled.folder / "secondary", mount_point=False)
    done(settled, "backup", "files", "--begin-anew")
    assert len(settled.snapshots("primary")) == 1


def test_what_is_begun_anew_is_claimed_before_it_is_forgotten(settled: Operator) -> None:
    """Until it is made, nobody else may make it: of two that do, neither could be read."""
    settled.write_settings(settled.settings + MORE)
    shutil.rmtree(settled.folder / "primary/minfopra")
    waiting = gate(settled, " init ")
    process = settled.start("backup", "files", "--begin-anew")
    try:
        until(lambda: process.poll() is not None or waiting.is_reached())
        with Ledger.open(f"sqlite:///{settled.folder / 'tandem.db'}", create=False, now=NOW) as ledger:
            assert ledger.repository("minfopra", "primary") is None
            assert [run.policy for run in ledger.open_runs()] == ["files"]
        told = refused(settled, "backup", "more")
        assert told.kind is FailureKind.BUSY
        assert told.message.startswith("backup more cannot start beside backup files (run ")
        waiting.open()
        assert ended(process)[0] == 0
    finally:
        if process.poll() is None:
            kill(process)
    unhooked(settled)
    done(settled, "backup", "more")
    assert len(settled.snapshots("primary")) == 2

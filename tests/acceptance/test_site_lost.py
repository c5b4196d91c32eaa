"""The first site is gone, with its ledger and all: what the second holds is enough to restore, prove and go on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.acceptance.faults import done
from tests.acceptance.operator import Operator
from tests.acceptance.told import states


@pytest.fixture
def rescued(settled: Operator, tmp_path: Path) -> Operator:
    """On a new machine: settings, the tenant's password, and the second site's vault. Nothing else."""
    new = tmp_path / "rescued"
    new.mkdir()
    shutil.move(settled.folder / "secondary", new / "secondary")
    shutil.rmtree(settled.folder)
    operator = Operator(folder=new, restic=settled.restic, settings=settled.settings)
    shutil.rmtree(operator.source)
    return operator


def test_everything_is_restored_from_the_second_site(rescued: Operator, settled_once: Operator, tmp_path: Path) -> None:
    listed = done(rescued, "snapshots", "files", "--site", "secondary").out
    (kept,) = rescued.snapshots("secondary")
    assert kept["id"][:8] in listed
    done(rescued, "restore", "files", "--from", "secondary", "--to", str(tmp_path / "back"))
    (restored,) = (tmp_path / "back").rglob("source")
    lost = settled_once.source
    names = {str(path.relative_to(restored)) for path in restored.rglob("*") if path.is_file()}
    assert names == {"a.txt", "deep/c.txt", "deep/er/b.bin", "big/goes", "big/stays"}
    for name in names - {"big/goes"}:  # removed at the source after that point
        assert (restored / name).read_bytes() == (lost / name).read_bytes()
    assert not (rescued.folder / "primary").exists()


def test_the_second_site_proves_itself_with_its_own_manifest(rescued: Operator) -> None:
    proven = done(rescued, "--json", "test-restore", "files", "--site", "secondary")
    assert states(proven) == [("restore-test", "secondary", "succeeded")]
    assert "5 files" in proven.out
    done(rescued, "check", "files", "--site", "secondary")


def test_the_service_goes_on_at_a_new_first_site(rescued: Operator) -> None:
    rescued.write("a.txt", "after the fire\n")
    done(rescued, "backup", "files")
    done(rescued, "replicate", "files")
    assert [len(rescued.snapshots(vault)) for vault in ("primary", "secondary")] == [1, 2]

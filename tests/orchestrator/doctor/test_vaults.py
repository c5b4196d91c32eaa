"""The small file that a vault is asked to take: taken, given back, and let go where the vault lets it go."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.failure import FailureKind
from orchestrator.clock import Clock
from orchestrator.work.probe import probe as _probe
from orchestrator.work.probe import skew_of as _skew
from targets.errors import TargetError
from targets.ports import FileKind, FileRef
from targets.secret import Secret
from targets.vaults.local import LocalVault
from targets.vaults.memory import MemoryStore, MemoryVault
from targets.vaults.rest import RestVault
from tests.acceptance.operator import Operator
from tests.servers.rest import Flavour, RestServer, restic_rest_server

NOW = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    store = LocalVault("one", tmp_path / "vault").store("north")
    probe = _probe(store, "north@one", Clock())
    assert not probe.append_only
    assert probe.skew == timedelta()
    assert [list(store.files(kind)) for kind in FileKind] == [[]] * len(FileKind)


def test_a_vault_without_a_clock_says_so() -> None:
    assert _probe(MemoryVault("one").store("north"), "north@one", Clock()).skew is None


def test_an_append_only_vault_is_told_and_keeps_one_small_file_however_often_it_is_asked(tmp_path: Path) -> None:
    with RestServer(tmp_path, append_only=True) as server:
        vault = RestVault("kept", server.url, server.user, Secret(server.password))
        with closing(vault.store("north")) as store:
            for _ in range(3):
                assert _probe(store, "north@kept", Clock()).append_only
            assert len(list(store.files(FileKind.DATA))) == 1


def test_a_vault_whose_disk_is_not_there_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    store = LocalVault("one", tmp_path / "not mounted/vault").store("north")
    with pytest.raises(TargetError) as caught:
        _probe(store, "north@one", Clock())
    assert caught.value.kind is FailureKind.VAULT_UNREACHABLE
    assert not (tmp_path / "not mounted").exists()


@pytest.mark.parametrize(
    ("told", "skew"),
    [(0, 0), (-0.9, 0), (2, 0), (-3, -3), (10, 8)],
    ids=["at once", "seconds are cut off", "it took its time", "behind", "ahead"],
)
def test_a_clock_is_off_by_what_its_whole_second_lies_outside_the_asking(told: float, skew: float) -> None:
    asked, answered = NOW, NOW + timedelta(seconds=2)
    assert _skew(NOW + timedelta(seconds=told), asked, answered) == timedelta(seconds=skew)


class Stuck(MemoryStore):
    """A store that can be written, and whose server fails when it is to remove something."""

    def delete(self, ref: FileRef) -> None:
        raise TargetError("delete", str(ref.name), FailureKind.VAULT_UNREACHABLE, "the line was cut")


def test_a_server_that_fails_at_the_removal_is_not_taken_for_append_only() -> None:
    with pytest.raises(TargetError) as caught:
        _probe(Stuck("one", "north", {}), "north@one", Clock())
    assert caught.value.kind is FailureKind.VAULT_UNREACHABLE


@pytest.mark.parametrize("flavour", ["rclone", "restic"])
def test_the_first_backup_into_an_append_only_vault_goes_well_after_doctor_looked_at_it(
    tmp_path: Path, restic_program: Path, flavour: Flavour
) -> None:
    """What the vault did not let go of the probe is no data of a repository that lost its config."""
    if flavour == "restic" and restic_rest_server() is None:
        pytest.skip("restic's own REST server is not here (set RESTIC_REST_SERVER to its path)")
    operator = Operator(folder=tmp_path / "operator", restic=restic_program)
    with RestServer(tmp_path / "server", flavour=flavour, append_only=True) as server:
        (operator.folder / "rest.key").write_text(f"{server.user}:{server.password}")
        (operator.folder / "rest.key").chmod(0o600)
        vault = f'kind = "rest"\nurl = "{server.url}/"\ncredentials = {{{{ file = "rest.key" }}}}'
        operator.write_settings(operator.settings.replace('kind = "local"\npath = "primary"', vault))
        assert "append-only" in operator.tandem("doctor").out
        told = operator.tandem("backup", "files")
        assert told.code == 0, told.err
        assert list((server.root / "minfopra/data").rglob("*"))

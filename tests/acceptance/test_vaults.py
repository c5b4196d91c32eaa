"""The whole cycle with a site of each kind on a real server, and what happens while that server is away."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.failure import FailureKind
from tests.acceptance.faults import done, runs
from tests.acceptance.operator import PASSWORD, Operator
from tests.acceptance.remote import KINDS, back_up_to, copy_to, remote
from tests.acceptance.told import refused, states
from tests.repositories import prepare

EACH_KIND = pytest.mark.parametrize("kind", KINDS)
CYCLE = [
    ("backup", "primary"),
    ("replicate", "secondary"),
    ("check", "primary"),
    ("check", "secondary"),
    ("restore-test", "primary"),
    ("restore-test", "secondary"),
    ("retention", "primary"),
    ("retention", "secondary"),
]


def snapshots(repository: Path) -> list[str]:
    """The snapshots among the files that lie behind a server."""
    return sorted(path.name for path in (repository / "snapshots").iterdir())


@EACH_KIND
def test_a_whole_cycle_with_a_second_site_of_each_kind(operator: Operator, tmp_path: Path, kind: str) -> None:
    """Here restic makes the second repository itself, and where the first is one that was found."""
    operator.write_settings(operator.settings.replace("last = 2", "last = 1"))
    with remote(kind, tmp_path) as there:
        copy_to(operator, there)
        done(operator, "backup", "files")
        operator.write("a.txt", "second\n")
        cycle = done(operator, "--json", "run")
        assert states(cycle) == [(job, site, "succeeded") for job, site in CYCLE]
        assert len(snapshots(there.repository)) == 2, "the older point and its manifest were not removed"
        done(operator, "restore", "files", "--from", "secondary", "--to", str(tmp_path / "back"))
        assert done(operator, "status").out.count("✓ met") == 2
    restored = tmp_path / "back" / operator.source.relative_to("/")
    assert (restored / "a.txt").read_text() == "second\n"
    assert (restored / "deep/er/b.bin").read_text() == "x" * 70_000
    kept = b"".join(path.read_bytes() for path in operator.folder.glob("work/ssh/**/*") if path.is_file())
    assert PASSWORD.encode() not in kept


@EACH_KIND
def test_a_first_site_that_is_away_fails_the_backup_and_the_next_one_goes_on(
    operator: Operator, tmp_path: Path, kind: str
) -> None:
    with remote(kind, tmp_path) as there:
        prepare(there.repository, PASSWORD)
        back_up_to(operator, there)
        done(operator, "backup", "files")
        before = snapshots(there.repository)
        there.server.stop()
        told = refused(operator, "backup", "files")
        assert told.kind is FailureKind.VAULT_UNREACHABLE
        assert "vault remote: " in told.message
        assert str(there.server.port) in told.message
        assert "Check the network, the address and that the server runs." in told.advice
        there.restart()
        done(operator, "backup", "files")
        assert set(before) < set(snapshots(there.repository))
        assert len(snapshots(there.repository)) == 4
    assert [run.state for run in runs(operator)] == ["succeeded", "failed", "succeeded"]


@EACH_KIND
def test_a_second_site_that_is_away_fails_the_copy_and_the_next_one_brings_it_all(
    settled: Operator, tmp_path: Path, kind: str
) -> None:
    with remote(kind, tmp_path) as there:
        prepare(there.repository, PASSWORD)
        copy_to(settled, there)
        there.server.stop()
        told = refused(settled, "replicate", "files")
        assert told.kind is FailureKind.VAULT_UNREACHABLE
        assert "vault remote: " in told.message
        assert settled.tandem("status").code == 5
        there.restart()
        done(settled, "replicate", "files")
        assert len(snapshots(there.repository)) == 4


def test_an_unreachable_second_site_does_not_keep_the_first_from_being_proven(
    settled: Operator, tmp_path: Path
) -> None:
    with remote("rest", tmp_path) as there:
        copy_to(settled, there)
        there.server.stop()
        ended = settled.tandem("--json", "run")
    assert ended.code == 4
    assert states(ended) == [
        ("backup", "primary", "succeeded"),
        ("replicate", "secondary", "failed"),
        ("check", "primary", "succeeded"),
        ("check", "secondary", "failed"),
        ("restore-test", "primary", "succeeded"),
        ("restore-test", "secondary", "failed"),
        ("retention", "primary", "blocked"),
        ("retention", "secondary", "blocked"),
    ]
    assert len(settled.snapshots("primary")) == 3, "what the second site lacks was removed at the first"

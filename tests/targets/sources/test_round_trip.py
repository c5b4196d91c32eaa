"""What was scanned is what restic stored and gives back, whatever it is; and any one thing that is spoilt is found."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from jobs.comparison import Comparison, Difference, Tally
from jobs.manifest import decode, encode
from jobs.policy import Paths
from tests.bare_restic import BareRestic
from tests.targets.sources import trees

ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def restic(restic_program: Path, tmp_path_factory: pytest.TempPathFactory) -> BareRestic:
    return BareRestic(program=restic_program, repository=tmp_path_factory.mktemp("trip") / "repository").init()


def there_and_back(restic: BareRestic, source: Path, tmp_path: Path) -> Path:
    """The source, restored below a folder that stands for `/`."""
    snapshot = restic.backup(str(source))
    restic.do("restore", snapshot, "--target", str(tmp_path / "restored"))
    return tmp_path / "restored"


def compare(expected: list[bytes], source: Path, restored: Path) -> tuple[list[Difference], Tally]:
    found = trees.lines(Paths(paths=(str(source),)), root=restored)
    comparison = Comparison(expected, found, owners=ROOT)
    return list(comparison), comparison.tally


def test_everything_that_a_file_system_holds_comes_back(restic: BareRestic, tmp_path: Path) -> None:
    source = trees.grow(tmp_path / "source")
    expected = trees.lines(source)
    differences, tally = compare(expected, source, there_and_back(restic, source, tmp_path))
    assert [difference.words for difference in differences] == []
    files = [entry for entry in map(decode, expected) if entry.type == "file"]
    assert (tally.files, tally.bytes) == (len(files), sum(entry.size for entry in files))
    assert (tally.not_compared, tally.changed, tally.unreadable, tally.appeared) == (2, 0, 0, 0)
    assert trees.lines(source, previous=expected) == expected


def test_a_link_whose_target_is_not_utf_8_comes_back_or_is_told(restic: BareRestic, tmp_path: Path) -> None:
    """restic 0.14 replaces what is not UTF-8 in the target of a link, and says nothing."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "link").symlink_to("caf\udce9")
    differences, _ = compare(trees.lines(source), source, there_and_back(restic, source, tmp_path))
    told = [f"{source}/link: the link is caf\ufffd, at the source it was caf\\xe9"]
    assert [difference.words for difference in differences] == (told if restic.version < (0, 16) else [])


@pytest.mark.parametrize("seed", [1, 2])
def test_one_thing_that_is_spoilt_is_found(restic: BareRestic, tmp_path: Path, seed: int) -> None:
    source = trees.chance_tree(tmp_path / "source", seed)
    expected = trees.lines(source)
    restored = there_and_back(restic, source, tmp_path)
    assert compare(expected, source, restored)[0] == []
    choose = random.Random(seed)
    for number in range(40):
        victim = tmp_path / f"victim-{number}"
        shutil.copytree(restored, victim, symlinks=True)
        what, where = trees.spoil(victim / str(source).lstrip("/"), choose)
        found = [difference.path for difference in compare(expected, source, victim)[0]]
        assert str(source) + where in found, what
        shutil.rmtree(victim)


@pytest.mark.as_root
def test_another_owner_is_found(tmp_path: Path) -> None:
    source = trees.chance_tree(tmp_path / "source", 3)
    expected = trees.lines(source)
    os.chown(source, 12, 34)
    found = list(Comparison(expected, trees.lines(source), owners=True))
    assert [each.words for each in found] == [f"{source}: the owner is 12:34, at the source it was 0:0"]


def test_an_entry_made_by_hand_stands_for_a_stream(restic: BareRestic, tmp_path: Path) -> None:
    """A command's output has no mode, owner or time; restic gives it some, which prove nothing."""
    (tmp_path / "dump.sql").write_bytes(b"insert")
    real = trees.entries(tmp_path / "dump.sql")[str(tmp_path / "dump.sql")]
    stream = encode(type(real)(path=real.path, type="file", size=6, sha256=real.sha256))
    assert list(Comparison([stream], [encode(real)], owners=True)) == []

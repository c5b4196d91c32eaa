"""The demonstration's data is plentiful, real, odd in the right places, and changes as a working day changes it."""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from pathlib import Path

import pytest

from orchestrator.demo import files, material, records


def contents(folder: Path) -> dict[str, str]:
    """Hash of each regular file by its path."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The full amount once: how much there is, is what is promised."""
    folder = tmp_path_factory.mktemp("demo") / "sources"
    material.make_sources(folder)
    return folder


def test_there_is_as_much_as_promised(sources: Path) -> None:
    amount = material.measure(sources)
    assert amount.files >= 5_000
    assert 300 * 2**20 <= amount.bytes <= 400 * 2**20


def test_real_files_of_this_machine_are_among_them(sources: Path) -> None:
    found = [path for path, _ in files.found(2_000)]
    assert len(found) > 500
    assert Path(os.__file__).resolve() in found
    copy = sources / "minfopra" / "career-files" / "archive" / "library" / "os.py"
    assert copy.read_bytes() == Path(os.__file__).read_bytes()


def test_the_scans_cannot_be_compressed_away(sources: Path) -> None:
    scans = list((sources / "minfopra" / "career-files" / "scans").rglob("*.tif"))
    assert sum(path.stat().st_size for path in scans) > 100_000_000
    assert len({path.read_bytes()[:64] for path in scans}) == len(scans)


def test_every_odd_name_is_there(sources: Path) -> None:
    folder = sources / "chu-yaounde" / "records" / "scanned by hand"
    assert set(records.ODD_NAMES) < set(os.listdir(folder))  # noqa: PTH208 (names as the system gives them)
    assert any("\n" in name for name in records.ODD_NAMES)
    assert any(os.fsencode(name).decode("utf-8", "replace") != name for name in records.ODD_NAMES)


def test_links_of_each_kind_are_there(sources: Path) -> None:
    folder = sources / "chu-yaounde" / "records"
    links = [path for path in folder.rglob("*") if path.is_symlink()]
    assert any(path.is_dir() for path in links)
    assert any(path.is_file() for path in links)
    assert any(not path.exists() for path in links)
    assert any(path.stat().st_nlink == 2 for path in folder.rglob("notes.txt"))


def test_the_same_seed_makes_the_same_records(tmp_path: Path) -> None:
    for name in ("one", "two"):
        records.make(tmp_path / name, patients=20, seed=3)
    records.make(tmp_path / "three", patients=20, seed=4)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") != contents(tmp_path / "three")


def test_few_files_on_the_machine_are_made_up_for(tmp_path: Path) -> None:
    files.make(tmp_path, files=50, size=2_000_000, seed=1)
    amount = material.measure(tmp_path)
    assert amount.files >= 50
    assert amount.bytes >= 2_000_000
    assert list((tmp_path / "notices").rglob("*.txt"))


def test_a_day_edits_adds_deletes_and_renames(tmp_path: Path) -> None:
    files.make(tmp_path, files=400, size=3_000_000, seed=1)
    before = contents(tmp_path)
    files.change(tmp_path, seed=1)
    after = contents(tmp_path)
    kept = before.keys() & after.keys()
    gone = {before[name] for name in before.keys() - after.keys()}
    new = {after[name] for name in after.keys() - before.keys()}
    assert any(before[name] != after[name] for name in kept), "nothing was edited"
    assert gone & new, "nothing was renamed"
    assert gone - new - set(after.values()), "nothing was deleted"
    assert new - gone, "nothing was added"
    assert len(kept) > len(before) * 0.95


def test_a_day_leaves_the_scans_that_were_there(tmp_path: Path) -> None:
    """The damaged pack holds scans; they must be part of the newest snapshot, or the damage would not matter to it."""
    files.make(tmp_path, files=50, size=30_000_000, seed=1)
    before = contents(tmp_path / "scans")
    files.change(tmp_path, seed=1)
    after = contents(tmp_path / "scans")
    assert before.items() <= after.items()
    assert len(after) == len(before) + 3


def test_a_day_at_the_hospital_changes_files_and_leaves_the_links(tmp_path: Path) -> None:
    records.make(tmp_path, patients=40, seed=1)
    before = contents(tmp_path)
    records.change(tmp_path, seed=1)
    after = contents(tmp_path)
    assert before.keys() - after.keys()
    assert after.keys() - before.keys()
    assert any(before[name] != after[name] for name in before.keys() & after.keys())
    assert (tmp_path / "latest admission" / "identity.json").is_file()


def test_passwords_are_random_private_and_apart(tmp_path: Path) -> None:
    for name in ("one", "two"):
        material.make_secrets(tmp_path / name)
    paths = sorted(tmp_path.rglob("*.key"))
    assert [path.name for path in paths] == ["chu-yaounde.key", "minfopra.key"] * 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    values = {path.read_text(encoding="ascii").strip() for path in paths}
    assert len(values) == 4
    assert min(len(value) for value in values) >= 20

"""The walk takes in what restic takes in: held to what it stores of the same paths with the same options."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.policy import Paths
from targets.errors import TargetError
from targets.sources.walk import clean
from tests.bare_restic import BareRestic
from tests.targets.sources.trees import entries


@pytest.fixture(scope="module")
def restic(restic_program: Path, tmp_path_factory: pytest.TempPathFactory) -> BareRestic:
    return BareRestic(program=restic_program, repository=tmp_path_factory.mktemp("walk") / "repository").init()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in ("a/b/c/deep.txt", "a/b/file.tmp", "a/b.txt", "a/keep/x.tmp/inside", "z/one", "z/cache/two", "a/b!/x"):
        place = tmp_path / "source" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(name)
    (tmp_path / "source" / "to-a").symlink_to("a")
    (tmp_path / "source" / "dangling").symlink_to("nowhere")
    return tmp_path / "source"


def stored(restic: BareRestic, chosen: Paths, source: Path) -> set[str]:
    """What restic stored at and below the paths that were named, without the folders above them."""
    options = [f"--exclude={pattern}" for pattern in chosen.exclude]
    options += ["--one-file-system"] if chosen.one_file_system else []
    nodes = restic.nodes(restic.backup(*options, *chosen.paths))
    tops = [clean(path) for path in chosen.paths]
    return {path for path in nodes if any(path == top or path.startswith(f"{top}/") for top in tops)}


@pytest.mark.parametrize(
    ("names", "exclude"),
    [
        (("",), ()),
        (("a", "a"), ()),
        (("a/", "./a", "z/../a"), ()),
        (("a", "a/b"), ()),
        (("a/b", "a"), ()),
        (("a", "a/b/c/deep.txt", "a/b!"), ()),
        (("a", "a/b/c"), ("*.tmp",)),
        (("a/b/c/deep.txt", "z/one"), ()),
        (("to-a",), ()),
        (("dangling", "a/b.txt"), ()),
        (("to-a/b",), ()),
        (("",), ("*.tmp", "cache")),
        (("",), ("b", "z/*/two")),
        (("z", "a"), ("inside",)),
    ],
)
def test_takes_in_what_restic_takes_in(
    restic: BareRestic, source: Path, names: tuple[str, ...], exclude: tuple[str, ...]
) -> None:
    chosen = Paths(paths=tuple(f"{source}/{name}" if name else str(source) for name in names), exclude=exclude)
    found = entries(chosen)
    assert set(found) == stored(restic, chosen, source)
    assert found


def test_a_path_inside_an_excluded_folder_is_refused_not_lost(source: Path) -> None:
    """Some versions of restic store it, some do not: nobody gets to depend on that."""
    with pytest.raises(TargetError, match="exclude patterns"):
        entries(Paths(paths=(f"{source}/a", f"{source}/a/b/c"), exclude=("b",)))


@pytest.fixture
def mounted(source: Path) -> Iterator[Path]:
    """A tmpfs below the source, with a folder and a file in it, and one inside that one."""
    mounts = []
    for place in (source / "a" / "mount", source / "a" / "mount" / "sub" / "mount"):
        place.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], check=True)
        mounts.append(place)
        (place / "sub").mkdir()
        (place / "sub" / "file").touch()
        (place / "file").touch()
    yield mounts[0]
    for place in reversed(mounts):
        subprocess.run(["umount", place], check=True)


@pytest.mark.as_root
@pytest.mark.parametrize(
    "names",
    [
        ("a",),
        ("a", "a/mount"),
        ("a", "a/mount/sub"),
        ("a", "a/mount/sub/mount"),
        ("a/mount", "z"),
        ("a/mount/sub/mount",),
    ],
)
def test_one_file_system_is_what_restic_takes_it_for(
    restic: BareRestic, source: Path, mounted: Path, names: tuple[str, ...]
) -> None:
    for one in (True, False):
        chosen = Paths(paths=tuple(f"{source}/{name}" for name in names), one_file_system=one)
        found = entries(chosen)
        assert set(found) == stored(restic, chosen, source)
        if names == ("a",):
            assert str(mounted) in found
            assert (f"{mounted}/file" in found) is not one


@pytest.mark.as_root
def test_a_restored_tree_is_taken_as_it_is(source: Path, mounted: Path) -> None:
    """What the source's options would leave out must not hide what a restore should not have made."""
    chosen = Paths(paths=("/a",), exclude=("file",), one_file_system=True)
    assert "/a/mount/file" in entries(chosen, root=source)
    assert mounted.is_mount()

"""The scan tells what is there and what changed under it; the sweep marks all that may have changed, hardly more."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from jobs import manifest
from jobs.failure import FailureKind
from jobs.manifest import Entry, ManifestError, Reader, decode, encode, order
from jobs.policy import Paths
from targets.errors import TargetError
from targets.ports import Progress, Stop
from targets.sources import tree
from tests.targets.sources import trees
from tests.targets.sources.trees import NEVER, Meanwhile, entries, lines, settle, unseen


def scan(source: Path, previous: list[bytes] | None = None, *, stop: Stop = NEVER) -> tuple[list[Entry], list[str]]:
    """A scan with what it called vanished."""
    vanished: list[str] = []
    found = tree.scan(Paths(paths=(str(source),)), previous or [], stop=stop, watch=unseen, vanished=vanished.append)
    return [decode(line) for line in found], vanished


def swept(found: list[bytes], started_ns: int) -> dict[str, Entry]:
    return {entry.path: entry for entry in map(decode, tree.sweep(found, started_ns=started_ns, stop=NEVER))}


def bytes_read(source: Path, previous: list[bytes]) -> int:
    told: list[Progress] = []
    list(tree.scan(Paths(paths=(str(source),)), previous, stop=NEVER, watch=told.append))
    return told[-1].bytes_done


# --- what is there ----------------------------------------------------------------------------------------------------


def test_every_entry_tells_what_lstat_and_the_bytes_tell(tmp_path: Path) -> None:
    source = trees.grow(tmp_path / "source")
    found = entries(source)
    there = {
        str(source),
        *(f"{folder}/{name}" for folder, *kinds in os.walk(source) for k in kinds for name in k),
    }
    assert set(found) == there
    for path, entry in found.items():
        seen = os.lstat(path)
        assert (entry.mode, entry.uid, entry.gid) == (stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid)
        assert (entry.mtime_ns, entry.ctime_ns) == (seen.st_mtime_ns, seen.st_ctime_ns)
        assert (entry.inode, entry.device) == (seen.st_ino, seen.st_dev)
        if stat.S_ISREG(seen.st_mode):
            assert (entry.type, entry.size) == ("file", seen.st_size)
            assert entry.sha256 == sha256(Path(path).read_bytes()).hexdigest()
        elif stat.S_ISLNK(seen.st_mode):
            assert (entry.type, entry.link) == ("symlink", os.readlink(path))  # noqa: PTH115 (as it is, not tidied up)
        else:
            assert entry.type == ("dir" if stat.S_ISDIR(seen.st_mode) else "other")
    assert {Path(path).name for path, entry in found.items() if entry.type == "other"} == {"fifo", "socket"}


def test_lines_come_in_order_and_twice_the_same(tmp_path: Path) -> None:
    source = trees.grow(tmp_path / "source")
    first = lines(source)
    keys = [order(decode(line).path) for line in first]
    assert keys == sorted(keys)
    assert lines(source) == first


def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "source" / "pipe"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    opened = threading.Event()

    def wait_for_a_reader() -> None:
        with pipe.open("wb"):
            opened.set()

    writer = threading.Thread(target=wait_for_a_reader)
    writer.start()
    assert entries(pipe.parent)[str(pipe)].type == "other"
    assert not opened.is_set()
    with pipe.open("rb"):
        writer.join()


def test_reading_leaves_no_trace_in_atime(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    os.utime(file, ns=(1, 2))
    lines(file)
    assert file.stat().st_atime_ns == 1


def test_a_folder_can_stand_for_the_root(tmp_path: Path) -> None:
    trees.chance_tree(tmp_path / "root" / "srv", 1)
    here = entries(tmp_path / "root" / "srv")
    there = entries(Paths(paths=("/srv",)), root=tmp_path / "root")
    whole = entries(trees.EVERYTHING, root=tmp_path / "root")
    assert {str(tmp_path / "root") + path for path in there} == set(here)
    assert whole == there
    assert entries(Paths(paths=("/srv", "/gone")), root=tmp_path / "root") == there
    assert entries(Paths(paths=("/srv",), exclude=("chance",)), root=tmp_path / "root") == there


def test_a_tree_deeper_than_paths_may_be_long_is_marked_not_lost(tmp_path: Path) -> None:
    """Nobody can name what is too deep, restic neither: the last folder that has a name says so."""
    here = os.open(tmp_path, os.O_DIRECTORY)
    for _ in range(22):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    found = entries(tmp_path)
    unreadable = [path for path, entry in found.items() if entry.unreadable]
    assert len(unreadable) == 1
    assert len(unreadable[0]) > 3800


# --- what was known before --------------------------------------------------------------------------------------------


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    source = trees.chance_tree(tmp_path / "source", 2)
    first = lines(source)
    assert bytes_read(source, []) == sum(decode(line).size for line in first)
    assert bytes_read(source, first) == 0
    assert lines(source, previous=first) == first


def test_the_sha256_of_an_unchanged_file_is_taken_over(tmp_path: Path) -> None:
    """Shown with one that is wrong: nobody would get it by reading."""
    (tmp_path / "file").write_bytes(b"x")
    forged = lines(tmp_path)[1].replace(sha256(b"x").hexdigest().encode(), b"0" * 64)
    assert lines(tmp_path, previous=[forged])[1] == forged


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.write_bytes(b"other"),
        lambda file: os.utime(file, ns=(0, 5)),
        lambda file: file.chmod(0o640),
        lambda file: (file.rename(file.with_name("old")), file.with_name("copy").rename(file)),
        lambda file: os.link(file, file.with_name("second-name")),
    ],
)
def test_a_file_is_read_again_when_anything_tells_of_a_change(tmp_path: Path, change: Callable[[Path], object]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("file", "copy"):
        (source / name).write_bytes(b"equal")
        os.utime(source / name, ns=(0, 5))
    forged = [line.replace(sha256(b"equal").hexdigest().encode(), b"0" * 64) for line in lines(source)]
    settle()
    change(source / "file")
    os.utime(source / "file", ns=(0, 5))
    file = str(source / "file")
    after = {entry.path: entry for entry in map(decode, lines(source, previous=forged))}
    assert after[file].sha256 == sha256((source / "file").read_bytes()).hexdigest()


@pytest.mark.parametrize("mark", [{"changed": True}, {"unreadable": True}, {"changed": True, "unreadable": True}])
def test_a_file_that_was_marked_is_read_again(tmp_path: Path, mark: dict[str, bool]) -> None:
    (tmp_path / "file").write_bytes(b"x")
    folder, file = (decode(line) for line in lines(tmp_path))
    marked = Entry(**{**{name: getattr(file, name) for name in Entry.__slots__}, **mark, "sha256": "0" * 64})
    assert lines(tmp_path, previous=[encode(folder), encode(marked)]) == [encode(folder), encode(file)]


def test_another_source_before_is_of_no_use_and_no_harm(tmp_path: Path) -> None:
    one, other = trees.chance_tree(tmp_path / "one", 1), trees.chance_tree(tmp_path / "two", 2)
    both = [*lines(one), *lines(other)]
    for source in (one, other):
        assert lines(source, previous=both) == lines(source)
        assert bytes_read(source, both) == 0
    assert lines(one, previous=lines(other)) == lines(one)


def test_damage_in_the_manifest_before_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    source = trees.chance_tree(tmp_path / "source", 1)
    damaged = [*lines(source), b'{"type":"file","path":"/zzz","size":1}\n']
    with pytest.raises(ManifestError):
        list(tree.scan(Paths(paths=(str(source),)), Reader(damaged), stop=NEVER, watch=unseen))


# --- what happens meanwhile -------------------------------------------------------------------------------------------

SEEN_FILE = 2  # `stop` is asked once for the folder, then once between the look at its file and the reading


def replace_by(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def act(file: Path) -> None:
        file.unlink()
        make(file)

    return act


@pytest.mark.parametrize(
    "act",
    [
        lambda file: file.write_bytes(b"longer than before"),
        lambda file: file.write_bytes(b"FILE"),
        lambda file: os.truncate(file, 0),
        lambda file: file.chmod(0o600),
        replace_by(lambda file: file.symlink_to("/etc/passwd")),
        replace_by(os.mkfifo),
        replace_by(lambda file: file.mkdir()),
        replace_by(lambda file: file.write_bytes(b"file")),
    ],
)
def test_what_changes_between_look_and_reading_is_marked(tmp_path: Path, act: Callable[[Path], object]) -> None:
    file = tmp_path / "source" / "file"
    file.parent.mkdir()
    file.write_bytes(b"file")
    settle()
    found, vanished = scan(file.parent, stop=Meanwhile(SEEN_FILE, lambda: act(file)))
    assert [(entry.path, entry.changed, entry.sha256) for entry in found[1:]] == [(str(file), True, None)]
    assert vanished == []


def test_what_changes_while_it_is_read_is_marked(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(5 << 20))
    settle()

    def change() -> None:
        with file.open("r+b") as opened:
            opened.write(b"x")

    found, _ = scan(file, stop=Meanwhile(3, change))
    assert [(entry.changed, entry.sha256) for entry in found] == [(True, None)]


def test_what_vanishes_is_left_out_and_told(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "c-folder").mkdir(parents=True)
    (source / "a-file").touch()
    (source / "b-link").symlink_to("x")
    (source / "d-stays").touch()
    gone: list[str] = []
    walk = tree.scan(Paths(paths=(str(source),)), (), stop=NEVER, watch=unseen, vanished=gone.append)
    next(walk)
    (source / "a-file").unlink()
    (source / "b-link").unlink()
    (source / "c-folder").rmdir()
    assert [decode(line).path for line in walk] == [str(source / "d-stays")]
    assert gone == [str(source / kind) for kind in ("a-file", "b-link", "c-folder")]


def test_a_link_or_folder_that_changes_after_the_look_is_marked_or_told(tmp_path: Path) -> None:
    """Their names and targets are read after their lstat: nothing of another thing is taken for theirs."""
    link = tmp_path / "link"
    for make, mark in ((link.touch, True), (lambda: None, None)):
        link.symlink_to("x")

        def act(make: Callable[[], object] = make) -> None:
            link.unlink()
            make()

        found, vanished = scan(link, stop=Meanwhile(1, act))
        assert [entry.changed for entry in found] == ([mark] if mark else [])
        assert vanished == ([] if mark else [str(link)])
        link.unlink(missing_ok=True)


def test_a_file_that_vanishes_between_look_and_reading_is_told(tmp_path: Path) -> None:
    file = tmp_path / "source" / "file"
    file.parent.mkdir()
    file.touch()
    found, vanished = scan(file.parent, stop=Meanwhile(SEEN_FILE, file.unlink))
    assert [entry.path for entry in found] == [str(file.parent)]
    assert vanished == [str(file)]


def test_a_stop_ends_it_within_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(3 << 20))
    stop = threading.Event()
    read: list[int] = []

    class Late:
        def is_set(self) -> bool:
            read.append(1)
            return len(read) > 2

    for each, asked in ((Late(), 3), (stop, 3)):
        stop.set()
        with pytest.raises(TargetError) as caught:
            scan(file, stop=each)
        assert caught.value.kind is FailureKind.CANCELLED
        assert len(read) == asked
    with pytest.raises(TargetError):
        list(tree.sweep(lines(file), started_ns=0, stop=stop))


# --- the sweep --------------------------------------------------------------------------------------------------------


def test_nothing_is_marked_where_nothing_changed(tmp_path: Path) -> None:
    source = trees.grow(tmp_path / "source")
    started = settle()
    found = lines(source)
    assert list(tree.sweep(found, started_ns=started, stop=NEVER)) == found


def test_everything_that_was_touched_is_marked_and_nothing_else(tmp_path: Path) -> None:
    names = (
        "still",
        "content",
        "same-bytes",
        "mode",
        "time",
        "gone",
        "renamed",
        "replaced",
        "became-link",
        "link",
        "sub",
    )
    for name in names[:-2]:
        (tmp_path / name).write_bytes(b"before")
    (tmp_path / "link").symlink_to("still")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "still").touch()
    started = settle()
    found = lines(tmp_path)
    (tmp_path / "content").write_bytes(b"after!")
    os.utime(tmp_path / "content", ns=(0, (tmp_path / "still").stat().st_mtime_ns))
    (tmp_path / "same-bytes").write_bytes(b"before")
    (tmp_path / "mode").chmod(0o600)
    os.utime(tmp_path / "time")
    (tmp_path / "gone").unlink()
    (tmp_path / "renamed").rename(tmp_path / "new-name")
    (tmp_path / "replaced").unlink()
    (tmp_path / "replaced").write_bytes(b"before")
    (tmp_path / "became-link").unlink()
    (tmp_path / "became-link").symlink_to("still")
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("mode")
    after = swept(found, started)
    changed = {path.removeprefix(f"{tmp_path}").lstrip("/") for path, entry in after.items() if entry.changed}
    lost = {path.removeprefix(f"{tmp_path}/") for path, entry in after.items() if entry.unreadable}
    assert changed == {"", *names} - {"still", "sub"}
    assert lost == {"gone", "renamed", "became-link"}


def test_what_was_changed_before_the_scan_but_after_the_start_is_marked(tmp_path: Path) -> None:
    """restic may have read it before."""
    file = tmp_path / "file"
    file.write_bytes(b"before")
    started = settle()
    file.write_bytes(b"after!")
    os.utime(file, ns=(0, 5))
    found = lines(file)
    assert not decode(found[0]).changed
    assert swept(found, started)[str(file)].changed


def test_a_change_in_the_clock_tick_before_the_start_is_marked(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    just_after = file.stat().st_ctime_ns + tree.CLOCK_SLACK_NS // 2
    assert swept(lines(file), just_after)[str(file)].changed
    assert not swept(lines(file), file.stat().st_ctime_ns + tree.COARSE_SLACK_NS + 1)[str(file)].changed


def test_what_could_not_be_read_stays_so_whatever_happened_since(tmp_path: Path) -> None:
    """It makes the backup partial, which a file that went away does not."""
    (tmp_path / "file").touch()
    unreadable = manifest.line(lines(tmp_path)[1].split(b',"sha256"')[0], marks=manifest.UNREADABLE)
    assert list(tree.sweep([unreadable], started_ns=0, stop=NEVER)) == [unreadable]
    (tmp_path / "file").unlink()
    assert list(tree.sweep([unreadable], started_ns=0, stop=NEVER)) == [unreadable]


def test_hashes_that_are_not_marked_are_those_of_bytes_nobody_touched(tmp_path: Path) -> None:
    """Writers write, rename and remove all the time; what is left unmarked must be as it was before they began."""
    source = tmp_path / "source"
    source.mkdir()
    before = {}
    for number in range(300):
        (source / f"{number:03d}").write_bytes(content := random.Random(number).randbytes(3000))
        before[str(source / f"{number:03d}")] = sha256(content).hexdigest()
    started = settle()
    enough = threading.Event()
    touched: set[str] = set()
    writer = threading.Thread(target=_churn, args=(source, enough, touched))
    writer.start()
    found = lines(source)
    enough.set()
    writer.join()
    after = swept(found, started)
    firm = {path: entry.sha256 for path, entry in after.items() if entry.type == "file" and not entry.changed}
    assert firm == {path: digest for path, digest in before.items() if path in firm}
    assert not touched & set(firm)
    assert touched
    assert len(firm) >= 250


def _churn(source: Path, enough: threading.Event, touched: set[str]) -> None:
    choose = random.Random(0)
    while not enough.is_set() or not touched:
        file = source / f"{choose.randrange(40):03d}"
        touched.add(str(file))
        match choose.randrange(3):
            case 0:
                with file.open("ab") as opened:
                    opened.write(b"more")
            case 1:
                file.unlink(missing_ok=True)
            case _:
                file.with_name("fresh").write_bytes(b"other")
                file.with_name("fresh").rename(file)


# --- what cannot be read ----------------------------------------------------------------------------------------------

_SCAN = """
import sys, threading
from jobs.policy import Paths
from targets.sources import tree
found = tree.scan(Paths(paths=(sys.argv[1],)), (), stop=threading.Event(), watch=lambda _: None)
for line in tree.sweep(found, started_ns=2**63, stop=threading.Event()) if sys.argv[2:] else found:
    sys.stdout.buffer.write(line)
"""


def as_bound_user(source: Path, *more: str) -> dict[str, Entry]:
    """A scan by somebody whom file modes bind: root without the two capabilities that pass over them."""
    bound = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all") if os.geteuid() == 0 else ()
    command = [*bound, sys.executable, "-c", _SCAN, str(source), *more]
    done = subprocess.run(command, capture_output=True, check=True, cwd=Path(__file__).parents[3])
    return {entry.path: entry for entry in map(decode, done.stdout.splitlines(keepends=True))}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Path]:
    source = tmp_path / "source"
    for name in ("closed", "listable", "enterable"):
        (source / name).mkdir(parents=True)
        (source / name / "inside").write_bytes(b"x")
    (source / "secret").write_bytes(b"x")
    (source / "open").write_bytes(b"x")
    for name, mode in (("secret", 0), ("closed", 0), ("listable", 0o400), ("enterable", 0o100)):
        (source / name).chmod(mode)
    yield source
    for name in ("closed", "listable", "enterable"):
        (source / name).chmod(0o700)


def test_what_cannot_be_read_is_an_entry_that_says_so(guarded: Path) -> None:
    for more in ((), ("sweep",)):
        found = as_bound_user(guarded, *more)
        told = {path.removeprefix(f"{guarded}/"): entry for path, entry in found.items()}
        unreadable = {path for path, entry in told.items() if entry.unreadable and not entry.changed}
        assert unreadable == {"secret", "closed", "enterable", "listable/inside"}
        assert set(told) == unreadable | {"open", "listable", str(guarded)}
        assert told["secret"].size == 1
        assert told["listable/inside"].type == "other"


# --- what must be there -----------------------------------------------------------------------------------------------


def test_all_missing_paths_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    there = (str(tmp_path / "file"), str(tmp_path / "dangling"), str(tmp_path))
    tree.require(Paths(paths=there))
    missing = (str(tmp_path / "one"), str(tmp_path / "file" / "below"))
    for act in (lambda: tree.require(Paths(paths=(*there, *missing))), lambda: lines(Paths(paths=(*there, *missing)))):
        with pytest.raises(TargetError) as caught:
            act()
        assert caught.value.kind is FailureKind.SOURCE_MISSING
        assert all(path in str(caught.value) for path in missing)
        assert f"{there[0]}," not in str(caught.value)


@pytest.mark.parametrize("pattern", ["source", "sour*", "/**/source", "*"])
def test_a_path_that_its_own_patterns_exclude_is_refused(tmp_path: Path, pattern: str) -> None:
    """restic would store nothing, or (from 0.19 on) not what was meant, and succeed."""
    source = tmp_path / "source"
    source.mkdir()
    with pytest.raises(TargetError, match="exclude patterns") as caught:
        tree.require(Paths(paths=(f"{source}/.//",), exclude=("*.tmp", pattern)))
    assert caught.value.kind is FailureKind.SOURCE_MISSING

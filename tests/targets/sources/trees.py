"""Folders to back up: everything a file system may hold, and ways to spoil one thing of it."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Event

from jobs.manifest import Entry, decode
from jobs.policy import Paths
from targets.ports import Progress
from targets.sources import tree

NEVER = Event()
EVERYTHING = Paths(paths=("/",))


def unseen(_progress: Progress) -> None:
    """Watch nothing."""


def lines(source: Paths | Path, *, root: Path | None = None, previous: Iterable[bytes] = ()) -> list[bytes]:
    """A whole scan."""
    chosen = Paths(paths=(str(source),)) if isinstance(source, Path) else source
    return list(tree.scan(chosen, previous, stop=NEVER, watch=unseen, root=root))


def entries(source: Paths | Path, *, root: Path | None = None) -> dict[str, Entry]:
    """A whole scan, decoded, by path."""
    found = [decode(line) for line in lines(source, root=root)]
    assert len({entry.path for entry in found}) == len(found)
    return {entry.path: entry for entry in found}


def settle() -> int:
    """Wait until whatever was done before bears a time that is safely in the past; give the time after that."""
    time.sleep(3 * tree.CLOCK_SLACK_NS / 1e9)
    return time.time_ns()


class Meanwhile:
    """A Stop that never stops, but does something when it is asked for the n-th time: between a look and a read."""

    def __init__(self, asked: int, act: Callable[[], object]) -> None:
        self._left, self._act = asked, act

    def is_set(self) -> bool:
        """No; but see above."""
        self._left -= 1
        if self._left == 0:
            self._act()
        return False


NAMES = (
    b"plain", b"a b", b"new\nline", b"car\rriage", b'quo"te', b"'single", b"back\\slash", b"tab\t", b"*", b"?[x]",
    b"$HOME", b"-rf", b"\xff\xfe", b"caf\xe9", "café".encode(), "cafe\u0301".encode(), "日本".encode(), b"\x01\x7f",
    b"\xf0\x9f\x9c\xa8", b"a", b"a.b", b"a!", b"x" * 255, b'"size":', b"\xe2\x80\xa8", b"trailing ", b".hidden",
    b"..dots",
)  # fmt: skip


def grow(root: Path) -> Path:
    """One of everything, below `root`."""
    for number, name in enumerate(map(os.fsdecode, NAMES)):
        folder = root / "names" / name
        folder.mkdir(parents=True)
        (folder / name).write_bytes(bytes([number]) * number)
    special = root / "special"
    special.mkdir()
    _files(special)
    _links(special)
    _modes_and_times(special)
    os.mkfifo(special / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        here = os.open(special, os.O_DIRECTORY)
        try:
            bound.bind(f"/proc/self/fd/{here}/socket")
        finally:
            os.close(here)
    deep = root.joinpath("deep", *(f"level-{number:03d}" for number in range(60)))
    deep.mkdir(parents=True)
    (deep / "bottom").write_bytes(b"bottom")
    return root


def _files(special: Path) -> None:
    (special / "empty").touch()
    (special / "large").write_bytes(random.Random(1).randbytes((1 << 20) * 2 + 17))
    (special / "exactly-one-buffer").write_bytes(b"b" * (1 << 20))
    with (special / "sparse").open("wb") as sparse:
        sparse.truncate(5 << 20)
        sparse.seek(3 << 20)
        sparse.write(b"island")
    os.link(special / "large", special / "hard-link")
    (special / "empty-folder").mkdir()


def _links(special: Path) -> None:
    for name, target in (("loop-a", "loop-b"), ("loop-b", "loop-a"), ("dangling", "nowhere//./at all"), ("up", "..")):
        os.symlink(target, special / name)  # noqa: PTH211 (pathlib would tidy the target up)


def _modes_and_times(special: Path) -> None:
    for mode in (0o4755, 0o2755, 0o1777, 0o000, 0o200, 0o777):
        file = special / f"mode-{mode:04o}"
        file.write_bytes(b"#!")
        file.chmod(mode if os.geteuid() == 0 else mode | 0o400)
    for name, seconds in (("1901", -(2**31) + 1), ("1969", -1), ("1970", 0), ("2038", 2**31), ("2100", 4102444800)):
        (special / name).write_bytes(name.encode())
        os.utime(special / name, ns=(0, seconds * 1_000_000_000 + 123_456_789))
    os.utime(special / "dangling", ns=(0, 987_654_321), follow_symlinks=False)
    os.utime(special / "empty-folder", ns=(0, 1_234_567_890_123_456_789))


def chance_tree(root: Path, seed: int) -> Path:
    """A tree that nobody thought of."""
    choose = random.Random(seed)
    folders = [root / "chance"]
    folders[0].mkdir(parents=True)
    for number in range(choose.randint(5, 40)):
        place = choose.choice(folders) / f"{choose.choice(('f', 'ü', 'a b', '.x', 'F'))}{number}"
        match choose.choice(("file", "file", "file", "folder", "link")):
            case "folder":
                place.mkdir(mode=choose.choice((0o700, 0o755, 0o711)))
                folders.append(place)
            case "link":
                place.symlink_to(choose.choice(("f0", "/etc/passwd", "..", "nowhere")))
            case _:
                place.write_bytes(choose.randbytes(choose.choice((0, 1, 100, 5000))))
                place.chmod(choose.choice((0o600, 0o644, 0o755)))
                os.utime(place, ns=(0, choose.randint(0, 2**61)))
    return root


def spoil(root: Path, choose: random.Random) -> tuple[str, str]:
    """Change one thing below a folder that stands for `/`, keeping the mtime of folders; give what and where."""
    found = sorted(_below(root))
    folders = [path for path in found if path.is_dir() and not path.is_symlink()]
    files = [path for path in found if path.is_file() and not path.is_symlink()]
    name = choose.choice(sorted(_SPOILERS))
    place = _SPOILERS[name](choose, files, folders)
    return name, "/" + str(place.relative_to(root))


def _below(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        yield from (Path(folder) / name for name in (*names, *files))


def _keeping_times(path: Path, act: Callable[[], object]) -> Path:
    times = [(each, each.lstat()) for each in (path.parent, path) if os.path.lexists(each)]
    act()
    for each, before in reversed(times):
        if os.path.lexists(each):
            os.utime(each, ns=(before.st_atime_ns, before.st_mtime_ns), follow_symlinks=False)
    return path


def _flip(choose: random.Random, files: list[Path], _: list[Path]) -> Path:
    file = choose.choice([path for path in files if path.stat().st_size])

    def flip() -> None:
        content = bytearray(file.read_bytes())
        content[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
        file.write_bytes(content)

    return _keeping_times(file, flip)


def _mode(choose: random.Random, files: list[Path], folders: list[Path]) -> Path:
    path = choose.choice(files + folders)
    return _keeping_times(path, lambda: path.chmod(path.stat().st_mode ^ choose.choice((0o1, 0o20, 0o100))))


def _time(choose: random.Random, files: list[Path], folders: list[Path]) -> Path:
    path = choose.choice(files + folders)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + choose.choice((-1000, 1000, 10**9))))
    return path


def _rename(choose: random.Random, files: list[Path], _: list[Path]) -> Path:
    file = choose.choice(files)
    return _keeping_times(file, lambda: file.rename(file.with_name("renamed")))


def _delete(choose: random.Random, files: list[Path], _: list[Path]) -> Path:
    file = choose.choice(files)
    return _keeping_times(file, file.unlink)


def _add(choose: random.Random, _: list[Path], folders: list[Path]) -> Path:
    file = choose.choice(folders) / "added"
    return _keeping_times(file, file.touch)


def _grow(choose: random.Random, files: list[Path], _: list[Path]) -> Path:
    file = choose.choice(files)
    return _keeping_times(file, lambda: os.truncate(file, file.stat().st_size + 1))


def _turn(choose: random.Random, files: list[Path], _: list[Path]) -> Path:
    file = choose.choice(files)

    def turn() -> None:
        file.unlink()
        file.symlink_to("elsewhere")

    return _keeping_times(file, turn)


_SPOILERS = {
    "flip": _flip,
    "mode": _mode,
    "time": _time,
    "rename": _rename,
    "delete": _delete,
    "add": _add,
    "grow": _grow,
    "turn": _turn,
}

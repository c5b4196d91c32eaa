"""What this machine holds: mounts, database servers, database files."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from targets.inventory import _is_real, _mount, database_servers, mounts, sqlite_files
from tests.servers.postgresql import postgresql_server


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """A small file system at a new folder."""
    place.mkdir(parents=True)
    if subprocess.run(["mount", *options, str(place)], capture_output=True, check=False).returncode:
        pytest.skip("nothing may be mounted here")  # as in a container
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_the_root_is_a_mount_and_what_is_mounted_is_seen_with_its_odd_name(tmp_path: Path) -> None:
    assert Path("/") in {mount.path for mount in mounts()}
    with mounted(tmp_path / "a disk\twith blanks", "-t", "tmpfs", "tmpfs") as place:
        (found,) = (mount for mount in mounts() if mount.path == place)
        assert (found.kind, found.read_only) == ("tmpfs", False)
    assert place not in {mount.path for mount in mounts()}


def test_what_is_no_disk_of_anybodys_is_left_out(tmp_path: Path) -> None:
    with mounted(tmp_path / "masked", "-t", "tmpfs", "-o", "ro", "tmpfs") as place:
        paths = {mount.path for mount in mounts()}
    assert not paths & {Path("/proc"), Path("/dev"), Path("/dev/shm"), Path("/sys"), place}


NODEV = frozenset({"tmpfs", "proc", "overlay", "nfs4", "fuse"})


@pytest.mark.parametrize(
    ("line", "is_real"),
    [
        ("27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw", True),
        ("27 1 0:9 / / rw - overlay overlay rw", True),
        ("28 27 0:50 / /usr rw - nfs4 server:/export rw", True),
        ("28 27 0:50 / /usr rw - fuse.sshfs user@host: rw", True),
        ("29 27 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro", False),
        ("29 27 7:1 / /usr ro - squashfs /dev/loop1 ro", False),
        ("30 27 254:1 / /boot/efi rw - vfat /dev/vda1 rw", False),
        ("31 27 0:33 / /run/user/0 rw - tmpfs tmpfs rw", False),
        ("31 27 0:33 / /tmp rw - tmpfs tmpfs rw", False),
        ("31 27 0:33 / /usr ro - tmpfs tmpfs ro", False),
        ("31 27 0:33 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw", False),
    ],
)
def test_which_mounts_count(line: str, is_real: bool) -> None:
    assert _is_real(_mount(line), NODEV) is is_real


def database(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
    return path


def test_databases_are_known_by_what_is_in_them(tmp_path: Path) -> None:
    found = database(tmp_path / "app/data.sqlite3")
    other = database(tmp_path / "deep/er/app.db")
    (tmp_path / "thumbs.db").write_bytes(b"not SQLite at all")
    (tmp_path / "empty.db").touch()
    database(tmp_path / "app/data.txt")  # nobody looks into every file of a machine
    database(tmp_path / "vault/inside.db")
    (tmp_path / "link.db").symlink_to(found)
    search = sqlite_files([tmp_path, tmp_path / "nowhere"], [tmp_path / "vault"], seconds=60)
    assert search.files == (found, other)
    assert search.complete


def test_a_search_that_takes_too_long_says_so(tmp_path: Path) -> None:
    database(tmp_path / "app.db")
    search = sqlite_files([tmp_path], [], seconds=-1)
    assert not search.complete


def test_a_running_server_is_found_once_with_its_folder_and_its_port() -> None:
    with postgresql_server() as server:
        (found,) = (each for each in database_servers() if server.port in each.ports)
        every = database_servers()
    assert found.kind == "PostgreSQL"
    assert found.data == server.folder / "data"
    assert len({each.pid for each in every}) == len(every)


@pytest.mark.parametrize(
    ("line", "is_real"),
    [
        ("28 27 254:1 / /usr rw - ext4 /dev/vdb rw", True),
        ("28 27 254:1 / /usr ro - ext4 /dev/vdb ro", True),  # a disk that is only read may be all there is of it
        ("28 27 0:50 / /usr rw - fuse none rw", False),
        ("28 27 0:50 / /usr rw - overlay overlay rw", False),
        ("28 27 254:1 / /usr/bin/env rw - ext4 /dev/vdb rw", False),  # a file that stands for another
    ],
)
def test_what_lies_on_a_disk_counts_wherever_it_is_mounted_as_a_folder(line: str, is_real: bool) -> None:
    assert _is_real(_mount(line), NODEV) is is_real


def test_a_mount_tells_of_what_it_is_a_part() -> None:
    bind = _mount(r"40 27 254:1 /srv/a\040b /mnt/a\011b ro,nosuid shared:7 master:2 - ext4 /dev/vd\134b rw")
    assert bind.path == Path("/mnt/a\tb")
    assert (bind.kind, bind.device, bind.source, bind.read_only) == ("ext4", "254:1 /srv/a b", "/dev/vd\\b", True)


def test_mounts_come_in_the_order_of_their_paths() -> None:
    paths = [mount.path for mount in mounts()]
    assert paths == sorted(set(paths))


def test_a_search_goes_eight_folders_deep_and_passes_over_what_programs_keep_for_themselves(tmp_path: Path) -> None:
    eighth = tmp_path.joinpath(*"abcdefgh")
    found = [database(eighth / "z.db"), database(eighth / "a.db")]
    for passed_over in (eighth / "i", tmp_path / ".cache", tmp_path / ".cache-2", tmp_path / "node_modules"):
        database(passed_over / "own.db")
    elsewhere = database(tmp_path.parent / f"{tmp_path.name}-beside/own.db")
    (tmp_path / "linked").symlink_to(elsewhere.parent)
    assert sqlite_files([tmp_path], [], seconds=60).files == tuple(sorted(found))


def test_a_search_stays_on_the_file_system_it_began_on(tmp_path: Path) -> None:
    with mounted(tmp_path / "other", "-t", "tmpfs", "tmpfs") as place:
        there = database(place / "there.db")
        assert sqlite_files([tmp_path], [], seconds=60).files == ()
        assert sqlite_files([tmp_path, place], [], seconds=60).files == (there,)


def test_a_search_looks_at_the_time_also_where_there_is_nothing_but_folders(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert not sqlite_files([tmp_path], [], seconds=-1).complete

"""Reports' files: whole or not there, never written over in silence, and every refusal of the system has its kind."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from jobs.failure import FailureKind
from orchestrator.reporting.files import publish
from targets.errors import TargetError
from tests.acceptance.faults import fill, small_disk

NAME: Final = "integrity-health-2026-02.html"


def names(folder: Path) -> dict[str, bytes]:
    """What is in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_written_is_what_is_said(tmp_path: Path) -> None:
    contents = {NAME: b"<html>", "integrity-health-2026-02.json": b"{}"}
    published = publish(tmp_path, contents)
    assert names(tmp_path) == contents
    assert {file.name: (file.bytes, file.sha256) for file in published.files} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in contents.items()
    }
    assert published.kept == ()
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


def test_the_mode_is_no_matter_of_the_umask(tmp_path: Path) -> None:
    former = os.umask(0o077)
    try:
        publish(tmp_path, {NAME: b"x"})
    finally:
        os.umask(former)
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o640


def test_what_was_there_is_kept_under_the_first_free_number(tmp_path: Path) -> None:
    kept = [publish(tmp_path, {NAME: content}).kept for content in (b"first", b"second", b"third")]
    assert kept == [(), ("integrity-health-2026-02.1.html",), ("integrity-health-2026-02.2.html",)]
    assert names(tmp_path) == {
        NAME: b"third",
        "integrity-health-2026-02.1.html": b"first",
        "integrity-health-2026-02.2.html": b"second",
    }


def test_the_same_bytes_are_there_already(tmp_path: Path) -> None:
    publish(tmp_path, {NAME: b"same"})
    before = (tmp_path / NAME).stat().st_ino
    again = publish(tmp_path, {NAME: b"same"})
    assert (again.kept, (tmp_path / NAME).stat().st_ino) == ((), before)
    assert [file.name for file in again.files] == [NAME]


def test_what_a_killed_process_left_is_no_trouble(tmp_path: Path) -> None:
    """Half a file beside, and an older one that has its second name already."""
    (tmp_path / NAME).write_bytes(b"old")
    os.link(tmp_path / NAME, tmp_path / "integrity-health-2026-02.1.html")
    (tmp_path / f".{NAME}.part").write_bytes(b"ha")
    assert publish(tmp_path, {NAME: b"new"}).kept == ("integrity-health-2026-02.1.html",)
    assert names(tmp_path) == {NAME: b"new", "integrity-health-2026-02.1.html": b"old"}


def test_no_link_is_followed(tmp_path: Path) -> None:
    """Who may write into the folder does not make us write elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / NAME).symlink_to(elsewhere)
    (folder / f".{NAME}.part").symlink_to(elsewhere)
    assert publish(folder, {NAME: b"new"}).kept == ("integrity-health-2026-02.1.html",)
    assert elsewhere.read_bytes() == b"mine"
    assert (folder / "integrity-health-2026-02.1.html").is_symlink()
    assert not (folder / NAME).is_symlink()


def test_a_link_to_the_same_bytes_is_no_file_of_ours(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"same")
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    publish(tmp_path, {NAME: b"same"})
    assert not (tmp_path / NAME).is_symlink()


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(TargetError) as refused:
        publish(tmp_path / "mount" / "reports", {NAME: b"x"})
    assert refused.value.kind is FailureKind.FOLDER_UNAVAILABLE
    assert refused.value.failure.retryable
    assert str(tmp_path / "mount" / "reports") in str(refused.value)
    assert not (tmp_path / "mount").exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("")
    with pytest.raises(TargetError) as refused:
        publish(tmp_path / "reports", {NAME: b"x"})
    assert refused.value.kind is FailureKind.FOLDER_UNAVAILABLE


@pytest.mark.as_root
def test_a_full_disk_changes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        publish(disk, {NAME: b"old"})
        ballast = fill(disk)
        with pytest.raises(TargetError) as refused:
            publish(disk, {NAME: b"new" * 10_000, "integrity-health-2026-02.json": b"{}" * 10_000})
        assert refused.value.kind is FailureKind.DISK_FULL
        assert sorted(path.name for path in disk.iterdir() if path != ballast) == [NAME]
        assert (disk / NAME).read_bytes() == b"old"


# The kernel itself answers EPERM to link, linkat and fchmod, as it does on a FAT file system: see seccomp(2).
_WITHOUT: Final = """
import ctypes, errno, struct, sys
from pathlib import Path
from orchestrator.reporting.files import publish

calls = [int(each) for each in sys.argv[2].split(",")]
# BPF: load the call's number; one of these: EPERM; else: allowed.
code = [(0x20, 0, 0, 0), *((0x15, len(calls) - at, 0, call) for at, call in enumerate(calls))]
code += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050000 | errno.EPERM)]
raw = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in code))
libc = ctypes.CDLL(None, use_errno=True)
program = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(raw)))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):  # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
    sys.exit(77)
print(publish(Path(sys.argv[1]), {name: b"new" for name in sys.argv[3:]}).kept)
"""
_CALLS: Final = {"x86_64": "86,265,91", "aarch64": "37,52"}  # link, linkat, fchmod


def published_without_links(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    """Publish "new" under each name where there are neither second names nor modes."""
    if platform.machine() not in _CALLS:
        pytest.skip("the numbers of this machine's system calls are not known here")
    argv = [sys.executable, "-c", _WITHOUT, str(folder), _CALLS[platform.machine()], *names]
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=False)
    if ended.returncode == 77:
        pytest.skip("no system call may be refused here")
    return ended


def test_without_links_and_modes_the_old_one_is_copied(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"old")
    ended = published_without_links(tmp_path, NAME)
    assert (ended.returncode, ended.stdout) == (0, "('integrity-health-2026-02.1.html',)\n"), ended.stderr
    assert names(tmp_path) == {NAME: b"new", "integrity-health-2026-02.1.html": b"old"}


def test_without_links_one_that_was_copied_before_is_not_copied_again(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"old")
    (tmp_path / "integrity-health-2026-02.1.html").write_bytes(b"old")
    assert published_without_links(tmp_path, NAME).returncode == 0
    assert names(tmp_path) == {NAME: b"new", "integrity-health-2026-02.1.html": b"old"}


@pytest.mark.as_root
def test_without_links_no_name_is_ever_without_its_file(tmp_path: Path) -> None:
    """The second file cannot be replaced: something is mounted there."""
    second = "integrity-health-2026-02.json"
    with small_disk(tmp_path / "disk", 1) as disk:
        for name in (NAME, second, "other"):
            (disk / name).write_bytes(b"old")
        subprocess.run(["mount", "--bind", str(disk / "other"), str(disk / second)], check=True)
        ended = published_without_links(disk, NAME, second)
        subprocess.run(["umount", str(disk / second)], check=True)
        assert "FOLDER_UNAVAILABLE" in ended.stderr or "busy" in ended.stderr
        there = names(disk)
        assert (there["integrity-health-2026-02.1.html"], there[second]) == (b"old", b"old")
        assert there[NAME] in {b"old", b"new"}


@pytest.mark.as_root
def test_a_disk_too_full_for_the_copy_changes_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        (disk / NAME).write_bytes(b"old" * 10_000)
        ballast = fill(disk, leave=8192)
        ended = published_without_links(disk, NAME)
        assert "No space left on device" in ended.stderr
        assert sorted(path.name for path in disk.iterdir() if path != ballast) == [NAME]
        assert (disk / NAME).read_bytes() == b"old" * 10_000

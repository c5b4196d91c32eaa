"""This machine: the living and the dead, bytes moved, room left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from targets.host import (
    disk_of,
    free_space,
    here,
    io_bytes,
    is_alive,
    peak_memory,
    processes_numbered,
    this_process,
    user_name,
)

MEBIBYTE = 1 << 20


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether it came true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def test_we_live() -> None:
    owner = this_process()
    assert owner.pid == os.getpid()
    assert is_alive(owner) is True
    assert owner == this_process()


OTHER_BOOT = "00000000-0000-0000-0000-000000000000/pid:[1]"


def test_of_another_host_nothing_is_known() -> None:
    assert is_alive(replace(this_process(), host="elsewhere", boot=OTHER_BOOT)) is None


def test_a_host_that_was_renamed_is_still_here() -> None:
    owner = replace(this_process(), host="the-former-name")
    assert is_alive(owner) is True
    assert is_alive(replace(owner, started="1")) is False


@pytest.mark.parametrize("namespace", ["/pid:[1]", ""], ids=["another one", "none told"])
def test_of_another_container_on_this_host_nothing_is_known(namespace: str) -> None:
    """Its process ids are not ours: an id that is free here may live there."""
    boot = this_process().boot.partition("/")[0] + namespace
    assert is_alive(replace(this_process(), host="elsewhere", boot=boot, started="1")) is None


def test_an_owner_on_record_without_a_process_namespace_is_known_by_its_host() -> None:
    owner = replace(this_process(), boot=this_process().boot.partition("/")[0])
    assert is_alive(owner) is True
    assert is_alive(replace(owner, started="1")) is False


def test_another_boot_ended_everything() -> None:
    assert is_alive(replace(this_process(), boot="00000000-0000-0000-0000-000000000000")) is False


def test_a_reused_process_id_is_not_the_owner() -> None:
    assert is_alive(replace(this_process(), started="1")) is False


def test_a_child_lives_until_it_ends_and_a_zombie_is_dead() -> None:
    script = (
        "import sys; from targets.host import this_process as t; o = t(); print(o.pid, o.started, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        pid, started = child.stdout.readline().decode().split()
        owner = replace(this_process(), pid=int(pid), started=started)
        assert is_alive(owner) is True
        child.stdin.close()
        assert wait_for(lambda: is_alive(owner) is False), "a zombie must not pass for the living"
        child.wait()
        assert is_alive(owner) is False


# Moves bytes, says so, and waits until its standard input ends (not the pipe's, which has ended).
MOVING = f"exec 3<&0; head -c {8 * MEBIBYTE} /dev/zero | (cat > /dev/null; echo moved; read wait <&3)"


def test_bytes_of_a_grandchild_count() -> None:
    with subprocess.Popen(["/bin/sh", "-c", f"{MOVING}; true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == b"moved\n"
        assert io_bytes(child.pid) >= 8 * MEBIBYTE
        child.stdin.close()


def test_what_has_ended_moved_and_holds_nothing() -> None:
    with subprocess.Popen(["/bin/true"]) as child:
        pid = child.pid
    assert io_bytes(pid) == 0
    assert peak_memory(pid) == 0


def test_room_is_that_of_the_disk_also_for_a_folder_to_be(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    size = disk.f_blocks * disk.f_frsize
    assert 0 < free_space(tmp_path) < size
    assert abs(free_space(tmp_path / "not" / "yet") - free_space(tmp_path)) < size // 10


def test_our_peak_grows_with_what_we_hold() -> None:
    before = peak_memory()
    held = bytearray(b"x") * before
    assert peak_memory() > before + len(held) // 4


# --- who may have made a lock -------------------------------------------------------------------------------------


def test_a_living_process_is_seen_with_its_name_and_since_when() -> None:
    before = datetime.now(UTC)
    with subprocess.Popen(["sleep", "60"]) as child:
        assert wait_for(lambda: [seen.name for seen in processes_numbered(child.pid, datetime.now(UTC))] == ["sleep"])
        (seen,) = processes_numbered(child.pid, datetime.now(UTC))
        child.kill()
        assert wait_for(lambda: processes_numbered(child.pid, datetime.now(UTC)) == ())  # a zombie holds no lock
    assert seen.pid == child.pid
    assert not seen.is_restic
    assert before - timedelta(seconds=1) <= seen.started_at <= datetime.now(UTC)


def test_a_process_in_a_container_is_seen_under_the_number_it_knows_itself_by() -> None:
    words = ["unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode or not here().sees_all:
        pytest.skip("namespaces may not be made here")
    known = {seen.pid for seen in processes_numbered(1, datetime.now(UTC))}
    with subprocess.Popen([*words, "sleep", "60"]) as child:

        def inside() -> list[str]:
            return [seen.name for seen in processes_numbered(1, datetime.now(UTC)) if seen.pid not in known]

        assert wait_for(lambda: inside() == ["sleep"])
        child.kill()


def test_from_inside_a_container_not_everything_is_seen() -> None:
    words = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces may not be made here")
    asked = [*words, sys.executable, "-c", "from targets.host import here; print(here().sees_all)"]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_two_paths_on_one_disk_share_it_also_before_they_are_made(tmp_path: Path) -> None:
    assert disk_of(tmp_path / "not/yet/there") == disk_of(tmp_path)
    assert disk_of(Path("/proc")) != disk_of(tmp_path)


def test_we_know_who_we_are() -> None:
    assert user_name()


def test_who_became_somebody_else_is_named_with_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    name = user_name()
    for before, told in (("operator-7", f"operator-7 (as {name})"), (name, name), ("", name)):
        monkeypatch.setenv("SUDO_USER", before)
        assert user_name() == told


def test_what_descendants_of_any_generation_move_counts() -> None:
    """A shell in a shell in a shell: none of them is replaced by what it runs."""
    nested = f"/bin/sh -c '{MOVING}; true'; true"
    words = ["/bin/sh", "-c", f'/bin/sh -c "{nested}"; true']
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == b"moved\n"
        assert io_bytes(child.pid) >= 8 * MEBIBYTE
        child.stdin.close()


def test_room_is_counted_in_bytes_as_everybody_counts_it(tmp_path: Path) -> None:
    assert wait_for(lambda: free_space(tmp_path) == shutil.disk_usage(tmp_path).free)  # others write meanwhile


def test_memory_is_held_in_whole_pages() -> None:
    assert peak_memory() % os.sysconf("SC_PAGE_SIZE") == 0
    assert peak_memory() > 4 * MEBIBYTE

"""The whole adapter on the restic at hand, where something goes wrong: which failure, and what is left behind."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.ports import Access, Progress, RepositoryAddress
from targets.restic.engine import Restic
from targets.secret import Secret
from tests.bare_restic import PASSWORD
from tests.servers.program import LOOPBACK, free_port
from tests.servers.rest import RestServer
from tests.targets.restic.conftest import LIMITS, Site, access, children, request, write_noise
from tests.targets.test_host import wait_for

KIND = FailureKind
ENDLESS = 1 << 38  # bytes of a file without a single block: reading it keeps restic busy, and nothing is written


def unwatched(_: Progress) -> None:
    """Nobody looks."""


def kind_of(call: Callable[[], object]) -> FailureKind:
    """The failure that a call must end in; its text holds no secret and names the repository."""
    with pytest.raises(TargetError) as caught:
        call()
    assert PASSWORD not in str(caught.value)
    return caught.value.kind


def once_it_moves(act: Callable[[psutil.Process], None]) -> Callable[[Progress], None]:
    """A watch that acts on restic once, in the middle of a backup."""
    done = threading.Event()

    def watch(progress: Progress) -> None:
        if progress.bytes_done and not done.is_set():
            done.set()
            (restic,) = children()
            act(restic)

    return watch


def long_backup(site: Site, watch: Callable[[Progress], None], *, restic: Restic | None = None) -> FailureKind:
    with (site.source / "endless").open("wb") as file:
        file.truncate(ENDLESS)
    primary = access(site.primary)
    return kind_of(lambda: (restic or site.restic).backup(primary, request(site.source), watch=watch, stop=site.stop))


# --- the tool ------------------------------------------------------------------------------------------------------


def find(tmp_path: Path, program: str) -> Callable[[], Restic]:
    return lambda: Restic.find(program, cache=tmp_path, limits=LIMITS)


def script(path: Path, line: str) -> str:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return str(path)


def test_a_restic_that_is_not_there_or_too_old_or_none_is_refused(tmp_path: Path) -> None:
    assert kind_of(find(tmp_path, str(tmp_path / "absent"))) is KIND.TOOL_MISSING
    assert kind_of(find(tmp_path, script(tmp_path / "echo", "echo hello"))) is KIND.TOOL_MISSING
    old = script(tmp_path / "restic", "echo restic 0.12.1 compiled with go1.16 on linux/amd64")
    with pytest.raises(TargetError, match=r"0\.12\.1.*0\.14\.0") as caught:
        find(tmp_path, old)()
    assert caught.value.kind is KIND.TOOL_TOO_OLD


# --- the repository ------------------------------------------------------------------------------------------------


def test_a_wrong_password_on_either_side(site: Site) -> None:
    wrong = replace(access(site.primary), password=Secret("not this one"))
    right = access(site.secondary)
    assert kind_of(lambda: site.restic.snapshots(wrong, stop=site.stop)) is KIND.WRONG_PASSWORD
    copy = lambda: site.restic.copy(wrong, right, ("abc",), watch=unwatched, stop=site.stop)  # noqa: E731 (one line)
    assert kind_of(copy) is KIND.WRONG_PASSWORD
    check = lambda: site.restic.check(wrong, read_data="none", watch=unwatched, stop=site.stop)  # noqa: E731 (one line)
    assert kind_of(check) is KIND.WRONG_PASSWORD


def test_no_repository_and_one_too_many(site: Site, tmp_path: Path) -> None:
    restic, nowhere = site.restic, access(tmp_path / "nowhere")
    assert kind_of(lambda: restic.snapshots(nowhere, stop=site.stop)) is KIND.REPOSITORY_MISSING
    assert kind_of(lambda: restic.backup(nowhere, request(site.source), watch=unwatched, stop=site.stop)) is (
        KIND.REPOSITORY_MISSING
    )
    assert kind_of(lambda: restic.init(access(site.primary))) is KIND.REPOSITORY_FOREIGN


def test_no_such_snapshot_and_no_such_file(site: Site, tmp_path: Path) -> None:
    restic, stop, primary = site.restic, site.stop, access(site.primary)
    stored = restic.backup(primary, request(site.source / "sub"), watch=unwatched, stop=stop)
    absent = "deadbeef"
    restore = lambda: restic.restore(primary, absent, tmp_path / "r", watch=unwatched, stop=stop)  # noqa: E731 (one line)
    assert kind_of(restore) is KIND.SNAPSHOT_MISSING
    copy = lambda: restic.copy(primary, access(site.secondary), (absent,), watch=unwatched, stop=stop)  # noqa: E731 (one line)
    assert kind_of(copy) is KIND.SNAPSHOT_MISSING
    assert kind_of(lambda: list(restic.dump(primary, stored.snapshot, "/no", stop=stop))) is KIND.NOTHING_MATCHES


def test_a_lock_is_named_and_goes_with_its_holder(site: Site) -> None:
    primary = access(site.primary)
    holder = site.restic.backup_stdin(primary, "stream", ("tandem",), "h", stop=site.stop)
    try:
        assert wait_for(lambda: len(site.locks()) == 1)
        holder.write(bytes(1 << 18))  # it reads once the lock is its own: ended 200 ms earlier, 0.14 leaves it behind
        with pytest.raises(TargetError, match="locked by PID") as caught:
            site.restic.forget(primary, ("abc",), prune=False, watch=unwatched, stop=site.stop)
        assert caught.value.kind is KIND.REPOSITORY_LOCKED
        check = lambda: site.restic.check(primary, read_data="none", watch=unwatched, stop=site.stop)  # noqa: E731 (one line)
        assert kind_of(check) is KIND.REPOSITORY_LOCKED
    finally:
        holder.abort()
    assert site.locks() == []
    site.restic.forget(primary, ("abc",), prune=False, watch=unwatched, stop=site.stop)


def flip_a_bit(repository: Path) -> None:
    pack = max((repository / "data").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    pack.chmod(0o600)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)


def test_a_flipped_bit_is_a_finding_of_check_and_restore_and_stops_dump_and_copy(site: Site, tmp_path: Path) -> None:
    restic, stop, primary = site.restic, site.stop, access(site.primary)
    restic.backup(primary, request(site.source), watch=unwatched, stop=stop)
    (snapshot,) = site.ids()
    flip_a_bit(site.primary)
    assert restic.check(primary, read_data="none", watch=unwatched, stop=stop).errors == 0
    checked = restic.check(primary, read_data="100%", watch=unwatched, stop=stop)
    assert checked.errors >= 1
    assert any("pack" in line.lower() for line in checked.findings)
    restored = restic.restore(primary, snapshot, tmp_path / "r", watch=unwatched, stop=stop)
    assert restored.errors
    assert all(line.startswith(str(site.source / "big")) for line in restored.errors)
    received: list[bytes] = []
    pieces = restic.dump(primary, snapshot, str(site.source / "big"), stop=stop)
    assert kind_of(lambda: received.extend(pieces)) is KIND.REPOSITORY_DAMAGED
    copy = lambda: restic.copy(primary, access(site.secondary), (snapshot,), watch=unwatched, stop=stop)  # noqa: E731 (one line)
    assert kind_of(copy) is KIND.REPOSITORY_DAMAGED
    assert site.ids(site.secondary) == ()


def test_a_lost_index_is_a_finding(site: Site) -> None:
    restic, stop, primary = site.restic, site.stop, access(site.primary)
    restic.backup(primary, request(site.source / "sub"), watch=unwatched, stop=stop)
    for index in (site.primary / "index").iterdir():
        index.unlink()
    assert restic.check(primary, read_data="none", watch=unwatched, stop=stop).errors >= 1


# --- the vault -----------------------------------------------------------------------------------------------------


def test_a_vault_that_does_not_answer_is_given_up_within_seconds(site: Site) -> None:
    """0.18 and 0.19 would try for fifteen minutes."""
    address = RepositoryAddress(label="t@rest", url=Secret(f"rest:http://u:{PASSWORD[:2]}@{LOOPBACK}:{free_port()}/t/"))
    nobody = Access(address=address, password=Secret(PASSWORD))
    with pytest.raises(TargetError, match="connection refused") as caught:
        site.restic.snapshots(nobody, stop=site.stop)
    assert caught.value.kind is KIND.VAULT_UNREACHABLE


def test_a_folder_that_nobody_may_write_to_denies_access(site: Site, respectful: Restic) -> None:
    """0.14 would try for fifteen minutes."""
    locks = site.primary / "locks"
    locks.chmod(0o500)
    try:
        backup = lambda: respectful.backup(  # noqa: E731 (one line)
            access(site.primary), request(site.source), watch=unwatched, stop=site.stop
        )
        assert kind_of(backup) is KIND.ACCESS_DENIED
    finally:
        locks.chmod(0o700)


@pytest.fixture
def append_only(site: Site, tmp_path: Path) -> Iterator[Access]:
    """The primary behind a server that deletes no snapshot."""
    root = tmp_path / "root"
    root.mkdir()
    site.primary.rename(root / "t")
    with RestServer(tmp_path / "server", root=root, append_only=True) as server:
        url = f"rest:http://{server.user}:{quote(server.password, safe='')}@{LOOPBACK}:{server.port}/t/"
        yield Access(address=RepositoryAddress(label="t@rest", url=Secret(url)), password=Secret(PASSWORD))


def test_a_snapshot_that_an_append_only_server_keeps_is_not_removed(site: Site, append_only: Access) -> None:
    """0.14 would try for fifteen minutes, 0.18 exits 0."""
    site.restic.backup(append_only, request(site.source / "sub"), watch=unwatched, stop=site.stop)
    (snapshot,) = site.restic.snapshots(append_only, stop=site.stop)
    forget = lambda: site.restic.forget(append_only, (snapshot.id,), prune=False, watch=unwatched, stop=site.stop)  # noqa: E731 (one line)
    assert kind_of(forget) is KIND.NOT_REMOVED


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MiB."""
    disk = tmp_path / "small"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount a tmpfs")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.as_root
def test_a_full_disk_in_a_backup_a_copy_and_a_restore(site: Site, small_disk: Path) -> None:
    restic, stop, primary = site.restic, site.stop, access(site.primary)
    write_noise(site.source / "big", 20_000_000)
    small = access(Path(shutil.copytree(site.secondary, small_disk / "t")))
    backup = lambda: restic.backup(small, request(site.source), watch=unwatched, stop=stop)  # noqa: E731 (one line)
    assert kind_of(backup) is KIND.DISK_FULL
    assert not any((small_disk / "t" / "locks").iterdir())
    restic.backup(primary, request(site.source), watch=unwatched, stop=stop)
    (snapshot,) = site.ids()
    copy = lambda: restic.copy(primary, small, (snapshot,), watch=unwatched, stop=stop)  # noqa: E731 (one line)
    assert kind_of(copy) is KIND.DISK_FULL
    shutil.rmtree(small_disk / "t")
    restore = lambda: restic.restore(primary, snapshot, small_disk / "r", watch=unwatched, stop=stop)  # noqa: E731 (one line)
    assert kind_of(restore) is KIND.DISK_FULL


# --- ended in the middle -------------------------------------------------------------------------------------------


def test_a_cancelled_backup_leaves_no_lock_and_no_snapshot(site: Site) -> None:
    assert long_backup(site, once_it_moves(lambda _: site.stop.set())) is KIND.CANCELLED
    assert site.locks() == []
    site.stop.clear()
    assert site.ids() == ()


def test_a_deadline_ends_a_backup(site: Site) -> None:
    hasty = replace(site.restic, limits=replace(LIMITS, deadline_seconds=1.5))
    assert long_backup(site, unwatched, restic=hasty) is KIND.DEADLINE
    assert site.locks() == []


def test_a_backup_that_stands_still_is_ended(site: Site) -> None:
    impatient = replace(site.restic, limits=replace(LIMITS, no_progress_seconds=1.5))
    freeze = once_it_moves(lambda restic: restic.send_signal(signal.SIGSTOP))
    assert long_backup(site, freeze, restic=impatient) is KIND.NO_PROGRESS
    assert site.locks() == []


def test_a_restic_that_takes_too_much_memory_is_ended(site: Site, tmp_path: Path) -> None:
    hungry = Restic.find(site.restic.program, cache=tmp_path / "cache", limits=LIMITS, memory=16 << 20)
    assert long_backup(site, unwatched, restic=hungry) is KIND.KILLED
    assert site.locks() == []


def test_a_killed_backup_is_told_and_leaves_its_lock_and_no_snapshot(site: Site) -> None:
    assert long_backup(site, once_it_moves(lambda restic: restic.kill())) is KIND.KILLED
    assert len(site.locks()) == 1
    assert site.ids() == ()


def test_a_stream_whose_restic_is_killed_says_so_to_who_writes(site: Site) -> None:
    stream = site.restic.backup_stdin(access(site.primary), "stream", ("tandem",), "h", stop=site.stop)
    assert wait_for(lambda: len(children()) == 1)
    children()[0].kill()
    assert kind_of(lambda: stream.write(bytes(10_000_000))) is KIND.KILLED
    assert kind_of(stream.finish) is KIND.KILLED


def test_a_stream_into_a_wrong_password_says_so_to_who_writes(site: Site) -> None:
    wrong = replace(access(site.primary), password=Secret("not this one"))
    stream = site.restic.backup_stdin(wrong, "stream", ("tandem",), "h", stop=site.stop)
    assert kind_of(lambda: stream.write(bytes(10_000_000))) is KIND.WRONG_PASSWORD


def test_a_dump_that_nobody_reads_to_its_end_leaves_nothing_behind(site: Site) -> None:
    primary = access(site.primary)
    write_noise(site.source / "big", 8_000_000)
    stored = site.restic.backup(primary, request(site.source), watch=unwatched, stop=site.stop)
    pieces = site.restic.dump(primary, stored.snapshot, str(site.source / "big"), stop=site.stop)
    assert next(pieces)
    pieces.close()
    assert site.locks() == []


# --- secrets -------------------------------------------------------------------------------------------------------


def test_no_list_of_processes_shows_a_password_or_an_address(site: Site) -> None:
    shown: list[str] = []

    def look(restic: psutil.Process) -> None:
        shown.extend([*restic.cmdline(), *(f"{name}={value}" for name, value in restic.environ().items())])
        site.stop.set()

    long_backup(site, once_it_moves(look))
    assert any(word.startswith("RESTIC_PASSWORD_FILE=/dev/fd/") for word in shown)
    assert not [word for word in shown if PASSWORD in word or str(site.primary) in word]

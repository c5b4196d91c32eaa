"""The whole adapter on the restic at hand, where all goes well."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.history import Usage
from jobs.snapshot import parity
from targets.ports import Checked, Progress, Restored
from targets.restic.engine import Restic
from targets.restic.versions import OLDEST
from targets.secret import Secret
from tests.targets.restic.conftest import LIMITS, NOON, Site, access, request, write_noise


def test_it_knows_itself(installed: Restic) -> None:
    assert installed.version >= OLDEST
    assert installed.tool == f"restic {installed.version}"


def test_a_snapshot_travels_and_comes_back(site: Site, tmp_path: Path) -> None:
    restic, stop, primary, secondary = site.restic, site.stop, access(site.primary), access(site.secondary)
    progress: list[Progress] = []

    stored = restic.backup(primary, request(site.source), watch=progress.append, stop=stop)
    assert (stored.files, stored.bytes, stored.unreadable) == (2, 3_000_100, ())
    assert stored.bytes_added > 3_000_000
    assert stored.usage.peak_memory > 10 << 20
    assert stored.usage.cpu_seconds > 0

    (snapshot,) = restic.snapshots(primary, tags=("tandem", "run=1"), stop=stop)
    assert snapshot.id.startswith(stored.snapshot)
    assert (snapshot.time, snapshot.tags, snapshot.hostname) == (NOON, ("tandem", "run=1"), "h")
    assert snapshot.paths == (str(site.source),)
    assert restic.snapshots(primary, tags=("tandem", "run=2"), stop=stop) == ()

    usage = restic.copy(primary, secondary, (snapshot.id,), watch=progress.append, stop=stop)
    assert usage.seconds > 0
    (replica,) = restic.snapshots(secondary, stop=stop)
    assert parity([snapshot], [replica]).equal == (snapshot,)
    assert replica.original == snapshot.id

    assert _sound(restic.check(secondary, read_data="100%", watch=progress.append, stop=stop))
    restored = restic.restore(secondary, replica.id, tmp_path / "all", watch=progress.append, stop=stop)
    assert restored == Restored(usage=restored.usage)
    back = tmp_path / "all" / site.source.relative_to("/")
    assert (back / "big").read_bytes() == (site.source / "big").read_bytes()

    restic.restore(secondary, replica.id, tmp_path / "some", include=("*.txt",), watch=progress.append, stop=stop)
    assert [path.name for path in (tmp_path / "some").rglob("*") if path.is_file()] == ["small.txt"]
    pieces = restic.dump(secondary, replica.id, str(site.source / "big"), stop=stop)
    assert b"".join(pieces) == (site.source / "big").read_bytes()


def test_a_repository_is_made_that_cuts_files_like_another(site: Site, tmp_path: Path) -> None:
    first, second, third = (tmp_path / "first", tmp_path / "second", tmp_path / "third")
    site.restic.init(access(first))
    site.restic.init(access(second), like=access(first))
    site.restic.init(access(third), like=access(site.primary))
    assert _chunker(site, first) == _chunker(site, second) != _chunker(site, site.primary)
    assert _chunker(site, third) == _chunker(site, site.primary)
    assert site.ids(first) == ()


def _sound(checked: Checked) -> bool:
    return checked == Checked(errors=0, findings=(), usage=checked.usage)


def _chunker(site: Site, repository: Path) -> object:
    return json.loads(site.bare(repository).do("cat", "config"))["chunker_polynomial"]


def test_a_folder_is_stored_from_where_it_stands(site: Site) -> None:
    site.restic.backup(
        access(site.primary), request("sub", directory=site.source), watch=lambda _: None, stop=site.stop
    )
    nodes = site.bare(site.primary).nodes("latest")
    assert "/sub/small.txt" in nodes
    assert not [path for path in nodes if str(site.source) in path]


def test_progress_is_told(site: Site) -> None:
    """Slowly enough that restic's two status lines a second say something."""
    write_noise(site.source / "more", 12_000_000)
    progress: list[Progress] = []
    slow = access(site.primary, upload=8_000_000)
    site.restic.backup(slow, request(site.source), watch=progress.append, stop=site.stop)
    assert progress
    assert progress[-1].bytes_done > 0
    assert {told.bytes_total for told in progress} & {15_000_100}


def test_a_missing_source_is_named_and_the_rest_is_stored(site: Site) -> None:
    """0.14 and 0.18 exit 0 here."""
    absent = site.source / "not there"
    stored = site.restic.backup(
        access(site.primary), request(site.source, absent), watch=lambda _: None, stop=site.stop
    )
    assert stored.unreadable == (str(absent),)
    assert stored.files == 2


def test_a_file_that_may_not_be_read_is_named_and_the_rest_is_stored(site: Site, respectful: Restic) -> None:
    closed, folder = write_noise(site.source / "closed file", 10), site.source / "closed"
    write_noise(folder / "inside", 10)
    closed.chmod(0)
    folder.chmod(0)
    try:
        stored = respectful.backup(access(site.primary), request(site.source), watch=lambda _: None, stop=site.stop)
    finally:
        folder.chmod(0o700)
    assert sorted(stored.unreadable) == sorted([str(closed), str(folder)])
    assert stored.files == 2
    assert len(site.ids()) == 1


def test_snapshots_are_forgotten_and_their_data_is_pruned(site: Site) -> None:
    restic, primary = site.restic, access(site.primary)
    for run in ("run=1", "run=2"):
        write_noise(site.source / "big", 3_000_000 + len(run)).rename(site.source / run)
        restic.backup(primary, request(site.source / run, tags=("tandem", run)), watch=lambda _: None, stop=site.stop)
    first, second = restic.snapshots(primary, stop=site.stop)
    before = _size(site.primary)
    restic.forget(primary, (first.id,), prune=True, watch=lambda _: None, stop=site.stop)
    assert site.ids() == (second.id,)
    assert _size(site.primary) <= before
    assert _sound(restic.check(primary, read_data="none", watch=lambda _: None, stop=site.stop))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_nothing_named_costs_nothing(site: Site) -> None:
    nowhere = access(Path("/no/such/repository"))
    assert site.restic.forget(nowhere, (), prune=True, watch=lambda _: None, stop=site.stop) == Usage()
    assert site.restic.copy(nowhere, nowhere, (), watch=lambda _: None, stop=site.stop) == Usage()


def test_a_stream_is_stored(site: Site) -> None:
    restic, primary = site.restic, access(site.primary)
    stream = restic.backup_stdin(primary, "manifest.jsonl", ("tandem", "content=manifest"), "h", stop=site.stop)
    for number in range(50):
        stream.write(b"%d\n" % number * 10_000)
    stored = stream.finish()
    stream.abort()
    assert stored.files == 1
    (snapshot,) = restic.snapshots(primary, tags=("content=manifest",), stop=site.stop)
    assert snapshot.id.startswith(stored.snapshot)
    whole = b"".join(restic.dump(primary, snapshot.id, "/manifest.jsonl", stop=site.stop))
    assert whole == b"".join(b"%d\n" % number * 10_000 for number in range(50))
    assert len(whole) == stored.bytes


def test_a_stream_that_is_aborted_leaves_no_snapshot_and_no_lock(site: Site) -> None:
    stream = site.restic.backup_stdin(access(site.primary), "manifest", ("tandem",), "h", stop=site.stop)
    stream.write(bytes(3_000_000))
    stream.abort()
    assert site.locks() == []
    assert site.ids() == ()


def test_two_repositories_with_other_keys_cannot_be_served_at_once(site: Site) -> None:
    first, second = (access(repository) for repository in (site.primary, site.secondary))
    keyed = [
        type(one)(
            address=type(one.address)(
                label=one.address.label, url=one.address.url, environment={"AWS_ACCESS_KEY_ID": Secret(key)}
            ),
            password=one.password,
        )
        for one, key in ((first, "a"), (second, "b"))
    ]
    with pytest.raises(ValueError, match="AWS_ACCESS_KEY_ID"):
        site.restic.copy(keyed[0], keyed[1], ("abc",), watch=lambda _: None, stop=site.stop)


def test_limits_are_those_it_was_given(installed: Restic) -> None:
    assert installed.limits == LIMITS


def test_it_works_with_the_memory_it_is_given(site: Site) -> None:
    """Go refuses to start when it cannot read the figure."""
    restic = Restic.find(site.restic.program, cache=site.restic.cache, limits=LIMITS, memory=128 << 20)
    assert restic.backup(access(site.primary), request(site.source), watch=lambda _: None, stop=site.stop).files == 2
    assert (restic.memory, restic.limits) == (128 << 20, replace(LIMITS, memory=192 << 20))

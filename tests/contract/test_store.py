"""What every store does, whatever it stands for: written, read, listed, replaced, deleted, and never half."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.ports import FileKind, FileRef, Store, StoredFile
from targets.vaults.layout import CONFIG, PIECE
from tests.contract.places import (
    OFFICIAL,
    OTHER_TENANT,
    PLACES,
    TENANT,
    Place,
    content_of,
    files_on_disk,
    large,
    put,
    ref_of,
)
from tests.servers.rest import restic_rest_server

MEBIBYTE = 1 << 20


class WriterFailedError(Exception):
    """What the bytes' own source raised."""


def failing(*pieces: bytes) -> Iterator[bytes]:
    yield from pieces
    raise WriterFailedError


@pytest.mark.parametrize("kind", list(FileKind))
def test_what_was_written_is_read_sized_and_listed(store: Store, kind: FileKind) -> None:
    content = f"content of a {kind} file".encode()
    ref = put(store, content, kind)
    assert content_of(store, ref) == content
    assert store.size(ref) == len(content)
    assert list(store.files(kind)) == [StoredFile(ref, len(content))]


def test_an_empty_repository_holds_nothing(store: Store) -> None:
    assert [list(store.files(kind)) for kind in FileKind] == [[]] * len(FileKind)
    assert store.size(CONFIG) is None


def test_a_vault_is_bare_until_somebody_keeps_something_there_or_does_not_tell(place: Place) -> None:
    store, other = place.store, place.vault.store(OTHER_TENANT)
    try:
        before = store.is_bare()
        put(other, b"of another tenant")
        assert (before, store.is_bare()) in {(True, False), (None, None)}
        assert (before is None) == (type(place.vault).__name__ in {"MemoryVault", "S3Vault", "RestVault"})
    finally:
        store.close()
        other.close()


def test_each_kind_lists_its_own_files(store: Store) -> None:
    written = {kind: {put(store, f"{kind} {number}".encode(), kind) for number in range(3)} for kind in FileKind}
    assert {kind: {stored.ref for stored in store.files(kind)} for kind in FileKind} == written


def test_many_files_are_all_listed_once(store: Store) -> None:
    written = {put(store, bytes([number])) for number in range(150)}  # more than one answer of an SFTP server
    assert sorted(stored.ref for stored in store.files(FileKind.DATA)) == sorted(written)


def test_a_missing_file_has_no_size_and_reading_it_says_so(store: Store) -> None:
    ref = ref_of(b"never written")
    put(store, b"another one")
    assert store.size(ref) is None
    with pytest.raises(TargetError, match=ref.name) as caught:
        content_of(store, ref)
    assert caught.value.kind is FailureKind.REPOSITORY_MISSING


def test_a_deleted_file_is_gone_and_deleting_it_again_succeeds(store: Store) -> None:
    ref, kept = put(store, b"short lived"), put(store, b"kept")
    store.delete(ref)
    store.delete(ref)
    assert store.size(ref) is None
    assert [stored.ref for stored in store.files(FileKind.DATA)] == [kept]


def test_deleting_in_an_empty_repository_succeeds(store: Store) -> None:
    store.delete(ref_of(b"never written"))
    store.delete(CONFIG)


def test_writing_over_a_file_replaces_it(store: Store) -> None:
    store.write(CONFIG, [b"a first and longer one"])
    store.write(CONFIG, [b"a second"])
    assert content_of(store, CONFIG) == b"a second"
    assert list(store.files(FileKind.CONFIG)) == [StoredFile(CONFIG, 8)]


def test_a_damaged_file_is_healed_by_writing_it_again(disk_place: Place, disk_store: Store) -> None:
    ref = put(disk_store, b"sound" * 1000)
    [path] = (path for path in disk_place.folder.rglob("*") if path.name == ref.name)
    path.chmod(0o600)
    path.write_bytes(b"damaged")
    assert put(disk_store, b"sound" * 1000) == ref
    assert content_of(disk_store, ref) == b"sound" * 1000


def test_tenants_do_not_see_each_other(place: Place, store: Store) -> None:
    other = place.vault.store(OTHER_TENANT)
    ref = put(store, b"of one tenant")
    put(other, b"of the other")
    assert other.size(ref) is None
    assert [stored.ref for stored in other.files(FileKind.DATA)] == [ref_of(b"of the other")]
    other.delete(ref)
    assert content_of(store, ref) == b"of one tenant"
    other.close()


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "a/b", "/etc", "-rf", "a b", "a\nb", "a:b"])
def test_a_tenant_whose_name_leads_elsewhere_is_refused(place: Place, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be used as a name"):
        place.vault.store(name)


@pytest.mark.parametrize("name", ["", "config", "../config", "a" * 63, "A" * 64, "g" * 64, "a" * 64 + "-tmp-1"])
def test_a_name_that_no_file_bears_is_refused(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a file"):
        store.write(FileRef(FileKind.DATA, name), [b"x"])
    with pytest.raises(ValueError, match="not the name of a file"):
        content_of(store, FileRef(FileKind.DATA, name))


def test_transient_and_foreign_names_are_not_shown(disk_place: Place, disk_store: Store) -> None:
    shown = {kind: put(disk_store, b"shown", kind) for kind in FileKind}
    digits = ref_of(b"shown").name
    for kind in FileKind:
        folder = disk_place.folder / (kind.value if kind is not FileKind.CONFIG else ".")
        folder = folder / digits[:2] if kind is FileKind.DATA else folder
        for name in (f"{digits}-tmp-123", f"{digits}.rest-server-temp", "tmp", digits[:-1], digits.upper(), "config2"):
            (folder / name).write_bytes(b"transient")
    assert {kind: [stored.ref for stored in disk_store.files(kind)] for kind in FileKind} == {
        kind: [ref] for kind, ref in shown.items()
    }
    for kind in set(FileKind) - {FileKind.CONFIG}:
        told: list[str] = []
        assert len(list(disk_store.files(kind, told.append))) == 1
        assert sorted(told) == sorted(
            (f"{digits}-tmp-123", f"{digits}.rest-server-temp", "tmp", digits[:-1], digits.upper(), "config2")
        )


def test_a_writer_that_fails_midway_leaves_nothing(store: Store) -> None:
    content = b"m" * (3 * MEBIBYTE)
    with pytest.raises(WriterFailedError):
        store.write(ref_of(content), failing(content[:MEBIBYTE], content[MEBIBYTE : 2 * MEBIBYTE]))
    assert store.size(ref_of(content)) is None
    assert list(store.files(FileKind.DATA)) == []


def test_a_writer_that_fails_before_its_first_byte_leaves_nothing(store: Store) -> None:
    with pytest.raises(WriterFailedError):
        store.write(CONFIG, failing())
    assert store.size(CONFIG) is None


def test_a_writer_that_fails_leaves_the_file_that_was_there(disk_place: Place, disk_store: Store) -> None:
    disk_store.write(CONFIG, [b"the old one"])
    with pytest.raises(WriterFailedError):
        disk_store.write(CONFIG, failing(b"half of the new"))
    assert content_of(disk_store, CONFIG) == b"the old one"
    assert files_on_disk(disk_place.folder) == {"config"}


def test_a_writer_that_fails_in_a_large_file_leaves_nothing_on_disk(disk_place: Place, disk_store: Store) -> None:
    ref, pieces = large(40)  # longer than what any of them keeps in memory
    put(disk_store, b"there before")
    before = files_on_disk(disk_place.folder)
    with pytest.raises(WriterFailedError):
        disk_store.write(ref, failing(*pieces()))
    assert files_on_disk(disk_place.folder) == before


def test_an_error_of_the_operating_system_in_the_writer_is_not_the_vaults(store: Store) -> None:
    def unreadable() -> Iterator[bytes]:
        yield b"x"
        raise PermissionError(13, "the source's own trouble")

    with pytest.raises(PermissionError, match="the source's own trouble"):
        store.write(CONFIG, unreadable())


def test_a_large_file_is_written_and_read_in_little_memory(disk_store: Store) -> None:
    ref, pieces = large(64)
    assert disk_store.size(ref) is None  # what a library loads once is not the file's cost
    tracemalloc.start()
    try:
        disk_store.write(ref, pieces())
        for got, wanted in zip(_in_mebibytes(disk_store.read(ref)), pieces(), strict=True):
            assert got == wanted
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert disk_store.size(ref) == 64 * MEBIBYTE
    assert peak < 34 * MEBIBYTE


def _in_mebibytes(pieces: Iterator[bytes]) -> Iterator[bytes]:
    kept = bytearray()
    for piece in pieces:
        assert 0 < len(piece) <= PIECE
        kept += piece
        while len(kept) >= MEBIBYTE:
            yield bytes(kept[:MEBIBYTE])
            del kept[:MEBIBYTE]
    assert not kept


@given(
    size=st.sampled_from([0, 1, 32767, 32769, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1]),
    cut=st.sampled_from([1, 4096, 32768, PIECE - 1, PIECE, PIECE + 1]),
    seed=st.binary(min_size=1, max_size=8),
)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_size_comes_back_however_it_was_cut(store: Store, size: int, cut: int, seed: bytes) -> None:
    content = (seed * (size // len(seed) + 1))[:size]
    cut = max(cut, size // 64)
    ref = ref_of(content)
    store.write(ref, [b"", *(content[at : at + cut] for at in range(0, size, cut)), b""])
    assert content_of(store, ref) == content
    assert store.size(ref) == size


def test_reading_that_is_given_up_halfway_disturbs_nothing(store: Store) -> None:
    ref, pieces = large(20)
    small = put(store, b"small")
    store.write(ref, pieces())
    for _ in range(3):
        reader = store.read(ref)
        assert next(reader)
        del reader
        assert content_of(store, small) == b"small"
        assert len(list(store.files(FileKind.DATA))) == 2


def test_files_may_be_read_and_deleted_while_they_are_listed(store: Store) -> None:
    written = {put(store, bytes([number])) for number in range(5)}
    seen = set()
    for stored in store.files(FileKind.DATA):
        assert len(content_of(store, stored.ref)) == stored.size
        store.delete(stored.ref)
        seen.add(stored.ref)
    assert seen == written
    assert list(store.files(FileKind.DATA)) == []


def test_threads_may_share_a_store(store: Store) -> None:
    start = threading.Barrier(4)

    def one(number: int) -> bool:
        content = bytes([number]) * (MEBIBYTE + number)
        start.wait()
        ref = put(store, content)
        return content_of(store, ref) == content and store.size(ref) == len(content)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(one, range(4)))
    assert len(list(store.files(FileKind.DATA))) == 4


def test_closing_twice_succeeds_and_a_closed_store_opens_again(place: Place) -> None:
    store = place.store
    store.close()
    ref = put(store, b"x")
    store.close()
    store.close()
    assert content_of(store, ref) == b"x"
    store.close()


def test_another_store_of_the_same_tenant_sees_the_same_files(place: Place, store: Store) -> None:
    ref = put(store, b"seen by both")
    again = place.vault.store(TENANT)
    assert content_of(again, ref) == b"seen by both"
    again.close()


def test_the_suite_is_run_against_restics_own_rest_server_too() -> None:
    """rclone's server stands for the kind where there is no other; this says whether restic's own was shown as well."""
    if restic_rest_server() is None:
        pytest.skip("restic's own REST server is not here (set RESTIC_REST_SERVER to its path)")
    assert OFFICIAL in PLACES


def test_the_room_is_told_or_not_known(store: Store) -> None:
    before = store.free()
    put(store, b"something")
    assert before is None or before > 0
    assert (store.free() is None) == (before is None)


def test_the_vaults_own_clock_is_told_or_not_known(store: Store) -> None:
    """All servers of these tests run here, so that their clocks are ours."""
    ours = datetime.now(UTC)
    told = store.clock(put(store, b"written just now"))
    assert told is None or abs(told - ours) < timedelta(seconds=60)

"""The line to a vault is cut: what was going on fails by its right name, leaves nothing half, and the store goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.ports import FileKind, Store
from tests.contract.places import ON_DISK, PLACES, TENANT, Place, content_of, large, port_of, put, through
from tests.servers.cable import Cable
from tests.servers.sshd import Sshd, write_known_hosts


@dataclass(frozen=True, kw_only=True)
class Line:
    """A place behind a cable, and a store that goes through it."""

    place: Place
    cable: Cable
    store: Store


@pytest.fixture(params=[kind for kind in ON_DISK if kind != "local"])
def line(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Line]:
    place = PLACES[request.param](request, tmp_path)
    with Cable(port_of(place.vault)) as cable:
        if request.param == "sftp":
            sshd: Sshd = request.getfixturevalue("sshd")
            known = (sshd.port, sshd.files.host_key), (cable.port, sshd.files.host_key)
            write_known_hosts(sshd.known_hosts, *known)
        store = through(place.vault, cable.port).store(TENANT)
        yield Line(place=place, cable=cable, store=store)
        store.close()


def test_a_cut_while_reading_fails_and_the_store_goes_on_after_it(line: Line) -> None:
    ref, pieces = large(24)
    line.store.write(ref, pieces())
    reader = line.store.read(ref)
    next(reader)
    line.cable.cut()
    with pytest.raises(TargetError) as caught:
        list(reader)
    assert caught.value.kind is FailureKind.VAULT_UNREACHABLE
    line.cable.mend()
    assert sum(map(len, line.store.read(ref))) == 24 << 20


def test_a_cut_while_writing_fails_and_leaves_no_file(line: Line) -> None:
    ref, pieces = large(40)
    before = put(line.store, b"there before")

    def cut_midway() -> Iterator[bytes]:
        for number, piece in enumerate(pieces()):
            if number == 30:
                line.cable.cut()
            yield piece

    with pytest.raises(TargetError) as caught:
        line.store.write(ref, cut_midway())
    assert caught.value.kind is FailureKind.VAULT_UNREACHABLE
    line.cable.mend()
    assert line.store.size(ref) is None
    assert [stored.ref for stored in line.store.files(FileKind.DATA)] == [before]
    line.store.write(ref, pieces())
    assert line.store.size(ref) == 40 << 20


def test_a_line_that_is_cut_between_two_calls_is_laid_again(line: Line) -> None:
    ref = put(line.store, b"x")
    line.cable.cut()
    with pytest.raises(TargetError) as caught:
        line.store.size(ref)
    assert caught.value.kind is FailureKind.VAULT_UNREACHABLE
    line.cable.mend()
    assert content_of(line.store, ref) == b"x"


def test_a_short_cut_costs_one_call_at_most(line: Line) -> None:
    """A cut that is over before anybody noticed may fail the next call, never the one after it."""
    ref = put(line.store, b"x")
    line.cable.cut()
    line.cable.mend()
    with suppress(TargetError):
        line.store.size(ref)
    assert content_of(line.store, ref) == b"x"


def test_one_connection_serves_one_call_after_the_other(line: Line) -> None:
    for number in range(5):
        ref = put(line.store, bytes([number]))
        assert content_of(line.store, ref) == bytes([number])
        assert line.store.size(ref) == 1
        list(line.store.files(FileKind.DATA))
        line.store.delete(ref)
    assert line.cable.connections == 1

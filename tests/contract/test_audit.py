"""A keyless audit of each kind of vault: every damaged file is named, and nothing else is."""

from __future__ import annotations

import hashlib
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from jobs.failure import FailureKind
from jobs.history import AuditResult, Job, KnownRepository, Outcome, RecoveryPoint, RunState
from jobs.plan import Step
from jobs.policy import Paths, Policy, PolicyName, SiteName, TenantName, VaultName
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.work import audit
from orchestrator.work.tools import Tools
from targets.errors import TargetError
from targets.ports import FileKind, FileRef, RepositoryAddress, Stop, Store, StoredFile, Vault, unnoticed, unwatched
from targets.process import Limits
from targets.restic.engine import Restic
from targets.secret import Secret
from targets.vaults.layout import CONFIG, PIECE, path_of
from tests.contract.places import TENANT, Place, large, put

NOW: Final = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
VAULT: Final = VaultName("secondary")
STEP: Final = Step(
    job=Job.AUDIT, policy=PolicyName("files"), tenant=TenantName(TENANT), site=SiteName("second"), vault=VAULT
)
POLICY: Final = Policy(name=STEP.policy, tenant=STEP.tenant, source=Paths(paths=("/srv",)), vault=VAULT, site=STEP.site)
HASHED: Final = (FileKind.KEYS, FileKind.SNAPSHOTS, FileKind.INDEX, FileKind.DATA)


# What does not depend on the kind of vault is shown on one.
LOCAL: Final = pytest.mark.parametrize("disk_place", ["local"], indirect=True)


def no_password(_tenant: TenantName) -> Secret:
    raise AssertionError("an audit needs no password")


@dataclass
class Auditor:
    """Audits one place, with a ledger beside it that knows the repository."""

    tools: Tools
    ledger: Ledger

    def audit(self) -> Outcome:
        return audit.work("run-1", STEP, POLICY, self.tools)

    def with_vault(self, vault: Vault) -> Auditor:
        return Auditor(replace(self.tools, vaults={VAULT: vault}), self.ledger)


@pytest.fixture
def auditor(disk_place: Place, disk_store: Store, tmp_path: Path, restic_program: Path) -> Iterator[Auditor]:
    """An auditor of a repository with some files of each kind."""
    for kind in HASHED:
        for number in range(3):
            put(disk_store, f"{kind} {number}".encode() * 50, kind)
    put(disk_store, b"the config", FileKind.CONFIG)
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", create=True, now=NOW) as ledger:
        digest = hashlib.sha256(b"the config").hexdigest()
        ledger.remember(KnownRepository(tenant=STEP.tenant, vault=VAULT, config_sha256=digest, first_seen_at=NOW))
        workdir, limits = tmp_path / "workdir", Limits()
        tools = Tools(
            engine=Restic.find(str(restic_program), cache=tmp_path / "cache", limits=limits),
            vaults={VAULT: disk_place.vault},
            password=no_password,
            ledger=ledger,
            clock=Clock(),
            stop=threading.Event(),
            watch=lambda _: unwatched,
            workdir=workdir,
            own=(),
            zone=UTC,
            limits=limits,
            withheld=frozenset(),
            host="here",
        )
        yield Auditor(tools, ledger)
        assert not list((workdir / "scratch").glob("*")), "scratch was left behind"


def audited(outcome: Outcome) -> AuditResult:
    assert isinstance(outcome.result, AuditResult)
    return outcome.result


def on_disk(place: Place, ref: FileRef) -> Path:
    """Where a file lies: restic's own REST server and rclone have data in folders of two digits, or not."""
    (path,) = (path for path in place.folder.rglob("*") if path.name == ref.name)
    path.chmod(0o600)
    return path


def first(store: Store, kind: FileKind) -> FileRef:
    return min(stored.ref for stored in store.files(kind))


def test_a_sound_repository_is_read_to_the_last_byte_and_is_clean(auditor: Auditor, disk_store: Store) -> None:
    put(disk_store, b"", FileKind.DATA)  # it has a name too
    put(disk_store, b"a lock", FileKind.LOCKS)
    outcome = auditor.audit()
    assert (outcome.state, outcome.failure) == (RunState.SUCCEEDED, None)
    size = sum(stored.size for kind in HASHED for stored in disk_store.files(kind))
    assert audited(outcome) == AuditResult(files=13, bytes=size, control=True)


def test_left_overs_and_strangers_are_counted_and_are_no_damage(auditor: Auditor, disk_place: Place) -> None:
    for name in ("a" * 64 + "-tmp-123", "a" * 64 + ".rest-server-temp", "notes"):
        (disk_place.folder / "index" / name).write_bytes(b"transient")
    outcome = auditor.audit()
    assert outcome.state is RunState.SUCCEEDED
    assert (audited(outcome).files, audited(outcome).passed_over) == (12, 3)


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes((content[middle] ^ 1,)) + content[middle + 1 :]


DAMAGE: Final[dict[FileKind, Callable[[bytes], bytes]]] = {
    FileKind.DATA: flipped,
    FileKind.INDEX: lambda content: content[:-1],
    FileKind.SNAPSHOTS: lambda _: b"",
    FileKind.KEYS: lambda content: content + b"x",
}


def test_each_damaged_file_is_named_and_no_other(auditor: Auditor, disk_place: Place, disk_store: Store) -> None:
    damaged = {kind: first(disk_store, kind) for kind in HASHED}
    for kind, ref in damaged.items():
        path = on_disk(disk_place, ref)
        path.write_bytes(DAMAGE[kind](path.read_bytes()))
    outcome = auditor.audit()
    result = audited(outcome)
    assert outcome.state is RunState.FAILED
    assert outcome.failure is not None
    assert outcome.failure.kind is FailureKind.REPOSITORY_DAMAGED
    assert f"{TENANT}@secondary" in outcome.failure.message
    assert (result.files, result.damaged, result.control) == (12, 4, True)
    assert [finding.partition(":")[0] for finding in result.findings] == sorted(map(path_of, damaged.values()))


class Meddled:
    """A vault in which something happens to a file just before it is read, as if somebody else were at work there."""

    def __init__(self, vault: Vault, happens: Callable[[Store, FileRef], None], *, rate: int | None = None) -> None:
        self._vault, self._happens, self._rate = vault, happens, rate

    @property
    def name(self) -> str:
        return self._vault.name

    def address(self, tenant: str) -> RepositoryAddress:
        return replace(self._vault.address(tenant), limit_download=self._rate)

    def store(self, tenant: str) -> Store:
        return MeddledStore(self._vault.store(tenant), self._happens)


class MeddledStore:
    def __init__(self, store: Store, happens: Callable[[Store, FileRef], None]) -> None:
        self._store, self._happens = store, happens
        self.size, self.write, self.delete = store.size, store.write, store.delete
        self.free, self.clock, self.close, self.is_bare = store.free, store.clock, store.close, store.is_bare

    def files(self, kind: FileKind, stray: Callable[[str], None] = unnoticed) -> Iterator[StoredFile]:
        return self._store.files(kind, stray)

    def read(self, ref: FileRef) -> Iterator[bytes]:
        self._happens(self._store, ref)
        yield from self._store.read(ref)


def nothing(_store: Store, _ref: FileRef) -> None:
    """Nothing happens."""


def test_what_a_prune_removes_meanwhile_is_no_damage(auditor: Auditor, disk_place: Place, disk_store: Store) -> None:
    removed = first(disk_store, FileKind.DATA)

    def prune(store: Store, ref: FileRef) -> None:
        if ref == removed:
            store.delete(ref)

    outcome = auditor.with_vault(Meddled(disk_place.vault, prune)).audit()
    assert outcome.state is RunState.SUCCEEDED
    assert (audited(outcome).files, audited(outcome).vanished) == (11, 1)


@LOCAL
def test_one_bad_reading_of_a_sound_file_is_not_called_damage(
    auditor: Auditor, disk_place: Place, disk_store: Store
) -> None:
    ref = first(disk_store, FileKind.DATA)
    path = on_disk(disk_place, ref)
    content = path.read_bytes()
    looks = iter((flipped(content), content))

    def flicker(_store: Store, read: FileRef) -> None:
        if read == ref:
            path.write_bytes(next(looks))

    outcome = auditor.with_vault(Meddled(disk_place.vault, flicker)).audit()
    assert (outcome.state, audited(outcome).files) == (RunState.SUCCEEDED, 12)


@LOCAL
def test_an_audit_that_does_not_see_the_bit_that_was_flipped_is_invalid(auditor: Auditor, disk_place: Place) -> None:
    """The stored file has that very bit flipped when it is copied, so that the copy is sound: nothing is to be seen."""
    looked_at: set[FileRef] = set()

    def spoil(_store: Store, ref: FileRef) -> None:
        if ref in looked_at:
            path = on_disk(disk_place, ref)
            content = path.read_bytes()
            path.write_bytes(bytes((content[0] ^ 1,)) + content[1:])
        elif ref != CONFIG:
            looked_at.add(ref)

    outcome = auditor.with_vault(Meddled(disk_place.vault, spoil)).audit()
    assert outcome.state is RunState.FAILED
    assert outcome.failure is not None
    assert outcome.failure.kind is FailureKind.INTERNAL
    assert (audited(outcome).control, audited(outcome).damaged) == (False, 0)


@LOCAL
def test_a_stop_ends_it_and_says_nothing_of_the_repository(auditor: Auditor, disk_place: Place) -> None:
    stop = threading.Event()
    vault = Meddled(disk_place.vault, lambda _store, ref: stop.set() if ref.kind is FileKind.DATA else None)
    stopping = Auditor(replace(auditor.tools, stop=stop), auditor.ledger).with_vault(vault)
    with pytest.raises(TargetError) as caught:
        stopping.audit()
    assert caught.value.kind is FailureKind.CANCELLED


class Counted(Clock):
    """A clock that only sleeping moves: what is slept is known, and takes no time."""

    def __init__(self) -> None:
        self.slept = 0.0
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        return self.slept

    def sleep(self, seconds: float, stop: Stop) -> bool:
        with self._lock:
            self.slept += seconds
        return not stop.is_set()


@LOCAL
def test_the_link_is_used_no_more_than_it_may_be(auditor: Auditor, disk_place: Place) -> None:
    clock = Counted()
    limited = Auditor(replace(auditor.tools, clock=clock), auditor.ledger)
    outcome = limited.with_vault(Meddled(disk_place.vault, nothing, rate=100)).audit()
    assert outcome.state is RunState.SUCCEEDED
    assert clock.slept >= audited(outcome).bytes / 100


@LOCAL
@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        (Limits(deadline_seconds=5.0), FailureKind.DEADLINE),
        (Limits(no_progress_seconds=5.0), FailureKind.NO_PROGRESS),
    ],
)
def test_what_takes_too_long_is_given_up(
    auditor: Auditor, disk_place: Place, limits: Limits, kind: FailureKind
) -> None:
    clock = Counted()

    def slow(_store: Store, ref: FileRef) -> None:
        if ref != CONFIG:
            clock.sleep(10.0, threading.Event())
            threading.Event().wait(0.5)  # as a vault that does not answer

    patient = Auditor(replace(auditor.tools, clock=clock, limits=limits), auditor.ledger)
    with pytest.raises(TargetError) as caught:
        patient.with_vault(Meddled(disk_place.vault, slow)).audit()
    assert caught.value.kind is kind


@LOCAL
def test_a_vault_that_goes_away_is_not_damage(auditor: Auditor, disk_place: Place) -> None:
    def away(_store: Store, ref: FileRef) -> None:
        if ref.kind is FileKind.DATA:
            raise TargetError("read", "vault secondary", FailureKind.VAULT_UNREACHABLE, "the line was cut")

    class Away(MeddledStore):
        """Nothing of it answers any more once data is read."""

        def __init__(self, store: Store) -> None:
            super().__init__(store, away)
            self.size = self._gone

        def _gone(self, ref: FileRef) -> int | None:
            away(self._store, ref)
            return self._store.size(ref)

    class AwayVault(Meddled):
        def store(self, tenant: str) -> Store:
            return Away(self._vault.store(tenant))

    with pytest.raises(TargetError) as caught:
        auditor.with_vault(AwayVault(disk_place.vault, nothing)).audit()
    assert caught.value.kind is FailureKind.VAULT_UNREACHABLE


@LOCAL
def test_a_file_that_cannot_be_read_is_named(auditor: Auditor, disk_place: Place, disk_store: Store) -> None:
    bad = first(disk_store, FileKind.DATA)

    def broken(_store: Store, ref: FileRef) -> None:
        if ref == bad:
            raise TargetError("read", "vault secondary", FailureKind.VAULT_UNREACHABLE, "Input/output error")

    outcome = auditor.with_vault(Meddled(disk_place.vault, broken)).audit()
    assert outcome.state is RunState.FAILED
    (finding,) = audited(outcome).findings
    assert finding.startswith(path_of(bad))
    assert "Input/output error" in finding


@LOCAL
def test_a_repository_of_which_nothing_can_be_read_is_not_called_damaged(auditor: Auditor, disk_place: Place) -> None:
    def refused(_store: Store, ref: FileRef) -> None:
        if ref != CONFIG:
            raise TargetError("read", "vault secondary", FailureKind.ACCESS_DENIED, "Permission denied")

    with pytest.raises(TargetError) as caught:
        auditor.with_vault(Meddled(disk_place.vault, refused)).audit()
    assert caught.value.kind is FailureKind.ACCESS_DENIED


@LOCAL
@pytest.mark.parametrize(
    ("content", "kind"), [(b"another config", FailureKind.REPOSITORY_FOREIGN), (None, FailureKind.REPOSITORY_MISSING)]
)
def test_another_repository_or_none_is_not_audited(
    auditor: Auditor, disk_store: Store, content: bytes | None, kind: FailureKind
) -> None:
    disk_store.delete(CONFIG)
    if content is not None:
        disk_store.write(CONFIG, [content])
    with pytest.raises(TargetError) as caught:
        auditor.audit()
    assert caught.value.kind is kind


@LOCAL
def test_a_snapshot_that_the_ledger_knows_and_nobody_lists_is_missing(auditor: Auditor, disk_store: Store) -> None:
    known = first(disk_store, FileKind.SNAPSHOTS)
    for name in (known.name, "e" * 64):
        auditor.ledger.arrive([point(name)])
    outcome = auditor.audit()
    assert outcome.state is RunState.FAILED
    assert [finding.partition(":")[0] for finding in audited(outcome).findings] == [f"snapshots/{'e' * 64}"]


def point(snapshot: str) -> RecoveryPoint:
    return RecoveryPoint(
        snapshot=snapshot,
        origin=snapshot,
        tenant=STEP.tenant,
        policy=STEP.policy,
        site=STEP.site,
        vault=VAULT,
        run="run-0",
        time=NOW,
        tree="t",
        seen_at=NOW,
    )


@LOCAL
def test_the_listing_does_not_run_ahead_of_the_reading(auditor: Auditor, disk_place: Place, disk_store: Store) -> None:
    """A repository has more names than memory should hold."""
    for number in range(60):
        put(disk_store, f"pack {number}".encode())
    listed: list[StoredFile] = []
    ahead: list[int] = []

    class Listing(MeddledStore):
        def files(self, kind: FileKind, stray: Callable[[str], None] = unnoticed) -> Iterator[StoredFile]:
            for stored in self._store.files(kind, stray):
                if kind is FileKind.DATA:
                    listed.append(stored)
                yield stored

    class ListingVault(Meddled):
        def store(self, tenant: str) -> Store:
            return Listing(self._vault.store(tenant), self._happens)

    def slow(_store: Store, ref: FileRef) -> None:
        if ref.kind is FileKind.DATA and not ahead:
            threading.Event().wait(0.3)  # for the listing to run on, if it would
            ahead.append(len(listed))

    assert audited(auditor.with_vault(ListingVault(disk_place.vault, slow)).audit()).files == 72
    assert len(listed) == 63
    assert ahead[0] < 20


@LOCAL
def test_a_large_file_is_read_in_little_memory(auditor: Auditor, disk_store: Store) -> None:
    ref, pieces = large(40)
    disk_store.write(ref, pieces())
    auditor.audit()  # what a library loads once is not the audit's cost
    tracemalloc.start()
    try:
        outcome = auditor.audit()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert audited(outcome).bytes > 40 * PIECE
    assert peak < 8 * PIECE


@LOCAL
def test_a_dangling_link_and_a_file_in_a_folders_place_are_passed_over_and_counted(
    auditor: Auditor, disk_place: Place, disk_store: Store
) -> None:
    pack = on_disk(disk_place, first(disk_store, FileKind.DATA))
    pack.unlink()
    pack.symlink_to("nowhere")
    free = next(name for name in (f"{n:02x}" for n in range(256)) if not (pack.parent.parent / name).exists())
    (pack.parent.parent / free).write_bytes(b"no folder")
    result = audited(auditor.audit())
    assert (result.files, result.damaged, result.passed_over) == (11, 0, 2)

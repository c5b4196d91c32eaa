"""Open a tenant's repository in a vault, and make sure it is the one that we know before anything is written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from jobs.failure import FailureKind
from jobs.history import RecoveryPoint, RunState
from jobs.identity import Standing, standing
from jobs.policy import PolicyName, SiteName, TenantName, VaultName
from jobs.snapshot import Snapshot
from orchestrator.ledger.ledger import KnownRepository
from orchestrator.work.tools import Tools
from targets.errors import TargetError
from targets.ports import Access, FileKind, FileRef, Store
from targets.process import Never

Place = tuple[TenantName, SiteName, VaultName]
_CONFIG = FileRef(FileKind.CONFIG, "config")
_ABBREVIATION = 8  # hex digits: what restic 0.14 calls a snapshot by in its summary


def access(tools: Tools, tenant: TenantName, vault: VaultName) -> Access:
    """The address and the password, without asking whether anything is there."""
    return Access(address=tools.vaults[vault].address(tenant), password=tools.password(tenant))


def existing(tools: Tools, tenant: TenantName, vault: VaultName) -> Access:
    """The known repository. Raises REPOSITORY_MISSING, REPOSITORY_FOREIGN or what the vault says."""
    return _open(tools, tenant, vault, create=False, like=None)


def existing_or_new(tools: Tools, tenant: TenantName, vault: VaultName, *, like: Access | None = None) -> Access:
    """The known repository; on the vault's first use a new one, with the chunker parameters of `like`."""
    return _open(tools, tenant, vault, create=True, like=like)


def _open(tools: Tools, tenant: TenantName, vault: VaultName, *, create: bool, like: Access | None) -> Access:
    known = tools.ledger.repository(tenant, vault)
    found = _config_hash(tools, tenant, vault)
    to = access(tools, tenant, vault)
    others = frozenset(other.config_sha256 for other in tools.ledger.repositories() if other.key != (tenant, vault))
    match standing(known.config_sha256 if known else None, found, others=others):
        case Standing.KNOWN:
            return to
        case Standing.ADOPT:
            tools.engine.snapshots(to, stop=tools.stop)  # only what the tenant's password opens is the tenant's
            return _remembered(tools, tenant, vault, to)
        case Standing.CREATE if create:
            _clear_half_made(tools, tenant, vault, to)
            tools.engine.init(to, like=like)
            return _remembered(tools, tenant, vault, to)
        case Standing.FOREIGN:
            raise _refused(to, FailureKind.REPOSITORY_FOREIGN, "it is not the repository that the ledger knows")
        case _:
            raise _refused(to, FailureKind.REPOSITORY_MISSING, "there is no repository")


def _refused(to: Access, kind: FailureKind, message: str) -> TargetError:
    return TargetError("open", f"repository {to.address.label}", kind, message)


def _config_hash(tools: Tools, tenant: TenantName, vault: VaultName) -> str | None:
    with opened_store(tools, tenant, vault) as store:
        if store.size(_CONFIG) is None:
            return None
        digest = hashlib.sha256()
        for piece in store.read(_CONFIG):
            digest.update(piece)
        return digest.hexdigest()


def _clear_half_made(tools: Tools, tenant: TenantName, vault: VaultName, to: Access) -> None:
    """Remove the key that an `init` which was cut off left without a config: the next one would be spoiled by it.

    Raises REPOSITORY_DAMAGED where there is more, and nothing is touched: then the config was lost.
    """
    with opened_store(tools, tenant, vault) as store:
        if any(True for kind in (FileKind.SNAPSHOTS, FileKind.INDEX, FileKind.DATA) for _ in store.files(kind)):
            raise _refused(to, FailureKind.REPOSITORY_DAMAGED, "there is data, but no config file to read it by")
        for key in [stored.ref for stored in store.files(FileKind.KEYS)]:
            store.delete(key)


def _remembered(tools: Tools, tenant: TenantName, vault: VaultName, to: Access) -> Access:
    found = _config_hash(tools, tenant, vault)
    if found is None:
        raise _refused(to, FailureKind.REPOSITORY_MISSING, "it was just created, and is not there")
    tools.ledger.remember(
        KnownRepository(tenant=tenant, vault=vault, config_sha256=found, first_seen_at=tools.clock.now())
    )
    return to


@contextmanager
def opened_store(tools: Tools, tenant: TenantName, vault: VaultName) -> Iterator[Store]:
    """The repository's files, with the connection given back at the end."""
    store = tools.vaults[vault].store(tenant)
    try:
        yield store
    finally:
        store.close()


def unlock(tools: Tools, tenant: TenantName, vault: VaultName) -> None:
    """Remove the locks that dead processes of this host left, where there are locks; also for a run that is to stop."""
    with opened_store(tools, tenant, vault) as store:
        is_locked = any(True for _ in store.files(FileKind.LOCKS))
    if is_locked:
        tools.engine.unlock(access(tools, tenant, vault), stop=Never())


def confirm(tools: Tools, tenant: TenantName, vault: VaultName, snapshots: Iterable[str]) -> tuple[str, ...]:
    """The full ids of snapshots restic says it made, looked up among the vault's own files. Exit 0 is not believed.

    Raises SNAPSHOT_MISSING when one is not there.
    """
    with opened_store(tools, tenant, vault) as store:
        names = [stored.ref.name for stored in store.files(FileKind.SNAPSHOTS)]
    return tuple(_full_name(snapshot, names, vault) for snapshot in snapshots)


def _full_name(snapshot: str, names: list[str], vault: VaultName) -> str:
    full = [name for name in names if name.startswith(snapshot)]
    if len(snapshot) < _ABBREVIATION or len(full) != 1:
        message = f"restic reported snapshot {snapshot or '(none)'}, but the vault holds no such file"
        raise TargetError("confirm backup in", f"vault {vault}", FailureKind.SNAPSHOT_MISSING, message)
    return full[0]


def ours(tools: Tools, of: Access, policy: str) -> tuple[Snapshot, ...]:
    """The policy's snapshots (data and manifests), oldest first."""
    return tools.engine.snapshots(of, tags=("tandem", f"policy={policy}"), stop=tools.stop)


def begin_anew(tools: Tools, tenant: TenantName, vault: VaultName) -> None:
    """A person says that the repository is lost for good: forget it, so that the next use makes a new one.

    Raises REPOSITORY_FOREIGN where one stands there: nothing that exists is ever given up.
    """
    if _config_hash(tools, tenant, vault) is not None:
        to = access(tools, tenant, vault)
        raise _refused(to, FailureKind.REPOSITORY_FOREIGN, "a repository is there, so there is nothing to begin anew")
    tools.ledger.forget_repository(tenant, vault, tools.clock.now())


def is_there(tools: Tools, tenant: TenantName, vault: VaultName) -> bool:
    """Whether any repository stands at the tenant's place."""
    return _config_hash(tools, tenant, vault) is not None


def note_points(
    tools: Tools, place: Place, policy: PolicyName, listed: Iterable[Snapshot], *, whole_listing: bool = True
) -> None:
    """Bring the ledger's recovery points of one policy and vault in line with what was listed there.

    With `whole_listing` a point that is not among `listed` is noted as gone.
    """
    tenant, site, vault = place
    now = tools.clock.now()
    data = [snapshot for snapshot in listed if snapshot.content == "data"]
    points = [
        RecoveryPoint(
            snapshot=snapshot.id,
            origin=snapshot.origin,
            tenant=tenant,
            policy=policy,
            site=site,
            vault=vault,
            run=snapshot.run or "",
            time=snapshot.time,
            tree=snapshot.tree,
            seen_at=now,
            complete=_is_complete(tools, snapshot.run),
        )
        for snapshot in data
    ]
    tools.ledger.arrive(points)
    if whole_listing:
        present = {snapshot.id for snapshot in data}
        known = tools.ledger.points(policy=policy, vault=vault, at=now)
        tools.ledger.gone(tenant, vault, [point.snapshot for point in known if point.snapshot not in present], now)


def _is_complete(tools: Tools, run: str | None) -> bool:
    """False where the backup is known not to have succeeded; a run that the ledger has lost counts as complete."""
    record = tools.ledger.run(run) if run else None
    return record is None or record.state in {RunState.RUNNING, RunState.SUCCEEDED}

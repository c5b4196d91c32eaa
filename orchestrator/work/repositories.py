"""Open a tenant's repository in a vault, and make sure it is the one that we know before anything is written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from jobs.event import SEVERITIES, Event, Topic
from jobs.failure import FailureKind
from jobs.history import RecoveryPoint, RunState
from jobs.identity import Standing, standing
from jobs.policy import PolicyName, SiteName, TenantName, VaultName
from jobs.snapshot import Snapshot
from orchestrator.ledger.ledger import KnownRepository
from orchestrator.work import losses, probe
from orchestrator.work.tools import Tools
from targets.errors import TargetError
from targets.ports import Access, FileKind, FileRef, RepositoryAddress, Store

Place = tuple[TenantName, SiteName, VaultName]
_CONFIG = FileRef(FileKind.CONFIG, "config")
_NOT_KNOWN = "it is not the repository that the ledger knows"
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


def recognised(tools: Tools, tenant: TenantName, vault: VaultName) -> RepositoryAddress:
    """The address of the repository that stands there, for whoever reads without its password.

    One that the ledger does not know is taken as it stands, and not remembered: nobody has shown whose it is. Raises
    REPOSITORY_MISSING, REPOSITORY_FOREIGN (also where its config file is damaged) or what the vault says.
    """
    address = tools.vaults[vault].address(tenant)
    match _standing(tools, tenant, vault):
        case Standing.KNOWN | Standing.ADOPT:
            return address
        case Standing.FOREIGN:
            raise _refused(address, FailureKind.REPOSITORY_FOREIGN, f"{_NOT_KNOWN}, or its config file is damaged")
        case _:
            raise _refused(address, FailureKind.REPOSITORY_MISSING, "there is no repository")


def _standing(tools: Tools, tenant: TenantName, vault: VaultName) -> Standing:
    found = _config_hash(tools, tenant, vault)
    if found is not None and _under_its_new_name(tools, tenant, vault, found):
        return Standing.KNOWN
    known = tools.ledger.repository(tenant, vault)
    if found is None:
        _require_its_disk(tools, tenant, vault)
    others = [other for other in tools.ledger.repositories() if other.key != (tenant, vault)]
    twins = [other for other in others if (other.tenant, other.config_sha256) == (tenant, found)]
    for twin in twins:
        if twin.vault in tools.vaults and (known is None or known.first_seen_at < twin.first_seen_at):
            message = f"the ledger knows it as vault {twin.vault}, which is in the settings as well"
            raise _refused(tools.vaults[vault].address(tenant), FailureKind.VAULT_TWICE, message)
    foreign = frozenset(other.config_sha256 for other in others if other not in twins)
    return standing(known.config_sha256 if known else None, found, others=foreign)


def renamed(tools: Tools, of: Iterable[tuple[TenantName, VaultName]]) -> str:
    """See whether any of these is known under a former name of its vault; what was found so, for the run's record."""
    told = []
    for tenant, vault in sorted(of):
        if vault in tools.vaults and _former_names(tools, tenant, vault):
            found = _config_hash(tools, tenant, vault)
            told.append(_under_its_new_name(tools, tenant, vault, found) if found is not None else "")
    return "; ".join(filter(None, told))


def _former_names(tools: Tools, tenant: TenantName, vault: VaultName) -> dict[str, KnownRepository]:
    """By the config: what the ledger knows of the tenant in vaults that the settings no longer name, the newest each.

    Not what the vault was given over from already.
    """
    own = tools.ledger.repository(tenant, vault)
    gone = [each for each in tools.ledger.repositories() if each.tenant == tenant and each.vault not in tools.vaults]
    return {
        each.config_sha256: each
        for each in sorted(gone, key=lambda each: each.first_seen_at)
        if own is None or (own.config_sha256 == each.config_sha256 and own.first_seen_at < each.first_seen_at)
    }


def _under_its_new_name(tools: Tools, tenant: TenantName, vault: VaultName, found: str) -> str:
    """Know the repository by its vault's new name, where the ledger has it under one that is no longer in the settings.

    What there is to tell of it; empty where there is nothing.
    """
    former = _former_names(tools, tenant, vault).get(found)
    if former is None:
        return ""
    text = f"vault {vault} was called {former.vault}: it is the same repository, with its recovery points and proofs"
    tools.ledger.known_as(
        vault,
        former,
        Event(
            at=tools.clock.now(),
            topic=Topic.SETTINGS_RELOADED,
            severity=SEVERITIES[Topic.SETTINGS_RELOADED],
            tenant=tenant,
            subject=f"repository {tenant}@{vault}",
            text=f"{text[0].upper()}{text[1:]}.",
            key=f"renamed/{tenant}/{vault}",
        ),
    )
    return text


def _open(tools: Tools, tenant: TenantName, vault: VaultName, *, create: bool, like: Access | None) -> Access:
    stands = _standing(tools, tenant, vault)
    to = access(tools, tenant, vault)
    match stands:
        case Standing.KNOWN:
            return to
        case Standing.ADOPT:
            tools.engine.snapshots(to, stop=tools.stop)  # only what the tenant's password opens is the tenant's
            return _remembered(tools, tenant, vault, to)
        case Standing.CREATE if create:
            _clear_half_made(tools, tenant, vault, to)
            _init(tools, tenant, vault, to, like)
            return _remembered(tools, tenant, vault, to)
        case Standing.FOREIGN:
            raise _refused(to.address, FailureKind.REPOSITORY_FOREIGN, _NOT_KNOWN)
        case _:
            raise _refused(to.address, FailureKind.REPOSITORY_MISSING, "there is no repository")


def _refused(to: RepositoryAddress, kind: FailureKind, message: str) -> TargetError:
    return TargetError("open", f"repository {to.label}", kind, message)


def _config_hash(tools: Tools, tenant: TenantName, vault: VaultName) -> str | None:
    with opened_store(tools, tenant, vault) as store:
        if store.size(_CONFIG) is None:
            return None
        digest = hashlib.sha256()
        for piece in store.read(_CONFIG):
            digest.update(piece)
        return digest.hexdigest()


def _require_its_disk(tools: Tools, tenant: TenantName, vault: VaultName) -> None:
    """Raise VAULT_UNREACHABLE where a vault that held repositories holds nothing at all any more.

    A disk that is not mounted looks so: it may be back at the next try, and whatever were made until then would lie
    below its mount point. Unless a person gave the repository up.
    """
    if (tenant, vault) in tools.lost or not any(known.vault == vault for known in tools.ledger.repositories()):
        return
    with opened_store(tools, tenant, vault) as store:
        if store.is_bare():
            message = (
                f"vault {vault} is empty or not there, and held a repository before: check that its disk is mounted "
                "and its path is right. Lost for good? See --begin-anew"
            )
            raise _refused(tools.vaults[vault].address(tenant), FailureKind.VAULT_UNREACHABLE, message)


def _init(tools: Tools, tenant: TenantName, vault: VaultName, to: Access, like: Access | None) -> None:
    """Make it like the one it is copied from, or like what is left of the tenant's at another site.

    With other chunker parameters the same file is cut into other pieces, and no copy between the two would ever find
    that the other has them already.
    """
    survivor = like or _survivor(tools, tenant, vault)
    try:
        tools.engine.init(to, like=survivor)
    except ValueError:  # one restic cannot reach both: then nothing is ever copied between the two
        if like is not None:
            raise
        tools.engine.init(to)


def _survivor(tools: Tools, tenant: TenantName, vault: VaultName) -> Access | None:
    """The tenant's repository in another vault, where one is known; a site that is away holds no backup up."""
    for known in tools.ledger.repositories():
        if known.tenant == tenant and known.vault != vault and known.vault in tools.vaults:
            with suppress(TargetError):
                return existing(tools, tenant, known.vault)
    return None


def _clear_half_made(tools: Tools, tenant: TenantName, vault: VaultName, to: Access) -> None:
    """Remove the key that an `init` which was cut off left without a config: the next one would be spoiled by it.

    Raises REPOSITORY_DAMAGED where there is more, and nothing is touched: then the config was lost. What a probe left
    in an append-only vault is not more.
    """
    with opened_store(tools, tenant, vault) as store:
        kinds = (FileKind.SNAPSHOTS, FileKind.INDEX, FileKind.DATA)
        if not all(probe.is_ours(store, stored) for kind in kinds for stored in store.files(kind)):
            message = "there is data, but no config file to read it by"
            raise _refused(to.address, FailureKind.REPOSITORY_DAMAGED, message)
        for key in [stored.ref for stored in store.files(FileKind.KEYS)]:
            store.delete(key)


def _remembered(tools: Tools, tenant: TenantName, vault: VaultName, to: Access) -> Access:
    found = _config_hash(tools, tenant, vault)
    if found is None:
        raise _refused(to.address, FailureKind.REPOSITORY_MISSING, "it was just created, and is not there")
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


def confirm(tools: Tools, tenant: TenantName, vault: VaultName, snapshots: Iterable[str]) -> tuple[str, ...]:
    """The full ids of snapshots restic says it made, looked up among the vault's own files. Exit 0 is not believed.

    Raises SNAPSHOT_MISSING when one is not there.
    """
    names = _stored_snapshots(tools, tenant, vault)
    return tuple(_full_name(snapshot, names, vault) for snapshot in snapshots)


def _stored_snapshots(tools: Tools, tenant: TenantName, vault: VaultName) -> frozenset[str]:
    with opened_store(tools, tenant, vault) as store:
        return frozenset(stored.ref.name for stored in store.files(FileKind.SNAPSHOTS))


def _full_name(snapshot: str, names: frozenset[str], vault: VaultName) -> str:
    full = [name for name in names if name.startswith(snapshot)]
    if len(snapshot) < _ABBREVIATION or len(full) != 1:
        message = f"restic reported snapshot {snapshot or '(none)'}, but the vault holds no such file"
        raise TargetError("confirm backup in", f"vault {vault}", FailureKind.SNAPSHOT_MISSING, message)
    return full[0]


def ours(tools: Tools, of: Access, policy: str) -> tuple[Snapshot, ...]:
    """The policy's snapshots (data and manifests), oldest first."""
    return tools.engine.snapshots(of, tags=("tandem", f"policy={policy}"), stop=tools.stop)


def given_up(tools: Tools, tenant: TenantName, vault: VaultName) -> KnownRepository | None:
    """What the ledger knows of a repository that a person says is lost for good; the run that makes another forgets it.

    Raises REPOSITORY_FOREIGN where one stands there: nothing that exists is ever given up.
    """
    known = tools.ledger.repository(tenant, vault)  # first: another that is begun anew meanwhile is not this one
    if is_there(tools, tenant, vault):
        to = tools.vaults[vault].address(tenant)
        raise _refused(to, FailureKind.REPOSITORY_FOREIGN, "a repository is there, so there is nothing to begin anew")
    return known


def is_there(tools: Tools, tenant: TenantName, vault: VaultName) -> bool:
    """Whether any repository stands at the tenant's place."""
    return _config_hash(tools, tenant, vault) is not None


def note_points(
    tools: Tools, place: Place, policy: PolicyName, listed: Iterable[Snapshot], *, whole_listing: bool = True
) -> None:
    """Bring the ledger's recovery points of one policy and vault in line with what was listed there.

    With `whole_listing` a point that is not among `listed` is noted as gone; where no retention of ours had set out to
    remove it, that is a loss, and told. One that came to be there since it was listed is neither.
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
        _note_absent(tools, place, policy, points)


def _note_absent(tools: Tools, place: Place, policy: PolicyName, listed: list[RecoveryPoint]) -> None:
    tenant, _, vault = place
    now = tools.clock.now()
    present = {point.snapshot for point in listed}
    known = tools.ledger.points(policy=policy, vault=vault, at=now)
    absent = [point for point in known if point.snapshot not in present]
    suspects = losses.unaccounted(tools.ledger, tenant, absent)
    there = _stored_snapshots(tools, tenant, vault) if suspects else frozenset[str]()
    lost = [point for point in suspects if point.snapshot not in there]
    repository = tools.ledger.repository(tenant, vault)
    events = losses.told(repository, lost, now) if repository else ()
    gone = [point.snapshot for point in absent if point.snapshot not in there]
    tools.ledger.gone(tenant, vault, gone, now, events=events)
    if repository:
        losses.come_back(tools.ledger, repository, listed, now)


def _is_complete(tools: Tools, run: str | None) -> bool:
    """False where the backup is known not to have succeeded; a run that the ledger has lost counts as complete."""
    record = tools.ledger.run(run) if run else None
    return record is None or record.state in {RunState.RUNNING, RunState.SUCCEEDED}

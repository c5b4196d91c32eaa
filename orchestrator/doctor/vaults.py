"""Every vault asked for real: a small file written, read back and removed, and the room that is left there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from jobs.checkup import Finding, Grade
from jobs.growth import ENOUGH, RECKONED, SPAN, Growth, growth
from jobs.policy import TenantName, VaultName
from jobs.quantity import counted, duration, size
from orchestrator import wiring
from orchestrator.doctor.case import Case
from orchestrator.doctor.examination import Check
from orchestrator.settings import LocalVaultSettings, VaultSettings
from orchestrator.work.probe import probe
from targets.host import disk_of
from targets.ports import FileKind, FileRef, Vault

SECONDS: Final = 20.0  # two tries of ten to connect
_CONFIG: Final = FileRef(FileKind.CONFIG, "config")
_SOON: Final = timedelta(days=30)
_OFF: Final = timedelta(seconds=5)  # clocks tell whole seconds, and the answer takes its time


def checks(case: Case) -> Iterator[Check]:
    """One for each vault of the settings, so that one that is silent keeps no other waiting."""
    for vault in case.settings.vaults.values():
        yield Check(name="vault", subject=vault.name, look=_Look(case, vault), seconds=SECONDS, late=Grade.FAILED)


@dataclass(frozen=True, slots=True)
class _Look:
    case: Case
    settings: VaultSettings

    def __call__(self) -> Iterator[Finding]:
        name = self.settings.name
        tenants = _tenants(self.case, name)
        vault = wiring.vaults(self.case.settings)[name]
        missing = [tenant for tenant in tenants.known if not _holds(vault, tenant)]
        if missing:
            yield self._said(
                Grade.FAILED,
                f"the ledger knows the repositories of {', '.join(missing)} there, and they are not there",
                "Check that the vault's disk is mounted and its path is right. Lost for good? See --begin-anew.",
            )
            return
        yield from self._probed(vault, tenants)

    def _probed(self, vault: Vault, tenants: _Tenants) -> Iterator[Finding]:
        if not tenants.using:
            yield self._said(Grade.WARN, "no policy uses it", "Remove it from the settings, or keep something there.")
        tenant = next(iter((*tenants.using, *self.case.settings.tenants)), TenantName("tandem"))
        with closing(vault.store(tenant)) as store:
            probed = probe(store, f"{tenant}@{self.settings.name}", self.case.clock)
            free = store.free()
        held = counted(len(tenants.known), "repository", "repositories")
        said = f"can be written, read and listed; {held} there"
        if probed.append_only:
            said = f"can be written and read, but nothing can be removed (append-only); {held} there"
        yield self._said(Grade.OK, said)
        yield self._room(free)
        yield from self._clock(probed.skew)

    def _room(self, free: int | None) -> Finding:
        grows = _growth(self.case, self.settings)
        rate = f"at most {size(int(grows.bytes_a_day))} a day over {duration(grows.over)}"
        if free is None:
            text = f"free space is not known: a vault of kind {self.settings.kind} does not tell it; grows by {rate}"
            return self._said(Grade.INFO, text)
        lasts = grows.lasts(free)
        if lasts is None:
            return self._said(Grade.OK, f"{size(free)} free; no growth seen in {duration(grows.over)}")
        text = f"{size(free)} free, which lasts {duration(lasts)}: it grows by {rate}"
        if lasts >= _SOON:
            return self._said(Grade.OK, text)
        return self._said(
            Grade.FAILED if lasts < ENOUGH else Grade.WARN, text, "Make room there, or keep fewer recovery points."
        )

    def _clock(self, skew: timedelta | None) -> Iterator[Finding]:
        """Of a folder of this machine the clock is our own: nothing to tell, unless it is another's after all."""
        off = abs(skew) if skew is not None else timedelta()
        if skew is None:
            yield self._said(Grade.INFO, "its clock cannot be read")
        elif off > _OFF:
            which = "ahead of" if skew > timedelta() else "behind"
            text = f"its clock is {duration(off)} {which} ours"
            yield self._said(Grade.WARN, text, "Set both clocks by the same time servers (timedatectl, chrony).")
        elif not isinstance(self.settings, LocalVaultSettings):
            yield self._said(Grade.OK, f"its clock agrees with ours to {duration(_OFF)}")

    def _said(self, grade: Grade, text: str, advice: str = "") -> Finding:
        return Finding(check="vault", subject=self.settings.name, grade=grade, text=text, advice=advice)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tenants:
    """Who keeps something in a vault: by the settings, and by the ledger."""

    using: tuple[TenantName, ...]
    known: tuple[TenantName, ...]


def _tenants(case: Case, vault: VaultName) -> _Tenants:
    using = (policy.tenant for policy in case.settings.policies if any(at == vault for _, at in policy.places))
    known: Iterable[TenantName] = ()
    if case.ledger is not None:
        known = (each.tenant for each in case.ledger.repositories() if each.vault == vault)
    return _Tenants(using=tuple(dict.fromkeys(using)), known=tuple(known))


def _holds(vault: Vault, tenant: TenantName) -> bool:
    with closing(vault.store(tenant)) as store:
        return store.size(_CONFIG) is not None


def _growth(case: Case, vault: VaultSettings) -> Growth:
    now = case.clock.now()
    backups = case.ledger.stored(now - SPAN, RECKONED) if case.ledger is not None else ()
    return growth(backups, case.settings.policies, _sharing(case, vault), now)


def _sharing(case: Case, vault: VaultSettings) -> Sequence[VaultName]:
    """The vaults that fill the same disk."""
    if not isinstance(vault, LocalVaultSettings):
        return [vault.name]
    disk = disk_of(vault.path)
    local = (each for each in case.settings.vaults.values() if isinstance(each, LocalVaultSettings))
    return [each.name for each in local if disk_of(each.path) == disk]

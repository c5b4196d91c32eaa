"""Conditions that last are looked for in what the ledger knows, and raised and cleared there. No vault is asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from jobs.alarm import Alarm, Disk, Known, LineKey, conditions, difference
from jobs.growth import SPAN, growth
from jobs.history import Job, RunRecord, RunState
from jobs.integrity import Assessment, assess
from jobs.policy import VaultName
from jobs.slot import Line
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.settings import LocalVaultSettings, Settings
from targets.host import disk_of, free_space

_RECKONED: Final = 30_000  # backups; a second to read
_TAIL: Final = 10  # closed slots of a line that are looked at
_REFUSED_WITHIN: Final = timedelta(days=14)
_TOLD_WITHIN: Final = timedelta(days=4)  # notices are given up after three
_GOOD: Final = (RunState.SUCCEEDED, RunState.PARTIAL)
_REFUSED: Final = (RunState.FAILED, RunState.BLOCKED)


def watch(ledger: Ledger, settings: Settings, clock: Clock, *, clock_doubt: str = "") -> tuple[Assessment, ...]:
    """Look once, and put on record what has begun and what has ended; gives the verdicts that it came by.

    `clock_doubt` is why the clock is not believed. Raises LedgerError. At thousands of policies it takes a second:
    call it once a minute, and less often where it took longer than that allows.
    """
    now = clock.now()
    standing = ledger.alarms()
    if clock_doubt:  # ages and deadlines mean nothing now: what stood stands
        _record(ledger, standing, (*standing, *conditions(Known(clock_doubt=clock_doubt), now)), now)
        return ()
    seen = ledger.glance(now)
    assessments = assess(settings.policies, seen.runs, seen.points, now)
    lines, slots = ledger.ailing(_TAIL)
    refused = ledger.runs(states=_REFUSED, since=now - _REFUSED_WITHIN)
    known = Known(
        lines=lines,
        slots=slots,
        good=_good(ledger, lines, refused),
        refused=refused,
        assessments=assessments,
        since=ledger.policies_since(),
        disks=tuple(disks(ledger, settings, now)),
        notices=ledger.notices(since=now - _TOLD_WITHIN),
    )
    _record(ledger, standing, conditions(known, now), now)
    return assessments


def _record(ledger: Ledger, standing: Iterable[Alarm], holding: Iterable[Alarm], now: datetime) -> None:
    changed = difference(standing, holding, now)
    if changed.raised or changed.cleared:
        ledger.set_alarms(changed.raised, changed.cleared, now, changed.events)


def _good(ledger: Ledger, lines: Iterable[Line], refused: Iterable[RunRecord]) -> dict[LineKey, RunRecord]:
    """The newest good run of whatever is in trouble, and of its policy's backups: few questions where all is well."""
    wanted = {line.key for line in lines} | {(run.policy, run.job, run.vault) for run in refused}
    found = {key: ledger.last(*key, states=_GOOD) for key in wanted}
    for policy in {key[0] for key in wanted}:
        backup = ledger.last(policy, Job.BACKUP, states=_GOOD)
        if backup is not None:
            found[policy, Job.BACKUP, backup.vault] = backup
    return {key: run for key, run in found.items() if run is not None}


def disks(ledger: Ledger, settings: Settings, now: datetime) -> Iterator[Disk]:
    """The disks of this machine that vaults and the ledger lie on, each once, with the growth of all its vaults.

    What lies elsewhere would have to be asked; `tandem doctor` does. A vault whose disk is not there is left out: its
    runs tell of that.
    """
    places: dict[int, list[tuple[str, Path, VaultName | None]]] = defaultdict(list)
    for vault in settings.vaults.values():
        if isinstance(vault, LocalVaultSettings) and vault.path.parent.is_dir():
            places[disk_of(vault.path)].append((f"vault {vault.name}", vault.path, vault.name))
    for file in ledger.files[:1]:
        places[disk_of(file)].append(("the ledger", file, None))
    runs = recent_backups(ledger, now) if places else ()
    for there in places.values():
        vaults = [vault for _, _, vault in there if vault is not None]
        name = "The disk of " + " and ".join(sorted(what for what, _, _ in there))
        yield Disk(name=name, free=free_space(there[0][1]), growth=growth(runs, settings.policies, vaults, now))


def recent_backups(ledger: Ledger, now: datetime) -> tuple[RunRecord, ...]:
    """What growth is reckoned from: of very many policies a few days are enough."""
    return ledger.runs(job=Job.BACKUP, states=_GOOD, since=now - SPAN, limit=_RECKONED)

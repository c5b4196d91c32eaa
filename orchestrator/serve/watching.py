"""Conditions that last are looked for in what the ledger knows, and raised and cleared there. No vault is asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from datetime import datetime, timedelta
from itertools import groupby, islice
from pathlib import Path
from typing import Final

from jobs.alarm import REFUSED, Alarm, Disk, Known, LineKey, conditions, difference, reminder
from jobs.growth import RECKONED, SPAN, growth
from jobs.history import Job, RunRecord, RunState
from jobs.integrity import Assessment, assess
from jobs.lock import by_a_lock
from jobs.notice import Notice
from jobs.policy import Policy, VaultName
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.settings import LocalVaultSettings, Settings
from reports.metrics import PlaceFacts
from targets.host import disk_of, free_space

_TAIL: Final = 10  # closed slots of a line that are looked at
_AT_ONCE: Final = 25  # policies that are judged together
_HOURS: Final = timedelta(hours=6)  # of runs in one question, so that nobody waits long for the ledger
_REFUSED_WITHIN: Final = timedelta(days=14)
_TOLD_WITHIN: Final = timedelta(days=4)  # notices are given up after three
_REMINDED_AFTER: Final = timedelta(days=1)
_GOOD: Final = (RunState.SUCCEEDED, RunState.PARTIAL)
_REFUSED: Final = (RunState.FAILED, RunState.BLOCKED)


def watch(
    ledger: Ledger, settings: Settings, clock: Clock, *, clock_doubt: str = "", behind: str = ""
) -> tuple[PlaceFacts, ...]:
    """Look once, and put on record what has begun and what has ended; gives the verdicts that it came by, in brief.

    `clock` tells what time it is believed to be: time goes on, and so does the watch, while the machine's clock is not
    believed (`clock_doubt`: why) or the record is ahead of it (`behind`). Raises LedgerError. Thousands of policies
    take seconds: call it once a minute, and less often where it took longer than that allows. The ledger is free for
    others in between.
    """
    now = clock.now()
    alarms = ledger.alarms()
    standing = [alarm for alarm in alarms if alarm.key != REFUSED]  # that one is raised and cleared by regime.py
    _remind(ledger, (alarm for alarm in alarms if alarm.key == REFUSED), now)
    since = ledger.policies_since()
    places: list[PlaceFacts] = []
    broken: list[Alarm] = []
    for judged in _judged(ledger, settings.policies, now):
        places += map(PlaceFacts.of, judged)
        broken += conditions(Known(assessments=judged, since=since), now)
    for lines, slots in ledger.ailing(_TAIL):
        good = _good(ledger, {line.key for line in lines})
        broken += conditions(Known(lines=lines, slots=slots, good=good), now)
    refused = tuple(_refused(ledger, settings.policies, now))
    known = Known(
        refused=refused,
        good=_good_beside(ledger, settings.policies, refused),
        disks=tuple(disks(ledger, settings, now)),
        notices=tuple(_notices(ledger, settings, now)),
        clock_doubt=clock_doubt,
        behind=behind,
    )
    _record(ledger, standing, (*broken, *conditions(known, now)), now)
    return tuple(places)


def _judged(ledger: Ledger, policies: Iterable[Policy], now: datetime) -> Iterator[tuple[Assessment, ...]]:
    """Every policy, a few of one tenant at a time: what they are judged by would fill the memory, all at once."""
    ordered = sorted(policies, key=lambda policy: (policy.tenant, policy.name))
    for tenant, theirs in groupby(ordered, lambda policy: policy.tenant):
        while some := tuple(islice(theirs, _AT_ONCE)):
            seen = ledger.glance_at(tenant, [policy.name for policy in some], now)
            yield assess(some, seen.runs, seen.points, now)


def _refused(ledger: Ledger, policies: Iterable[Policy], now: datetime) -> Iterator[RunRecord]:
    """The runs that a lock refused, the newest first, some hours at a time. Of a policy that is gone nobody asks."""
    there = {policy.name for policy in policies}
    for number in range(_REFUSED_WITHIN // _HOURS):
        since = now - (number + 1) * _HOURS
        until = since + _HOURS if number else None
        runs = ledger.runs(states=_REFUSED, since=since, until=until)
        yield from (run for run in runs if by_a_lock(run) and run.policy in there)


def _remind(ledger: Ledger, lasting: Iterable[Alarm], now: datetime) -> None:
    """Of what only a person can end: nothing that happens by itself would tell of it again."""
    for alarm in lasting:
        told = [event.at for event in ledger.events(topics=[alarm.topic]) if event.key == alarm.key]
        if max(told, default=alarm.raised_at) <= now - _REMINDED_AFTER:
            ledger.add_events([reminder(alarm, now)])


def _record(ledger: Ledger, standing: Iterable[Alarm], holding: Iterable[Alarm], now: datetime) -> None:
    changed = difference(standing, holding, now)
    if changed.raised or changed.cleared:
        ledger.set_alarms(changed.raised, changed.cleared, now, changed.events)


def _good(ledger: Ledger, troubled: Set[LineKey]) -> dict[LineKey, RunRecord]:
    """The newest good run of whatever is in trouble, and of its policy's backups."""
    found = ledger.last_runs(_GOOD, policies={policy for policy, _, _ in troubled})
    return {key: run for key, run in found.items() if key in troubled or key[1] is Job.BACKUP}


def _notices(ledger: Ledger, settings: Settings, now: datetime) -> Iterator[Notice]:
    """The recent ones of the channels that there are; one with several addresses has numbers."""
    names = {channel.name for channel in settings.notify}
    return (each for each in ledger.notices(since=now - _TOLD_WITHIN) if each.channel.partition("/")[0] in names)


def _good_beside(
    ledger: Ledger, policies: Iterable[Policy], refused: Iterable[RunRecord]
) -> Mapping[LineKey, RunRecord]:
    """The newest good runs of all policies that have a repository in which one was refused: they may show it free."""
    where = {(run.tenant, run.vault) for run in refused}
    names = {policy.name for policy in policies for _, vault in policy.places if (policy.tenant, vault) in where}
    return ledger.last_runs(_GOOD, policies=names) if names else {}


def disks(ledger: Ledger, settings: Settings, now: datetime) -> Iterator[Disk]:
    """The disks of this machine that vaults and the ledger lie on, each once, with the growth of all its vaults.

    What lies elsewhere would have to be asked; `tandem doctor` does. A vault whose disk is not there is left out: its
    runs tell of that.
    """
    places: dict[int, list[tuple[str, Path, VaultName | None]]] = defaultdict(list)
    for vault in settings.vaults.values():
        if isinstance(vault, LocalVaultSettings) and (disk := _disk_under(vault.path)) is not None:
            places[disk].append((f"vault {vault.name}", vault.path, vault.name))
    for file in ledger.files[:1]:
        places[disk_of(file)].append(("the ledger", file, None))
    stored = ledger.stored(now - SPAN, RECKONED) if places else ()
    for there in places.values():
        vaults = [vault for _, _, vault in there if vault is not None]
        name = "The disk of " + " and ".join(sorted(what for what, _, _ in there))
        try:
            free = free_space(there[0][1])
        except OSError:  # it died while we looked: its runs tell of that, and the other disks are looked at
            continue
        yield Disk(name=name, free=free, growth=growth(stored, settings.policies, vaults, now))


def _disk_under(path: Path) -> int | None:
    """The disk that a vault lies on; None where it cannot be looked at: it is not there, or not for us, or dead."""
    try:
        return disk_of(path) if path.parent.is_dir() else None
    except OSError:
        return None

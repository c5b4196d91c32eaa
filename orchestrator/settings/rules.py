"""What needs more than one table to be judged: names that exist, copies that are apart, secrets that are private.

Each rule yields mistakes and knows no other rule; `judge` runs them all over what is sound in its shape.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import Final

from jobs.schedule import Schedule
from orchestrator.settings import model
from orchestrator.settings.build import reference, retention_of
from orchestrator.settings.documents import Documents
from orchestrator.settings.inherit import effective
from orchestrator.settings.mistakes import Mistake, did_you_mean
from orchestrator.settings.moments import ever_opens, shortest
from orchestrator.settings.paths import EVERY, Pattern, matching
from orchestrator.settings.positions import KeyPath
from orchestrator.settings.secrets import file_complaint
from orchestrator.settings.units import format_duration
from orchestrator.settings.validation import related
from orchestrator.settings.vaults import PLACE, LocalTable, location, too_close

Found = Iterator[tuple[KeyPath, str]]  # the key, and what is wrong with it


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the rules look at: the sound part of the settings, and the keys that were taken out of it."""

    documents: Documents
    table: model.SettingsTable
    faulty: frozenset[KeyPath]

    @cached_property
    def policies(self) -> dict[str, model.PolicyTable]:
        """The policies with what they inherit."""
        return {name: effective(policy, self.table.defaults.policy) for name, policy in self.table.policies.items()}

    def written(self, policy: str, *below: str) -> KeyPath:
        """Where a policy's key is written: in the policy, or in what it inherits from; the policy when in neither."""
        own, inherited = ("policies", policy, *below), ("defaults", "policy", *below)
        there = self.documents.value(own) is None and self.documents.value(inherited) is not None
        return inherited if there else own

    def is_faulty(self, policy: str, *below: str) -> bool:
        """Whether a policy's key, or the one that it inherits, was taken out: what it says is not known then."""
        return any(related((*above, *below), self.faulty) for above in (("policies", policy), ("defaults", "policy")))

    def names(self, section: str) -> list[str]:
        """The names that a section defines, also those of faulty tables."""
        found = self.documents.value((section,))
        return list(found) if isinstance(found, dict) else []

    def texts(self, pattern: Pattern) -> Iterator[tuple[KeyPath, str]]:
        """The sound texts that are written at a place, also those in faulty tables."""
        for key in matching(self.documents.tree, pattern):
            text = self.documents.value(key)
            if isinstance(text, str) and not related(key, self.faulty):
                yield key, text


def judge(case: Case, *, files: bool) -> Iterator[Mistake]:
    """Every mistake that the rules find; `files` looks at the secret files too."""
    for rule in (*_RULES, *(_FILES if files else ())):
        for key, what in rule(case):
            if not related(key, case.faulty):
                yield case.documents.mistake(key, what)


def _names_exist(case: Case) -> Found:
    """Whoever names a site, a tenant or a vault names one that there is."""
    for pattern, section in _NAMED:
        known = case.names(section)
        for key, name in case.texts(pattern):
            if name not in known:
                yield key, f'there is no {section[:-1]} "{name}"{did_you_mean(name, known)}'


_NAMED: Final[tuple[tuple[Pattern, str], ...]] = (
    (("vaults", EVERY, "site"), "sites"),
    (("defaults", "policy", "tenant"), "tenants"),
    (("defaults", "policy", "vault"), "vaults"),
    (("defaults", "policy", "replicate", "to"), "vaults"),
    (("policies", EVERY, "tenant"), "tenants"),
    (("policies", EVERY, "vault"), "vaults"),
    (("policies", EVERY, "replicate", "to"), "vaults"),
    (("notify", EVERY, "tenants", EVERY), "tenants"),
    (("reports", EVERY, "tenant"), "tenants"),
)


def _nothing_is_missing(case: Case) -> Found:
    """Inherited or its own: a policy has a tenant, a vault and a source, and its second copy has a place."""
    for name, policy in case.policies.items():
        for key, value in (("tenant", policy.tenant), ("vault", policy.vault), ("source", policy.source)):
            if value is None and not related(("defaults", "policy", key), case.faulty):
                yield ("policies", name, key), "is missing"
        if policy.replicate is not None and policy.replicate.to is None:
            yield (*case.written(name, "replicate"), "to"), "is missing: the vault of the second copy"


def _something_is_kept(case: Case) -> Found:
    for name, policy in case.policies.items():
        try:
            retention_of(policy.retention)
        except ValueError as error:
            yield case.written(name, "retention"), str(error)


def _schedules_lead_somewhere(case: Case) -> Found:
    """What comes after the backup needs a backup that comes, and a retention's moments a retention."""
    for name, policy in case.policies.items():
        if policy.schedule is None and not case.is_faulty(name, "schedule"):
            for key, schedule in _others(policy):
                if schedule is not None and schedule.after:
                    yield case.written(name, *key), f'policy "{name}": no schedule says when its backup is'
        own = case.table.policies[name].retention_schedule
        if own is not None and policy.retention is None and not case.is_faulty(name, "retention"):
            yield ("policies", name, "retention_schedule"), "there is no retention that could be applied"


def _others(policy: model.PolicyTable) -> Iterator[tuple[tuple[str, ...], Schedule | None]]:
    """The schedules of all jobs but the backup, and their keys."""
    yield ("replicate", "schedule"), None if policy.replicate is None else policy.replicate.schedule
    yield ("retention_schedule",), policy.retention_schedule
    yield ("verify", "audit"), policy.verify.audit
    yield ("verify", "check"), policy.verify.check
    yield ("verify", "restore_test"), policy.verify.restore_test


def _moments_are_apart(case: Case) -> Found:
    """A moment that is put off does not come after the next one."""
    for name, policy in case.policies.items():
        if policy.splay:
            for _, schedule in ((("schedule",), policy.schedule), *_others(policy)):
                least = None if schedule is None else shortest(schedule)
                if schedule is not None and least is not None and policy.splay >= least:
                    wanted = f'"{format_duration(least)}", for "{schedule.text}" comes again after that'
                    yield case.written(name, "splay"), f'policy "{name}": must be less than {wanted}'


def _windows_open_in_time(case: Case) -> Found:
    """What is due while its window is shut, and too late when that opens, never runs."""
    for name, policy in case.policies.items():
        window, zone = policy.window, policy.timezone or case.table.service.timezone
        if window is None or case.is_faulty(name, "timezone") or related(("service", "timezone"), case.faulty):
            continue
        for key, schedule in ((("schedule",), policy.schedule), *_others(policy)):
            if schedule is None or schedule.after is not None:
                continue
            if not ever_opens(schedule, window, zone, policy.catch_up, policy.splay):
                what = f'its window "{window.text}" is never open in time for "{schedule.text}"'
                yield case.written(name, *key), f'policy "{name}": {what}'


def _tandem_once(case: Case) -> Found:
    """Tandem's own ledger needs one policy: a second one would be the same data under two names."""
    own = [name for name, policy in case.policies.items() if policy.source is not None and policy.source.tandem]
    for name in own[1:]:
        yield ("policies", name, "source", "tandem"), f'is what policy "{own[0]}" backs up; one policy is enough'


def _own_ledger_is_a_file(case: Case) -> Found:
    """A ledger on a server has its own tool to copy it. Where its address is a secret, the backup says the same."""
    state = case.table.service.state
    if isinstance(state, str) and state.startswith("postgresql"):
        for name, policy in case.policies.items():
            if policy.source is not None and policy.source.tandem:
                what = (
                    'the ledger is on a PostgreSQL server: use { command = { run = ["pg_dump", …], filename = "…" } }'
                )
                yield ("policies", name, "source", "tandem"), what


def _copies_are_apart(case: Case) -> Found:
    """The second copy is in another vault, at another site, and where restic can copy to."""
    for name, policy in case.policies.items():
        if what := too_close(case.table.vaults, policy.vault or "", policy.replica or ""):
            yield case.written(name, "replicate", "to"), f'policy "{name}": {what}'


def _vaults_are_apart(case: Case) -> Found:
    """No vault is, or lies inside, another: a tenant's repository would be found in both."""
    places = [(name, location(vault)) for name, vault in case.table.vaults.items()]
    for (one, (server, parts)), (other, (other_server, other_parts)) in combinations(places, 2):
        shared = min(len(parts), len(other_parts))
        if server == other_server and parts[:shared] == other_parts[:shared]:
            relation = "is the same place as" if len(parts) == len(other_parts) else "overlaps"
            yield ("vaults", other, PLACE[case.table.vaults[other].kind]), f'{relation} vault "{one}"'


def _passwords_are_apart(case: Case) -> Found:
    """Each tenant has its own password: otherwise one of them could read the other's data."""
    owners: dict[object, str] = {}
    for name, tenant in case.table.tenants.items():
        # By where they are: a password itself is read when it is needed, and by nobody else.
        owner = owners.setdefault(reference(tenant.password), name)
        if owner != name:
            yield ("tenants", name, "password"), f'is also the password of tenant "{owner}"; each needs its own'


def _reports_have_names_of_their_own(case: Case) -> Found:
    """Slots and runs are known by the name of what they are of."""
    policies = case.names("policies")
    for name in case.names("reports"):
        if name in policies:
            yield ("reports", name), f'a policy is called "{name}" already; slots and runs of both would be mixed up'


def _records_outlast_reports(case: Case) -> Found:
    """What a report tells of is kept until it is made, also when that is a month late."""
    periods: dict[str, str] = {report.period: name for name, report in reversed(case.table.reports.items())}
    longest = max(periods, key=_LONGEST.__getitem__, default="day")
    needed = _LONGEST[longest] + _LATENESS
    if case.table.ledger.keep < needed:
        what = f'report "{periods[longest]}" needs records of a {longest}, and may be {_LATENESS.days} days late'
        yield ("ledger", "keep"), f'is too short: {what}: "{needed.days}d" at least'


_LONGEST: Final[Mapping[str, timedelta]] = MappingProxyType(
    {
        name: timedelta(days=days)
        for name, days in (("day", 1), ("week", 7), ("month", 31), ("quarter", 92), ("year", 366))
    }
)
_LATENESS: Final = timedelta(days=31)


def _sources_are_not_vaults(case: Case) -> Found:
    """A backup must not store the repository into itself."""
    # By where links lead: two names of one folder are one folder.
    vaults = [(n, os.path.realpath(v.path)) for n, v in case.table.vaults.items() if isinstance(v, LocalTable)]
    for name, policy in case.table.policies.items():
        for key, path in _source_paths(("policies", name, "source"), policy.source):
            for vault, folder in vaults:
                if _inside(path, folder) or _inside(folder, path):
                    yield (
                        key,
                        f'"{path}" overlaps vault "{vault}" ({folder}): a backup must not store its own repository',
                    )


def _source_paths(key: KeyPath, source: model.SourceTable | None) -> Iterator[tuple[KeyPath, str]]:
    if source is not None and source.sqlite is not None:
        yield (*key, "sqlite", "path"), os.path.realpath(source.sqlite.path)
    for index, path in enumerate((source and source.paths) or ()):
        yield (*key, "paths", index), os.path.realpath(path)


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _secrets_are_private(case: Case) -> Found:
    """Every secret file is there, and its owner's alone. Variables and commands are asked when they are needed."""
    for pattern in _SECRETS:
        for key, path in case.texts(pattern):
            if complaint := file_complaint(Path(path)):
                yield key, complaint


_SECRETS: Final[tuple[Pattern, ...]] = (
    ("service", "state", "file"),
    ("tenants", EVERY, "password", "file"),
    ("vaults", EVERY, "credentials", "file"),
    ("vaults", EVERY, "identity", "file"),
    ("serve", "dead_man", "file"),
    ("notify", EVERY, "urls", EVERY, "file"),
)


def _trusted_files_exist(case: Case) -> Found:
    """What servers are verified with is there."""
    for name in ("known_hosts", "ca"):
        for key, path in case.texts(("vaults", EVERY, name)):
            if not os.path.isfile(path):  # noqa: PTH113 (beside realpath)
                yield key, f"there is no file {path}"


_RULES: Final[tuple[Callable[[Case], Found], ...]] = (
    _names_exist,
    _nothing_is_missing,
    _something_is_kept,
    _schedules_lead_somewhere,
    _moments_are_apart,
    _windows_open_in_time,
    _tandem_once,
    _own_ledger_is_a_file,
    _copies_are_apart,
    _vaults_are_apart,
    _passwords_are_apart,
    _reports_have_names_of_their_own,
    _records_outlast_reports,
    _sources_are_not_vaults,
)
_FILES: Final[tuple[Callable[[Case], Found], ...]] = (_secrets_are_private, _trusted_files_exist)

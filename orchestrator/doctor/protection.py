"""Policies that protect nothing, and mounts and databases of this machine that nothing protects."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from jobs.checkup import Finding, Grade
from jobs.coverage import Cover, cover_of_mount, dumping, dumps_of, holding, promises_nothing, wholly_excluded
from jobs.history import Job, RunRecord, RunState
from jobs.policy import Command, Own, Paths, Policy, PolicyName, Sqlite, VaultName
from jobs.quantity import counted
from orchestrator.doctor.case import Case
from orchestrator.settings import LocalVaultSettings
from targets.inventory import DatabaseServer, Mount, database_servers, mounts, sqlite_files

_SEARCH_SECONDS: Final = 10.0
_PLACES: Final = tuple(map(Path, ("/srv", "/var/lib", "/var/www", "/opt", "/home", "/root", "/usr/local")))
_BEGIN: Final = "Write one; to begin with: tandem config generate"
_NAMED: Final = 5  # of many files, so many are named
_GOOD: Final = (RunState.SUCCEEDED, RunState.PARTIAL)
_Problem = tuple[Grade, str, str]  # grade, text, advice


def policies(case: Case) -> Iterator[Finding]:
    """One line for each way in which a policy protects nothing, or less than people think; one for all the others."""
    good = case.ledger.last_runs(_GOOD) if case.ledger is not None else {}
    well = 0
    for policy in case.settings.policies:
        ran = good.get((policy.name, Job.BACKUP, policy.vault))
        problems = [*_source_problems(policy), *_promise_problems(policy, ran)]
        for grade, text, advice in problems:
            yield Finding(check="policy", subject=policy.name, grade=grade, text=text, advice=advice)
        well += not problems
    if well:
        text = f"{counted(well, 'policy', 'policies')} with a source, a schedule, a promise, a copy and a backup"
        yield Finding(check="policy", subject="", grade=Grade.OK, text=text)
    if not case.settings.policies:
        text = "the settings name no policy: nothing is backed up"
        yield Finding(check="policy", subject="", grade=Grade.WARN, text=text, advice=_BEGIN)


def _source_problems(policy: Policy) -> Iterator[_Problem]:
    match policy.source:
        case Paths() as source:
            yield from _of_paths(source)
        case Sqlite(path=path):
            if not Path(path).is_file():
                yield Grade.FAILED, f"its database {path} is not there", "Correct the path, or put the file back."
        case Command(command=(program, *_)):
            if shutil.which(program) is None:
                yield Grade.FAILED, f"its program {program} is not installed", "Install it, or correct the command."
        case Own() | Command():
            pass


def _of_paths(source: Paths) -> Iterator[_Problem]:
    for path in map(Path, source.paths):
        if not path.exists():
            yield Grade.FAILED, f"its source {path} is not there", "Mount it, or take it out of the policy."
        elif path.is_dir() and not any(path.iterdir()):
            yield Grade.WARN, f"its source {path} is empty", "Is its disk mounted? If it is meant to be, wait for data."
    for text in wholly_excluded(source):
        yield Grade.FAILED, f"its own exclude leaves out all of {text}", "Correct the pattern in `exclude`."


def _promise_problems(policy: Policy, ran: RunRecord | None) -> Iterator[_Problem]:
    if policy.timetable.backup is None:
        yield Grade.WARN, "it has no schedule: it runs only by hand", 'Set schedule = "daily at 01:30".'
    if promises_nothing(policy.objectives):
        yield Grade.WARN, "it promises nothing, so nothing can be missed", 'Set objectives = { rpo = "24h" }.'
    if policy.replica is None:
        yield Grade.WARN, "it keeps one copy only: a fire takes it all", "Set replicate = { to = VAULT }."
    if ran is None:
        yield Grade.WARN, "it has never been backed up", f"Run it: tandem backup {policy.name}"


def uncovered_mounts(case: Case) -> Iterator[Finding]:
    """File systems of this machine that no policy's source holds. Those that only hold vaults are none of them."""
    vaults = {
        vault.name: vault.path for vault in case.settings.vaults.values() if isinstance(vault, LocalVaultSettings)
    }
    found = mounts()
    covered = {mount.device for mount in found if _cover(mount, case) is Cover.WHOLE}
    for mount in found:
        kept = [name for name, path in vaults.items() if _lies_on(path, mount, found)]
        yield _mount(mount, kept, mount.device in covered, _cover(mount, case))


def _cover(mount: Mount, case: Case) -> Cover:
    return cover_of_mount(str(mount.path), case.settings.policies)


def _lies_on(path: Path, mount: Mount, found: Sequence[Mount]) -> bool:
    nearest = max((each.path for each in found if path.is_relative_to(each.path)), key=lambda at: len(at.parts))
    return nearest == mount.path


def _mount(mount: Mount, vaults: Sequence[VaultName], is_covered: bool, cover: Cover) -> Finding:
    where, what = str(mount.path), f"{mount.kind} on {mount.source}"
    if is_covered:
        return Finding(check="mount", subject=where, grade=Grade.OK, text=f"{what}: wholly in a source")
    if cover is Cover.PARTLY:
        return Finding(check="mount", subject=where, grade=Grade.INFO, text=f"{what}: some of it is in a source")
    if vaults and where != "/":
        text = f"{what}: it holds {counted(len(vaults), 'vault')} ({', '.join(vaults)})"
        return Finding(check="mount", subject=where, grade=Grade.INFO, text=text)
    return Finding(
        check="mount",
        subject=where,
        grade=Grade.WARN,
        text=f"{what}: no policy backs it up",
        advice=f'Add it to a policy: source = {{ paths = ["{where}"] }}; or leave it if it can be made again.',
    )


def uncovered_servers(case: Case) -> Iterator[Finding]:
    """Databases that run here and that no policy dumps. Copying their files while they run is no backup."""
    for server in database_servers():
        where = f"{server.kind} (process {server.pid}{_ports(server)})"
        dumps = dumps_of(server.kind, case.settings.policies)
        if dumps:
            names = ", ".join(policy.name for policy in dumps)
            text = f"{where} runs here; dumped by: {names} (of which server, its command says)"
            yield Finding(check="database", subject=server.kind, grade=Grade.OK, text=text)
            continue
        copied = holding(str(server.data), case.settings.policies) if server.data else ()
        text = f"{where} runs here, and no policy dumps it"
        if copied:
            text += f"; {copied[0].name} copies its files while they change, which may not be restorable"
        yield Finding(check="database", subject=server.kind, grade=Grade.WARN, text=text, advice=_DUMP[server.kind])


def _ports(server: DatabaseServer) -> str:
    return "".join(f", port {port}" for port in server.ports)


_EXAMPLE: Final = 'Add a policy: source = {{ command = {{ run = [{}], filename = "all.sql" }} }}'
_DUMP: Final = {
    "PostgreSQL": _EXAMPLE.format('"pg_dumpall"'),
    "MySQL": _EXAMPLE.format('"mysqldump", "--all-databases", "--single-transaction"'),
    "MariaDB": _EXAMPLE.format('"mariadb-dump", "--all-databases", "--single-transaction"'),
}


def uncovered_files(case: Case) -> Iterator[Finding]:
    """SQLite databases that no policy holds, and those that are copied as files, which may be torn."""
    places = tuple(dict.fromkeys((*_PLACES, *(mount.path for mount in mounts() if mount.path != Path("/")))))
    found = sqlite_files(places, _ours(case), _SEARCH_SECONDS)
    every = case.settings.policies
    loose = [path for path in found.files if not dumping(str(path), every)]
    copied = {path: holding(str(path), every) for path in loose}
    yield from _loose([path for path in loose if not copied[path]])
    yield from _torn({path: by[0].name for path, by in copied.items() if by and _in_use(path)})
    said = f"{counted(len(found.files), 'SQLite database')} found below {', '.join(map(str, places))}"
    if found.complete:
        yield Finding(check="database", subject="SQLite", grade=Grade.INFO, text=said)
        return
    yield Finding(
        check="database",
        subject="SQLite",
        grade=Grade.UNKNOWN,
        text=f"{said}; the search was ended after {_SEARCH_SECONDS:g} s, so there may be more",
        advice="Look there yourself: find PLACE -name '*.db' -o -name '*.sqlite*'",
    )


def _loose(files: Sequence[Path]) -> Iterator[Finding]:
    if files:
        yield Finding(
            check="database",
            subject="SQLite",
            grade=Grade.WARN,
            text=f"{counted(len(files), 'SQLite database')} that no policy backs up: {_listed(files)}",
            advice=f'Add a policy: source = {{ sqlite = {{ path = "{files[0]}" }} }}; or leave it, if it is nobody\'s.',
        )


def _torn(files: dict[Path, PolicyName]) -> Iterator[Finding]:
    if files:
        first, policy = next(iter(files.items()))
        yield Finding(
            check="database",
            subject="SQLite",
            grade=Grade.WARN,
            text=f"{counted(len(files), 'SQLite database')} in use that {policy} copies as files, which may be torn: "
            f"{_listed(list(files))}",
            advice=f'Back it up as what it is: source = {{ sqlite = {{ path = "{first}" }} }}',
        )


def _listed(files: Sequence[Path]) -> str:
    more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
    return ", ".join(map(str, files[:_NAMED])) + more


def _in_use(path: Path) -> bool:
    """Whether somebody writes to it: SQLite's own files lie beside it."""
    return any(path.with_name(path.name + end).exists() for end in ("-wal", "-journal"))


def _ours(case: Case) -> tuple[Path, ...]:
    """What is no source: vaults, the workdir, and the ledger (see state.py)."""
    vaults = (vault.path for vault in case.settings.vaults.values() if isinstance(vault, LocalVaultSettings))
    return (*vaults, case.settings.service.workdir, *(case.ledger.files if case.ledger is not None else ()))

"""What restic is asked to do, as arguments: pure, and never with a secret among them.

Options are written `--name=value` and paths come after `--`, so that no value can be taken for an option.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from targets.ports import BackupRequest, RepositoryAddress


class Command(StrEnum):
    """The commands of restic that are used."""

    INIT = "init"
    BACKUP = "backup"
    SNAPSHOTS = "snapshots"
    COPY = "copy"
    CHECK = "check"
    RESTORE = "restore"
    DUMP = "dump"
    FORGET = "forget"
    LIST = "list"
    CAT = "cat"


KIBIBYTE: Final = 1024

Value = TypeVar("Value")


def init(*, like_another: bool) -> tuple[str, ...]:
    """`like_another`: with the chunker parameters of the repository in RESTIC_FROM_REPOSITORY_FILE."""
    return (Command.INIT, "--json", *(("--copy-chunker-params",) if like_another else ()))


def backup(request: BackupRequest) -> tuple[str, ...]:
    """Raises ValueError without a path."""
    if not request.paths:
        raise ValueError("a backup needs at least one path")
    return (
        *(Command.BACKUP, "--json", f"--host={request.host}", f"--time={local_time(request.time)}"),
        *_each("--tag", request.tags),
        *_each("--exclude", request.exclude),
        *(("--one-file-system",) if request.one_file_system else ()),
        *("--", *request.paths),
    )


def backup_stdin(filename: str, tags: tuple[str, ...], host: str) -> tuple[str, ...]:
    """The snapshot's time is the moment at which restic starts."""
    return (
        Command.BACKUP,
        "--json",
        "--stdin",
        f"--stdin-filename={filename}",
        f"--host={host}",
        *_each("--tag", tags),
    )


def snapshots(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Those that bear all of `tags`. Without a lock: only reading, and restic waits 0.2 s to be sure of a lock."""
    return (Command.SNAPSHOTS, "--json", "--no-lock", *_each("--tag", (",".join(tags),) if tags else ()))


def copy(ids: tuple[str, ...]) -> tuple[str, ...]:
    """Raises ValueError without an id: restic would copy everything."""
    return (Command.COPY, "--json", "--", *_named(ids))


def check(read_data: str) -> tuple[str, ...]:
    """`read_data` is "none", "100%", "10%", "1/4" or a size such as "500M"."""
    share = {"none": (), "100%": ("--read-data",)}
    return (Command.CHECK, "--json", *share.get(read_data, (f"--read-data-subset={read_data}",)))


def restore(snapshot: str, target: Path, include: tuple[str, ...]) -> tuple[str, ...]:
    """`include` holds restic's patterns; none of them means all."""
    return (Command.RESTORE, "--json", f"--target={target}", *_each("--include", include), "--", snapshot)


def dump(snapshot: str, path: str) -> tuple[str, ...]:
    """`path` is the one in the snapshot."""
    return (Command.DUMP, "--", snapshot, path)


def forget(ids: tuple[str, ...], *, prune: bool) -> tuple[str, ...]:
    """Raises ValueError without an id."""
    return (Command.FORGET, "--json", *(("--prune",) if prune else ()), "--", *_named(ids))


def list_locks() -> tuple[str, ...]:
    """The ids of all locks. Without a lock of its own, for that would be listed too."""
    return (Command.LIST, "--no-lock", "locks")


def cat_lock(lock: str) -> tuple[str, ...]:
    """What one lock says, as JSON."""
    return (Command.CAT, "--no-lock", "--", "lock", lock)


def local_time(moment: datetime) -> str:
    """The moment as `--time` takes it: in restic's own zone, which targets/restic/environment.py sets to UTC.

    Raises ValueError for a time without a zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no zone")
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def options(addresses: Iterable[RepositoryAddress]) -> tuple[str, ...]:
    """The options of all addresses together, and the strictest of their limits, which restic takes in KiB a second.

    Raises ValueError when two addresses want one option to be different.
    """
    given = tuple(addresses)
    extended = one_of_each(option.partition("=")[::2] for address in given for option in address.options)
    upload = [address.limit_upload for address in given if address.limit_upload is not None]
    download = [address.limit_download for address in given if address.limit_download is not None]
    return (
        *_each("--option", (f"{name}={value}" for name, value in extended.items())),
        *_each("--limit-upload", (str(max(1, min(upload) // KIBIBYTE)),) if upload else ()),
        *_each("--limit-download", (str(max(1, min(download) // KIBIBYTE)),) if download else ()),
    )


def one_of_each(pairs: Iterable[tuple[str, Value]]) -> Mapping[str, Value]:
    """The pairs as a mapping. Raises ValueError when one name has two values."""
    merged: dict[str, Value] = {}
    for name, value in pairs:
        if merged.setdefault(name, value) != value:
            raise ValueError(f"the two repositories want {name} to be different, and one restic cannot serve both")
    return merged


def _each(option: str, values: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{option}={value}" for value in values)


def _named(ids: tuple[str, ...]) -> tuple[str, ...]:
    if not ids:
        raise ValueError("no snapshot was named")
    return ids

"""What of this machine no policy protects, and what each policy leaves out: pure, on absolute paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from posixpath import basename, normpath
from types import MappingProxyType
from typing import Final

from jobs import patterns
from jobs.policy import Command, Objectives, Paths, Policy, Sqlite


class Cover(StrEnum):
    """How much of a place the policies hold."""

    WHOLE = "whole"
    PARTLY = "partly"
    NONE = "none"


def is_below(path: str, place: str) -> bool:
    """Whether a path is a place, or lies below it."""
    path, place = normpath(path), normpath(place)
    return place in {path, "/"} or path.startswith(f"{place}/")


def cover_of_mount(mount: str, policies: Iterable[Policy]) -> Cover:
    """Whether a file system's mount point is in a source. One that stays on its file system takes no other along."""
    found = Cover.NONE
    for source in (policy.source for policy in policies):
        if isinstance(source, Paths):
            for path in source.paths:
                crosses = is_below(mount, path) and (normpath(path) == normpath(mount) or not source.one_file_system)
                if crosses and not _excluded(source)(mount):
                    return Cover.WHOLE
                if is_below(path, mount):
                    found = Cover.PARTLY
        elif isinstance(source, Sqlite) and is_below(source.path, mount):
            found = Cover.PARTLY
    return found


def holding(path: str, policies: Iterable[Policy]) -> tuple[Policy, ...]:
    """The policies in whose source of paths a file lies, so that it is copied as it is."""
    return tuple(policy for policy in policies if _holds(policy, path))


def dumping(path: str, policies: Iterable[Policy]) -> tuple[Policy, ...]:
    """The policies whose source is this very SQLite database."""
    return tuple(
        policy
        for policy in policies
        if isinstance(policy.source, Sqlite) and normpath(policy.source.path) == normpath(path)
    )


def _holds(policy: Policy, path: str) -> bool:
    source = policy.source
    if not isinstance(source, Paths) or not any(is_below(path, place) for place in source.paths):
        return False
    return not _excluded(source)(path)


def _excluded(source: Paths) -> Callable[[str], bool]:
    return patterns.compile(source.exclude)


def wholly_excluded(source: Paths) -> tuple[str, ...]:
    """The paths of a source that its own patterns leave out."""
    is_excluded = _excluded(source)
    return tuple(path for path in source.paths if is_excluded(path))


# What dumps a kind of database, by the names of the programs.
DUMPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "PostgreSQL": ("pg_dump", "pg_dumpall", "pg_basebackup"),
        "MySQL": ("mysqldump", "mariadb-dump", "mydumper", "xtrabackup"),
        "MariaDB": ("mariadb-dump", "mysqldump", "mariabackup", "mydumper"),
    }
)


def dumps_of(kind: str, policies: Sequence[Policy]) -> tuple[Policy, ...]:
    """The policies whose command names a program that dumps such a database, also inside a shell's words."""
    wanted = DUMPS.get(kind, ())
    return tuple(
        policy
        for policy in policies
        if isinstance(policy.source, Command)
        and any(basename(part) in wanted for word in policy.source.command for part in word.split())
    )


def promises_nothing(objectives: Objectives) -> bool:
    """Whether no objective is set at all."""
    return objectives == Objectives()

"""What no policy protects."""

from __future__ import annotations

from typing import Final

import pytest

from jobs.coverage import (
    Cover,
    cover_of_mount,
    dumping,
    dumps_of,
    holding,
    is_below,
    promises_nothing,
    wholly_excluded,
)
from jobs.policy import Command, Objectives, Paths, Policy, PolicyName, SiteName, Source, Sqlite, TenantName, VaultName


def policy(source: Source, name: str = "files") -> Policy:
    return Policy(
        name=PolicyName(name),
        tenant=TenantName("north"),
        source=source,
        vault=VaultName("one"),
        site=SiteName("primary"),
    )


def paths(*names: str, exclude: tuple[str, ...] = (), alone: bool = False) -> Policy:
    return policy(Paths(paths=names, exclude=exclude, one_file_system=alone))


SRV: Final = "/srv"


@pytest.mark.parametrize(
    ("policies", "cover"),
    [
        ([], Cover.NONE),
        ([paths("/")], Cover.WHOLE),
        ([paths("/srv")], Cover.WHOLE),
        ([paths("/srv/")], Cover.WHOLE),
        ([paths("/srv", alone=True)], Cover.WHOLE),
        ([paths("/", alone=True)], Cover.NONE),
        ([paths("/", exclude=("/srv",))], Cover.NONE),
        ([paths("/", exclude=("*.tmp",))], Cover.WHOLE),
        ([paths("/srv/files")], Cover.PARTLY),
        ([paths("/srvs")], Cover.NONE),
        ([policy(Sqlite(path="/srv/app.db"))], Cover.PARTLY),
        ([policy(Command(command=("pg_dumpall",), filename="all.sql"))], Cover.NONE),
        ([paths("/srv/files"), paths("/srv")], Cover.WHOLE),
    ],
)
def test_a_mount_is_covered_by_what_really_takes_it_along(policies: list[Policy], cover: Cover) -> None:
    assert cover_of_mount(SRV, policies) is cover


def test_below_means_whole_names() -> None:
    assert is_below("/srv/a", "/srv")
    assert is_below("/srv", "/srv")
    assert not is_below("/srv2", "/srv")
    assert is_below("/anything", "/")


def test_a_database_file_is_dumped_or_copied_or_left_out() -> None:
    dumped, copied = policy(Sqlite(path="/srv/app.db"), "dump"), paths("/srv", exclude=("*.sqlite",))
    assert dumping("/srv/app.db", [copied, dumped]) == (dumped,)
    assert dumping("/srv/other.db", [copied, dumped]) == ()
    assert holding("/srv/other.db", [copied, dumped]) == (copied,)
    assert holding("/srv/other.sqlite", [copied, dumped]) == ()
    assert holding("/home/x.db", [copied, dumped]) == ()


def test_a_source_that_its_own_patterns_leave_out_is_named() -> None:
    assert wholly_excluded(Paths(paths=("/srv/a", "/home"), exclude=("/srv",))) == ("/srv/a",)
    assert wholly_excluded(Paths(paths=("/srv/a",), exclude=("*.tmp",))) == ()


@pytest.mark.parametrize(
    "command",
    [
        ("pg_dumpall",),
        ("/usr/bin/pg_dump", "-Fc", "app"),
        ("sh", "-c", "pg_dump app | tail -1"),
        ("sudo", "pg_dumpall"),
    ],
)
def test_a_dump_is_known_by_its_program(command: tuple[str, ...]) -> None:
    found = policy(Command(command=command, filename="all.sql"))
    assert dumps_of("PostgreSQL", [found]) == (found,)
    assert dumps_of("MariaDB", [found]) == ()


def test_no_objective_at_all_promises_nothing() -> None:
    assert promises_nothing(Objectives())


def test_a_database_elsewhere_covers_nothing_here() -> None:
    assert cover_of_mount(SRV, [policy(Sqlite(path="/home/app.db"))]) is Cover.NONE


def test_one_of_a_sources_paths_is_enough_to_hold_a_file() -> None:
    both = paths("/home", "/srv")
    assert holding("/srv/app.db", [both]) == holding("/home/app.db", [both]) == (both,)


def test_only_a_command_dumps_by_a_program() -> None:
    assert dumps_of("PostgreSQL", [paths("/usr/bin/pg_dump"), policy(Sqlite(path="/srv/pg_dump"))]) == ()

"""A repository that is not what it should be: nothing is written into another, nothing takes its place unasked."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from jobs.failure import FailureKind
from tests.acceptance.faults import done, runs
from tests.acceptance.operator import PASSWORD, SETTINGS, Operator
from tests.acceptance.told import refused
from tests.repositories import prepare

OTHER_PASSWORD = "the password of somebody else"
EACH_SITE = pytest.mark.parametrize("site", ["primary", "secondary"])
WRITES = {"primary": ("backup", "files"), "secondary": ("replicate", "files")}


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder, with the hash of what it holds."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def set_password(operator: Operator, password: str) -> None:
    """Put another password where the settings look for the tenant's."""
    (operator.folder / "minfopra.key").write_text(password)


# --- wrong password -----------------------------------------------------------------------------------------------


@EACH_SITE
def test_a_wrong_password_is_told_and_writes_nothing(settled: Operator, site: str) -> None:
    before = contents(settled.folder / site)
    set_password(settled, OTHER_PASSWORD)
    told = refused(settled, "check", "files", "--site", site)
    assert (told.kind, told.code) == (FailureKind.WRONG_PASSWORD, 4)
    assert f"minfopra@{site}" in told.message
    assert "Check the tenant's password reference" in told.advice
    assert OTHER_PASSWORD not in told.message
    assert contents(settled.folder / site) == before


def test_a_backup_with_a_wrong_password_fails_and_the_next_with_the_right_one_goes_on(settled: Operator) -> None:
    before = contents(settled.folder / "primary")
    set_password(settled, OTHER_PASSWORD)
    told = refused(settled, "backup", "files")
    assert told.kind is FailureKind.WRONG_PASSWORD
    assert "minfopra@primary" in told.message
    assert contents(settled.folder / "primary") == before
    set_password(settled, PASSWORD)
    done(settled, "backup", "files")
    assert contents(settled.folder / "primary").keys() > before.keys()


# --- missing ------------------------------------------------------------------------------------------------------


@EACH_SITE
def test_a_missing_repository_is_told_and_nothing_takes_its_place(settled: Operator, site: str) -> None:
    place, aside = settled.folder / site / "minfopra", settled.folder / "aside"
    place.rename(aside)
    another_tenants(settled, site)
    told = refused(settled, *WRITES[site])
    assert (told.kind, told.code) == (FailureKind.REPOSITORY_MISSING, 4)
    assert f"minfopra@{site}" in told.message
    assert "check that the vault's disk is mounted" in told.advice
    assert "--begin-anew" in told.advice
    assert not place.exists()
    aside.rename(place)
    done(settled, *WRITES[site])


def another_tenants(operator: Operator, vault: str) -> None:
    """Have something in the vault: one that is empty is taken to be away."""
    (operator.folder / vault / "minsante").mkdir()


@pytest.mark.parametrize("words", ["check files", "test-restore files", "retention files", "restore files --to back"])
def test_no_job_makes_a_repository_that_is_missing(settled: Operator, words: str) -> None:
    settled.write_settings(settled.settings.replace('replicate = {{ to = "secondary" }}\n', ""))
    place = settled.folder / "primary/minfopra"
    place.rename(settled.folder / "aside")
    another_tenants(settled, "primary")
    verb, *rest = words.split()
    told = refused(settled, verb, *(str(settled.folder / word) if word == "back" else word for word in rest))
    assert told.kind is FailureKind.REPOSITORY_MISSING
    assert not place.exists()


@EACH_SITE
def test_where_a_repository_stands_none_is_begun_anew(settled: Operator, site: str) -> None:
    before = contents(settled.folder / site)
    told = refused(settled, *WRITES[site], "--begin-anew")
    assert (told.kind, told.code) == (FailureKind.REPOSITORY_FOREIGN, 4)
    assert "there is nothing to begin anew" in told.message
    assert contents(settled.folder / site) == before


@EACH_SITE
def test_a_repository_that_is_lost_is_begun_anew_when_a_person_says_so(settled: Operator, site: str) -> None:
    place, aside = settled.folder / site / "minfopra", settled.folder / "aside"
    place.rename(aside)
    done(settled, *WRITES[site], "--begin-anew")
    assert (place / "config").read_bytes() != (aside / "config").read_bytes()
    done(settled, "replicate", "files")
    done(settled, "check", "files", "--site", site)
    newest = {vault: settled.snapshots(vault)[-1]["tree"] for vault in ("primary", "secondary")}
    assert newest["primary"] == newest["secondary"]


# --- another tenant's, another operator's -------------------------------------------------------------------------

SECOND_TENANT = """
[tenants.minsante]
title = "Ministry of Health"
password = {{ file = "minsante.key" }}

[policies.clinics]
tenant = "minsante"
source = {{ paths = ["source"] }}
"""


@pytest.mark.parametrize("same_password", [False, True], ids=["own passwords", "one password"])
def test_two_tenants_whose_repositories_are_swapped(operator: Operator, same_password: bool) -> None:
    operator.write_settings(SETTINGS + SECOND_TENANT)
    key = operator.folder / "minsante.key"
    key.write_text(PASSWORD if same_password else OTHER_PASSWORD)
    key.chmod(0o600)
    prepare(operator.folder / "primary/minsante", key.read_text())
    for policy in ("files", "clinics"):
        done(operator, "backup", policy)
    swap(operator.folder / "primary/minfopra", operator.folder / "primary/minsante")
    before = contents(operator.folder / "primary")
    for policy, tenant in (("files", "minfopra"), ("clinics", "minsante")):
        told = refused(operator, "backup", policy)
        assert (told.kind, told.code) == (FailureKind.REPOSITORY_FOREIGN, 4)
        assert f"{tenant}@primary" in told.message
        assert "check the vault's path. Nothing was written." in told.advice
    assert contents(operator.folder / "primary") == before
    swap(operator.folder / "primary/minfopra", operator.folder / "primary/minsante")
    done(operator, "backup", "files")


def swap(one: Path, other: Path) -> None:
    """Let two folders change places."""
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def another_operators_repository(operator: Operator, name: str) -> Path:
    """A repository of somebody else, at the tenant's place in another folder."""
    return prepare(operator.folder / name / "minfopra", OTHER_PASSWORD)


@EACH_SITE
def test_a_path_that_leads_to_another_operators_repository(settled: Operator, site: str) -> None:
    place = another_operators_repository(settled, "others")
    before = contents(place)
    settled.write_settings(settled.settings.replace(f'path = "{site}"', 'path = "others"'))
    told = refused(settled, *WRITES[site])
    assert told.kind is FailureKind.REPOSITORY_FOREIGN
    assert f"minfopra@{site}: it is not the repository that the ledger knows" in told.message
    assert contents(place) == before


def test_a_new_vault_that_leads_to_another_operators_repository(newcomer: Operator) -> None:
    place = another_operators_repository(newcomer, "primary")
    before = contents(place)
    told = refused(newcomer, "backup", "files")
    assert told.kind is FailureKind.WRONG_PASSWORD
    assert contents(place) == before
    place.rename(newcomer.folder / "given back")
    done(newcomer, "backup", "files")  # so it was not taken for ours
    assert [run.state for run in runs(newcomer)] == ["succeeded", "failed"]

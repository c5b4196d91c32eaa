"""The main job as an operator sees it: one cycle on real restic, what it leaves, what a second one costs."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.operator import SETTINGS, Operator
from tests.repositories import POLYNOMIAL, prepare

MORE = (
    SETTINGS
    + """
[tenants.chu]
title = "Hospital"
password = {{ file = "chu.key" }}

[policies.register]
source = {{ sqlite = {{ path = "register.db" }} }}

[policies.inventory]
tenant = "chu"
source = {{ command = {{ run = ["printf", 'one\\ntwo\\n'], filename = "inventory.txt" }} }}
"""
)


@pytest.fixture(scope="module")
def cycled(tmp_path_factory: pytest.TempPathFactory, restic_program: Path) -> Operator:
    """An operator with two tenants and three kinds of sources, after one whole cycle that succeeded."""
    operator = Operator(folder=tmp_path_factory.mktemp("cycled"), restic=restic_program, settings=MORE)
    operator.with_repositories()
    key = operator.folder / "chu.key"
    key.write_text("another password")
    key.chmod(0o600)
    for vault in ("primary", "secondary"):
        prepare(operator.folder / vault / "chu", key.read_text())
    with closing(sqlite3.connect(operator.folder / "register.db")) as database:
        database.execute("CREATE TABLE person (name TEXT)")
        database.execute("INSERT INTO person VALUES ('Ngo')")
        database.commit()
    (operator.folder / "register.db").chmod(0o640)
    done = operator.tandem("--json", "run")
    assert done.code == 0, done.out + done.err
    return operator


def test_the_first_cycle_of_a_newcomer(newcomer: Operator) -> None:
    """From nothing, with nothing made ready: an interpreter for each command, and restic makes both repositories."""
    newcomer.forks = False
    done = newcomer.tandem("run")
    assert done.code == 0, done.out + done.err
    assert newcomer.tandem("status").code == 0
    configs = [json.loads(newcomer.bare(vault, "cat", "config").stdout) for vault in ("primary", "secondary")]
    assert configs[0]["chunker_polynomial"] == configs[1]["chunker_polynomial"] != POLYNOMIAL
    assert configs[0]["id"] != configs[1]["id"]


def rows(document: dict[str, Any], table: str) -> list[dict[str, Any]]:
    """The rows of one table of a JSON document."""
    tables = [each for section in document["sections"] for each in section["tables"] if each["key"] == table]
    return [row for each in tables for row in each["rows"]]


def test_both_sites_hold_the_same_trees_and_bare_restic_finds_them_sound(cycled: Operator) -> None:
    first, second = cycled.snapshots("primary"), cycled.snapshots("secondary")
    assert sorted(each["tree"] for each in first) == sorted(each["tree"] for each in second)
    assert len(first) == 2
    for vault in ("primary", "secondary"):
        checked = cycled.bare(vault, "check", "--read-data")
        assert checked.returncode == 0, checked.stderr
        assert not cycled.locks(vault)


def test_a_tenants_repository_does_not_open_with_another_tenants_password(cycled: Operator) -> None:
    mine = cycled.folder / "primary" / "minfopra"
    assert (cycled.folder / "primary" / "chu").is_dir()
    assert mine.is_dir()
    shutil.copytree(cycled.folder / "primary" / "chu", cycled.folder / "elsewhere" / "minfopra")
    assert cycled.bare("elsewhere", "snapshots").returncode != 0


def test_status_and_report_are_green_and_name_what_was_compared(cycled: Operator) -> None:
    status = cycled.tandem("--json", "status")
    assert status.code == 0, status.out
    report = cycled.tandem("--json", "report", "integrity").json
    assert report["headline"]["value"] == "met"
    assert "files" in json.dumps(report)


def test_a_report_on_one_tenant_holds_nothing_of_the_other(cycled: Operator) -> None:
    for form in ("text", "json", "html"):
        done = cycled.tandem("report", "integrity", "--tenant", "chu", "--format", form)
        assert done.code == 0
        for foreign in ("minfopra", "Ministry", "register"):
            assert foreign not in done.out, form
        assert "Hospital" in done.out


def test_the_html_report_is_one_file_and_is_written_where_it_was_asked_for(cycled: Operator) -> None:
    target = cycled.folder / "reports" / "month.html"
    assert cycled.tandem("report", "integrity", "--format", "html", "--output", str(target)).code == 0
    page = target.read_text()
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_an_unchanged_source_is_not_read_again_and_adds_nothing(cycled: Operator) -> None:
    done = cycled.tandem("--json", "backup", "files")
    assert done.code == 0, done.err
    found = rows(done.json, "runs")[0]["found"]["value"]
    assert found["bytes"] > 70_000
    assert found["bytes_hashed"] == 0
    assert found["bytes_added"] < 10_000  # the folders above the source have changed, and no file has
    shown = cycled.tandem("--json", "runs", "files", "--limit", "1")
    assert rows(shown.json, "runs")[0]["state"]["value"] == "succeeded"


def test_the_snapshot_holds_the_database_and_the_output_under_their_own_paths(cycled: Operator) -> None:
    (register,) = [each for each in cycled.snapshots("primary") if "policy=register" in each["tags"]]
    listed = cycled.bare("primary", "ls", register["id"]).stdout
    assert str(cycled.folder / "register.db") in listed
    restored = cycled.folder / "restored"
    assert cycled.tandem("restore", "inventory", "--to", str(restored)).code == 0
    assert (restored / "inventory.txt").read_text() == "one\ntwo\n"
    assert cycled.tandem("restore", "register", "--to", str(restored)).code == 0
    back = restored / str(cycled.folder / "register.db").lstrip("/")
    assert back.stat().st_mode & 0o777 == 0o640
    with closing(sqlite3.connect(back)) as database:
        assert database.execute("SELECT name FROM person").fetchall() == [("Ngo",)]


@pytest.mark.parametrize("words", [("run", "--dry-run"), ("backup", "files", "--dry-run")])
def test_a_dry_run_changes_nothing(newcomer: Operator, words: tuple[str, ...]) -> None:
    done = newcomer.tandem("--json", *words)
    assert done.code == 0, done.err
    assert rows(done.json, "steps")
    assert not (newcomer.folder / "primary").exists()
    assert not (newcomer.folder / "tandem.db").exists()


def test_retention_keeps_what_it_says_and_previews_the_same(operator: Operator) -> None:
    for number in range(4):
        operator.write("a.txt", f"version {number}\n")
        assert operator.tandem("backup", "files").code == 0
    assert operator.tandem("replicate", "files").code == 0
    preview = rows(operator.tandem("--json", "retention", "files", "--site", "primary", "--dry-run").json, "points")
    goes = {row["snapshot"]["value"] for row in preview if row["decision"]["value"] == "remove"}
    assert len(goes) == 2
    assert all(row["reasons"]["text"] for row in preview)
    before = {each["id"] for each in operator.snapshots("primary")}
    assert operator.tandem("retention", "files").code == 0
    assert {each["id"] for each in operator.snapshots("primary")} == before - goes
    assert len(operator.snapshots("secondary")) == 2
    assert operator.bare("primary", "check", "--read-data").returncode == 0


def test_what_the_other_site_lacks_is_never_removed(operator: Operator) -> None:
    for number in range(4):
        operator.write("a.txt", f"version {number}\n")
        assert operator.tandem("backup", "files").code == 0
        if number == 0:
            assert operator.tandem("replicate", "files").code == 0
    assert operator.tandem("retention", "files", "--site", "primary").code == 0
    assert len(operator.snapshots("primary")) == 3  # the two to keep, and the one that is not yet copied


def test_a_point_removed_at_the_second_site_alone_is_no_gap_in_parity(operator: Operator) -> None:
    for number in range(3):
        operator.write("a.txt", f"version {number}\n")
        assert operator.tandem("backup", "files").code == 0
    assert operator.tandem("replicate", "files").code == 0
    assert operator.tandem("retention", "files", "--site", "secondary").code == 0
    assert (len(operator.snapshots("primary")), len(operator.snapshots("secondary"))) == (3, 2)
    for words in (("status",), ("report", "integrity")):
        shown = operator.tandem("--json", *words).out
        assert "points-never-copied" not in shown
        (row,) = [row for row in rows(json.loads(shown), "status") if row["site"]["text"] == "secondary"] or [{}]
        assert "parity" not in json.dumps(row)


def test_retention_is_refused_while_the_last_backup_failed(operator: Operator) -> None:
    assert operator.tandem("backup", "files").code == 0
    shutil.move(operator.source, operator.folder / "away")
    assert operator.tandem("backup", "files").code == 4
    refused = operator.tandem("retention", "files")
    assert refused.code == 4
    assert "ended failed" in " ".join(refused.out.split())


def test_damage_at_one_site_turns_it_red_and_leaves_the_other_green(operator: Operator) -> None:
    assert operator.tandem("run").code == 0
    packs = (operator.folder / "secondary" / "minfopra" / "data").rglob("?" * 64)
    damaged = max(packs, key=lambda pack: pack.stat().st_size)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.chmod(0o600)
    damaged.write_bytes(content)
    assert operator.tandem("check", "files", "--site", "secondary").code == 4
    status = operator.tandem("--json", "status")
    assert status.code == 5
    verdicts = {row["site"]["text"]: row["verdict"]["severity"] for row in rows(status.json, "status")}
    assert verdicts == {"primary": "good", "secondary": "bad"}


def test_tandems_own_files_are_no_part_of_a_backup(operator: Operator) -> None:
    inside = SETTINGS.replace("///tandem.db", "///source/tandem.db").replace('"work"', '"source/odd [work]"')
    operator.write_settings(inside)
    for _ in range(2):
        assert operator.tandem("backup", "files").code == 0
    newest = operator.snapshots("primary")[-1]
    listed = operator.bare("primary", "ls", newest["id"]).stdout
    assert "a.txt" in listed
    assert "tandem.db" not in listed
    assert "odd [work]" not in listed
    tested = operator.tandem("test-restore", "files", "--site", "primary")
    assert tested.code == 0, tested.err


def test_a_secret_command_that_fails_gives_no_password(newcomer: Operator) -> None:
    half = '{{ command = ["sh", "-c", "printf half; exit 3"] }}'
    newcomer.write_settings(SETTINGS.replace('{{ file = "minfopra.key" }}', half))
    refused = newcomer.tandem("backup", "files")
    assert refused.code == 4
    assert "the password of tenant minfopra" in " ".join(refused.err.split())
    assert "exit status 3" in " ".join(refused.err.split())
    assert not (newcomer.folder / "primary").exists()

"""Settings edited between two runs: the next run does what they say now, and what is past stays as it was."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final
from zoneinfo import ZoneInfo

import pytest

from jobs.failure import FailureKind
from orchestrator.ledger.ledger import Ledger
from tests.acceptance.faults import NOW, done, runs
from tests.acceptance.operator import Operator
from tests.acceptance.told import refused, rows

SOURCE: Final = 'source = {{ paths = ["source"] }}'


def edit(operator: Operator, old: str, new: str) -> None:
    """Replace words in the settings."""
    assert old in operator.settings
    operator.write_settings(operator.settings.replace(old, new))


def told_settings(operator: Operator, settings_hash: str) -> str:
    """What the ledger says that a hash stands for."""
    with Ledger.open(f"sqlite:///{operator.folder / 'tandem.db'}", create=False, now=NOW) as ledger:
        return ledger.settings_text(settings_hash) or ""


def test_other_paths_and_excludes_hold_from_the_next_run_on(settled: Operator) -> None:
    before = runs(settled)
    old = settled.snapshots("primary")[-1]["id"]
    (settled.folder / "added").mkdir()
    (settled.folder / "added/new.txt").write_text("new\n")
    edit(settled, SOURCE, 'source = {{ paths = ["source/deep", "added"], exclude = ["*.bin"] }}')
    done(settled, "backup", "files")
    listed = settled.bare("primary", "ls", "latest", "--tag", "content=data").stdout
    assert "/added/new.txt" in listed
    assert "/deep/c.txt" in listed
    assert "a.txt" not in listed
    assert "b.bin" not in listed
    for words in ((), ("--snapshot", old)):  # each point against the manifest of its own time
        done(settled, "test-restore", "files", "--site", "primary", *words)
    after = runs(settled)
    assert after[-len(before) :] == before
    new_hash, old_hash = after[0].settings_hash, before[0].settings_hash
    assert '"exclude":["*.bin"]' in told_settings(settled, new_hash)
    assert '"exclude":[]' in told_settings(settled, old_hash)


def test_what_one_command_line_asks_for_is_not_remembered_as_a_setting(settled: Operator) -> None:
    edit(settled, 'rpo = "24h"', 'rpo = "23h"')
    done(settled, "check", "files", "--site", "primary", "--read-data", "none")
    newest = runs(settled)[0].settings_hash
    assert '"read_data":"100%"' in told_settings(settled, newest)
    assert sha256(told_settings(settled, newest).encode()).hexdigest() == newest


def test_a_renamed_policy_begins_anew_and_the_points_of_the_old_name_stay(settled: Operator) -> None:
    edit(settled, "[policies.files]", "[policies.documents]")
    lost = settled.tandem("backup", "files")
    assert (lost.code, lost.out) == (2, "")
    assert "there is no policy 'files' in" in lost.err
    assert "there are: documents" in lost.err
    done(settled, "backup", "documents")
    done(settled, "replicate", "documents")
    done(settled, "retention", "documents")
    assert len(settled.snapshots("primary")) == 3
    listed = rows(done(settled, "--json", "snapshots", "documents"))
    assert [row["policy"]["text"] for row in listed] == ["documents"] * 2


def test_a_vault_whose_path_now_leads_to_an_empty_place(settled: Operator) -> None:
    edit(settled, 'path = "primary"', 'path = "elsewhere"')
    told = refused(settled, "backup", "files")
    assert told.kind is FailureKind.VAULT_UNREACHABLE
    assert "its path is right" in told.message
    assert not (settled.folder / "elsewhere").exists()


def test_a_vault_under_a_new_name_gets_a_new_repository_and_the_old_one_stays(settled: Operator) -> None:
    new = '[vaults.other]\nsite = "primary"\nkind = "local"\npath = "other"\n\n[tenants.minfopra]'
    edit(settled, "[tenants.minfopra]", new)
    edit(settled, 'vault = "primary"', 'vault = "other"')
    done(settled, "backup", "files")
    assert len(settled.snapshots("primary")) == 2
    assert len(settled.snapshots("other")) == 1
    done(settled, "replicate", "files")
    newest = {vault: settled.snapshots(vault)[-1]["tree"] for vault in ("other", "secondary")}
    assert newest["other"] == newest["secondary"]


def test_the_same_password_from_another_file(settled: Operator) -> None:
    shutil.copy2(settled.folder / "minfopra.key", settled.folder / "moved.key")
    (settled.folder / "minfopra.key").unlink()
    missing = settled.tandem("backup", "files")
    assert missing.code == 7
    assert "minfopra.key" in missing.err
    edit(settled, "minfopra.key", "moved.key")
    done(settled, "backup", "files")
    assert len(settled.snapshots("primary")) == 3


def test_a_lower_retention_removes_only_now_what_the_former_kept(settled: Operator) -> None:
    edit(settled, "last = 1", "last = 2")
    done(settled, "replicate", "files")
    done(settled, "retention", "files", "--site", "primary")
    assert len(settled.snapshots("primary")) == 2
    edit(settled, "last = 2", "last = 1")
    done(settled, "retention", "files", "--site", "primary")
    assert [len(settled.snapshots(vault)) for vault in ("primary", "secondary")] == [1, 2]


# --- what is past -----------------------------------------------------------------------------------------------------

ZONE: Final = ZoneInfo("Africa/Douala")
MOMENTS: Final = {
    "run": ("started_at", "finished_at"),
    "recovery_point": ("seen_at", "gone_at", "time"),
    "settings_version": ("first_used_at",),
    "repository": ("first_seen_at",),
}
EDITS: Final[dict[str, Callable[[str], str]]] = {
    "a stricter objective": lambda text: text.replace('rpo = "24h"', 'rpo = "1m"'),
    "no second copy": lambda text: text.replace('replicate = {{ to = "secondary" }}', ""),
    "the policy renamed": lambda text: text.replace("[policies.files]", "[policies.documents]"),
    "one more policy": lambda text: f'{text}\n[policies.more]\nsource = {{{{ paths = ["source/deep"] }}}}\n',
}


def put_into_last_month(operator: Operator) -> str:
    """Move everything that is on record to the last hours of the month before; give that month."""
    today = datetime.now(UTC).astimezone(ZONE)
    end = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    back = datetime.now(UTC) - end.astimezone(UTC) + timedelta(hours=1)
    with sqlite3.connect(operator.folder / "tandem.db") as database:
        for name, columns in MOMENTS.items():
            moved = ", ".join(f"{column} = {column} - {int(back.total_seconds()) * 1_000_000}" for column in columns)
            database.execute(f"UPDATE {name} SET {moved}")  # noqa: S608 (names of this file)
    database.close()
    return f"{end - timedelta(days=1):%Y-%m}"


def past_report(operator: Operator, month: str) -> str:
    """All that a report says of a month, but for when it was made."""
    document = done(operator, "--json", "report", "integrity", "--period", month).json
    del document["facts"]["generated_at"]
    return json.dumps(document, indent=1)


@pytest.fixture(scope="module")
def last_month(tmp_path_factory: pytest.TempPathFactory, settled_once: Operator) -> tuple[Operator, str, str]:
    """An operator all of whose runs were in the month before, that month, and its report."""
    folder = tmp_path_factory.mktemp("last-month") / "operator"
    shutil.copytree(settled_once.folder, folder)
    operator = Operator(folder=folder, restic=settled_once.restic, settings=settled_once.settings)
    month = put_into_last_month(operator)
    return operator, month, past_report(operator, month)


@pytest.mark.parametrize("name", EDITS)
def test_a_past_report_keeps_its_figures(last_month: tuple[Operator, str, str], name: str) -> None:
    operator, month, before = last_month
    assert '"policy": "files"' in before
    original = operator.settings
    operator.write_settings(EDITS[name](original))
    assert operator.settings != original
    after = past_report(operator, month)
    operator.write_settings(original)
    assert after == before


def test_a_policy_is_not_held_against_a_month_before_it_was_there(last_month: tuple[Operator, str, str]) -> None:
    operator, month, _ = last_month
    year, _, number = month.partition("-")
    earlier = f"{int(year) - (number == '01')}-{(int(number) - 2) % 12 + 1:02}"
    document = done(operator, "--json", "report", "integrity", "--period", earlier).json
    assert document["headline"]["text"] == "Nothing is proven: no policy is in scope."

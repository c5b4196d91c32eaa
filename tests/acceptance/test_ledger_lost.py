"""Tandem itself is lost: ledger, settings, the first site. The second brings it back, and nothing is doubled."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jobs.failure import FailureKind
from jobs.history import NOBODY, Job, RunState
from orchestrator.ledger.ledger import Ledger
from targets.sources import sqlite
from tests.acceptance.faults import NOW, done, points, runs
from tests.acceptance.operator import PASSWORD, SETTINGS, Operator
from tests.acceptance.told import refused

WITHOUT = ('replicate = {{ to = "secondary" }}', "retention = {{ last = 2, minimum = 1 }}")
OWN = (
    'include = ["conf.d/*.toml"]\n'
    + SETTINGS.replace(WITHOUT[0], "").replace(WITHOUT[1], "")
    + """replicate = {{ to = "secondary" }}
[policies.own]
source = {{ tandem = true }}
replicate = {{ to = "secondary" }}
"""
)
MORE = """
[policies.more]
source = { paths = ["../more"] }
"""
# What a person writes by hand on the new machine: one vault, the tenant, the policy.
BY_HAND = """
[service]
name = "By hand"
state = "sqlite:///tandem.db"
workdir = "work"
restic = "{restic}"
[sites.{site}]
title = "What is left"
[vaults.{site}]
site = "{site}"
kind = "local"
path = "{site}"
[tenants.minfopra]
title = "Ministry"
password = {{ file = "minfopra.key" }}
[policies.own]
tenant = "minfopra"
vault = "{site}"
source = {{ tandem = true }}
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, restic_program: Path) -> Operator:
    """Three policies, one of them Tandem itself; `more` got a recovery point that the stored ledger does not know."""
    folder = tmp_path_factory.mktemp("kept") / "operator"
    (folder / "conf.d").mkdir(parents=True)
    (folder / "conf.d/more.toml").write_text(MORE)
    (folder / "more").mkdir()
    (folder / "more/d.txt").write_text("more\n")
    operator = Operator(folder=folder, restic=restic_program, settings=OWN).with_repositories()
    done(operator, "backup", "files")
    done(operator, "replicate", "files")
    done(operator, "backup", "own")
    done(operator, "replicate", "own")
    done(operator, "backup", "more")
    return operator


@pytest.fixture
def lost(kept: Operator, tmp_path: Path) -> Operator:
    """The same on a new machine: the vaults, the sources, the password. No ledger, no settings."""
    shutil.copytree(kept.folder, tmp_path / "operator")
    for gone in ("work", "conf.d"):
        shutil.rmtree(tmp_path / "operator" / gone)
    operator = Operator(folder=tmp_path / "operator", restic=kept.restic, settings=OWN)
    for file in (operator.folder / "settings.toml", *operator.folder.glob("tandem.db*")):
        file.unlink()
    return operator


def by_hand(operator: Operator, site: str) -> None:
    operator.write_settings(BY_HAND.replace("{site}", site))


def ledger(operator: Operator) -> Path:
    return operator.folder / "tandem.db"


def listed(operator: Operator, vault: str) -> list[str]:
    return sorted(snapshot["id"] for snapshot in operator.snapshots(vault))


def on_record(operator: Operator, vault: str) -> list[str]:
    return sorted(point.snapshot for point in points(operator, vault))


def test_all_comes_back_from_the_second_site_and_goes_on_at_a_new_first(lost: Operator, kept: Operator) -> None:
    shutil.rmtree(lost.folder / "primary")
    by_hand(lost, "secondary")
    back = done(lost, "--json", "restore", "--ledger", "--to", str(lost.folder / "back")).json
    assert back["facts"]["open_runs"]["value"] == 1
    assert back["facts"]["verified"]["value"] == 4
    assert "trusted" in str(back["sections"])
    # The settings are those that were lost, to the byte; no secret came with them; nothing of the search is left.
    names = {str(path.relative_to(lost.folder / "back")) for path in (lost.folder / "back").rglob("*.*")}
    assert names == {"settings.toml", "conf.d", "conf.d/more.toml"}
    for name in ("settings.toml", "conf.d/more.toml"):
        assert (lost.folder / "back" / name).read_bytes() == (kept.folder / name).read_bytes()
    assert not list((lost.folder / "work/reinstating").iterdir())
    assert sqlite.verify(ledger(lost)) is None
    assert ledger(lost).stat().st_mode & 0o777 == 0o600

    shutil.copytree(lost.folder / "back", lost.folder, dirs_exist_ok=True)
    refusal = refused(lost, "backup", "files")  # the ledger knows that there was one
    assert refusal.kind is FailureKind.VAULT_UNREACHABLE
    done(lost, "backup", "files", "--begin-anew")
    cycle = done(lost, "run")
    assert "cut off" not in cycle.err
    assert done(lost, "status").code == 0
    for vault in ("primary", "secondary"):
        assert on_record(lost, vault) == listed(lost, vault)
    backups = [run for run in runs(lost) if run.job is Job.BACKUP]
    assert len({run.id for run in backups}) == len(backups)
    (open_then,) = [run for run in backups if run.policy == "own" and run.state is not RunState.SUCCEEDED]
    assert open_then.state is RunState.INTERRUPTED


def test_what_was_open_is_asked_and_what_came_later_is_found(lost: Operator) -> None:
    by_hand(lost, "primary")
    ledger(lost).write_bytes(b"no database any more" * 100)
    ledger(lost).with_name("tandem.db-wal").write_bytes(b"left over")
    told = refused(lost, "restore", "--ledger")
    assert told.kind is FailureKind.NOT_EMPTY
    assert ledger(lost).read_bytes().startswith(b"no database any more")

    done(lost, "restore", "own", "--ledger", "--overwrite")
    (broken,) = lost.folder.glob("tandem.db.before-restore-*Z")
    assert broken.read_bytes().startswith(b"no database any more")
    assert broken.with_name(f"{broken.name}-wal").read_bytes() == b"left over"
    (folder,) = (lost.folder / "work").glob("restored-settings-*")
    shutil.copytree(folder, lost.folder, dirs_exist_ok=True)
    assert on_record(lost, "primary") != listed(lost, "primary")

    (open_then,) = [run for run in runs(lost) if run.state is RunState.RUNNING]
    assert open_then.owner.pid == NOBODY
    again = done(lost, "backup", "own")
    assert f"({open_then.id}) was cut off: succeeded" in again.err
    done(lost, "snapshots", "more")
    assert on_record(lost, "primary") == listed(lost, "primary")
    assert [run.state for run in runs(lost) if run.id == open_then.id] == [RunState.SUCCEEDED]
    restored = [run for run in runs(lost) if run.job is Job.RESTORE]
    assert [run.state for run in restored] == [RunState.SUCCEEDED]


def test_a_dry_run_and_a_plain_restore_of_the_same_policy(kept: Operator, lost: Operator, tmp_path: Path) -> None:
    by_hand(lost, "secondary")
    preview = done(lost, "--json", "restore", "--ledger", "--dry-run").json
    assert preview["facts"]["files"]["value"] == 4
    assert not ledger(lost).exists()
    done(kept, "restore", "own", "--to", str(tmp_path / "plain"))
    readme = (tmp_path / "plain/tandem/README.txt").read_text()
    assert "restore --ledger" in readme
    assert PASSWORD not in "".join(
        path.read_text("latin-1") for path in (tmp_path / "plain").rglob("*.*") if path.is_file()
    )
    with Ledger.open(f"sqlite:///{tmp_path}/plain/tandem/ledger.db", create=False, now=NOW) as stored:
        assert [(run.policy, run.job) for run in stored.open_runs()] == [("own", Job.BACKUP)]


def damage(operator: Operator) -> None:
    """Turn a bit in every pack of the second site."""
    for pack in (operator.folder / "secondary/minfopra/data").glob("*/*"):
        pack.chmod(0o600)
        content = bytearray(pack.read_bytes())
        content[len(content) // 3] ^= 1
        pack.write_bytes(content)


def test_nothing_is_put_in_place_that_cannot_be_trusted(lost: Operator) -> None:
    by_hand(lost, "secondary")
    (lost.folder / "minfopra.key").write_text("another password")
    assert refused(lost, "restore", "--ledger").kind is FailureKind.WRONG_PASSWORD
    (lost.folder / "minfopra.key").write_text(PASSWORD)
    damage(lost)
    ended = lost.tandem("restore", "--ledger")
    assert ended.code == 4, ended.out
    assert "next:" in ended.err or "What to do next" in ended.out
    assert not ledger(lost).exists()
    assert not list((lost.folder / "work").glob("restored-settings-*"))


def test_asking_for_what_the_settings_do_not_know(kept: Operator, lost: Operator, tmp_path: Path) -> None:
    lost.write_settings(BY_HAND.replace("{site}", "secondary").replace("tandem = true", 'paths = ["/srv"]'))
    ended = lost.tandem("restore", "--ledger")
    assert (ended.code, "source = { tandem = true }" in ended.err) == (2, True)
    for words in (("files", "--ledger"), ("own", "--ledger", "--path", "*"), ("own",), ("--to", "x")):
        assert kept.tandem("restore", *words).code == 2, words
    full = tmp_path / "full"
    full.mkdir()
    (full / "settings.toml").write_text("mine")
    by_hand(lost, "secondary")
    assert refused(lost, "restore", "--ledger", "--to", str(full)).kind is FailureKind.NOT_EMPTY
    (lost.folder / "work").write_text("no folder")
    assert refused(lost, "restore", "--ledger").kind is FailureKind.TARGET_UNWRITABLE
    (lost.folder / "work").unlink()
    lost.write_settings(lost.settings.replace("policies.own", "policies.mine"))
    told = refused(lost, "restore", "--ledger")
    assert told.kind is FailureKind.SNAPSHOT_MISSING
    assert "own" in told.message

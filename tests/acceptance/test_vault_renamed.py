"""A vault under another name in the settings, at the same place: what is known of its repositories goes with it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime, timedelta

from jobs.failure import FailureKind
from jobs.history import RunState
from orchestrator.ledger.ledger import Ledger
from tests.acceptance.faults import NOW, done, runs
from tests.acceptance.operator import Operator
from tests.acceptance.told import refused

PLACE = '''[vaults.primary]
site = "primary"'''


def named(operator: Operator, old: str, new: str) -> None:
    """Give the first site's vault another name, at the path that it has."""
    edited = operator.settings.replace(f"[vaults.{old}]", f"[vaults.{new}]").replace(
        f'vault = "{old}"', f'vault = "{new}"'
    )
    assert edited != operator.settings
    operator.write_settings(edited)


def lacking(operator: Operator) -> dict[str, str]:
    """What `status` says is missed or not proven, by site."""
    told = [
        line.split(maxsplit=2) for line in operator.tandem("status").out.partition("What to look at")[2].split("\n")
    ]
    return {words[1]: words[2].strip() for words in told if words[:1] == ["files"]}


def opened(operator: Operator) -> Ledger:
    return Ledger.open(f"sqlite:///{operator.folder / 'tandem.db'}", create=False, now=NOW)


def test_a_renamed_vault_keeps_its_points_its_proofs_and_its_past(settled: Operator) -> None:
    for words in (("check", "files", "--site", "primary"), ("audit", "files", "--site", "primary")):
        done(settled, *words)
    with opened(settled) as ledger:
        before = ledger.runs()
        points = {point.snapshot for point in ledger.points(vault="primary")}
        moment = max(run.finished_at for run in before if run.finished_at) + timedelta(milliseconds=1)
        past = ledger.hindsight(moment - timedelta(days=1), moment)
    named(settled, "primary", "first")
    done(settled, "backup", "files")
    newest = runs(settled)[0]
    assert (newest.state, newest.vault) == (RunState.SUCCEEDED, "first")
    assert "vault first was called primary: it is the same repository" in newest.note
    with opened(settled) as ledger:
        assert ledger.runs()[1:] == before
        assert points < {point.snapshot for point in ledger.points(vault="first")}
        assert ledger.points(vault="primary") == ()
        again = ledger.hindsight(moment - timedelta(days=1), moment)
        assert again.runs == past.runs
        assert [replace(point, gone_at=None) for point in again.points] == list(past.points)
        (event,) = (event for event in ledger.events() if event.key == "renamed/minfopra/first")
        assert (event.tenant, "was called primary" in event.text) == ("minfopra", True)
        seen = ledger.glance(datetime.now(NOW.tzinfo))
    assert {run.job for run in seen.runs if run.vault == "first"} >= {"backup", "check", "audit"}
    assert not [run for run in seen.runs if run.vault == "primary"]
    for words in (("check", "files", "--site", "primary"), ("test-restore", "files", "--site", "primary")):
        done(settled, *words)
    assert sum("was called" in run.note for run in runs(settled)) == 1
    done(settled, "replicate", "files")


def test_what_was_proven_under_the_former_name_counts(settled: Operator) -> None:
    """The last check is as good as it was, and so is what was copied from there."""
    done(settled, "check", "files", "--site", "primary")
    before = lacking(settled)
    assert before["primary"] == "restore test, restore time"
    named(settled, "primary", "first")
    done(settled, "snapshots", "files", "--site", "primary")
    assert lacking(settled) == before


def test_a_vault_that_is_named_back_is_the_same_once_more(settled: Operator) -> None:
    for old, new in (("primary", "first"), ("first", "primary")):
        named(settled, old, new)
        done(settled, "backup", "files")
        assert f"vault {new} was called {old}" in runs(settled)[0].note
    done(settled, "backup", "files")
    assert runs(settled)[0].note == ""
    with opened(settled) as ledger:
        there = {point.snapshot for point in ledger.points(vault="primary")}
        assert ledger.points(vault="first") == ()
    assert there == {snapshot["id"] for snapshot in settled.snapshots("primary")}


def test_a_look_is_enough_to_know_it_by_its_new_name(settled: Operator) -> None:
    named(settled, "primary", "first")
    done(settled, "snapshots", "files", "--site", "primary")
    with opened(settled) as ledger:
        assert ledger.repository("minfopra", "first") is not None


def test_two_names_of_one_place_are_told_by_both_names(settled: Operator) -> None:
    shutil.copytree(settled.folder / "primary", settled.folder / "twin")  # as good as another way to the same place
    more = PLACE.replace("vaults.primary", "vaults.twin") + '\nkind = "local"\npath = "twin"\n\n'
    settled.write_settings(settled.settings.replace(PLACE, more + PLACE).replace('vault = "primary"', 'vault = "twin"'))
    told = refused(settled, "backup", "files")
    assert (told.kind, told.code) == (FailureKind.VAULT_TWICE, 4)
    assert "the ledger knows it as vault primary" in told.message
    with opened(settled) as ledger:
        assert ledger.repository("minfopra", "twin") is None
        assert ledger.points(vault="primary")

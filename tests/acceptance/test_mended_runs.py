"""What once stopped more than it had to: settings edited under a dead run, a fault of our own, a stop, a refusal."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from typing import Final

from jobs.failure import INTERNAL, INTERRUPTED, JOB_FAILED, FailureKind
from jobs.history import Job, RunState
from orchestrator.ledger.ledger import Ledger
from tests.acceptance.faults import NOW, done, ended, gate, kill, runs, unhooked
from tests.acceptance.operator import Operator
from tests.acceptance.told import refused, states

DATA: Final = " backup --json --host"  # the restic that stores the source, and not the one that stores the manifest
MORE: Final = '\n[policies.more]\nsource = {{ paths = ["source/deep"] }}\n'
ANOTHER_VAULT: Final = '[vaults.other]\nsite = "primary"\nkind = "local"\npath = "other"\n\n[tenants.minfopra]'


def die(operator: Operator, *words: str, at: str = DATA) -> str:
    """Kill a command when restic begins what `at` chooses; give the run that is left open."""
    waiting = gate(operator, at)
    process = operator.start(*words)
    waiting.wait()
    kill(process)
    unhooked(operator)
    shutil.rmtree(waiting.folder)
    (newest,) = [run for run in runs(operator) if run.state is RunState.RUNNING]
    return newest.id


def one_site(operator: Operator) -> None:
    """Drop the second copy: half the steps."""
    operator.write_settings(operator.settings.replace('replicate = {{ to = "secondary" }}\n', ""))


def move(operator: Operator) -> None:
    """Have the policy's first copy in another vault from now on."""
    text = operator.settings.replace("[tenants.minfopra]", ANOTHER_VAULT)
    operator.write_settings(text.replace('vault = "primary"', 'vault = "other"'))


def test_a_vault_that_left_the_settings_under_a_dead_run_is_left_alone(settled: Operator) -> None:
    cut = die(settled, "replicate", "files", at=" copy ")
    move(settled)
    start, end = settled.settings.index("[vaults.primary]"), settled.settings.index("[vaults.secondary]")
    settled.write_settings(settled.settings[:start] + settled.settings[end:])
    said = done(settled, "check", "files", "--site", "secondary").err
    why = "vault primary is no longer in the settings: nothing could be asked"
    assert f"replicate files ({cut}) was cut off: interrupted. Tandem died while this ran; {why}" in said


def test_a_dead_run_does_not_block_a_policy_whose_vault_is_another_one_now(settled: Operator) -> None:
    cut = die(settled, "backup", "files")
    move(settled)
    assert f"backup files ({cut}) was cut off: interrupted." in done(settled, "backup", "files").err


def test_a_dead_run_of_a_host_that_was_renamed_since_is_resolved(settled: Operator) -> None:
    cut = die(settled, "backup", "files")
    with sqlite3.connect(settled.folder / "tandem.db") as database:
        database.execute("UPDATE run SET owner_host = 'the-former-name' WHERE id = ?", (cut,))
    database.close()
    assert f"backup files ({cut}) was cut off: interrupted." in done(settled, "backup", "files").err


def test_a_fault_of_our_own_fails_one_step_and_the_others_run(operator: Operator) -> None:
    one_site(operator)
    operator.write_settings(operator.settings + MORE)
    (operator.folder / "work/manifests/files.jsonl").mkdir(parents=True)  # where nobody expects a folder
    how = operator.tandem("--json", "run")
    assert how.code == INTERNAL
    ended_as = [(run.job, run.policy, run.state) for run in reversed(runs(operator))]
    assert ended_as[:2] == [(Job.BACKUP, "files", RunState.FAILED), (Job.BACKUP, "more", RunState.SUCCEEDED)]
    assert (Job.RETENTION, "more", RunState.SUCCEEDED) in ended_as
    assert len(states(how)) == len(ended_as)
    failure = runs(operator)[-1].failure
    assert failure is not None
    assert failure.kind is FailureKind.INTERNAL
    assert "IsADirectoryError" in failure.message
    assert failure.advice == "Run it again with -vv, and report what it shows."


def test_a_fault_of_our_own_shows_its_trace_when_asked(settled: Operator) -> None:
    before = settled.folder / "work/manifests/files.jsonl"
    before.unlink()
    before.mkdir()
    process = settled.start("-vv", "backup", "files")
    _, said = process.communicate(timeout=60)
    assert process.returncode == INTERNAL
    assert "Traceback (most recent call last)" in said


def test_what_a_stop_leaves_over_is_on_record(operator: Operator) -> None:
    one_site(operator)
    waiting = gate(operator, DATA)
    process = operator.start("--json", "run")
    waiting.wait()
    process.send_signal(signal.SIGTERM)
    waiting.open()
    code, _, _ = ended(process)
    assert code == INTERRUPTED
    first, *left = reversed(runs(operator))
    assert (first.job, first.state) == (Job.BACKUP, RunState.INTERRUPTED)
    assert [run.job for run in left] == [Job.CHECK, Job.RESTORE_TEST, Job.RETENTION]
    assert {(run.state, run.note) for run in left} == {(RunState.BLOCKED, "not started: interrupted")}


def test_the_settings_of_a_policy_that_never_ran_are_remembered(settled: Operator) -> None:
    settled.write_settings(settled.settings + MORE)
    done(settled, "check", "files", "--site", "primary", "--read-data", "none")
    with sqlite3.connect(settled.folder / "tandem.db") as database:
        told = [text for (text,) in database.execute("SELECT text FROM settings_version")]
    database.close()
    assert any('"name":"more"' in text for text in told)


def test_what_is_open_at_a_lost_repository_keeps_it_from_being_begun_anew(settled: Operator) -> None:
    settled.write_settings(settled.settings + MORE)
    waiting = gate(settled, DATA)
    process = settled.start("backup", "more")
    waiting.wait()
    place, aside = settled.folder / "primary/minfopra", settled.folder / "aside"
    place.rename(aside)
    try:
        told = refused(settled, "backup", "files", "--begin-anew")
        assert told.kind is FailureKind.BUSY
        assert told.message.startswith("backup files cannot start beside backup more (run ")
        with Ledger.open(f"sqlite:///{settled.folder / 'tandem.db'}", create=False, now=NOW) as ledger:
            assert ledger.repository("minfopra", "primary") is not None
    finally:
        kill(process)
    unhooked(settled)
    assert "its repository minfopra@primary was given up" in done(settled, "backup", "files", "--begin-anew").err
    assert runs(settled)[0].note == "begun anew: the former repository was given up"


def test_a_refused_retention_is_on_record(settled: Operator) -> None:
    source = settled.source.rename(settled.folder / "aside")
    failed = settled.tandem("backup", "files")
    assert failed.code == JOB_FAILED
    how = settled.tandem("retention", "files", "--site", "primary")
    assert how.code == JOB_FAILED
    newest, backup = runs(settled)[:2]
    assert (newest.job, newest.state, newest.vault) == (Job.RETENTION, RunState.SKIPPED, "primary")
    assert newest.note.startswith(f"the last backup ({backup.id}) ended failed at ")
    assert source.exists()

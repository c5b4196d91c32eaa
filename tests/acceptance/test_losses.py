"""What goes without a retention of ours stays asked for, whoever looks; what a cut retention removed is no loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jobs.event import Event, Topic
from jobs.history import Job, RetentionResult, RunState
from orchestrator.clock import new_run_id
from orchestrator.ledger.ledger import Ledger
from tests.acceptance.faults import NOW, done, points, runs
from tests.acceptance.operator import Operator
from tests.acceptance.told import refused

CUT = """#!/bin/sh
# forget goes through, and then the prune of it is cut
case " $* " in *" forget "*) ;; *) exec {restic} "$@" ;; esac
for word; do shift; [ "$word" = --prune ] || set -- "$@" "$word"; done
{restic} "$@"
echo 'Fatal: connection reset during prune' >&2
exit 1
"""


def ledger(operator: Operator) -> Ledger:
    return Ledger.open(f"sqlite:///{operator.folder / 'tandem.db'}", create=False, now=NOW)


def events(operator: Operator, topic: Topic) -> list[Event]:
    with ledger(operator) as known:
        return [event for event in known.events(topics=[topic]) if event.key.startswith("lost/")]


def older_of(operator: Operator, vault: str = "primary") -> Path:
    return operator.folder / vault / "minfopra/snapshots" / str(operator.snapshots(vault)[0]["id"])


def looked(operator: Operator) -> None:
    done(operator, "snapshots", "files", "--site", "primary")


def audited(operator: Operator) -> str:
    return refused(operator, "audit", "files", "--site", "primary").message


@pytest.mark.parametrize("look", [("snapshots", "files"), ("replicate", "files")])
def test_nobody_who_looks_hides_a_loss_and_it_is_told_once(settled: Operator, look: tuple[str, ...]) -> None:
    older = older_of(settled)
    older.unlink()
    settled.tandem(*look)
    settled.tandem(*look)
    assert f"snapshots/{older.name}: it is not there any more" in audited(settled)
    (told,) = events(settled, Topic.DAMAGE_FOUND)
    assert (told.tenant, told.policy, told.subject.split()[1]) == ("minfopra", "files", older.name)
    assert older.name not in {point.snapshot for point in points(settled, "primary")}


def test_a_retention_does_not_take_a_loss_for_its_own(settled: Operator) -> None:
    newer = older_of(settled).with_name(settled.snapshots("primary")[1]["id"])
    newer.unlink()
    done(settled, "retention", "files", "--site", "primary")
    assert newer.name in audited(settled)


def test_a_loss_ends_when_it_is_there_again_and_the_next_is_a_loss_of_its_own(settled: Operator) -> None:
    older = older_of(settled)
    content = older.read_bytes()
    older.unlink()
    looked(settled)
    older.write_bytes(content)
    looked(settled)
    done(settled, "audit", "files", "--site", "primary")
    assert len(events(settled, Topic.RECOVERED)) == 1
    done(settled, "retention", "files", "--site", "primary")  # now it goes as it should
    done(settled, "audit", "files", "--site", "primary")


def test_a_loss_at_the_second_site_ends_with_a_new_copy(settled: Operator) -> None:
    lost = older_of(settled, "secondary")
    lost.unlink()
    done(settled, "snapshots", "files")
    assert lost.name in refused(settled, "audit", "files", "--site", "secondary").message
    done(settled, "replicate", "files")
    done(settled, "audit", "files", "--site", "secondary")


def test_a_person_accepts_a_loss_and_no_other(settled: Operator) -> None:
    first, second = (older_of(settled).with_name(each["id"]) for each in settled.snapshots("primary"))
    first.unlink()
    looked(settled)
    done(settled, "snapshots", "files", "--accept-lost", "I removed it by hand")
    done(settled, "audit", "files", "--site", "primary")
    (closed,) = events(settled, Topic.RECOVERED)
    assert closed.text.endswith("I removed it by hand")
    second.unlink()
    looked(settled)
    message = audited(settled)
    assert (second.name in message, first.name in message) == (True, False)


def test_what_a_cut_retention_removed_is_no_loss(settled: Operator) -> None:
    older = older_of(settled)
    program = settled.folder / "cut"
    program.write_text(CUT.format(restic=settled.restic))
    program.chmod(0o700)
    whole = settled.settings
    settled.write_settings(whole.replace('restic = "{restic}"', f'restic = "{program}"'))
    assert settled.tandem("retention", "files", "--site", "primary").code != 0
    assert not older.exists()
    settled.write_settings(whole)
    done(settled, "audit", "files", "--site", "primary")
    looked(settled)
    done(settled, "audit", "files", "--site", "primary")
    assert not events(settled, Topic.DAMAGE_FOUND)
    (run,) = [run for run in runs(settled) if run.job is Job.RETENTION]
    assert (run.state, run.result) == (RunState.FAILED, RetentionResult(intended=(older.name,)))


@pytest.mark.parametrize("ending", ["recovered", "given up"])
def test_what_a_dead_retention_removed_is_no_loss(settled: Operator, ending: str) -> None:
    older, newer = (older_of(settled).with_name(each["id"]) for each in settled.snapshots("primary"))
    backup = next(run for run in runs(settled) if run.job is Job.BACKUP)
    begun = replace(
        backup, id=new_run_id(NOW), job=Job.RETENTION, state=RunState.RUNNING, finished_at=None, result=None, note=""
    )
    with ledger(settled) as known:
        known.claim(begun)
        known.set_out(begun.id, RetentionResult(intended=(older.name,)), NOW)
        if ending == "given up":
            known.give_up(begun.id, NOW, "its host burnt")
        else:
            known.disown()
    older.unlink()
    done(settled, "audit", "files", "--site", "primary")
    with ledger(settled) as known:
        assert known.run(begun.id).state is RunState.INTERRUPTED  # type: ignore[union-attr]  # it was claimed
    looked(settled)
    assert not events(settled, Topic.DAMAGE_FOUND)
    assert older.name not in {point.snapshot for point in points(settled, "primary")}
    newer.unlink()
    looked(settled)
    assert newer.name in audited(settled)

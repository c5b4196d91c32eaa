"""`tandem audit`: what lies there is what was stored, without the password, and each kind of rot is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from jobs.failure import FailureKind
from jobs.history import Job
from tests.acceptance import oracle
from tests.acceptance.faults import done, runs
from tests.acceptance.operator import Operator, until
from tests.acceptance.serving import serving
from tests.acceptance.test_faults_repository import OTHER_PASSWORD, set_password
from tests.acceptance.test_serve import at_work, clock_of, ledger, settings_file, states
from tests.acceptance.told import refused, rows
from tests.acceptance.told import states as ran

RATE: Final = 300.0


def newest(operator: Operator, kind: str, vault: str = "secondary") -> Path:
    """The largest file of a kind in a local vault."""
    files = (path for path in (operator.folder / vault / "minfopra" / kind).rglob("*") if path.is_file())
    path = max(files, key=lambda path: path.stat().st_size)
    path.chmod(0o600)
    return path


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def grown(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def test_both_copies_are_audited_without_their_password_or_restic_and_are_clean(settled: Operator) -> None:
    set_password(settled, OTHER_PASSWORD)
    settled.write_settings(settled.settings.replace('restic = "{restic}"', 'restic = "/nowhere/restic"'))
    audited = settled.tandem("--json", "audit", "files")
    assert (audited.code, ran(audited)) == (
        0,
        [("audit", "primary", "succeeded"), ("audit", "secondary", "succeeded")],
    )
    for row, vault in zip(rows(audited), ("primary", "secondary"), strict=True):
        files = [path for path in (settled.folder / vault / "minfopra").rglob("*") if path.is_file()]
        stored = [path for path in files if path.name != "config" and path.parent.name != "locks"]
        value = row["found"]["value"]
        assert (value["files"], value["bytes"]) == (len(stored), sum(path.stat().st_size for path in stored))
        assert (value["damaged"], value["control"]) == (0, True)
    assert {run.tool for run in runs(settled) if run.job is Job.AUDIT} == {""}  # restic has no part in it


@pytest.mark.parametrize(
    ("kind", "rot"),
    [("data", flipped), ("data", cut), ("index", grown), ("snapshots", flipped), ("keys", flipped)],
)
def test_rot_at_rest_is_named_and_red_until_it_is_healed(
    settled: Operator, kind: str, rot: Callable[[Path], None]
) -> None:
    path = newest(settled, kind)
    sound = path.read_bytes()
    rot(path)
    told = refused(settled, "audit", "files", "--site", "secondary")
    assert (told.kind, told.code) == (FailureKind.REPOSITORY_DAMAGED, 4)
    assert path.name in told.message
    assert "minfopra@secondary: 1 stored file" in told.message
    report = settled.tandem("report", "integrity", "--format", "html")
    assert path.name in report.out
    nagios = settled.tandem("status", "--nagios")
    assert nagios.code == 2
    path.write_bytes(sound)
    done(settled, "audit", "files", "--site", "secondary")
    assert path.name not in settled.tandem("report", "integrity").out.partition("Runs of the period")[0]


def test_a_flipped_bit_that_a_structural_check_does_not_see_is_seen(settled: Operator) -> None:
    flipped(newest(settled, "data"))
    done(settled, "check", "files", "--site", "secondary", "--read-data", "none")
    assert refused(settled, "audit", "files", "--site", "secondary").kind is FailureKind.REPOSITORY_DAMAGED


def test_a_snapshot_that_somebody_removed_is_missed_where_restic_misses_nothing(settled: Operator) -> None:
    older = settled.snapshots("primary")[0]["id"]
    (settled.folder / "primary/minfopra/snapshots" / older).unlink()
    done(settled, "check", "files", "--site", "primary", "--read-data", "none")
    told = refused(settled, "audit", "files", "--site", "primary")
    assert told.kind is FailureKind.REPOSITORY_DAMAGED
    assert f"snapshots/{older}: it is not there any more" in told.message


def test_what_a_killed_backup_leaves_is_no_damage(settled: Operator) -> None:
    transient = newest(settled, "data").with_name(f"{'a' * 64}-tmp-1234567")
    transient.write_bytes(b"half a pack")
    audited = settled.tandem("--json", "audit", "files", "--site", "secondary")
    assert audited.code == 0
    assert rows(audited)[0]["found"]["value"]["passed_over"] == 1


def test_a_damaged_config_is_told_as_another_repository(settled: Operator) -> None:
    config = settled.folder / "secondary/minfopra/config"
    config.chmod(0o600)
    flipped(config)
    told = refused(settled, "audit", "files", "--site", "secondary")
    assert told.kind is FailureKind.REPOSITORY_FOREIGN
    assert "config file is damaged" in told.message


def test_one_audit_serves_every_policy_of_the_repository(settled: Operator) -> None:
    settled.write_settings(settled.settings + '\n[policies.others]\nsource = {{ paths = ["source/deep"] }}\n')
    preview = settled.tandem("--json", "audit", "files", "--dry-run")
    assert len(rows(preview)) == 2
    done(settled, "audit", "others")
    judged = settled.tandem("--json", "report", "integrity", "--format", "json").json
    cells = [row for row in judged["sections"][0]["tables"][0]["rows"]]
    assert [cell["check"]["value"]["audit_damaged"] for cell in cells] == [0, 0, 0, 0]


@pytest.mark.parametrize("rotten", [False, True])
def test_a_slot_of_it_is_run_by_serve_and_damage_is_told(tmp_path: Path, restic_program: Path, rotten: bool) -> None:
    """Two policies share the repositories: each moment has one audit of each, which stands for both."""
    operator = at_work(tmp_path / "operator", restic_program, "every 365d")
    done(operator, "backup", "files")
    done(operator, "replicate", "files")
    verify = 'verify = {{ audit = "every 60m" }}\n'
    text = operator.settings.replace("[policies.files]", f"[policies.files]\n{verify}")
    operator.write_settings(f'{text}\n[policies.others]\n{verify}source = {{{{ paths = ["source"] }}}}\n')
    if rotten:
        flipped(newest(operator, "data", "primary"))
    clock = clock_of(operator)
    with serving(settings_file(operator), clock, rate=RATE) as daemon:
        until(lambda: len(states(operator, "audit")) >= 4 and not {"due", "running"} & set(states(operator, "audit")))
        assert daemon.stop() == 0
    found = oracle.rows(ledger(operator), "SELECT * FROM slot WHERE job = 'audit' ORDER BY due, id LIMIT 4")
    ends = sorted((row["vault"], row["state"]) for row in found)
    good = (
        [("primary", "failed"), ("primary", "failed")]
        if rotten
        else [("primary", "coalesced"), ("primary", "succeeded")]
    )
    assert ends == [*good, ("secondary", "coalesced"), ("secondary", "succeeded")]
    topics = {row["topic"] for row in oracle.rows(ledger(operator), "SELECT topic FROM event")}
    assert ("damage-found" in topics) is rotten
    assert operator.tandem("slots").code == 0

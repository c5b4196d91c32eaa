"""What peers proved that proved nothing, what they damaged in silence, and copies that fell behind unseen.

One night of a real `serve` whose first vault loses a byte; each test looks at what was left of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final

import pytest

from jobs.event import Topic
from jobs.failure import FailureKind
from jobs.history import CheckResult, Job, ReplicateResult, RestoreTestResult, RunRecord, RunState
from jobs.integrity import assess
from jobs.policy import Objectives
from jobs.verdict import ControlName, GapCode, Verdict
from orchestrator import settings as settings_room
from orchestrator.serve.watching import watch
from tests.acceptance.faults import done, limited, noise, restics
from tests.acceptance.operator import SETTINGS, Operator, until
from tests.acceptance.told import refused
from tests.jobs.making import DAY, NOW, policy
from tests.orchestrator.ledger.build import over, point
from tests.peers.unattended import (
    ALONE,
    HOUR,
    HOURLY,
    JumpingClock,
    all_runs,
    cut_off,
    opened,
    operator,
    private,
    served,
    states,
    told_of,
)
from tests.servers.mail import mail_server
from tests.servers.webhook import webhook

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

PROVEN: Final = ALONE + 'verify = {{ check = "after backup", restore_test = "after backup", read_data = "100%" }}\n'


# A file that was touched after the clock said "now" was changing while it was backed up, and proves nothing.
TOMORROW: Final = datetime.combine(datetime.now(UTC).date() + timedelta(days=1), time(0, 30), UTC)


def damage(made: Operator, vault: str = "primary") -> Path:
    """Change one byte of the largest pack."""
    packs = (path for path in (made.folder / vault / "minfopra/data").rglob("*") if path.is_file())
    pack = max(packs, key=lambda path: path.stat().st_size)
    pack.chmod(0o600)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)
    return pack


def words(mail: EmailMessage) -> str:
    """Subject and text of a mail: of many notices at once there is one."""
    body = mail.get_body(("plain", "html"))
    return f"{mail['subject']}\n{body.get_content() if body is not None else ''}"


@dataclass
class Damaged:
    """What was seen of two hours without damage, and of one with it."""

    operator: Operator
    mails: list[EmailMessage]
    letters: list[dict[str, Any]]
    alarms: frozenset[str]

    def ran(self, job: Job) -> list[RunRecord]:
        """A job's runs, the oldest first."""
        return [each for each in reversed(all_runs(self.operator)) if each.job is job]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory, restic_program: Path) -> Iterator[Damaged]:
    """A backup, a check and a restore test each hour; then a byte of a pack is turned, and an hour more."""
    with ExitStack() as stack:
        postbox, hook = stack.enter_context(mail_server()), stack.enter_context(webhook())
        folder = tmp_path_factory.mktemp("damaged")
        made = operator(
            folder,
            restic_program,
            PROVEN,
            notify_mail='urls = [{{ file = "mail.url" }}]\non = ["damage-found", "succeeded"]',
            notify_hook=f'urls = ["json://{hook.address}/"]\non = ["damage-found"]',
        )
        address = f"mailto://127.0.0.1:{postbox.port}?from=tandem@operator.example&to=night@operator.example"
        private(folder / "mail.url", address)
        noise(made.source / "big", 1)
        clock = JumpingClock(TOMORROW)
        with served(made, clock) as serving:
            serving.passes(HOUR, policies=4)
            made.write("a.txt", "second\n")
            serving.passes(HOUR, policies=4)
            damage(made)
            serving.passes(HOUR, policies=4)
            serving.comes(lambda: any("damage-found: check files" in told for told in map(words, postbox.mails)))
            serving.comes(lambda: hook.accepted)
        with opened(made) as ledger:
            watch(ledger, settings_room.load(folder / "settings.toml"), clock)
            alarms = frozenset(alarm.key for alarm in ledger.alarms())
        yield Damaged(made, list(postbox.mails), list(hook.accepted), alarms)


def test_zerobyte_968_what_a_check_found_is_mailed(damaged: Damaged) -> None:
    """The results of checks were not mailed; here a good one and a bad one both are, to whoever asks for them."""
    told = "\n".join(map(words, damaged.mails))
    assert "damage-found: check files at primary" in told
    assert "succeeded: check files at primary" in told


def test_vorta_1051_integrity_errors_are_told_as_loud_as_can_be(damaged: Damaged) -> None:
    """Integrity errors notified nobody; here damage is a topic of its own, critical, and says what not to do next."""
    loud = [letter for letter in damaged.letters if "check files" in letter["title"]]
    assert loud
    assert all(letter["type"] == "failure" for letter in loud)
    assert "Do not prune" in loud[0]["message"]
    assert told_of(damaged.operator, Topic.DAMAGE_FOUND)


def test_talos_1947_a_restore_test_takes_the_newest_point_and_can_fail(damaged: Damaged) -> None:
    """A drill restored the same old snapshot and passed every time; here each one takes what the hour's backup made,
    and the one after the damage fails."""
    tests = damaged.ran(Job.RESTORE_TEST)
    good = [each.result for each in tests if isinstance(each.result, RestoreTestResult) and not each.result.differences]
    assert len({each.snapshot for each in good}) == len(good) == 2
    assert tests[-1].state is RunState.FAILED
    assert states(damaged.operator, "restore-test") == ["succeeded", "succeeded", "failed"]


def test_bombvault_30_a_check_that_is_quick_has_read_the_vault_all_the_same(damaged: Damaged) -> None:
    """A check and a drill were green in five seconds, from a local cache; here the byte that was turned in the
    vault is found by the check as by the restore test, though the cache is warm."""
    (check, restore_test) = damaged.ran(Job.CHECK)[-1], damaged.ran(Job.RESTORE_TEST)[-1]
    assert any((damaged.operator.folder / "work/cache").rglob("*"))
    assert check.state is RunState.FAILED
    assert check.failure is not None
    assert check.failure.kind is FailureKind.REPOSITORY_DAMAGED
    assert restore_test.failure is not None


def test_agenticsorg_50_the_time_of_a_restore_is_measured(damaged: Damaged) -> None:
    """The RTO timer always showed 0 s; here a restore that took no time has measured nothing, and real ones have."""
    tests = [each for each in damaged.ran(Job.RESTORE_TEST) if each.state is RunState.SUCCEEDED]
    for each in tests:
        assert isinstance(each.result, RestoreTestResult)
        assert each.finished_at is not None
        assert 0 < each.result.seconds <= (each.finished_at - each.started_at).total_seconds()
        assert each.result.bytes_compared > 1 << 20
    last = tests[-1]
    assert isinstance(last.result, RestoreTestResult)
    assert last.finished_at is not None
    (made,) = settings_room.load(damaged.operator.folder / "settings.toml").policies
    for seconds, verdict in ((last.result.seconds, Verdict.MET), (0.0, Verdict.NOT_PROVEN)):
        timed = replace(last, result=replace(last.result, seconds=seconds))
        control = assess([made], [timed], [], last.finished_at)[0].control(ControlName.RESTORE_TIME)
        assert control is not None
        assert control.verdict is verdict


def test_pgbackrest_2668_what_a_check_found_is_remembered(damaged: Damaged) -> None:
    """Verify forgot its results; here each check's are in the ledger, and damage stands until one is clean."""
    results = [each.result for each in damaged.ran(Job.CHECK)]
    assert [isinstance(each, CheckResult) and each.errors > 0 for each in results] == [False, False, True]
    assert "objective/files/primary/check" in damaged.alarms


def test_kopia_3869_check_and_restore_test_do_not_contradict_each_other(damaged: Damaged) -> None:
    """Two ways to verify said two things; here whatever either found keeps the place red."""
    check, restore_test = damaged.ran(Job.CHECK)[-1], damaged.ran(Job.RESTORE_TEST)[-1]
    (made,) = settings_room.load(damaged.operator.folder / "settings.toml").policies
    for alone in (check, restore_test):
        others = [each for each in all_runs(damaged.operator) if each not in {check, restore_test}]
        (judged,) = assess([made], [*others, alone], [], max(check.started_at, restore_test.started_at) + HOUR)
        assert judged.verdict is Verdict.MISSED


# --- what was never proven -------------------------------------------------------------------------------------------


def test_tanguille_4305_what_was_never_verified_is_red_after_its_time(tmp_path: Path, restic_program: Path) -> None:
    """LAST-VERIFIED was empty for 18 days on all policies, and nobody noticed; here it is alarmed by name as soon as
    it has had the time that its objective allows."""
    made = operator(tmp_path, restic_program, ALONE)
    clock = JumpingClock()
    with served(made, clock) as serving:
        serving.passes(HOUR, policies=2)
    settings = settings_room.load(tmp_path / "settings.toml")
    with opened(made) as ledger:
        watch(ledger, settings, clock)
        assert "unproven/files/primary" not in {alarm.key for alarm in ledger.alarms()}
        clock.jump(8 * DAY)
        watch(ledger, settings, clock)
        (alarm,) = (alarm for alarm in ledger.alarms() if alarm.key == "unproven/files/primary")
    assert "the age of the last clean check" in alarm.text
    assert "the age of the last clean restore test" in alarm.text


def test_bcgov_134_yesterdays_backup_is_not_verified_as_todays() -> None:
    """Yesterday's backup was verified and reported as today's; here a test names its snapshot, a newer one that was not
    tested is said to be so, and the age of the newest point is judged apart from any test."""
    yesterday = point(1, time=NOW - DAY, snapshot="a1" * 32, origin="a1" * 32)
    today = point(2, time=NOW - HOUR, snapshot="b2" * 32, origin="b2" * 32)
    result = RestoreTestResult(snapshot=yesterday.snapshot, snapshot_time=yesterday.time, files_compared=9, seconds=1.0)
    tested = over(job=Job.RESTORE_TEST, started_at=NOW - timedelta(minutes=5), result=result)
    promised = policy(replica=None, objectives=Objectives(rpo=timedelta(hours=12), restore_test_age=DAY))
    (both,) = assess([promised], [tested], [yesterday, today], NOW)
    control = both.control(ControlName.RESTORE_TEST)
    assert control is not None
    assert [gap.code for gap in control.gaps] == [GapCode.NEWER_THAN_TESTED]
    (old,) = assess([promised], [tested], [yesterday], NOW)
    age = old.control(ControlName.RECOVERY_POINT)
    assert age is not None
    assert age.verdict is Verdict.MISSED


def test_pgbackrest_1918_a_backup_that_is_too_old_is_said_to_be() -> None:
    """There was no report of backups that are too old; here the newest point's age is a control with its limit."""
    promised = policy(replica=None, objectives=Objectives(rpo=DAY))
    for age, verdict in ((DAY, Verdict.MET), (DAY + timedelta(seconds=1), Verdict.MISSED)):
        (judged,) = assess([promised], [], [point(1, time=NOW - age)], NOW)
        control = judged.control(ControlName.RECOVERY_POINT)
        assert control is not None
        assert (control.measured, control.verdict) == (age, verdict)


def test_urbackup_76_there_is_no_alarm_of_no_recent_backup_when_there_is_one(
    tmp_path: Path, restic_program: Path
) -> None:
    """It warned of no recent backup while there was one; here a backup by hand is a recovery point like any other."""
    made = operator(tmp_path, restic_program, SETTINGS.replace('rpo = "24h"', 'rpo = "2h"'))
    settings, key = settings_room.load(tmp_path / "settings.toml"), "objective/files/primary/recovery-point"
    done(made, "backup", "files")
    (backup,) = all_runs(made)

    def alarms(after: timedelta) -> set[str]:
        with opened(made) as ledger:
            watch(ledger, settings, JumpingClock(backup.started_at + after))
            return {alarm.key for alarm in ledger.alarms()}

    assert key not in alarms(timedelta(minutes=119))
    assert key in alarms(timedelta(minutes=121))
    assert key not in alarms(timedelta(minutes=118))


def test_keiretsu_2771_a_backup_without_one_of_its_volumes_is_not_complete(
    tmp_path: Path, restic_program: Path
) -> None:
    """A backup was "Completed" with a volume skipped; here a path that is missing fails it, and nothing is stored."""
    made = operator(tmp_path, restic_program, SETTINGS.replace('["source"]', '["source", "volume"]'))
    told = refused(made, "backup", "files")
    assert told.kind is FailureKind.SOURCE_MISSING
    assert "volume" in told.message
    assert made.snapshots("primary") == []


# --- copies ----------------------------------------------------------------------------------------------------------


def test_backrest_279_465_810_resticprofile_416_autorestic_145_368_a_copy_follows_each_backup(
    tmp_path: Path, restic_program: Path
) -> None:
    """Copies to a second repository were missing, or not chained to the backup; here a slot for a copy stands behind
    each backup's, it starts when that one has gone well, and the parity of the two sites is on its record."""
    made, clock = operator(tmp_path, restic_program, HOURLY), JumpingClock()
    with served(made, clock) as serving:
        serving.passes(HOUR, policies=4)
    (copy,) = (each for each in all_runs(made) if each.job is Job.REPLICATE)
    (backup,) = (each for each in all_runs(made) if each.job is Job.BACKUP)
    assert backup.finished_at is not None
    assert copy.started_at >= backup.finished_at
    assert isinstance(copy.result, ReplicateResult)
    assert (copy.result.copied, copy.result.missing_after, copy.result.differing) == (1, 0, 0)
    assert [each["tree"] for each in made.snapshots("secondary")] == [
        each["tree"] for each in made.snapshots("primary")
    ]


def test_kopia_4143_4909_velero_2241_pgbackrest_2650_a_copy_that_does_not_arrive_is_told(
    tmp_path: Path, restic_program: Path
) -> None:
    """Copies between repositories were missing, left to other tools, or called automatic and told nobody how they went;
    here the daemon makes them, and one that fails is told like a failed backup, and does not stop the backups."""
    with webhook() as hook:
        made = operator(tmp_path, restic_program, HOURLY, notify_ops=f'urls = ["json://{hook.address}/"]')
        shutil.rmtree(tmp_path / "secondary")
        (tmp_path / "secondary").write_text("a disk that is not mounted")
        with served(made, JumpingClock()) as serving:
            for _ in range(2):  # in the first hour it may still come
                serving.passes(HOUR, policies=4)
            serving.comes(
                lambda: any("failed: replicate files at secondary" in each["title"] for each in hook.accepted)
            )
    assert states(made, "backup") == ["succeeded"] * 2
    assert states(made, "replicate") == ["failed", "due"]
    assert states(made, "retention") == ["blocked", "blocked", "due", "due"]


def test_zrepl_353_a_copy_that_has_fallen_behind_is_alarmed() -> None:
    """There was no alarm for a replica that fell behind; here its lag is judged against what was promised, counted from
    the oldest point that never arrived."""
    promised = policy(objectives=Objectives(replica_lag=timedelta(hours=6)))
    arrived = [point(1, time=NOW - DAY), point(1, time=NOW - DAY, vault="two", site="secondary")]
    waiting = [point(2, time=NOW - timedelta(hours=7)), point(3, time=NOW - HOUR)]
    _, replica = assess([promised], [], [*arrived, *waiting], NOW)
    lag = replica.control(ControlName.REPLICA_LAG)
    assert lag is not None
    assert (lag.measured, lag.verdict) == (timedelta(hours=7), Verdict.MISSED)


def test_barman_1125_1159_retention_never_takes_what_the_second_site_still_lacks(
    tmp_path: Path, restic_program: Path
) -> None:
    """Retention at the source broke the copy; here what has not arrived stays, and says why."""
    made = operator(tmp_path, restic_program, SETTINGS.replace("last = 2", "last = 1"))
    for number in range(2):
        made.write("a.txt", f"{number}\n")
        done(made, "backup", "files")
    preview = done(made, "retention", "files", "--site", "primary", "--dry-run")
    assert "not yet at the other site" in preview.out
    done(made, "retention", "files", "--site", "primary")
    assert len(made.snapshots("primary")) == 2
    done(made, "replicate", "files")
    done(made, "retention", "files", "--site", "primary")
    assert len(made.snapshots("primary")) == 1


def test_zerobyte_735_two_copies_into_one_repository_leave_no_lock(tmp_path: Path, restic_program: Path) -> None:
    """Copies at the same time left stale locks at the mirror; here two go side by side, one of them is killed, and the
    next command that needs the repository alone removes what that one left."""
    more = '\n[policies.more]\nsource = {{ paths = ["source/deep"] }}\n'
    made = operator(tmp_path, restic_program, SETTINGS + more)
    done(made, "backup", "more")
    done(made, "replicate", "more")
    noise(made.source / "big", 8)
    for name in ("files", "more"):
        done(made, "backup", name)
    limited(made, "secondary", upload="500KiB/s")
    one = made.start("replicate", "files")
    until(lambda: restics(one, "copy") and made.locks("secondary"))
    done(made, "replicate", "more")
    cut_off(one, "copy")
    assert made.locks("secondary") != []
    done(made, "check", "more", "--site", "secondary")
    assert made.locks("secondary") == made.locks("primary") == []


def test_ngclient_460_duplicati_1391_1448_the_second_site_restores_without_the_ledger(
    tmp_path: Path, restic_program: Path
) -> None:
    """Only the first destination could be restored from, and a restore depended on the local database; here the second
    site gives all back, with the first one lost and the ledger too."""
    made = operator(tmp_path, restic_program, SETTINGS)
    done(made, "backup", "files")
    done(made, "replicate", "files")
    shutil.rmtree(tmp_path / "primary")
    for file in tmp_path.glob("tandem.db*"):
        file.unlink()
    shutil.rmtree(tmp_path / "work")
    done(made, "restore", "files", "--from", "secondary", "--to", str(tmp_path / "back"))
    (found,) = (tmp_path / "back").rglob("b.bin")
    assert found.read_text() == "x" * 70_000

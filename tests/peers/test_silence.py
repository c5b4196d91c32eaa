"""What peers kept silent about: retention that was skipped, locks that refused, failures that looked like success.

One night with a lock in the way and one with a policy that fails are passed by a real `serve`; each test looks at what
was left of them: slots, messages, metrics, exit codes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from jobs.agenda import lines_of
from jobs.event import SEVERITIES, Severity, Topic
from jobs.failure import FailureKind
from jobs.history import Job
from jobs.slot import Line, SlotState
from tests.acceptance.faults import hooked, runs
from tests.acceptance.operator import Ended, Operator
from tests.acceptance.told import refused
from tests.peers.unattended import (
    ALONE,
    HOUR,
    HOURLY,
    START,
    JumpingClock,
    all_slots,
    opened,
    operator,
    policies,
    served,
    slots,
    somebody_at_work,
    states,
    told_of,
)
from tests.servers.webhook import Webhook, webhook

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

LISTENS = 'listen = "127.0.0.1:0"'
LOCKED_OUT = ALONE.replace("last = 2", "last = 1")
TROUBLED = (
    HOURLY
    + '\n[policies.broken]\nschedule = "every 60m"\nsource = {{ paths = ["nowhere"] }}\n'
    + '\n[policies.moody]\nschedule = "every 60m"\n'
    + 'source = {{ command = {{ run = ["sh", "-c", "test -e READY && echo content"], filename = "dump" }} }}\n'
)


def channel(hook: Webhook, *topics: str) -> str:
    on = ", ".join(f'"{topic}"' for topic in topics)
    return f'urls = ["json://{hook.address}/"]' + (f"\non = [{on}]" if topics else "")


def letters(hook: Webhook) -> list[str]:
    """What was posted: title and body."""
    return [f"{told['title']}\n{told['message']}" for told in tuple(hook.accepted)]


def samples(metrics: str, name: str, **labels: str) -> list[float]:
    """The figures of one metric whose labels are these."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    found = (line for line in metrics.splitlines() if line.startswith((f"tandem_{name}{{", f"tandem_{name} ")))
    return [float(line.rpartition(" ")[2]) for line in found if all(want in line for want in wanted)]


# --- a night with a lock in the way ---------------------------------------------------------------------------------


@dataclass
class LockedOut:
    """What was seen while somebody's lock stood in the way, and after it was left behind by a kill -9."""

    operator: Operator
    letters: list[str]
    metrics: str
    nagios: Ended
    blocked: Ended
    alarms: list[str]


@pytest.fixture(scope="module")
def locked_out(tmp_path_factory: pytest.TempPathFactory, restic_program: Path) -> Iterator[LockedOut]:
    """Backups every hour, each followed by retention; for three of them a foreign restic holds a shared lock."""
    with ExitStack() as stack:
        hook = stack.enter_context(webhook())
        folder = tmp_path_factory.mktemp("locked-out")
        made = operator(folder, restic_program, LOCKED_OUT, serve=LISTENS, notify_ops=channel(hook))
        clock = JumpingClock()
        with served(made, clock) as serving:
            serving.passes(HOUR, policies=2)
        with somebody_at_work(made):
            with served(made, clock) as serving:
                for _ in range(3):
                    serving.passes(HOUR, policies=2)
                serving.watch()
                serving.comes(lambda: any("has not succeeded" in letter for letter in letters(hook)))
                metrics, nagios = serving.metrics(), made.tandem("status", "--nagios")
            blocked = made.tandem("slots", "--state", "blocked")
            alarms = told_of(made, Topic.RETENTION_DEAD)
        told = letters(hook)
        with served(made, clock) as serving:
            serving.passes(HOUR, policies=2)
        yield LockedOut(made, told, metrics, nagios, blocked, alarms)


def test_backrest_18303dbe_a_scheduled_retention_that_cannot_run_is_listed_with_its_reason(
    locked_out: LockedOut,
) -> None:
    """A scheduled forget was skipped and hidden from the log; here each due moment is a row with its reason."""
    before = [slot for slot in reversed(all_slots(locked_out.operator)) if slot.job is Job.RETENTION]
    assert [slot.state for slot in before] == [SlotState.SUCCEEDED, *[SlotState.BLOCKED] * 3, SlotState.SUCCEEDED]
    assert all(slot.why is not None and "repository-locked" in slot.why.text for slot in before[1:4])
    assert locked_out.blocked.code == 0
    assert locked_out.blocked.out.count("blocked") >= 2
    assert "locked" in locked_out.blocked.out


def test_resticprofile_237_a_lock_that_refuses_is_told_like_any_failure(locked_out: LockedOut) -> None:
    """A lock failed before any hook could fire; here whoever is to be told of trouble is told of this one."""
    assert any(
        "blocked: retention files at primary" in each and "repository-locked" in each for each in locked_out.letters
    )


def test_autorestic_387_retention_dead_for_long_while_backups_are_green_is_critical(locked_out: LockedOut) -> None:
    """Prune was dead for weeks while the health check was green; here the outside watcher is told CRITICAL."""
    assert states(locked_out.operator, "backup") == ["succeeded"] * 5
    assert locked_out.nagios.code == 2
    line = next(each for each in locked_out.nagios.out.splitlines()[1:] if "retention-dead" in each)
    assert line.startswith("CRITICAL")
    assert "has not succeeded at 2 due moments in a row" in line


def test_npbackup_161_who_is_locked_out_is_in_the_metrics(locked_out: LockedOut) -> None:
    """A backup that met another's lock sent no metric; here the run that was refused is the job's last, as failed."""
    labels = {"policy": "files", "job": "retention", "vault": "primary"}
    assert samples(locked_out.metrics, "last_run_state", **labels, state="failed") == [1.0]
    assert samples(locked_out.metrics, "last_run_state", **labels, state="succeeded") == []
    (good,) = samples(locked_out.metrics, "last_good_timestamp_seconds", **labels)
    (last,) = samples(locked_out.metrics, "last_run_timestamp_seconds", **labels)
    assert 0 < good < last - 3600


def test_resticprofile_662_retention_has_metrics_too(locked_out: LockedOut) -> None:
    """Only backups had metrics; here every job that is due has them, retention among them."""
    for job in ("backup", "retention"):
        assert samples(locked_out.metrics, "last_run_duration_seconds", job=job, policy="files")
        assert samples(locked_out.metrics, "last_good_timestamp_seconds", job=job, policy="files")


def test_restic_exporter_10_a_lock_that_goes_on_refusing_is_a_metric(locked_out: LockedOut) -> None:
    """Users asked for a metric of stale locks; here conditions that last are counted by their topic."""
    assert samples(locked_out.metrics, "alarms", topic="lock-stale") == [1.0]
    assert samples(locked_out.metrics, "alarms", topic="retention-dead") == [1.0]


def test_keelhaven_27_green_backups_over_a_dead_retention_are_alarmed_and_the_lock_is_removed(
    locked_out: LockedOut,
) -> None:
    """After a kill -9 a lock was left for ever, backups green, retention dead; here that is alarmed, and the lock of a
    process that is proven dead is removed by the next retention, so that the following ones run."""
    (alarm,) = locked_out.alarms
    assert alarm.startswith("retention files at primary: Backups go well, but retention in vault primary")
    assert any("Next: tandem locks" in letter for letter in locked_out.letters)
    assert states(locked_out.operator, "retention")[-1] == "succeeded"
    assert locked_out.operator.locks("primary") == []
    assert len(locked_out.operator.snapshots("primary")) == 1


# --- a night in which something fails -------------------------------------------------------------------------------


@dataclass
class Failing:
    """What was seen of a policy that works, one that cannot, and one that does the second time."""

    operator: Operator
    failures: list[str]
    metrics: str
    metrics_after: str


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory, restic_program: Path) -> Iterator[Failing]:
    """One hour of three policies; then no vault is there any more, and `broken` is taken out of the settings."""
    folder = tmp_path_factory.mktemp("failing")
    ready = folder / "ready"
    with webhook() as fails:
        made = operator(
            folder,
            restic_program,
            TROUBLED.replace("READY", str(ready)),
            serve=LISTENS,
            notify_fails=channel(fails, "failed"),
        )
        clock = JumpingClock()
        with served(made, clock) as serving:
            serving.passes(HOUR, policies=12)
            ready.touch()
            clock.jump(timedelta(minutes=2))
            serving.comes(lambda: {*states(made)} == {"succeeded", "failed", "blocked"} and letters(fails))
            for vault in ("primary", "secondary"):
                (folder / vault).rename(folder / f"{vault}-away")
            metrics = serving.metrics()
            made.write_settings(made.settings.replace("[policies.broken]", "[policies.new]"))
            serving.reload.set()
            serving.comes(lambda: serving.has_said("settings-reloaded"))
            metrics_after = serving.metrics()
        yield Failing(made, letters(fails), metrics, metrics_after)


def test_resticprofile_332_a_run_that_failed_is_no_success_in_the_metrics(failing: Failing) -> None:
    """The status was 2 = success although the backup had failed; here the last run's state is failed, success never."""
    broken = {"policy": "broken", "job": "backup"}
    assert samples(failing.metrics, "last_run_state", **broken, state="failed") == [1.0]
    assert samples(failing.metrics, "last_run_state", **broken, state="succeeded") == []
    assert samples(failing.metrics, "last_good_timestamp_seconds", **broken) == [0.0]
    (good,) = samples(failing.metrics, "last_good_timestamp_seconds", policy="files", job="backup")
    assert good > START.timestamp()


def test_resticprofile_647_what_never_began_did_not_fail(failing: Failing) -> None:
    """A failure hook fired for a backup that had not run; here what follows a failed backup is blocked by name."""
    (failure,) = failing.failures
    assert failure.splitlines()[0].count("backup broken") == 1
    after = [slot for slot in all_slots(failing.operator) if slot.policy == "broken" and slot.job is not Job.BACKUP]
    assert {(slot.state, slot.attempts, slot.run) for slot in after} == {(SlotState.BLOCKED, 0, None)}
    assert all(slot.why is not None and slot.why.other.startswith("broken/") for slot in after)


def test_zrepl_250_493_a_failure_is_told_and_says_of_what(failing: Failing) -> None:
    """Failures notified nobody, and errors came without the dataset; here one message names policy, site and cause."""
    (failure,) = failing.failures
    assert "backup broken at primary" in failure
    assert "nowhere" in failure
    assert "Next: " in failure
    assert failure.startswith("[Test operator]") or "Test operator" in failure


def test_zrepl_789_every_end_and_every_wait_says_why(failing: Failing) -> None:
    """States were opaque; here no slot is without a sentence for people."""
    found = slots(failing.operator)
    assert len(found) >= 12
    assert [row["id"] for row in found if not row["why_kind"] or len(row["why_text"]) < 10] == []


def test_autorestic_343_a_failed_run_is_tried_again_in_the_same_slot(failing: Failing) -> None:
    """The timestamp was written before the run, so that a failed one waited for the next day; here a slot is over when
    an attempt has gone well, and every attempt is on record."""
    (slot,) = slots(failing.operator, "backup", "moody")
    assert (slot["state"], slot["attempts"]) == ("succeeded", 2)
    attempts = [run for run in runs(failing.operator) if run.policy == "moody" and run.job is Job.BACKUP]
    assert [run.state.value for run in reversed(attempts)] == ["failed", "succeeded"]


def test_restic_exporter_35_56_scraping_asks_no_vault(failing: Failing) -> None:
    """Polling cost €10 a day of egress, and a scrape 17 minutes; here the figures come from the ledger alone: the
    vaults were gone when they were taken."""
    assert not (failing.operator.folder / "primary").exists()
    (good,) = samples(failing.metrics, "last_good_timestamp_seconds", policy="files", job="replicate")
    assert good > START.timestamp()
    assert samples(failing.metrics, "build_info", version="test") == [1.0]


def test_restic_exporter_11_what_is_no_longer_a_policy_is_no_longer_a_metric(failing: Failing) -> None:
    """An alert fired for archived snapshots; here a policy that left the settings leaves the metrics."""
    assert samples(failing.metrics, "last_run_state", policy="broken")
    assert not samples(failing.metrics_after, "last_run_state", policy="broken")
    assert samples(failing.metrics_after, "last_run_state", policy="files")


def test_restic_exporter_34_the_series_of_what_never_ran_is_there_too(failing: Failing) -> None:
    """Series were incomplete; here a line that is due has its series from the first scrape on, with 0 for never."""
    assert samples(failing.metrics, "last_good_timestamp_seconds", policy="broken", job="retention") == [0.0, 0.0]


def test_kopia_3338_a_policy_that_vanishes_is_on_record(failing: Failing) -> None:
    """Policies vanished and snapshots stopped; here every line keeps its end, and the edit is told."""
    with_end = [line for line in lines_in_ledger(failing.operator) if line.policy == "broken"]
    assert len(with_end) == 4
    assert all(line.until is not None for line in with_end)
    (gone,) = told_of(failing.operator, Topic.POLICIES_REMOVED)
    assert "broken" in gone
    assert SEVERITIES[Topic.POLICIES_REMOVED] is Severity.WARNING  # so that it is told unless somebody says otherwise


# --- single complaints ----------------------------------------------------------------------------------------------


def lines_in_ledger(made: Operator) -> tuple[Line, ...]:
    with opened(made) as ledger:
        return ledger.lines()


def test_backrest_2f46c617_retention_without_a_schedule_of_its_own_comes_after_each_backup(
    tmp_path: Path, restic_program: Path
) -> None:
    """A plan's retention was skipped in silence where the repository's own schedule was off; here a policy that says
    what to keep has a line for it at each site, after the backup, whatever else is never due."""
    made = Operator(folder=tmp_path, restic=restic_program, settings=HOURLY)
    (policy,) = policies(made)
    assert policy.timetable.check is None
    due = [line for line in lines_of(policy, START) if line.job is Job.RETENTION]
    assert [(line.vault, line.schedule.text, line.after) for line in due] == [
        ("primary", "every 1h", Job.REPLICATE),
        ("secondary", "every 1h", Job.REPLICATE),
    ]


def test_autorestic_400_a_command_that_failed_does_not_end_with_0(tmp_path: Path, restic_program: Path) -> None:
    """From cron the exit code was 0 whatever had failed (runrestic's was, too); here a job that failed ends with 4,
    also when others of the same command went well."""
    alone = TROUBLED.replace("READY", "").replace('replicate = {{ to = "secondary" }}\n', "")
    made = operator(tmp_path, restic_program, alone)
    ended = made.tandem("run", "files", "broken")
    assert ended.code == 4
    assert "nowhere" in ended.err + ended.out
    assert len(made.snapshots("primary")) == 1


def test_bareos_1774_restic_that_says_it_went_well_and_stored_nothing_has_failed(
    tmp_path: Path, restic_program: Path
) -> None:
    """The job's status was good while its log said Error; here a backup counts when the vault lists its snapshots."""
    made = operator(tmp_path, restic_program)
    summary = json.dumps({"message_type": "summary", "snapshot_id": "0123abcd"})
    hooked(made, " backup --json --host", before=f"echo '{summary}'; exit 0")
    told = refused(made, "backup", "files")
    assert told.kind is FailureKind.SNAPSHOT_MISSING
    assert "0123abcd" in told.message
    assert made.snapshots("primary") == []


def test_runrestic_41_a_restic_that_dies_unexpectedly_ends_the_run(tmp_path: Path, restic_program: Path) -> None:
    """The tool hung for ever when restic exited unexpectedly; here the run ends, as killed, and says so."""
    made = operator(tmp_path, restic_program)
    hooked(made, " backup ", before="kill -9 $$")
    told = refused(made, "backup", "files")
    assert told.kind is FailureKind.KILLED


def test_borgmatic_1256_what_restic_complained_of_reaches_the_reader(tmp_path: Path, restic_program: Path) -> None:
    """Error output was swallowed; here restic's own last words are in the failure."""
    made = operator(tmp_path, restic_program)
    hooked(made, " backup ", before='echo "Fatal: the flux is 4711 too low" >&2; exit 1')
    assert "the flux is 4711 too low" in refused(made, "backup", "files").message


def test_npbackup_97_noise_between_restics_messages_is_no_failure(tmp_path: Path, restic_program: Path) -> None:
    """Lines that were no JSON broke the reading of restic's output; here they are passed over."""
    made = operator(tmp_path, restic_program)
    hooked(made, " backup ", before='echo "warning: this is {{ no JSON"; echo "[]"; echo "null"'.replace("{{", "{"))
    assert made.tandem("backup", "files").code == 0
    assert len(made.snapshots("primary")) == 1


def test_zrepl_765_one_verb_answers_nagios(locked_out: LockedOut) -> None:
    """A check for Nagios was asked for and never merged; here `status --nagios` has its form: a line of judgement, a
    line for each check, the worst first."""
    head, *lines = locked_out.nagios.out.splitlines()
    assert head.startswith("TANDEM CRITICAL - ")
    levels = [line.partition(" ")[0] for line in lines]
    assert levels == sorted(levels, key=["CRITICAL", "WARNING", "OK"].index)

"""What peers kept silent about: retention that was skipped, locks that refused, failures that looked like success.

One night with a lock in the way and one with a policy that fails are passed by a real `serve`; each test looks at what
was left of them: slots, messages, metrics, exit codes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.agenda import lines_of
from jobs.event import Topic
from jobs.history import Job
from jobs.slot import SlotState
from tests.acceptance.faults import hooked, runs
from tests.acceptance.operator import Ended, Operator
from tests.peers.unattended import (
    ALONE,
    HOUR,
    HOURLY,
    START,
    JumpingClock,
    all_slots,
    operator,
    policies,
    rests,
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
    + 'source = {{ command = ["sh", "-c", "test -e ready && echo content"], filename = "dump" }}\n'
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
            with served(made, clock) as serving:  # what lasts is looked for at the start, and then once a minute
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
    """A scheduled forget was skipped and hidden from the log; here each due moment is a row, and the reason is on it."""
    before = [slot for slot in reversed(all_slots(locked_out.operator)) if slot.job is Job.RETENTION]
    assert [slot.state for slot in before] == [SlotState.SUCCEEDED, *[SlotState.BLOCKED] * 3, SlotState.SUCCEEDED]
    assert all(slot.why is not None and "repository-locked" in slot.why.text for slot in before[1:4])
    assert locked_out.blocked.code == 0
    assert locked_out.blocked.out.count("blocked") >= 2
    assert "locked" in locked_out.blocked.out


def test_resticprofile_237_a_lock_that_refuses_is_told_like_any_failure(locked_out: LockedOut) -> None:
    """A lock failed before any hook could fire; here whoever is to be told of trouble is told of this one."""
    assert any("retention files" in each and "locked" in each for each in locked_out.letters)


def test_autorestic_387_retention_dead_for_long_while_backups_are_green_is_critical(locked_out: LockedOut) -> None:
    """Prune was dead for weeks while the health check was green; here the outside watcher is told CRITICAL."""
    assert states(locked_out.operator, "backup") == ["succeeded"] * 5
    assert locked_out.nagios.code == 2
    line = next(each for each in locked_out.nagios.out.splitlines() if "retention-dead" in each)
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
    everything: list[str]
    metrics: str
    metrics_after: str


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory, restic_program: Path) -> Iterator[Failing]:
    """One hour of three policies; then the vaults are away, and then `broken` is taken out of the settings."""
    with webhook() as fails, webhook() as all_of_it:
        made = operator(
            tmp_path_factory.mktemp("failing"),
            restic_program,
            TROUBLED,
            serve=LISTENS,
            notify_fails=channel(fails, "failed"),
            notify_all=channel(all_of_it, "failed", "blocked", "succeeded", "recovered"),
        )
        clock = JumpingClock()
        with served(made, clock) as serving:
            serving.passes(HOUR, policies=3)
            (made.folder / "ready").touch()
            moody = f'["sh", "-c", "test -e {made.folder}/ready && echo content"]'
            assert states(made, "backup", "moody") == ["due"]
            clock.jump(timedelta(minutes=2))
            serving.comes(lambda: states(made, policy="moody") == ["succeeded"] * 4)
            serving.comes(lambda: len(letters(fails)) and any("moody" in each for each in letters(all_of_it)))
            for vault in ("primary", "secondary"):
                (made.folder / vault).rename(made.folder / f"{vault}-away")
            metrics = serving.metrics()
            made.write_settings(made.settings.replace('paths = ["nowhere"]', 'paths = ["source"]').replace("broken", "new"))
            serving.reload.set()
            serving.comes(lambda: serving.has_said("settings-reloaded"))
            metrics_after = serving.metrics()
        assert moody
        yield Failing(made, letters(fails), letters(all_of_it), metrics, metrics_after)

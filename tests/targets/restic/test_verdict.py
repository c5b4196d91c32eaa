"""Every failure that was ever provoked, in three versions of restic: recorded words in, kind of failure out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.failure import FailureKind
from jobs.history import Usage
from targets.ports import Access, RepositoryAddress
from targets.process import Ended, Ending, Limits
from targets.restic.argv import Command
from targets.restic.complaints import COMPLAINTS, complaint
from targets.restic.listening import Listening
from targets.restic.messages import CheckSummary
from targets.restic.verdict import WORDS_LIMIT, Verdict, findings, is_finding, judge, redact, stops_a_restore
from targets.restic.versions import Version
from targets.secret import Secret
from tests.targets.restic.recorded import VERSIONS, Recorded, recorded

KIND = FailureKind
LIMITS: Final = Limits(deadline_seconds=3600, no_progress_seconds=60, memory=3 << 19)

# name → (command, failure). Where restic would have gone on trying for minutes, the recording was cut short.
FAILURES: Final = {
    "forget-locked": (Command.FORGET, KIND.REPOSITORY_LOCKED),
    "check-locked": (Command.CHECK, KIND.REPOSITORY_LOCKED),
    "check-wrong-password": (Command.CHECK, KIND.WRONG_PASSWORD),
    "copy-wrong-password": (Command.COPY, KIND.WRONG_PASSWORD),
    "copy-source-missing": (Command.COPY, KIND.REPOSITORY_MISSING),
    "init-exists": (Command.INIT, KIND.REPOSITORY_FOREIGN),
    "restore-absent": (Command.RESTORE, KIND.SNAPSHOT_MISSING),
    "dump-absent": (Command.DUMP, KIND.SNAPSHOT_MISSING),
    "dump-missing": (Command.DUMP, KIND.NOTHING_MATCHES),
    "dump-flipped-bit": (Command.DUMP, KIND.REPOSITORY_DAMAGED),
    "copy-flipped-bit": (Command.COPY, KIND.REPOSITORY_DAMAGED),
    "snapshots-flipped-config": (Command.SNAPSHOTS, KIND.REPOSITORY_DAMAGED),
    "backup-all-missing": (Command.BACKUP, KIND.SOURCE_MISSING),
    "backup-disk-full": (Command.BACKUP, KIND.DISK_FULL),
    "copy-disk-full": (Command.COPY, KIND.DISK_FULL),
    "rest-refused": (Command.SNAPSHOTS, KIND.VAULT_UNREACHABLE),
    "rest-refused-init": (Command.INIT, KIND.VAULT_UNREACHABLE),
    "rest-missing": (Command.SNAPSHOTS, KIND.REPOSITORY_MISSING),
    "s3-refused": (Command.SNAPSHOTS, KIND.VAULT_UNREACHABLE),
    "s3-missing": (Command.SNAPSHOTS, KIND.REPOSITORY_MISSING),
    "s3-no-bucket": (Command.SNAPSHOTS, KIND.BUCKET_MISSING),
    "s3-wrong-secret": (Command.SNAPSHOTS, KIND.ACCESS_DENIED),
    "s3-wrong-key": (Command.INIT, KIND.ACCESS_DENIED),
    "sftp-missing": (Command.SNAPSHOTS, KIND.REPOSITORY_MISSING),
    "sftp-refused": (Command.SNAPSHOTS, KIND.VAULT_UNREACHABLE),
    "sftp-host-unknown": (Command.SNAPSHOTS, KIND.HOST_KEY_UNKNOWN),
    "sftp-host-changed": (Command.SNAPSHOTS, KIND.HOST_KEY_CHANGED),
    "sftp-key-refused": (Command.SNAPSHOTS, KIND.ACCESS_DENIED),
    "backup-locks-refused": (Command.BACKUP, KIND.ACCESS_DENIED),
}
SUCCESSES: Final = {
    "init": Command.INIT,
    "backup1": Command.BACKUP,
    "backup-one-missing": Command.BACKUP,
    "backup-unreadable": Command.BACKUP,
    "snapshots": Command.SNAPSHOTS,
    "copy": Command.COPY,
    "copy-again": Command.COPY,
    "restore": Command.RESTORE,
    "forget-absent": Command.FORGET,
    "check-sound": Command.CHECK,
}
DAMAGES: Final = (
    *("check-flipped-bit", "check-pack-gone", "check-pack-cut", "check-flipped-index", "check-flipped-snapshot"),
    *("check-flipped-config", "check-flipped-key"),
)


def ending(call: Recorded) -> Ending:
    """A recording that tells of retries was cut short, as the adapter would have done."""
    return Ending.GIVEN_UP if b"retrying after" in call.errors else Ending.BY_ITSELF


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_known_by_its_words(name: str, version: Version) -> None:
    command, kind = FAILURES[name]
    call = recorded(version)[name]
    verdict = judge(command, call.ended(ending(call)), version, LIMITS)
    assert verdict.failure is kind
    assert verdict.words
    assert "\n" not in verdict.words
    assert "goexit" not in verdict.words
    assert not verdict.words.startswith(("Fatal", "subprocess"))


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize("name", SUCCESSES)
def test_a_success_is_one(name: str, version: Version) -> None:
    call = recorded(version)[name]
    verdict = judge(SUCCESSES[name], call.ended(), version, LIMITS)
    assert verdict.failure is None
    assert verdict.partial == (call.code == 3)


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_the_message_names_who_holds_the_lock(version: Version) -> None:
    words = judge(Command.CHECK, recorded(version)["check-locked"].ended(), version, LIMITS).words
    assert "locked by PID" in words
    assert "on vm by root" in words
    assert "lock was created at" in words


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_forget_that_was_refused_is_known_by_its_words(version: Version) -> None:
    """0.18 exits 0 all the same: there the listing afterwards must show it."""
    call = recorded(version)["forget-append-only"]
    verdict = judge(Command.FORGET, call.ended(ending(call)), version, LIMITS)
    assert verdict.failure is (None if version[:2] == (0, 18) else KIND.NOT_REMOVED)
    assert "403" in verdict.words


def heard(call: Recorded) -> Listening:
    listening = Listening()
    for line in call.output.splitlines():
        listening.hear(line)
    for line in call.errors.splitlines():
        listening.hear_error(line)
    return listening


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_a_finding_and_no_failure(name: str, version: Version) -> None:
    call = recorded(version)[name]
    said = heard(call).said
    verdict = judge(Command.CHECK, call.ended(), version, LIMITS)
    assert is_finding(verdict, said)
    found = findings(said)
    assert found
    assert not [line for line in found if "repair" in line or "contains errors" in line]


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize("name", ["check-locked", "check-wrong-password", "rest-refused", "s3-wrong-secret"])
def test_what_keeps_a_check_from_looking_is_no_finding(name: str, version: Version) -> None:
    call = recorded(version)[name]
    assert not is_finding(judge(Command.CHECK, call.ended(), version, LIMITS), heard(call).said)


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_what_could_not_be_read_is_named(version: Version) -> None:
    unread = {error.item for error in heard(recorded(version)["backup-unreadable"]).errors if error.during != "scan"}
    assert unread == {"/srv/src2/locked", "/srv/src2/sec ret"}
    missing = heard(recorded(version)["backup-one-missing"]).errors
    assert [error.item for error in missing] == ["/nonexistent/a b"]


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_full_disk_stops_a_restore_but_damage_concerns_one_file(version: Version) -> None:
    full = stops_a_restore(error.message for error in heard(recorded(version)["restore-disk-full"]).errors)
    assert full is not None
    assert full.kind is KIND.DISK_FULL
    damaged = heard(recorded(version)["restore-flipped-bit"]).errors
    assert [error.item for error in damaged] == ["/srv/big"]
    assert stops_a_restore(error.message for error in damaged) is None


def test_a_conclusion_alone_is_a_finding() -> None:
    assert is_finding(Verdict(failure=KIND.REPOSITORY_DAMAGED), ["Fatal: repository contains errors"])


def test_a_check_counts_what_it_found_where_it_says_so() -> None:
    for version in VERSIONS[1:]:
        assert heard(recorded(version)["check-flipped-bit"]).summary == CheckSummary(errors=1)
        assert heard(recorded(version)["check-sound"]).summary == CheckSummary(errors=0)


def ended(code: int, *, how: Ending = Ending.BY_ITSELF, errors: str = "") -> Ended:
    return Ended(code=code, ending=how, errors=errors.encode(), usage=Usage())


def cases() -> Iterator[tuple[Ended, FailureKind, str]]:
    refused = "Stat(<config/>) returned error, retrying after 1s: dial tcp: connect: connection refused"
    yield ended(130, how=Ending.CANCELLED, errors=refused), KIND.CANCELLED, "cancelled"
    yield ended(1, how=Ending.CANCELLED, errors="Fatal: unable to save snapshot: context canceled"), KIND.CANCELLED, ""
    yield ended(130, how=Ending.DEADLINE), KIND.DEADLINE, "3600 s"
    yield ended(130, how=Ending.NO_PROGRESS), KIND.NO_PROGRESS, "60 s"
    yield ended(130, how=Ending.NO_PROGRESS, errors=refused), KIND.VAULT_UNREACHABLE, "60 s"
    yield ended(130, how=Ending.GIVEN_UP, errors=refused), KIND.VAULT_UNREACHABLE, "connection refused"
    yield ended(130, how=Ending.MEMORY), KIND.KILLED, "more than 1572864 bytes of memory"
    yield ended(-9), KIND.KILLED, "SIGKILL"
    yield ended(-40), KIND.KILLED, "40"
    yield ended(130, errors="signal interrupt received, cleaning up"), KIND.KILLED, "130"
    yield ended(77, errors="Fatal: from the future"), KIND.TOOL_FAILED, "from the future"
    yield ended(1), KIND.TOOL_FAILED, "exit status 1"
    echo = "signal interrupt received, cleaning up\nFatal: unable to save snapshot: context canceled"
    yield ended(1, errors=echo), KIND.KILLED, "signal interrupt"
    yield ended(1, errors=f"disk on fire\n{echo.splitlines()[1]}"), KIND.TOOL_FAILED, "disk on fire"
    yield ended(0, errors="", how=Ending.CANCELLED), KIND.CANCELLED, ""


@pytest.mark.parametrize(("how", "kind", "words"), list(cases()))
def test_an_end_that_was_not_restics_own(how: Ended, kind: FailureKind, words: str) -> None:
    verdict = judge(Command.BACKUP, how, VERSIONS[0], LIMITS)
    assert verdict.failure is kind
    assert words in verdict.words


def test_a_cancel_that_came_too_late_is_passed_over_when_asked() -> None:
    late = ended(0, how=Ending.CANCELLED)
    assert judge(Command.BACKUP, late, VERSIONS[0], LIMITS, interrupted=False) == Verdict()


@given(st.text())
def test_any_words_have_a_meaning(text: str) -> None:
    found = complaint(text)
    assert found.kind is None or found.kind in {kind for kind, _ in COMPLAINTS}
    assert "\n" not in found.words


def access(url: str) -> Access:
    return Access(
        address=RepositoryAddress(
            label="tenant@vault",
            url=Secret(url),
            environment={"AWS_SECRET_ACCESS_KEY": Secret("wJalrXUtnFEMI"), "AWS_DEFAULT_REGION": Secret("us-east-1")},
        ),
        password=Secret("hunter2"),
    )


def test_no_secret_is_told_on() -> None:
    words = "rest:https://bob:p%40ss@host/x said p@ss and hunter2 and wJalrXUtnFEMI in us-east-1"
    told = redact(words, [access("rest:https://bob:p%40ss@host/x")])
    assert told == "rest:https://bob:…@host/x said … and … and … in us-east-1"


@pytest.mark.parametrize("url", ["/srv/repository", "sftp:host:/path", "s3:http://host/bucket", "rest:http://[bad", ""])
def test_a_url_without_a_password_is_left_alone(url: str) -> None:
    assert redact(f"stat {url}: no such file", [access(url)]) == f"stat {url}: no such file"


def test_words_are_of_bearable_length() -> None:
    assert len(redact("x" * 10_000, [])) < WORDS_LIMIT + 10

"""What restic is asked, and what it is let see: pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.ports import Access, BackupRequest, RepositoryAddress
from targets.restic import argv
from targets.restic.environment import environment, secrets
from targets.secret import Secret

NOON = datetime(2026, 11, 2, 12, 30, 15, 987654, tzinfo=UTC)


def address(label: str = "t@v", **more: object) -> RepositoryAddress:
    return RepositoryAddress(label=label, url=Secret(f"/srv/{label}"), **more)  # type: ignore[arg-type]  # its fields


def access(label: str = "t@v", **more: object) -> Access:
    return Access(address=address(label, **more), password=Secret(f"password of {label}"))


def request(*paths: str, **more: object) -> BackupRequest:
    return BackupRequest(paths=paths, tags=("tandem", "run=1"), host="h", time=NOON, **more)  # type: ignore[arg-type]  # its fields


def test_a_backup() -> None:
    asked = argv.backup(request("/srv/a", "-odd", exclude=("*.tmp", "--help"), one_file_system=True))
    assert asked == (
        *("backup", "--json", "--host=h", "--time=2026-11-02 12:30:15"),
        *("--tag=tandem", "--tag=run=1", "--exclude=*.tmp", "--exclude=--help", "--one-file-system"),
        *("--", "/srv/a", "-odd"),
    )


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_value_can_pass_for_an_option(path: str, pattern: str) -> None:
    asked = argv.backup(request(path, exclude=(pattern,)))
    assert asked[asked.index("--") :] == ("--", path)
    assert f"--exclude={pattern}" in asked


def test_a_time_goes_to_utc_and_a_time_without_a_zone_nowhere() -> None:
    assert argv.local_time(NOON.astimezone(timezone(timedelta(hours=-5, minutes=-45)))) == "2026-11-02 12:30:15"
    with pytest.raises(ValueError, match="no zone"):
        argv.local_time(NOON.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("share", "option"),
    [
        ("none", ()),
        ("100%", ("--read-data",)),
        ("1/4", ("--read-data-subset=1/4",)),
        ("9M", ("--read-data-subset=9M",)),
    ],
)
def test_a_check(share: str, option: tuple[str, ...]) -> None:
    assert argv.check(share) == ("check", "--json", *option)


def test_the_others() -> None:
    assert argv.init(like_another=False) == ("init", "--json")
    assert argv.init(like_another=True) == ("init", "--json", "--copy-chunker-params")
    assert argv.snapshots(("a", "b=c")) == ("snapshots", "--json", "--no-lock", "--tag=a,b=c")
    assert argv.snapshots(()) == ("snapshots", "--json", "--no-lock")
    assert argv.restore("abc", Path("/r"), ("*.c",)) == (
        *("restore", "--json", "--target=/r", "--include=*.c"), *("--", "abc")
    )  # fmt: skip
    assert argv.dump("abc", "/f") == ("dump", "--", "abc", "/f")
    assert argv.forget(("abc",), prune=True) == ("forget", "--json", "--prune", "--", "abc")
    assert argv.copy(("abc",)) == ("copy", "--json", "--", "abc")
    assert argv.backup_stdin("m", ("x",), "h")[:3] == ("backup", "--json", "--stdin")


def test_nothing_named_is_never_everything() -> None:
    with pytest.raises(ValueError, match="was named"):
        argv.copy(())
    with pytest.raises(ValueError, match="was named"):
        argv.forget((), prune=False)
    with pytest.raises(ValueError, match="at least one path"):
        argv.backup(request())


def test_limits_are_in_kibibytes_and_the_strictest_of_both() -> None:
    slow, slower = address(limit_upload=20 << 20, limit_download=500), address(limit_upload=10 << 20)
    assert argv.options([slow, slower]) == ("--limit-upload=10240", "--limit-download=1")
    assert argv.options([address()]) == ()


def test_options_of_two_repositories_are_joined_and_may_not_contradict() -> None:
    path_style, dns_style = address(options=("s3.bucket-lookup=path",)), address(options=("s3.bucket-lookup=dns",))
    assert argv.options([path_style, path_style, address()]) == ("--option=s3.bucket-lookup=path",)
    with pytest.raises(ValueError, match=r"s3\.bucket-lookup"):
        argv.options([path_style, dns_style])


def test_the_environment_is_explicit() -> None:
    ours = {"PATH": "/usr/bin", "HOME": "/root", "AWS_PROFILE": "mine", "TMPDIR": "/big", "RESTIC_PASSWORD": "no"}
    of = access(environment={"AWS_ACCESS_KEY_ID": Secret("key")}, path_first=(Path("/vault/bin"),))
    assert environment(ours, Path("/cache"), (of, of)) == {
        "PATH": "/vault/bin:/usr/bin",
        "HOME": "/cache",
        "RESTIC_CACHE_DIR": "/cache",
        "RESTIC_PROGRESS_FPS": "2",
        "TMPDIR": "/big",
        "LANG": "C",
        "TZ": "UTC",
        "AWS_ACCESS_KEY_ID": Secret("key"),
    }


def test_the_memory_to_do_with_is_told_in_bytes() -> None:
    assert environment({}, Path("/cache"), (), memory=128 << 20)["GOMEMLIMIT"] == "134217728B"
    assert "GOMEMLIMIT" not in environment({"GOMEMLIMIT": "1"}, Path("/cache"), ())


def test_variables_may_not_contradict_and_the_error_names_no_value() -> None:
    first, second = (access(environment={"AWS_ACCESS_KEY_ID": Secret(key)}) for key in ("key-one", "key-two"))
    with pytest.raises(ValueError, match="AWS_ACCESS_KEY_ID") as caught:
        environment({}, Path("/cache"), (first, second))
    assert "key-" not in str(caught.value)


def test_passwords_and_addresses_go_through_files() -> None:
    assert {name: value.reveal() for name, value in secrets(access("a"), access("b")).items()} == {
        "RESTIC_REPOSITORY_FILE": "/srv/a",
        "RESTIC_PASSWORD_FILE": "password of a",
        "RESTIC_FROM_REPOSITORY_FILE": "/srv/b",
        "RESTIC_FROM_PASSWORD_FILE": "password of b",
    }
    assert len(secrets(access("a"))) == 2

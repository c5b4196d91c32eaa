"""Every sample in valid/ loads, and what holds in the end is what is kept beside it, with where it came from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import ValidationError

from jobs.dispatch import Concurrency
from jobs.event import Topic
from jobs.policy import Command, Own, Paths, Sqlite, TenantName, Timetable
from jobs.schedule import Schedule
from jobs.window import Window
from orchestrator.settings import (
    Channel,
    LocalVaultSettings,
    RestVaultSettings,
    S3VaultSettings,
    Serve,
    Settings,
    SftpVaultSettings,
    load,
    schema,
    show,
)
from orchestrator.settings.documents import read
from orchestrator.settings.load import examine
from orchestrator.settings.secrets import SecretCommand, SecretEnvironment, SecretFile
from tests.orchestrator.settings.conftest import HERE
from tests.orchestrator.settings.golden import holds

NAMES: Final = sorted(path.stem for path in (HERE / "valid").glob("*.toml"))


@pytest.fixture
def everything(samples: Path) -> Settings:
    return load(samples / "valid" / "everything.toml")


@pytest.mark.parametrize("name", NAMES)
def test_shows_what_holds_and_whence(name: str, samples: Path) -> None:
    rows = show(samples / "valid" / f"{name}.toml")
    text = "\n".join(f"{row.key} = {row.value}  # {row.origin}" for row in rows)
    assert holds(HERE / "valid" / f"{name}.txt", text, samples / "valid")
    assert load(samples / "valid" / f"{name}.toml").file == samples / "valid" / f"{name}.toml"


def test_everything_says_every_key_there_is(samples: Path) -> None:
    """A key that the sample lacks would be a key that no test looks at."""
    said = set(_steps(read(samples / "valid" / "everything.toml").tree))
    whole = schema()
    known = {name for table in (whole, *whole["$defs"].values()) for name in table.get("properties", {})}
    assert known - said == set()


def _steps(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        yield from node
        for below in node.values():
            yield from _steps(below)


def test_service_and_limits(everything: Settings, samples: Path) -> None:
    service = everything.service
    assert (service.name, service.zone.key, service.language) == ("Example operator", "Africa/Douala", "en")
    assert service.state == SecretEnvironment(variable="TANDEM_STATE")
    assert (service.workdir, service.host) == (samples / "valid" / "var" / "work", "backup-1")
    assert service.restic == f"{samples}/valid/bin/restic"
    assert everything.limits.deadline == timedelta(days=2)
    assert everything.limits.no_progress == timedelta(seconds=90)
    assert everything.limits.concurrency == Concurrency(runs=4, per_site=3, per_vault=2, per_host=1)
    assert (everything.limits.memory, everything.limits.gentle) == (512 << 20, True)


def test_tenants_and_sites(everything: Settings, samples: Path) -> None:
    assert {name: site.title for name, site in everything.sites.items()} == {
        "primary": "Primary data center",
        "secondary": "Secondary data center",
    }
    passwords = {str(name): tenant.password for name, tenant in everything.tenants.items()}
    assert passwords == {
        "minfopra": SecretFile(path=samples / "valid" / "secrets" / "minfopra.key"),
        "hospital": SecretCommand(command=(f"{samples}/valid/bin/show", "hospital")),
    }


def test_vaults(everything: Settings, samples: Path) -> None:
    folder = samples / "valid"
    local, sftp, s3, rest = everything.vaults.values()
    assert isinstance(local, LocalVaultSettings)
    assert (local.path, local.limit_upload, local.limit_download) == (folder / "var" / "primary", 20 << 20, 1 << 30)
    assert (local.limit_between, sftp.limit_between) == (Window("07:00-19:00"), None)
    assert isinstance(sftp, SftpVaultSettings)
    assert (sftp.host, sftp.port, sftp.user, sftp.path) == ("2001:db8::1", 2222, "tandem", "repositories")
    assert sftp.identity == folder / "secrets" / "minfopra.key"
    assert sftp.known_hosts == folder / "secrets" / "known_hosts"
    assert (sftp.limit_upload, sftp.limit_download) == (None, None)
    assert isinstance(s3, S3VaultSettings)
    assert (s3.endpoint, s3.bucket, s3.prefix, s3.region) == (
        "https://s3.example",
        "tandem.backups",
        "a/b",
        "eu-west-3",
    )
    assert s3.credentials == SecretEnvironment(variable="TANDEM_S3")
    assert isinstance(rest, RestVaultSettings)
    assert rest.url == "https://backup.example:8000/tandem"
    assert rest.ca == folder / "secrets" / "known_hosts"


def test_policies(everything: Settings, samples: Path) -> None:
    files, register, inventory, _ = everything.policies
    assert files.source == Paths(
        paths=(f"{samples}/valid/files", "/srv/more"), exclude=("*.tmp", "!keep.tmp"), one_file_system=True
    )
    assert (files.tenant, files.places) == ("minfopra", (("primary", "primary"), ("secondary", "far")))
    assert files.read_data == "1/256"
    assert files.objectives.restore_test_age == timedelta(days=30)
    assert files.objectives.check_age == timedelta(weeks=2)
    assert register.source == Sqlite(path=f"{samples}/valid/register.db")
    assert (register.tenant, register.places) == ("hospital", (("secondary", "cloud"), ("primary", "primary")))
    assert register.read_data == "500M"
    assert inventory.source == Command(
        command=(f"{samples}/valid/scripts/inventory", "./not-a-program"), filename="inventory.txt"
    )
    assert inventory.retention is not None
    assert (inventory.retention.minimum, inventory.retention.yearly, inventory.retention.daily) == (1, 0, 3)
    assert (inventory.objectives.rpo, inventory.objectives.rto) == (timedelta(hours=4), timedelta(hours=4))


def test_when_each_job_is_due(everything: Settings) -> None:
    files, register, inventory, tandem = everything.policies
    after, sunday = Schedule("after backup"), Schedule("weekly on sun at 03:00")
    nightly = Timetable(
        backup=Schedule("daily at 01:30"),
        replicate=after,
        audit=Schedule("every 7d"),
        check=sunday,
        restore_test=after,
        retention=after,
    )
    assert files.timetable == replace(nightly, retention=Schedule("monthly on 1 at 04:00"))
    assert register.timetable == replace(
        nightly, backup=Schedule("cron 30 1 * * mon-fri"), replicate=Schedule("every 4h")
    )
    assert inventory.timetable == tandem.timetable == nightly
    assert (files.zone, files.splay, files.catch_up) == ("Europe/Paris", timedelta(minutes=10), timedelta(hours=2))
    assert (register.zone, register.splay, register.catch_up) == ("Africa/Douala", timedelta(0), None)
    assert {policy.window for policy in everything.policies} == {Window("20:00-06:00")}
    assert tandem.source == Own()


def test_nothing_is_due_by_itself_unless_it_is_said(samples: Path) -> None:
    (policy,) = load(samples / "valid" / "spellings.toml").policies[:1]
    assert (policy.timetable, policy.window, policy.splay) == (Timetable(), None, timedelta(0))


def test_serve(everything: Settings, samples: Path) -> None:
    assert everything.serve == Serve(
        listen=("::1", 9377),
        textfile=samples / "valid" / "var" / "tandem.prom",
        dead_man=SecretCommand(command=(f"{samples}/valid/bin/show", "dead-man")),
        dead_man_every=timedelta(minutes=10),
        log="json",
        shutdown_grace=timedelta(minutes=2),
    )
    assert load(samples / "valid" / "smallest.toml").serve == Serve()


def test_channels(everything: Settings, samples: Path) -> None:
    operators, everybody = everything.notify
    assert operators == Channel(
        name="operators",
        urls=(
            "json://127.0.0.1:8080/tandem",
            SecretEnvironment(variable="TANDEM_NOTIFY"),
            SecretFile(path=samples / "valid" / "secrets" / "minfopra.key"),
        ),
        on=frozenset({Topic.FAILED, Topic.MISSED, Topic.TEST}),
        tenants=frozenset({TenantName("minfopra"), TenantName("hospital")}),
        repeat=timedelta(hours=12),
        digest=Schedule("daily at 07:30"),
    )
    assert (everybody.tenants, everybody.repeat, everybody.digest) == (None, timedelta(days=1), None)
    assert everybody.on > {Topic.FAILED, Topic.DAMAGE_FOUND, Topic.DELIVERY_FAILED}
    assert not everybody.on & {Topic.SUCCEEDED, Topic.COALESCED, Topic.TEST}


@pytest.mark.parametrize(
    ("listen", "wanted"),
    [
        ("127.0.0.1:9377", ("127.0.0.1", 9377)),
        ("localhost:0", ("localhost", 0)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),  # noqa: S104 (nobody listens)
        ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
    ],
)
def test_where_serve_may_listen(listen: str, wanted: tuple[str, int], tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(f'service.name = "A"\nserve.listen = "{listen}"\n', encoding="utf-8")
    assert load(path).serve.listen == wanted


def test_the_ledger_stands_below_the_settings(samples: Path) -> None:
    settings = load(samples / "valid" / "smallest.toml")
    assert settings.service.state == f"sqlite:///{samples}/valid/var/tandem.db"
    assert settings.service.workdir == samples / "valid" / "var"
    assert settings.service.zone.key == "UTC"
    assert settings.service.restic == "restic"


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        ("sqlite:////var/lib/tandem.db", "sqlite:////var/lib/tandem.db"),
        ("sqlite:///../x/tandem.db", "sqlite:///{parent}/x/tandem.db"),
        ("postgresql+psycopg://tandem@db.example/tandem", "postgresql+psycopg://tandem@db.example/tandem"),
    ],
)
def test_ledgers(state: str, wanted: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(f'service = {{ name = "A", state = {json.dumps(state)} }}', encoding="utf-8")
    assert load(path).service.state == wanted.format(parent=tmp_path.parent)


def test_paths_are_relative_to_the_file_they_stand_in(samples: Path) -> None:
    settings = load(samples / "valid" / "spread.toml")
    (vault,) = settings.vaults.values()
    assert isinstance(vault, LocalVaultSettings)
    assert vault.path == samples / "valid" / "spread.d" / "vault"
    first, second = settings.policies
    assert first.source == Paths(paths=(f"{samples}/valid/spread.d/first", "/absolute"))
    assert second.source == Paths(paths=(f"{samples}/valid/spread.d/second",))
    assert settings.service.workdir == samples / "valid" / "var"


def test_the_working_folder_does_not_matter(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(samples / "valid")
    assert load(Path("spread.toml")) == load(samples / "valid" / "spread.toml")


def test_settings_do_not_change(everything: Settings) -> None:
    tenants: Any = everything.tenants
    with pytest.raises(TypeError):
        tenants["other"] = None


def test_built_in_paths_are_relative_to_the_top_file(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "service.toml").write_text('service.name = "A"', encoding="utf-8")
    (tmp_path / "settings.toml").write_text('include = ["conf.d/*"]', encoding="utf-8")
    assert load(tmp_path / "settings.toml").service.workdir == tmp_path / "var"


def test_tables_do_not_change(samples: Path) -> None:
    seen = examine(samples / "valid" / "everything.toml", check_secrets=False)
    with pytest.raises(ValidationError, match="frozen"):
        seen.table.service.name = "Another"

"""A backup of Tandem itself, laid out; and what stands in the way of one that comes back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.failure import FailureKind
from jobs.history import Job, KnownRepository, Owner, RunRecord, RunState
from jobs.policy import Own, Policy, PolicyName, SiteName, TenantName, VaultName
from orchestrator import settings as settings_room
from orchestrator import wiring
from orchestrator.ledger.holders import holders
from orchestrator.ledger.ledger import Ledger
from orchestrator.work import own, restore
from orchestrator.work.reinstate import Request, acquaint, require_a_place
from targets.errors import TargetError
from targets.host import is_alive, this_process
from targets.ports import unwatched
from targets.process import Never

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TENANT, VAULT = TenantName("minfopra"), VaultName("primary")
POLICY = Policy(name=PolicyName("own"), tenant=TENANT, source=Own(), vault=VAULT, site=SiteName("primary"))


def running(owner: Owner) -> RunRecord:
    return RunRecord(
        id="20261121T120000Z-00000000",
        job=Job.BACKUP,
        tenant=TENANT,
        policy=POLICY.name,
        site=POLICY.site,
        vault=VAULT,
        settings_hash="",
        state=RunState.RUNNING,
        owner=owner,
        started_at=NOW,
    )


def opened(path: Path) -> Ledger:
    return Ledger.open(f"sqlite:///{path}", create=True, now=NOW)


@pytest.fixture
def ask(tmp_path: Path) -> Request:
    """The ledger is wanted at `tandem.db`, the settings in `back`; replacing is allowed."""
    found = restore.Request(policy=POLICY, site=POLICY.site, vault=VAULT, target=tmp_path, overwrite=True)
    return Request(found=found, ledger=tmp_path / "tandem.db", settings=tmp_path / "back")


def refusal(ask: Request) -> FailureKind | None:
    try:
        require_a_place(ask)
    except TargetError as error:
        return error.kind
    return None


def test_a_ledger_that_a_living_process_is_at_work_with_is_not_replaced(ask: Request) -> None:
    assert refusal(ask) is None
    with opened(ask.ledger) as ledger:
        assert refusal(ask) is None  # open somewhere, but nobody is at work
        ledger.claim(running(this_process()))
        assert refusal(ask) is FailureKind.BUSY
        ledger.disown()
        assert refusal(ask) is None
        ledger.take_lease(this_process(), NOW)
        assert refusal(ask) is FailureKind.BUSY


def test_the_owner_of_a_run_that_came_back_is_dead_wherever_he_was() -> None:
    elsewhere = Owner(host="another-host", boot="another/boot", pid=17, started="1")
    assert is_alive(elsewhere) is None
    assert is_alive(this_process()) is True


def test_disowned_runs_keep_telling_where_they_were(tmp_path: Path) -> None:
    with opened(tmp_path / "tandem.db") as ledger:
        ledger.claim(running(Owner(host="another-host", boot="another/boot", pid=17, started="1")))
        ledger.disown()
        (record,) = ledger.open_runs()
        assert record.owner.host == "another-host"
        assert is_alive(record.owner) is False


def test_looking_at_a_damaged_ledger_changes_no_byte_of_it(ask: Request) -> None:
    wal = ask.ledger.with_name("tandem.db-wal")
    ask.ledger.write_bytes(b"no database" * 1000)
    wal.write_bytes(b"commits that somebody may still want")
    assert holders(ask.ledger) == ()
    assert refusal(ask) is None
    assert wal.read_bytes() == b"commits that somebody may still want"
    assert ask.ledger.read_bytes() == b"no database" * 1000


def test_a_left_over_wal_alone_is_in_the_way(ask: Request, tmp_path: Path) -> None:
    (tmp_path / "tandem.db-wal").write_bytes(b"of the ledger that was lost")
    found = restore.Request(policy=POLICY, site=POLICY.site, vault=VAULT, target=tmp_path)
    assert refusal(Request(found=found, ledger=ask.ledger, settings=ask.settings)) is FailureKind.NOT_EMPTY


def test_a_repository_that_was_begun_anew_since_is_known_from_then_on(tmp_path: Path) -> None:
    def known(digit: str, vault: str = VAULT) -> KnownRepository:
        return KnownRepository(tenant=TENANT, vault=VaultName(vault), config_sha256=digit * 64, first_seen_at=NOW)

    with opened(tmp_path / "tandem.db") as ledger:
        assert acquaint(ledger, known("a"), NOW) is False  # the first backup knew none yet
        assert acquaint(ledger, known("a", "called-otherwise"), NOW) is False
        assert ledger.repositories() == (known("a"),)
        assert acquaint(ledger, known("b"), NOW) is True
        assert ledger.repositories() == (known("b"),)
        assert acquaint(ledger, None, NOW) is False


SETTINGS = """
include = ["conf.d/*.toml", "{outside}/more.toml"]
[service]
name = "Test"
state = "sqlite:///tandem.db"
restic = "{restic}"
[sites.primary]
title = "First"
[vaults.primary]
site = "primary"
kind = "local"
path = "vault"
[tenants.minfopra]
title = "Ministry"
password = {{ file = "conf.d/minfopra.toml" }}
[policies.own]
tenant = "minfopra"
vault = "primary"
source = {{ tandem = true }}
"""


def test_what_is_stored_of_tandem(tmp_path: Path, restic_program: Path) -> None:
    main, outside, staging = tmp_path / "etc/settings.toml", tmp_path / "outside", tmp_path / "staging"
    for folder in (main.parent / "conf.d", outside, staging):
        folder.mkdir(parents=True)
    main.write_text(SETTINGS.format(outside=outside, restic=restic_program))
    (main.parent / "conf.d/b.toml").write_text("# b\n")
    (main.parent / "conf.d/minfopra.toml").write_text("# a password\n")
    (main.parent / "conf.d/minfopra.toml").chmod(0o600)
    (outside / "more.toml").write_text("# more\n")
    settings = settings_room.load(main)
    with Ledger.open(wiring.ledger_url(settings), create=True, now=NOW) as ledger:
        ledger.claim(running(this_process()))
        tools = wiring.tools(settings, ledger, stop=Never(), watch=lambda _: unwatched)
        own.stage(settings.policies[0], tools, staging)
    stored = {str(path.relative_to(staging)): path for path in staging.rglob("*") if path.is_file()}
    elsewhere = f"tandem/settings/elsewhere{outside}/more.toml"
    assert set(stored) == {
        "tandem/ledger.db",
        "tandem/README.txt",
        "tandem/settings/settings.toml",
        "tandem/settings/conf.d/b.toml",
        elsewhere,
    }
    assert own.database_in(POLICY.source) == "/tandem/ledger.db"  # what a restore test opens
    assert stored["tandem/settings/settings.toml"].read_bytes() == main.read_bytes()
    assert stored[elsewhere].stat().st_mtime_ns == (outside / "more.toml").stat().st_mtime_ns
    assert "[policies.own]" in stored["tandem/README.txt"].read_text()
    with Ledger.open(f"sqlite:///{stored['tandem/ledger.db']}", create=False, now=NOW) as copy:
        assert [record.id for record in copy.open_runs()] == [running(this_process()).id]

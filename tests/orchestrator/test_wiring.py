"""What the settings say reaches the adapters: limits by the time of day, memory, gentleness."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.failure import FailureKind
from jobs.policy import VaultName
from orchestrator import wiring
from orchestrator.clock import Clock
from orchestrator.ledger.ledger import Ledger
from orchestrator.settings import Settings, load
from orchestrator.settings.secrets import SecretCommand
from orchestrator.work.tools import Tools
from targets.errors import TargetError
from targets.restic.engine import Restic

TEXT = """
service = {{ name = "A", timezone = "Africa/Douala", restic = "{restic}" }}
limits = {{ {limits} }}
sites.one.title = "One"

[vaults.always]
site = "one"
kind = "local"
path = "always"
limit = {{ upload = "1MiB/s", download = "2MiB/s" }}

[vaults.by-day]
site = "one"
kind = "local"
path = "by-day"
limit = {{ upload = "1MiB/s", download = "2MiB/s", between = "07:00-19:00" }}
"""


@pytest.fixture
def settings(tmp_path: Path, restic_program: Path, request: pytest.FixtureRequest) -> Settings:
    path = tmp_path / "settings.toml"
    limits = getattr(request, "param", "")
    path.write_text(TEXT.format(restic=restic_program, limits=limits), encoding="utf-8")
    return load(path)


def made(settings: Settings) -> Tools:
    with Ledger.open(wiring.ledger_url(settings), create=True, now=Clock().now()) as ledger:
        return wiring.tools(settings, ledger, stop=threading.Event(), watch=lambda _: lambda _: None)


@pytest.mark.parametrize(
    ("hour", "by_day"),
    [  # UTC; the wall clocks of Douala are an hour ahead
        ("05:59", (None, None)),
        ("06:00", (1 << 20, 2 << 20)),
        ("17:59", (1 << 20, 2 << 20)),
        ("18:00", (None, None)),
    ],
)
def test_a_limit_holds_at_its_times_of_the_services_day(
    hour: str, by_day: tuple[int | None, int | None], settings: Settings
) -> None:
    now = datetime.fromisoformat(f"2026-11-21T{hour}").replace(tzinfo=UTC)
    vaults = wiring.Vaults(settings, lambda: now)
    always, timed = (vaults[VaultName(name)].address("tenant") for name in ("always", "by-day"))
    assert (always.limit_upload, always.limit_download) == (1 << 20, 2 << 20)
    assert (timed.limit_upload, timed.limit_download) == by_day


def test_a_limit_begins_and_ends_while_tandem_runs(settings: Settings) -> None:
    hours = iter((12, 20, 21, 12))
    vaults = wiring.Vaults(settings, lambda: datetime(2026, 11, 21, next(hours), tzinfo=UTC))
    seen = [vaults[VaultName("by-day")] for _ in range(4)]
    assert [vault.address("tenant").limit_upload for vault in seen] == [1 << 20, None, None, 1 << 20]
    assert seen[0] is seen[3]
    assert seen[1] is seen[2]


@pytest.mark.parametrize("settings", ['memory = "1GiB", gentle = true, deadline = "1h"'], indirect=True)
def test_memory_and_gentleness_are_restics_alone(settings: Settings) -> None:
    tools = made(settings)
    assert isinstance(tools.engine, Restic)
    assert (tools.engine.memory, tools.engine.gentle) == (1 << 30, True)
    assert tools.engine.limits == replace(tools.limits, memory=3 << 29)
    assert (tools.limits.memory, tools.limits.deadline_seconds) == (None, 3600)


def test_restic_takes_what_it_needs_where_nothing_is_said(settings: Settings) -> None:
    engine = made(settings).engine
    assert isinstance(engine, Restic)
    assert (engine.memory, engine.gentle, engine.limits.memory) == (None, False, None)


def test_a_command_that_writes_no_text_has_no_secret_and_the_error_does_not_carry_it() -> None:
    reference = SecretCommand(command=("printf", r"hidden\377"))
    with pytest.raises(TargetError, match="what it wrote is not UTF-8") as refused:
        wiring.secret(reference, "the address of channel ops")
    assert refused.value.kind is FailureKind.SECRET_UNAVAILABLE
    cause: BaseException | None = refused.value
    while cause is not None:
        assert not isinstance(cause, UnicodeDecodeError)  # it holds the bytes
        cause = cause.__cause__ or cause.__context__

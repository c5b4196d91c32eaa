"""What became of a dead owner's run is found out beside everything else, and again until it is known."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.failure import FailureKind
from jobs.history import Job, KnownRepository, Owner, RunRecord, RunState
from jobs.policy import TenantName, VaultName
from jobs.slot import SlotState
from orchestrator import settings as settings_room
from orchestrator.executor import intent
from orchestrator.ledger.ledger import Ledger
from orchestrator.serve.health import Health
from orchestrator.serve.resolver import Resolver
from orchestrator.serve.voice import Voice
from orchestrator.work.tools import Tools
from reports.log import LogRecord
from targets.errors import TargetError
from targets.host import this_process
from tests.acceptance.operator import PASSWORD
from tests.orchestrator.serve.stage import ALONE, PATIENCE, START, Stage
from tests.repositories import prepare

ME = this_process()
DEAD = replace(ME, started="1")
ELSEWHERE = Owner(host="beta", boot="another/pid:[1]", pid=4711, started="99")


class Bench:
    """A stage on which a slot at each of two vaults runs in the hands of an owner, and a resolver that looks."""

    def __init__(self, folder: Path, ledger: Ledger, restic: Path, owner: Owner) -> None:
        self.stage = Stage(folder, ledger, restic, text=ALONE, names=("files", "more"))
        file = folder / "settings.toml"
        file.write_text(file.read_text().replace("[policies.more]", '[policies.more]\nvault = "secondary"'))
        self.stage.settings = settings_room.load(file)
        self.ledger, self.folder = ledger, folder
        (folder / "disks").mkdir()
        for vault in ("primary", "secondary"):
            prepare(folder / "disks" / vault / "minfopra", PASSWORD)
            (folder / vault).symlink_to(f"disks/{vault}")
        self.board = self.stage.due()
        self.runs: list[RunRecord] = []
        for start in self.stage.moves(self.board).starts:
            run = intent(start.step, self.stage.clock.now(), owner, tool="", slot=start.slot.id)
            ledger.claim(run, slot=run.slot)
            self.runs.append(run)
        assert len(self.runs) == 2
        self.said: list[LogRecord] = []
        self.crashes: list[Exception] = []
        voice = Voice(self.said.append, self.stage.clock, Health())
        self.resolver = Resolver(ledger, ME, voice, self.crashes.append)
        self.monotonic = 0.0

    def look(self, tools: Callable[[], Tools] | None = None, at_work: tuple[str, ...] = ()) -> bool:
        """A minute later, look, and again when what was asked has ended."""
        self.monotonic += 61.0
        tenants = self.stage.settings.tenants
        assert not self.resolver.look(self.monotonic, tools or self.stage.tools, tenants, at_work)
        self.resolver.wait(PATIENCE)
        return self.resolver.look(self.monotonic, tools or self.stage.tools, tenants, at_work)

    def states(self) -> dict[str, SlotState]:
        """Each policy's slot."""
        return {str(slot.policy): slot.state for slot in self.ledger.slots()}


@pytest.fixture
def bench(tmp_path: Path, restic_program: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    owner = getattr(request, "param", DEAD)
    with Ledger.open(f"sqlite:///{tmp_path / 'tandem.db'}", create=True, now=START) as ledger:
        yield Bench(tmp_path, ledger, restic_program, owner)


def remembered(bench: Bench) -> None:
    """Both repositories are on record."""
    for vault in ("primary", "secondary"):
        config = bench.folder / "disks" / vault / "minfopra" / "config"
        known = KnownRepository(
            tenant=TenantName("minfopra"),
            vault=VaultName(vault),
            config_sha256=hashlib.sha256(config.read_bytes()).hexdigest(),
            first_seen_at=START,
        )
        bench.ledger.remember(known)


def test_a_run_whose_vault_is_away_stays_open_alone_and_is_resolved_when_it_is_back(bench: Bench) -> None:
    remembered(bench)
    (bench.folder / "disks" / "primary").rename(bench.folder / "unmounted")
    assert bench.look()
    assert bench.states() == {"files": SlotState.RUNNING, "more": SlotState.DUE}
    assert [record.event for record in bench.said] == ["run-ended", "recovery"]
    assert "cannot be resolved yet" in bench.said[-1].message
    bench.board.load()
    (start,) = bench.stage.moves(bench.board).starts  # nobody else waits for it
    assert start.slot.policy == "more"
    assert bench.look()
    assert bench.states()["files"] is SlotState.RUNNING
    (bench.folder / "unmounted").rename(bench.folder / "disks" / "primary")
    assert bench.look()
    assert set(bench.states().values()) == {SlotState.DUE}
    assert bench.ledger.open_runs() == ()
    assert {run.state for run in bench.ledger.runs()} == {RunState.INTERRUPTED}
    assert bench.crashes == []


@pytest.mark.parametrize("back", ["primary", "secondary"])
def test_a_copy_stays_open_until_one_of_its_two_vaults_is_back_and_no_longer(bench: Bench, back: str) -> None:
    """Whichever it is: what a copy did hangs on neither, and nobody at the one waits for the other."""
    remembered(bench)
    copy = replace(bench.runs[0], id="a-copy", job=Job.REPLICATE, vault=VaultName("secondary"), slot=None)
    bench.ledger.claim(replace(copy, source_vault=VaultName("primary")))
    (bench.folder / "disks").rename(bench.folder / "unmounted")
    assert bench.look()
    assert "a-copy" in {run.id for run in bench.ledger.open_runs()}
    (bench.folder / "disks").mkdir()
    (bench.folder / "unmounted" / back).rename(bench.folder / "disks" / back)
    assert bench.look()
    ended = bench.ledger.run("a-copy")
    assert ended is not None
    assert ended.state is RunState.INTERRUPTED
    away = ({"primary", "secondary"} - {back}).pop()
    assert f"minfopra@{away} could not be asked, so a lock may be left there: " in ended.note
    (left,) = bench.ledger.open_runs()  # the backup whose only vault is still away
    assert left.vault == away


def test_while_a_repository_is_asked_others_are_served_and_nothing_is_asked_twice(bench: Bench) -> None:
    asked, answer, times = threading.Event(), threading.Event(), list[int]()

    def slow() -> Tools:
        times.append(1)
        asked.set()
        assert answer.wait(PATIENCE)
        return bench.stage.tools()

    tenants = bench.stage.settings.tenants
    for second in range(0, 300, 50):
        assert not bench.resolver.look(float(second), slow, tenants, ())
    assert asked.wait(PATIENCE)
    assert len(times) == 1
    answer.set()
    bench.resolver.wait(PATIENCE)
    assert bench.resolver.look(301.0, slow, tenants, ())
    assert set(bench.states().values()) == {SlotState.DUE}


def test_what_keeps_it_from_asking_is_told_and_tried_again(bench: Bench) -> None:
    def missing() -> Tools:
        raise TargetError("start", "restic", FailureKind.TOOL_MISSING, "it is not there")

    def broken() -> Tools:
        raise ZeroDivisionError("our own")

    assert bench.look(missing)
    assert "cannot be resolved yet" in bench.said[-1].message
    assert bench.look(broken)
    assert [type(error) for error in bench.crashes] == [ZeroDivisionError]
    assert set(bench.states().values()) == {SlotState.RUNNING}
    assert bench.look()
    assert set(bench.states().values()) == {SlotState.DUE}


@pytest.mark.parametrize("bench", [ELSEWHERE], indirect=True)
def test_a_run_of_another_machine_is_left_to_a_person(bench: Bench) -> None:
    assert not bench.look()
    assert set(bench.states().values()) == {SlotState.RUNNING}


@pytest.mark.parametrize("bench", [ME], indirect=True)
def test_a_run_of_ours_that_no_thread_is_at_is_resolved_and_one_that_is_at_work_never(bench: Bench) -> None:
    """The ledger took the claim, and the connection broke before it said so."""
    at_work = bench.runs[0].slot
    assert at_work is not None
    assert bench.look(at_work=(at_work,))
    left = bench.ledger.open_runs()
    assert [run.slot for run in left] == [at_work]
    assert not bench.look(at_work=(at_work,))

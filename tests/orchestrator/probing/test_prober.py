"""The prober against servers that keep a log of their own: every outage it reports holds what really happened."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from jobs.availability.incident import Incident, incidents
from jobs.availability.probe import Finding, Probe, Reason, TcpProbe, down, up
from jobs.availability.sampling import seen
from jobs.availability.span import NO_SAMPLE, State, Timeline, micros
from orchestrator.clock import Clock
from orchestrator.probing.prober import STALLED, VANTAGE_INVALID, Prober, Seen, Target
from orchestrator.probing.witness import Witnesses
from targets.probes import tcp
from tests.servers.program import LOOPBACK
from tests.targets.probes.servers import closed_port, serving, silent

EVERY = timedelta(milliseconds=100)
RARELY = timedelta(milliseconds=600)


def target(probe: Probe, *, name: str = "portal", confirm: int = 2, every: timedelta = EVERY) -> Target:
    return Target(name=name, probe=probe, every=every, patience=every * 0.9, again=every * 0.3, confirm=confirm)


async def look_tcp(probe: Probe, patience: float) -> Finding:
    assert isinstance(probe, TcpProbe)
    return await tcp.look(probe, patience)


async def believed() -> bool:
    return True


class Log:
    """What the prober hands on, by target."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Seen]] = defaultdict(list)

    def take(self, seen: Seen) -> None:
        self.seen[seen.target.name].append(seen)

    def timeline(self, name: str, end: int, confirm: int = 2) -> Timeline:
        samples = [each.sample for each in self.seen[name]]
        return seen(samples, samples[0].at, end, confirm=confirm)

    def states(self, name: str = "portal") -> list[tuple[str, str]]:
        return [(each.sample.state.value, each.sample.reason) for each in self.seen[name]]


def wall() -> int:
    return micros(datetime.now(UTC))


async def probing(prober: Prober, during: Callable[[], Awaitable[None]]) -> None:
    """Probe for as long as something else happens."""
    stop = asyncio.Event()
    running = asyncio.create_task(prober.run(stop))
    try:
        await during()
    finally:
        stop.set()
        await running


def test_every_outage_that_is_reported_holds_what_the_server_knows() -> None:
    truth: list[tuple[int, int, int, int]] = []  # not before, not after: of the beginning, and of the end
    log = Log()

    async def run() -> None:
        async with serving(silent) as port:
            pass
        probe = TcpProbe(host=LOOPBACK, port=port)
        prober = Prober([target(probe)], look=look_tcp, trusted=believed, clock=Clock(), take=log.take)

        async def outages() -> None:
            gone: list[tuple[int, int]] = []
            for pause in (0.5, 0.9, 0.0):
                coming = wall()
                async with serving(silent, port=port):
                    truth.extend((before, after, coming, wall()) for before, after in gone[-1:])
                    await asyncio.sleep(0.6)
                    before = wall()
                gone.append((before, wall()))
                await asyncio.sleep(pause)

        await probing(prober, outages)

    asyncio.run(run())
    line = log.timeline("portal", log.seen["portal"][-1].sample.at + 1)
    found = [incident for incident in incidents(line) if not incident.is_open]
    assert len(found) == len(truth)
    for incident, real in zip(found, truth, strict=True):
        assert_holds(incident, *real)


def assert_holds(incident: Incident, began: int, begun: int, ended: int, over: int) -> None:
    assert incident.earliest < begun
    assert began <= incident.latest_start
    assert incident.latest_end is not None
    assert incident.most is not None
    assert incident.least_end < over
    assert ended <= incident.latest_end
    assert incident.least <= over - began
    assert ended - begun <= incident.most


def test_a_failure_is_looked_at_again_soon_and_an_outage_no_sooner_than_else() -> None:
    log = Log()
    prober = Prober(
        [target(TcpProbe(host=LOOPBACK, port=closed_port()), confirm=3)],
        look=look_tcp,
        trusted=believed,
        clock=Clock(),
        take=log.take,
    )
    asyncio.run(probing(prober, lambda: asyncio.sleep(0.8)))
    steps = [each.sample.interval for each in log.seen["portal"][:4]]
    assert steps == [30_000, 30_000, 100_000, 100_000]


def test_many_are_looked_at_when_they_are_due_and_spread_over_the_interval() -> None:
    log = Log()
    started: list[float] = []

    async def instant(_probe: Probe, _patience: float) -> Finding:
        started.append(asyncio.get_running_loop().time())
        return up(1)

    targets = [target(TcpProbe(host="h", port=1), name=f"t{i}", every=timedelta(seconds=1)) for i in range(500)]
    prober = Prober(targets, look=instant, trusted=believed, clock=Clock(), take=log.take)
    asyncio.run(probing(prober, lambda: asyncio.sleep(1.1)))
    assert len(log.seen) == 500
    tenths = [int((moment - started[0]) * 10) for moment in started[:500]]
    assert all(tenths.count(tenth) < 200 for tenth in range(10))  # 50 each, if it were quite even


def test_a_process_that_stood_still_has_seen_nothing() -> None:
    """As after SIGSTOP: what was under way has run out of time, and that says nothing of the target."""
    log = Log()

    async def run() -> None:
        async with serving(silent) as port:

            async def slow(probe: Probe, patience: float) -> Finding:
                with suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await asyncio.sleep(0.3)
                        return await look_tcp(probe, patience)
                return down(Reason.TIMEOUT)

            prober = Prober(
                [target(TcpProbe(host=LOOPBACK, port=port), name=f"t{i}", every=RARELY) for i in range(20)],
                look=slow,
                trusted=believed,
                clock=Clock(),
                take=log.take,
            )

            async def stands_still() -> None:
                await asyncio.sleep(0.7)
                time.sleep(1.5)  # the fault
                await asyncio.sleep(0.7)

            await probing(prober, stands_still)

    asyncio.run(run())
    states = [state for name in log.seen for state in log.states(name)]
    assert ("unknown", STALLED) in states
    assert not [state for state in states if state[0] == "down"]
    for name in log.seen:
        reasons = {s.reason for s in log.timeline(name, wall(), confirm=1).spans if s.state is State.UNKNOWN}
        assert NO_SAMPLE in reasons


@pytest.mark.parametrize("lies", ["up is down", "down is up"])
def test_where_a_witness_is_wrong_nothing_else_is_believed(lies: str) -> None:
    log = Log()

    async def run() -> None:
        async with serving(silent) as port:
            open_, closed = TcpProbe(host=LOOPBACK, port=port), TcpProbe(host=LOOPBACK, port=closed_port())
            witnesses = Witnesses(
                look_tcp,
                up=[closed if lies == "up is down" else open_],
                down=[open_ if lies == "down is up" else closed],
            )
            probes = [target(open_, name="here"), target(closed, name="gone")]
            prober = Prober(probes, look=look_tcp, trusted=witnesses.trusted, clock=Clock(), take=log.take)
            await probing(prober, lambda: asyncio.sleep(0.3))

    asyncio.run(run())
    assert set(log.states("here")) | set(log.states("gone")) == {("unknown", VANTAGE_INVALID)}


def test_true_witnesses_are_asked_at_most_once_a_second() -> None:
    asked: list[Probe] = []

    async def run() -> list[bool]:
        async def look(probe: Probe, patience: float) -> Finding:
            asked.append(probe)
            return await look_tcp(probe, patience)

        async with serving(silent) as port:
            open_, closed = TcpProbe(host=LOOPBACK, port=port), TcpProbe(host=LOOPBACK, port=closed_port())
            witnesses = Witnesses(look, up=[open_], down=[closed])
            return [await witnesses.trusted() for _ in range(50)]

    assert all(asyncio.run(run()))
    assert len(asked) == 2


class Steered(Clock):
    """A wall clock that somebody sets."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def now(self) -> datetime:
        return super().now() + self.offset


@pytest.mark.parametrize("step", [timedelta(hours=1), timedelta(hours=-1)], ids=["ahead", "back"])
def test_a_clock_that_was_set_is_noticed_by_the_next_look_of_each(step: timedelta) -> None:
    log, clock = Log(), Steered()

    async def instant(_probe: Probe, _patience: float) -> Finding:
        return up(1)

    async def steps() -> None:
        await asyncio.sleep(0.3)
        clock.offset = step
        await asyncio.sleep(0.3)

    targets = [target(TcpProbe(host="h", port=1), name=name) for name in "ab"]
    prober = Prober(targets, look=instant, trusted=believed, clock=clock, take=log.take)
    asyncio.run(probing(prober, steps))
    for name in "ab":
        assert [each.sample.stepped for each in log.seen[name]].count(True) == 1


def test_a_fault_of_our_own_is_not_hidden() -> None:
    async def broken(_probe: Probe, _patience: float) -> Finding:
        raise LookupError("a fault")

    prober = Prober([target(TcpProbe(host="h", port=1))], look=broken, trusted=believed, clock=Clock(), take=Log().take)
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(asyncio.wait_for(prober.run(asyncio.Event()), 5))
    assert caught.group_contains(LookupError)


@pytest.mark.parametrize(
    "more",
    [{"patience": EVERY}, {"patience": timedelta()}, {"again": EVERY * 2}, {"again": timedelta()}, {"confirm": 0}],
    ids=str,
)
def test_a_target_that_cannot_be_is_refused(more: dict[str, timedelta]) -> None:
    fields = {"every": EVERY, "patience": EVERY / 2, "again": EVERY / 2, "confirm": 1} | more
    with pytest.raises(ValueError, match="portal: "):
        Target(name="portal", probe=TcpProbe(host="h", port=1), **fields)  # type: ignore[arg-type]  # a dict

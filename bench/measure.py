"""What one command costs, and how two compare: run by turns, and what counts is the median of each."""

from __future__ import annotations

import os
import select
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LOOKS_MS: Final = 20  # between two looks at a process's memory


class BrokenError(Exception):
    """A command that was to be measured did not do its work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """One command: wall clock and CPU (with its children's) in seconds, peak of its own resident memory in bytes."""

    seconds: float
    cpu: float
    memory: int

    def __add__(self, other: Cost) -> Cost:
        """One after the other."""
        return Cost(
            seconds=self.seconds + other.seconds, cpu=self.cpu + other.cpu, memory=max(self.memory, other.memory)
        )


Trial = Callable[[], Cost]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """The same work done by us and by the other, round by round."""

    ours: tuple[Cost, ...]
    other: tuple[Cost, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Our time by the other's in each round, least first."""
        return tuple(sorted(ours.seconds / other.seconds for ours, other in zip(self.ours, self.other, strict=True)))

    @property
    def ratio(self) -> float:
        """The median of our times by the median of the other's."""
        return median(self.ours).seconds / median(self.other).seconds


def by_turns(rounds: int, ours: Trial, other: Trial) -> Pair:
    """Both in each round, and another one first in every other round, so that a slow minute counts for both."""
    costs: dict[Trial, list[Cost]] = {ours: [], other: []}
    for number in range(rounds):
        for trial in (ours, other) if number % 2 else (other, ours):
            costs[trial].append(trial())
    return Pair(ours=tuple(costs[ours]), other=tuple(costs[other]))


def median(costs: Sequence[Cost]) -> Cost:
    """Each of the three figures' own median."""
    return Cost(
        seconds=statistics.median(cost.seconds for cost in costs),
        cpu=statistics.median(cost.cpu for cost in costs),
        memory=int(statistics.median(cost.memory for cost in costs)),
    )


def cost_of(argv: Sequence[str | Path], environment: Mapping[str, str], *, codes: Sequence[int] = (0,)) -> Cost:
    """Run one command to its end. Raises BrokenError with what it said when its exit status is none of `codes`."""
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        child = subprocess.Popen(argv, env=dict(environment), stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        memory = _watched(child.pid)
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode not in codes:
            said.seek(0)
            words = said.read()[-4000:].decode(errors="replace")
            raise BrokenError(f"{' '.join(map(str, argv))}\nended with {child.returncode}:\n{words}")
    return Cost(seconds=seconds, cpu=used.ru_utime + used.ru_stime, memory=memory)


def _watched(pid: int) -> int:
    """Wait until a process has ended (it is not reaped), and give the most memory that it held by itself.

    The kernel's figure at its end would be that of the largest of its children, and those are restic.
    """
    memory = 0
    ending = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(ending, select.POLLIN)
        while not poll.poll(_LOOKS_MS):
            memory = max(memory, _peak(pid))
    finally:
        os.close(ending)
    return memory


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    lines = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return next((int(line.split()[1]) * 1024 for line in lines), 0)

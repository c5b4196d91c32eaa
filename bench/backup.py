"""Backup, copy, restore test and memory: orchestrated against bare restic on the same files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench import files, result
from bench.measure import Cost, by_turns, cost_of
from bench.result import Result
from bench.stage import Stage

COUNT: Final = 20_000
TOTAL: Final = 1 << 30
MANY: Final = 100_000
_SMALL: Final = 2 << 10  # bytes of an average file among many
_TANDEM_LEAVES: Final = ("primary", "secondary", "work", "tandem.db", "tandem.db-wal", "tandem.db-shm")


def backups(folder: Path, bytecode: Path) -> Iterator[Result]:
    """First run, runs without changes, copy and restore test of 1 GiB in 20,000 files."""
    source = folder / "source"
    files.make(source, count=COUNT, total=TOTAL)
    stage = Stage.built(folder / "site", bytecode, {"files": source})
    work = _Work(stage, source)
    stage.tandem("config", "validate")  # so that Python has its byte code
    yield result.ratio("first backup, with init", "restic", by_turns(9, work.first, work.bare_first), goal=1.10)
    yield result.ratio("backup again, nothing changed", "restic", by_turns(9, work.again, work.bare_again), goal=1.50)
    work.first()  # one recovery point on either side
    yield result.ratio("replicate, with init", "restic copy", by_turns(3, work.replicate, work.bare_copy))
    stage.forget("secondary", "bare/copy")
    yield result.ratio("restore test", "restic restore + sha256sum", by_turns(3, work.prove, work.bare_prove))


class _Work:
    """The commands that are compared, on one stage."""

    def __init__(self, stage: Stage, source: Path) -> None:
        self._stage, self._source = stage, source

    def first(self) -> Cost:
        self._stage.forget(*_TANDEM_LEAVES)
        return self._stage.tandem("backup", "files")

    def bare_first(self) -> Cost:
        self._stage.forget("bare")
        init = self._stage.restic("bare/first", "init")
        return init + self._stage.restic("bare/first", "backup", "--json", "--", str(self._source))

    def again(self) -> Cost:
        return self._stage.tandem("backup", "files")

    def bare_again(self) -> Cost:
        """In Tandem's own repository: each has a key of its own that takes another time to derive."""
        return self._stage.restic("primary/tenant", "backup", "--json", "--", str(self._source))

    def replicate(self) -> Cost:
        self._stage.forget("secondary")
        return self._stage.tandem("replicate", "files", "--begin-anew")

    def bare_copy(self) -> Cost:
        self._stage.forget("bare/copy")
        begun = self._stage.restic("bare/copy", "init", "--copy-chunker-params", source="bare/first")
        return begun + self._stage.restic("bare/copy", "copy", source="bare/first")

    def prove(self) -> Cost:
        return self._stage.tandem("test-restore", "files", "--site", "primary")

    def bare_prove(self) -> Cost:
        """Restore, hash every file as one would by hand, and clean up."""
        into = self._stage.folder / "bare" / "restored"
        restored = self._stage.restic("bare/first", "restore", "latest", "--target", str(into))
        hashed = cost_of(["find", into, "-type", "f", "-exec", "sha256sum", "{}", "+"], self._stage.environment)
        return restored + hashed + cost_of(["rm", "-rf", into], self._stage.environment)


def memory(folder: Path, bytecode: Path) -> Iterator[Result]:
    """What we hold ourselves while 100,000 files are backed up, the first time and again."""
    source = folder / "many"
    files.make(source, count=MANY, total=MANY * _SMALL)
    stage = Stage.built(folder / "many-site", bytecode, {"many": source})
    goal = 120 << 20
    yield result.memory("peak memory, 100,000 files, first", stage.tandem("backup", "many"), goal=goal)
    yield result.memory("peak memory, 100,000 files, again", stage.tandem("backup", "many"), goal=goal)

"""How soon Tandem answers: help, a glance at a long history, settings of a large operator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench import history, result
from bench.measure import by_turns, cost_of
from bench.result import Result
from bench.stage import Stage, python, settings

RUNS: Final = 10_000
POLICIES: Final = 2_000
_ROUNDS: Final = 15


def answers(folder: Path, bytecode: Path) -> Iterator[Result]:
    """`--help`, `status` with 10,000 runs, and `config validate` with 2,000 policies."""
    names = {f"policy-{number:02}": folder / "source" for number in range(history.POLICIES)}
    stage = Stage.built(folder / "answers", bytecode, names)
    nothing = python("-c", "pass")
    stage.tandem("config", "validate")  # so that Python has its byte code
    pair = by_turns(_ROUNDS, lambda: stage.tandem("--help"), lambda: cost_of(nothing, stage.environment))
    yield result.ratio("tandem --help", "python -c pass", pair, goal=5)
    history.write(stage.folder / "tandem.db", runs=RUNS)
    objectives_missed = 5
    looks = [stage.tandem("status", codes=(objectives_missed,)) for _ in range(_ROUNDS)]
    yield result.seconds("tandem status, ledger with 10,000 runs", looks, goal=0.4)
    many = {f"policy-{number:04}": folder / f"source-{number}" for number in range(POLICIES)}
    large = stage.folder / "settings.toml"
    large.write_text(settings(many))
    parse = python("-c", f"import tomllib; tomllib.load(open({str(large)!r}, 'rb'))")
    pair = by_turns(5, lambda: stage.tandem("config", "validate"), lambda: cost_of(parse, stage.environment))
    yield result.ratio("settings with 2,000 policies", "tomllib alone", pair)

"""`make bench`: measure, print each figure beside its goal, and end with 0 whatever the figures are."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from bench.answers import answers
from bench.backup import backups, memory
from bench.measure import BrokenError
from bench.result import Result
from bench.unattended import unattended

_BENCHES: Final[dict[str, Callable[[Path, Path], Iterator[Result]]]] = {
    "answers": answers,
    "backups": backups,
    "memory": memory,
    "unattended": unattended,
}


def main() -> None:
    """Run the benches that are named, or all, in a folder that is removed afterwards."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of: {', '.join(_BENCHES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single measurement there")
    parser.add_argument("--folder", type=Path, metavar="FOLDER", help="work there; 4 GB are needed (default: TMPDIR)")
    asked = parser.parse_args()
    if unknown := set(asked.names) - _BENCHES.keys():
        parser.error(f"there is no bench {', '.join(sorted(unknown))}")
    results: list[Result] = []
    print(f"  {_machine()}\n")
    with tempfile.TemporaryDirectory(prefix="tandem-bench-", dir=asked.folder) as folder:
        try:
            for result in _all(asked.names or _BENCHES, Path(folder)):
                print(result.line, flush=True)
                results.append(result)
        except BrokenError as error:
            raise SystemExit(f"the bench is broken: {error}") from error
    print(f"\n  {_machine()}")
    if asked.json is not None:
        asked.json.write_text(json.dumps({result.name: result.raw for result in results}, indent=1) + "\n")


def _all(names: Iterable[str], folder: Path) -> Iterator[Result]:
    for name in names:
        place = folder / name
        place.mkdir()
        yield from _BENCHES[name](place, folder / "bytecode")


def _machine() -> str:
    load = ", ".join(f"{figure:.1f}" for figure in os.getloadavg())
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, load {load} (over 1, 5, 15 minutes)"


if __name__ == "__main__":
    main()

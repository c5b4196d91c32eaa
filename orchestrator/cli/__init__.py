"""The command line: parse, hand over to one verb, turn every ending into words and a frozen exit code.

Nothing heavy is imported before a verb is known, so that `--help` and mistakes answer at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code (the table is in docs/manual.md)."""
    from orchestrator.cli.parser import parse

    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it asks every installed package for one: 15 ms
    arguments = parse(sys.argv[1:] if argv is None else list(argv))
    from orchestrator.cli.endings import run

    return run(arguments)

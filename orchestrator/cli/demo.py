"""`demo`: the whole job shown, by the very commands that a person would type."""

from __future__ import annotations

import argparse
import sys
import threading

from orchestrator.cli import main
from orchestrator.demo import script


def demo(arguments: argparse.Namespace, _stop: threading.Event) -> int:
    """Show everything, or with --clean remove what a demonstration left."""
    if arguments.clean:
        return script.clean(arguments.settings, _say)
    return script.run(arguments.settings, main, _say)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()

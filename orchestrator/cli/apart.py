"""The process that `serve` starts to have a report made; nobody types this (see orchestrator/reporting/apart.py)."""

from __future__ import annotations

import sys

from orchestrator import wiring
from orchestrator.reporting.apart import answer, received, refusal
from targets.errors import TargetError


def main() -> int:
    """Do what the order says; what came of it is one line on standard output."""
    order = received(sys.argv[1:])
    try:
        said = answer(order, wiring.ledger_url(order.settings))
    except TargetError as error:  # its address is a secret that is not to be had
        said = refusal(order, error)
    sys.stdout.write(said + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

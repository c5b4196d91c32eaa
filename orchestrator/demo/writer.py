"""The pensions office at work, as a process of its own: `python -m orchestrator.demo.writer DATABASE`.

It says one line when the first payment is made, and pays until its standard input ends. The parent holds the other
end, so that it ends also when the parent is killed.
"""

from __future__ import annotations

import random
import select
import sqlite3
import sys
from contextlib import closing
from typing import Final

from orchestrator.demo import pensions

_PAUSE: Final = 0.02  # seconds between two transactions
_PATIENCE: Final = 30.0  # seconds that a transaction waits for a backup's read lock


def main(path: str) -> None:
    """Write to the database until nobody holds standard input any more."""
    chance = random.Random(path)
    with closing(sqlite3.connect(path, timeout=_PATIENCE)) as database:
        pensions.pay(database, chance)
        sys.stdout.write("open\n")
        sys.stdout.flush()
        while not select.select([sys.stdin], [], [], _PAUSE)[0]:
            pensions.pay(database, chance)


if __name__ == "__main__":
    main(sys.argv[1])

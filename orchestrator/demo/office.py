"""Keeps the pensions office at work while something else goes on: the child that writes to the live database."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from targets.feed import Feed
from targets.process import Never, ProcessRequest, deaf
from targets.supervisor import Limits


class OfficeClosedError(Exception):
    """The writer ended before it was told to, so that the database was not live."""


@contextmanager
def at_work(database: Path) -> Iterator[None]:
    """The database is written to until this is left, also by a crash: the writer ends with its standard input.

    Raises OfficeClosedError when the writer did not last.
    """
    request = ProcessRequest(
        argv=(sys.executable, "-m", "orchestrator.demo.writer", str(database)),
        environment={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    writer = Feed(request, limits=Limits(grace_seconds=5.0), stop=Never(), on_line=deaf)
    try:
        yield
    except BaseException:
        writer.abort()
        raise
    if (ended := writer.finish()).code != 0:
        raise OfficeClosedError(f"the writer of {database} ended: {ended.errors.decode(errors='replace').strip()}")

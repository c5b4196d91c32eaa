"""Keeps the pensions office at work while something else goes on: the child that writes to the live database."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from targets.feed import Feed
from targets.process import Never, ProcessRequest
from targets.supervisor import Heard, Limits

_PATIENCE: Final = 30.0  # seconds until the first payment


class OfficeClosedError(Exception):
    """The writer ended before it was told to, so that the database was not live."""


@contextmanager
def at_work(database: Path) -> Iterator[None]:
    """The database is being written to from here until this is left, also by a crash: the writer ends with its input.

    Raises OfficeClosedError when the writer did not last.
    """
    request = ProcessRequest(
        argv=(sys.executable, "-P", "-m", "orchestrator.demo.writer", str(database)),
        environment={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    begun = threading.Event()

    def hear(_: bytes) -> Heard:
        begun.set()
        return Heard.NOTHING

    writer = Feed(request, limits=Limits(grace_seconds=5.0), stop=Never(), on_line=hear, on_error=hear)
    try:
        begun.wait(_PATIENCE)
        yield
    except BaseException:  # also Ctrl-C: the writer must not outlive the demonstration
        writer.abort()
        raise
    if (ended := writer.finish()).code != 0:
        raise OfficeClosedError(f"the writer of {database} ended: {ended.errors.decode(errors='replace').strip()}")

"""A report made in a process of its own: what takes a minute of reckoning neither slows `serve` nor fills its memory.

The order goes through a file of our own workdir: the settings as they are in force here, whatever stands in their file
by now. No secret is among them, only where secrets are. One line of JSON comes back: the result, or the failure.
"""

from __future__ import annotations

import copyreg
import json
import os
import pickle
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from jobs.failure import FailureKind
from jobs.history import Outcome, RunState
from orchestrator.ledger.codec import result_of, result_text
from orchestrator.ledger.ledger import Ledger, LedgerError
from orchestrator.reporting.making import Order, make
from orchestrator.work.tools import Tools, remove_tree
from targets.errors import TargetError
from targets.process import Ended, Ending, Heard, Limits, ProcessRequest, run

_MODULE: Final = "orchestrator.cli.apart"  # what the other process runs
_ROOT: Final = Path(__file__).resolve().parents[2]
_ENDED_BY_US: Final = {Ending.CANCELLED: FailureKind.CANCELLED, Ending.DEADLINE: FailureKind.DEADLINE}


def make_apart(order: Order, run_id: str, tools: Tools) -> Outcome:
    """Have it made, and wait for it; a stop ends it. Raises TargetError."""
    folder = tools.folder("scratch", run_id)
    try:
        file = folder / "order"
        with file.open("wb") as stream:
            _Pickler(stream).dump(order)
        said, ended = _made(file, tools)
    finally:
        remove_tree(folder)
    return _outcome(said, ended, order)


def _read_only(table: Mapping[Any, Any]) -> Mapping[Any, Any]:
    return MappingProxyType(table)


class _Pickler(pickle.Pickler):
    """Knows the read-only tables that settings have, too."""

    dispatch_table = copyreg.dispatch_table | {MappingProxyType: lambda table: (_read_only, (dict(table),))}


def _made(file: Path, tools: Tools) -> tuple[bytes, Ended]:
    """What the other process said last, and how it ended. It gives way to backups in CPU and disk."""
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    argv = (sys.executable, "-P", "-m", _MODULE, str(file))  # -P: no module of the folder that we stand in
    request = ProcessRequest(argv=argv, environment={**os.environ, "PYTHONPATH": path}, gentle=True)
    said = b""

    def hear(line: bytes) -> Heard:
        nonlocal said
        said = line
        return Heard.PROGRESS

    limits = Limits(deadline_seconds=tools.limits.deadline_seconds, grace_seconds=5.0)
    ended = run(request, limits=limits, stop=tools.stop, on_line=hear)
    return said, ended


def _outcome(said: bytes, ended: Ended, order: Order) -> Outcome:
    if ended.ending in _ENDED_BY_US:
        raise _failed(order, _ENDED_BY_US[ended.ending], f"it was ended ({ended.ending})")
    if ended.code < 0:
        raise _failed(order, FailureKind.KILLED, f"its process was killed by signal {-ended.code}")
    if ended.code != 0:
        last = ended.errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise _failed(order, FailureKind.INTERNAL, f"its process ended with {ended.code}: {last}")
    told: dict[str, Any] = json.loads(said)
    if "operation" in told:
        raise TargetError(told["operation"], told["target"], FailureKind(told["kind"]), told["message"])
    return Outcome(state=RunState.SUCCEEDED, result=result_of(told["result"]), usage=ended.usage)


def _failed(order: Order, kind: FailureKind, message: str) -> TargetError:
    return TargetError("make report", order.reporting.name, kind, message)


# --- the other side -------------------------------------------------------------------------------------------------


def received(arguments: Sequence[str]) -> Order:
    """The order that this process was started for."""
    with Path(arguments[0]).open("rb") as stream:
        order: Order = pickle.load(stream)  # noqa: S301 (below our own workdir, which nobody else may write)
        return order


def answer(order: Order, url: str) -> str:
    """Make it; one line of JSON that says what came of it."""
    try:
        with Ledger.open(url, create=False, now=order.now) as ledger:
            return json.dumps({"result": result_text(make(order, ledger))})
    except (LedgerError, TargetError) as error:
        return refusal(order, error)


def refusal(order: Order, error: LedgerError | TargetError) -> str:
    """The same line of what could not be done."""
    failure = error.failure
    operation, target = getattr(error, "operation", "make report"), getattr(error, "target", order.reporting.name)
    message = failure.message.removeprefix(f"{operation} {target}: ")
    return json.dumps({"operation": operation, "target": target, "kind": failure.kind.value, "message": message})

"""The edge of a thread that calls somebody: a fault of our own is a call that failed, and has its sentence."""

from __future__ import annotations

from traceback import walk_tb

from jobs.failure import FailureKind
from targets.errors import TargetError


def own_fault(operation: str, target: str, error: Exception) -> TargetError:
    """What failed and where; not what the error says, which may hold the address that was called, and so a secret."""
    *_, (frame, line) = walk_tb(error.__traceback__)
    file = frame.f_code.co_filename.rpartition("/")[2]
    message = f"Tandem itself failed: {type(error).__name__} at line {line} of {file}"
    return TargetError(operation, target, FailureKind.INTERNAL, message)

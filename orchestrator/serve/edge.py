"""The edge of a thread that calls somebody: a fault of our own is a call that failed, and has its sentence."""

from __future__ import annotations

from jobs.failure import FailureKind
from orchestrator import fault
from targets.errors import TargetError


def own_fault(operation: str, target: str, error: Exception) -> TargetError:
    """What failed and where; not what the error says, which may hold the address that was called, and so a secret."""
    return TargetError(operation, target, FailureKind.INTERNAL, f"Tandem itself failed: {fault.words(error)}")

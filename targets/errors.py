"""The one error that adapters raise: what was done, to what, and the failure's kind; always `from` its cause."""

from __future__ import annotations

from jobs.failure import Failure, FailureKind


class TargetError(Exception):
    """An outside thing refused or failed. Never holds a secret: adapters build `message` from names, not from values.

    `operation` is a verb ("backup", "list"), `target` the name a user knows ("vault secondary", "/srv/files").
    """

    def __init__(self, operation: str, target: str, kind: FailureKind, message: str) -> None:
        self.operation = operation
        self.target = target
        self.failure = Failure(kind=kind, message=f"{operation} {target}: {message}")
        super().__init__(self.failure.message)

    @property
    def kind(self) -> FailureKind:
        """The failure's kind."""
        return self.failure.kind

"""What is started by being made, and stopped by leaving its `with` block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class Lasting(ABC):
    """Something that runs until `stop`."""

    @abstractmethod
    def stop(self) -> None:
        """End it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

"""Prometheus' text format, packed while it is written: a large operator's is a hundred megabytes as text.

Every family is a gzip member of its own, so that families can grow side by side; one after the other they are one gzip
file (RFC 1952, 2.2). https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_GZIP: Final = zlib.MAX_WBITS | 16
_LEVEL: Final = 1  # names repeat so often that more effort gains little
_PIECE: Final = 1 << 14  # bytes as they are packed: twenty times as many of text
_LINES: Final = 500  # that are packed together
_ESCAPED: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A text, packed as gzip members. `size` is that of the text in bytes."""

    members: tuple[bytes, ...] = ()
    size: int = 0

    def pieces(self) -> Iterator[bytes]:
        """The text, a piece at a time."""
        for member in self.members:
            unpacker = zlib.decompressobj(_GZIP)
            for first in range(0, len(member), _PIECE):
                yield unpacker.decompress(member[first : first + _PIECE])

    @property
    def text(self) -> str:
        """All of it."""
        return b"".join(self.pieces()).decode()


class Family:
    """One gauge: its samples are added one by one, and kept packed."""

    def __init__(self, name: str, documentation: str) -> None:
        self._name = name
        self._lines = [f"# HELP {name} {documentation}\n# TYPE {name} gauge\n"]
        self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._packed: list[bytes] = []
        self._size = 0

    def add(self, labels: str, figure: float) -> None:
        """One sample. `labels` are as `labelled` wrote them; a whole number is written in full."""
        self._lines.append(f"{self._name}{labels} {figure!r}\n")
        if len(self._lines) >= _LINES:
            self._pack()

    def _pack(self) -> None:
        content = "".join(self._lines).encode("utf-8", "backslashreplace")
        self._lines.clear()
        self._size += len(content)
        self._packed.append(self._packer.compress(content))

    def page(self) -> Page:
        """All that was added; nothing can be added any more."""
        self._pack()
        self._packed.append(self._packer.flush())
        return Page(members=(b"".join(self._packed),), size=self._size)


def labelled(names: Sequence[str], values: Sequence[str]) -> str:
    """Labels as they are written behind a name."""
    pairs = ",".join(f'{name}="{value.translate(_ESCAPED)}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}" if pairs else ""


def joined(pages: Iterable[Page]) -> Page:
    """One after the other."""
    every = tuple(pages)
    return Page(members=tuple(one for page in every for one in page.members), size=sum(page.size for page in every))

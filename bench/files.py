"""Files to back up: as many and as large as asked for, the same on every machine and in every run.

Sizes are log-normal, as on real file servers: most files are small, most bytes are in a few large ones. Half of the
files are bytes that nobody can compress, the other half is text that shrinks by a quarter; no two share any bytes.
"""

from __future__ import annotations

import base64
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_SPREAD: Final = 1.8  # sigma of the logarithms: the median file is a fifth of the mean
_IN_A_FOLDER: Final = 100
_FOLDERS_IN_ONE: Final = 20
_PIECE: Final = 1 << 20


def make(root: Path, *, count: int, total: int) -> None:
    """Write `count` files of `total` bytes below `root`, which must not be there yet."""
    dice = random.Random(20_261_121)
    for number, size in enumerate(_sizes(dice, count, total)):
        folder = number // _IN_A_FOLDER
        place = root / f"department-{folder // _FOLDERS_IN_ONE:02}" / f"year-{folder % _FOLDERS_IN_ONE:02}"
        place.mkdir(parents=True, exist_ok=True)
        _write(place / f"document-{number:06}.{'txt' if number % 2 else 'bin'}", size, dice)
    os.sync()  # what is measured later shall not wait for these


def _sizes(dice: random.Random, count: int, total: int) -> list[int]:
    shares = [dice.lognormvariate(0, _SPREAD) for _ in range(count)]
    scale = total / sum(shares)
    return [round(share * scale) for share in shares]


def _write(file: Path, size: int, dice: random.Random) -> None:
    text = file.suffix == ".txt"
    with file.open("wb") as opened:
        for length in _lengths(size):
            opened.write(base64.b64encode(dice.randbytes(length))[:length] if text else dice.randbytes(length))


def _lengths(size: int) -> Iterator[int]:
    while size > 0:
        yield min(size, _PIECE)
        size -= _PIECE

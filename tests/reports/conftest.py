"""Golden files: how a rendering looked when somebody last read it. UPDATE_GOLDEN=1 writes them anew: then read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

_GOLDEN: Final = Path(__file__).parent / "golden"


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare a text with the golden file of that name."""

    def same(name: str, text: str) -> None:
        file = _GOLDEN / name
        if os.environ.get("UPDATE_GOLDEN"):
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert text == file.read_text(encoding="utf-8"), f"{name} changed: UPDATE_GOLDEN=1, then read the difference"

    return same

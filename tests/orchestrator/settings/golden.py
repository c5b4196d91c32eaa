"""Compare with a kept text; UPDATE_GOLDEN=1 keeps the new one, to be read before it is committed."""

from __future__ import annotations

import os
from pathlib import Path


def holds(kept: Path, text: str, folder: Path) -> bool:
    """Whether the text is the kept one, the folder's own path apart."""
    told = text.replace(str(folder), "…") + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        kept.write_text(told, encoding="utf-8")
    wanted = kept.read_text(encoding="utf-8") if kept.exists() else ""
    assert told == wanted, f"{kept.name} differs"
    return True

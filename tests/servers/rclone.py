"""What every rclone server shares: its own empty configuration, so that nobody's remotes or options leak in."""

from __future__ import annotations

import os
from pathlib import Path


def rclone_environment(folder: Path) -> dict[str, str]:
    """An environment in which rclone finds no configuration and writes only below `folder`."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "RCLONE_CONFIG": "",
        "RCLONE_CACHE_DIR": str(folder / "cache"),
    }

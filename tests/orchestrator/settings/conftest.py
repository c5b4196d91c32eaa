"""A copy of the samples in a folder of its own, with the secret files that they name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).parent


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """valid/ and invalid/, each with secrets/minfopra.key (private), secrets/open.key (not) and secrets/known_hosts."""
    for kind in ("valid", "invalid"):
        shutil.copytree(HERE / kind, tmp_path / kind)
        secrets = tmp_path / kind / "secrets"
        secrets.mkdir()
        for name, mode in (("minfopra.key", 0o600), ("open.key", 0o644), ("known_hosts", 0o644)):
            (secrets / name).write_text("a secret that nobody knows", encoding="utf-8")
            (secrets / name).chmod(mode)
    (tmp_path / "invalid" / "link").symlink_to("vault")
    (tmp_path / "invalid" / "vault").mkdir()
    return tmp_path

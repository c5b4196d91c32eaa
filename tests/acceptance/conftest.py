"""Fixtures of the acceptance tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.operator import Operator


@pytest.fixture
def operator(tmp_path: Path, restic_program: Path) -> Operator:
    """A fresh operator with two local vaults and one policy."""
    return Operator(folder=tmp_path / "operator", restic=restic_program)

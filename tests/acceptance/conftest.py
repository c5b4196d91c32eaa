"""Fixtures of the acceptance tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.acceptance.faults import settle
from tests.acceptance.operator import Operator


@pytest.fixture
def newcomer(tmp_path: Path, restic_program: Path) -> Operator:
    """An operator with two local vaults and one policy, and nothing in them yet: `restic init` costs seconds."""
    return Operator(folder=tmp_path / "operator", restic=restic_program)


@pytest.fixture
def operator(newcomer: Operator) -> Operator:
    """The same with an empty repository in each vault, which the ledger does not know yet."""
    return newcomer.with_repositories()


@pytest.fixture(scope="session")
def settled_once(tmp_path_factory: pytest.TempPathFactory, restic_program: Path) -> Operator:
    """The one that `settled` copies. Nobody changes it."""
    fresh = Operator(folder=tmp_path_factory.mktemp("settled") / "operator", restic=restic_program)
    return settle(fresh.with_repositories())


@pytest.fixture
def settled(tmp_path: Path, settled_once: Operator) -> Operator:
    """An operator with two recovery points at the first site, the older of which the second has too."""
    shutil.copytree(settled_once.folder, tmp_path / "operator", symlinks=True)
    return Operator(folder=tmp_path / "operator", restic=settled_once.restic, settings=settled_once.settings)

"""The names and places of a repository's files, and that nothing heavy is loaded before a vault is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.ports import FileKind, FileRef
from targets.vaults.layout import is_name, path_of, ref_at

HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)
REFS = st.builds(FileRef, st.sampled_from([kind for kind in FileKind if kind is not FileKind.CONFIG]), HASHES)


@given(REFS | st.just(FileRef(FileKind.CONFIG, "config")))
def test_a_files_path_leads_back_to_it(ref: FileRef) -> None:
    assert ref_at(path_of(ref)) == ref


@given(st.text("abc0123/.-", max_size=80) | st.text(max_size=80))
def test_a_path_that_is_no_file_of_restics_is_none(path: str) -> None:
    ref = ref_at(path)
    assert ref is None or path_of(ref) == path


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (FileKind.CONFIG, "config"),
        (FileKind.KEYS, "keys/" + "0a" * 32),
        (FileKind.DATA, "data/0a/" + "0a" * 32),
    ],
)
def test_the_layout_is_restics(kind: FileKind, path: str) -> None:
    assert path_of(FileRef(kind, path.rpartition("/")[2])) == path


@pytest.mark.parametrize("path", ["data/0b/" + "0a" * 32, "data/" + "0a" * 32, "keys/0a/" + "0a" * 32, "keys/config"])
def test_a_file_in_the_wrong_folder_is_not_restics(path: str) -> None:
    assert ref_at(path) is None


def test_only_config_is_called_config() -> None:
    assert [kind for kind in FileKind if is_name(kind, "config")] == [FileKind.CONFIG]
    assert not is_name(FileKind.CONFIG, "0a" * 32)


def test_importing_the_vaults_loads_no_heavy_library() -> None:
    """Start-up pays for none of them; each is loaded when a vault is connected to."""
    vaults = ", ".join(f"targets.vaults.{kind}" for kind in ("local", "memory", "rest", "s3", "sftp"))
    words = f"import sys, {vaults}; print(sorted({{'boto3', 'botocore', 'paramiko', 'urllib3'}} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    said = subprocess.run([sys.executable, "-c", words], cwd=root, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"

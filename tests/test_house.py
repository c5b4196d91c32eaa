"""The house around the code: what is installed, locked and shipped, and what the set-up says when it cannot go on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement

ROOT: Final = Path(__file__).resolve().parents[1]
ROOMS: Final = ("jobs", "targets", "orchestrator", "reports")
LOCKS: Final = ("requirements.lock", "requirements-dev.lock")
DATA: Final = frozenset({".html", ".css", ".json", ".mako", ".toml", ".typed", ".sql"})
# Hosts of packages, of any system or language; in pieces, so that this file does not name them either.
HOSTS: Final = tuple(
    ".".join(parts)
    for parts in (("pypi", "org"), ("pythonhosted", "org"), ("deb", "debian"), ("archive", "ubuntu"), ("ghcr", "io"))
)


# --- the tree -----------------------------------------------------------------------------------------------------

TOP: Final = frozenset(
    {
        *ROOMS,
        *LOCKS,
        *(".ci", ".gitignore", "bench", "docs", "packaging", "scripts", "tests"),
        *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md"),
        *("main.py", "pyproject.toml", "settings.toml"),
    }
)


def test_nothing_is_kept_at_the_top_but_what_belongs_there() -> None:
    """What a trial leaves behind is easily kept with the rest."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone: what is kept is not known")
    said = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {name.split("/")[0] for name in said.stdout.splitlines()} <= TOP


# --- the wheel ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the tree, so that nothing is left behind in the tree itself."""
    copy = tmp_path_factory.mktemp("wheel")
    for name in (*ROOMS, "main.py", "pyproject.toml", "LICENSE", "README.md"):
        from_path = ROOT / name
        if from_path.is_dir():
            shutil.copytree(from_path, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(from_path, copy / name)
    words = [
        "pip",
        "wheel",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    said = subprocess.run(
        [sys.executable, "-m", *words, "--wheel-dir", str(copy / "out"), "."],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    (made,) = (copy / "out").glob("*.whl")
    return made


def shipped() -> set[str]:
    """Every file of the four rooms that the product needs at run time."""
    found = (path for room in ROOMS for path in (ROOT / room).rglob("*") if "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in found if path.suffix in DATA | {".py"}} | {"main.py"}


def test_the_wheel_holds_every_file_of_the_tree_and_no_test(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert inside == shipped()
    assert any(Path(name).suffix in DATA for name in inside)


def test_the_installed_command_is_tandem(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    words = [
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
    ]
    subprocess.run([sys.executable, "-m", *words, str(wheel)], check=True)
    said = subprocess.run(
        [site / "bin" / "tandem", "--help"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("usage: tandem")


# --- the lock files ----------------------------------------------------------------------------------------------


def pinned(lock: str) -> dict[str, str]:
    """Version by name of everything in a lock file (the last one, where versions of Python differ)."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(lock: str) -> list[Requirement]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rows: list[str] = [*settings["project"]["dependencies"], *settings["dependency-groups"]["build"]]
    if lock == "requirements-dev.lock":
        rows += settings["project"]["optional-dependencies"]["dev"]
    return [Requirement(row) for row in rows]


@pytest.mark.parametrize("lock", LOCKS)
def test_each_locked_package_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) >= len(pinned(lock)) > 30
    assert all(re.match(r"[a-z0-9-]+==\S+ ", block) for block in blocks)
    assert [block for block in blocks if "--hash=sha256:" not in block] == []
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE), "an option, such as the address of an index"


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_answers_what_the_project_asks(lock: str) -> None:
    """A dependency added to pyproject.toml without `make lock` would be missing on the next fresh machine."""
    have = pinned(lock)
    unanswered = [str(row) for row in wanted(lock) if have.get(canonical(row.name), "0") not in row.specifier]
    assert unanswered == []


def test_the_tests_run_on_what_the_demo_runs_on() -> None:
    runtime, tests = (pinned(lock) for lock in LOCKS)
    assert runtime.items() <= tests.items()


# --- what is committed -------------------------------------------------------------------------------------------


def committed() -> list[Path]:
    """Every file of the project: what git would take, or all but what set-up and runs leave, where there is no git."""
    said = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if said.returncode == 0:
        return [ROOT / os.fsdecode(name) for name in said.stdout.split(b"\0") if name]
    left = {".git", ".venv", ".cache", "var", "build", "dist", "__pycache__"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not left & set(path.relative_to(ROOT).parts)]


def test_nothing_names_a_package_host() -> None:
    paths = committed()
    assert len(paths) > 100
    naming = [
        f"{path.relative_to(ROOT)} names {host}"
        for path in paths
        if path.is_file()
        for host in HOSTS
        if host in path.read_text(encoding="utf-8", errors="replace")
    ]
    assert naming == []


@pytest.mark.parametrize(
    "name", ["LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "settings.toml", "docs/manual.md"]
)
def test_what_a_stranger_looks_for_is_there(name: str) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8")) > 400


def test_the_licence_is_the_one_that_is_named() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["project"]["license"] == "Apache-2.0"
    text = " ".join((ROOT / "LICENSE").read_text(encoding="utf-8").split())
    assert text.startswith("Apache License Version 2.0, January 2004")
    assert "END OF TERMS AND CONDITIONS" in text


def test_continuous_integration_runs_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").rstrip().endswith("exec make test")


# --- the set-up, where it cannot go on ---------------------------------------------------------------------------

# What scripts/setup itself calls; the PATH of these tests holds nothing else.
PLAIN: Final = ("bash", "env", "cat", "cut", "date", "dirname", "grep", "mkdir", "rm", "sha256sum", "sort", "tail")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A clone on a machine with a shell and a Python, and neither restic nor servers; its path has a blank in it."""
    clone = tmp_path / "a clone"
    shutil.copytree(ROOT / "scripts", clone / "scripts")
    for lock in LOCKS:
        shutil.copy(ROOT / lock, clone)
    (clone / "bin").mkdir()
    for program in PLAIN:
        found = shutil.which(program)
        assert found is not None
        (clone / "bin" / program).symlink_to(found)
    return clone


def setup(clone: Path, purpose: str, *, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    shell = shutil.which("bash")
    assert shell is not None
    environment = {"PATH": str(clone / "bin"), "PYTHON": sys.executable}
    words = [*before, shell, str(clone / "scripts" / "setup"), purpose]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def test_an_unknown_system_is_told_what_to_install(bare: Path) -> None:
    said = setup(bare, "demo")
    assert said.returncode == 1
    assert "not Debian or Ubuntu" in said.stderr
    assert said.stderr.rstrip().endswith("restic")
    assert not (bare / ".venv").exists()


def test_who_may_not_install_is_told_the_command(bare: Path) -> None:
    """`unshare --user` without a mapping is how root becomes nobody without leaving its folders."""
    marker = bare / "apt-get was called"
    (bare / "bin" / "apt-get").write_text(f"#!/bin/sh\n: > '{marker}'\n", encoding="utf-8")
    (bare / "bin" / "apt-get").chmod(0o755)
    unshare = shutil.which("unshare")
    if os.geteuid() == 0 and (unshare is None or subprocess.run([unshare, "--user", "true"], check=False).returncode):
        pytest.skip("this root cannot make itself somebody else")
    said = setup(bare, "demo", before=(str(unshare), "--user") if os.geteuid() == 0 else ())
    assert said.returncode == 1
    assert "sudo scripts/install-packages restic" in said.stderr
    assert "apt-get install --no-install-recommends restic" in said.stderr
    assert not marker.exists()


def test_a_failed_installation_shows_why(bare: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    (bare / "bin" / "apt-get").write_text("#!/bin/sh\necho E: no such luck\nexit 100\n", encoding="utf-8")
    (bare / "bin" / "apt-get").chmod(0o755)
    (bare / "scripts" / "install-packages").write_text('apt-get install "$@"\n', encoding="utf-8")
    said = setup(bare, "demo")
    assert said.returncode == 1
    assert "E: no such luck" in said.stderr
    assert "apt-get install --no-install-recommends restic" in said.stderr


def test_a_restic_that_is_named_and_is_not_there_is_said(bare: Path) -> None:
    said = subprocess.run(
        [str(bare / "scripts" / "setup"), "test"],
        env={"PATH": str(bare / "bin"), "PYTHON": sys.executable, "RESTIC": "/nowhere/restic"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 1
    assert "/nowhere/restic" in said.stderr


def test_no_purpose_is_no_set_up(bare: Path) -> None:
    said = setup(bare, "everything")
    assert said.returncode == 1
    assert "scripts/setup demo" in said.stderr
